"""Where actions lead: P(s' | s, a) in three representations under one interface.

| class       | holds                                  | for                                                 |
|-------------|----------------------------------------|-----------------------------------------------------|
| `Dense`     | probability [S, A, S]                  | up to some thousand states                          |
| `Sparse`    | successor and probability, [B, A, S]   | at most B successors each: grids, queues, millions  |
| `Generated` | a function (s, a) -> successors        | what need not be stored (`mdp.generated`)           |

Inside, values of actions are [A, S], the state axis last: a sweep then runs along memory, four to seven times as fast.
Here only shapes and types are checked; numbers are, where a model is made of them (`mdp.TabularMDP`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks, noise
from rljax.structs import pytree_dataclass

_UNROLLED = 32  # successor lists up to here are summed term by term, which XLA fuses into one loop over the states


@pytree_dataclass
class Dense:
    """Every probability, [S, A, S]: `probability[s, a, s'] = P(s' | s, a)`.

    Errors:
      TypeError: no array of floats. ValueError: not three axes.

    Example:
      >>> walk = Dense(jnp.array([[[0.0, 1.0]], [[0.5, 0.5]]]))
      >>> walk.expect(jnp.array([10.0, 20.0])).tolist()
      [[20.0, 15.0]]
    """

    probability: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", floats("probability", self.probability))
        three_axes(probability=self.probability)

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
        """B: the places for successors of a state and action; here S."""
        return self.num_states

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return self.probability.dtype

    def expect(self, v: Array) -> Array:
        """[A, S]: sum_s' P(s' | s, a) v(s') for v [S]."""
        # An accelerator would otherwise multiply float32 in ten bits: no planner could certify anything.
        rows = jnp.matmul(self.probability.reshape(-1, self.num_states), v, precision=lax.Precision.HIGHEST)
        return rows.reshape(-1, self.num_actions).T

    def average(self, x: Array) -> Array:
        """[A, S]: sum_s' P(s' | s, a) x(s, a, s') for x [S, A, S]."""
        return jnp.sum(self.probability * x, axis=-1).T

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32 of state [] and action [], and its slot, the last index of `average`: here itself."""
        successor = draw(key, self.probability[state, action])
        return successor, successor

    def under(self, policy: Array) -> Dense:
        """The chain that a policy makes, one action: of actions [S], or of probabilities [S, A]."""
        if policy.ndim == 1:
            rows = jnp.arange(self.num_states, dtype=policy.dtype) * self.num_actions + policy
            return Dense(gather(self.probability.reshape(-1, self.num_states), rows)[:, None, :])
        chain = jnp.einsum("sa,sat->st", policy, self.probability, precision=lax.Precision.HIGHEST)
        return Dense(chain[:, None, :])

    def stay(self) -> Array:
        """[A, S]: P(s | s, a)."""
        return jnp.diagonal(self.probability, axis1=0, axis2=2)

    def into(self, state: Array) -> Array:
        """[A, S]: P(state | s, a) for one state []."""
        return jnp.take(self.probability, state, axis=2).T

    def rows(self, weight: Array) -> Rows:
        """Without self-loops, the others times weight [A, S]."""
        others = ~jnp.eye(self.num_states, dtype=bool)[:, None, :]
        return Rows(None, jnp.where(others, self.probability * weight.T[:, :, None], 0.0))

    def renumbered(self, states: Array, place: Array) -> Dense:
        """Among states of which the i-th is what was states[i]; place[states[i]] = i."""
        del place
        return Dense(jnp.take(gather(self.probability, states), states, axis=2))

    def matrix(self) -> Array:
        """[S, A, S]."""
        return self.probability


@pytree_dataclass
class Sparse:
    """Lists of successors with their probabilities, int32 [B, A, S] and [B, A, S]; unused places hold probability 0.

    `Sparse.of` takes the order in which people write, [S, A, B]. Successors must be in range: nothing inside compiled code
    looks again. Where it matters that a list names a successor once (`TabularMDP` refuses others), it is checked there.

    Errors:
      TypeError: successors that are no integers, probabilities that are no floats. ValueError: shapes.

    Example:
      >>> walk = Sparse.of(jnp.array([[[1, 0]], [[0, 1]]]), jnp.array([[[1.0, 0.0]], [[0.5, 0.5]]]))
      >>> walk.expect(jnp.array([10.0, 20.0])).tolist()
      [[20.0, 15.0]]
    """

    successor: Array
    probability: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", floats("probability", self.probability))
        object.__setattr__(self, "successor", _numbers("successor", self.successor))
        checks.same_shape(successor=self.successor, probability=self.probability)
        three_axes(successor=self.successor)

    @classmethod
    def of(cls, successor: ArrayLike, probability: ArrayLike) -> Sparse:
        """From lists in reading order, [S, A, B]."""
        return cls(_turned(successor, _numbers, "successor"), _turned(probability, floats, "probability"))

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
        """B."""
        return self.probability.shape[-3]

    @property
    def dtype(self) -> Any:
        """Of the probabilities."""
        return self.probability.dtype

    def expect(self, v: Array) -> Array:
        """[A, S]: sum_b p_b v(s'_b) for v [S]."""
        if self.fan_out > _UNROLLED:
            return jnp.sum(self.probability * gather(v, self.successor), axis=0)
        terms = (self.probability[b] * gather(v, self.successor[b]) for b in range(self.fan_out))
        return functools.reduce(operator.add, terms)

    def average(self, x: Array) -> Array:
        """[A, S]: sum_b p_b x(s, a, b) for x [S, A, B]."""
        return jnp.sum(self.probability * x.T, axis=0)

    def sample(self, key: Array, state: Array, action: Array) -> tuple[Array, Array]:
        """A successor [] int32 of state [] and action [], and its slot b."""
        slot = draw(key, self.probability[:, action, state])
        return self.successor[slot, action, state], slot

    def under(self, policy: Array) -> Sparse:
        """The chain that a policy makes, one action: of actions [S], or of probabilities [S, A], then A B places long."""
        if policy.ndim == 1:
            index = policy[None, None, :]
            return Sparse(
                jnp.take_along_axis(self.successor, index, axis=1),
                jnp.take_along_axis(self.probability, index, axis=1),
            )
        shape = (-1, 1, self.num_states)
        return Sparse(self.successor.reshape(shape), (self.probability * policy.T[None]).reshape(shape))

    def stay(self) -> Array:
        """[A, S]: P(s | s, a)."""
        return _total(jnp.where(self._here, self.probability, 0.0))

    def into(self, state: Array) -> Array:
        """[A, S]: P(state | s, a) for one state []."""
        return jnp.sum(jnp.where(self.successor == state, self.probability, 0.0), axis=0)

    def rows(self, weight: Array) -> Rows:
        """Without self-loops, the others times weight [A, S]."""
        successor = self.successor.T.reshape(self.num_states, -1)
        return Rows(successor, jnp.where(self._here, 0.0, self.probability * weight[None]).T)

    def renumbered(self, states: Array, place: Array) -> Sparse:
        """Among states of which the i-th is what was states[i]; place[states[i]] = i."""
        lists = jax.tree.map(lambda x: jnp.take(x, states, axis=2), self)
        return Sparse(gather(place, lists.successor), lists.probability)

    def matrix(self) -> Array:
        """[S, A, S]; what a list names twice is added up."""
        state = jnp.arange(self.num_states, dtype=jnp.int32)[None, None, :]
        action = jnp.arange(self.num_actions, dtype=jnp.int32)[None, :, None]
        zeros = jnp.zeros((self.num_states, self.num_actions, self.num_states), self.dtype)
        return zeros.at[state, action, self.successor].add(self.probability)

    @property
    def _here(self) -> Array:
        return self.successor == jnp.arange(self.num_states, dtype=jnp.int32)[None, None, :]


@pytree_dataclass
class Rows:
    """Transitions in reading order, what belongs to neighbouring states side by side: for backups block by block."""

    successor: Array | None  # [S, A B]; None: all
    probability: Array  # [S, A, B] or [S, A, S]

    def expect(self, v: Array) -> Array:
        """[S, A]: sum_b p_b v(s'_b) for v of all states."""
        if self.successor is None:
            return jnp.matmul(self.probability, v, precision=lax.Precision.HIGHEST)
        # One gather is one kernel, and no part of the next, which may then write into v itself.
        ahead = gather(v, self.successor).reshape(self.probability.shape)
        return _total(jnp.moveaxis(self.probability * ahead, -1, 0))


def _total(terms: Array) -> Array:
    """Over the first axis."""
    return jnp.sum(terms, axis=0) if len(terms) > _UNROLLED else functools.reduce(operator.add, terms)


def gather(v: Array, index: Array) -> Array:
    """`v[index]` for indices known to be in range: without the wrapping and clipping that cost more than the gather."""
    return v.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)


def floats(name: str, value: Any) -> Array:
    """`value` as an array of float32 or float64; integers and objects are refused, since a probability is neither."""
    try:
        masked = isinstance(value, np.ma.MaskedArray)  # which JAX refuses, and NumPy would unmask
        array = placed(value) if isinstance(value, np.ndarray) and not masked else jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} is no array of numbers ({error}); expected floats in a rectangular array. "
            "Nested lists with None for unavailable actions are for mdp.from_nested."
        ) from None
    if array.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(
            f"{name} has type {array.dtype}; expected float32 or float64. Convert it: {name}.astype(float)."
        )
    return array


