"""Losses: scalars whose negative gradient is the learning rule. Weights and targets are constants to them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from rljax import checks


def policy_gradient_loss(log_prob_tm1: Array, weight_t: Array, valid: Array | None = None) -> Array:
    """Make actions more likely in proportion to how well they turned out (the score function, REINFORCE).

        L = -mean_t w_t log pi(a_{t-1} | o_{t-1})

    Args:
      log_prob_tm1: [...] log-probability of the actions taken, as a function of the parameters.
      weight_t: [...] same shape: returns or advantages, usually normalised.
      valid: [...] bool, same shape: False marks padding.

    Returns:
      []. Gradient reaches `log_prob_tm1` alone.

    Errors:
      ValueError: unequal shapes, (B,) against (B, 1) included.

    Example:
      >>> float(policy_gradient_loss(jnp.log(jnp.array([0.5, 0.25])), jnp.array([1., -1.])))
      -0.3465735912322998

    Williams (1992); Sutton & Barto (2018), sec. 13.3; Geron (2022), ch. 18, "Policy gradients".
    """
    checks.same_shape(log_prob_tm1=log_prob_tm1, weight_t=weight_t)
    return -masked_mean(jax.lax.stop_gradient(weight_t) * log_prob_tm1, valid)


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
    checks.same_shape(v_tm1=v_tm1, target_t=target_t)
    return masked_mean(0.5 * jnp.square(jax.lax.stop_gradient(target_t) - v_tm1), valid)


def masked_mean(x: Array, valid: Array | None = None) -> Array:
    """The mean of x over valid entries, 0 if there are none; what stands at invalid ones, NaN included, has no effect.

    Example:
      >>> float(masked_mean(jnp.array([1., 3., jnp.nan]), jnp.array([True, True, False])))
      2.0
    """
    if valid is None:
        return jnp.mean(x)
    checks.same_shape(x=x, valid=valid)
    return jnp.sum(jnp.where(valid, x, 0.0)) / jnp.maximum(valid.astype(x.dtype).sum(), 1.0)
