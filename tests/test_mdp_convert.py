"""Models from other people's tables: what the tables say, step by step; and from one representation to the other."""

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rljax import mdp
from rljax.mdp import Dense, Generated, Sparse, TabularMDP

pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")
random_laws = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BOOK = [
    [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
    [[0.0, 1.0, 0.0], None, [0.0, 0.0, 1.0]],
    [None, [0.8, 0.1, 0.1], None],
]
BOOK_REWARDS = [
    [[+10, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 0, -50]],
    [[0, 0, 0], [+40, 0, 0], [0, 0, 0]],
]
BOOK_ACTIONS = [[0, 1, 2], [0, 2], [1]]
MASK = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0]], bool)


@jax.jit
def read(world, v):
    return mdp.q_values(world, v), world.expected_reward


def changed(nested, s, a, row):
    """The lists with one row replaced."""
    return [[row if (i, j) == (s, a) else old for j, old in enumerate(rows)] for i, rows in enumerate(nested)]


# The chapter's lists -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [BOOK_ACTIONS, None])
@in_both_precisions
def test_the_chapters_lists(actions):
    world = mdp.from_nested(BOOK, BOOK_REWARDS, actions, gamma=0.95)
    assert isinstance(world.transitions, Dense) and world.mask.tolist() == MASK.tolist()
    for s, a in np.argwhere(MASK):
        np.testing.assert_array_equal(world.transitions.probability[s, a], jnp.asarray(BOOK[s][a]))
    assert (np.asarray(world.transitions.probability)[~MASK] == 0).all()
    assert world.reward.tolist() == np.array(BOOK_REWARDS, float).tolist()
    expected = np.array([[7, 0, 0], [0, 0, -50], [0, 32, 0]])
    np.testing.assert_allclose(world.expected_reward, expected.T, rtol=1e-6)


def test_rewards_in_other_forms():
    rewards = [[None if not MASK[s, a] else row for a, row in enumerate(rows)] for s, rows in enumerate(BOOK_REWARDS)]
    holes = mdp.from_nested(BOOK, rewards, gamma=0.9)
    chex.assert_trees_all_equal(holes, mdp.from_nested(BOOK, BOOK_REWARDS, gamma=0.9))
    by_action = mdp.from_nested(BOOK, [[7, 0, 0], [0, 0, -50], [0, 32, 0]], gamma=0.9)
    assert by_action.reward.shape == (3, 3)
    chex.assert_trees_all_close(by_action.expected_reward, holes.expected_reward)
    assert mdp.from_nested(BOOK, [1, 2, 3], gamma=0.9).reward.tolist() == [1, 2, 3]
    assert mdp.from_nested(BOOK, np.array(BOOK_REWARDS, float), gamma=0.9).reward.shape == (3, 3, 3)


def test_possible_actions_may_be_fewer():
    world = mdp.from_nested(BOOK, BOOK_REWARDS, [[0], [0, 2], [1]], gamma=0.9)
    assert world.mask.tolist() == [[True, False, False], [True, False, True], [False, True, False]]


def test_the_rest_is_handed_on():
    rows = changed(BOOK, 2, 1, None)  # nothing to do in state 2
    world = mdp.from_nested(
        rows, BOOK_REWARDS, gamma=0.9, terminal=np.arange(3) == 2, initial=np.array([1.0, 0.0, 0.0])
    )
    assert world.terminal.tolist() == [False, False, True] and world.initial.tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="state 2 has no available action"):
        mdp.from_nested(rows, BOOK_REWARDS, gamma=0.9)


