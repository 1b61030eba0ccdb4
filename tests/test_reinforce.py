"""REINFORCE: its update is the chapter's, its metrics are unshaped, and it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax import (
    agents,
    envs,
    features,
    losses,
    mdp,
    networks,
    policies,
    replay,
    returns,
    rollout,
    shaping,
    structs,
    train,
)

pytestmark = pytest.mark.usefixtures("standard_promotion")
SMALL = {"max_steps": 30, "episodes_per_update": 5}


def keys(number: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), number)


def test_one_step_is_the_equations_of_the_docstring() -> None:
    """Composed by hand from the public parts, with plain gradient ascent, on the episodes that the step plays."""
    env, network = envs.CartPole(), networks.chapter_policy()
    algorithm = agents.reinforce(env, network, **SMALL, learning_rate=0.1, optimiser=optax.sgd, gamma=0.9)
    state, key = jax.jit(algorithm.init)(jax.random.key(0)), jax.random.key(1)
    after, metrics = jax.jit(algorithm.step)(key, state)

    key_start, key_play = jax.random.split(jax.random.key(1))
    policy = lambda key, o: policies.bernoulli.sample(key, network.apply(state.params.policy, o))
    cursor = jax.jit(lambda key: rollout.start(key, env, 5))(key_start)
    played = jax.jit(lambda key, c: rollout.unroll(key, env, policy, c, 30, autoreset="none")[1])(key_play, cursor)
    played = jax.tree.map(np.asarray, played)

    rows = []  # observation, action, return: episode by episode, in float64
    for e in range(5):
        length = int(played.valid[:, e].sum())
        g = 0.0
        for t in reversed(range(length)):
            g = float(played.reward[t, e]) + 0.9 * g
            rows.append((played.observation[t, e], played.action[t, e], g))
    g = np.array([row[2] for row in rows])
    weights = (g - g.mean()) / g.std()

    def objective(params: Any) -> jax.Array:
        logits = jax.vmap(lambda o: network.apply(params, o))(np.stack([row[0] for row in rows]))
        log_prob = jax.vmap(policies.bernoulli.log_prob)(logits, np.stack([row[1] for row in rows]))
        return jnp.mean(jnp.asarray(weights, jnp.float32) * log_prob)

    gradient = jax.jit(jax.grad(objective))(state.params.policy)
    expected = jax.tree.map(lambda p, g: p + np.float32(0.1) * g, *jax.device_get((state.params.policy, gradient)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), after.params.policy, expected)
    np.testing.assert_allclose(metrics["mean_length"], len(rows) / 5)
    np.testing.assert_allclose(metrics["mean_return"], len(rows) / 5)


def test_equal_returns_teach_nothing_and_reports_are_unshaped() -> None:
    """All returns are equal if gamma is 0 or rewards are shaped away: nothing is better than average."""

    def make(gamma: Any, scale: Any) -> structs.Algorithm:
        shape = lambda transition: transition.reward * scale
        return agents.reinforce(envs.CartPole(), networks.chapter_policy(), **SMALL, gamma=gamma, shaping=shape)

    algorithm = make(0.95, 1.0)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    step = jax.jit(lambda gamma, scale: make(gamma, scale).step(jax.random.key(1), state))
    for gamma, scale in ((0.95, 0.0), (0.0, 1.0), (0.95, 1.0)):
        after, metrics = step(gamma, scale)
        assert metrics["mean_return"] == metrics["mean_length"] > 5 and np.isfinite(metrics["loss"])
        taught = [
            not np.array_equal(*pair) for pair in zip(*map(jax.tree.leaves, (after.params, state.params)), strict=True)
        ]
        assert any(taught) == (gamma * scale > 0)
    assert jax.jit(algorithm.score)(jax.random.key(2), state.params) > 5


def pairs(make: Callable[..., structs.Algorithm], num_steps: int) -> train.Result:
    """Members 0 and 1 with setting 0, 2 and 3 with 1; of the same two keys."""
    twice = jnp.concatenate([keys(2), keys(2)])
    return train.train(make, twice, num_steps, settings={"which": np.float32([0, 0, 1, 1])})


def test_shaping_changes_what_is_learned() -> None:
    def shape(which: jax.Array) -> Callable[[Any], jax.Array]:
        return lambda t: jnp.where(which == 1, shaping.angle_penalty(t), t.reward)

    result = pairs(
        lambda which: agents.reinforce(envs.CartPole(), networks.chapter_policy(), **SMALL, shaping=shape(which)), 2
    )
    plain, shaped = result.metrics["mean_length"][0].reshape(2, 2)
    np.testing.assert_array_equal(plain, shaped)
    assert not np.array_equal(*np.asarray(jax.tree.leaves(result.parameters)[1]).reshape(2, -1))


def test_a_baseline_learns_the_returns() -> None:
    """Any pair of functions is a network or a baseline."""
    network, baseline = tuple(networks.chapter_policy()), tuple(networks.mlp((4, 16, 1)))
    algorithm = agents.reinforce(envs.CartPole(), network, **SMALL, baseline=baseline, learning_rate=0.05)
    result = train.train(algorithm, keys(2), 100)
    learned = jax.tree.map(lambda leaf: leaf[0], result.parameters)
    assert algorithm.act(learned, jax.random.key(0), jnp.zeros(4)) in (0, 1)
    # A constant could at best reach half the variance of the returns (gamma 0.95, about 20 steps: more than 10).
    assert (result.metrics["loss"][-10:].mean(axis=0) < 0.3 * result.metrics["loss"][0]).all()


def test_entropy_bonus_keeps_the_policy_undecided() -> None:
    result = pairs(
        lambda which: agents.reinforce(envs.CartPole(), networks.chapter_policy(), **SMALL, entropy_bonus=which), 40
    )
    without, bonus = result.metrics["entropy"][-1].reshape(2, 2)
    assert (bonus > without).all()
    assert (bonus > 0.65).all(), "almost log 2"


def test_categorical_policies_learn_as_well() -> None:
    algorithm = agents.reinforce(
        envs.CartPole(), networks.mlp((4, 8, 2)), distribution=policies.categorical, episodes_per_update=10
    )
    result = train.train(algorithm, keys(4), 60)
    assert np.median(result.metrics["mean_length"][-5:].mean(axis=0)) > 2 * result.metrics["mean_length"][0].mean()


def test_the_chapters_set_up_learns_and_early_stopping_ends_it() -> None:
    algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy())
    result = train.train(algorithm, keys(4), 150, eval_every=5, target=195.0, patience=2)
    assert (np.asarray(result.members.best_score) >= 195).sum() >= 3
    assert (np.asarray(result.members.steps) < 150).any()


def test_a_time_limit_of_the_environment_ends_episodes_too() -> None:
    algorithm = agents.reinforce(envs.TimeLimit(envs.CartPole(), 7), networks.chapter_policy(), **SMALL)
    _, metrics = jax.jit(algorithm.step)(jax.random.key(1), jax.jit(algorithm.init)(jax.random.key(0)))
    assert metrics["mean_length"] == 7


def test_the_objective_weighs_steps_as_the_parts_do() -> None:
    """A guard on the rows: flattening [T, E] must keep observation, action, return and mask of a step together."""
    valid = jnp.array([[True, True], [True, False]])
    g = jnp.array([[3.0, 1.0], [2.0, 99.0]])
    weight = returns.normalise(g, valid)
    log_prob = jnp.log(jnp.array([[0.5, 0.25], [0.125, 1.0]]))
    expected = -np.mean([1.2247449, -1.2247449, 0.0] * np.log([0.5, 0.25, 0.125]))
    np.testing.assert_allclose(losses.policy_gradient_loss(log_prob, weight, valid), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gamma": 1.5}, r"gamma is 1\.5; expected a number in \[0, 1\]"),
        ({"gamma": float("nan")}, "gamma is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"episodes_per_update": 0}, "episodes_per_update is 0"),
        ({"max_steps": -1}, "max_steps is -1"),
        ({"score_episodes": 0}, "score_episodes is 0"),
        ({"entropy_bonus": -1.0}, "entropy_bonus is -1"),
        ({"entropy_bonus": float("inf")}, "entropy_bonus is inf"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
    ],
)
def test_bad_input_is_refused_at_construction(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agents.reinforce(envs.CartPole(), networks.chapter_policy(), **wrong)


@pytest.mark.parametrize(
    ("sizes", "distribution"),
    [((4, 8, 3), policies.categorical), ((4, 8, 1), policies.categorical), ((4, 8, 2), policies.bernoulli)],
)
def test_a_network_with_other_outputs_than_the_environment_has_actions_is_refused(
    sizes: tuple[int, ...], distribution: policies.Distribution
) -> None:
    for env in (envs.CartPole(), envs.TimeLimit(envs.CartPole(), 9)):
        with pytest.raises(ValueError, match=r"the network's output has shape .* the actions of Discrete\(2\)"):
            agents.reinforce(env, networks.mlp(sizes), distribution=distribution)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"env": None}, "env is None; expected an environment"),
        ({"optimiser": lambda rate: None}, r"optimiser\(learning_rate\) is None"),
        ({"env": envs.CartPole}, r"env is <class .*CartPole'>; expected an environment, such as envs\.CartPole\(\)"),
        ({"network": None}, r"network is None; expected a tuple of functions, \(init, apply\)"),
        ({"baseline": networks.chapter_policy}, r"baseline is .*; expected a tuple of functions, \(init, apply\)"),
        ({"distribution": None}, r"distribution is None; expected a tuple of functions, \(sample, mode, log_prob"),
        ({"optimiser": optax.adam(0.01)}, r"(?s)optimiser is .*; expected a function such as optax\.adam \(not"),
        ({"shaping": 0.7}, r"shaping is 0\.7; expected a function"),
    ],
)
def test_what_is_no_part_of_the_algorithm_is_refused_at_construction(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        agents.reinforce(**{"env": envs.CartPole(), "network": networks.chapter_policy(), **wrong})


def test_a_baseline_of_two_numbers_and_a_shaping_of_many_are_refused() -> None:
    make = lambda **options: agents.reinforce(envs.CartPole(), networks.chapter_policy(), **options)
    with pytest.raises(ValueError, match=r"the baseline's output has shape \(2,\); expected one value, \(\)"):
        make(baseline=networks.mlp((4, 5, 2)))
    algorithm, key = make(shaping=lambda step: step.next_observation), jax.random.key(0)
    with pytest.raises(ValueError, match=r"shaped_reward has shape .*, 4\) and reward"):
        jax.eval_shape(algorithm.step, key, jax.eval_shape(algorithm.init, key))


def test_raw_keys_are_refused() -> None:
    with pytest.raises(TypeError, match="typed kind"):
        agents.reinforce(envs.CartPole(), networks.chapter_policy()).init(jax.random.PRNGKey(0))


@pytest.mark.parametrize("wrong", [jax.random.PRNGKey(0), 0, None], ids=["raw", "0", "None"])
def test_a_step_with_what_is_no_key_is_refused_by_every_learner(wrong: Any) -> None:
    env, two = envs.CartPole(), networks.q_network((4, 4, 2))
    ring = replay.uniform(16)
    for algorithm in (
        agents.reinforce(env, networks.chapter_policy()),
        agents.dqn(env, two, memory=ring, batch_size=4, warmup=4),
        agents.pqn(env, two, num_envs=2, unroll_steps=2, minibatches=1),
        agents.linear_q(env, features.polynomial(1, [-1.0] * 4, [1.0] * 4)),
        agents.policy_search(env, networks.chapter_policy(), agents.random_search(4), finalists=2),
        agents.control(envs.TabularEnv(mdp.problems.chapter_mdp())),
    ):
        state = jax.eval_shape(algorithm.init, jax.random.key(0))
        with pytest.raises(TypeError, match="typed kind"):
            jax.eval_shape(lambda state, step=algorithm.step: step(wrong, state), state)


def test_a_shaping_that_is_not_finite_is_told_and_not_trained_on() -> None:
    """Its weights were zero, and so was the loss."""

    def shape(which: jax.Array) -> Callable[[Any], jax.Array]:
        return lambda t: t.reward * jnp.where(which == 1, jnp.nan, jnp.inf)

    with pytest.raises(train.Diverged, match=r"loss ceased to be finite, or credible, in step 1 of member 0 \(4 of 4"):
        pairs(
            lambda which: agents.reinforce(envs.CartPole(), networks.chapter_policy(), **SMALL, shaping=shape(which)), 2
        )
