"""Reward shaping: other rewards than the task's own, to learn from sooner. Learners take them; reports never show them.

A shaping is a function of one `Transition` to the reward to learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.structs import Transition

Shaping = Callable[[Transition], Array]


def angle_penalty(transition: Transition) -> Array:
    """The chapter notes' CartPole shaping: a pole that leans is worth less.

        r' = r - min(|angle|, 0.7)

    Not potential-based: it may change which policy is best, and does if leaning is the price of a longer life.

    Args:
      transition: one step of CartPole; the angle [rad] is that of the arrival.

    Errors:
      ValueError: another observation than CartPole's, or many at once.

    Example:
      >>> import numpy as np
      >>> t = Transition(*[None] * 9)._replace(reward=jnp.float32(1), next_observation=np.float32([0, 0, -0.25, 0]))
      >>> float(angle_penalty(t))
      0.75
    """
    if jnp.shape(transition.next_observation) != (4,):
        raise ValueError(
            f"next_observation has shape {jnp.shape(transition.next_observation)}; expected one of CartPole's, (4,). "
            "For many steps, wrap the function in jax.vmap."
        )
    angle = jnp.abs(transition.next_observation[2])
    return transition.reward - jnp.minimum(angle, 0.7)


def potential_based(potential: Callable[[Any], Array], gamma: ArrayLike) -> Shaping:
    """Shaping that leaves every optimal policy optimal: what a potential gains, discounted as the returns are.

        r' = r + gamma phi(o_t) - phi(o_{t-1}),    phi = 0 where the episode terminates

    Along any episode the additions telescope to -phi(o_0), which no action can change.

    Args:
      potential: phi, a function of one observation to [].
      gamma: the discount of the learner; with another one the theorem fails.

    Returns:
      The shaping.

    Errors:
      ValueError: gamma outside [0, 1].

    Example:
      >>> upright = potential_based(lambda observation: -jnp.abs(observation[2]), gamma=0.95)

    Ng, Harada & Russell (1999), theorem 1.
    """
    checks.function("potential", potential, "lambda observation: -jnp.abs(observation[2])")
    checks.real("gamma", gamma, 0, 1)

    def shaping(transition: Transition) -> Array:
        arrival = jnp.where(transition.terminated, 0.0, potential(transition.next_observation))
        return transition.reward + gamma * arrival - potential(transition.observation)

    return shaping
