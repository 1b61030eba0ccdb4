"""The tabular Markov decision process: everything about a small world, as one immutable pytree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.mdp import validation
from rljax.mdp.generated import Generated, Transitions
from rljax.mdp.transitions import Dense, Sparse, flags, floats, gather, numpy_for, placed
from rljax.structs import pytree_dataclass


def one_problem(value: Any) -> None:
    """`value` is a `TabularMDP`, and one problem, not a stack of them.

    Example:
      >>> one_problem([[0.5, 0.5]])
      Traceback (most recent call last):
      TypeError: mdp is a list; expected a mdp.TabularMDP. Make one, or take envs.mdp_from_env(env) of a TabularEnv.
    """
    if not isinstance(value, TabularMDP):
        raise TypeError(
            f"mdp is a {type(value).__name__}; expected a mdp.TabularMDP. Make one, or take envs.mdp_from_env(env) of a "
            "TabularEnv."
        )
    if jnp.ndim(value.terminal) != 1:
        raise ValueError(
            f"mdp is a stack of problems, terminal of shape {jnp.shape(value.terminal)}; expected one, of shape (S,). Wrap "
            "the function in jax.vmap."
        )


@pytree_dataclass
class TabularMDP:
    """States 0 ... S - 1, actions 0 ... A - 1, and what follows from them.

    Every field is a leaf or a tree of leaves: `vmap` over gamma, rewards or whole problems, and `grad` by any of them, work.
    What a person builds is checked on the host, with state and action named; what JAX rebuilds is not, nor is anything
    that is traced. Many problems at once are made one by one and stacked, `jax.tree.map(lambda *x: jnp.stack(x), *mdps)`.

    Args:
      transitions: `Dense`, `Sparse` or `Generated`; or an array [S, A, S] of probabilities P(s' | s, a), made `Dense`.
        Their type, float32 or float64, is the precision of everything.
      reward: on leaving, [S] or [S, A], or on arrival, [S, A, S] (`Dense`) or [S, A, B] (lists of B successors).
      gamma: discount in [0, 1]; may be traced. 1 only where every policy ends.
      mask: [S, A] bool, True where an action is available; default: all are. In a terminal state all count as available:
        none does anything.
      terminal: [S] bool, True where an episode is over: worth 0, nothing follows; default: none.
      initial: [S] probabilities of the first state; default: uniform over the states that are not terminal.

    Errors:
      ValueError, TypeError: naming state, action, value and what to do.

    Example:
      >>> mdp = TabularMDP(jnp.array([[[0.5, 0.5]], [[0.0, 1.0]]]), jnp.array([1.0, 0.0]), gamma=0.9)
      >>> mdp.num_states, mdp.num_actions
      (2, 1)
      >>> TabularMDP(jnp.array([[[0.5, 0.6]], [[0.0, 1.0]]]), jnp.array([1.0, 0.0]), gamma=0.9)
      Traceback (most recent call last):
      ValueError: state 0, action 0: the probabilities sum to 1.1; expected 1. Divide the row by its sum or, if \
the action is not available there, set mask[0, 0] to False.

    Puterman (1994), ch. 2; Geron (2022), ch. 18, "Markov decision processes".
    """

    transitions: Transitions
    reward: Array | None  # None: the function of a generated model tells it
    gamma: Array
    mask: Array
    terminal: Array
    initial: Array

    def __init__(
        self,
        transitions: Transitions | ArrayLike,
        reward: ArrayLike | None,
        *,
        gamma: ArrayLike,
        mask: ArrayLike | None = None,
        terminal: ArrayLike | None = None,
        initial: ArrayLike | None = None,
    ) -> None:
        transitions = transitions if isinstance(transitions, Transitions) else Dense(floats("probability", transitions))
        dtype, num_states = transitions.dtype, transitions.num_states
        checks.real("gamma", gamma, 0, 1)
        ends = np.zeros(num_states, bool) if terminal is None else flags("terminal", terminal)
        may = np.ones((num_states, transitions.num_actions), bool) if mask is None else flags("mask", mask)
        xp = numpy_for(ends, may)
        ends, may = xp.asarray(ends), xp.asarray(may)
        if initial is None:
            alive = (~ends if ends.dtype == bool else ends == 0).astype(dtype)
            initial = xp.where(alive.any(), alive / xp.maximum(alive.sum(), 1), 1 / num_states)
        for name, value in (
            ("transitions", transitions),
            ("reward", None if reward is None else floats("reward", reward).astype(dtype)),
            ("gamma", jnp.array(gamma, dtype)),  # a copy
            ("mask", may),
            ("terminal", ends),
            ("initial", floats("initial", initial).astype(dtype)),
        ):
            object.__setattr__(self, name, value)
        validation.shapes(self)
        object.__setattr__(self, "mask", placed(may | ends[:, None]))
        object.__setattr__(self, "terminal", placed(ends))
        object.__setattr__(self, "transitions", validation.numbers(self))

    @classmethod
    def sparse(cls, successor: ArrayLike, probability: ArrayLike, reward: ArrayLike, **others: Any) -> TabularMDP:
        """From lists of successors in the order in which people write, each [S, A, B]; unused places have probability 0.

        Args:
          successor: [S, A, B] integers; no list names a state twice.
          probability: [S, A, B] of each.
          reward: [S], [S, A] or [S, A, B].
          others: gamma, mask, terminal and initial, as of `TabularMDP`.

        Example:
          >>> successor, probability = jnp.array([[[0, 1]], [[1, 0]]]), jnp.array([[[0.5, 0.5]], [[1.0, 0.0]]])
          >>> TabularMDP.sparse(successor, probability, jnp.array([1.0, 0.0]), gamma=0.9).transitions.fan_out
          2
        """
        return cls(Sparse.of(successor, probability), reward, **others)

    @classmethod
    def generated(
        cls,
        function: Callable[..., tuple[Array, Array, Array]],
        num_states: int,
        num_actions: int,
        *,
        parameters: tuple[Any, ...] = (),
        block_size: int = 4096,
        **others: Any,
    ) -> TabularMDP:
        """From a function `(s, a, *parameters) -> (successor [B], probability [B], reward [B])`: see `Generated`.

        Args:
          function, num_states, num_actions, parameters, block_size: as of `Generated`.
          others: gamma, mask, terminal and initial, as of `TabularMDP`.

        Example:
          >>> def walk(s, a):  # to the left or to the right on a ring; 1 for coming to state 0
          ...     successor = (s + 2 * a - 1) % 1000
          ...     return successor[None], jnp.ones(1), (successor == 0).astype(float)[None]
          >>> TabularMDP.generated(walk, 1000, 2, gamma=0.9).expected_reward[:, :3].tolist()
          [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
        """
        return cls(Generated(function, num_states, num_actions, parameters, block_size), None, **others)

    @property
    def num_states(self) -> int:
        """S."""
        return self.transitions.num_states

    @property
    def num_actions(self) -> int:
        """A."""
        return self.transitions.num_actions

    @property
    def dtype(self) -> Any:
        """The precision of everything computed."""
        return self.transitions.dtype

    @property
    def expected_reward(self) -> Array:
        """[A, S]: r(s, a) = sum_s' P(s' | s, a) r(s, a, s'), state axis last."""
        if self.reward is None:
            assert isinstance(self.transitions, Generated)
            return self.transitions.expected_reward
        if self.reward.ndim == 1:
            return jnp.broadcast_to(self.reward, (self.num_actions, self.num_states))
        return self.reward.T if self.reward.ndim == 2 else self.transitions.average(self.reward)

    def sample_reward(self, state: Array, action: Array, slot: Array) -> Array:
        """[] the reward of one transition; `slot` is what `transitions.sample` said of it."""
        if self.reward is None:
            assert isinstance(self.transitions, Generated)
            return self.transitions.successors(state, action)[2][slot]
        return self.reward[(state, action, slot)[: self.reward.ndim]]

    def with_parts(self, **parts: Any) -> TabularMDP:
        """The same world with other fields, unchecked: for use inside loops."""
        new = object.__new__(TabularMDP)
        for field in dataclasses.fields(self):
            object.__setattr__(new, field.name, parts.get(field.name, getattr(self, field.name)))
        return new

    def renumbered(self, states: Array, place: Array) -> TabularMDP:
        """A stored model whose state i is what was states[i], unchecked; place[states[i]] = i."""
        assert not isinstance(self.transitions, Generated) and self.reward is not None and self.reward.ndim < 3
        rows = {name: gather(getattr(self, name), states) for name in ("reward", "mask", "terminal", "initial")}
        return self.with_parts(transitions=self.transitions.renumbered(states, place), **rows)

    def astype(self, dtype: Any) -> TabularMDP:
        """In another precision, unchecked: probabilities are rounded one by one."""
        return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, self)
