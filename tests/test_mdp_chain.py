"""Markov chains: closed forms, exact rational arithmetic, float64 linear algebra, and laws that hold for every chain."""

import math
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.sparse.csgraph

from rljax.mdp import chain

in_both_precisions = pytest.mark.usefixtures("precision")

# Compiled, as callers do; the tests of refusals call the functions themselves.
absorption, long_run, stationary, structure = map(
    jax.jit, (chain.absorption, chain.long_run, chain.stationary, chain.structure)
)
power, laws, simulate = (
    jax.jit(function, static_argnums=last)
    for function, last in ((chain.power, 1), (chain.laws, 2), (chain.simulate, 3))
)

BOOK = np.array([[0.7, 0.2, 0.0, 0.1], [0.0, 0.0, 0.9, 0.1], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def close(a, b, scale=1.0):
    """To a few roundings, of the size of each entry, of whichever precision is on."""
    tolerance = scale * (1e-13 if jax.config.jax_enable_x64 else 1e-6)
    np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=tolerance, atol=0.0)


def random_chain(size, seed=0, fan_out=2):
    """Few successors, so that there are transient states, several classes and periods."""
    rng = np.random.default_rng(seed)
    p = np.zeros((size, size))
    for row in p:
        successors = rng.choice(size, rng.integers(1, fan_out + 1), replace=False)
        row[successors] = rng.integers(1, 16, len(successors))
    return p / p.sum(axis=1, keepdims=True)


def walk(size, up):
    """One step up or down; both ends absorb."""
    p = np.diag(np.full(size - 1, up), 1) + np.diag(np.full(size - 1, 1 - up), -1)
    p[0], p[-1] = np.eye(size)[0], np.eye(size)[-1]
    return p


def exact_stationary(p):
    """Rational numbers, by the definition; only the entries off the diagonal count."""
    size = len(p)
    a = [
        [
            Fraction(float(p[j, i])) if i != j else -sum(map(Fraction, map(float, np.delete(p[i], i))))
            for j in range(size)
        ]
        for i in range(size)
    ]
    a[-1] = [Fraction(1)] * size  # sum x = 1 stands for the equation that follows from the others
    b = [Fraction(0)] * (size - 1) + [Fraction(1)]
    for k in range(size):
        pivot = next(i for i in range(k, size) if a[i][k] != 0)
        a[k], a[pivot], b[k], b[pivot] = a[pivot], a[k], b[pivot], b[k]
        for i in range(size):
            if i != k and a[i][k] != 0:
                f = a[i][k] / a[k][k]
                a[i] = [x - f * y for x, y in zip(a[i], a[k], strict=True)]
                b[i] -= f * b[k]
    return np.array([float(b[k] / a[k][k]) for k in range(size)])


def graph(p):
    """Classes, recurrence and periods by SciPy and by powers of the adjacency matrix."""
    edge, size = p > 0, len(p)
    _, label = scipy.sparse.csgraph.connected_components(edge, connection="strong")
    component = np.array([np.flatnonzero(label == label[i])[0] for i in range(size)])
    recurrent = np.array([not edge[np.ix_(label == label[i], label != label[i])].any() for i in range(size)])
    period, walks = np.zeros(size, int), np.eye(size, dtype=bool)
    for n in range(1, 3 * size * size):  # beyond the greatest length that the period may need
        walks = (walks.astype(np.float32) @ edge.astype(np.float32)) > 0
        period = np.where(np.diag(walks), np.gcd(period, n), period)
    return component, recurrent, period


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_a_book_like_chain_ends_in_its_absorbing_state():
    """t1 = 1 + 0.9 t2, t2 = 1 + t1, t0 = 1 + 0.7 t0 + 0.2 t1."""
    found = absorption(BOOK)
    close(found.probability, np.eye(4)[[3, 3, 3, 3]])
    close(found.time, [16, 19, 20, 0], scale=10)
    close(stationary(BOOK), [0, 0, 0, 1])
    close(long_run(BOOK), np.eye(4)[[3, 3, 3, 3]])
    component, recurrent, period = structure(BOOK)
    assert component.tolist() == [0, 1, 1, 3]
    assert recurrent.tolist() == [False, False, False, True]
    assert period.tolist() == [1, 2, 2, 1]
    close(power(BOOK, 2)[0], [0.49, 0.14, 0.18, 0.19])


@in_both_precisions
@pytest.mark.parametrize(("a", "b"), [(0.1, 0.3), (0.5, 0.5), (1.0, 1.0), (1e-6, 1e-5), (1.0, 0.0)])
def test_two_states(a, b):
    p = np.array([[1 - a, a], [b, 1 - b]])
    close(stationary(p), np.array([b, a]) / (a + b))
    close(long_run(p), np.tile(np.array([b, a]) / (a + b), (2, 1)))
    gap = 1 - a - b
    n_step = (np.array([[b, a], [b, a]]) + gap**5 * np.array([[a, -a], [-b, b]])) / (a + b)
    np.testing.assert_allclose(power(p, 5), n_step, atol=1e-6)
    close(absorption(p, jnp.array([False, True])).time, [1 / a, 0])


@in_both_precisions
def test_the_gamblers_ruin():
    stake = np.arange(11)
    fair = absorption(walk(11, 0.5))
    close(fair.probability[:, 10], stake / 10)
    close(fair.probability[:, 0], 1 - stake / 10)
    close(fair.time, stake * (10 - stake))
    assert not np.asarray(fair.probability)[:, 1:10].any()
    ratio = 0.6 / 0.4
    win = (1 - ratio**stake) / (1 - ratio**10)
    unfair = absorption(walk(11, 0.4))
    close(unfair.probability[:, 10], win, scale=10)
    close(unfair.time, (stake - 10 * win) / 0.2, scale=10)


@in_both_precisions
@pytest.mark.parametrize("size", [1, 2, 6])
def test_a_cycle_returns_after_its_length(size):
    p = np.roll(np.eye(size), 1, axis=1)
    assert structure(p).period.tolist() == [size] * size
    close(stationary(p), np.full(size, 1 / size))
    chex.assert_trees_all_equal(power(p, size), jnp.eye(size))
    path = simulate(jax.random.key(0), p, 0, 2 * size)
    assert path.tolist() == [t % size for t in range(2 * size + 1)]


def test_two_ways_round_of_different_lengths_leave_their_greatest_common_divisor():
    """0 1 2 3 4 5 0 and 0 1 2 3 0: 6 and 4 steps."""
    p = np.roll(np.eye(6), 1, axis=1)
    p[3] = [0.5, 0, 0, 0, 0.5, 0]
    assert structure(p).period.tolist() == [2] * 6
    p[2] = [0.5, 0, 0, 0.5, 0, 0]  # and 3 steps
    assert structure(p).period.tolist() == [1] * 6


def test_no_return_has_period_0():
    assert structure(np.array([[0.0, 1.0], [0.0, 1.0]])).period.tolist() == [0, 1]


def test_what_may_never_happen_takes_for_ever():
    p = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = absorption(p, jnp.array([False, True, False]))
    close(found.probability[:, 1], [0.5, 1, 0])
    assert found.time.tolist() == [math.inf, 0, math.inf]
    never = absorption(p, jnp.zeros(3, bool))
    assert not np.asarray(never.probability).any() and np.isinf(never.time).all()


# Oracles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_classes_and_periods_are_those_of_the_graph(seed):
    p = random_chain(9, seed, fan_out=1 + seed % 3)
    found = structure(jnp.asarray(p))
    for ours, expected in zip(found, graph(p), strict=True):
        assert ours.tolist() == expected.tolist()


def test_classes_periods_and_stationary_laws_are_quantecons():
    quantecon = pytest.importorskip("quantecon", exc_type=ImportError)
    with jax.enable_x64(True):
        for seed in range(12):
            p = random_chain(9, seed, fan_out=1 + seed % 3)
            theirs, ours = quantecon.MarkovChain(p), structure(jnp.asarray(p))
            component, recurrent = np.asarray(ours.component), np.asarray(ours.recurrent)
            for only, classes in (
                (component >= 0, theirs.communication_classes),
                (recurrent, theirs.recurrent_classes),
            ):
                found = {tuple(np.flatnonzero(component == name)) for name in component[only]}
                assert found == {tuple(sorted(members)) for members in classes}
            if theirs.is_irreducible:
                assert set(ours.period.tolist()) == {theirs.period}
            shares = np.asarray(long_run(jnp.asarray(p)))  # from inside a recurrent class, its stationary law
            for law in theirs.stationary_distributions:
                np.testing.assert_allclose(shares[np.argmax(law > 0)], law, atol=1e-12)


@in_both_precisions
def test_absorption_and_long_run_are_those_of_linear_algebra():
    kinds = set()
    for seed in range(60):
        p = random_chain(9, seed, fan_out=1 + seed % 3)
        component, recurrent, _ = graph(p)
        inner = p[np.ix_(~recurrent, ~recurrent)]
        fundamental = np.linalg.inv(np.eye(len(inner)) - inner)
        enters, time = np.diag(recurrent).astype(float), np.zeros(9)
        enters[~recurrent] = fundamental @ p[~recurrent] * recurrent
        time[~recurrent] = fundamental.sum(axis=1)
        found = absorption(jnp.asarray(p, float))
        close(found.probability, enters, scale=100)
        close(found.time, time, scale=100)

        share = np.zeros((9, 9))
        for leader in set(component[recurrent]):
            members = component == leader
            x = np.zeros(9)
            x[members] = exact_stationary(p[np.ix_(members, members)])
            share += enters[:, members].sum(axis=1)[:, None] * x
        close(long_run(jnp.asarray(p, float)), share, scale=100)
        kinds.add((len(set(component[recurrent])), recurrent.all()))
    assert {(1, False), (2, False), (3, False)} <= kinds


@in_both_precisions
@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 70])
def test_sizes_around_the_blocks_of_the_elimination(size):
    p = np.random.default_rng(size).random((size, size)) ** 4
    p /= p.sum(axis=1, keepdims=True)
    x = np.linalg.lstsq(np.vstack([p.T - np.eye(size), np.ones(size)]), np.eye(size + 1)[size], rcond=None)[0]
    close(stationary(p), x, scale=100)
    into = np.arange(size) % 7 == 3 % size
    rest = np.linalg.inv(np.eye(size) - p * ~into) if size > 1 else np.eye(1)
    found = absorption(p, jnp.asarray(into))
    close(found.probability, np.where(into[:, None], np.diag(into), rest @ (p * into)), scale=100)
    close(found.time, np.where(into, 0, rest.sum(axis=1)), scale=100)