@pytest.mark.parametrize(
    ("p", "r", "actions", "error", "message"),
    [
        (changed(BOOK, 0, 1, [0.9, 0.0, 0.0]), BOOK_REWARDS, None, ValueError, r"state 0, action 1: .* sum to 0\.9"),
        (changed(BOOK, 0, 1, [1.0, 0.0]), BOOK_REWARDS, None, ValueError, r"s\[0\]\[1\] is \[1\.0, 0\.0\]; expected 3"),
        (changed(BOOK, 0, 1, ["a", 0, 0]), BOOK_REWARDS, None, TypeError, r"s\[0\]\[1\] is .*; expected 3"),
        (changed(BOOK, 0, 1, 1.0), BOOK_REWARDS, None, ValueError, r"transition_probabilities\[0\]\[1\] is 1\.0"),
        ([*BOOK[:2], [None, [0.8, 0.1, 0.1]]], BOOK_REWARDS, None, ValueError, r"transition_probabilities\[2\] has 2 actions"),
        (BOOK, BOOK_REWARDS, [[0, 1, 2], [0, 1], [1]], ValueError, "state 1: action 1 is possible, but"),
        (BOOK, BOOK_REWARDS, [[0, 1, 3], [0, 2], [1]], ValueError, "state 0: action 3 is possible, but"),
        (BOOK, BOOK_REWARDS, [[0, 1, 2], [0, 2]], ValueError, "possible_actions has 2 entries; expected 3"),
        (BOOK, BOOK_REWARDS, [[0, 1, 2], [0, 2], []], ValueError, "state 2 has no available action"),
        (BOOK, BOOK_REWARDS[:2], None, ValueError, "rewards"),
        (BOOK, changed(BOOK_REWARDS, 1, 2, [0, 0]), None, ValueError, r"rewards\[1\]\[2\] is \[0, 0\]; expected 3 numbers"),
        (BOOK, changed(BOOK_REWARDS, 1, 2, [0, 0, np.nan]), None, ValueError, "action 2, successor 2: the reward is nan"),
        (BOOK, [1, 2], None, ValueError, r"reward has shape \(2,\)"),
        (BOOK, BOOK_REWARDS, [[0.5], [0], [1]], TypeError, r"possible_actions\[0\] is \[0\.5\]; expected the actions"),
        (BOOK, BOOK_REWARDS, [0, 0, 1], TypeError, r"possible_actions\[0\] is 0; expected the actions of state 0"),
        (BOOK, None, None, TypeError, "rewards is None; expected rewards"),
        (BOOK, [1.0, [1.0, 2.0], 3.0], None, TypeError, "expected numbers, as many in each row"),
        ([0.5, 0.5], [1.0, 2.0], None, TypeError, "transition_probabilities.* expected"),
        ([], [], None, ValueError, "none of them empty"),
        ([[], []], [[], []], None, ValueError, "none of them empty"),
    ],
)  # fmt: skip
def test_lists_that_are_refused(p, r, actions, error, message):
    with pytest.raises(error, match=message):
        mdp.from_nested(p, r, actions, gamma=0.9)


# Gymnasium -----------------------------------------------------------------------------------------------------------


def q_loop(table, v, gamma):
    """[S, A]: terminated transitions have no future. What v says of more states than the table has is not looked at."""
    return np.array(
        [
            [sum(p * (r + gamma * v[t] * (not over)) for p, t, r, over in table[s][a]) for a in range(len(table[s]))]
            for s in range(len(table))
        ]
    )


@pytest.mark.parametrize(
    ("name", "ends", "states"),
    [
        ("FrozenLake-v1", [5, 7, 11, 12, 15], 16),
        ("FrozenLake8x8-v1", [19, 29, 35, 41, 42, 46, 49, 52, 54, 59, 63], 64),
        ("CliffWalking-v1", [47], 48),
        ("Taxi-v4", [500], 501),  # the passenger's stop is also a place to drive to, from where no episode starts
    ],
)
@in_both_precisions
def test_gymnasiums_worlds_are_what_their_tables_say(name, ends, states):
    env = gymnasium.make(name)
    table = env.unwrapped.P
    world = mdp.from_gymnasium(env, gamma=0.9)
    assert world.num_states == states and np.flatnonzero(world.terminal).tolist() == ends
    assert world.mask.all() and isinstance(world.transitions, Sparse)
    initial = env.unwrapped.initial_state_distrib
    np.testing.assert_allclose(world.initial, np.append(initial, np.zeros(states - len(table))), rtol=1e-6)
    v = np.random.default_rng(0).normal(size=states)
    alive = ~np.asarray(world.terminal)[: len(table)]
    v[: len(table)] *= alive
    tolerance = 1e-12 if jax.config.jax_enable_x64 else 1e-5
    q = np.asarray(read(world, v)[0])[: len(table)]
    np.testing.assert_allclose(q[alive], q_loop(table, v, 0.9)[alive], rtol=tolerance, atol=tolerance)
    chex.assert_trees_all_equal(mdp.from_gymnasium(table, gamma=0.9, initial=world.initial[: len(table)]), world)
    # An end is absorbing, whatever the table has there: chains of policies need it.
    stay = np.asarray(jax.jit(Sparse.stay)(world.transitions))
    assert (stay[:, np.asarray(world.terminal)] == 1).all()


