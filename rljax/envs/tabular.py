"""Any Markov decision process in tables as an environment: plan with the model, learn from its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.envs.base import Environment
from rljax.mdp.model import TabularMDP
from rljax.mdp.transitions import draw
from rljax.structs import Step, pytree_dataclass

if TYPE_CHECKING:
    from gymnasium import spaces


@pytree_dataclass
class TabularEnv:
    """The world of a `TabularMDP`, one sampled step at a time.

        S_0 ~ initial,    S_t ~ P(. | S_{t-1}, A_{t-1}),    R_t = r(S_{t-1}, A_{t-1}, S_t)

    The state is its number, [] int32, and so is the observation. Arriving in a terminal state terminates; a terminal state
    that is stepped on stays as it is, for a reward of 0.

    Args:
      mdp: the model; every number in it may be traced, so `vmap` over rewards or whole problems works.

    Example:
      >>> import jax
      >>> env = TabularEnv(TabularMDP(jnp.array([[[0.0, 1.0]], [[0.0, 1.0]]]), jnp.array([5.0, 0.0]), gamma=0.9))
      >>> state, step = env.step(jax.random.key(0), jnp.int32(0), jnp.int32(0))
      >>> int(state), float(step.reward)
      (1, 5.0)

    Geron (2022), ch. 18, "Markov decision processes"; Sutton & Barto (2018), sec. 3.1.
    """

    mdp: TabularMDP

    def __post_init__(self) -> None:
        if not isinstance(self.mdp, TabularMDP):
            raise TypeError(f"mdp is {self.mdp!r}; expected a TabularMDP, such as mdp.problems.chapter_mdp().")

    @property
    def observation_space(self) -> spaces.Discrete:
        """The number of the state."""
        from gymnasium import spaces

        return spaces.Discrete(self.mdp.num_states)

    @property
    def action_space(self) -> spaces.Discrete:
        """The number of the action; which are available depends on the state: `available`."""
        from gymnasium import spaces

        return spaces.Discrete(self.mdp.num_actions)

    @property
    def mask(self) -> Array:
        """[S, A] bool: True where an action is available."""
        return self.mdp.mask

    @property
    def never_ends(self) -> bool:
        """No state is terminal, and that is known now (not under jit): resets can be left out of the program."""
        terminal = self.mdp.terminal
        return not isinstance(terminal, jax.core.Tracer) and not np.asarray(terminal).any()

    def available(self, state: Array) -> Array:
        """[A] bool: the actions that may be taken in a state."""
        return self.mdp.mask[state]

    def reset(self, key: Array) -> tuple[Array, Array]:
        """A state of the initial distribution."""
        state = draw(key, self.mdp.initial)
        return state, state

    def observe(self, state: Array) -> Array:
        """[] int32: the state itself."""
        return state

    def step(self, key: Array, state: Array, action: ArrayLike) -> tuple[Array, Step]:
        """One transition of the model.

        Errors:
          TypeError: the action is not one integer.
          ValueError: there is no such action, or it is not available, as far as that is known (not under jit).
        """
        checks.action(action, self.mdp.num_actions)
        _refuse_unavailable(self.mdp.mask, self.mdp.terminal, state, action)
        mdp, action = self.mdp, jnp.asarray(action)
        successor, slot = mdp.transitions.sample(key, state, action)
        reward = mdp.sample_reward(state, action, slot)
        if self.never_ends:
            never = jnp.zeros(jnp.shape(state), bool)
            return successor, Step(successor, reward, never, never)
        over = mdp.terminal[state]
        successor = jnp.where(over, state, successor)
        terminated = over | mdp.terminal[successor]
        return successor, Step(successor, jnp.where(over, 0.0, reward), terminated, jnp.zeros_like(terminated))


def mdp_from_env(env: Environment) -> TabularMDP:
    """The model of an environment that has one: the way back from `TabularEnv(mdp)`.

    Args:
      env: a `TabularEnv`, possibly in wrappers (whose own doings, such as time limits, are not part of the model).

    Returns:
      The very `TabularMDP` that it steps through.

    Errors:
      TypeError: an environment without a table.

    Example:
      >>> from rljax.envs import CartPole, TimeLimit
      >>> mdp = TabularMDP(jnp.array([[[1.0]]]), jnp.array([2.0]), gamma=0.5)
      >>> mdp_from_env(TimeLimit(TabularEnv(mdp), 10)) is mdp
      True
      >>> mdp_from_env(CartPole())
      Traceback (most recent call last):
      TypeError: env is a CartPole; expected a TabularEnv, or one in wrappers. An environment from elsewhere has no table: \
make a TabularMDP of it (mdp.from_gymnasium, mdp.TabularMDP) and a TabularEnv of that.
    """
    inner: Any = env
    while not isinstance(inner, TabularEnv):
        if not hasattr(inner, "inner"):
            raise TypeError(
                f"env is a {type(inner).__name__}; expected a TabularEnv, or one in wrappers. An environment from elsewhere "
                "has no table: make a TabularMDP of it (mdp.from_gymnasium, mdp.TabularMDP) and a TabularEnv of that."
            )
        inner = inner.inner
    return inner.mdp


def _refuse_unavailable(mask: Array, terminal: Array, state: Array, action: ArrayLike) -> None:
    if any(isinstance(x, jax.core.Tracer) for x in (mask, terminal, state, action)):
        return
    s, a = np.asarray(state).item(), np.asarray(action).item()
    here = np.asarray(mask)[s]
    if not here[a] and not np.asarray(terminal)[s]:
        raise ValueError(
            f"action {a} is not available in state {s}; expected one of {', '.join(map(str, np.flatnonzero(here)))}."
        )
