"""The tabular Markov decision process: everything about a small world, as one immutable pytree."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax.mdp import validation
from rljax.mdp.transitions import Dense, Generated, Transitions
from rljax.structs import pytree_dataclass


@pytree_dataclass
class TabularMDP:
    """States 0 ... S - 1, actions 0 ... A - 1, and what follows from them.

    Every field is a leaf or a tree of leaves: `vmap` over gamma, rewards or whole problems, and `grad` by any of them, work.
    What a person builds is checked on the host, with state and action named; what JAX rebuilds is not.

    Args:
      transitions: `Dense`, `Sparse` or `Generated`; or an array [S, A, S] of probabilities P(s' | s, a), made `Dense`.
      reward: on leaving, [S] or [S, A], or on arrival, [S, A, S] (`Dense`) or [S, A, B] (lists of B successors).
      gamma: discount in [0, 1]; may be traced. 1 only where every policy ends.
      mask: [S, A] bool, True where an action is available; default: all are.
      terminal: [S] bool, True where an episode is over: worth 0, nothing follows; default: none.
      initial: [S] probabilities of the first state; default: uniform over the states that are not terminal.

    Errors:
      ValueError, TypeError: naming state, action, value and what to do.

    Example:
      >>> mdp = TabularMDP(jnp.array([[[0.5, 0.5]], [[0.0, 1.0]]]), jnp.array([1.0, 0.0]), gamma=0.9)
      >>> mdp.num_states, mdp.num_actions
      (2, 1)

    Puterman (1994), ch. 2; Geron (2022), ch. 18, "Markov decision processes".
    """

    transitions: Transitions
    reward: Array
    _: dataclasses.KW_ONLY
    gamma: ArrayLike
    mask: Array = None  # pyright: ignore[reportAssignmentType] # all three are filled in on construction
    terminal: Array = None  # pyright: ignore[reportAssignmentType]
    initial: Array = None  # pyright: ignore[reportAssignmentType]

    def __post_init__(self) -> None:
        transitions = self.transitions
        if not isinstance(transitions, Transitions):
            transitions = Dense(validation.floats("transitions", transitions))
        validation.transitions(transitions)
        num_states, num_actions = transitions.num_states, transitions.num_actions
        filled = {
            "transitions": transitions,
            "reward": validation.floats("reward", self.reward).astype(transitions.dtype),
            "mask": jnp.ones((num_states, num_actions), bool) if self.mask is None else jnp.asarray(self.mask),
            "terminal": jnp.zeros(num_states, bool) if self.terminal is None else jnp.asarray(self.terminal),
        }
        initial = self.initial
        if initial is None:
            initial = (~filled["terminal"]).astype(transitions.dtype)
            initial = initial / jnp.maximum(initial.sum(), 1)
        filled["initial"] = validation.floats("initial", initial).astype(transitions.dtype)
        validation.gamma(self.gamma)
        filled["gamma"] = jnp.asarray(self.gamma, transitions.dtype)
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        validation.mdp(self)

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
        if self.reward.ndim == 1:
            return jnp.broadcast_to(self.reward, (self.num_actions, self.num_states))
        return self.reward.T if self.reward.ndim == 2 else self.transitions.average(self.reward)

    def with_reward(self, reward: Array) -> TabularMDP:
        """The same world with other rewards, unchecked: for use under `jit`."""
        return _rebuild(self, reward=reward)

    def sample_reward(self, state: Array, action: Array, slot: Array) -> Array:
        """[] the reward of one transition; `slot` is what `transitions.sample` said of it."""
        index = (state, action, slot)[: self.reward.ndim]
        return self.reward[index]

    def block(self, first: Array, size: int) -> TabularMDP:
        """The part of a stored model that concerns states first ... first + size - 1; values are still those of all."""
        assert not isinstance(self.transitions, Generated)
        rows = lambda x: jax.lax.dynamic_slice_in_dim(x, first, size)
        changed = {name: rows(getattr(self, name)) for name in ("reward", "mask", "terminal", "initial")}
        return _rebuild(self, transitions=self.transitions.block(first, size), **changed)

    def astype(self, dtype: Any) -> TabularMDP:
        """In another precision."""
        return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, self)


def _rebuild(mdp: TabularMDP, **changes: Any) -> TabularMDP:
    new = object.__new__(TabularMDP)
    for field in dataclasses.fields(mdp):
        object.__setattr__(new, field.name, changes.get(field.name, getattr(mdp, field.name)))
    return new
