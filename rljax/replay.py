"""Replay: a ring of transitions, and windows of n consecutive steps drawn from it, uniformly or by priority.

A ring of `rows * N` slots holds what N environments did, one row of N transitions for each step, oldest rows overwritten
first. Slot `row * N + environment` is the number of a transition, so the next step of the same environment is N slots on:

    window(i) = slots i, i + N, ..., i + (n - 1) N        (mod capacity)

A window is *complete* if its rows are all written and none of them was overwritten since: only complete windows are drawn.
Windows run across the ends of episodes: `returns.n_step_reward` says where to stop.

A `Replay` is a record of pure functions. Nothing is copied but what is written or drawn, if the caller donates the state, or
carries it in a loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any, NamedTuple, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks, noise, packing
from rljax.structs import pytree_dataclass


class Sample(NamedTuple):
    """A batch of windows."""

    transition: Any  # leaves [batch, n, ...], oldest step first
    index: Array  # pyright: ignore[reportIncompatibleMethodOverride] # [batch] int32 slot of the window's first step
    weight: Array  # [batch] importance weights, at most 1; 1 where uniform


class Replay(NamedTuple):
    """Five things to know of a memory: `uniform` and `prioritised` below."""

    capacity: int  # transitions
    init: Callable[[Any, int, int], Any]  # (example, num_envs, n) -> state
    add: Callable[..., Any]  # (state, block, valid=None) -> state
    sample: Callable[[Array, Any, int], Sample]  # (key, state, batch_size) -> sample
    update: Callable[[Any, Array, Array], Any]  # (state, index, priority) -> state


@pytree_dataclass
class State:
    """The ring."""

    data: tuple[Array, ...]  # packed transitions, [rows, N, width] each: whatever is read at random, all of it is
    head: Array  # [] int32 row that is written next
    filled: Array  # [] int32 rows written, at most `rows`
    n: int = field(metadata={"static": True})  # steps of a window
    layout: packing.Layout = field(metadata={"static": True})  # of a transition


@pytree_dataclass
class PrioritisedState(State):
    """The ring and a tree of sums over its slots."""

    sums: tuple[Array, ...]  # levels [groups, children] float32, root first; an entry is the sum of a group of the next
    highest: Array  # [] float32 the highest priority seen


_State = TypeVar("_State", bound=State)

FAN, LEAVES = 16, 24  # children of a node and of the last ones: 1.04 numbers a slot, five levels for a million slots
_LOWEST, _HIGHEST = 1e-30, 1e38  # of a priority, and of the sum of all: products and sums stay normal in float32


def uniform(capacity: int) -> Replay:
    """Every complete window is drawn with the same probability, independently, with replacement: batches of any size.

    `init(example, num_envs, n)`: an empty ring for windows of n steps; `example` is one transition, a pytree of arrays or of
    `jax.ShapeDtypeStruct`. It has the size of the data: nothing is stored beside it but two counters.

    `add(state, block, valid=None)`: appends a block [T, N, ...]. T divides the rows, so that no block is torn at the end of
    the ring: always add blocks of the same T (compiled code cannot refuse another, and would tear it). With
    `valid` [T, N] and N = 1 only the valid rows enter, in order, for any T up to the rows: a `deque(maxlen=capacity)`.

    `sample(key, state, batch_size)`: as many reads for any capacity, slower ones where no cache holds it. At least n rows must
    have been added: compiled code cannot refuse, and returns slots that were never written.

    `update(state, index, priority)`: the state as it is.

    Args:
      capacity: transitions, a multiple of the number of environments.

    Errors:
      ValueError: a capacity that is not rows times environments, windows longer than the rows, T that does not divide the
        rows, leaves of another shape or type than the example's; outside of `jit`, a sample of too few rows.

    Example:
      >>> memory = uniform(6)
      >>> state = memory.init({"reward": jnp.float32(0)}, num_envs=2, n=2)
      >>> for t in range(4):  # rows 0 to 3; 0 is overwritten
      ...     state = memory.add(state, {"reward": jnp.array([[t, t + 0.5]])})
      >>> sample = memory.sample(jax.random.key(0), state, 100)
      >>> sorted(set(map(tuple, sample.transition["reward"].tolist())))
      [(1.0, 2.0), (1.5, 2.5), (2.0, 3.0), (2.5, 3.5)]

    Mnih et al. (2015), Human-level control through deep reinforcement learning.
    """
    _check_capacity(capacity)

    def init(example: Any, num_envs: int, n: int) -> State:
        return State(**_ring(capacity, example, num_envs, n))

    def add(state: State, block: Any, valid: Array | None = None) -> State:
        return _write(state, block, valid)[0]

    def sample(key: Array, state: State, batch_size: int) -> Sample:
        _check_sample(key, state, batch_size)
        count = jnp.maximum(_complete(state), 1)
        position = jax.random.randint(noise.fused(key), (batch_size,), 0, count, jnp.int32)
        index = (_oldest(state) + position) % capacity
        return Sample(_windows(state, index), index, jnp.ones(batch_size, jnp.float32))

    def update(state: State, index: Array, priority: Array) -> State:
        del index, priority
        return state

    return Replay(capacity, init, add, sample, update)


def prioritised(capacity: int, *, alpha: ArrayLike = 0.6, beta: ArrayLike = 0.4, eps: ArrayLike = 1e-6) -> Replay:
    """Windows with large errors are drawn more often, and count less where they are.

        p_i  = (|priority_i| + eps)^alpha        of a complete window, 0 of any other
        P(i) = p_i / sum_j p_j                   draws are independent, with replacement
        w_i  = (size P(i))^-beta / max_j (size P(j))^-beta = (min_j p_j / p_i)^beta        j over the batch

    Like `uniform` but for this. A window that becomes complete has the highest priority seen so far, 1 at first. `update`
    sets the priorities of `index` [batch] to absolute errors [batch]; of equal indices the highest counts; windows that are
    not complete any more stay at 0. Outside of `jit`, negative or infinite numbers and NaN are refused; inside, the absolute
    value counts, and what is not finite counts as the highest priority seen: it is drawn again, for those to see who check
    their losses, and the sums stay finite.

    The sums of groups of 24 slots, of 16 such groups, of 16 of those and so on are a tree, 4.18 bytes a transition. A draw goes
    down, at each level to one child with the probability that its sum says, by a random number of its own: small priorities
    are drawn as they should be, to float32's rounding at each level (2^-23 of the parent), and never one of zero. Sums are
    taken anew from their children: they do not drift.

    Args:
      capacity: transitions, a multiple of the number of environments.
      alpha: in [0, 1]: 0 is uniform; may be traced.
      beta: in [0, 1]: 1 corrects the bias of the draws in full; may be traced.
      eps: > 0: what a priority of zero is worth; may be traced.

    Errors:
      ValueError: as `uniform`; numbers out of range.

    Example:
      >>> memory = prioritised(4, alpha=1.0, beta=1.0)
      >>> state = memory.init(jnp.int32(0), num_envs=1, n=1)
      >>> state = memory.add(state, jnp.arange(4)[:, None])
      >>> state = memory.update(state, jnp.arange(4), jnp.array([0.0, 1.0, 0.0, 3.0]))
      >>> sample = memory.sample(jax.random.key(0), state, 1000)
      >>> [round(float(jnp.mean(sample.index == i)), 1) for i in range(4)]
      [0.0, 0.2, 0.0, 0.8]

    Schaul et al. (2016), Prioritized experience replay.
    """
    _check_capacity(capacity)
    checks.real("alpha", alpha, 0, 1)
    checks.real("beta", beta, 0, 1)
    checks.real("eps", eps, 0, above=True, below=True)

    def powered(priority: Array) -> Array:
        p = (priority + jnp.asarray(eps, jnp.float32)) ** jnp.asarray(alpha, jnp.float32)
        return jnp.clip(p, _LOWEST, _HIGHEST / capacity)

    def init(example: Any, num_envs: int, n: int) -> PrioritisedState:
        shapes = [(-(-capacity // LEAVES), LEAVES)]
        while shapes[0][0] > 1:
            shapes.insert(0, (-(-shapes[0][0] // FAN), FAN))
        sums = tuple(jnp.zeros(shape, jnp.float32) for shape in shapes)
        return PrioritisedState(**_ring(capacity, example, num_envs, n), sums=sums, highest=jnp.float32(1))

    def add(state: PrioritisedState, block: Any, valid: Array | None = None) -> PrioritisedState:
        state, count = _write(state, block, valid)
        rows, num_envs = _sizes(state)
        # The windows that a new row is part of start at most n - 1 rows before the first one.
        reach = min(jax.tree.leaves(block)[0].shape[0] + state.n - 1, rows)
        before = jnp.arange(reach * num_envs, 0, -1, dtype=jnp.int32)  # slots before the head
        slot = (state.head * num_envs - before) % capacity
        p = jnp.where(_is_complete(state, slot), powered(state.highest), 0.0)
        changed = before <= (count + state.n - 1) * num_envs
        # One slot of each group is enough to renew the sums; the ring may end within a group, before a step of one does.
        some = jnp.concatenate([slot[::LEAVES], slot[-1:], jnp.full(1, capacity - 1, jnp.int32)])
        leaves = _flat(state.sums[-1]).at[jnp.where(changed, slot, state.sums[-1].size)].set(p, mode="drop")
        return replace(state, sums=_renew(state.sums, leaves, some))

    def sample(key: Array, state: PrioritisedState, batch_size: int) -> Sample:
        _check_sample(key, state, batch_size)
        index, p = _descend(noise.fused(key), state.sums, batch_size)
        weight = (p.min() / p) ** jnp.asarray(beta, jnp.float32)
        return Sample(_windows(state, index), index, weight)

    def update(state: PrioritisedState, index: Array, priority: Array) -> PrioritisedState:
        checks.same_shape(index=index, priority=priority)
        checks.rank(1, priority=priority)
        if not jnp.issubdtype(jnp.result_type(index), jnp.integer):
            raise TypeError(
                f"index is of {jnp.result_type(index)}; expected whole numbers, slots as `sample` says them."
            )
        checks.real("priority", priority, 0, below=True, batch=True)
        if (
            not isinstance(index, jax.core.Tracer)
            and not ((np.asarray(index) >= 0) & (np.asarray(index) < capacity)).all()
        ):
            raise ValueError(f"index is {index}; expected slots 0 ... {capacity - 1}, as `sample` says them.")
        priority = jnp.abs(jnp.asarray(priority, jnp.float32))
        finite = jnp.isfinite(priority)
        highest = jnp.maximum(state.highest, jnp.max(priority, where=finite, initial=0.0))
        p = jnp.where(_is_complete(state, index), powered(jnp.where(finite, priority, highest)), 0.0)
        leaves = _flat(state.sums[-1]).at[index].set(0.0).at[index].max(p)
        return replace(state, sums=_renew(state.sums, leaves, index), highest=highest)

    return Replay(capacity, init, add, sample, update)


# The ring -------------------------------------------------------------------------------------------------------------


def _ring(capacity: int, example: Any, num_envs: int, n: int) -> dict[str, Any]:
    checks.integer("num_envs", num_envs, 1)
    checks.integer("n", n, 1)
    rows = capacity // num_envs
    if rows * num_envs != capacity or rows == 0:
        raise ValueError(
            f"a capacity of {capacity} transitions is given for {num_envs} environments; expected a multiple of "
            f"{num_envs}, such as {max(rows, 1) * num_envs}."
        )
    if n > rows:
        raise ValueError(
            f"windows of n = {n} steps are given, and a capacity of {capacity}, which is {rows} steps of {num_envs} "
            f"environments; expected n <= {rows}, or a capacity of at least {n * num_envs}."
        )
    layout = packing.layout(example)
    if not layout.leaves:
        raise ValueError(f"the example of a transition is {example!r}; expected a pytree with at least one array.")
    data = packing.zeros(layout, (rows, num_envs))
    return {"data": data, "head": jnp.int32(0), "filled": jnp.int32(0), "n": n, "layout": layout}


def _write(state: _State, block: Any, valid: Array | None) -> tuple[_State, ArrayLike]:
    """The state with the block in its ring, and the number of rows that entered."""
    steps = _check_block(state, block, valid)
    rows, packed = _sizes(state)[0], packing.pack(state.layout, block)
    if valid is None:
        count = steps
        data = jax.tree.map(
            lambda old, new: lax.dynamic_update_slice_in_dim(old, new, state.head, 0), state.data, packed
        )
    else:
        entered = jnp.cumsum(valid[:, 0], dtype=jnp.int32)
        count = entered[-1]
        row = jnp.where(valid[:, 0], (state.head + entered - 1) % rows, rows)
        data = jax.tree.map(lambda old, new: old.at[row].set(new, mode="drop"), state.data, packed)
    filled = jnp.minimum(state.filled + count, rows)
    return replace(state, data=data, head=(state.head + count) % rows, filled=filled), count


def _sizes(state: State) -> tuple[int, int]:
    """Rows and environments."""
    rows, num_envs, _ = state.data[0].shape
    return rows, num_envs


def _oldest(state: State) -> Array:
    """[] the first slot of the oldest row."""
    rows, num_envs = _sizes(state)
    return (state.head - state.filled) % rows * num_envs


def _complete(state: State) -> Array:
    """[] how many windows are complete: those that start in the oldest rows, all but n - 1."""
    return jnp.maximum(state.filled - (state.n - 1), 0) * _sizes(state)[1]


def _is_complete(state: State, slot: Array) -> Array:
    return (slot - _oldest(state)) % math.prod(_sizes(state)) < _complete(state)


def _windows(state: State, index: Array) -> Any:
    """Leaves [batch, n, ...]."""
    rows, num_envs = _sizes(state)
    steps = jnp.arange(state.n, dtype=jnp.int32) * num_envs
    slot = (index[:, None] + steps[None, :]) % (rows * num_envs)
    found = tuple(_flat(packed).at[slot].get(mode="promise_in_bounds") for packed in state.data)
    return packing.unpack(state.layout, found)


def _flat(leaf: Array) -> Array:
    """The first two axes as one: no work."""
    return leaf.reshape(-1, *leaf.shape[2:])


# The tree -------------------------------------------------------------------------------------------------------------


def _renew(sums: tuple[Array, ...], leaves: Array, index: Array) -> tuple[Array, ...]:
    """The tree over new leaves [slots], all sums above the slots `index` [m] taken anew."""
    level = leaves.reshape(sums[-1].shape)
    renewed = [level]
    for parents in sums[-2::-1]:
        index = index // level.shape[1]
        # Equal indices write equal numbers.
        level = _flat(parents).at[index].set(level[index].sum(-1)).reshape(parents.shape)
        renewed.insert(0, level)
    return tuple(renewed)


def _descend(key: Array, sums: tuple[Array, ...], batch_size: int) -> tuple[Array, Array]:
    """[batch] slots, drawn with probabilities proportional to the leaves, and [batch] these leaves.

    They are taken from the groups that are read anyway: whoever read them once more would make XLA copy the tree.
    """
    uniforms = jax.random.uniform(key, (len(sums), batch_size), jnp.float32)
    index, leaf = jnp.zeros(batch_size, jnp.int32), jnp.ones(batch_size, jnp.float32)
    for u, level in zip(uniforms, sums, strict=True):
        weight = level[index]  # [batch, children]
        upto = jnp.cumsum(weight, axis=1)
        # The first child whose sum is not zero and reaches beyond u. Rounding may leave none: then the largest.
        beyond = (weight > 0) & (upto > u[:, None] * upto[:, -1:])
        child = jnp.where(beyond.any(1), beyond.argmax(1), weight.argmax(1)).astype(jnp.int32)
        index, leaf = index * level.shape[1] + child, jnp.take_along_axis(weight, child[:, None], axis=1)[:, 0]
    return index, leaf


# Refusals -------------------------------------------------------------------------------------------------------------


def _check_capacity(capacity: int) -> None:
    checks.integer("capacity", capacity, 1)
    if capacity >= 2**30:  # twice a slot is a number of 32 bits
        raise ValueError(f"capacity is {capacity}; expected a whole number below 2**30.")


def _check_sample(key: Array, state: State, batch_size: int) -> None:
    checks.key(key)
    checks.integer("batch_size", batch_size, 1)
    if not isinstance(state.filled, jax.core.Tracer) and int(state.filled) < state.n:
        raise ValueError(
            f"the memory holds {int(state.filled)} steps of each environment; expected at least {state.n}, one window. "
            "Add more before sampling."
        )


def _check_block(state: State, block: Any, valid: Array | None) -> int:
    """T, the number of rows."""
    (rows, num_envs), structure = _sizes(state), state.layout.tree
    if jax.tree.structure(block) != structure:
        raise ValueError(
            f"the block is a tree {jax.tree.structure(block)}; expected that of the example given to init, {structure}."
        )
    leaves = jax.tree_util.tree_leaves_with_path(block)
    shape = jnp.shape(leaves[0][1])
    if len(shape) < 2 or shape[0] == 0:
        raise ValueError(f"a block of shape {shape} is given; expected [T, N, ...] with T >= 1 and N = {num_envs}.")
    steps = shape[0]
    for (path, new), leaf in zip(leaves, state.layout.leaves, strict=True):
        expected = (steps, num_envs, *leaf.shape)
        if jnp.shape(new) != expected or jnp.result_type(new) != leaf.dtype:
            raise ValueError(
                f"block{jax.tree_util.keystr(path)} is {jnp.result_type(new)}{list(jnp.shape(new))}; expected "
                f"{leaf.dtype}{list(expected)}, [T, N, ...] of what init was given as example."
            )
    if steps > rows:
        raise ValueError(
            f"a block of T = {steps} steps is given and the memory holds {rows}; expected T <= {rows}, or a capacity of "
            f"at least {steps * num_envs}."
        )
    if valid is not None:
        if num_envs > 1:
            raise ValueError(
                f"valid is given with {num_envs} environments; expected one: rows of several are not valid together. "
                "Keep what is not valid out of the losses instead, or use autoreset='same_step'."
            )
        checks.boolean(valid=valid)
        checks.same_shape(valid=valid, block=jnp.zeros((steps, num_envs)))
    elif rows % steps:
        raise ValueError(
            f"a block of T = {steps} steps is given and the memory holds {rows}; expected a T that divides them. Use a "
            f"capacity of {-(-rows // steps) * steps * num_envs}, say."
        )
    elif not isinstance(state.head, jax.core.Tracer) and int(state.head) % steps:
        raise ValueError(
            f"a block of T = {steps} steps is given and {int(state.head)} is the next row; expected a multiple of T. "
            "Add blocks of one T only."
        )
    return steps
