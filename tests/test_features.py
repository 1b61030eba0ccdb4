"""Feature maps: by hand, and against loops in float64."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import features

LOW, HIGH = [-1.0, 0.0, -3.0], [1.0, 4.0, 2.0]
# Inside, at the bounds, and beyond them.
POINTS = np.append(np.random.default_rng(0).uniform(LOW, HIGH, (30, 3)), [LOW, HIGH, [9.0, -9.0, 0.5]], axis=0)


def scaled(point):
    """In [0, 1] ^ 3, one number at a time."""
    return [(min(max(x, a), b) - a) / (b - a) for x, a, b in zip(point, LOW, HIGH, strict=True)]


def polynomial_loop(point):
    return [
        math.prod((2 * s - 1) ** c for s, c in zip(scaled(point), powers, strict=True))
        for powers in itertools.product(range(4), repeat=3)
    ]


def fourier_loop(point):
    return [
        math.cos(math.pi * sum(c * s for c, s in zip(wave, scaled(point), strict=True)))
        for wave in itertools.product(range(4), repeat=3)
    ]


def tiles_loop(point):
    """Each grid begins somewhere below the box, by less than a tile; tiles are counted from there."""
    x = np.zeros((4, 6, 6, 6))
    for grid in range(4):
        begin = [-(((2 * j + 1) * grid / 4) % 1.0) / 5 for j in range(3)]
        x[(grid, *(math.floor((s - b) * 5 + 1e-9) for s, b in zip(scaled(point), begin, strict=True)))] = 1.0
    return x.ravel().tolist()


@pytest.mark.parametrize(
    ("made", "loop"),
    [
        (features.polynomial(3, LOW, HIGH), polynomial_loop),
        (features.fourier(3, LOW, HIGH), fourier_loop),
        (features.tile_coding(4, 5, LOW, HIGH), tiles_loop),
    ],
    ids=["polynomial", "fourier", "tile_coding"],
)
def test_a_loop_says_the_same(made, loop, precision):
    points = jnp.asarray(POINTS, jnp.result_type(float))
    x = jax.jit(jax.vmap(made.apply))(points)
    assert x.shape == (33, made.size) and x.dtype == points.dtype
    np.testing.assert_allclose(x, [loop(point) for point in POINTS], atol=1e-12 if precision else 1e-5)
    np.testing.assert_allclose(x[0], made.apply(points[0]), atol=1e-6)


def test_fourier_by_hand():
    """At s = (1/2, 1): c = (0, 0), (0, 1), (1, 0), (1, 1)."""
    waves = features.fourier(1, [0.0, 0.0], [2.0, 3.0])
    np.testing.assert_allclose(waves.apply(jnp.array([1.0, 3.0])), [1.0, -1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(waves.rate, [1.0, 1.0, 1.0, 1.0 / math.sqrt(2.0)])


def test_cosines_are_orthogonal_on_the_box():
    """int cos(pi c s) cos(pi c' s) ds over [0, 1] is 0 for c != c', and 1/2, or 1 for c = 0; by the midpoint rule, exactly."""
    waves = features.fourier(3, [0.0], [1.0])
    x = jax.vmap(waves.apply)((jnp.arange(64.0)[:, None] + 0.5) / 64)
    x = np.asarray(x)  # a GPU would round the factors of the product
    np.testing.assert_allclose(x.T @ x / 64, np.diag([1.0, 0.5, 0.5, 0.5]), atol=1e-6)


def test_shifts_of_the_grids_are_1_3_5_parts_of_a_tile():
    """Two tiles along each of two numbers, four grids: going up from the lower corner, grid t leaves its first tile after the
    share 1 - frac(t (2 j + 1) / 4) of a tile: 1, 3/4, 1/2, 1/4 along the first number, 1, 1/4, 1/2, 3/4 along the second."""
    grid = features.tile_coding(4, 2, [0.0, 0.0], [2.0, 2.0])
    first = np.arange(4) * 9
    for share, along_0, along_1 in (
        (0.2, [0, 0, 0, 0], [0, 0, 0, 0]),
        (0.3, [0, 0, 0, 1], [0, 1, 0, 0]),
        (0.6, [0, 0, 1, 1], [0, 1, 1, 0]),
        (0.8, [0, 1, 1, 1], [0, 1, 1, 1]),
        (1.1, [1, 1, 1, 1], [1, 1, 1, 1]),
    ):
        np.testing.assert_array_equal(grid.active(jnp.array([share, 0.0])), first + 3 * np.array(along_0))
        np.testing.assert_array_equal(grid.active(jnp.array([0.0, share])), first + np.array(along_1))


def test_one_tile_of_each_grid():
    grid = features.tile_coding(7, 3, LOW, HIGH)
    corners = np.array(list(itertools.product(*zip(LOW, HIGH, strict=True))))
    points = jnp.asarray(np.concatenate([corners, POINTS]), jnp.float32)
    x = np.asarray(jax.vmap(grid.apply)(points)).reshape(-1, 7, 4**3)
    assert (x.sum(axis=2) == 1).all() and grid.rate == 1 / 7


def test_a_sum_that_rounds_up_at_the_upper_bound_stays_in_its_grid():
    """2^20 + 63/64 is 2^20 + 1 in float32."""
    active = features.tile_coding(64, 2**20, [0.0], [1.0]).active(jnp.array([1.0]))  # pyright: ignore
    np.testing.assert_array_equal(active // (2**20 + 1), np.arange(64))


def test_beyond_the_bounds_nothing_is_told_apart():
    for made in (f(2, LOW, HIGH) for f in (features.polynomial, features.fourier)):
        np.testing.assert_array_equal(made.apply(jnp.array([9.0, 1.0, -9.0])), made.apply(jnp.array([1.0, 1.0, -3.0])))
    grid = features.tile_coding(4, 2, LOW, HIGH)
    np.testing.assert_array_equal(grid.active(jnp.array([9.0, 1.0, -9.0])), grid.active(jnp.array([1.0, 1.0, -3.0])))


def test_observations_may_be_whole_numbers_or_numpy():
    made = features.polynomial(1, [0], [4])
    assert made.apply(jnp.array([4])).tolist() == made.apply(np.array([4.0])).tolist() == [1.0, 1.0]  # pyright: ignore


@pytest.mark.parametrize("maker", [features.polynomial, features.fourier, lambda *a: features.tile_coding(2, *a)])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, LOW, HIGH), "is 0; expected a whole number of at least 1"),
        ((2, [0.0, -np.inf], [1.0, 1.0]), r"low\[1\] is -inf; expected a finite number"),
        ((2, [0.0], [np.nan]), r"high\[0\] is nan"),
        ((2, [0.0, 1.0], [1.0, 1.0]), r"low\[1\] is 1.0 and high\[1\] is 1.0; expected low below high"),
        ((2, [0.0], [1.0, 2.0]), r"low has shape \(1,\) and high \(2,\)"),
        ((2, 0.0, 1.0), "expected 1 axis"),
        ((2, [], []), "the number of bounds is 0"),
        ((2, [0.0] * 99, [1.0] * 99), r"the number of features, .*, is \d+; expected .* below 2\*\*31"),
    ],
)
def test_refusals(maker, arguments, message):
    with pytest.raises(ValueError, match=message):
        maker(*arguments)


@pytest.mark.parametrize(
    "made", [features.polynomial(1, [0.0], [1.0]), features.fourier(1, [0.0], [1.0]), features.one_hot(3)]
)
def test_observations_of_another_shape_are_refused(made):
    with pytest.raises(ValueError, match=r"observation has shape \(2,\)"):
        made.apply(jnp.zeros(2))