@in_both_precisions
@pytest.mark.parametrize("rare", [1e-3, 1e-7, 1e-12])
def test_rare_moves_between_parts_cost_no_digits(rare):
    """I - p is singular but for `rare`: float32 would lose every digit by subtracting."""
    rng = np.random.default_rng(0)
    p = rng.random((6, 6)) * np.kron(np.eye(2), np.ones((3, 3))) + rare * rng.random((6, 6))
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float64 if jax.config.jax_enable_x64 else np.float32)
    close(stationary(p), exact_stationary(p), scale=5)
    shuffled = rng.permutation(6)
    close(stationary(p[np.ix_(shuffled, shuffled)]), exact_stationary(p)[shuffled], scale=5)


@in_both_precisions
def test_a_steep_chain_neither_overflows_nor_loses_small_entries():
    """A queue that grows: state k is 9^k times as likely as state 0."""
    size = 60
    p = walk(size, 0.9)
    p[0], p[-1] = 0, 0
    p[0, :2], p[-1, -2:] = [0.1, 0.9], [0.1, 0.9]
    exact = 9.0 ** (np.arange(size) - size + 1)
    exact /= exact.sum()
    visible = exact > (1e-300 if jax.config.jax_enable_x64 else 1e-37)
    for order in (np.arange(size), np.arange(size)[::-1], np.random.default_rng(0).permutation(size)):
        found = np.asarray(stationary(p[np.ix_(order, order)]), np.float64)
        close(found[visible[order]], exact[order][visible[order]], scale=20)
        assert (found[~visible[order]] < 1e-37).all()


