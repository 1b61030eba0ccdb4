"""Statistics of runs. The unit is the seed, never the episode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rljax import checks


def interquartile_mean(x: ArrayLike, axis: int = 0) -> np.ndarray:
    """The mean of the middle half: what a typical run does, whatever the best and worst quarter did.

        IQM = mean of x_(k+1) ... x_(n-k),    k = floor(n / 4), x sorted

    A NaN is no value that could be ranked and dropped: where there is one, the mean is NaN.

    Args:
      x: one value per seed along `axis`.
      axis: of the seeds.

    Returns:
      x without that axis.

    Errors:
      ValueError: no seeds.

    Example:
      >>> float(interquartile_mean([0.0, 10.0, 12.0, 1000.0]))
      11.0

    Agarwal et al. (2021), Deep RL at the edge of the statistical precipice.
    """
    x = np.sort(np.asarray(x, np.float64), axis=axis)
    count = x.shape[axis]
    if not count:
        raise ValueError("there are no seeds along the axis; expected at least one.")
    middle = np.take(x, range(count // 4, count - count // 4), axis=axis).mean(axis=axis)
    return np.where(np.isnan(x).any(axis=axis), np.nan, middle)


def bootstrap_interval(
    x: ArrayLike,
    statistic: Callable[..., np.ndarray] = interquartile_mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Where a statistic of all seeds would plausibly lie, judged from these: the percentile bootstrap.

        quantiles (1 -+ level) / 2 of statistic(x*),    x*: len(x) seeds drawn from x with replacement

    Args:
      x: [B] one value per seed.
      statistic: takes an array and `axis`.
      level: of confidence, in (0, 1).
      resamples: how many x* are drawn.
      seed: of the draws.

    Returns:
      low, high.

    Errors:
      ValueError: no seeds, more than one axis, numbers out of range.

    Example:
      >>> low, high = bootstrap_interval([0.0, 10.0, 12.0, 14.0])
      >>> 0.0 <= low < 11.0 < high <= 14.0
      True

    Efron (1979), Bootstrap methods; Agarwal et al. (2021).
    """
    checks.real("level", level, 0, 1, above=True, below=True)
    checks.integer("resamples", resamples, 1)
    x = np.asarray(x, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"x has shape {x.shape}; expected (B,), one value per seed, at least one.")
    drawn = x[np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))]
    low, high = np.quantile(statistic(drawn, axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
