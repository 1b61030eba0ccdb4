"""The mechanism that every learner of `rljax.agents.tabular` is made of: one step of the environment, one update of a table."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import noise, returns
from rljax.agents.common import Schedule, at
from rljax.envs.base import Environment
from rljax.envs.tabular import TabularEnv


class Arrival(NamedTuple):
    """What a `Rule` may look at."""

    r_t: Array  # []
    discount_t: Array  # [] 0 where the episode terminated
    q_t: Array  # [A] of the table that is corrected
    other_t: Array  # [A] of the other table, if there are two
    n_t: Array  # [A] visits
    pi_t: Array  # [A] probabilities by which the next action is chosen
    a_t: Array  # [] the next action
    mask_t: Array  # [A] bool


class Rule(NamedTuple):
    """What an action is judged to be worth after one step."""

    target: Callable[[Arrival], Array]
    ahead: bool = False  # looks at `a_t`
    greedy: bool = False  # about the greedy policy: traces end where another action is taken
    double: bool = False  # has two tables


class Window(NamedTuple):
    """The last n transitions, oldest first."""

    observation: Array  # [n] int32
    column: Array  # [n] int32
    reward: Array  # [n]
    discount: Array  # [n]
    following: Array  # [n] value of the successor, as judged on arrival
    onward: Array  # [n] 1, or 0 where the episode was truncated


class Model(NamedTuple):
    """What Dyna remembers of the world: the last outcome of every pair met."""

    pairs: Array  # [S A] int32, s A + a in the order of first visits
    met: Array  # [] int32, how many of them
    reward: Array  # [S, A]
    discount: Array  # [S, A]
    observation: Array  # [S, A] int32


class TabularState(NamedTuple):
    """Everything the next step needs. Parts that an algorithm does without are `()`."""

    q: Array  # [S, A]; [2, S, A] if there are two tables; [S, 1] where values are predicted
    visits: Array  # [S, A] int32 ([S, 1])
    memory: Any  # traces [S, A], `Window`, `Model` or ()
    env_state: Any
    observation: Array  # [] int32
    action: Any  # [] int32, the next one, where it is drawn ahead of the update
    steps: Array  # [] int32, of the environment
    updates: Array  # [] int32, of the algorithm
    history: Any  # [H, S, A] ([H, S]) ring of tables, one written in each update


class Options(NamedTuple):
    """How one learner differs from another."""

    rule: Rule
    behaviour: Callable[[Array, Array, Array, Array], Array]  # (q [A], n [A], observation, steps) -> probabilities
    mask: Array  # [S, A] bool ([S, 1])
    step_size: ArrayLike | Schedule | Literal["visits"]
    gamma: ArrayLike
    n: int = 1
    trace_decay: ArrayLike | None = None
    replacing: bool = False
    planning_steps: int = 0
    predict: bool = False  # the table has one column, the value of the state

    @property
    def ahead(self) -> bool:
        """The next action is drawn before the update: the rule or the traces look at it."""
        return self.rule.ahead or (self.rule.greedy and self.trace_decay is not None)


def start(key: Array, env: Environment, options: Options, table: Array, history: int) -> TabularState:
    """A first episode, and `table` as it is given."""
    key_reset, key_act = (jax.random.fold_in(noise.fused(key), role) for role in range(2))
    env_state, observation = env.reset(key_reset)
    q = jnp.stack([table, table]) if options.rule.double else table
    zeros, none, zero = jnp.zeros_like(table), jnp.zeros(table.shape, jnp.int32), jnp.int32(0)
    memory = ()
    if options.n > 1:
        times, values = jnp.zeros(options.n, jnp.int32), jnp.zeros(options.n, table.dtype)
        memory = Window(times, times, values, values, values, values)
    elif options.trace_decay is not None:
        memory = zeros
    elif options.planning_steps:
        memory = Model(none.reshape(-1), zero, zeros, zeros, none)
    shown = learned(options, q)
    ring = jnp.broadcast_to(shown, (history, *shown.shape)) if history else ()
    state = TabularState(q, none, memory, env_state, observation, (), zero, zero, ring)
    return state._replace(action=_choose(key_act, options, state, observation)) if options.ahead else state


def learned(options: Options, q: Array) -> Array:
    """What is worth keeping of a table: [S, A], the mean of two; or [S] values."""
    if options.predict:
        return q[:, 0]
    return 0.5 * (q[0] + q[1]) if options.rule.double else q


def recorded(state: TabularState) -> Array:
    """The tables kept, oldest first: [H, S, A] ([H, S]); before there were H of them, the first table fills up."""
    return jnp.roll(state.history, -state.updates, axis=0)


def advance(
    key: Array, env: Environment, options: Options, state: TabularState, num_steps: int
) -> tuple[TabularState, Array]:
    """`num_steps` steps of the environment, each with its update, then one entry of the history; also the mean reward."""
    lane, history = noise.fused(key), state.history

    def body(carry: tuple[TabularState, Array], _: None) -> tuple[tuple[TabularState, Array], None]:
        state, total = carry
        state, reward = step(lane, env, options, state)
        return (state, total + reward), None

    # The history stays outside: XLA:CPU runs a loop whose buffers are all tiny without its thread pool, 3x as fast.
    carry = (state._replace(history=()), jnp.zeros((), state.q.dtype))
    (state, total), _ = lax.scan(body, carry, None, num_steps)
    if not isinstance(history, tuple):
        history = history.at[state.updates % history.shape[0]].set(learned(options, state.q))
    return state._replace(updates=state.updates + 1, history=history), total / num_steps


def step(lane: Array, env: Environment, options: Options, state: TabularState) -> tuple[TabularState, Array]:
    """One step of the environment and what is learned from it; also the reward. The key is folded with the step's number."""
    key_act, key_env, key_reset, key_first, key_coin, key_plan = (
        jax.random.fold_in(lane, 6 * state.steps + role) for role in range(6)
    )
    s_tm1 = state.observation
    a_tm1 = state.action if options.ahead else _choose(key_act, options, state, s_tm1)
    env_state, (s_t, r_t, terminated, truncated) = env.step(key_env, state.env_state, a_tm1)
    column = jnp.zeros_like(a_tm1) if options.predict else a_tm1
    discount_t = jnp.where(terminated, 0.0, jnp.asarray(options.gamma, state.q.dtype))
    r_t = r_t.astype(state.q.dtype)
    visits = _add(state.visits, (s_tm1, column), jnp.int32(1))
    state = state._replace(visits=visits, steps=state.steps + 1)

    a_t = _choose(key_act, options, state, s_t) if options.ahead else jnp.int32(0)
    seen = Observed(s_tm1, column, r_t, discount_t, s_t, a_t, truncated)
    after = _learn(options, state, key_coin, seen)
    if options.planning_steps:
        after = _plan(options, after, key_plan, seen)

    if never_ends(env):
        after = after._replace(env_state=env_state, observation=s_t)
        return (after._replace(action=a_t) if options.ahead else after), r_t
    ended = terminated | truncated
    # A branch, not a choice between results: a reset may look at every state. For a batch, JAX makes it a choice again, of
    # what the branch looks at too; hence the key as plain words, which may be chosen between without being consumed.
    words, impl = jax.random.key_data(key_reset), jax.random.key_impl(key_reset)
    anew = lambda: env.reset(jax.random.wrap_key_data(words, impl=impl))
    env_state, observation = lax.cond(ended, anew, lambda: (env_state, s_t))
    after = after._replace(env_state=env_state, observation=observation)
    if options.ahead:
        after = after._replace(action=jnp.where(ended, _choose(key_first, options, after, observation), a_t))
    return after, r_t


