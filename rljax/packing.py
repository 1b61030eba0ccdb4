"""Trees of small arrays as one wide array for each size of number, bit for bit; numbers of other sizes than 8, 16 and 32 bits
and complex ones, by type.

Who reads rows of a large memory at random waits for every array: a transition of six leaves in six arrays costs six misses of
the cache, and two in two. Nothing is rounded, nothing padded: it takes as many bytes as before. No gradient passes.

    leaves [..., 4] float32, [...] int32, [...] bool, [...] bool   ->   [..., 5] uint32, [..., 2] uint8
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Layout(NamedTuple):
    """What lies where: hashable, hence static wherever it goes."""

    tree: Any  # of the leaves
    leaves: tuple[jax.ShapeDtypeStruct, ...]  # of one row

    @property
    def widths(self) -> dict[Any, int]:
        """Numbers in a row of each packed array, by its type."""
        kinds = {_carrier(leaf.dtype): 0 for leaf in self.leaves}
        for leaf in self.leaves:
            kinds[_carrier(leaf.dtype)] += math.prod(leaf.shape)
        return kinds


def layout(example: Any) -> Layout:
    """Of trees like `example`: of arrays, of numbers or of `jax.ShapeDtypeStruct`; its leaves are those of one row."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(lambda tree: tree, example))
    return Layout(tree, tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves))


def zeros(layout: Layout, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """Packed rows, [*shape, width] each, of which every number is 0 or False."""
    return tuple(jnp.zeros((*shape, width), kind) for kind, width in layout.widths.items())


def pack(layout: Layout, rows: Any) -> tuple[Array, ...]:
    """Rows, a tree of leaves [*batch, ...], as [*batch, width] each.

    Example:
      >>> row = {"o": jnp.array([0.5, 1.5]), "over": jnp.array(True)}
      >>> packed = pack(layout(row), row)
      >>> [(x.dtype.name, x.shape) for x in packed]
      [('uint32', (2,)), ('uint8', (1,))]
      >>> unpack(layout(row), packed)["o"].tolist()
      [0.5, 1.5]
    """
    parts: dict[Any, list[Array]] = {kind: [] for kind in layout.widths}
    for given, one in zip(jax.tree.leaves(rows), layout.leaves, strict=True):
        # NumPy's 64 bits are 32 where JAX has no others; copied, for whoever gave it may write the next block there at once.
        leaf = jnp.array(given, one.dtype, copy=isinstance(given, np.ndarray))
        batch = leaf.shape[: leaf.ndim - len(one.shape)]
        parts[_carrier(one.dtype)].append(_carried(leaf).reshape(*batch, math.prod(one.shape)))
    return tuple(jnp.concatenate(side_by_side, axis=-1) for side_by_side in parts.values())


def unpack(layout: Layout, packed: tuple[Array, ...]) -> Any:
    """The rows that `pack` was given, or some of them: [*batch, width] each."""
    arrays, leaves = dict(zip(layout.widths, packed, strict=True)), []
    begin = dict.fromkeys(arrays, 0)
    for one in layout.leaves:
        kind, size = _carrier(one.dtype), math.prod(one.shape)
        part = lax.slice_in_dim(arrays[kind], begin[kind], begin[kind] + size, axis=-1)
        begin[kind] += size
        leaves.append(_read(part.reshape(*part.shape[:-1], *one.shape), one.dtype))
    return jax.tree.unflatten(layout.tree, leaves)


def _carrier(dtype: Any) -> Any:
    """The type of the array in which numbers of a type lie: what has as many bits, if JAX can take it for the other."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return jnp.dtype("uint8")
    about = (jnp.integer, jnp.iinfo), (jnp.floating, jnp.finfo)
    bits = next((info(dtype).bits for kind, info in about if jnp.issubdtype(dtype, kind)), 0)
    return jnp.dtype(f"uint{bits}") if bits in (8, 16, 32) else dtype


def _carried(leaf: Array) -> Array:
    kind = _carrier(leaf.dtype)
    if jnp.issubdtype(leaf.dtype, jnp.bool_):
        return leaf.astype(kind)
    return leaf if leaf.dtype == kind else lax.bitcast_convert_type(leaf, kind)


def _read(part: Array, dtype: Any) -> Array:
    if jnp.issubdtype(dtype, jnp.bool_):
        return part.astype(bool)
    return part if part.dtype == dtype else lax.bitcast_convert_type(part, dtype)
