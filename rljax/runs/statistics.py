"""Statistics of runs. The unit is the seed, never the episode: episodes of one seed share what that seed learned.

Scores are [R], one number for each of R seeds, or [R, M] where each of M tasks was learned by R seeds of its own; further
axes, such as the steps of a curve, belong to the run. Everything is float64: on the host, and in the bootstrap as well,
whose resamples are drawn and judged by one compiled program. Arrays may be NumPy's or, traced, JAX's: one text for both.

Agarwal, Schwarzer, Castro, Courville & Bellemare (2021), Deep RL at the edge of the statistical precipice, advises it all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike

from rljax import checks, noise

Statistic = Callable[..., Any]  # of one array of scores, or of several: what is wanted of them, of any shape


def interquartile_mean(x: ArrayLike, axis: int | None = 0) -> Any:
    """The mean of the middle half: what a typical run does, whatever the best and worst quarter did.

        IQM = mean of x_(k+1) ... x_(n-k),    k = floor(n / 4), x sorted

    A NaN is no value that could be ranked and dropped: where there is one, the mean is NaN.

    Args:
      x: one value per seed along `axis`.
      axis: of the seeds; None: all numbers are ranked together, seeds and tasks.

    Returns:
      x without that axis.

    Errors:
      ValueError: no seeds.

    Example:
      >>> float(interquartile_mean([0.0, 10.0, 12.0, 1000.0]))
      11.0

    Agarwal et al. (2021), sec. 4.
    """
    values, xp = _array(x)
    ranked = xp.sort(values.reshape(-1) if axis is None else xp.moveaxis(values, axis, 0), axis=0)
    count = len(ranked)
    if not count:
        raise ValueError("there are no seeds along the axis; expected at least one.")
    middle = ranked[count // 4 : count - count // 4].mean(axis=0)
    return xp.where(xp.isnan(ranked).any(axis=0), xp.nan, middle)


def mean_score(x: ArrayLike) -> Any:
    """The mean over tasks of the mean over seeds: every run counts, and an outlier as much as it likes.

        (1 / M) sum_m (1 / R) sum_r x_rm

    Args:
      x: [R] or [R, M].

    Returns:
      [].

    Errors:
      ValueError: no seeds, another number of axes.

    Example:
      >>> float(mean_score([[0.0, 1.0], [2.0, 5.0]]))
      2.0

    Agarwal et al. (2021), sec. 3.
    """
    return _scores(x)[0].mean()


def median_score(x: ArrayLike) -> Any:
    """The median over tasks of the mean over seeds: what half of the tasks reach. Of one task it is the mean.

        median_m (1 / R) sum_r x_rm

    Args:
      x: [R] or [R, M].

    Returns:
      [].

    Errors:
      ValueError: no seeds, another number of axes.

    Example:
      >>> float(median_score([[0.0, 1.0, 50.0], [2.0, 5.0, 50.0]]))
      3.0

    Agarwal et al. (2021), sec. 3.
    """
    values, xp = _scores(x)
    return xp.median(values.mean(axis=0))


def optimality_gap(x: ArrayLike, target: float = 1.0) -> Any:
    """By how much runs fall short of a score on average, those beyond it by nothing. Less is better.

        (1 / (R M)) sum_rm max(target - x_rm, 0)

    Args:
      x: [R] or [R, M].
      target: the score that is good enough.

    Returns:
      [].

    Errors:
      ValueError: no seeds, another number of axes, a target that is not finite.

    Example:
      >>> float(optimality_gap([150.0, 190.0, 200.0, 500.0], target=200.0))
      15.0

    Agarwal et al. (2021), sec. 4.
    """
    checks.real("target", target, above=True, below=True)
    values, xp = _scores(x)
    return xp.maximum(target - values, 0.0).mean()


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> Any:
    """How likely a run of X is to be better than one of Y on the same task, a tie counting one half; mean over tasks.

        P(X > Y) = (1 / M) sum_m U_m / (R_X R_Y),    U_m = sum_ij [x_im > y_jm] + 1/2 [x_im = y_jm]

    U is the statistic of Mann and Whitney. One half is no difference; how large a difference is, it does not say.

    Args:
      x: [R_X] or [R_X, M].
      y: [R_Y] or [R_Y, M].

    Returns:
      [], NaN where a score is.

    Errors:
      ValueError: no seeds, another number of axes, unequal tasks.

    Example:
      >>> float(probability_of_improvement([3.0, 5.0], [1.0, 3.0]))
      0.875

    Mann & Whitney (1947); Agarwal et al. (2021), sec. 4.
    """
    (ours, xp), (theirs, _) = _scores(x), _scores(y)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"x is of {ours.shape[1]} tasks and y of {theirs.shape[1]}; expected the same tasks in the same order. "
            "Leave out what only one of them has learned."
        )
    shares = []
    for x_m, y_m in zip(ours.T, xp.sort(theirs, axis=0).T, strict=True):
        below, up_to = (xp.searchsorted(y_m, x_m, side=side) for side in ("left", "right"))
        shares.append((below + up_to).astype(ours.dtype).mean() / (2 * len(theirs)))  # ties lie between the two
    nothing_known = xp.isnan(ours).any() | xp.isnan(theirs).any()
    return xp.where(nothing_known, xp.nan, xp.stack(shares).mean())


def performance_profile(x: ArrayLike, thresholds: ArrayLike) -> Any:
    """The share of runs that score above each threshold: the whole distribution, of which other statistics are a point.

        F(tau) = (1 / M) sum_m (1 / R) sum_r [x_rm > tau]

    The curve of a better algorithm lies higher; where two cross, neither is better throughout. The area below it, from a
    score that all exceed, is the mean.

    Args:
      x: [R] or [R, M].
      thresholds: [K] tau, in any order.

    Returns:
      [K], falling in tau; NaN where a score is.

    Errors:
      ValueError: no seeds, another number of axes, thresholds that are not [K].

    Example:
      >>> performance_profile([100.0, 180.0, 200.0, 200.0], [0.0, 150.0, 199.0, 200.0]).tolist()
      [1.0, 0.75, 0.5, 0.0]

    Dolan & More (2002); Agarwal et al. (2021), sec. 4.
    """
    values, xp = _scores(x)
    tau = np.asarray(thresholds, np.float64)
    checks.rank(1, thresholds=tau)
    above = values.size - xp.searchsorted(xp.sort(values.reshape(-1)), xp.asarray(tau), side="right")
    return xp.where(xp.isnan(values).any(), xp.nan, above.astype(values.dtype) / values.size)


def share_interval(reached: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Where the share of all seeds that reach something would plausibly lie: Wilson's interval, without resamples.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),    p of n seeds, z of the normal law

    Where all or none do, a bootstrap would be sure of it: its interval has no width. That 32 of 32 do shows no more than
    that nine of ten would.

    Args:
      reached: [R] bool.
      level: of confidence, in (0, 1).

    Returns:
      low, high.

    Errors:
      ValueError, TypeError: no seeds, more than one axis, what is not bool, a level out of range.

    Example:
      >>> low, high = share_interval([True] * 32)
      >>> round(low, 2), high
      (0.89, 1.0)

    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    checks.real("level", level, 0, 1, above=True, below=True)
    flags = np.asarray(reached)
    checks.rank(1, reached=flags)
    checks.integer("the number of seeds", len(flags), 1)
    checks.boolean(reached=flags)
    p, n, z = flags.mean(), len(flags), NormalDist().inv_cdf((1 + level) / 2)
    middle, width = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (middle - width) / (1 + z**2 / n), (middle + width) / (1 + z**2 / n)
    return (0.0 if not p else float(low)), (1.0 if p == 1 else float(high))


def improvement_interval(x: ArrayLike, y: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Where `probability_of_improvement` would plausibly lie on one task, were there more seeds: Newcombe's, without resamples.

        all p with (p^ - p)^2 <= z^2 v(p),    z of the normal law, p^ the probability seen, m = (R_X + R_Y) / 2 - 1,
        v(p) = p (1 - p) (1 + m ((1 - p) / (2 - p) + p / (1 + p))) / (R_X R_Y)

    Where all of X beat all of Y, a bootstrap would be sure of it. What is called 95 % holds the truth 90 to 97 times in a
    hundred with 3 seeds each, 93 to 97 with more (normal scores, 0 to 3 deviations apart; 1500 times each).

    Args:
      x, y: [R_X] and [R_Y].
      level: of confidence, in (0, 1).

    Returns:
      low, high; NaN where a score is.

    Errors:
      ValueError: as `probability_of_improvement`; a level out of range, several tasks.

    Example:
      >>> [round(end, 2) for end in improvement_interval([3.0, 4.0], [1.0, 2.0])]
      [0.39, 1.0]

    Newcombe (2006), Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2, method 5.
    """
    checks.real("level", level, 0, 1, above=True, below=True)
    checks.rank(1, x=np.asarray(x), y=np.asarray(y))
    seen, z = float(probability_of_improvement(x, y)), NormalDist().inv_cdf((1 + level) / 2)
    m, pairs = (np.size(x) + np.size(y)) / 2 - 1, np.size(x) * np.size(y)
    variance = lambda p: p * (1 - p) * (1 + m * ((1 - p) / (2 - p) + p / (1 + p))) / pairs

    def end(inside: float, outside: float) -> float:
        for _ in range(60):  # halves
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if (seen - middle) ** 2 <= z**2 * variance(middle) else (inside, middle)
        return inside

    return end(seen, 0.0), end(seen, 1.0)


