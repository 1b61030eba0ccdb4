"""What is packed comes back bit for bit, takes as many bytes, and lies in one array for each size of number."""

from __future__ import annotations

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import packing

KINDS = [
    *(bool, jnp.int8, jnp.uint8, jnp.int16, jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn),
    *(jnp.int32, jnp.uint32, jnp.float32, jnp.complex64, jnp.int4),
]


def bits(rng: np.random.Generator, shape: tuple[int, ...], kind: Any) -> jax.Array:
    """Any bits at all: NaN with their payloads, infinities, the smallest numbers."""
    if kind is bool:
        return jnp.asarray(rng.random(shape) < 0.5)
    if kind in (jnp.int4, jnp.complex64):
        return jnp.asarray(rng.integers(-8, 8, shape).astype(jnp.dtype(kind)))
    raw = rng.integers(0, 256, (*shape, jnp.dtype(kind).itemsize), np.uint8)
    return jnp.asarray(raw.view(jnp.dtype(kind))[..., 0])


@pytest.mark.parametrize("batch", [(), (3,), (2, 5)], ids=str)
def test_every_bit_comes_back(batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    shapes = [(), (4,), (2, 3)]
    rows = {f"{jnp.dtype(kind)}{s}": bits(rng, (*batch, *s), kind) for kind in KINDS for s in shapes}
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[len(batch) :], leaf.dtype), rows)
    layout = packing.layout(one)
    packed = jax.jit(lambda rows: packing.pack(layout, rows))(rows)
    back = jax.jit(lambda packed: packing.unpack(layout, packed))(packed)
    chex.assert_trees_all_equal_shapes_and_dtypes(back, rows)
    for name, leaf in rows.items():
        assert np.asarray(back[name]).tobytes() == np.asarray(leaf).tobytes(), name
    # Eleven numbers of each kind, 1 + 4 + 6; what JAX cannot take for words stays what it is.
    widths = {"uint8": 44, "uint16": 33, "uint32": 33, "complex64": 11, "int4": 11}
    assert {x.dtype.name: x.shape for x in packed} == {name: (*batch, width) for name, width in widths.items()}
    assert sum(x.nbytes for x in packed) == sum(leaf.nbytes for leaf in rows.values())
    chex.assert_trees_all_equal_shapes_and_dtypes(packing.zeros(layout, batch), packed)


def test_zeros_are_zeros_of_every_kind() -> None:
    example = {jnp.dtype(kind).name: jax.ShapeDtypeStruct((2,), kind) for kind in KINDS}
    layout = packing.layout(example)
    chex.assert_trees_all_equal(
        packing.unpack(layout, packing.zeros(layout, (3,))),
        jax.tree.map(lambda one: jnp.zeros((3, *one.shape), one.dtype), example),
    )


def test_numpys_wide_numbers_are_rows_like_any_others() -> None:
    row = {"o": jnp.array([0.25, -0.5]), "a": jnp.int32(0), "over": jnp.array(False)}
    layout = packing.layout(row)
    block = {"o": np.array([[1.5, 2.0]]), "a": np.array([3]), "over": np.array([True])}  # float64, int64
    back = packing.unpack(layout, packing.pack(layout, block))
    expected = {"o": jnp.array([[1.5, 2.0]]), "a": jnp.array([3]), "over": jnp.array([True])}
    chex.assert_trees_all_equal(back, expected)
    chex.assert_trees_all_equal_dtypes(back, row)


def test_blocks_of_numpy_are_copied() -> None:
    """The caller may fill the same array anew at once."""
    block = np.ones((4, 16), np.float32)
    (packed,) = packing.pack(packing.layout(jax.ShapeDtypeStruct((16,), jnp.float32)), block)
    block[:] = 2.0
    assert (packed.view(np.float32) == 1.0).all()
