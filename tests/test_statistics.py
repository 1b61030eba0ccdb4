"""The interquartile mean is SciPy's trimmed mean, improvement its Mann-Whitney, the rest rliable's; intervals those of both."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rljax.runs.statistics import (
    bootstrap,
    bootstrap_interval,
    improvement_interval,
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    share_interval,
)

STATISTICS = (interquartile_mean, mean_score, median_score, optimality_gap)


def pooled(x):
    return interquartile_mean(x, axis=None)


def scores(runs=7, tasks=5, shift=0.0):
    """[runs, tasks] of no generator, with ties: whoever reads this can have the same."""
    return np.round(np.sin(np.arange(1, runs * tasks + 1).reshape(runs, tasks) ** 2 + shift), 1) + shift / 10


@pytest.mark.parametrize("count", [*range(1, 42), 64, 99, 100, 101, 1000])
def test_interquartile_mean_is_scipys_trimmed_mean(count):
    x = np.random.default_rng(count).standard_cauchy(count)
    np.testing.assert_allclose(interquartile_mean(x), stats.trim_mean(x, 0.25), rtol=1e-12)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)),
    axis=st.one_of(st.none(), st.integers(-3, 2)),
    seed=st.integers(0, 1000),
)
def test_along_any_axis(shape, axis, seed):
    x = np.random.default_rng(seed).normal(size=shape).round(1)  # with ties
    found = interquartile_mean(x, axis=axis)
    assert found.shape == (() if axis is None else tuple(np.delete(shape, axis)))
    np.testing.assert_allclose(found, stats.trim_mean(x, 0.25, axis=axis), rtol=0, atol=1e-12)


def test_by_hand():
    assert interquartile_mean([0, 10, 12, 1000]) == 11.0  # one of four is dropped on either side
    assert interquartile_mean([3, 1, 100, 2, -50]) == 2.0  # floor(5/4) = 1: mean of 1, 2, 3
    assert interquartile_mean([1, 2, 30]) == 11.0  # floor(3/4) = 0: all
    assert interquartile_mean([7]) == 7.0
    assert interquartile_mean(jnp.int32([1, 2])) == 1.5
    assert interquartile_mean(np.array([True, False, True, True])) == 1.0


def test_neither_order_nor_the_outer_quarters_matter():
    x = np.random.default_rng(0).normal(size=40)
    wild = np.sort(x)
    wild[:10], wild[30:] = -1e300, np.inf
    np.random.default_rng(1).shuffle(wild)
    assert interquartile_mean(wild) == pytest.approx(interquartile_mean(x), rel=1e-12)
    inner = np.sort(x)
    inner[12] += 1.0
    assert interquartile_mean(inner) != interquartile_mean(x)


def test_no_number_is_no_outlier():
    """Sorted to the end it would be dropped, and a failed seed would be no failure."""
    assert np.isnan(interquartile_mean([1, np.nan, 3, 4]))
    found = interquartile_mean([[1, 2, 3, 4], [1, np.nan, 3, 4]], axis=1)
    assert found[0] == 2.5 and np.isnan(found[1])


def test_integers_do_not_overflow():
    assert interquartile_mean(np.full(8, 2**31 - 1, np.int32)) == 2**31 - 1


@pytest.mark.parametrize(("x", "axis"), [([], 0), (np.zeros((0, 3)), 0), (np.zeros((3, 0)), 1), ([], None)])
def test_no_seeds_are_refused(x, axis):
    with pytest.raises(ValueError, match=r"no seeds .* expected at least one"):
        interquartile_mean(x, axis=axis)


def test_means_medians_and_gaps_by_hand():
    x = [[0.0, 4.0, 50.0], [2.0, 6.0, 90.0]]  # means of tasks: 1, 5, 70
    assert mean_score(x) == pytest.approx(76 / 3) and median_score(x) == 5.0
    assert mean_score([1.0, 2.0, 6.0]) == median_score([1.0, 2.0, 6.0]) == 3.0
    assert optimality_gap(x, target=6.0) == (6 + 2 + 0 + 4 + 0 + 0) / 6
    assert optimality_gap([1.0, 3.0]) == 0.0 and optimality_gap([0.5, 3.0]) == 0.25


# Improvement ---------------------------------------------------------------------------------------------------------


def test_improvement_is_the_share_of_pairs():
    assert probability_of_improvement([1.0, 2.0], [0.0]) == 1.0
    assert probability_of_improvement([3.0, 5.0], [1.0, 3.0]) == (1 + 0.5 + 1 + 1) / 4
    x, y = scores(7), scores(4, shift=1.0)
    wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    assert probability_of_improvement(x, y) == pytest.approx(wins.mean(), abs=1e-15)
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1.0, abs=1e-15)


@settings(deadline=None, max_examples=50)
@given(runs=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 1000))
def test_improvement_is_scipys_mann_whitney(runs, seed):
    random = np.random.default_rng(seed)
    x, y = (random.integers(0, 5, size=n).astype(float) for n in runs)  # full of ties
    u = stats.mannwhitneyu(x, y, alternative="greater", method="asymptotic").statistic
    assert probability_of_improvement(x, y) == pytest.approx(u / np.prod(runs), abs=1e-12)


def test_improvement_is_of_ranks_and_of_the_same_tasks():
    x, y = scores(6), scores(9, shift=0.5)
    assert probability_of_improvement(np.exp(x), np.exp(y)) == probability_of_improvement(x, y)
    assert probability_of_improvement(x, x) == 0.5
    assert np.isnan(probability_of_improvement([1.0, np.nan], [0.0])) and np.isnan(
        probability_of_improvement([1.0], [np.nan])
    )
    with pytest.raises(ValueError, match="x is of 5 tasks and y of 4; expected the same tasks"):
        probability_of_improvement(scores(3), scores(3, 4))


# Profiles ------------------------------------------------------------------------------------------------------------


def test_profiles_count_what_is_above():
    x, thresholds = scores(), np.array([0.3, -2.0, 0.0, 1.0, -1.0])
    found = performance_profile(x, thresholds)
    np.testing.assert_array_equal(found, [(x > tau).mean() for tau in thresholds])
    assert performance_profile([2.0, 2.0], [2.0]).tolist() == [0.0]
    assert np.isnan(performance_profile([2.0, np.nan], [1.0, 3.0])).all()


def test_the_area_below_a_profile_is_the_mean():
    x = scores()
    edges = np.arange(-2000, 2001) / 1000  # every score is an edge
    np.testing.assert_allclose(-2 + performance_profile(x, edges)[:-1].sum() * 1e-3, mean_score(x), atol=1e-9)


@pytest.mark.parametrize(("count", "of"), [(0, 1), (1, 1), (0, 16), (5, 16), (16, 16), (243, 256)])
def test_intervals_of_shares_are_wilsons(count, of):
    reached = np.arange(of) < count
    for level in (0.5, 0.95):
        theirs = stats.binomtest(count, of).proportion_ci(level, method="wilson")
        np.testing.assert_allclose(share_interval(reached, level=level), theirs, atol=1e-12)


# Bootstrap -----------------------------------------------------------------------------------------------------------


def test_the_interval_of_an_improvement_holds_the_truth_as_often_as_it_says():
    """1000 pairs of so few normal scores that whole groups often lie apart; five sigma of a binomial below 0.9."""
    rng = np.random.default_rng(0)
    for shift in (0.0, 2.0):
        truth = stats.norm.cdf(shift / np.sqrt(2))
        for runs in ((3, 3), (4, 8), (16, 16)):
            held = 0
            for _ in range(1000):
                low, high = improvement_interval(rng.normal(shift, 1, runs[0]), rng.normal(0, 1, runs[1]))
                held += low <= truth <= high
            assert held / 1000 > 0.9 - 5 * np.sqrt(0.9 * 0.1 / 1000)


def test_the_ends_of_an_improvement_solve_the_equation_and_mirror_each_other():
    x, y, z = scores(5, 1).ravel(), scores(7, 1, 0.3).ravel(), stats.norm.ppf(0.975)
    p = float(probability_of_improvement(x, y))
    ends = improvement_interval(x, y)
    for end in ends:
        variance = end * (1 - end) * (1 + 5 * ((1 - end) / (2 - end) + end / (1 + end))) / 35
        assert abs(end - p) == pytest.approx(z * np.sqrt(variance), rel=1e-9)
    assert ends[0] < p < ends[1]
    np.testing.assert_allclose(improvement_interval(y, x), [1 - ends[1], 1 - ends[0]], atol=1e-12)
    assert (
        improvement_interval([3.0, 4.0], [1.0, 2.0])[0] < 0.5 < 1.0 == improvement_interval([3.0, 4.0], [1.0, 2.0])[1]
    )
    many = scores(400, 1).ravel(), scores(400, 1, 0.3).ravel()
    np.testing.assert_allclose(
        improvement_interval(*many), bootstrap_interval(many, probability_of_improvement), atol=5e-3
    )
    assert np.isnan(improvement_interval([np.nan, 1.0], [0.0])).all()


def test_bootstrap_intervals_are_those_of_scipy():
    """Ten thousand resamples each, of different draws: the ends differ by Monte Carlo alone."""
    x = np.random.default_rng(1).exponential(size=24)
    for statistic in (interquartile_mean, np.mean):
        ours = bootstrap_interval(x, statistic, resamples=10_000)
        options = {"n_resamples": 10_000, "method": "percentile", "rng": 2, "vectorized": True}
        theirs = stats.bootstrap((x,), statistic, **options).confidence_interval
        np.testing.assert_allclose(ours, theirs, atol=0.03)
    narrow = bootstrap_interval(x, level=0.5)
    wide = bootstrap_interval(x)
    assert wide[0] < narrow[0] < interquartile_mean(x) < narrow[1] < wide[1]


def test_traced_and_on_the_host_statistics_are_the_same():
    """One text, two libraries: the bootstrap's way of calling them, to float64."""
    x, y, thresholds = scores(), scores(4, shift=1.0), np.linspace(-1, 1, 9)

    def everything(x, y):
        return [
            *(statistic(x) for statistic in STATISTICS),
            pooled(x),
            probability_of_improvement(x, y),
            performance_profile(x, thresholds),
        ]

    with jax.enable_x64(True):
        traced = jax.jit(everything)(x, y)
    for ours, theirs in zip(everything(x, y), traced, strict=True):
        assert theirs.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, atol=1e-14)


