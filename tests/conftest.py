"""The strictest JAX there is, for every test; `precision` runs the mathematics in float32 and in float64."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# One device, one core for each worker: workers of pytest-xdist share the machine.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Runs the test twice; the value says whether 64-bit floats are on."""
    with jax.enable_x64(request.param):
        yield request.param


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """optax's adam raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield
