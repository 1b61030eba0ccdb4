"""An rljax environment as a `gymnasium.experimental.functional.FuncEnv`: pure functions of state, action and key."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from jax import Array

from rljax.envs.base import Environment
from rljax.envs.gymnasium import common


class RljaxFuncState(NamedTuple):
    """A state that remembers what was said of the step to it: `FuncEnv` asks for it later, piece by piece."""

    inner: Any  # state of the environment
    reward: Array  # [] of the step to here; 0 at the beginning
    terminated: Array  # [] bool
    truncated: Array  # [] bool


class RljaxFuncEnv(FuncEnv[RljaxFuncState, Any, Any, Array, Array, None, Any]):
    """The environment's own functions under Gymnasium's names; they jit, vmap, scan and differentiate.

    `params` is an environment of the same kind, default the given one: `vmap` over its numbers is domain randomisation.
    Random keys may be typed, or the raw kind that Gymnasium passes. `FuncEnv` knows no time limits: where there is one,
    `terminal` is silent about it, and `transition_info` says "truncated".

    The state is a pytree: `gymnasium.envs.functional_jax_env.FunctionalJaxEnv` takes it, `FunctionalJaxVectorEnv` can store
    arrays only; `RljaxVectorEnv` is there instead.

    Args:
      world: an rljax environment.
      draw: from a state to a picture, [height, width, 3] uint8; default: ours, which knows CartPole.

    Errors:
      TypeError, ValueError: an environment that has no place in Gymnasium.

    Example:
      >>> from rljax.envs import CartPole
      >>> func = RljaxFuncEnv(CartPole())
      >>> state = func.initial(jax.random.key(0))
      >>> arrival = func.transition(state, jnp.int32(1), jax.random.key(1))
      >>> float(func.reward(state, jnp.int32(1), arrival, jax.random.key(1))), bool(func.terminal(arrival, jax.random.key(1)))
      (1.0, False)
    """

    def __init__(self, world: Environment, *, draw: common.Draw | None = None) -> None:
        self.observation_space, self.action_space = common.spaces_of(world)
        self.world, self._draw = world, draw or common.drawing_of(world)
        self._action = self.action_space.sample()  # some action: to ask what a step would return
        super().__init__()

    def get_default_params(self, **kwargs: Any) -> Environment:
        """The environment."""
        return self.world

    def initial(self, rng: Any, params: Any = None) -> RljaxFuncState:
        """A fresh state."""
        env = self._params(params)
        state, _ = env.reset(_typed(rng))
        step = jax.eval_shape(env.step, jax.random.key(0), state, self._action)[1]
        never = jnp.bool_(False)
        return RljaxFuncState(state, jnp.zeros(step.reward.shape, step.reward.dtype), never, never)

    def transition(self, state: RljaxFuncState, action: Any, rng: Any, params: Any = None) -> RljaxFuncState:
        """The state that the action leads to."""
        arrival, step = self._params(params).step(_typed(rng), state.inner, action)
        return RljaxFuncState(arrival, step.reward, step.terminated, step.truncated)

    def observation(self, state: RljaxFuncState, rng: Any, params: Any = None) -> Any:
        """What the agent sees of a state."""
        del rng
        return self._params(params).observe(state.inner)

    def reward(
        self, state: RljaxFuncState, action: Any, next_state: RljaxFuncState, rng: Any, params: Any = None
    ) -> Array:
        """[] for arriving in `next_state`, which remembers it."""
        del state, action, rng, params
        return next_state.reward

    def terminal(self, state: RljaxFuncState, rng: Any, params: Any = None) -> Array:
        """[] bool: no future after this state."""
        del rng, params
        return state.terminated

    def transition_info(
        self, state: RljaxFuncState, action: Any, next_state: RljaxFuncState, params: Any = None
    ) -> dict[str, Any]:
        """`truncated`, [] bool: the clock of a `TimeLimit` ended the episode."""
        del state, action, params
        return {"truncated": next_state.truncated}

    def render_init(self, params: Any = None, **kwargs: Any) -> None:
        """Nothing is kept between pictures."""
        del params, kwargs
        common.render_mode("rgb_array", self._draw)

    def render_image(self, state: RljaxFuncState, render_state: None, params: Any = None) -> tuple[None, np.ndarray]:
        """The state as a picture, [height, width, 3] uint8."""
        common.render_mode("rgb_array", self._draw)
        assert self._draw is not None
        return None, self._draw(state.inner)

    def render_close(self, render_state: None, params: Any = None) -> None:
        """There is nothing to close."""

    def _params(self, params: Any) -> Any:
        return self.world if params is None else params


def _typed(rng: Any) -> Array:
    return rng if jnp.issubdtype(rng.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(rng)