def test_rewards_of_successors_named_twice_are_averaged():
    table = {
        0: {0: [(0.25, 1, 4.0, False), (0.25, 0, 1.0, False), (0.5, 1, 1.0, False)]},
        1: {0: [(0.3, 0, 0.1, False), (0.3, 0, 0.1, False), (0.4, 0, 0.1, False)]},
    }
    with jax.enable_x64(True):
        world = mdp.from_gymnasium(table, gamma=0.9)
        assert world.transitions.successor[:, 0].T.tolist() == [[0, 1], [0, 1]]
        assert world.transitions.probability[:, 0].T.tolist() == [[0.25, 0.75], [1.0, 0.0]]
        assert world.reward[:, 0].tolist() == [[1.0, 2.0], [0.1, 0.0]]  # equal rewards are not even rounded


END = [(1.0, 1, 0.0, True)]


@pytest.mark.parametrize(
    ("table", "terminal"),
    [
        ({0: {0: END}, 1: {0: END}}, [False, True]),  # the usual
        ({0: {0: END}, 1: {0: [(1.0, 0, 7.0, False)]}}, [False, True]),  # nobody ever lives there: CliffWalking
        ({0: {0: END}, 1: {}}, [False, True]),
        ({0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, False)]}}, [False, True]),  # nothing happens ever after
        ({0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 2.0, False)]}}, [False, False]),  # it pays
        ({0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 2.0, True)]}}, [False, False, True]),  # it pays once
        ({0: {0: END, 1: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 0, 1.0, False)]}}, [False, False, True]),  # both ways
        (
            {0: {0: [(0.0, 1, 0.0, True), (1.0, 0, 1.0, False)]}, 1: {0: [(1.0, 0, 1.0, False)]}},
            [False, False],
        ),  # never
        # 0 ends in 1, but 2, which is no end since 0 goes there alive, goes to 1 alive.
        (
            {
                0: {0: [(1.0, 1, 0.0, True)], 1: [(0.5, 2, 0.0, True), (0.5, 2, 0.0, False)]},
                1: {0: [(1.0, 0, 5.0, False)]},
                2: {0: [(1.0, 1, 3.0, False)]},
            },
            [False, False, False, True],
        ),
        # 1 and 2 are both entered by ends alone, though they lead to each other.
        (
            {
                0: {0: [(0.5, 1, 0.0, True), (0.5, 2, 0.0, True)]},
                1: {0: [(1.0, 2, 5.0, False)]},
                2: {0: [(1.0, 1, 3.0, False)]},
            },
            [False, True, True],
        ),
    ],
)
def test_what_counts_as_an_end(table, terminal):
    with jax.enable_x64(True):
        world = mdp.from_gymnasium(table, gamma=0.5)
        assert world.terminal.tolist() == terminal
        v = np.random.default_rng(0).normal(size=len(terminal)) * ~np.array(terminal)
        q = np.asarray(read(world, v)[0])
        for s in np.flatnonzero(~np.array(terminal)[: len(table)]):
            for a, outcomes in table[s].items():
                says = sum(p * (r + 0.5 * v[t] * (not over)) for p, t, r, over in outcomes)
                np.testing.assert_allclose(q[s, a], says, rtol=1e-14)


