"""The stock problems: numbers from books and from other packages, and the laws of random ones."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.mdp import chain, problems
from rljax.mdp.problems import garnet

in_both_precisions = pytest.mark.usefixtures("precision")


@jax.jit
def parts(mdp):
    return mdp.transitions.matrix(), mdp.expected_reward.T


def dense(mdp):
    return np.asarray(parts(mdp)[0], np.float64)


def optimal(mdp, sweeps=5000):
    """Q* [S, A] by the book, in float64; -inf where an action is not available."""
    p, r = (np.asarray(part, np.float64) for part in parts(mdp))
    gamma = float(mdp.gamma)
    q = np.where(mdp.mask, 0.0, -np.inf)
    for _ in range(sweeps):
        q = np.where(mdp.mask, r + gamma * p @ q.max(axis=1), -np.inf)
    return q


def close(a, b, scale=1.0):
    tolerance = scale * (1e-12 if jax.config.jax_enable_x64 else 1e-6)
    np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=tolerance, atol=tolerance)


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
@pytest.mark.parametrize(
    ("gamma", "q", "policy"),
    [
        (0.90, [[18.918919, 17.027027, 13.621622], [0, -np.inf, -4.879715], [-np.inf, 50.133650, -np.inf]], [0, 0, 1]),
        (
            0.95,
            [
                [21.8992500512, 20.8042875486, 16.8675958837],
                [1.1208292238, -np.inf, 1.1798202356],
                [-np.inf, 53.8734949848, -np.inf],
            ],
            [0, 2, 1],
        ),
    ],
)
def test_the_chapters_problem_has_the_chapters_values(gamma, q, policy):
    found = optimal(problems.chapter_mdp(gamma))
    np.testing.assert_allclose(found, q, rtol=1e-8 if jax.config.jax_enable_x64 else 3e-5, atol=1e-6)
    assert found.argmax(axis=1).tolist() == policy


def test_the_chapters_problem_is_the_chapters_lists():
    mdp = problems.chapter_mdp()
    for s, actions in enumerate(problems.POSSIBLE_ACTIONS):
        assert np.flatnonzero(mdp.mask[s]).tolist() == actions
        for a in actions:
            close(mdp.transitions.probability[s, a], problems.TRANSITION_PROBABILITIES[s][a])
            close(mdp.reward[s, a], problems.REWARDS[s][a])


@in_both_precisions
def test_puterman_two_states():
    close(optimal(problems.puterman_two_state()).max(axis=1), [-60 / 7, -20], scale=10)
    for gamma, best in ((0.90, 1), (10 / 11 + 1e-3, 0), (10 / 11 - 1e-3, 1), (0.95, 0)):
        assert optimal(problems.puterman_two_state(gamma))[0].argmax() == best


@in_both_precisions
def test_the_forest_is_that_of_mdptoolbox():
    forest = problems.forest(gamma=0.9)
    close(dense(forest)[:, 0], [[0.1, 0.9, 0], [0.1, 0, 0.9], [0.1, 0, 0.9]])
    close(dense(forest)[:, 1], [[1, 0, 0]] * 3)
    close(forest.reward, [[0, 0], [0, 1], [4, 2]])
    close(optimal(forest).max(axis=1), [26.244, 29.484, 33.484], scale=10)
    other = problems.forest(5, fire=0.2, wait_reward=7.0, cut_reward=3.0)
    close(other.reward, [[0, 0], [0, 1], [0, 1], [0, 1], [7, 3]])
    close(dense(other)[3, 0], [0.2, 0, 0, 0, 0.8])


@in_both_precisions
def test_the_chain():
    mdp = problems.chain()
    close(dense(mdp)[4], [[0.2, 0, 0, 0, 0.8], [0.8, 0, 0, 0, 0.2]])
    close(dense(mdp)[1], [[0.2, 0, 0.8, 0, 0], [0.8, 0, 0.2, 0, 0]])
    close(mdp.reward, [[0.4, 1.6]] * 4 + [[8.4, 3.6]])
    close(mdp.initial, [1, 0, 0, 0, 0])
    assert optimal(mdp).argmax(axis=1).tolist() == [0] * 5
    # Going on for ever: state k with probability 0.2 * 0.8^k, the end with 0.8^4.
    law = [0.2, 0.16, 0.128, 0.1024, 0.4096]
    close(chain.stationary(mdp.transitions.matrix()[:, 0]), law)
    assert optimal(problems.chain(gamma=0.5)).argmax(axis=1).tolist()[0] == 1  # the short-sighted return


@in_both_precisions
def test_the_river():
    """Always to the right: neighbours 3 times as likely, the last one 3/7 of the one before (detailed balance)."""
    mdp = problems.river_swim()
    law = np.array([1, 3, 9, 27, 81, 81 * 3 / 7])
    law /= law.sum()
    close(chain.stationary(mdp.transitions.matrix()[:, 1]), law)
    close(mdp.expected_reward[:, 0], [5, 0])
    close(mdp.expected_reward[:, 5], [0, 3000])
    assert not np.asarray(mdp.expected_reward)[:, 1:5].any()
    close(dense(mdp)[:, 0], np.eye(6)[[0, 0, 1, 2, 3, 4]])
    close(mdp.initial, [0, 0.5, 0.5, 0, 0, 0])
    assert optimal(mdp).argmax(axis=1).tolist() == [1] * 6
    timid = problems.river_swim(large=10.0)
    assert optimal(timid)[0].argmax() == 0


@pytest.mark.parametrize("size", [2, 3, 7])
def test_worlds_of_other_sizes_are_worlds(size):
    for make in (problems.chain, problems.forest, problems.river_swim):
        if make is not problems.river_swim or size > 2:
            mdp = make(size)
            assert (mdp.num_states, mdp.num_actions) == (size, 2)
            np.testing.assert_allclose(dense(mdp).sum(axis=2), 1, rtol=1e-6)


# Garnets -------------------------------------------------------------------------------------------------------------

SHAPES = [(1, 1, 1), (8, 3, 1), (8, 3, 8), (8, 3, 3), (40, 2, 3), (50, 2, 31), (50, 1, 32)]  # both ways to draw subsets


@pytest.mark.parametrize(("num_states", "num_actions", "branching"), SHAPES)
def test_a_garnet_branches_as_often_as_asked_and_is_the_same_dense_and_sparse(num_states, num_actions, branching):
    size = num_states, num_actions, branching
    make = jax.jit(lambda key: [garnet(jax.random.clone(key), *size, 0.9, sparse=sparse) for sparse in (True, False)])
    lists, table = make(jax.random.key(3))
    successor = np.sort(lists.transitions.successor, axis=0)
    assert successor.shape == (branching, num_actions, num_states)
    assert (np.diff(successor, axis=0) > 0).all() and successor.min() >= 0 and successor.max() < num_states
    close(dense(table), dense(lists))
    assert ((dense(table) > 0).sum(axis=2) == branching).all()
    close(dense(table).sum(axis=2), 1)
    chex.assert_trees_all_equal(table.reward, lists.reward)
    assert table.reward.shape == (num_states, num_actions) and float(table.gamma) == pytest.approx(0.9)


@pytest.mark.parametrize(("num_states", "branching"), [(50, 5), (12, 1), (10, 9), (8, 8), (6, 2)])
def test_successors_are_uniform_subsets(num_states, branching):
    """Each state with probability B / S, each pair with B (B - 1) / (S (S - 1))."""
    draws = 20_000
    subsets = jax.jit(lambda key: problems._subsets(key, branching, (draws,), num_states))(jax.random.key(0))
    member = np.zeros((draws, num_states))
    member[np.arange(draws), np.asarray(subsets)] = 1
    together = member.T @ member / draws
    one, two = branching / num_states, branching * (branching - 1) / (num_states * (num_states - 1))
    expected = np.where(np.eye(num_states, dtype=bool), one, two)
    assert (np.abs(together - expected) <= 5 * np.sqrt(expected * (1 - expected) / draws) + 1e-12).all()


def test_probabilities_are_uniform_on_the_simplex_and_rewards_normal():
    mdp = jax.jit(lambda key: garnet(key, 5000, 4, 3, 0.9, sparse=True))(jax.random.key(1))
    p, n = np.asarray(mdp.transitions.probability, np.float64), 20_000
    variance = 2 / (9 * 4)  # of one of three: (B - 1) / (B^2 (B + 1))
    assert (np.abs(p.mean(axis=(1, 2)) - 1 / 3) <= 5 * np.sqrt(variance / n)).all()
    assert (np.abs((p > 0.5).mean(axis=(1, 2)) - 0.25) <= 5 * np.sqrt(0.25 * 0.75 / n)).all()  # (1 - x)^(B - 1)
    r = np.asarray(mdp.reward, np.float64)
    assert abs(r.mean()) <= 5 / np.sqrt(n) and abs(r.var() - 1) <= 5 * np.sqrt(2 / n)


def test_keys_make_problems():
    one, again, other = (garnet(jax.random.key(seed), 20, 2, 3, 0.9, sparse=True) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(one, again)
    for a, b in ((one.transitions.successor, other.transitions.successor), (one.reward, other.reward)):
        assert (np.asarray(a) != np.asarray(b)).any()


def test_many_garnets_at_once_are_those_made_one_by_one():
    keys = jax.random.split(jax.random.key(0), 3)
    many = jax.jit(jax.vmap(lambda key: garnet(key, 20, 2, 3, 0.9)))(keys)
    for i in range(3):
        one = garnet(keys[i], 20, 2, 3, 0.9)
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], many), one, rtol=1e-6)


def test_a_large_garnet():
    """Checked on construction; with one successor every weight must be positive."""
    mdp = garnet(jax.random.key(0), 100_000, 4, 5, 0.99, sparse=True)
    assert mdp.transitions.successor.shape == (5, 4, 100_000)
    only = garnet(jax.random.key(0), 300_000, 4, 1, 0.99, sparse=True).transitions.probability
    np.testing.assert_allclose(only, 1, rtol=2e-7)  # a GPU multiplies by the reciprocal


@pytest.mark.parametrize(
    ("make", "sweep"),
    [
        (lambda x: problems.chapter_mdp(x), jnp.array([0.9, 0.95])),
        (lambda x: problems.chain(slip=x), jnp.array([0.0, 0.2])),
        (lambda x: problems.forest(fire=x, wait_reward=x), jnp.array([0.1, 0.5])),
        (lambda x: problems.river_swim(large=x, small=x), jnp.array([1.0, 2.0])),
    ],
    ids=["gamma", "slip", "fire", "rewards"],
)
def test_numbers_may_be_swept(make, sweep):
    many = jax.vmap(make)(sweep)
    for i, x in enumerate(sweep):
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, i=i: leaf[i], many), make(float(x)), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: problems.chapter_mdp(1.5), ValueError, r"gamma is 1\.5; expected a number in \[0, 1\]"),
        (lambda: problems.chain(1), ValueError, "num_states is 1; expected a whole number of at least 2"),
        (lambda: problems.chain(slip=1.1), ValueError, r"slip is 1\.1"),
        (lambda: problems.river_swim(2), ValueError, "num_states is 2"),
        (lambda: problems.forest(1), ValueError, "num_states is 1"),
        (lambda: problems.forest(fire=-0.1), ValueError, r"fire is -0\.1"),
        (lambda: problems.chain(4, end_reward=np.ones(4)), TypeError, r"end_reward is"),
        (lambda: problems.river_swim(4, large=np.inf), ValueError, "large is inf"),
        (lambda: problems.forest(cut_reward=None), TypeError, "cut_reward is None"),
        (lambda: problems.forest(3.0), TypeError, r"num_states is 3\.0"),
        (
            lambda: garnet(jax.random.key(0), 5, 2, 6, 0.9),
            ValueError,
            "branching is 6; expected at most num_states.* 5",
        ),
        (lambda: garnet(jax.random.key(0), 5, 2, 0, 0.9), ValueError, "branching is 0"),
        (lambda: garnet(jax.random.key(0), 0, 2, 1, 0.9), ValueError, "num_states is 0"),
        (lambda: garnet(jax.random.PRNGKey(0), 5, 2, 1, 0.9), TypeError, "random key"),
    ],
)
def test_what_makes_no_problem_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