def test_resamples_are_stratified_and_keep_a_run_together():
    """Each task draws among its own runs, and what belongs to a run stays with it."""
    runs = np.arange(6.0)[:, None, None] + 100.0 * np.arange(3)[None, :, None] + np.array([0.0, 0.25])  # [R, M, 2]
    drawn = bootstrap(runs, lambda x: x, resamples=400)
    assert drawn.shape == (400, 6, 3, 2) and drawn.dtype == np.float64
    np.testing.assert_array_equal(drawn[..., 1] - drawn[..., 0], 0.25)
    np.testing.assert_array_equal(drawn[..., 0] // 100, np.broadcast_to(np.arange(3.0), (400, 6, 3)))
    which = (drawn[..., 0] % 100).astype(int)  # [400, R, M]
    counts = np.stack([np.bincount(which[..., m].ravel(), minlength=6) for m in range(3)])
    assert np.abs(counts - 400).max() < 5 * np.sqrt(2400 * (1 / 6) * (5 / 6))
    for a, b in ((0, 1), (1, 2), (0, 2)):  # tasks are independent: they agree by chance alone
        assert abs((which[..., a] == which[..., b]).mean() - 1 / 6) < 5 * np.sqrt((1 / 6) * (5 / 6) / 2400)


def test_several_groups_are_drawn_apart():
    x = np.arange(8.0)
    first, second = np.moveaxis(bootstrap((x, x), lambda x, y: jnp.stack([x, y])), 1, 0)
    assert abs((first == second).mean() - 1 / 8) < 5 * np.sqrt((1 / 8) * (7 / 8) / first.size)


def test_the_seed_is_what_it_depends_on_and_pieces_are_not(monkeypatch):
    x = scores(8, 1)[:, 0]
    one = bootstrap(x, resamples=100)
    np.testing.assert_array_equal(one, bootstrap(x, resamples=100))
    assert not np.array_equal(one, bootstrap(x, resamples=100, seed=1))
    monkeypatch.setattr("rljax.runs.statistics._AT_ONCE", 8 * 7)  # seven at a time: a new program
    # The same draws; how a GPU adds them up depends on how many it does at once.
    np.testing.assert_allclose(one, bootstrap(x, lambda x: interquartile_mean(x), resamples=100), rtol=1e-12)


def test_the_interval_of_an_improvement_and_of_a_profile():
    x, y = np.linspace(0.0, 1.0, 20), np.linspace(0.2, 1.2, 30)
    low, high = bootstrap_interval((x, y), probability_of_improvement)
    assert 0 < low < probability_of_improvement(x, y) < high < 0.6
    tau = np.array([-1.0, 0.5, 2.0])
    low, high = bootstrap_interval(x, lambda x: performance_profile(x, tau))
    assert low.shape == high.shape == (3,) and low[0] == high[0] == 1.0 and low[2] == high[2] == 0.0
    p, wide = 0.5, 1.96 * np.sqrt(0.25 / 20)  # of a share the bootstrap is binomial
    np.testing.assert_allclose([low[1], high[1]], [p - wide, p + wide], atol=0.06)


def test_one_seed_tells_nothing_of_others():
    assert np.isnan(bootstrap_interval([5.0])).all()
    assert np.isnan(bootstrap_interval(([5.0, 6.0], [5.0]), probability_of_improvement)).all()


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([], {}, "at least one"),
        (1.0, {}, r"shape \(\)"),
        (np.zeros((3, 0)), {}, r"shape \(3, 0\)"),
        (([1.0], []), {"statistic": probability_of_improvement}, r"shape \(0,\)"),
        ([1.0], {"level": 1.0}, "level is 1;"),
        ([1.0], {"resamples": 0}, "resamples is 0"),
        ([1.0], {"seed": -1}, "seed is -1"),
    ],
)
def test_bootstrap_refuses(x, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(x, **options)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: mean_score([]), r"shape \(0,\); expected \(R,\)"),
        (lambda: median_score(np.zeros((2, 2, 2))), r"shape \(2, 2, 2\)"),
        (lambda: optimality_gap([1.0], target=np.inf), "target is inf"),
        (lambda: performance_profile([1.0], 0.5), "thresholds has shape"),
        (lambda: share_interval(np.zeros(0, bool)), "the number of seeds is 0"),
        (lambda: share_interval([[True]]), "reached has shape"),
        (lambda: share_interval([True], level=1.5), "level is 1.5"),
        (lambda: improvement_interval([1.0], [2.0], level=1.5), "level is 1.5"),
        (lambda: improvement_interval([[1.0]], [2.0]), "x has shape"),
        (lambda: improvement_interval([], [2.0]), r"shape \(0,\)"),
    ],
)
def test_statistics_refuse(function, message):
    with pytest.raises(ValueError, match=message):
        function()