def test_an_end_where_episodes_start_is_lived_in():
    table = {0: {0: END}, 1: {0: [(1.0, 0, 7.0, False)]}}
    assert mdp.from_gymnasium(table, gamma=0.5, initial=np.array([0.5, 0.5])).terminal.tolist() == [False, False, True]


def test_actions_that_a_table_does_not_have_are_not_available():
    world = mdp.from_gymnasium({0: {0: END, 2: END}, 1: {0: END, 1: []}}, gamma=0.5)
    assert world.mask.tolist() == [[True, False, True], [True, True, True]]


def test_texts_are_no_numbers():
    with pytest.raises(
        TypeError, match=r"transition_probabilities\[0\]\[0\] is \['1\.0'\]; expected 1 numbers, or None"
    ):
        mdp.from_nested([[["1.0"]]], [1.0], gamma=0.9)


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (object(), TypeError, "object has no table of transitions; expected a toy-text environment"),
        (gymnasium.make("CartPole-v1"), TypeError, "CartPole.* has no table of transitions"),
        ({}, ValueError, "no transitions"),
        ({0: {}, 1: {}}, ValueError, "no transitions"),
        ({1: {0: END}, 2: {0: END}}, ValueError, r"the states are \[1, 2\], .*expected 0 \.\.\. 1"),
        ({0: {0: [(1.0, 1, 0.0, False)]}}, ValueError, r"state 0, action 0: the successor is 1; .* 0 \.\.\. 0"),
        ({0: {0: [(0.5, 0, 1.0, False)]}}, ValueError, r"state 0, action 0: the probabilities sum to 0\.5"),
        ({0: {0: [(1.5, 0, 1.0, False), (-0.5, 0, 1.0, False)]}}, ValueError, r"state 0, action 0: .* is -0\.5"),
        ({0: {0: [(np.nan, 0, 1.0, False)]}}, ValueError, "state 0, action 0: .* is nan"),
        ({0: {0: [(1.0, 0, np.inf, False)]}}, ValueError, "state 0, action 0, place 0: the reward is inf"),
        ({0: {0: [(1.0, 1, 0.0, False)]}, 1: {}}, ValueError, "state 1 has no available action"),
        ({0: {0: [(1.0, 0, 0.0)]}}, TypeError, r"state 0, action 0: \(1\.0, 0, 0\.0\) is given; expected \(prob"),
        ({0: {0: [(1.0, 0.0, 0.0, False)]}}, TypeError, "two numbers about a whole one"),
        ({0: {0: [("1.0", 0, 0.0, False)]}}, TypeError, r"state 0, action 0: \('1\.0'.* is given; expected \(prob"),
        ({0: {0: [(1.0, 0, 0.0, "False")]}}, TypeError, "and True or False"),
        ({0: {0: None}}, TypeError, "state 0, action 0: None is given; expected a list of transitions"),
        ({0: [(1.0, 0, 0.0, True)]}, TypeError, r"state 0: \[.* is given; expected actions 0, 1, \.\.\. .*, a dict"),
        ({0: {"a": [(1.0, 0, 0.0, True)]}}, TypeError, "state 0: .* expected actions 0, 1"),
        ({"0": {}, 1: {}}, ValueError, r"the states are \['0', 1\]"),
        ({0: {10**9: END}}, ValueError, "state 0: an action 1000000000 is given; expected 0"),
        ({0: {0: [(0.5, 0, 0.0, False)]}, 1: {0: [(1.0, 0, 1.0, False)]}}, ValueError, r"state 0, .* sum to 0\.5"),
    ],
)
def test_tables_that_are_refused(table, error, message):
    with pytest.raises(error, match=message):
        mdp.from_gymnasium(table, gamma=0.9)


# Scipy ---------------------------------------------------------------------------------------------------------------


