"""Losses: scalars whose negative gradient is the learning rule. Weights and targets are constants to them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.structs import floats


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
      ValueError: unequal shapes, (B,) against (B, 1) included; a bonus without entropies.

    Example:
      >>> float(policy_gradient_loss(jnp.log(jnp.array([0.5, 0.25])), jnp.array([1., -1.])))
      -0.3465735912322998

    Williams (1992); Sutton & Barto (2018), sec. 13.3; Geron (2022), ch. 18, "Policy gradients".
    """
    optional = {"baseline_tm1": baseline_tm1, "entropy_tm1": entropy_tm1, "valid": valid}
    given = {name: value for name, value in optional.items() if value is not None}
    checks.same_shape(log_prob_tm1=log_prob_tm1, weight_t=weight_t, **given)
    checks.real("entropy_bonus", entropy_bonus, above=True, below=True)
    if entropy_tm1 is None and (isinstance(entropy_bonus, jax.core.Tracer) or entropy_bonus != 0):
        raise ValueError(
            f"entropy_bonus is {entropy_bonus} and entropy_tm1 None; expected both. Give the entropies too."
        )
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
    return 0.5 * jnp.square(floats(error))


def huber(error: Array, delta: ArrayLike = 1.0) -> Array:
    """The square for small errors, a straight line for large ones: no gradient is larger than `delta`.

        error^2 / 2 where |error| <= delta, else delta (|error| - delta / 2)

    Args:
      error: [...]
      delta: [] above 0; may be traced.

    Returns:
      [...]

    Errors:
      ValueError: a delta that is not above 0.

    Example:
      >>> huber(jnp.array([-0.5, 3.0])).tolist()
      [0.125, 2.5]

    Huber (1964), Robust estimation of a location parameter.
    """
    checks.real("delta", delta, 0, above=True)
    error = floats(error)
    delta = jnp.asarray(delta, error.dtype)
    inside = jnp.clip(error, -delta, delta)
    return inside * (error - 0.5 * inside)


def td_loss(
    prediction_tm1: Array,
    target_t: Array,
    weight: Array | None = None,
    penalty: Callable[[Array], Array] = squared,
) -> Array:
    """The mean penalty of TD errors, each counting `weight` times.

        L = mean_i (w_i penalty(target_i - prediction_i))        not divided by the sum of the weights

    Args:
      prediction_tm1: [...] values of what was done, as a function of the parameters.
      target_t: [...] same shape: see `backups`.
      weight: [...] same shape: importance weights, as `replay` gives them.
      penalty: of each error: `squared`, `huber`, or any other function, element by element.

    Returns:
      []. Gradient reaches `prediction_tm1` alone.

    Errors:
      ValueError: unequal shapes, (B,) against (B, 1) included.
      TypeError: a penalty that is no function.

    Example:
      >>> float(td_loss(jnp.array([1., 2.]), jnp.array([3., 5.]), jnp.array([1., 0.5]), huber))
      1.375

    Mnih et al. (2015); with weights Schaul et al. (2016), alg. 1.
    """
    checks.same_shape(
        prediction_tm1=prediction_tm1, target_t=target_t, **({} if weight is None else {"weight": weight})
    )
    checks.function("penalty", penalty, "losses.squared or losses.huber")
    loss = penalty(jax.lax.stop_gradient(floats(target_t)) - floats(prediction_tm1))
    return jnp.mean(loss if weight is None else jax.lax.stop_gradient(jnp.asarray(weight, loss.dtype)) * loss)


def categorical_projection(support_target: Array, probs: Array, support: Array) -> Array:
    """A distribution moved onto fixed atoms: what lies between two of them is shared, the nearer gets more.

        p_i = sum_j probs_j max(0, 1 - |clip(y_j, z_1, z_K) - z_i| / (z_2 - z_1))

    Keeps the mass, and the mean too unless something lies beyond the first or the last atom.

    Args:
      support_target: [J] y, where the mass lies, in any order: r_t + discount_t z.
      probs: [J] the mass.
      support: [K] z, ascending at equal distances.

    Returns:
      [K]. Gradient reaches all arguments.

    Errors:
      ValueError: unequal shapes of y and mass; fewer than two atoms, or atoms not ascending at equal distances.

    Example:
      >>> z = jnp.array([0., 1., 2.])
      >>> categorical_projection(0.5 + 0.5 * z, jnp.array([0.2, 0.3, 0.5]), z).tolist()
      [0.1, 0.65, 0.25]

    Bellemare, Dabney & Munos (2017), eq. 7.
    """
    checks.rank(1, support_target=support_target, support=support)
    checks.same_shape(support_target=support_target, probs=probs)
    _check_support(support)
    last = support.shape[0] - 1
    # In steps of the support: rounding cannot take mass away, since 1 - x and x add up to 1.
    place = jnp.clip((support_target - support[0]) / (support[-1] - support[0]) * last, 0.0, last)
    distance = jnp.abs(place[None, :] - jnp.arange(last + 1, dtype=place.dtype)[:, None])
    return jnp.maximum(1.0 - distance, 0.0) @ probs


