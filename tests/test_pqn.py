"""Parallelised Q-learning on tasks whose values are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax import envs, mdp, networks
from rljax.agents import pqn


def learned(env: Any, states: int, steps: int = 200, **options: Any) -> np.ndarray:
    """The table [S, A] after `steps` blocks of random play, from zeros."""
    table = networks.Network(lambda key: jnp.zeros((states, 2)), lambda params, observation: params[observation])
    options = {"num_envs": 16, "unroll_steps": 16, "minibatches": 4, "epochs": 1, "epsilon": 1.0} | options
    algorithm = pqn(env, table, learning_rate=0.5, optimiser=optax.sgd, gamma=0.5, **options)
    keys = jax.random.split(jax.random.key(1), steps)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    state = run(jax.random.key(0))
    assert int(state.learner.steps) == steps * 256
    return np.asarray(algorithm.parameters(state))


@pytest.mark.parametrize("lambda_", [0.0, 1.0])
def test_a_time_limit_is_no_death(lambda_: float) -> None:
    """One state, reward 1 for ever: the value is 1 / (1 - gamma) = 2; taking limits of 2 steps for ends gives 1.5 at most."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5)
    env = envs.TimeLimit(envs.TabularEnv(world), 2)
    np.testing.assert_allclose(learned(env, 1, lambda_=lambda_), [[2.0, 2.0]], atol=0.01)


@pytest.mark.parametrize(("lambda_", "first"), [(0.0, 0.5), (0.5, 0.375), (1.0, 0.25)])
def test_lambda_is_how_much_of_what_was_done_counts(lambda_: float, first: float) -> None:
    """Two steps to the end, the last pays 1 for action 0 and 0 for action 1, both played alike. Peng's Q(lambda) mixes:
    q(0, .) = gamma ((1 - lambda) max_a q(1, a) + lambda mean_a q(1, a)) = 0.5 (1 - lambda / 2)."""
    to = np.zeros((3, 2, 3))
    to[0, :, 1] = to[1, :, 2] = to[2, :, 2] = 1
    world = mdp.TabularMDP(
        jnp.array(to),
        jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]),
        gamma=0.5,
        terminal=np.array([False, False, True]),
        initial=np.array([1.0, 0.0, 0.0]),
    )
    table = learned(envs.TabularEnv(world), 3, lambda_=lambda_)
    np.testing.assert_allclose(table[1], [1.0, 0.0], atol=0.01)
    np.testing.assert_allclose(table[0], first, atol=0.04)


def test_actions_that_are_not_available_are_never_played_nor_hoped_for() -> None:
    """Action 1 would pay 100, and is not to be had."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.array([[1.0, 100.0]]), gamma=0.5, mask=np.array([[True, False]]))
    env = envs.TabularEnv(world)
    np.testing.assert_allclose(learned(env, 1, available=env.available), [[2.0, 0.0]], atol=0.01)


def test_where_no_action_is_available_nothing_follows() -> None:
    """At the end of an episode, say: -inf there would be NaN everywhere."""
    world = mdp.TabularMDP(
        jnp.array([[[0.0, 1.0]] * 2, [[0.0, 1.0]] * 2]),
        jnp.array([3.0, 0.0]),
        gamma=0.5,
        terminal=np.array([False, True]),
    )
    table = learned(envs.TabularEnv(world), 2, steps=20, available=lambda state: jnp.full(2, state == 0))
    np.testing.assert_allclose(table, [[3.0, 3.0], [0.0, 0.0]], atol=0.01)


def test_it_runs_under_the_strictest_promotion(precision: bool) -> None:
    """Traced only, schedules too; parameters keep their type."""
    network = networks.q_network((4, 9, 2), layer_norm=True)
    algorithm = pqn(envs.CartPole(), network, epsilon=optax.linear_schedule(1.0, 0.1, 9))
    before = jax.eval_shape(algorithm.init, jax.random.key(0))
    after, _ = jax.eval_shape(algorithm.step, jax.random.key(1), before)
    assert jax.tree.map(lambda leaf: leaf.dtype, before) == jax.tree.map(lambda leaf: leaf.dtype, after)
    assert after.learner.params[0]["kernel"].dtype == (jnp.float64 if precision else jnp.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 3, "unroll_steps": 5, "minibatches": 4}, "Take 3"),
        ({"lambda_": 1.5}, "lambda_ is 1.5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"available": lambda observation: jnp.ones(2)}, r"expected bool\[2\]"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pqn(envs.CartPole(), networks.q_network((4, 2)), **options)


def test_a_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 51\); expected \(2,\)"):
        pqn(envs.CartPole(), networks.q_network((4, 2), atoms=51))
