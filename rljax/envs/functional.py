"""A functional environment of Gymnasium in JAX (its Pendulum, CliffWalking, Blackjack, ...) as an environment of ours.

    functional (`gymnasium.experimental.functional.FuncEnv`)        here

    s = initial(k)                                                  reset(key) -> (state, o)
    s' = transition(s, a, k)                                        step(key, state, a) -> (state', Step)
    o' = observation(s', k)                                         state' = (s', o'): observe(state') is o'
    r  = reward(s, a, s', k),   terminated = terminal(s', k)        truncated is False: for a clock take `TimeLimit`

Departures from Gymnasium's own adapter, `FunctionalJaxEnv`:

1. Each function has a random key of its own; there they share one, so that noise in what is seen is that of the dynamics.
2. Initial states take the types of those that follow (CliffWalking begins with Python's False and goes on with int32[1]):
   what a compiled loop carries must keep its type.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax.structs import Step, pytree_dataclass

_METHODS = ("initial", "transition", "observation", "reward", "terminal")
_SPACES = ("action_space", "observation_space")


class FunctionalState(NamedTuple):
    """Where a functional environment is, and what is seen of it there."""

    inner: Any  # its own state
    observation: Any  # drawn once, on arrival: what is seen of a state may be random, and `observe` has no key


@pytree_dataclass
class FunctionalEnv:
    """What `from_functional` makes."""

    params: Any  # of the functional environment, or None: its own
    func_env: Any = field(metadata={"static": True})

    def __post_init__(self) -> None:
        _check(self)

    @property
    def observation_space(self) -> Any:
        """That of the functional environment."""
        return self.func_env.observation_space

    @property
    def action_space(self) -> Any:
        """That of the functional environment."""
        return self.func_env.action_space

    def reset(self, key: Array) -> tuple[FunctionalState, Any]:
        """A first state and what is seen of it."""
        key_initial, key_observation = jax.random.split(key)
        inner = self._call("initial", key_initial)
        like = self._successor(inner)
        inner = jax.tree.map(lambda leaf, to: jnp.broadcast_to(jnp.asarray(leaf, to.dtype), to.shape), inner, like)
        state = FunctionalState(inner, self._observe(key_observation, inner))
        return state, state.observation

    def observe(self, state: FunctionalState) -> Any:
        """What was seen on arrival."""
        return state.observation

    def step(self, key: Array, state: FunctionalState, action: Array) -> tuple[FunctionalState, Step]:
        """One transition, its reward, and whether it ends the task."""
        key_transition, key_observation, key_reward, key_terminal = jax.random.split(key, 4)
        inner = self._call("transition", state.inner, action, key_transition)
        inner = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), inner, state.inner)
        reward = self._call("reward", state.inner, action, inner, key_reward)
        terminated = jnp.asarray(self._call("terminal", inner, key_terminal), bool)
        observation = self._observe(key_observation, inner)
        step = Step(observation, jnp.asarray(reward, jnp.result_type(float)), terminated, jnp.zeros_like(terminated))
        return FunctionalState(inner, observation), step

    def _observe(self, key: Array, inner: Any) -> Any:
        return jax.tree.map(jnp.asarray, self._call("observation", inner, key))

    def _call(self, name: str, *arguments: Any) -> Any:
        options = {} if self.params is None else {"params": self.params}
        # Code from elsewhere was written for JAX as it comes.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return getattr(self.func_env, name)(*arguments, **options)

    def _successor(self, inner: Any) -> Any:
        """Shapes and types of the states that a transition makes from `inner`. Traced: nothing is computed."""
        transition = lambda inner, action, key: self._call("transition", inner, action, key)
        return jax.eval_shape(transition, inner, self._action(), jax.random.key(0))

    def _action(self) -> jax.ShapeDtypeStruct:
        dtype = jax.dtypes.canonicalize_dtype(self.action_space.dtype)
        return jax.ShapeDtypeStruct(self.action_space.shape, dtype)


def from_functional(func_env: Any, params: Any = None) -> FunctionalEnv:
    """A functional environment of Gymnasium on the device: it plays in `rollout`, every learner here trains on it.

    Args:
      func_env: an instance of a `gymnasium.experimental.functional.FuncEnv` that is written in JAX, not yet transformed
        (Gymnasium's vector adapter puts `vmap` into the one that it is given).
      params: its parameters, in place of the defaults that its functions have; they may be traced, so `vmap` over them
        is domain randomisation.

    Returns:
      An environment; its states are `FunctionalState`, its spaces those of `func_env`.

    Errors:
      TypeError: a class, or what has not the functions and the spaces of a functional environment.
      ValueError: functions that JAX cannot trace, states that change their type from step to step, rewards or ends that
        are not one number, actions that do not count from zero.

    Example:
      >>> from gymnasium.envs.phys2d.pendulum import PendulumFunctional
      >>> env = from_functional(PendulumFunctional())
      >>> state, observation = env.reset(jax.random.key(0))
      >>> state, step = env.step(jax.random.key(1), state, jnp.zeros(1))
      >>> step.observation.shape, bool(step.terminated)
      ((3,), False)
      >>> swing = lambda g: from_functional(env.func_env, env.func_env.default_params.replace(g=g)).step
      >>> _, moon = swing(jnp.float32(1.6))(jax.random.key(1), state, jnp.zeros(1))
    """
    return FunctionalEnv(params, func_env)


def _check(env: FunctionalEnv) -> None:
    func_env = env.func_env
    name = type(func_env).__name__
    expected = "expected a functional environment, such as gymnasium.envs.phys2d.pendulum.PendulumFunctional()"
    if isinstance(func_env, type):
        raise TypeError(
            f"func_env is the class {func_env.__name__}; {expected}. Make an instance: {func_env.__name__}()."
        )
    missing = [m for m in _METHODS if not callable(getattr(func_env, m, None))]
    missing += [s for s in _SPACES if not hasattr(func_env, s)]
    if missing:
        raise TypeError(
            f"func_env is a {name}, without {', '.join(missing)}; {expected}. "
            "A gymnasium.Env stays on the host: see rljax.envs.host."
        )
    space = func_env.action_space
    if space.shape is None or np.any(getattr(space, "start", 0)):
        raise ValueError(
            f"the action space of {name} is {space}; expected Box, or Discrete, MultiDiscrete or MultiBinary from zero. "
            "Write its transition for such an action."
        )
    key = jax.random.key(0)
    try:
        state, _ = jax.eval_shape(env.reset, key)
        inner = env._successor(state.inner)
        _, step = jax.eval_shape(env.step, key, state, env._action())
    except Exception as error:
        raise ValueError(
            f"{name} cannot be traced by JAX: {type(error).__name__}: {str(error).partition(chr(10))[0]} Expected pure "
            "functions of arrays, and not yet transformed. Write them with jax.numpy, or leave it on the host: see "
            "rljax.envs.host."
        ) from error
    for what, before, now in (
        ("the state", state.inner, inner),
        ("the reward", jax.ShapeDtypeStruct((), step.reward.dtype), step.reward),
        ("terminal", jax.ShapeDtypeStruct((), bool), step.terminated),
    ):
        if _types(before) != _types(now):
            raise ValueError(
                f"{name}: {what} of a step is {_types(now)}; expected {_types(before)}, the same at every step. "
                "Reshape it in the functional environment."
            )


def _types(tree: Any) -> str:
    return ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree))