# rliable -------------------------------------------------------------------------------------------------------------


def test_what_rliable_said():
    """Version 1.2.0 of these scores, written down for where it is not."""
    x, y = scores(), scores(4, shift=1.0)
    assert pooled(x) == pytest.approx(-0.20526315789473684, abs=1e-10)
    assert mean_score(x) == pytest.approx(-0.11714285714285713, abs=1e-10)
    assert median_score(x) == pytest.approx(-0.19999999999999996, abs=1e-10)
    assert optimality_gap(x) == pytest.approx(1.1171428571428572, abs=1e-10)
    assert optimality_gap(x, 0.3) == pytest.approx(0.5599999999999999, abs=1e-10)
    assert probability_of_improvement(x, y) == pytest.approx(0.42142857142857143, abs=1e-10)
    profile = np.array([31, 26, 21, 18, 13, 10, 8, 8, 0]) / 35
    np.testing.assert_allclose(performance_profile(x, np.linspace(-1, 1, 9)), profile, rtol=0, atol=1e-10)


def test_the_deterministic_parts_are_those_of_rliable():
    """Runs where rliable can be imported: it needs pandas 2, and so an environment of its own."""
    metrics = pytest.importorskip("rliable.metrics", exc_type=ImportError)
    for x, y in ((scores(), scores(4, shift=1.0)), (scores(32, 1), scores(8, 1, 2.0)), (scores(5, 9), scores(5, 9))):
        np.testing.assert_allclose(pooled(x), metrics.aggregate_iqm(x), rtol=0, atol=1e-10)
        np.testing.assert_allclose(mean_score(x), metrics.aggregate_mean(x), rtol=0, atol=1e-10)
        np.testing.assert_allclose(median_score(x), metrics.aggregate_median(x), rtol=0, atol=1e-10)
        for target in (0.3, 1.0):
            theirs = metrics.aggregate_optimality_gap(x, target)
            np.testing.assert_allclose(optimality_gap(x, target), theirs, rtol=0, atol=1e-10)
        theirs = metrics.probability_of_improvement(x, y)
        np.testing.assert_allclose(probability_of_improvement(x, y), theirs, rtol=0, atol=1e-10)