@in_both_precisions
def test_a_long_game_is_as_exact_as_a_short_one():
    stake = np.arange(401)
    close(absorption(walk(401, 0.5)).time, stake * (400 - stake), scale=50)


# Laws ----------------------------------------------------------------------------------------------------------------


@in_both_precisions
@pytest.mark.parametrize("n", [0, 1, 2, 3, 13, 64, 1000])
def test_powers_are_products_and_laws_are_their_rows(n):
    p = random_chain(9, seed=1, fan_out=4)
    np.testing.assert_allclose(power(p, n), np.linalg.matrix_power(p, n), atol=3e-6)
    initial = np.full(9, 1 / 9)
    found = laws(p, initial, n)
    assert found.shape == (n + 1, 9)
    np.testing.assert_allclose(found[-1], initial @ np.linalg.matrix_power(p, n), atol=3e-6)
    close(found[0], initial)


@in_both_precisions
def test_rows_sum_to_one_after_a_million_steps():
    p = random_chain(9, seed=4, fan_out=9)
    close(power(p, 10**6).sum(axis=1), np.ones(9))
    close(power(p, 10**6), np.tile(np.asarray(stationary(p), np.float64), (9, 1)), scale=10)
    close(laws(p, np.full(9, 1 / 9), 10_000).sum(axis=1), np.ones(10_001))


