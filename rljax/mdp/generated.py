"""Where actions lead, as a function: transitions that are computed anew in every sweep, and never stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks
from rljax.mdp.transitions import Dense, Sparse, draw, gather, three_axes
from rljax.structs import pytree_dataclass


@pytree_dataclass
class Generated:
    """A function of state and action, [] int32 both: `function(s, a) -> (successor [B], probability [B], reward [B])`.

    Nothing of size B is stored: every sweep computes it anew, a block of `block_size` states at a time, fewer than A B
    `block_size` numbers in memory. A function may name a successor twice. `parameters` are handed to it behind the action:
    what is to be traced, batched or differentiated belongs there, not into a closure. For gamma = 1 alone `TabularMDP` stores
    all successors once, when it is made, to see that every policy ends.

    Errors:
      TypeError, ValueError: what the function returns is not as above.

    Example:
      >>> def walk(s, a):  # to the left or to the right on a ring of a million states
      ...     return jnp.array([(s + 2 * a - 1) % 1_000_000]), jnp.ones(1), jnp.zeros(1)
      >>> Generated(walk, 1_000_000, 2).expect(jnp.arange(1e6))[:, :3].tolist()
      [[999999.0, 0.0, 1.0], [1.0, 2.0, 3.0]]
    """

    function: Callable[..., tuple[Array, Array, Array]] = dataclasses.field(metadata={"static": True})
    num_states: int = dataclasses.field(metadata={"static": True})
    num_actions: int = dataclasses.field(metadata={"static": True})
    parameters: tuple[Any, ...] = ()
    block_size: int = dataclasses.field(default=4096, metadata={"static": True})

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(
                f"function is {self.function!r}; expected function(s, a) -> successor, probability, reward."
            )
        for name in ("num_states", "num_actions", "block_size"):
            checks.integer(name, getattr(self, name), 1)
        object.__setattr__(self, "parameters", jax.tree.map(jnp.asarray, self.parameters))
        try:
            shapes = self._shapes
        except TypeError as error:  # other arguments, or Python's `if` of a number that is traced
            raise TypeError(
                f"function(s, a) cannot be traced by JAX: {type(error).__name__}: {str(error).partition(chr(10))[0]} "
                "Expected a pure function of state and action, [] int32 both. Write it with jax.numpy: jnp.where for a choice."
            ) from error
        if not (isinstance(shapes, tuple) and len(shapes) == 3 and len({x.shape for x in shapes} | {()}) == 2):
            raise ValueError(
                f"function(s, a) returns {shapes}; expected successor [B], probability [B] and reward [B]."
            )
        successor, probability, reward = shapes
        three_axes(successor=jax.ShapeDtypeStruct((1, 1, *successor.shape), successor.dtype))
        real = jnp.issubdtype(probability.dtype, jnp.floating) and jnp.issubdtype(reward.dtype, jnp.floating)
        if not (real and jnp.issubdtype(successor.dtype, jnp.integer)):
            raise TypeError(
                f"function(s, a) returns types {successor.dtype}, {probability.dtype}, {reward.dtype}; "
                "expected whole successors, floating probabilities and rewards."
            )

    @property
    def fan_out(self) -> int:
        """B."""
        return self._shapes[1].shape[-1]

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return self._shapes[1].dtype

    def expect(self, v: Array) -> Array:
        """[A, S]: sum_b p_b v(s'_b) for v [S]."""
        return self.everywhere(lambda successor, probability, _: jnp.sum(probability * gather(v, successor)))

    def average(self, x: Array) -> Array:
        """[A, S]: sum_b p_b x(s, a, b) for x [S, A, B]."""
        return self.stored().average(x)

    @property
    def expected_reward(self) -> Array:
        """[A, S]: sum_b p_b r_b."""
        return self.everywhere(lambda _, probability, reward: jnp.sum(probability * reward))

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32 of state [] and action [], and its slot b."""
        successor, probability, _ = self.successors(state, action)
        slot = draw(key, probability)
        return successor[slot], slot

    def under(self, policy: Array) -> Sparse:
        """The chain that a policy makes, stored: of actions [S], or of probabilities [S, A], then A B places long."""
        if policy.ndim != 1:
            return self.stored().under(policy)
        states = jnp.arange(self.num_states, dtype=jnp.int32)
        lists = lax.map(lambda sa: self.successors(*sa)[:2], (states, policy), batch_size=self.block_size)
        return Sparse(*(x.T[:, None, :] for x in lists))

    def stored(self) -> Sparse:
        """All successors in memory, as the function names them."""
        return Sparse(*self.everywhere(lambda successor, probability, _: (successor, probability)))

    def matrix(self) -> Array:
        """[S, A, S]."""
        return self.stored().matrix()

    def successors(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        """`(successor [B] int32, probability [B], reward [B])` of state [] and action []."""
        successor, probability, reward = self.function(state, action, *self.parameters)
        return successor.astype(jnp.int32), probability, reward.astype(probability.dtype)

    def everywhere(self, one: Callable[[Array, Array, Array], Any]) -> Any:
        """[..., A, S]: `one(successor [B], probability [B], reward [B])` of every action and state, block by block."""
        actions = jnp.arange(self.num_actions, dtype=jnp.int32)

        def of_state(state: Array) -> Any:
            return jax.vmap(lambda action: one(*self.successors(state, action)))(actions)

        states = jnp.arange(self.num_states, dtype=jnp.int32)
        return jax.tree.map(lambda x: x.T, lax.map(of_state, states, batch_size=self.block_size))

    @property
    def _shapes(self) -> Any:
        return jax.eval_shape(self.function, jnp.int32(0), jnp.int32(0), *self.parameters)


Transitions = Dense | Sparse | Generated
