"""Feature maps: a bounded observation as K numbers, of which a linear function can say much.

    q(o, a) = sum_k w[a, k] x_k(o)

Observations [d] are clipped to [low, high] and scaled first: nothing beyond the bounds is told apart. Any other record of
the same form serves as well: `Features(apply, size)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks
from rljax.structs import floats


class Features(NamedTuple):
    """A function of one observation, and what a learner of its weights may want to know of it."""

    apply: Callable[[Any], Array]  # observation -> x [K]
    size: int  # K
    rate: np.ndarray | float = 1.0  # [] or [K]: step sizes of the weights, relative to the learner's
    active: Callable[[Any], Array] | None = (
        None  # if M features are 1 and all others 0: observation -> which, [M] int32
    )


def polynomial(order: int, low: Sequence[float], high: Sequence[float]) -> Features:
    """All products of powers up to `order`, of the observation scaled to [-1, 1].

        x_i(s) = prod_j s_j ^ c_ij,    c_i in {0, ..., order} ^ d

    Args:
      order: the highest power of each number.
      low, high: [d] the bounds.

    Returns:
      `Features` of size (order + 1) ^ d; the last power varies fastest.

    Errors:
      ValueError: an order below 1; bounds that are not finite, not in order or not equally many; 2**31 features or more;
        on use, an observation of another shape than [d].

    Example:
      >>> polynomial(2, [0.0, 0.0], [4.0, 4.0]).apply(jnp.array([3.0, 4.0])).tolist()
      [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]

    Sutton & Barto (2018), sec. 9.5.1, where nothing is scaled.
    """
    checks.integer("order", order, 1)
    scaled, d = _scaling(low, high)
    size = _size("(order + 1) ^ d", (order + 1) ** d)

    def apply(observation: Array) -> Array:
        s = 2.0 * scaled(observation) - 1.0
        powers = [jnp.ones_like(s)]
        for _ in range(order):
            powers.append(powers[-1] * s)
        return _products(jnp.stack(powers))

    return Features(apply, size)


def fourier(order: int, low: Sequence[float], high: Sequence[float]) -> Features:
    """Cosines of up to `order` half waves along every direction, of the observation scaled to [0, 1].

        x_i(s) = cos(pi c_i . s),    c_i in {0, ..., order} ^ d,    rate_i = 1 / |c_i|, and 1 where c_i = 0

    Args:
      order: half waves along each number.
      low, high: [d] the bounds.

    Returns:
      `Features` of size (order + 1) ^ d, with smaller step sizes for finer waves; the last coefficient varies fastest.

    Errors:
      ValueError: as `polynomial`.

    Example:
      >>> waves = fourier(2, [-1.0], [1.0])
      >>> waves.apply(jnp.array([0.5])).round(4).tolist(), waves.rate.tolist()
      ([1.0, -0.7071, 0.0], [1.0, 1.0, 0.5])

    Konidaris, Osentoski & Thomas (2011), Value function approximation in reinforcement learning using the Fourier basis.
    """
    checks.integer("order", order, 1)
    scaled, d = _scaling(low, high)
    size = _size("(order + 1) ^ d", (order + 1) ** d)
    c = np.stack(np.unravel_index(np.arange(size), (order + 1,) * d), axis=1)  # [size, d]
    rate = 1.0 / np.maximum(np.linalg.norm(c, axis=1), 1.0)

    def apply(observation: Array) -> Array:
        s = scaled(observation)
        # Not by a matrix product: accelerators round its factors, and so the angle, to a few digits.
        return jnp.cos(jnp.sum(jnp.asarray(np.pi * c, s.dtype) * s[None], axis=1))

    return Features(apply, size, rate)


def tile_coding(tilings: int, tiles: int, low: Sequence[float], high: Sequence[float]) -> Features:
    """Some grids over the box, each shifted a little: an observation is the tiles that it falls in, one of each grid.

        tile_j = floor(tiles s_j + frac(t (2 j + 1) / tilings)),    s in [0, 1] ^ d,    t = 0, ..., tilings - 1

    The shifts along the numbers are 1, 3, 5, ... parts of a tile: what is learned in one place spreads about evenly in all
    directions. A shifted grid needs one more tile along each number to cover the box.

    Args:
      tilings: grids; best a power of two, at least 4 d.
      tiles: width of the box in tiles, along each number.
      low, high: [d] the bounds.

    Returns:
      `Features` of size tilings (tiles + 1) ^ d, `tilings` of which are 1 and all others 0. The rate is 1 / tilings, so that
      a step size is the share of an error that one update takes away.

    Errors:
      ValueError: a size below 1; bounds and number of features as in `polynomial`.

    Example:
      >>> grid = tile_coding(2, 2, [0.0], [1.0])
      >>> [grid.active(jnp.array([s])).tolist() for s in (0.0, 0.3, 0.9)]
      [[0, 3], [0, 4], [1, 5]]
      >>> grid.apply(jnp.array([0.9])).tolist()
      [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]

    Sutton & Barto (2018), sec. 9.5.4.
    """
    checks.integer("tilings", tilings, 1)
    checks.integer("tiles", tiles, 1)
    scaled, d = _scaling(low, high)
    side = tiles + 1
    size = _size("tilings (tiles + 1) ^ d", tilings * side**d)
    shift = np.outer(np.arange(tilings), 2 * np.arange(d) + 1) % tilings / tilings  # [tilings, d]
    stride = (side ** np.arange(d)[::-1]).astype(np.int32)
    first = (side**d * np.arange(tilings)).astype(np.int32)

    def active(observation: Array) -> Array:
        s = scaled(observation)
        place = jnp.floor(tiles * s[None] + jnp.asarray(shift, s.dtype)).astype(jnp.int32)
        place = jnp.minimum(place, tiles)  # at the upper bound a sum rounded up would pass to the next row
        return first + jnp.sum(place * stride[None], axis=1, dtype=jnp.int32)

    def apply(observation: Array) -> Array:
        return jnp.zeros(size).at[active(observation)].set(1.0)

    return Features(apply, size, 1.0 / tilings, active)


def one_hot(size: int) -> Features:
    """Feature k is 1 where the observation is k: a function that is linear in these is a table.

        x_k(s) = 1 if s = k else 0

    Args:
      size: how many observations there are, [] integers 0 ... size - 1.

    Returns:
      `Features`.

    Errors:
      ValueError: a size below 1; on use, an observation that is not one number.

    Example:
      >>> one_hot(3).apply(jnp.int32(1)).tolist()
      [0.0, 1.0, 0.0]

    Sutton & Barto (2018), sec. 9.3.
    """
    checks.integer("size", size, 1)

    def apply(observation: Array) -> Array:
        checks.rank(0, observation=observation)
        return jax.nn.one_hot(observation, size, dtype=jnp.result_type(float))

    return Features(apply, size)


def _products(factors: Array) -> Array:
    """[n ^ d]: all products of one row of [n, d] in each column, the row of the last column varying fastest."""
    x = factors[:, 0]
    for j in range(1, factors.shape[1]):
        x = (x[:, None] * factors[None, :, j]).reshape(-1)
    return x


def _size(formula: str, size: int) -> int:
    checks.integer(f"the number of features, {formula},", size, 1)
    return size


def _scaling(low: Sequence[float], high: Sequence[float]) -> tuple[Callable[[Array], Array], int]:
    """From an observation [d] to [0, 1] ^ d; and d."""
    bottom, top = np.asarray(low, np.float64), np.asarray(high, np.float64)
    checks.rank(1, low=bottom, high=top)
    checks.same_shape(low=bottom, high=top)
    checks.integer("the number of bounds", len(bottom), 1)
    for name, bounds in (("low", bottom), ("high", top)):
        if not np.isfinite(bounds).all():
            j = int(np.argmin(np.isfinite(bounds)))
            raise ValueError(
                f"{name}[{j}] is {bounds[j]}; expected a finite number. Where the space has no bound, take one that is "
                "seldom passed: what lies beyond counts as the bound itself."
            )
    if not (bottom < top).all():
        j = int(np.argmin(bottom < top))
        raise ValueError(f"low[{j}] is {bottom[j]} and high[{j}] is {top[j]}; expected low below high.")

    def scaled(observation: Array) -> Array:
        checks.same_shape(observation=observation, low=bottom)
        o = floats(observation)
        return jnp.clip((o - jnp.asarray(bottom, o.dtype)) / jnp.asarray(top - bottom, o.dtype), 0.0, 1.0)

    return scaled, len(bottom)
