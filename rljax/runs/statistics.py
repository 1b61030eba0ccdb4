"""Statistics of runs. The unit is the seed, never the episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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
