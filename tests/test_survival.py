"""Kaplan and Meier's estimate is SciPy's; its mean and its median by hand, and without censoring those of the times."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rljax.runs.survival import kaplan_meier, median_time, restricted_mean


def runs(count, seed=0, share=0.6):
    """Times with ties, and which are arrivals."""
    random = np.random.default_rng(seed)
    return random.integers(1, 9, count).astype(float), random.random(count) < share


def scipys(times, reached):
    return stats.ecdf(stats.CensoredData.right_censored(times, ~reached)).sf


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_curve_and_greenwoods_interval_are_scipys(seed, level):
    times, reached = runs(30 if seed % 2 else 5, seed)
    ours, theirs = kaplan_meier(times, reached, level=level), scipys(times, reached)
    np.testing.assert_allclose(ours.share, theirs.evaluate(ours.times), atol=1e-14)
    np.testing.assert_allclose(ours.times, theirs.quantiles[np.isin(theirs.quantiles, times[reached])])
    with np.errstate(divide="ignore", invalid="ignore"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # where S = 0 it has none, and warns
        bounds = theirs.confidence_interval(level, method="log-log")
    inner = ours.share > 0
    np.testing.assert_allclose(ours.low[inner], bounds.low.evaluate(ours.times)[inner], atol=1e-9)
    np.testing.assert_allclose(ours.high[inner], bounds.high.evaluate(ours.times)[inner], atol=1e-9)
    assert ((ours.low <= ours.share) & (ours.share <= ours.high)).all() and (ours.low >= 0).all()


def test_by_hand():
    """Five runs: two arrive at 10, one is watched for 20 in vain, one arrives at 20, one at 30."""
    found = kaplan_meier([10.0, 10.0, 20.0, 20.0, 30.0], [True, True, False, True, True])
    assert found.times.tolist() == [10, 20, 30] and found.events.tolist() == [2, 1, 1]
    assert found.at_risk.tolist() == [5, 3, 1]  # who is watched until 20 is at risk then
    np.testing.assert_allclose(found.share, [3 / 5, 3 / 5 * 2 / 3, 0.0], atol=1e-15)
    assert found.low[-1] == 0 and found.high[-1] == pytest.approx(found.high[-2] * (1 - 0.025))
    assert median_time(found)[0] == 20
    mean, error = restricted_mean(found)
    assert mean == pytest.approx(10 + 10 * 0.6 + 10 * 0.4)
    assert error == pytest.approx(np.sqrt((6 + 4) ** 2 * 2 / (5 * 3) + 4**2 * 1 / (3 * 2)))
    assert restricted_mean(found, 15.0)[0] == pytest.approx(10 + 5 * 0.6)
    assert restricted_mean(found, 10.0) == (10.0, 0.0)
    assert restricted_mean(found, 100.0)[0] == pytest.approx(mean)  # all that may arrive has arrived


def test_without_censoring_it_is_the_share_that_takes_longer():
    times = np.random.default_rng(3).exponential(size=50)
    found = kaplan_meier(times, np.ones(50, bool))
    np.testing.assert_allclose(found.share, [(times > t).mean() for t in found.times], atol=1e-14)
    mean, error = restricted_mean(found)
    assert mean == pytest.approx(times.mean()) and error == pytest.approx(times.std() / np.sqrt(50))
    assert median_time(found)[0] == np.sort(times)[24]


def test_those_that_never_arrive_count():
    """The mean of the arrivals alone would be 10."""
    some = kaplan_meier([10.0] * 3 + [100.0] * 5, [True] * 3 + [False] * 5)
    assert some.share.tolist() == [5 / 8] and median_time(some)[0] == np.inf
    assert restricted_mean(some)[0] == pytest.approx(10 + 90 * 5 / 8)
    none = kaplan_meier([100.0, 50.0], [False, False])
    assert none.times.size == 0 and none.longest == 100.0
    assert median_time(none) == (np.inf, np.inf, np.inf) and restricted_mean(none) == (100.0, 0.0)


def test_all_at_once():
    """The high end is Clopper and Pearson's for no success in n: two runs do not show much, sixteen do."""
    found = kaplan_meier([7.0, 7.0], [True, True])
    assert (found.share.tolist(), found.low.tolist()) == ([0.0], [0.0])
    assert found.high[0] == pytest.approx(stats.binomtest(0, 2).proportion_ci().high)
    assert median_time(found) == (7.0, 7.0, np.inf) and restricted_mean(found) == (7.0, 0.0)
    assert median_time(kaplan_meier([7.0] * 16, [True] * 16)) == (7.0, 7.0, 7.0)


def test_the_interval_of_the_median_covers_it():
    """Exponential times, censored by another; 19 of 20 intervals hold the true median, log 2."""
    random, held = np.random.default_rng(0), []
    for _ in range(400):
        times, limits = random.exponential(size=40), random.exponential(2.0, size=40)
        _, low, high = median_time(kaplan_meier(np.minimum(times, limits), times <= limits))
        held.append(low <= np.log(2) <= high)
    assert abs(np.mean(held) - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 400)


@pytest.mark.parametrize(
    ("times", "reached", "options", "error", "message"),
    [
        ([], np.zeros(0, bool), {}, ValueError, "number of runs is 0"),
        ([1.0, 2.0], [True], {}, ValueError, "expected equal shapes"),
        ([[1.0]], [[True]], {}, ValueError, "expected 1 axis"),
        ([1.0, 0.0], [True, True], {}, ValueError, r"times\[1\] is 0"),
        ([1.0, np.inf], [True, False], {}, ValueError, r"times\[1\] is inf"),
        ([1.0, 2.0], [1, 0], {}, TypeError, "reached has type"),
        ([1.0], [True], {"level": 0.0}, ValueError, "level is 0"),
    ],
)
def test_refusals(times, reached, options, error, message):
    with pytest.raises(error, match=message):
        kaplan_meier(times, reached, **options)


def test_beyond_what_was_watched_nothing_is_known():
    with pytest.raises(ValueError, match="horizon is 31 and no run was watched for longer than 30"):
        restricted_mean(kaplan_meier([10.0, 30.0], [True, False]), 31.0)
    with pytest.raises(ValueError, match="horizon is 0"):
        restricted_mean(kaplan_meier([10.0], [True]), 0.0)
