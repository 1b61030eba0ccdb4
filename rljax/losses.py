"""Losses: scalars whose negative gradient is the learning rule. Weights and targets are constants to them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax import checks


def policy_gradient_loss(
    log_prob_tm1: Array,
    weight_t: Array,
    valid: Array | None = None,
    *,
    baseline_tm1: Array | None = None,
    entropy_tm1: Array | None = None,
    entropy_bonus: ArrayLike = 0.0,
) -> Array:
    """Make actions more likely in proportion to how well they turned out (the score function, REINFORCE).

        L = -mean_t ((w_t - b(o_{t-1})) log pi(a_{t-1} | o_{t-1}) + beta H(pi(. | o_{t-1})))

    A baseline b that does not depend on the action lowers the variance of the gradient and leaves its mean as it is.

    Args:
      log_prob_tm1: [...] log-probability of the actions taken, as a function of the parameters.
      weight_t: [...] same shape: returns or advantages, usually normalised.
      valid: [...] bool, same shape: False marks padding.
      baseline_tm1: [...] b, same shape.
      entropy_tm1: [...] H [nat], same shape, as a function of the parameters.
      entropy_bonus: [] beta; may be traced.

    Returns:
      []. Gradient reaches `log_prob_tm1` and `entropy_tm1`.

    Errors:
      ValueError: unequal shapes, (B,) against (B, 1) included.

    Example:
      >>> float(policy_gradient_loss(jnp.log(jnp.array([0.5, 0.25])), jnp.array([1., -1.])))
      -0.3465735912322998

    Williams (1992); Sutton & Barto (2018), sec. 13.3; Geron (2022), ch. 18, "Policy gradients".
    """
    optional = {"baseline_tm1": baseline_tm1, "entropy_tm1": entropy_tm1, "valid": valid}
    given = {name: value for name, value in optional.items() if value is not None}
    checks.same_shape(log_prob_tm1=log_prob_tm1, weight_t=weight_t, **given)
    weight_t = weight_t if baseline_tm1 is None else weight_t - baseline_tm1
    weight_t, log_prob_tm1 = _without_padding(valid, jax.lax.stop_gradient(weight_t), log_prob_tm1)
    gain = weight_t * log_prob_tm1
    return -masked_mean(gain if entropy_tm1 is None else gain + entropy_bonus * entropy_tm1, valid)


def value_loss(v_tm1: Array, target_t: Array, valid: Array | None = None) -> Array:
    """Half the mean squared error of a learned baseline.

        L = mean_t (target_t - v_{t-1})^2 / 2

    Args:
      v_tm1: [...] predictions, as a function of the parameters.
      target_t: [...] same shape: returns.
      valid: [...] bool.

    Returns:
      []. Gradient reaches `v_tm1` alone.

    Example:
      >>> float(value_loss(jnp.array([1., 2.]), jnp.array([3., 2.])))
      1.0
    """
    checks.same_shape(v_tm1=v_tm1, target_t=target_t, **({} if valid is None else {"valid": valid}))
    (error,) = _without_padding(valid, jax.lax.stop_gradient(target_t) - v_tm1)
    return masked_mean(0.5 * jnp.square(error), valid)


def squared(error: Array) -> Array:
    """Half the square, element by element: error^2 / 2.

    Example:
      >>> squared(jnp.array([-1.0, 3.0])).tolist()
      [0.5, 4.5]
    """
    return 0.5 * jnp.square(error)


def huber(error: Array, delta: float | Array = 1.0) -> Array:
    """The square for small errors, a straight line for large ones: no gradient is larger than `delta`.

        error^2 / 2 where |error| <= delta, else delta (|error| - delta / 2)

    Example:
      >>> huber(jnp.array([-0.5, 3.0])).tolist()
      [0.125, 2.5]

    Huber (1964), Robust estimation of a location parameter.
    """
    inside = jnp.clip(error, -delta, delta)
    return inside * (error - 0.5 * inside)


def masked_mean(x: Array, valid: Array | None = None) -> Array:
    """The mean of x over valid entries, 0 if there are none; what stands at invalid ones, NaN included, has no effect.

    Example:
      >>> float(masked_mean(jnp.array([1., 3., jnp.nan]), jnp.array([True, True, False])))
      2.0
    """
    if valid is None:
        return jnp.mean(x)
    checks.same_shape(x=x, valid=valid)
    checks.boolean(valid=valid)
    return jnp.sum(jnp.where(valid, x, 0.0)) / jnp.maximum(valid.astype(x.dtype).sum(), 1.0)


def _without_padding(valid: Array | None, *arrays: Array) -> tuple[Array, ...]:
    """Zeros at padding, before anything is multiplied: in a gradient 0 * NaN is NaN."""
    return arrays if valid is None else tuple(jnp.where(valid, array, 0.0) for array in arrays)
