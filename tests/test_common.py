"""An optimiser over one vector is the optimiser; values beyond any return are told from those that are merely too high."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax import agents, envs, networks, train
from rljax.agents.common import adam, credible, flattened
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


def test_the_bound_of_what_is_credible_scales_with_rewards_and_horizon() -> None:
    for largest, gamma, sign in ((1.0, 0.99, 1), (250.0, 0.9, -1), (0.0, 0.5, 1)):
        limit = 100 * (1 + largest / (1 - gamma))  # all rewards the largest: the geometric series
        q = sign * jnp.array([0.0, 0.999 * limit, 1.001 * limit])
        np.testing.assert_array_equal(credible(q, jnp.float32(0), jnp.float32(largest), gamma), [q[0], q[1], np.inf])
    assert credible(jnp.bfloat16(3.0), jnp.float32(0.1), jnp.float32(1.0), 0.9).dtype == jnp.bfloat16
    begun = credible(jnp.array([4e5, 6e5]), jnp.float32(-5000.0), jnp.float32(0.0), 0.9)  # optimism, or pessimism
    np.testing.assert_array_equal(begun, [4e5, np.inf])


def test_without_discount_only_what_is_no_number_is_incredible() -> None:
    q = jnp.array([1e30, jnp.inf, jnp.nan])
    for largest in (0.0, 1.0):
        found = credible(q, jnp.float32(0.0), jnp.float32(largest), 1.0)
        np.testing.assert_array_equal(jnp.isfinite(found), [True, False, False])
    assert not jnp.isfinite(
        credible(jnp.float32(0.0), jnp.float32(0.0), jnp.float32(jnp.nan), 0.9)
    )  # reward: no number


def test_much_too_large_a_learning_rate_is_a_divergence_though_adam_keeps_it_finite() -> None:
    """Here without replay; tests/test_experiments_deep.py has the one with it."""
    task = envs.TimeLimit(envs.CartPole(), 500), networks.q_network((4, 32, 32, 2))
    algorithm = agents.pqn(*task, num_envs=8, unroll_steps=8, learning_rate=1000.0)
    with pytest.raises(train.Diverged, match="q ceased to be finite, or credible, in step") as caught:
        train.train(algorithm, jax.random.split(jax.random.key(0), 1), 100)
    losses = caught.value.result.metrics["loss"]
    assert np.isfinite(losses[0]).all()  # nothing was NaN or infinite, but for what says so
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(caught.value.result.parameters))


def test_a_line_search_is_refused_before_anything_is_compiled() -> None:
    algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy(), optimiser=optax.lbfgs)
    key = jax.random.key(0)
    with pytest.raises(TypeError, match=r"cannot update the parameters .*'value_fn'.*Take optax\.adam"):
        jax.eval_shape(algorithm.step, key, jax.eval_shape(algorithm.init, key))
