"""What the adapters share: random keys, compiled steps, spaces, refusals and pictures.

Every environment has a lane of keys and a clock of its own:

    words     two of `np_random`, drawn whenever that is a new generator: at a reset with a seed, and at the first one
    lane i    fold_in(key(words), i)
    tick t    a step takes fold_in(lane, 3 t + 1), a reset fold_in(lane, 3 t + 2); the first reset is tick -1

These are the keys of `rollout.unroll`, so what an adapter answers after its first reset is one rollout, to the bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jax import Array

from rljax import checks, noise, rollout
from rljax.envs import CartPole, TabularEnv
from rljax.envs.base import Environment
from rljax.runs import drawing

METADATA = {"render_modes": ["rgb_array"], "render_fps": 50}  # frames per second: what `CartPole` is integrated with
SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict, spaces.Tuple)
BEGINNING = np.uint32(2**32 - 1)  # the clock before the first reset: -1

Draw = Callable[[Any], np.ndarray]  # state -> [height, width, 3] uint8


# Keys


def words(generator: np.random.Generator) -> np.ndarray:
    """[2] uint32: the data of the typed key, `jax.random.wrap_key_data(words, impl="threefry2x32")`, that lanes are made of."""
    return generator.integers(2**32, size=2, dtype=np.uint32)


@jax.jit
def lanes(words: Array, index: Array) -> Array:
    """[N, 3] uint32: the data of the keys of N lanes, lane `index[i]` of `words[i]`, [N] uint32 and [N, 2]."""
    keys = noise.fused(jax.random.wrap_key_data(words, impl="threefry2x32"))
    return jax.random.key_data(jax.vmap(jax.random.fold_in)(keys, index))


def _typed(lane: Array) -> Array:
    # Raw words travel between calls: a typed array would have to be taken apart and put together by Python each time.
    return jax.random.wrap_key_data(lane, impl=jax.random.key_impl(noise.fused(jax.random.key(0))))


# Programs


class Answer(NamedTuple):
    """What one step says of an environment."""

    observation: Any  # of where it stands now, after a reset if there was one
    reward: Array  # []
    terminated: Array  # [] bool
    truncated: Array  # [] bool
    ended: Array | None  # [] bool: either; under "same_step" only
    final_observation: Any  # of where the step led, before the reset; under "same_step" only


class Single(NamedTuple):
    """Compiled functions of one environment:

    start(lane, clock) -> clock, state, observation
    step(lane, clock, state, action) -> clock, state, observation, [3] reward, terminated, truncated
    """

    start: Callable[..., Any]
    step: Callable[..., Any]


class Many(NamedTuple):
    """Compiled functions of N environments, all arrays [N, ...]:

    start(lane, clock) -> clock, cursor, observation
    restart(lane, clock, cursor, mask) -> clock, cursor, observation; a start where the mask is True
    step(lane, clock, cursor, action) -> clock, cursor, Answer
    """

    start: Callable[..., Any]
    restart: Callable[..., Any]
    step: Callable[..., Any]


class _Held:
    """An environment by which to look its programs up: equal numbers of equal types, and the very same arrays."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        leaves, structure = jax.tree.flatten(env)
        parts = ((type(leaf), leaf) if isinstance(leaf, int | float) else id(leaf) for leaf in leaves)
        self._content = (structure, *parts)  # the arrays live as long as this does, and so do their identities

    def __hash__(self) -> int:
        return hash(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self._content == other._content


def single(env: Environment) -> Single:
    """The programs of one environment, compiled once for all adapters of equal ones."""
    return _single(_Held(env))


def many(env: Environment, autoreset: rollout.AutoReset) -> Many:
    """The programs of a batch of environments, compiled once for all adapters of equal ones."""
    return _many(_Held(env), autoreset)


@functools.lru_cache(maxsize=64)
def _single(held: _Held) -> Single:
    env = held.env

    def step(lane: Array, clock: Array, state: Any, action: Any) -> tuple[Array, Any, Any, Array]:
        state, (observation, reward, *flags) = env.step(jax.random.fold_in(_typed(lane), 3 * clock + 1), state, action)
        # One array instead of three: to bring a number to the host costs more than to compute it.
        return clock + 1, state, observation, jnp.stack([reward, *(flag.astype(reward.dtype) for flag in flags)])

    return Single(jax.jit(functools.partial(_start, env)), jax.jit(step))


@functools.lru_cache(maxsize=64)
def _many(held: _Held, autoreset: rollout.AutoReset) -> Many:
    env = held.env

    def start(lane: Array, clock: Array) -> tuple[Array, rollout.Cursor, Any]:
        clock, state, observation = _start(env, lane, clock)
        return clock, rollout.Cursor(state, jnp.bool_(False)), observation

    def restart(lane: Array, clock: Array, cursor: rollout.Cursor, mask: Array) -> tuple[Array, rollout.Cursor, Any]:
        *fresh, _ = start(lane, clock)
        clock, cursor = jax.tree.map(lambda new, old: jnp.where(mask, new, old), tuple(fresh), (clock, cursor))
        return clock, cursor, env.observe(cursor.state)

    def step(lane: Array, clock: Array, cursor: rollout.Cursor, action: Any) -> tuple[Array, rollout.Cursor, Answer]:
        policy = lambda key, observation: action
        cursor, record = rollout.step(clock, _typed(lane), env, policy, cursor, autoreset)
        ended, final = None, None
        if autoreset == "same_step":
            ended, final = record.terminated | record.truncated, env.observe(record.next_state)
        observation = env.observe(cursor.state)
        return clock + 1, cursor, Answer(observation, record.reward, record.terminated, record.truncated, ended, final)

    return Many(*(jax.jit(jax.vmap(function)) for function in (start, restart, step)))


def _start(env: Environment, lane: Array, clock: Array) -> tuple[Array, Any, Any]:
    state, observation = env.reset(jax.random.fold_in(_typed(lane), 3 * clock + 2))
    return clock + 1, state, observation


# Spaces


def spaces_of(env: Environment) -> tuple[spaces.Space, spaces.Space]:
    """Those of observations and of actions, of an environment that can be an adapter's.

    Errors:
      TypeError: not an rljax environment, or spaces that arrays cannot fill.
      ValueError: a tabular world where some action is not available in some state: Gymnasium's spaces cannot say so.
    """
    checks.environment("world", env)
    for name in ("observation_space", "action_space"):
        _refuse_space(name, getattr(env, name, None))
    inner = _innermost(env)
    if isinstance(inner, TabularEnv) and not (available := np.asarray(inner.mask)).all():
        s, a = np.argwhere(~available)[0]
        raise ValueError(
            f"action {a} is not available in state {s}; expected every action in every state, as Gymnasium's spaces are. "
            "Give it a row of probabilities and a reward: that of staying where one is, for nothing, for example."
        )
    return env.observation_space, env.action_space


def _refuse_space(name: str, space: Any) -> None:
    if not isinstance(space, SPACES):
        raise TypeError(f"{name} is {space!r}; expected one of {', '.join(kind.__name__ for kind in SPACES)}.")
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.values() if isinstance(space, spaces.Dict) else space:
            _refuse_space(f"{name}, a part,", part)


def to_numpy(space: spaces.Space, value: Any, *, copy: bool | None = True) -> Any:
    """An element of a space as Gymnasium wants it: of NumPy, in the types of the space, and the caller's own.

    `copy` None copies only what has another type: arrays of JAX are then seen through, and cannot be written to.
    """
    if isinstance(space, spaces.Dict):
        return {name: to_numpy(part, value[name], copy=copy) for name, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(to_numpy(*pair, copy=copy) for pair in zip(space, value, strict=True))
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(np.asarray(value))
    return np.array(value, space.dtype, copy=copy)


# Refusals


def render_mode(value: str | None, draw: Draw | None) -> None:
    """`value` is None, or "rgb_array" where there is something to draw with."""
    if value not in (None, "rgb_array"):
        raise gymnasium.error.UnsupportedMode(
            f"render_mode is {value!r}; expected None or 'rgb_array'. gymnasium.make has wrappers for 'human' and lists."
        )
    if value is not None and draw is None:
        raise gymnasium.error.UnsupportedMode(
            f"render_mode is {value!r}, but nothing is known that draws this environment; expected None. "
            "Or pass draw, a function from a state to a picture, [height, width, 3] uint8."
        )


def options(given: dict[str, Any] | None, *known: str) -> dict[str, Any]:
    """`options` of a reset: all of them known."""
    unknown = [name for name in given or {} if name not in known]
    if unknown:
        raise ValueError(
            f"options has {', '.join(map(repr, unknown))}; expected {', '.join(map(repr, known)) or 'none'}. "
            "What changes the environment is an argument of the environment: CartPole(reset_range=0.1)."
        )
    return given or {}


def not_reset(what: str) -> gymnasium.error.ResetNeeded:
    """The error of whoever wants `what` of an environment that stands nowhere."""
    return gymnasium.error.ResetNeeded(f"{what} before reset: there is no state yet. Call reset() first.")


# Pictures


def drawing_of(env: Environment) -> Draw | None:
    """What draws the states of an environment, if there is something."""
    if isinstance(_innermost(env), CartPole):
        return lambda state: drawing.cartpole_frame(state, env=env)
    return None


def undrawn(spec: Any) -> None:
    """Say that no picture was asked for: to render is no mistake then, it is in vain."""
    make = f"gymnasium.make({spec.id!r}, render_mode='rgb_array')" if spec else "render_mode='rgb_array'"
    gymnasium.logger.warn(f"render() shows nothing, since render_mode is None. Choose it at the beginning: {make}")


def _innermost(env: Any) -> Any:
    while hasattr(env, "inner"):
        env = env.inner
    return env