@in_both_precisions
def test_the_long_run_is_not_changed_by_a_step_and_is_the_average_of_powers():
    for seed in range(20):
        p = random_chain(9, seed)
        share = np.asarray(long_run(jnp.asarray(p, float)), np.float64)
        np.testing.assert_allclose(share.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(share @ p, share, atol=1e-6)
        np.testing.assert_allclose(p @ share, share, atol=1e-6)
        cycle = math.lcm(*graph(p)[2].clip(1))
        average = sum(np.linalg.matrix_power(p, 100_000 + k) for k in range(cycle)) / cycle
        np.testing.assert_allclose(average, share, atol=1e-5)


# Simulation ----------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_transitions_are_as_frequent_as_they_are_probable():
    p = random_chain(6, seed=3, fan_out=6)
    path = np.asarray(simulate(jax.random.key(0), p, 2, 60_000))
    assert path[0] == 2 and path.dtype == np.int32
    counts = np.zeros((6, 6))
    np.add.at(counts, (path[:-1], path[1:]), 1)
    visits = counts.sum(axis=1, keepdims=True)
    assert (visits > 500).all()
    deviation = np.sqrt(visits * p * (1 - p))
    assert (np.abs(counts - visits * p) <= 5 * deviation).all()  # and never where p is 0


def test_the_first_state_may_be_drawn():
    law = np.array([0.2, 0.0, 0.5, 0.3])
    first = jax.jit(jax.vmap(lambda key: simulate(key, BOOK, law, 1)[0]))(jax.random.split(jax.random.key(1), 20_000))
    share = np.bincount(first, minlength=4) / 20_000
    assert (np.abs(share - law) <= 5 * np.sqrt(law * (1 - law) / 20_000)).all()


def test_paths_depend_on_the_key_and_on_nothing_else():
    p = random_chain(6, seed=3, fan_out=6)
    run = jax.jit(lambda key: simulate(key, p, 0, 50))
    paths = [run(jax.random.key(seed)).tolist() for seed in (0, 0, 1)]
    assert paths[0] == paths[1] != paths[2]
    assert paths[0] == chain.simulate(jax.random.key(0), p, 0, 50).tolist()
    many = jax.vmap(run)(jax.random.split(jax.random.key(2), 3)).tolist()
    assert len(set(map(tuple, many))) == 3


@in_both_precisions
def test_impossible_successors_have_no_interval_even_where_parallel_sums_are_rounded():
    rng = np.random.default_rng(0)
    p = rng.random((50, 1000)) * (rng.random((50, 1000)) < 0.5)
    p /= p.sum(axis=1, keepdims=True)
    found = np.asarray(chain._thresholds(jnp.asarray(p, float)))
    before = np.concatenate([np.zeros((50, 1)), found[:, :-1]], axis=1)
    assert (found >= before).all() and (found == before)[p == 0].all()
    assert [np.flatnonzero(np.isinf(row))[0] for row in found] == [np.flatnonzero(row)[-1] for row in p]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9])