class Observed(NamedTuple):
    """One transition, as far as a table is concerned."""

    s_tm1: Array
    column: Array  # of the table: the action, or 0
    r_t: Array
    discount_t: Array
    s_t: Array
    a_t: Array  # the next action, where it is drawn ahead
    truncated: Array


def _learn(options: Options, state: TabularState, key: Array, seen: Observed) -> TabularState:
    """The update after a transition."""
    coin = (noise.uniforms(key, 1)[0] < 0.5).astype(jnp.int32) if options.rule.double else jnp.int32(0)
    if options.n > 1:
        return _learn_late(options, state, seen)
    cell = (seen.s_tm1, seen.column)
    cell = (coin, *cell) if options.rule.double else cell
    delta = lax.optimization_barrier(_target(options, state, coin, seen) - _take(state.q, cell))
    if options.trace_decay is None:
        return state._replace(q=_add(state.q, cell, _step_size(options, state, cell[-2:]) * delta))
    here = jnp.zeros_like(state.memory).at[cell].set(1.0)
    trace = jnp.where(here > 0, here, state.memory) if options.replacing else state.memory + here
    q = state.q + _step_size(options, state, None) * delta * trace
    q_t = state.q[seen.s_t]
    highest = jnp.max(q_t, where=options.mask[seen.s_t], initial=-jnp.inf)
    cut = seen.truncated | (q_t[seen.a_t] < highest) if options.rule.greedy else seen.truncated
    decay = jnp.where(cut, 0.0, seen.discount_t * jnp.asarray(options.trace_decay, q.dtype))
    return state._replace(q=q, memory=decay * trace)


def _learn_late(options: Options, state: TabularState, seen: Observed) -> TabularState:
    """The update of what was done n steps ago."""
    one = jnp.ones_like(seen.r_t)
    following = _target(options, state, jnp.int32(0), seen._replace(r_t=0.0 * one, discount_t=one))
    onward = jnp.where(seen.truncated, 0.0, one)
    new = Window(seen.s_tm1, seen.column, seen.r_t, seen.discount_t, following, onward)
    window = jax.tree.map(lambda last, x: jnp.append(last[1:], x), state.memory, new)
    g_t = returns.lambda_returns(window.reward, window.discount, window.following, window.onward)[0]
    cell = (window.observation[0], window.column[0])
    alpha = jnp.where(state.steps >= options.n, _step_size(options, state, cell), 0.0)
    return state._replace(q=_add(state.q, cell, alpha * (g_t - _take(state.q, cell))), memory=window)


