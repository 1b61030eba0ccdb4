"""Deep Q-learning on tasks whose values are known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

from rljax import envs, losses, mdp, networks, replay
from rljax.agents import dqn
from rljax.agents.dqn import Munchausen, categorical, quantile, scalar

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


def learned(env: Any, first: Any, **options: Any) -> np.ndarray:
    """The table [A] of a world of one state that begins as `first`, after 300 steps of gradient descent; gamma is 0.5."""
    network = networks.Network(lambda key: jnp.array([first]), TABLE.apply)
    options = {"memory": replay.uniform(200), "batch_size": 64, "warmup": 100} | options
    algorithm = dqn(env, network, gamma=0.5, learning_rate=0.5, optimiser=optax.sgd, epsilon=1.0, **options)
    keys = jax.random.split(jax.random.key(1), 300)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    return np.asarray(algorithm.parameters(run(jax.random.key(0))))[0]


@pytest.mark.parametrize(("double", "values"), [(False, [10.0, 5.0]), (True, [5.0, 0.0])])
def test_targets_are_the_old_parameters_and_double_lets_the_new_ones_choose(double, values) -> None:
    """Rewards 5 and 0; the old values [0, 10] never move. Plain: r + 10 / 2. Double: the new values prefer action 0: r + 0."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.array([[5.0, 0.0]]), gamma=0.5)
    env = envs.TimeLimit(envs.TabularEnv(world), 7)
    np.testing.assert_allclose(learned(env, [0.0, 10.0], double=double, target_every=10**6), values, atol=1e-3)


def test_a_soft_target_follows_slowly_and_arrives() -> None:
    slow = learned(endless(7), [0.0, 0.0], target_rate=0.001)
    assert (slow > 1.0).all() and (slow < 1.5).all(), "1 by the target of zeros, a little more as it moves"
    np.testing.assert_allclose(learned(endless(7), [0.0, 0.0], target_rate=0.1), 2.0, atol=0.01)


@pytest.mark.parametrize(
    ("alpha", "clip", "bonus"), [(0.0, -1.0, 0.0), (0.9, -1.0, -0.9 * np.log(2)), (0.9, -0.1, -0.09)]
)
def test_munchausen_pays_for_entropy_and_for_being_sure(alpha, clip, bonus) -> None:
    """Two equal actions at temperature 1: q = 1 + alpha max(-ln 2, clip) + (q + ln 2) / 2."""
    options = Munchausen(temperature=1.0, alpha=alpha, clip=clip)
    value = 2 * (1 + bonus) + np.log(2)
    np.testing.assert_allclose(learned(endless(7), [0.0, 0.0], munchausen=options), value, atol=0.01)


