"""The fast sine and cosine: right to a rounding over their whole domain, differentiable, and used only inside of it."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.envs import CartPole, CartPoleState
from rljax.envs.trigonometry import DOMAIN, sin_cos

pytestmark = pytest.mark.usefixtures("optimised")

BOUND = 1.3e-7  # 1.2e-7 is claimed: two roundings of numbers near 1
SIZE = 1 << 20
compiled = jax.jit(sin_cos)


@functools.cache
def angles():
    """float32 rows of one size, so that the function compiles once."""
    random = np.random.default_rng(0)
    quarter_turns = (
        np.arange(-SIZE // 2, SIZE // 2) % 10431 - 5215
    )  # every multiple of pi/4 in the domain, and its neighbours
    near = (quarter_turns * (np.pi / 4)).astype(np.float32)
    ulps = random.integers(-2, 3, SIZE).astype(np.float32)
    rows = {
        "one turn": np.linspace(-2 * np.pi, 2 * np.pi, SIZE),
        "living poles": np.linspace(-0.25, 0.25, SIZE),
        "whole domain": np.linspace(-DOMAIN, DOMAIN, SIZE),
        "random": random.uniform(-DOMAIN, DOMAIN, SIZE),
        "all magnitudes": np.exp(random.uniform(np.log(1e-38), np.log(DOMAIN), SIZE)) * random.choice([-1, 1], SIZE),
        "quadrant borders": near + ulps * np.spacing(np.abs(near)),
    }
    rows = {name: np.clip(row, -DOMAIN, DOMAIN).astype(np.float32) for name, row in rows.items()}
    assert all(row.shape == (SIZE,) for row in rows.values())
    return rows


def close(computed, exact, bound):
    assert np.abs(np.asarray(computed, np.float64) - exact).max() <= bound


@pytest.mark.parametrize(
    "name", ["one turn", "living poles", "whole domain", "random", "all magnitudes", "quadrant borders"]
)
def test_sin_and_cos_are_right_to_a_rounding(name):
    row = angles()[name]
    sin, cos = compiled(row)
    assert sin.dtype == cos.dtype == jnp.float32
    close(sin, np.sin(row.astype(np.float64)), BOUND)
    close(cos, np.cos(row.astype(np.float64)), BOUND)
    close(np.square(np.float64(sin)) + np.square(np.float64(cos)), 1.0, 4 * BOUND)


def test_eager_is_compiled():
    row = angles()["random"][:1000]
    close(sin_cos(row)[0], np.sin(row.astype(np.float64)), BOUND)
    close(sin_cos(row)[1], np.cos(row.astype(np.float64)), BOUND)


def test_symmetries_and_fixed_points():
    row = angles()["whole domain"][::64]
    sin, cos = compiled(row)
    sin_back, cos_back = compiled(-row)
    np.testing.assert_array_equal(sin_back, -sin)
    np.testing.assert_array_equal(cos_back, cos)
    sin, cos = sin_cos(jnp.float32([0.0, np.pi / 2, -np.pi / 2, np.pi, -np.pi, 2 * np.pi]))
    np.testing.assert_allclose(sin, [0, 1, -1, 0, 0, 0], atol=2.5e-7)  # pi in float32 misses pi by as much
    np.testing.assert_allclose(cos, [1, 0, 0, -1, -1, 1], atol=2.5e-7)
    assert all(np.isnan(x).all() for x in sin_cos(jnp.float32([np.nan, np.inf, -np.inf])))


def test_small_angles_keep_their_relative_precision():
    """A pole that hardly leans is where balancing happens: the sine of a small angle is right to its own last digits."""
    row = np.geomspace(1e-30, np.pi / 4, 100_000).astype(np.float32)
    sin, _ = compiled(row)
    exact = np.sin(row.astype(np.float64))
    assert (np.abs(np.float64(sin) - exact) / exact).max() <= 2.5e-7


def test_derivatives_are_each_other():
    row = np.concatenate([angles()[name][::32] for name in ("one turn", "whole domain", "random")])
    _, (d_sin, d_cos) = jax.jit(lambda x: jax.jvp(sin_cos, (x,), (jnp.ones_like(x),)))(row)
    exact = row.astype(np.float64)
    close(d_sin, np.cos(exact), 1e-6)  # the derivative of a minimax polynomial is a little worse than the polynomial
    close(d_cos, -np.sin(exact), 1e-6)
    back = jax.jit(jax.vmap(jax.grad(lambda x: sin_cos(x)[0])))(row)
    np.testing.assert_allclose(back, d_sin, rtol=0, atol=2.5e-7)


def test_other_precisions_take_xlas():
    with jax.enable_x64(True):
        row = jnp.asarray(angles()["random"][:4096], jnp.float64)
        sin, cos = sin_cos(row)
        assert sin.dtype == cos.dtype == jnp.float64
        close(sin, np.sin(np.asarray(row)), 1e-15)
        close(cos, np.cos(np.asarray(row)), 1e-15)
    half = jnp.asarray([0.5, 1.5], jnp.bfloat16)
    assert sin_cos(half)[0].dtype == jnp.bfloat16


# CartPole takes the fast pair only where it is proven


def primitives(function, *arguments):
    return {str(equation.primitive) for equation in jax.make_jaxpr(function)(*arguments).eqns}


def state_at(angle):
    return CartPoleState(*jnp.float32([0.0, 0.0, angle, 0.0]))


@pytest.mark.parametrize(
    ("env", "fast"),
    [
        (CartPole(), True),
        (CartPole(angle_threshold=3.0), True),
        (CartPole(angle_threshold=1e4), False),
        (CartPole(angle_threshold=float("inf")), False),
        (CartPole(angle_threshold=jnp.float32(0.2)), False),
    ],
)
def test_cartpole_falls_back_where_the_domain_is_not_known(env, fast):
    used = primitives(env.dynamics, state_at(0.1), jnp.int32(1))
    assert ({"sin", "cos"} & used == set()) if fast else ({"sin", "cos"} <= used)


def test_cartpole_falls_back_where_the_threshold_is_traced():
    assert {"sin", "cos"} <= primitives(lambda env: env.dynamics(state_at(0.1), jnp.int32(1)), CartPole())
    swept = lambda threshold: dataclasses.replace(CartPole(), angle_threshold=threshold).dynamics(
        state_at(0.1), jnp.int32(1)
    )
    assert {"sin", "cos"} <= primitives(jax.vmap(swept), jnp.float32([0.1, 1e5]))


def test_fallback_is_right_where_the_fast_pair_is_not():
    """A pole that may spin for ever: angles beyond the domain."""
    spinning = CartPole(angle_threshold=float("inf"), position_threshold=float("inf"))
    for angle in np.float32([1e5, -3e6, 12345678.0]):
        ours = spinning.dynamics(state_at(angle), jnp.int32(1))
        turned = np.arctan2(np.sin(np.float64(angle)), np.cos(np.float64(angle)))
        same = CartPole().dynamics(state_at(turned), jnp.int32(1))
        chex.assert_trees_all_close(ours._replace(angle=0.0), same._replace(angle=0.0), atol=1e-6)
    assert np.abs(sin_cos(jnp.float32(12345678.0))[0] - np.sin(12345678.0)) > 1e-3  # and there the fast one is not


def test_both_roads_agree_on_living_poles():
    state = CartPoleState(*jnp.float32(np.random.default_rng(0).uniform(-0.2, 0.2, (4, 512))))
    step = lambda env: jax.vmap(env.dynamics, (0, None))(state, jnp.int32(0))
    chex.assert_trees_all_close(step(CartPole()), step(CartPole(angle_threshold=jnp.float32(0.2))), rtol=0, atol=1e-6)