def _plan(options: Options, state: TabularState, key: Array, seen: Observed) -> TabularState:
    """Dyna: remember the transition, then learn again from pairs met before."""
    cell = (seen.s_tm1, seen.column)
    columns = state.visits.shape[1]
    new = state.visits[cell] == 1  # this visit is counted already
    pairs, met, reward, discount, observation = state.memory
    place = jnp.where(new, met, pairs.shape[0])  # beyond the end: dropped
    pairs = pairs.at[place].set(seen.s_tm1 * columns + seen.column, mode="drop")
    met = met + new.astype(jnp.int32)
    reward, discount = reward.at[cell].set(seen.r_t), discount.at[cell].set(seen.discount_t)
    observation = observation.at[cell].set(seen.s_t)

    def again(i: Array, q: Array) -> Array:
        u = noise.uniforms(jax.random.fold_in(key, i), 1)[0]
        pair = pairs[jnp.minimum((u * met.astype(u.dtype)).astype(jnp.int32), met - 1)]
        s, a = pair // columns, pair % columns
        past = Observed(s, a, reward[s, a], discount[s, a], observation[s, a], seen.a_t, jnp.bool_(False))
        now = state._replace(q=q)
        delta = _target(options, now, jnp.int32(0), past) - q[s, a]
        return _add(q, (s, a), _step_size(options, now, (s, a)) * delta)

    q = lax.fori_loop(0, options.planning_steps, again, state.q)
    return state._replace(q=q, memory=Model(pairs, met, reward, discount, observation))


def _target(options: Options, state: TabularState, coin: Array, seen: Observed) -> Array:
    q, s = state.q, seen.s_t
    q_t, other_t = (_take(q, (c, s)) for c in (coin, 1 - coin)) if options.rule.double else (_take(q, (s,)),) * 2
    pi_t, n_t, mask_t = _behaviour(options, state, s), _take(state.visits, (s,)), _take(options.mask, (s,))
    return options.rule.target(Arrival(seen.r_t, seen.discount_t, q_t, other_t, n_t, pi_t, seen.a_t, mask_t))


def _behaviour(options: Options, state: TabularState, s: Array) -> Array:
    q = 0.5 * (state.q[0, s] + state.q[1, s]) if options.rule.double else _take(state.q, (s,))
    return options.behaviour(q, _take(state.visits, (s,)), s, state.steps)


def _choose(key: Array, options: Options, state: TabularState, s: Array) -> Array:
    # Behind a barrier: else XLA draws anew in every kernel that uses the action.
    return lax.optimization_barrier(draw(noise.uniforms(key, 1)[0], _behaviour(options, state, s)))


def draw(u: Array, pi: Array) -> Array:
    """[] int32: the action at which the sum of probabilities passes u [] in [0, 1); one of probability 0 never is.

    Example:
      >>> [int(draw(jnp.float32(u), jnp.array([0.0, 0.5, 0.0, 0.5, 0.0]))) for u in (0.0, 0.49, 0.5, 0.999)]
      [1, 1, 3, 3]
    """
    if pi.shape[0] > _UNROLLED:
        before = jnp.cumsum(pi) - pi  # 0 exactly before the first that is possible
        index = jnp.arange(pi.shape[0], dtype=jnp.int32)
        return jnp.max(jnp.where((pi > 0) & (before <= u.astype(pi.dtype) * pi.sum()), index, 0))
    threshold = u.astype(pi.dtype) * functools.reduce(operator.add, (pi[i] for i in range(pi.shape[0])))
    before, action = jnp.zeros_like(threshold), jnp.int32(0)
    for i in range(pi.shape[0]):
        action = jnp.where((pi[i] > 0) & (before <= threshold), jnp.int32(i), action)
        before = before + pi[i]
    return action


def never_ends(env: Environment) -> bool:
    """Known now to have no end: what would reset it is left out of the program."""
    return isinstance(env, TabularEnv) and env.never_ends


def _step_size(options: Options, state: TabularState, cell: tuple[Array, Array] | None) -> Array:
    """[] for one cell, or [S, A] for all of them."""
    dtype = state.q.dtype
    if isinstance(options.step_size, str):
        n = state.visits if cell is None else state.visits[cell]
        return 1.0 / jnp.maximum(n, 1).astype(dtype)
    return at(options.step_size, state.steps - 1, dtype)


def _take(table: Array, cell: tuple[Array, ...]) -> Array:
    """`table[cell]` for indices known to be in range: without the checks that cost more than the look."""
    return table.at[cell].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _add(table: Array, cell: tuple[Array, ...], x: Array) -> Array:
    """`table` with x added in one cell."""
    return table.at[cell].add(x, mode="promise_in_bounds", wrap_negative_indices=False)


_UNROLLED = 16  # actions up to which a loop over them is written out: it fuses, a reduction would not
