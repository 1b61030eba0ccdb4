"""The interquartile mean is SciPy's trimmed mean; intervals are those of its bootstrap."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rljax.runs.statistics import bootstrap_interval, interquartile_mean


@pytest.mark.parametrize("count", [*range(1, 42), 64, 99, 100, 101, 1000])
def test_interquartile_mean_is_scipys_trimmed_mean(count):
    x = np.random.default_rng(count).standard_cauchy(count)
    np.testing.assert_allclose(interquartile_mean(x), stats.trim_mean(x, 0.25), rtol=1e-12)


@settings(deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)),
    axis=st.integers(-3, 2),
    seed=st.integers(0, 1000),
)
def test_along_any_axis(shape, axis, seed):
    x = np.random.default_rng(seed).normal(size=shape).round(1)  # with ties
    found = interquartile_mean(x, axis=axis)
    assert found.shape == tuple(np.delete(shape, axis))
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


@pytest.mark.parametrize(("x", "axis"), [([], 0), (np.zeros((0, 3)), 0), (np.zeros((3, 0)), 1)])
def test_no_seeds_are_refused(x, axis):
    with pytest.raises(ValueError, match=r"no seeds .* expected at least one"):
        interquartile_mean(x, axis=axis)


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


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ([], {}, "at least one"),
        ([[1.0]], {}, r"shape \(1, 1\)"),
        ([1.0], {"level": 1.0}, "level is 1;"),
        ([1.0], {"resamples": 0}, "resamples is 0"),
    ],
)
def test_bootstrap_refuses(x, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(x, **options)