def test_bisection_finds_the_first_threshold_above(size):
    row, u = np.append(np.arange(1.0, size) / size, np.inf).astype(np.float32), np.arange(0, 1, 1 / 16, np.float32)
    found = jax.jit(jax.vmap(chain._place, (None, None, 0)))(row[None], jnp.int32(0), u)
    assert found.tolist() == np.argmax(row > u[:, None], axis=1).tolist()


# Transformations -----------------------------------------------------------------------------------------------------


def everything(p):
    return {
        "stationary": chain.stationary(p),
        "long run": chain.long_run(p),
        "absorption": chain.absorption(p, jnp.arange(9) < 2),
        "structure": chain.structure(p),
        "power": chain.power(p, 5),
        "laws": chain.laws(p, p[0], 3),
    }


def test_eager_jitted_and_vmapped_answers_are_equal_and_traced_once():
    batch = [jnp.asarray(random_chain(9, seed, fan_out=5), jnp.float32) for seed in (4, 5, 6)]
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(everything, n=1))
    mapped = jax.jit(jax.vmap(everything))(jnp.stack(batch))
    chex.assert_trees_all_close(traced(batch[0]), everything(batch[0]), rtol=1e-5, atol=1e-7)
    for i, p in enumerate(batch):
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], mapped), traced(p), rtol=1e-5, atol=1e-7)


def test_a_traced_chain_with_several_laws_has_none():
    assert np.isnan(jax.jit(chain.stationary)(jnp.eye(2))).all()
    assert np.isfinite(jax.jit(chain.long_run)(jnp.eye(2))).all()


@pytest.mark.parametrize(
    "function",
    [
        chain.stationary,
        chain.long_run,
        lambda p: chain.absorption(p, jnp.arange(5) == 1).time,
        lambda p: chain.absorption(p, jnp.arange(5) > 2).probability,
        lambda p: power(p, 6),
    ],
    ids=["stationary", "long run", "time", "probability", "power"],
)
def test_gradients_are_those_of_finite_differences_along_chains(function):
    with jax.enable_x64(True):
        logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 5)))
        jax.test_util.check_grads(
            jax.jit(lambda x: function(jax.nn.softmax(x))), (logits,), 1, ["rev"], 1e-6, 1e-6, 1e-5
        )


