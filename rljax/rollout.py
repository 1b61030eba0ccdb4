"""Interaction: many copies of an environment under one policy, one `scan` over time. The only place that resets.

Noise is counter-based (`rljax.noise`): the key of environment `i` at step `t` is folded from `t` and `i`, so a rollout is a
pure function of `(key, where it starts)` and nothing random is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks, noise
from rljax.envs.base import Environment
from rljax.structs import Transition

Policy = Callable[[Array, Any], Array]  # policy(key, observation) -> action, for one environment
AutoReset = Literal["none", "same_step", "next_step"]


class Cursor(NamedTuple):
    """Where `N` environments stand between two steps."""

    state: Any  # [N, ...]
    over: Array  # [N] bool: the episode ended; the environment waits for a reset ("next_step") or for ever ("none")


def start(key: Array, env: Environment, num_envs: int) -> Cursor:
    """`num_envs` freshly reset environments."""
    checks.environment("env", env)
    state, _ = jax.vmap(env.reset)(lane_keys(key, num_envs))
    return Cursor(state, jnp.zeros(num_envs, bool))


def unroll(
    key: Array, env: Environment, policy: Policy, cursor: Cursor, num_steps: int, *, autoreset: AutoReset = "same_step"
) -> tuple[Cursor, Transition]:
    """`num_steps` steps of every environment of `cursor`.

    Three ways to go on after an episode ends, `terminated` or `truncated`:

    * `"none"`: the environment stays dead: its state is frozen, rewards are zero and `valid` is False.
    * `"same_step"`: the policy's next observation is already that of a new episode; every transition is valid.
    * `"next_step"`: as Gymnasium's vector environments: the following step ignores the action and resets (not `valid`).

    Args:
      key: typed random key.
      env: one environment; its copies differ in state only.
      policy: `policy(key, observation) -> action` for one environment.
      cursor: `[N, ...]` where they stand: from `start`, or what an earlier call returned.
      num_steps: T.
      autoreset: see above.

    Returns:
      Where they stand then, and the transitions, time-major `[T, N, ...]`. What the caller leaves unused (states, say)
      is never stored once the caller is jitted.

    Example:
      >>> from rljax.envs import CartPole
      >>> env, push_right = CartPole(), lambda key, observation: jnp.int32(1)
      >>> cursor = start(jax.random.key(0), env, 3)
      >>> cursor, transition = unroll(jax.random.key(1), env, push_right, cursor, 12)
      >>> transition.observation.shape, int(transition.terminated.sum())
      ((12, 3, 4), 3)
    """
    checks.environment("env", env)
    checks.function("policy", policy, "lambda key, observation: jnp.int32(1)")
    checks.choice("autoreset", autoreset, ("none", "same_step", "next_step"))
    checks.integer("num_steps", num_steps, 1)
    num_envs = cursor.over.shape[0]
    lanes = lane_keys(key, num_envs)
    if autoreset == "same_step":  # a cursor from another mode may wait for a reset that this mode never makes
        fresh = jax.vmap(lambda lane: env.reset(jax.random.fold_in(lane, 3 * num_steps + 2))[0])(lanes)
        state = jax.vmap(_select)(cursor.over, fresh, cursor.state)
        cursor = Cursor(state, jnp.zeros_like(cursor.over))

    def body(carry: tuple[Array, Cursor], _: None) -> tuple[tuple[Array, Cursor], Record]:
        t, cursor = carry
        cursor, record = _steps(t, lanes, env, policy, cursor, autoreset)
        return (t + 1, cursor), record

    # The clock rides in the carry: read from `xs` it would cost one more kernel a step.
    block, at_once = _stages(jax.default_backend(), num_steps, num_envs)
    stage = lambda carry, _: lax.scan(body, carry, None, block)
    carry = (jnp.int32(0), cursor)
    (_, cursor), record = lax.scan(stage, carry, None, num_steps // block, unroll=at_once)
    record = jax.tree.map(lambda leaf: leaf.reshape(num_steps, *leaf.shape[2:]), record)

    # Observations are functions of states, so the loop need not stack them: one pass over [T, N] does it better. Made
    # as rows [T N], and so free of copies for learners that take them as rows: XLA sees through the two reshapes.
    def observe(state: Any) -> Any:
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), state)
        return jax.tree.map(
            lambda leaf: leaf.reshape(num_steps, num_envs, *leaf.shape[1:]), jax.vmap(env.observe)(rows)
        )

    return cursor, Transition(
        observe(record.state),
        record.action,
        record.reward,
        observe(record.next_state),
        record.terminated,
        record.truncated,
        record.valid,
        record.state,
        record.next_state,
    )


def _stages(backend: str, num_steps: int, num_envs: int) -> tuple[int, int]:
    """How the loop over time is cut: steps of an inner loop, and how many passes of the outer one are written out."""
    # An accelerator pays for each pass, however little there is to do. Two steps in one are 1.4x as fast in DQN on an H100,
    # and take a quarter longer to compile; four are 1.8x as fast and take three times as long.
    if backend != "cpu":
        return 1, min(2, num_steps)
    # A few environments are recorded in two stages: XLA:CPU runs a loop whose buffers are all tiny (512 bytes) without its
    # thread pool, 3x as fast.
    return max(k for k in range(1, num_steps + 1) if num_steps % k == 0 and (k == 1 or k * num_envs <= 128)), 1


def last_returns(played: Transition, before: Array) -> Array:
    """[N] the return of the last episode that ended in each environment of `EpisodeStatistics`, else what it was `before`.

    Args:
      played: [T, N, ...] from `unroll`.
      before: [N]

    Example:
      >>> from rljax.envs import CartPole, EpisodeStatistics
      >>> env = EpisodeStatistics(CartPole())
      >>> push_right = lambda key, observation: jnp.int32(1)
      >>> _, played = unroll(jax.random.key(1), env, push_right, start(jax.random.key(0), env, 2), 12)
      >>> last_returns(played, jnp.zeros(2)).tolist()
      [10.0, 10.0]
    """
    ended = played.terminated | played.truncated
    last = len(ended) - 1 - jnp.argmax(ended[::-1], axis=0)
    total = jnp.take_along_axis(played.next_state.total, last[None], axis=0)[0]
    return jnp.where(ended.any(axis=0), total.astype(before.dtype), before)


class Episodes(NamedTuple):
    """How `N` episodes went."""

    returns: Array  # [N] sum of rewards
    lengths: Array  # [N] int32 steps; `max_steps` where the episode had not ended by then


def episodes(key: Array, env: Environment, policy: Policy, num_episodes: int, max_steps: int | Array) -> Episodes:
    """One whole episode in each of `num_episodes` environments, nothing recorded; stops when all are over.

    Args:
      key, env, policy: as in `unroll`.
      num_episodes: N.
      max_steps: most steps of an episode; the environment may end it before.

    Example:
      >>> from rljax.envs import CartPole
      >>> played = episodes(jax.random.key(0), CartPole(), lambda key, observation: jnp.int32(1), 3, max_steps=200)
      >>> bool((played.lengths < 12).all())
      True
    """
    checks.integer("max_steps", max_steps, 1, batch=True)
    checks.key(key)
    key_start, key_play = jax.random.split(key)
    cursor = start(key_start, env, num_episodes)
    lanes = lane_keys(key_play, num_episodes)
    none = Episodes(jnp.zeros(num_episodes, jnp.result_type(float)), jnp.zeros(num_episodes, jnp.int32))

    def body(carry: tuple[Array, Cursor, Episodes]) -> tuple[Array, Cursor, Episodes]:
        t, cursor, played = carry
        cursor, record = _steps(t, lanes, env, policy, cursor, "none")
        lengths = played.lengths + record.valid.astype(jnp.int32)
        return t + 1, cursor, Episodes(played.returns + record.reward.astype(played.returns.dtype), lengths)

    def going(carry: tuple[Array, Cursor, Episodes]) -> Array:
        t, cursor, _ = carry
        return (t < max_steps) & ~cursor.over.all()

    return lax.while_loop(going, body, (jnp.int32(0), cursor, none))[2]


class Record(NamedTuple):
    """What a step leaves: a `Transition` without the observations, which are functions of the states."""

    state: Any
    action: Array
    reward: Array
    next_state: Any
    terminated: Array
    truncated: Array
    valid: Array


def step(
    t: Array, lane: Array, env: Environment, policy: Policy, cursor: Cursor, autoreset: AutoReset
) -> tuple[Cursor, Record]:
    """One step of one environment: what `unroll` and the adapters to Gymnasium repeat.

    Batched by one `vmap` around all of it: in pieces, XLA would store what passes between.

    Args:
      t: [] int32, the clock.
      lane: the environment's key, of `lane_keys`; 3 t, 3 t + 1 and 3 t + 2 are folded in to act, step and reset.
      env, policy, autoreset: of `unroll`.
      cursor: of one environment.

    Returns:
      Where it stands then, and what happened.

    Example:
      >>> from rljax.envs import CartPole
      >>> env, (lane,) = CartPole(), lane_keys(jax.random.key(0), 1)
      >>> cursor = Cursor(env.reset(jax.random.key(1))[0], jnp.bool_(False))
      >>> cursor, record = step(jnp.int32(0), lane, env, lambda key, observation: jnp.int32(1), cursor, "none")
      >>> float(record.reward), bool(cursor.over)
      (1.0, False)
    """
    key_act, key_step, key_reset = (jax.random.fold_in(lane, 3 * t + role) for role in range(3))
    action = policy(key_act, env.observe(cursor.state))
    state, (_, reward, terminated, truncated) = env.step(key_step, cursor.state, action)
    idle = cursor.over  # never true under "same_step"
    if autoreset != "same_step":
        # A dead environment is frozen, not run on: its state would overflow and 0 * inf poison a masked gradient.
        state = _select(idle, cursor.state, state)
        reward = jnp.where(idle, jnp.zeros_like(reward), reward)
        terminated, truncated = terminated & ~idle, truncated & ~idle
    record = Record(cursor.state, action, reward, state, terminated, truncated, ~idle)
    ended = terminated | truncated
    if autoreset == "none":
        return Cursor(state, idle | ended), record
    due = ended if autoreset == "same_step" else idle
    state = _select(due, env.reset(key_reset)[0], state)
    return Cursor(state, idle if autoreset == "same_step" else ended), record


def _steps(
    t: Array, lanes: Array, env: Environment, policy: Policy, cursor: Cursor, autoreset: AutoReset
) -> tuple[Cursor, Record]:
    return jax.vmap(lambda lane, cursor: step(t, lane, env, policy, cursor, autoreset))(lanes, cursor)


def lane_keys(key: Array, num_envs: int) -> Array:
    """[N] keys, one for each environment.

    Example:
      >>> lane_keys(jax.random.key(0), 3).shape
      (3,)
    """
    checks.key(key)
    checks.integer("num_envs", num_envs, 1)
    return jax.vmap(jax.random.fold_in, (None, 0))(noise.fused(key), jnp.arange(num_envs, dtype=jnp.uint32))


def _select(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda y, n: jnp.where(condition, y, n), yes, no)