def categorical_loss(logits_tm1: Array, probs_target: Array) -> Array:
    """Cross-entropy between a predicted distribution and its target.

        L = -sum_i probs_i log softmax(logits)_i

    Args:
      logits_tm1: [K] of the atoms, as a function of the parameters.
      probs_target: [K] the target: `categorical_projection`.

    Returns:
      [] in nat, at least the entropy of the target. Gradient reaches `logits_tm1` alone: softmax(logits) - probs.

    Errors:
      ValueError: more than one axis or unequal shapes.

    Example:
      >>> float(categorical_loss(jnp.log(jnp.array([0.5, 0.25, 0.25])), jnp.array([0., 1., 0.])))
      1.386294

    Bellemare, Dabney & Munos (2017), alg. 1.
    """
    checks.rank(1, logits_tm1=logits_tm1)
    checks.same_shape(logits_tm1=logits_tm1, probs_target=probs_target)
    return -jnp.sum(jax.lax.stop_gradient(probs_target) * jax.nn.log_softmax(logits_tm1))


def quantile_loss(quantiles_tm1: Array, target_quantiles: Array, delta: ArrayLike = 1.0) -> Array:
    """Each quantile is pulled up with weight tau by what lies above it, and down with 1 - tau by what lies below.

        L = sum_i mean_j |tau_i - 1{u_ij < 0}| huber(u_ij, delta) / delta,    u_ij = y_j - theta_i,    tau_i = (2i + 1) / 2K

    Args:
      quantiles_tm1: [K] theta, i = 0 ... K - 1, as a function of the parameters.
      target_quantiles: [J] y, equally likely returns, in any order.
      delta: [] up to which an error counts by its square; 0 is quantile regression, |u| itself. May be traced.

    Returns:
      []. Gradient reaches `quantiles_tm1` alone.

    Errors:
      ValueError: more than one axis; a negative delta.

    Example:
      >>> float(quantile_loss(jnp.array([0., 2.]), jnp.array([1., 5.]), 0.0))  # (1/4 + 5/4) / 2 + (1/4 + 9/4) / 2
      2.0

    Dabney et al. (2018), Distributional reinforcement learning with quantile regression; by delta as in Dabney et al. (2018),
    Implicit quantile networks, eq. 3: so that 0 is the limit of small ones.
    """
    checks.rank(1, quantiles_tm1=quantiles_tm1, target_quantiles=target_quantiles)
    checks.real("delta", delta, 0, below=True)
    quantiles_tm1, target_quantiles = floats(quantiles_tm1), floats(target_quantiles)
    count, dtype = quantiles_tm1.shape[0], quantiles_tm1.dtype
    error = jax.lax.stop_gradient(target_quantiles)[None, :] - quantiles_tm1[:, None]
    tau = (jnp.arange(count, dtype=dtype)[:, None] + 0.5) / count
    delta = jnp.asarray(delta, dtype)
    slope = jnp.where(delta == 0, jnp.sign(error), jnp.clip(error / jnp.where(delta == 0, 1.0, delta), -1.0, 1.0))
    huber_by_delta = slope * (error - 0.5 * delta * slope)
    return jnp.sum(jnp.mean(jnp.where(error < 0, 1.0 - tau, tau) * huber_by_delta, axis=1))


def masked_mean(x: Array, valid: Array | None = None) -> Array:
    """The mean of x over valid entries, 0 if there are none; what stands at invalid ones, NaN included, has no effect.

    Example:
      >>> float(masked_mean(jnp.array([1., 3., jnp.nan]), jnp.array([True, True, False])))
      2.0
    """
    if valid is None:
        return jnp.mean(floats(x))
    checks.same_shape(x=x, valid=valid)
    checks.boolean(valid=valid)
    return jnp.sum(jnp.where(valid, x, 0.0)) / jnp.maximum(valid.astype(x.dtype).sum(), 1.0)


def _without_padding(valid: Array | None, *arrays: Array) -> tuple[Array, ...]:
    """Zeros at padding, before anything is multiplied: in a gradient 0 * NaN is NaN."""
    return arrays if valid is None else tuple(jnp.where(valid, array, 0.0) for array in arrays)


def _check_support(support: Array) -> None:
    checks.integer("the number of atoms", support.shape[0], 2)
    if isinstance(support, jax.core.Tracer):
        return
    steps = np.diff(np.asarray(support, np.float64))
    if not np.ptp(steps) < 1e-3 * steps.mean():  # so that neither equal atoms nor NaN pass
        raise ValueError(
            f"support has steps between {steps.min():g} and {steps.max():g}; expected ascending atoms at equal distances. "
            "Take jnp.linspace(lowest, highest, atoms)."
        )