def test_actions_that_are_not_available_are_never_played_nor_hoped_for() -> None:
    """Action 1 would be worth 100 at first sight."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5, mask=np.array([[True, False]]))
    env = envs.TabularEnv(world)
    np.testing.assert_allclose(learned(env, [0.0, 100.0], available=env.available), [2.0, 100.0], atol=0.01)


def lottery() -> envs.TabularEnv:
    """Each step is an episode that pays 4, three times out of four, else 0, whatever is done."""
    to = np.zeros((3, 2, 3))
    to[0, :, 1:] = 0.75, 0.25
    to[1, :, 1] = to[2, :, 2] = 1
    rewards = np.zeros((3, 2, 3))
    rewards[0, :, 1] = 4
    ends, first = np.array([False, True, True]), np.array([1.0, 0.0, 0.0])
    return envs.TabularEnv(mdp.TabularMDP(jnp.array(to), jnp.array(rewards), gamma=0.5, terminal=ends, initial=first))


def distribution(env: Any, head: Any, **options: Any) -> np.ndarray:
    """[A, atoms] of state 0, from zeros, after 1000 steps."""
    table = networks.Network(lambda key: jnp.zeros((3, 2, *head.shape)), TABLE.apply)
    options = {"memory": replay.uniform(4096), "num_envs": 16, "warmup": 4096, "batch_size": 256} | options
    algorithm = dqn(env, table, gamma=0.5, learning_rate=1.0, optimiser=optax.sgd, epsilon=1.0, head=head, **options)
    keys = jax.random.split(jax.random.key(1), 1000)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    return np.asarray(algorithm.parameters(run(jax.random.key(0))))[0]


def test_c51_learns_how_likely_each_return_is() -> None:
    p = np.asarray(jax.nn.softmax(distribution(lottery(), categorical(0.0, 4.0, 5))))
    np.testing.assert_allclose(p, [[0.25, 0, 0, 0, 0.75]] * 2, atol=0.04)


def test_quantiles_are_those_of_the_return() -> None:
    """Of 0 and 4 with chances 1 : 3, those at 1/12, 3/12, ..., 11/12; that at 3/12 is not unique."""
    quantiles = distribution(lottery(), quantile(6, delta=0.1))
    np.testing.assert_allclose(quantiles[:, [0, 2, 3, 4, 5]], [[0, 4, 4, 4, 4]] * 2, atol=0.15)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("head", [categorical(0.0, 4.0, 5), quantile(3)], ids=["c51", "qr"])
def test_distributions_bootstrap(head: Any, double: bool) -> None:
    """Reward 1 for ever: every return is 1 / (1 - gamma) = 2."""
    output = distribution(endless(7), head, double=double, warmup=160)
    np.testing.assert_allclose(head.values(output), 2.0, atol=0.05)


def test_the_squared_loss_learns_the_mean_and_an_absolute_one_the_median() -> None:
    squared, absolute = (distribution(lottery(), scalar(penalty)) for penalty in (losses.squared, jnp.abs))
    np.testing.assert_allclose(squared, 3.0, atol=0.3)
    np.testing.assert_allclose(absolute, 4.0, atol=0.6)


LAKE, _ = mdp.gridworld.gridworld(mdp.gridworld.FROZEN_LAKE_4X4, slip=2 / 3, gamma=0.95)


@pytest.mark.parametrize(
    ("world", "num_envs", "learning_rate", "batch"),
    [(mdp.problems.chapter_mdp(), 64, 1.0, 1024), (LAKE, 1024, 0.02, 2048)],
    ids=["the chapter's three states", "FrozenLake"],
)
def test_one_hot_and_linear_it_is_exact(world: mdp.TabularMDP, num_envs: int, learning_rate: float, batch: int) -> None:
    """From random play, within 2 % of the largest of the exact values."""
    exact, env = mdp.plan(world), envs.TabularEnv(world)
    states, actions = exact.q.shape
    algorithm = dqn(
        env,
        networks.one_hot(states, networks.linear(states, actions)),
        num_envs=num_envs,
        unroll_steps=16,
        num_updates=16,
        batch_size=batch,
        memory=replay.uniform(960 * num_envs),
        warmup=320 * num_envs,
        gamma=float(world.gamma),
        optimiser=lambda rate: optax.adam(optax.exponential_decay(rate, 320, 0.5)),
        learning_rate=learning_rate,
        epsilon=1.0,
        target_every=16,
        head=scalar(losses.squared),
        available=env.available,
    )
    keys = jax.random.split(jax.random.key(1), 200)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    known = np.asarray(world.mask & ~world.terminal[:, None])
    found, q = np.asarray(algorithm.parameters(run(jax.random.key(0)))), np.asarray(exact.q)
    np.testing.assert_allclose(found[known], q[known], atol=0.02 * abs(q[known]).max())


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a Head"):
        dqn(endless(2), TABLE, head=optax.adam)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 5, "memory": replay.uniform(4)}, "n is 5 and the memory holds 4 steps"),
        ({"n": 5, "warmup": 2}, "warmup of at least 4"),
        ({"unroll_steps": 4, "memory": replay.uniform(6)}, "capacity of 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"munchausen": Munchausen(), "double": True}, "expected one"),
        ({"munchausen": Munchausen(), "n": 2}, "expected n=1"),
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