def random_tables(seed, states=6, actions=3, dtype=np.float64):
    rng = np.random.default_rng(seed)
    p = rng.random((states, actions, states)) * (rng.random((states, actions, states)) < 0.4)
    p[..., 2] += 0.1
    p = (p / p.sum(axis=2, keepdims=True)).astype(dtype)
    return p, (rng.normal(size=p.shape) * (p > 0)).astype(dtype)


FORMATS = [scipy.sparse.csr_array, scipy.sparse.csc_matrix, scipy.sparse.coo_array, scipy.sparse.lil_array]


@pytest.mark.parametrize("form", FORMATS)
@in_both_precisions
def test_scipys_matrices(form):
    p, r = random_tables(0)
    by_action = lambda x: [form(x[:, a]) for a in range(3)]
    stacked = lambda x: form(x.reshape(-1, 6))
    whole = TabularMDP(p, r, gamma=0.9)
    for matrices in (by_action, stacked):
        for rewards in (matrices(r), r[:, :, 2], r[:, 0, 2]):
            world = mdp.from_scipy(matrices(p), rewards, gamma=0.9)
            assert world.transitions.fan_out == (p > 0).sum(axis=2).max()
            np.testing.assert_array_equal(world.transitions.matrix(), whole.transitions.probability)
        chex.assert_trees_all_equal(mdp.to_dense(mdp.from_scipy(matrices(p), matrices(r), gamma=0.9)), whole)


def test_scipys_entries_are_added_up_and_their_precision_kept():
    twice = scipy.sparse.coo_array(([0.5, 0.25, 0.25, 1.0], ([0, 0, 0, 1], [1, 0, 1, 0])), (2, 2))
    pays = scipy.sparse.coo_array(([1.0, 1.0, 7.0], ([0, 0, 1], [1, 1, 1])), (2, 2))  # (1, 1) cannot happen
    world = mdp.from_scipy([twice], [pays], gamma=0.9)
    assert world.transitions.matrix().tolist() == [[[0.25, 0.75]], [[1.0, 0.0]]]
    assert world.reward.tolist() == [[[0.0, 2.0]], [[0.0, 0.0]]]
    with jax.enable_x64(True):
        p, r = random_tables(0, dtype=np.float32)
        assert (
            mdp.from_scipy([scipy.sparse.csr_array(x) for x in p.swapaxes(0, 1)], r[..., 2], gamma=0.9).dtype
            == jnp.float32
        )


EYE = scipy.sparse.eye_array(2, format="csr")


@pytest.mark.parametrize(
    ("p", "r", "error", "message"),
    [
        ([EYE, EYE.astype(int)], np.zeros(2), None, ""),
        ([EYE.astype(int)], np.zeros(2), TypeError, "probability has type int"),
        ([EYE, scipy.sparse.eye_array(3)], np.zeros(2), ValueError, r"probability\[1\] has shape \(3, 3\); expected \(2, 2\)"),
        (scipy.sparse.csr_array(np.ones((3, 2)) / 2), np.zeros(2), ValueError, r"probability has shape \(3, 2\); expected"),
        ([scipy.sparse.csr_array(np.ones((2, 3)))], np.zeros(2), ValueError, r"probability\[0\] has shape \(2, 3\)"),
        ([], np.zeros(2), TypeError, "probability is list; expected a list of sparse matrices"),
        (np.eye(2), np.zeros(2), TypeError, "probability is ndarray; .*For arrays take TabularMDP"),
        ([np.eye(2)], np.zeros(2), TypeError, "probability is list"),
        ([EYE * 0.5], np.zeros(2), ValueError, r"state 0, action 0: the probabilities sum to 0\.5"),
        ([EYE * np.nan], np.zeros(2), ValueError, "state 0, action 0, place 0: the probability is nan"),
        ([EYE], [EYE, EYE], ValueError, "reward is of 2 states and 2 actions; expected 2 and 1"),
        ([EYE], [EYE * np.inf], ValueError, "state 0, action 0, place 0: the reward is inf"),
        ([EYE], np.zeros(2, int), TypeError, "reward has type int"),
        ([EYE], np.zeros(3), ValueError, r"reward has shape \(3,\)"),
    ],
)  # fmt: skip
def test_matrices_that_are_refused(p, r, error, message):
    if error is None:  # whole numbers beside floats are floats
        assert mdp.from_scipy(p, r, gamma=0.9).num_actions == 2
        return
    with pytest.raises(error, match=message):
        mdp.from_scipy(p, r, gamma=0.9)