def flags(name: str, value: Any) -> Array | np.ndarray:
    """`value` as an array, whose type is yet to be looked at; what is no array of numbers is refused."""
    return _table(name, value, "True or False")


def numpy_for(*values: Any) -> Any:
    """`jax.numpy` where a value is traced, else `numpy`, which compiles nothing: a small world is made in no time."""
    return jnp if any(isinstance(value, jax.core.Tracer) for value in values) else np


def placed(array: Array | np.ndarray) -> Array:
    """A copy on the device, in 32 bits if 64 are off. `jnp.asarray` compiles a program for every shape or, with the type
    named, may share memory with what its owner goes on to change."""
    if isinstance(array, jax.Array):
        return array
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    return jnp.asarray(np.array(array, dtype, order="C"), dtype)


def _turned(value: Any, convert: Callable[[str, Any], Array], name: str) -> Any:
    """The axes in reverse; on the host if it lies there."""
    return value.T if isinstance(value, np.ndarray) else convert(name, value).T


def _numbers(name: str, value: Any) -> Array:
    """`value` as int32 numbers of states."""
    array = _table(name, value, "integers, the numbers of states")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(
            f"{name} has type {array.dtype}; expected integers, the numbers of states. Convert it: {name}.astype(int)."
        )
    if isinstance(array, np.ndarray) and array.size and max(-int(array.min()), int(array.max())) >= 2**31:
        # It would come back as another state.
        raise ValueError(f"{name} goes from {array.min()} to {array.max()}; expected numbers of states, below {2**31}.")
    return placed(array.astype(np.int32, copy=False))


