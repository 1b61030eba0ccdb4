"""An optimiser over one vector is the optimiser."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from rljax.agents.common import adam, flattened
from rljax.agents.pqn import clipped_radam

pytestmark = pytest.mark.usefixtures("standard_promotion")
MAKERS = {
    "adam": (adam, optax.adam),
    "radam": (
        clipped_radam,
        lambda rate: optax.chain(optax.clip_by_global_norm(10.0), optax.radam(rate)),
    ),
    "decay": (flattened(optax.adamw), optax.adamw),  # which looks at the parameters too
}


@pytest.mark.parametrize("name", MAKERS)
def test_over_one_vector_is_over_each_array(name: str) -> None:
    params = {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3), "scale": jnp.float32(2.0)}
    size = lambda i: 1.0 if i % 2 else 100.0  # above the clipped norm, and below
    ours, theirs = (maker(0.1) for maker in MAKERS[name])
    a, b = params, params
    state_a, state_b = ours.init(params), theirs.init(params)
    for i in range(8):
        gradient = jax.tree.map(lambda x, i=i: size(i) * jnp.cos(x + i), params)
        change_a, state_a = ours.update(gradient, state_a, a)
        change_b, state_b = theirs.update(gradient, state_b, b)
        chex.assert_trees_all_close(change_a, change_b, rtol=1e-5)
        a, b = optax.apply_updates(a, change_a), optax.apply_updates(b, change_b)


def test_each_array_keeps_its_type() -> None:
    params = {"half": jnp.ones(2, jnp.bfloat16), "whole": jnp.ones(3)}
    optimiser = flattened(optax.sgd)(0.5)
    change, _ = optimiser.update(params, optimiser.init(params), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(change, params)
    chex.assert_trees_all_equal(change, jax.tree.map(lambda x: -x / 2, params))


def test_it_keeps_the_name_of_what_it_flattens() -> None:
    assert clipped_radam.__name__ == "clipped_radam" and "norm 10" in (clipped_radam.__doc__ or "")
