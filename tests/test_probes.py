"""Probes: the answers by hand are those of planning, the worlds do what they say, and all of them are one program."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import envs, mdp, rollout
from rljax.envs import probes
from rljax.mdp import evaluation

NAMES = list(probes.every())
STEPS, COPIES = 40, 500


def stacked(gamma=0.5):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *probes.every(gamma).values())


@pytest.fixture(scope="module")
def played():
    """name -> transitions [T, N] of random play, all probes by one program."""

    def play(key, probe):
        policy = lambda key, observation: jax.random.randint(key, (), 0, 2, jnp.int32)
        cursor = rollout.start(jax.random.fold_in(key, 0), probe, COPIES)
        return rollout.unroll(jax.random.fold_in(key, 1), probe, policy, cursor, STEPS)[1]

    keys = jax.random.split(jax.random.key(0), len(NAMES))
    found = jax.device_get(jax.jit(jax.vmap(play))(keys, stacked())._replace(state=(), next_state=()))
    return {name: jax.tree.map(lambda leaf, i=i: leaf[i], found) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
def test_the_answers_are_those_of_planning(gamma):
    """Bellman's optimality equation, and a linear solve for the policy: neither knows of the clock."""
    with jax.enable_x64(True):
        for name, probe in probes.every(gamma).items():
            model, live = envs.mdp_from_env(probe), np.asarray(probe.met)
            q = np.asarray(probe.optimal_q)
            backed_up = np.asarray(mdp.q_bellman_optimality(model, probe.optimal_q))
            np.testing.assert_allclose(q[live], backed_up[live], atol=1e-12, err_msg=name)
            policy = jnp.argmax(probe.optimal_q, axis=1).astype(jnp.int32)
            v = np.asarray(evaluation.evaluate(model, policy))
            np.testing.assert_allclose(np.asarray(probe.optimal_value), v, atol=1e-12, err_msg=name)
            assert (q[~live] == 0).all() and np.asarray(probe.optimal_action)[~live].all()


def test_the_answers_by_hand():
    q = {name: np.asarray(probe.optimal_q) for name, probe in probes.every(0.75).items()}
    assert q["constant_reward"][0].tolist() == [1, 1]
    assert q["reward_by_observation"][:2].tolist() == [[-1, -1], [1, 1]]
    assert q["delayed_reward"][:2].tolist() == [[0.75, 0.75], [1, 1]]
    assert q["reward_by_action"][0].tolist() == [-1, 1]
    assert q["reward_by_both"][:2].tolist() == [[1, -1], [-1, 1]]
    assert q["time_limit"][0].tolist() == [4, 4]
    v = probes.stochastic_chain(0.5, slip=0.0).optimal_value
    assert v.tolist() == [0.25, 0.5, 1.0, 0.0]  # no slip: gamma ^ (steps to the end)
    v = np.asarray(probes.stochastic_chain().optimal_value)
    np.testing.assert_allclose(v[2], 0.8 + 0.2 * 0.5 * v[0], rtol=1e-6)


def test_which_actions_are_as_good_as_any():
    either, first, second = [True, True], [True, False], [False, True]
    expected = {
        "reward_by_action": [second, either, either, either],
        "reward_by_both": [first, second, either, either],
        "stochastic_chain": [second, second, second, either],
    }
    for name, probe in probes.every().items():
        assert probe.optimal_action.tolist() == expected.get(name, [either] * 4), name
    np.testing.assert_array_equal(stacked().optimal_action[3], expected["reward_by_action"])


def test_random_play_meets_what_it_should(played):
    """Only states that are said to be met are acted in; how episodes end; what is paid, on average as the model says."""
    for name, probe in probes.every().items():
        steps, model = played[name], envs.mdp_from_env(probe)
        assert set(np.unique(steps.observation)) == set(np.flatnonzero(probe.met)), name
        expected = np.asarray(model.expected_reward)
        reward = model.reward
        assert reward is not None
        drawn = np.asarray(reward)[steps.observation, steps.action, steps.next_observation]
        np.testing.assert_array_equal(steps.reward, drawn, err_msg=name)
        for s in np.flatnonzero(probe.met):
            for a in range(2):
                paid = steps.reward[(steps.observation == s) & (steps.action == a)]
                assert abs(paid.mean() - expected[a, s]) <= 5 * paid.std() / np.sqrt(len(paid)) + 1e-6, (name, s, a)
        np.testing.assert_array_equal(steps.terminated, steps.next_observation == probes.END, err_msg=name)
        if name != "time_limit":
            assert steps.terminated.any() and not steps.truncated.any()


def test_only_the_clock_ends_the_time_limit(played):
    steps = played["time_limit"]
    assert not steps.terminated.any() and (steps.reward == 1).all()
    np.testing.assert_array_equal(steps.truncated, (np.arange(STEPS) % 2 == 1)[:, None].repeat(COPIES, axis=1))
    assert probes.time_limit(max_steps=7).inner.max_steps == 7


def test_what_a_learner_gets_that_takes_the_limit_for_a_death():
    """The docstring's number, by a model in which the clock ends the episode after one of N steps."""
    gamma, n = 0.5, 2
    dies = np.array([[[1 - 1 / n, 1 / n]], [[0, 1]]])
    broken = mdp.TabularMDP(jnp.array(dies), jnp.array([1.0, 0.0]), gamma=gamma, terminal=np.array([False, True]))
    v = float(evaluation.evaluate(broken, jnp.array([0, 0]))[0])
    assert v == pytest.approx(1 / (1 - gamma * (1 - 1 / n))) == pytest.approx(4 / 3)


def test_the_chain_slips_as_often_as_it_says(played):
    steps = played["stochastic_chain"]
    onward = steps.next_observation == np.minimum(steps.observation + 1, 3)
    there = steps.observation > 0  # from state 0, back is where one is
    slipped = (onward != (steps.action == 1))[there]
    assert abs(slipped.mean() - 0.2) < 5 * np.sqrt(0.16 / slipped.size)


def test_all_are_of_one_shape_and_one_type(precision):
    shapes = {name: jax.tree.map(lambda x: (x.shape, x.dtype), probe) for name, probe in probes.every().items()}
    assert len({str(shape) for shape in shapes.values()}) == 1
    assert envs.mdp_from_env(probes.constant_reward()).dtype == (jnp.float64 if precision else jnp.float32)


def test_the_contract():
    probe = probes.reward_by_both()
    state, observation = probe.reset(jax.random.key(0))
    assert observation.shape == () and observation.dtype == jnp.int32
    assert probe.observation_space.n == 4 and probe.action_space.n == 2
    assert int(probe.observe(state)) == int(observation)
    with pytest.raises(ValueError, match="action is 2"):
        probe.step(jax.random.key(1), state, jnp.int32(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: probes.time_limit(1.0), r"gamma is 1; expected a number in \[0, 1\)"),
        (lambda: probes.time_limit(max_steps=0), "max_steps is 0"),
        (lambda: probes.constant_reward(1.5), "gamma is 1.5"),
        (lambda: probes.stochastic_chain(slip=0.5), "slip is 0.5"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
