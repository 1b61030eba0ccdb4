"""How long until a run gets there, when some never do: steps to a threshold, with censoring.

A run that ends without having reached the threshold is not one that takes so long: of its time it is known only that it is
longer. Means and medians of those that arrived are too short, and so much the more the fewer arrive; the estimate of Kaplan
and Meier uses what is known of all. It takes for granted that how long a run was watched tells nothing of when it would have
arrived: true of time counted in what all runs have as much of, not of runs given up because they did badly, nor of steps
where the budget is of episodes, since those who do badly make fewer of them.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rljax import checks


class Survival(NamedTuple):
    """The share of runs that are still on their way, at each of the K distinct times at which one arrived."""

    times: np.ndarray  # [K] ascending
    share: np.ndarray  # [K] S right after; 1 before the first
    low: np.ndarray  # [K] bounds of S, each for its time
    high: np.ndarray  # [K]
    events: np.ndarray  # [K] arrivals at that time
    at_risk: np.ndarray  # [K] runs watched until then that had not arrived before
    longest: float  # the longest that any run was watched


def kaplan_meier(times: ArrayLike, reached: ArrayLike, *, level: float = 0.95) -> Survival:
    """The share of runs that take longer than t, from runs that arrived and runs that were watched for a while in vain.

        S(t) = prod_{t_i <= t} (1 - d_i / n_i),    d_i arrivals at t_i, n_i runs watched until then and not there before
        S(t) ^ exp(+- z sigma),    sigma^2 = sum_{t_i <= t} d_i / (n_i (n_i - d_i)) / (log S(t))^2

    The interval is Greenwood's on the scale of log(-log S), which keeps it within [0, 1]. Where the last n runs at risk
    arrive, S = 0 and there is no such interval: its low end is 0, its high end that of the time before (1, if there is none)
    times that of a share of which n runs show nothing, 1 - ((1 - level) / 2)^(1 / n). A run that was watched until t_i
    without arriving counts as at risk then.

    Args:
      times: [R] when each run arrived, or how long it was watched; positive.
      reached: [R] bool, True where it arrived.
      level: of confidence, in (0, 1).

    Returns:
      `Survival`; K = 0 where none arrived.

    Errors:
      ValueError, TypeError: no runs, unequal shapes, times that are not positive and finite, flags that are not bool.

    Example:
      >>> four = kaplan_meier([10.0, 20.0, 20.0, 30.0], [True, True, False, False])
      >>> four.times.tolist(), four.share.tolist()
      ([10.0, 20.0], [0.75, 0.5])

    Kaplan & Meier (1958), Nonparametric estimation from incomplete observations; Kalbfleisch & Prentice (2002), sec. 1.4.
    """
    checks.real("level", level, 0, 1, above=True, below=True)
    times, reached = np.asarray(times, np.float64), np.asarray(reached)
    checks.rank(1, times=times)
    checks.same_shape(times=times, reached=reached)
    checks.boolean(reached=reached)
    checks.integer("the number of runs", len(times), 1)
    checks.real("times", times, 0, above=True, below=True, batch=True)
    when, events = np.unique(times[reached], return_counts=True)
    at_risk = len(times) - np.searchsorted(np.sort(times), when, side="left")
    share = np.cumprod(1.0 - events / at_risk)
    spread = np.sqrt(np.cumsum(_greenwood(events, at_risk)))
    z = NormalDist().inv_cdf((1 + level) / 2)
    low, high = np.zeros(len(when)), np.ones(len(when))
    inner = share > 0
    sigma = spread[inner] / -np.log(share[inner])
    low[inner], high[inner] = share[inner] ** np.exp(z * sigma), share[inner] ** np.exp(-z * sigma)
    if not inner.all():
        high[-1] = (high[-2] if len(when) > 1 else 1.0) * (1 - ((1 - level) / 2) ** (1 / at_risk[-1]))
    return Survival(when, share, low, high, events, at_risk, float(times.max()))


def median_time(survival: Survival) -> tuple[float, float, float]:
    """By when half of the runs have arrived, and an interval.

        min {t : S(t) <= 1/2};    the same of the low and of the high end of S (Brookmeyer & Crowley)

    Returns:
      The median, and the ends of its interval; infinite where too few arrive to tell.

    Example:
      >>> median_time(kaplan_meier([10.0, 20.0, 20.0, 30.0], [True, True, False, False]))[0]
      20.0

    Brookmeyer & Crowley (1982), A confidence interval for the median survival time.
    """

    def first(share: np.ndarray) -> float:
        there = np.flatnonzero(share <= 0.5 + 1e-12)  # a product of fractions may miss one half by a rounding
        return float(survival.times[there[0]]) if len(there) else np.inf

    return first(survival.share), first(survival.low), first(survival.high)


def restricted_mean(survival: Survival, horizon: float | None = None) -> tuple[float, float]:
    """The mean time to arrive, a run that is not there by the horizon counting as the horizon; and its standard error.

        mu = int_0^horizon S(t) dt,    var = sum_i A_i^2 d_i / (n_i (n_i - d_i)),    A_i = int_{t_i}^horizon S(t) dt

    Args:
      survival: from `kaplan_meier`.
      horizon: up to which S is known: at most the longest that any run was watched, which is the default, unless all
        arrived. To compare two groups take one for both.

    Returns:
      mu and the square root of var.

    Errors:
      ValueError: a horizon beyond what was watched.

    Example:
      >>> restricted_mean(kaplan_meier([10.0, 20.0, 20.0, 30.0], [True, True, False, False]))[0]  # 10 + 7.5 + 5
      22.5

    Royston & Parmar (2013), Restricted mean survival time.
    """
    horizon = survival.longest if horizon is None else horizon
    checks.real("horizon", horizon, 0, above=True, below=True)
    over = len(survival.share) > 0 and survival.share[-1] == 0
    if horizon > survival.longest and not over:
        raise ValueError(
            f"horizon is {horizon:g} and no run was watched for longer than {survival.longest:g}, some in vain; expected at "
            "most that: beyond it nothing is known."
        )
    inside = survival.times < horizon
    edges = np.concatenate([[0.0], survival.times[inside], [horizon]])
    pieces = np.diff(edges) * np.concatenate([[1.0], survival.share[inside]])
    after = np.cumsum(pieces[::-1])[::-1][1:]  # A_i
    variance = np.sum(after**2 * _greenwood(survival.events[inside], survival.at_risk[inside]))
    return float(pieces.sum()), float(np.sqrt(variance))


def _greenwood(events: np.ndarray, at_risk: np.ndarray) -> np.ndarray:
    """d / (n (n - d)), and 0 where the last runs arrive: nothing comes after it that could vary."""
    left = at_risk - events
    return np.where(left > 0, events / (at_risk * np.maximum(left, 1)), 0.0)