@pytest.mark.filterwarnings("ignore:random_state is deprecated:FutureWarning")
def test_profiles_and_intervals_are_those_of_rliable():
    """Profiles to the bit; intervals of 20 000 resamples each within what their draws differ by."""
    library = pytest.importorskip("rliable.library", exc_type=ImportError)
    metrics = pytest.importorskip("rliable.metrics", exc_type=ImportError)
    x, y, tau = scores(), scores(6, shift=1.0), np.linspace(-1, 1, 9)
    options = {"reps": 20_000, "random_state": np.random.RandomState(0)}
    of_tau = lambda x: library.score_distributions(x, tau)
    profile, bounds = library.get_interval_estimates({"x": x}, of_tau, **options)
    np.testing.assert_allclose(performance_profile(x, tau), profile["x"], rtol=0, atol=1e-10)
    ours = bootstrap_interval(x, lambda x: performance_profile(x, tau), resamples=20_000)
    np.testing.assert_allclose(ours, bounds["x"], atol=1.01 / x.size)  # shares of 35 runs: one of them
    for statistic, theirs in ((pooled, metrics.aggregate_iqm), (median_score, metrics.aggregate_median)):
        _, ends = library.get_interval_estimates({"x": x}, lambda x, f=theirs: np.array([f(x)]), **options)
        np.testing.assert_allclose(bootstrap_interval(x, statistic, resamples=20_000), ends["x"][:, 0], atol=0.02)
    pair = {"x,y": (x, y)}
    _, ends = library.get_interval_estimates(pair, metrics.probability_of_improvement, **options)
    ours = bootstrap_interval((x, y), probability_of_improvement, resamples=20_000)
    np.testing.assert_allclose(ours, np.ravel(ends["x,y"]), atol=0.02)
