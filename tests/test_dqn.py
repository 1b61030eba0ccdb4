"""Deep Q-learning on tasks whose values are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

from rljax import envs, mdp, networks, replay
from rljax.agents import dqn

pytestmark = pytest.mark.usefixtures("standard_promotion")

TABLE = networks.Network(lambda key: jnp.zeros((1, 2)), lambda params, observation: params[observation])


def endless(limit: int) -> envs.TimeLimit:
    """One state, two actions, reward 1 for ever; only the clock ends an episode."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5)
    return envs.TimeLimit(envs.TabularEnv(world), limit)


@pytest.mark.parametrize("options", [{}, {"double": True}, {"n": 3}, {"memory": replay.prioritised(60)}])
def test_a_time_limit_is_no_death(options: dict[str, Any]) -> None:
    """The value is 1 / (1 - gamma) = 2; taking the limit of 2 steps for an end would give 1.5 at most."""
    options = {"warmup": 30, "memory": replay.uniform(60)} | options
    algorithm = dqn(endless(2), TABLE, gamma=0.5, learning_rate=0.5, optimiser=optax.sgd, epsilon=1.0, **options)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 300)
    state, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, k: algorithm.step(k, s), state, keys))(state)
    np.testing.assert_allclose(algorithm.parameters(state), [[2.0, 2.0]], atol=0.01)
    assert metrics["mean_return"][-1] == 2.0
    assert int(state.steps) == 330 and int(state.updates) == 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 5, "memory": replay.uniform(4)}, "n is 5 and the memory holds 4 steps"),
        ({"n": 5, "warmup": 2}, "warmup of at least 5"),
        ({"unroll_steps": 4, "memory": replay.uniform(6)}, "capacity of 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"gamma": 1.5}, "gamma is 1.5"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dqn(endless(2), TABLE, **options)


def test_a_network_that_does_not_fit_and_continuous_actions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(2,\)"):
        dqn(envs.CartPole(), networks.mlp((4, 3)))

    class Continuous(envs.CartPole):
        action_space = property(lambda self: spaces.Box(-1.0, 1.0))  # pyright: ignore[reportAssignmentType]

    with pytest.raises(ValueError, match="Discrete"):
        dqn(Continuous(), networks.mlp((4, 2)))
