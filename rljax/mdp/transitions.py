"""Where actions lead: P(s' | s, a) in three representations under one interface.

| class       | holds                                       | for                                             |
|-------------|---------------------------------------------|-------------------------------------------------|
| `Dense`     | probability [S, A, S]                       | some thousand states                            |
| `Sparse`    | successor, probability [B, A, S]            | B successors at most: grids, queues, millions   |
| `Generated` | a function (s, a) -> successors             | what would not fit in memory                    |

Inside, action values are [A, S], the state axis last: a sweep over millions of states then runs along memory.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import noise
from rljax.structs import pytree_dataclass


@pytree_dataclass
class Dense:
    """Every probability: [S, A, S]."""

    probability: Array

    @property
    def num_states(self) -> int:
        """S."""
        return self.probability.shape[-1]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.probability.shape[-2]

    @property
    def fan_out(self) -> int:
        """Most successors of a state under one action, as far as the representation tells."""
        return self.num_states

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return self.probability.dtype

    def expect(self, v: Array) -> Array:
        """[A, n]: sum_s' P(s' | s, a) v(s') for the n states held."""
        return (self.probability.reshape(-1, self.num_states) @ v).reshape(-1, self.num_actions).T

    def average(self, x: Array) -> Array:
        """[A, n]: sum_s' P(s' | s, a) x(s, a, s') for x [n, A, S] (or what broadcasts to it)."""
        return jnp.sum(self.probability * x, axis=-1).T

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32, and its slot (here: itself)."""
        successor = _draw(key, self.probability[state, action])
        return successor, successor

    def under(self, policy: Array) -> Dense:
        """The Markov chain of a policy, [S] actions or [S, A] probabilities, as transitions with one action."""
        if policy.ndim == 1:
            rows = jnp.arange(self.num_states, dtype=policy.dtype) * self.num_actions + policy
            return Dense(_gather(self.probability.reshape(-1, self.num_states), rows)[:, None])
        return Dense(jnp.einsum("sa,sat->st", policy, self.probability)[:, None])

    def stay(self) -> Array:
        """[A, S]: P(s | s, a)."""
        return jnp.diagonal(self.probability, axis1=0, axis2=2)

    def into(self, state: Array) -> Array:
        """[A, S]: P(state | s, a)."""
        return jnp.take(self.probability, state, axis=2).T

    def block(self, first: Array, size: int) -> Dense:
        """The rows of states first ... first + size - 1."""
        return Dense(lax.dynamic_slice_in_dim(self.probability, first, size))

    def matrix(self) -> Array:
        """[S, A, S]."""
        return self.probability


@pytree_dataclass
class Sparse:
    """At most B successors of each state and action: two lists [B, A, S]; unused places hold probability 0."""

    successor: Array  # int32
    probability: Array

    @classmethod
    def of(cls, successor: Array, probability: Array) -> Sparse:
        """From lists in reading order, [S, A, B]."""
        return cls(jnp.asarray(successor, jnp.int32).T, jnp.asarray(probability).T)

    @property
    def num_states(self) -> int:
        """S."""
        return self.successor.shape[-1]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.successor.shape[-2]

    @property
    def fan_out(self) -> int:
        """B."""
        return self.successor.shape[-3]

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return self.probability.dtype

    def expect(self, v: Array) -> Array:
        """[A, n]: sum_b p_b v(s'_b) for the n states held."""
        terms = (p * _gather(v, s) for p, s in zip(self.probability, self.successor, strict=True))
        return functools.reduce(operator.add, terms)

    def average(self, x: Array) -> Array:
        """[A, n]: sum_b p_b x(s, a, b) for x [n, A, B] (or what broadcasts to it)."""
        return jnp.sum(self.probability * x.T, axis=0)

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32, and its slot b."""
        slot = _draw(key, self.probability[:, action, state])
        return self.successor[slot, action, state], slot

    def under(self, policy: Array) -> Sparse:
        """The Markov chain of a policy, [S] actions or [S, A] probabilities, as transitions with one action."""
        if policy.ndim == 1:
            index = policy[None, None, :]
            return Sparse(*(jnp.take_along_axis(x, index, axis=1) for x in (self.successor, self.probability)))
        lists = (self.successor, self.probability * policy.T)
        return Sparse(*(x.reshape(-1, 1, self.num_states) for x in lists))

    def stay(self) -> Array:
        """[A, S]: P(s | s, a)."""
        here = self.successor == jnp.arange(self.num_states, dtype=jnp.int32)[None, None]
        return jnp.sum(jnp.where(here, self.probability, 0.0), axis=0)

    def into(self, state: Array) -> Array:
        """[A, S]: P(state | s, a)."""
        return jnp.sum(jnp.where(self.successor == state, self.probability, 0.0), axis=0)

    def block(self, first: Array, size: int) -> Sparse:
        """The rows of states first ... first + size - 1."""
        return jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, size, axis=2), self)

    def matrix(self) -> Array:
        """[S, A, S]; successors that appear twice are added up."""
        state = jnp.arange(self.num_states)[None, None]
        action = jnp.arange(self.num_actions)[None, :, None]
        zeros = jnp.zeros((self.num_states, self.num_actions, self.num_states), self.dtype)
        return zeros.at[state, action, self.successor].add(self.probability)


@pytree_dataclass
class Generated:
    """Successors by a function of state and action, [] int32 both, to `(successor [B], probability [B])`.

    Never stored: every sweep computes them anew, `block_size` states at a time.
    """

    parameters: Any  # handed to the function first: what is to be traced or differentiated
    function: Callable[[Any, Array, Array], tuple[Array, Array]] = dataclasses.field(metadata={"static": True})
    num_states: int = dataclasses.field(metadata={"static": True})
    num_actions: int = dataclasses.field(metadata={"static": True})
    block_size: int = dataclasses.field(default=4096, metadata={"static": True})

    @property
    def fan_out(self) -> int:
        """B."""
        return jax.eval_shape(self._at, jnp.int32(0))[0].shape[-1]

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return jax.eval_shape(self._at, jnp.int32(0))[1].dtype

    def expect(self, v: Array) -> Array:
        """[A, S]: sum_b p_b v(s'_b)."""

        def one(state: Array) -> Array:
            successor, probability = self._at(state)
            return jnp.sum(probability * _gather(v, successor), axis=-1)

        return self._everywhere(one).T

    def average(self, x: Array) -> Array:
        """[A, S]: sum_b p_b x(s, a, b) for x [S, A, B] (or what broadcasts to it)."""
        return self.stored().average(x)

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32, and its slot b."""
        successor, probability = self.function(self.parameters, state, action)
        slot = _draw(key, probability)
        return successor[slot], slot

    def under(self, policy: Array) -> Sparse:
        """The Markov chain of a policy [S] of actions, stored: B numbers a state."""
        if policy.ndim != 1:
            return self.stored().under(policy)
        lists = self._everywhere(lambda state: self.function(self.parameters, state, policy[state]))
        return Sparse.of(*(x[:, None] for x in lists))

    def stored(self) -> Sparse:
        """All of it, in memory."""
        return Sparse.of(*self._everywhere(self._at))

    def matrix(self) -> Array:
        """[S, A, S]."""
        return self.stored().matrix()

    def _at(self, state: Array) -> tuple[Array, Array]:
        actions = jnp.arange(self.num_actions, dtype=jnp.int32)
        return jax.vmap(lambda action: self.function(self.parameters, state, action))(actions)

    def _everywhere(self, one: Callable[[Array], Any]) -> Any:
        return lax.map(one, jnp.arange(self.num_states, dtype=jnp.int32), batch_size=self.block_size)


Transitions = Dense | Sparse | Generated


def _gather(v: Array, index: Array) -> Array:
    """v[index] for indices known to be in range: without the checks that cost more than the gather."""
    return v.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _draw(key: Array, probability: Array) -> Array:
    """[] int32 index with the given probabilities [n]; places of probability 0 are never drawn."""
    cumulative = jnp.cumsum(probability)
    u = noise.uniforms(key, 1)[0].astype(probability.dtype) * cumulative[-1]
    # u < total, but rounding may make them equal: the last place of positive probability then.
    last = jnp.max(jnp.where(probability > 0, jnp.arange(probability.shape[0], dtype=jnp.int32), 0))
    return jnp.minimum(jnp.sum(u >= cumulative), last).astype(jnp.int32)
