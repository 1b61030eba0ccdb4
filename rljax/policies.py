"""Action choice: from what a network or a table says to an action.

A policy's output is a `Distribution`'s parameter for one state; `mask` [A] is True where an action is available, and at
least one must be. A masked action is never chosen, and log-probabilities and entropies stay finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import checks, noise
from rljax.structs import floats


class Distribution(NamedTuple):
    """Four functions of one parameter array: `bernoulli` and `categorical` below."""

    sample: Callable[..., Array]  # (key, parameter, mask=None) -> action
    mode: Callable[..., Array]  # (parameter, mask=None) -> action
    log_prob: Callable[..., Array]  # (parameter, action, mask=None) -> []
    entropy: Callable[..., Array]  # (parameter, mask=None) -> []


def angle_policy(observation: Array, mask: Array | None = None) -> Array:
    """The chapter's hard-coded CartPole policy: push towards the side that the pole leans to.

        a = 0 if angle < 0 else 1

    Args:
      observation: [4] position, velocity, angle, angular velocity.
      mask: [2] bool.

    Errors:
      ValueError: another shape.

    Example:
      >>> int(angle_policy(jnp.array([0., 0., -0.1, 0.])))
      0

    Geron (2022), ch. 18, "Introduction to OpenAI Gym": 41.7 steps on average.
    """
    checks.same_shape(observation=observation, four_numbers=np.zeros(4))
    return _available(observation[2] >= 0, mask)


def greedy(q: Array, mask: Array | None = None) -> Array:
    """The available action of highest value, the first of equals.

    Args:
      q: [A] action values.
      mask: [A] bool.

    Example:
      >>> int(greedy(jnp.array([1., 3., 2.]), jnp.array([True, False, True])))
      2
    """
    checks.rank(1, q=q)
    q = floats(q)
    if mask is None:
        return jnp.argmax(q).astype(jnp.int32)
    checks.same_shape(q=q, mask=mask)
    checks.boolean(mask=mask)
    lowest = jnp.finfo(q.dtype).min  # an available -inf still beats the masked
    return jnp.argmax(jnp.where(mask, jnp.maximum(q, lowest), -jnp.inf)).astype(jnp.int32)


def epsilon_greedy(key: Array, q: Array, epsilon: ArrayLike, mask: Array | None = None) -> Array:
    """Greedy, but with probability `epsilon` uniform over the available actions.

        pi(a) = epsilon / |available| + (1 - epsilon) [a = greedy]

    Args:
      key: typed random key.
      q: [A] action values.
      epsilon: [] in [0, 1]; may be traced.
      mask: [A] bool.

    Example:
      >>> int(epsilon_greedy(jax.random.key(0), jnp.array([1., 3., 2.]), 0.0))
      1

    Sutton & Barto (2018), sec. 2.2; Geron (2022), ch. 18, "Exploration policies".
    """
    checks.key(key)
    checks.real("epsilon", epsilon, 0, 1)
    key_coin, key_action = jax.random.split(key)
    coin = noise.uniforms(key_coin, 1)[0]
    explore = coin < jnp.asarray(epsilon, coin.dtype)
    random_action = categorical.sample(key_action, jnp.zeros(jnp.shape(q)), mask)
    return jnp.where(explore, random_action, greedy(q, mask))


def softmax(q: Array, temperature: ArrayLike = 1.0, mask: Array | None = None) -> Array:
    """Probabilities that grow with the value: the colder, the greedier.

        pi(a) = exp(q(a) / T) / sum_b exp(q(b) / T)        over the available actions

    Args:
      q: [A] action values.
      temperature: T > 0; may be traced.
      mask: [A] bool.

    Returns:
      [A], 0 where not available.

    Example:
      >>> softmax(jnp.array([0.0, 9.0, 0.0]), 0.5, jnp.array([True, False, True])).tolist()
      [0.5, 0.0, 0.5]

    Sutton & Barto (2018), eq. 13.2.
    """
    checks.real("temperature", temperature, 0, above=True)
    checks.rank(1, q=q)
    q = _finite(floats(q))
    mask = jnp.ones(q.shape, bool) if mask is None else mask
    checks.same_shape(q=q, mask=mask)
    checks.boolean(mask=mask)
    highest = jax.lax.stop_gradient(jnp.max(q, where=mask, initial=-jnp.inf))
    cold = jnp.maximum(jnp.asarray(temperature, q.dtype), jnp.finfo(q.dtype).tiny)  # 0 / 0 is NaN
    below = jnp.where(mask, (q - highest) / cold, 0.0)
    weight = jnp.where(mask, jnp.exp(below), 0.0)
    return weight / weight.sum()


def _bernoulli_sample(key: Array, logit: Array, mask: Array | None = None) -> Array:
    checks.rank(0, logit=logit)
    logit = _single(floats(logit))
    # u < sigmoid(logit), as odds: two operations that XLA never computes twice, one of noise and one of the network.
    # u is the middle of its cell, so that both odds are finite and above zero, and neither action is favoured.
    u = (noise.uniforms(key, 1)[0] + 2**-24).astype(logit.dtype)
    return _available(u / (1.0 - u) < jnp.exp(logit), mask)


def _bernoulli_mode(logit: Array, mask: Array | None = None) -> Array:
    checks.rank(0, logit=logit)
    return _available(floats(logit) > 0, mask)


def _available(action: Array, mask: Array | None) -> Array:
    """1 if `action`, 0 if not; the other one where that is not available."""
    if mask is not None:
        _two_of(mask)
        action = mask[1] & (action | ~mask[0])
    return action.astype(jnp.int32)


def _bernoulli_log_prob(logit: Array, action: Array, mask: Array | None = None) -> Array:
    checks.rank(0, logit=logit)
    checks.action(action, 2)
    logit = _finite(floats(logit))
    log_prob = jnp.minimum(jnp.where(action == 1, logit, -logit), 0.0) - _softplus_tail(logit)
    if mask is None:
        return log_prob
    _two_of(mask)
    return jnp.where(mask.all(), log_prob, jnp.where(mask[action], 0.0, _lowest(logit)))


def _bernoulli_entropy(logit: Array, mask: Array | None = None) -> Array:
    checks.rank(0, logit=logit)
    logit = _finite(floats(logit))
    entropy = jnp.maximum(logit, 0.0) + _softplus_tail(logit) - logit * jax.nn.sigmoid(logit)
    if mask is None:
        return entropy
    _two_of(mask)
    return jnp.where(mask.all(), entropy, 0.0)


def _two_of(mask: Array) -> None:
    checks.boolean(mask=mask)
    checks.same_shape(mask=mask, two_actions=np.zeros(2))


def _softplus_tail(logit: Array) -> Array:
    """log(1 + exp(-|logit|)): log sigmoid(x) = min(x, 0) - tail, the same tail for both actions and the entropy."""
    return jnp.log1p(jnp.exp(jnp.minimum(logit, -logit)))  # as -|logit|, but with the right derivative at zero: 0


def _single(x: Array) -> Array:
    """At least float32: noise rounded to 8 or 11 bits has ties, and ends that are drawn."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def _finite(logits: Array) -> Array:
    """Infinities as the largest numbers there are, which are as certain: inf - inf is NaN. A NaN stays one."""
    most = float(jnp.finfo(logits.dtype).max)
    return jnp.clip(logits, -most, most)


