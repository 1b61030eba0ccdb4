"""What follows is a smooth maximum: between the highest value, as the temperature goes to 0, and what all have a share in.

soft_T(q) = T log sum_a exp(q(a) / T)        >= max_a q(a)
mm_T(q)   = T log mean_a exp(q(a) / T)       between mean_a q(a) and max_a q(a)
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks
from rljax.backups.sample import against, checked, highest, td_target
from rljax.structs import floats


def soft_q_target(
    r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, temperature: ArrayLike, mask_t: Array | None = None
) -> Array:
    """What an action is worth if a policy follows that is also paid for its entropy.

        y = r_t + discount_t T log sum_a exp(q_t(a) / T)        over the available actions

    That is max_pi sum_a pi(a) q_t(a) + T H(pi), attained by pi = softmax(q_t / T).

    Args:
      r_t, discount_t: as in `td_target`.
      q_t: [A] action values of the successor.
      temperature: [] T > 0; may be traced.
      mask_t: [A] bool.

    Returns:
      []. Gradient reaches all numbers; q_t by softmax(q_t / T).

    Errors:
      ValueError: q_t of more than one axis, another shape of the mask, a temperature not above 0 or not finite.

    Example:
      >>> float(soft_q_target(1.0, 0.5, jnp.array([4.0, 4.0]), 2.0))  # 4 + 2 log 2
      3.6931471

    Fox, Pakman & Tishby (2016), Taming the noise in reinforcement learning via soft updates; Haarnoja et al. (2017), eq. 3.
    """
    q_t = floats(q_t)
    below, mask, top = _below(q_t, temperature, mask_t)
    return td_target(r_t, discount_t, top + jnp.asarray(temperature, q_t.dtype) * _log_total(below, mask))


def soft_q_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    temperature: ArrayLike,
    mask_t: Array | None = None,
) -> Array:
    """Soft Q-learning: delta = r_t + discount_t T log sum_a exp(q_t(a) / T) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, temperature, mask_t: as in `soft_q_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(soft_q_error(jnp.array([2.0]), 0, 1.0, 0.5, jnp.array([4.0, 4.0]), 2.0))
      1.6931471
    """
    return against(q_tm1, a_tm1, soft_q_target(r_t, discount_t, q_t, temperature, mask_t))


def mellowmax_target(
    r_t: ArrayLike, discount_t: ArrayLike, q_t: Array, temperature: ArrayLike, mask_t: Array | None = None
) -> Array:
    """Q-learning with a maximum that is smooth and yet contracts: it has one fixed point, unlike a softmax policy's mean.

        y = r_t + discount_t T log mean_a exp(q_t(a) / T)        over the available actions

    From the mean of the values (T to infinity) to the highest (T to 0); the paper writes omega for 1 / T.

    Args:
      r_t, discount_t, q_t, temperature, mask_t: as in `soft_q_target`.

    Returns:
      []. Gradient as in `soft_q_target`.

    Errors:
      ValueError: as `soft_q_target`.

    Example:
      >>> float(mellowmax_target(1.0, 0.5, jnp.array([0.0, 1.0986123]), 1.0))  # log((1 + 3) / 2)
      1.3465736

    Asadi & Littman (2017), An alternative softmax operator for reinforcement learning.
    """
    q_t = floats(q_t)
    below, mask, top = _below(q_t, temperature, mask_t)
    count = jnp.maximum(mask.astype(q_t.dtype).sum(), 1.0)
    # Not the logarithm of a number near 1: at a high temperature nothing would be left of it.
    mean = jnp.log1p(jnp.expm1(below).sum() / count)  # at the masked ones 0 adds nothing
    return td_target(r_t, discount_t, top + jnp.asarray(temperature, q_t.dtype) * mean)


def mellowmax_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    temperature: ArrayLike,
    mask_t: Array | None = None,
) -> Array:
    """Mellowmax Q-learning: delta = r_t + discount_t T log mean_a exp(q_t(a) / T) - q_{t-1}(a_{t-1}).

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      r_t, discount_t, q_t, temperature, mask_t: as in `mellowmax_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> float(mellowmax_error(jnp.array([2.0]), 0, 1.0, 0.5, jnp.array([4.0, 4.0]), 2.0))
      1.0
    """
    return against(q_tm1, a_tm1, mellowmax_target(r_t, discount_t, q_t, temperature, mask_t))


def munchausen_target(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    temperature: ArrayLike,
    alpha: ArrayLike,
    clip: ArrayLike,
    mask_tm1: Array | None = None,
    mask_t: Array | None = None,
) -> Array:
    """Soft Q-learning whose reward grows with how sure the policy was of the action: an implicit trust region.

        y = r_t + alpha max(T log pi_{t-1}(a_{t-1}), clip) + discount_t T log sum_a exp(q_t(a) / T)
        pi_{t-1} = softmax(q_{t-1} / T)

    Args:
      q_tm1: [A] action values of the source that its policy is made of: of the target parameters, as `q_t`.
      a_tm1: [] the action taken; an unavailable one has probability 0.
      r_t, discount_t, q_t, temperature: as in `soft_q_target`.
      alpha: [] in [0, 1], the paper's 0.9; 0 is soft Q-learning. May be traced.
      clip: [] at most 0, the paper's -1: the logarithm has no lower bound. May be traced.
      mask_tm1, mask_t: [A] bool, of the source and of the successor.

    Returns:
      []. Gradient reaches all numbers; q_{t-1} unless clipped.

    Errors:
      ValueError: as `soft_q_target`; alpha or clip out of range.

    Example:
      >>> float(munchausen_target(jnp.zeros(2), 0, 1.0, 0.0, jnp.zeros(2), 1.0, 0.5, -1.0))  # 1 - log(2) / 2
      0.65342641

    Vieillard, Pietquin & Geist (2020), Munchausen reinforcement learning, eq. 3 and sec. 4.
    """
    checks.rank(1, q_tm1=q_tm1)
    checks.rank(0, a_tm1=a_tm1)
    if mask_tm1 is not None:
        checks.same_shape(q_tm1=q_tm1, mask_tm1=mask_tm1)
        checks.boolean(mask_tm1=mask_tm1)
    checks.real("alpha", alpha, 0, 1)
    checks.real("clip", clip, high=0)
    q_tm1 = floats(q_tm1)
    dtype = q_tm1.dtype
    below, mask, _ = _below(q_tm1, temperature, mask_tm1)
    clip, log_pi = jnp.asarray(clip, dtype), below[a_tm1] - _log_total(below, mask)
    sure = jnp.where(mask[a_tm1], jnp.maximum(jnp.asarray(temperature, dtype) * log_pi, clip), clip)
    return soft_q_target(r_t + jnp.asarray(alpha, dtype) * sure, discount_t, q_t, temperature, mask_t)


def munchausen_error(
    q_tm1: Array,
    a_tm1: ArrayLike,
    r_t: ArrayLike,
    discount_t: ArrayLike,
    q_t: Array,
    old_tm1: Array,
    temperature: ArrayLike,
    alpha: ArrayLike,
    clip: ArrayLike,
    mask_tm1: Array | None = None,
    mask_t: Array | None = None,
) -> Array:
    """Munchausen Q-learning: delta = y - q_{t-1}(a_{t-1}), y the `munchausen_target`.

    Args:
      q_tm1, a_tm1: as in `sarsa_error`.
      old_tm1: [A] action values of the source by the parameters of `q_t`; those of `q_tm1` in a table.
      r_t, discount_t, q_t, temperature, alpha, clip, mask_tm1, mask_t: as in `munchausen_target`.

    Returns:
      []. Gradient reaches `q_tm1` alone.

    Example:
      >>> q = jnp.zeros(2)
      >>> float(munchausen_error(q + 3.0, 0, 1.0, 0.0, q, q, 1.0, 0.5, -1.0))
      -2.3465736
    """
    target = munchausen_target(old_tm1, a_tm1, r_t, discount_t, q_t, temperature, alpha, clip, mask_tm1, mask_t)
    return against(q_tm1, a_tm1, target)


def _below(q: Array, temperature: ArrayLike, mask: Array | None) -> tuple[Array, Array, Array]:
    """(q - top) / T [A], at most 0, and 0 where masked; the mask; the highest available value, a constant."""
    checks.real("temperature", temperature, 0, above=True, below=True)
    top = lax.stop_gradient(highest(q, mask))
    mask = jnp.ones(q.shape, bool) if mask is None else checked(q, mask)
    return jnp.where(mask, q - top, 0.0) / jnp.asarray(temperature, q.dtype), mask, top


def _log_total(below: Array, mask: Array) -> Array:
    """The logarithm of the sum of exponentials over what is available, 0 if nothing is: nor has that a gradient."""
    total = jnp.where(mask, jnp.exp(below), 0.0).sum()
    return jnp.log(jnp.where(mask.any(), total, 1.0))