def bootstrap(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: Statistic = interquartile_mean,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """A statistic of other seeds that might have been: each task's runs are drawn anew from those that there are.

        s_b = statistic(x*_b),    x*_b[r, m] = x[i_bmr, m],    i_bmr uniform on 0 ... R - 1

    Stratified: a run stays with its task, whole, with all its further axes. Several groups are drawn independently.

    Args:
      x: [R], [R, M] or [R, M, ...] scores, or a tuple of such, one for each argument of the statistic. A curve over steps
        of one task is [R, 1, T].
      statistic: from arrays of the shapes of x to a number or an array; traced once, so of `jax.numpy` or of this file.
      resamples: B.
      seed: of the draws.

    Returns:
      [B, ...].

    Errors:
      ValueError: no seeds, numbers out of range.

    Example:
      >>> bootstrap([0.0, 10.0, 12.0, 14.0], resamples=500).shape
      (500,)

    Efron (1979), Bootstrap methods: another look at the jackknife; Agarwal et al. (2021), sec. 4.
    """
    checks.integer("resamples", resamples, 1)
    checks.seed(seed)
    groups = tuple(np.asarray(group, np.float64) for group in (x if isinstance(x, tuple) else (x,)))
    for group in groups:
        if not group.ndim or not group.size:
            raise ValueError(
                f"x has shape {group.shape}; expected (R,), one score per seed and at least one, or (R, M) of M tasks."
            )
    with jax.enable_x64(True):
        return np.asarray(_resampled(jax.random.key(seed), groups, statistic, resamples))


def bootstrap_interval(
    x: ArrayLike | tuple[ArrayLike, ...],
    statistic: Statistic = interquartile_mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Where a statistic of all seeds would plausibly lie, judged from these: the percentile bootstrap.

        quantiles (1 -+ level) / 2 of the statistics of `bootstrap`

    Where the statistic is an array, so are the ends, each for itself: of a curve they bound one point at a time, not the
    whole. From a few seeds the interval is too short, since they cannot show how far others would lie: what is called 95 %
    holds the true interquartile mean 87 times in a hundred with 4 seeds, 93 with 8, 94 with 16 (normal, exponential and
    cubed uniform scores, a thousand times each).

    Args:
      x, statistic, resamples, seed: as of `bootstrap`.
      level: of confidence, in (0, 1).

    Returns:
      low, high; NaN if x is of one seed, which tells nothing of others.

    Errors:
      ValueError: as `bootstrap`; a level out of range.

    Example:
      >>> low, high = bootstrap_interval([0.0, 10.0, 12.0, 14.0])
      >>> bool(0.0 <= low < 11.0 < high <= 14.0)
      True

    Efron (1979); Agarwal et al. (2021), sec. 4.
    """
    checks.real("level", level, 0, 1, above=True, below=True)
    drawn = bootstrap(x, statistic, resamples=resamples, seed=seed)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    alone = any(len(np.asarray(group)) == 1 for group in (x if isinstance(x, tuple) else (x,)))
    return (low * np.nan, high * np.nan) if alone else (low, high)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _resampled(key: Array, groups: tuple[Array, ...], statistic: Statistic, resamples: int) -> Array:
    """[B, ...]; so many at a time that what they hold stays within some tens of megabytes."""
    key = noise.fused(key)  # an eighth of the time to compile, which is most of what a bootstrap costs

    def one(b: Array) -> Any:
        lane = jax.random.fold_in(key, b)
        return statistic(*(_drawn(jax.random.fold_in(lane, i), group) for i, group in enumerate(groups)))

    at_once = max(1, _AT_ONCE // max(group.size for group in groups))
    return lax.map(one, jnp.arange(resamples, dtype=jnp.uint32), batch_size=min(at_once, resamples))


def _drawn(key: Array, x: Array) -> Array:
    """As many runs of each task as there are, with replacement."""
    rows = (jax.random.uniform(key, x.shape[:2]) * len(x)).astype(
        jnp.int32
    )  # below R, for no float64 below 1 rounds up
    return x[rows] if x.ndim == 1 else x[rows, jnp.arange(x.shape[1])[None]]


def _array(x: Any) -> tuple[Any, Any]:
    """`x` and the functions that go with it: traced it is JAX's, else NumPy's and float64."""
    x = x if isinstance(x, jax.core.Tracer) else np.asarray(x, np.float64)
    return x, x.__array_namespace__()


def _scores(x: Any) -> tuple[Any, Any]:
    """[R, M], and its functions."""
    values, xp = _array(x)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(
            f"scores have shape {values.shape}; expected (R,), one per seed and at least one, or (R, M) of M tasks."
        )
    return values.reshape(len(values), -1), xp


_AT_ONCE = 2**22  # numbers resampled side by side: 32 MiB