def _table(name: str, value: Any, wanted: str) -> Array | np.ndarray:
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return value
    if isinstance(value, np.ma.MaskedArray | jax.Array):
        raise TypeError(f"{name} is a {type(value).__name__} of {value.dtype}; expected {wanted}, in a plain array.")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} is no rectangular array ({error}); expected {wanted}.") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} holds {array.dtype}; expected {wanted}, in a rectangular array.")
    return array


def three_axes(**arrays: Any) -> None:
    """Each array has three axes, none of them empty."""
    for name, array in arrays.items():
        if len(array.shape) != 3 or 0 in array.shape:
            raise ValueError(
                f"{name} has shape {array.shape}; expected three axes (states, actions, successors), none of them empty. "
                "A model of one action has an axis of length 1 for it."
            )


def draw(key: Array, probability: Array) -> Array:
    """[] int32 index with the given probabilities [n]; one of probability 0 is never drawn, whatever is rounded."""
    u = jax.random.uniform(noise.fused(key), (), probability.dtype)
    n = probability.shape[0]
    if n <= _UNROLLED:
        u = u * functools.reduce(operator.add, (probability[i] for i in range(n)))
        chosen, found, cumulative = jnp.int32(0), jnp.bool_(False), jnp.zeros_like(u)
        for i in range(n):
            cumulative = cumulative + probability[i]
            here = ~found & (probability[i] > 0)
            chosen = jnp.where(here, jnp.int32(i), chosen)
            found = found | (here & (u < cumulative))
        return chosen
    cumulative = jnp.cumsum(probability)  # in any order of addition, so it may fall back by a rounding
    index, possible = jnp.arange(n, dtype=jnp.int32), probability > 0
    last = jnp.max(jnp.where(possible, index, jnp.int32(0)))
    return jnp.min(jnp.where(possible & (u * cumulative[-1] < cumulative), index, last))