# Dense and sparse ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]))
@random_laws
@in_both_precisions
def test_there_and_back_is_exact(seed, rank):
    p, r = random_tables(seed)
    rng = np.random.default_rng(seed)
    mask = rng.random((6, 3)) < 0.8
    mask[:, 0] = True
    p[~mask], r[~mask] = 0.0, 0.0
    reward = r[(..., *[2] * (3 - rank))]
    whole = TabularMDP(p, reward, gamma=rng.random(), mask=mask, terminal=rng.random(6) < 0.3)
    lists = mdp.to_sparse(whole)
    assert isinstance(lists.transitions, Sparse) and lists.transitions.fan_out == (p > 0).sum(axis=2).max()
    chex.assert_trees_all_equal(mdp.to_dense(lists), whole)
    chex.assert_trees_all_equal(mdp.to_sparse(mdp.to_dense(lists)), lists)
    chex.assert_trees_all_equal(mdp.to_sparse(lists), lists)
    v = rng.normal(size=6)
    chex.assert_trees_all_close(read(lists, v)[0], read(whole, v)[0], rtol=1e-5, atol=1e-5)


def test_lists_are_put_in_order_and_padded():
    successor = np.array([[[2, 0, 1, 1]], [[1, 0, 0, 0]], [[0, 1, 2, 2]]])
    probability = np.array([[[0.5, 0.0, 0.5, 0.0]], [[1.0, 0, 0, 0]], [[0.0, 0.0, 1.0, 0.0]]])
    world = TabularMDP.sparse(successor, probability, successor * 10.0, gamma=0.9)
    lists = mdp.to_sparse(world)
    assert lists.transitions.successor[:, 0].T.tolist() == [[1, 2], [1, 1], [2, 2]]
    assert lists.transitions.probability[:, 0].T.tolist() == [[0.5, 0.5], [1.0, 0.0], [1.0, 0.0]]
    assert lists.reward[:, 0].tolist() == [[10.0, 20.0], [10.0, 0.0], [20.0, 0.0]]


def bumpy(s, a):
    """A corridor of five with walls at the ends; slipping names a state twice there."""
    successor = jnp.clip(jnp.stack([s - 1, s + 1, s + 2 * a - 1]), 0, 4)
    return successor, jnp.array([0.25, 0.25, 0.5]), (successor == 4).astype(float)


@pytest.mark.parametrize("reward", [None, np.arange(5.0), np.arange(10.0).reshape(5, 2), np.ones((5, 2, 3))])
@in_both_precisions
def test_generated_models_can_be_stored(reward):
    world = TabularMDP(Generated(bumpy, 5, 2), reward, gamma=0.9, terminal=np.arange(5) == 0)
    v = np.random.default_rng(0).normal(size=5)
    q, expected_reward = read(world, v)
    lists, whole = mdp.to_sparse(world), mdp.to_dense(world)
    for stored in (lists, whole):
        found = read(stored, v)
        chex.assert_trees_all_close(found[0], q, rtol=1e-5)
        chex.assert_trees_all_close(found[1], expected_reward, rtol=1e-6)
        assert stored.terminal.tolist() == world.terminal.tolist() and float(stored.gamma) == float(world.gamma)
    assert lists.transitions.fan_out == 2


def test_to_dense_is_compiled_with_the_rest():
    lists = mdp.to_sparse(mdp.from_nested(BOOK, BOOK_REWARDS, gamma=0.9))
    chex.assert_trees_all_equal(jax.jit(mdp.to_dense)(lists), mdp.from_nested(BOOK, BOOK_REWARDS, gamma=0.9))