def _lowest(logits: Array) -> float:
    return float(jnp.finfo(logits.dtype).min) / 4  # finite, and so are its differences; its exponential is zero


def _categorical_sample(key: Array, logits: Array, mask: Array | None = None) -> Array:
    checks.key(key)
    checks.rank(1, logits=logits)
    logits = _single(floats(logits))
    # Gumbel's trick: argmax(logits + Gumbel noise) has exactly the softmax law.
    return greedy(logits + jax.random.gumbel(noise.fused(key), logits.shape, logits.dtype), mask)


def _categorical_log_probs(logits: Array, mask: Array | None) -> Array:
    checks.rank(1, logits=logits)
    logits = _finite(floats(logits))
    lowest = _lowest(logits)
    if mask is None:
        mask = jnp.ones(logits.shape, bool)
    checks.same_shape(logits=logits, mask=mask)
    checks.boolean(mask=mask)
    # Below the highest available logit first: else a masked one, put to the lowest, could stand above an available one.
    highest = jax.lax.stop_gradient(jnp.max(logits, where=mask, initial=-jnp.inf))
    below = jnp.where(mask, jnp.maximum(logits - highest, lowest), lowest)
    return jnp.maximum(jax.nn.log_softmax(below), lowest)


def _categorical_log_prob(logits: Array, action: Array, mask: Array | None = None) -> Array:
    checks.rank(1, logits=logits)
    checks.action(action, jnp.shape(logits)[0])
    return _categorical_log_probs(logits, mask)[action]


def _categorical_entropy(logits: Array, mask: Array | None = None) -> Array:
    log_p = _categorical_log_probs(logits, mask)
    return -jnp.sum(jnp.exp(log_p) * log_p)


bernoulli = Distribution(_bernoulli_sample, _bernoulli_mode, _bernoulli_log_prob, _bernoulli_entropy)
"""Two actions, one logit []: P(a = 1) = sigmoid(logit). The chapter's single sigmoid unit."""

categorical = Distribution(_categorical_sample, greedy, _categorical_log_prob, _categorical_entropy)
"""A actions, logits [A]: P(a) = exp(logits[a]) / sum_b exp(logits[b]), over the available actions (softmax)."""