# Refusals ------------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "simulate": lambda p: chain.simulate(jax.random.key(0), p, 0, 3),
    "power": lambda p: chain.power(p, 2),
    "laws": lambda p: chain.laws(p, np.array([1.0, 0.0]), 2),
    "structure": chain.structure,
    "absorption": chain.absorption,
    "stationary": chain.stationary,
    "long run": chain.long_run,
}
GOOD = [[0.5, 0.5], [0.25, 0.75]]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_is_no_chain_is_refused_with_state_and_value(function):
    function(GOOD)  # nested lists will do
    for p, error, text in [
        (
            [[0.5, 0.5], [0.5, 0.25]],
            ValueError,
            r"p, state 1: probabilities sum to 0.75; expected 1. Divide by the sum",
        ),
        ([[0.5, 0.5], [1.25, -0.25]], ValueError, r"p, state 1: the probability of 1 is -0.25; expected at least 0"),
        ([[0.5, np.nan], [0.5, 0.5]], ValueError, r"p, state 0: the probability of 1 is nan; expected at least 0"),
        ([[0.5, np.inf], [0.5, 0.5]], ValueError, r"p, state 0: probabilities sum to inf"),
        ([[0.5, 0.25], [0.5, 0.75]], ValueError, r"p, state 0: probabilities sum to 0.75.*Is it transposed\?"),
        ([[0.5, 0.5]], ValueError, r"p has shape \(1, 2\); expected \[S, S\]"),
        ([GOOD], ValueError, r"p has shape \(1, 2, 2\); expected.*jax.vmap"),
        (np.zeros((0, 0)), ValueError, r"p has shape \(0, 0\)"),
        ([[0.5, 0.5], [1.0]], ValueError, "p has rows of unequal length; expected floats in a"),
        ([[0, 1], [1, 0]], TypeError, r"p has type int64; expected floats. Write 1.0 for 1"),
        (np.array([[None, 1.0], [1.0, 0.0]]), TypeError, r"p has type object; expected floats"),
    ]:
        with pytest.raises(error, match=text):
            function(p)


@in_both_precisions
def test_rows_rounded_to_their_precision_are_chains_and_others_are_not():
    third = np.full((3, 3), 1 / 3, np.float64 if jax.config.jax_enable_x64 else np.float32)
    chain.power(third, 2)
    with pytest.raises(ValueError, match=r"state 0: probabilities sum to 0\.999"):
        chain.power(np.full((3, 3), 0.3333), 2)


@pytest.mark.parametrize(
    ("start", "error", "text"),
    [
        (4, ValueError, r"start is 4; expected one of the states 0 \.\.\. 3"),
        (-1, ValueError, "start is -1"),
        (1.0, TypeError, "start has type float32; expected a state"),
        (np.array([0.5, 0.5]), ValueError, r"the law has shape \(2,\); expected \(4,\)"),
        (np.array([0.5, 0.5, 0.5, 0.0]), ValueError, r"the law: probabilities sum to 1\.5"),
        (np.array([1.5, -0.5, 0.0, 0.0]), ValueError, "the law: the probability of 1 is -0.5"),
        (np.array([1, 0, 0, 0]), TypeError, "the law has type int64; expected floats"),
    ],
)
def test_a_start_that_is_none_is_refused(start, error, text):
    with pytest.raises(error, match=text):
        chain.simulate(jax.random.key(0), BOOK, start, 3)


def test_other_arguments_are_refused():
    with pytest.raises(
        ValueError, match=r"p has 3 recurrent classes \(states 0, 1, 2 are in different ones\).*long_run"
    ):
        chain.stationary(np.eye(3))
    with pytest.raises(TypeError, match="into has type int32; expected bool"):
        chain.absorption(BOOK, jnp.array([0, 0, 0, 1], jnp.int32))
    with pytest.raises(ValueError, match=r"into has shape \(3,\); expected \(4,\)"):
        chain.absorption(BOOK, jnp.zeros(3, bool))
    with pytest.raises(ValueError, match="n is -1"):
        chain.power(BOOK, -1)
    with pytest.raises(TypeError, match=r"num_steps is 2\.0"):
        chain.laws(BOOK, BOOK[0], 2.0)
    with pytest.raises(TypeError, match="random key"):
        chain.simulate(jax.random.PRNGKey(0), BOOK, 0, 3)
