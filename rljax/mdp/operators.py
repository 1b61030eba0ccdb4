"""Bellman's operators: one backup of values or action values, exactly, from the model.

Values v [S] are 0 in terminal states; action values q are [S, A], and -inf where an action is not available (in what people
read; inside, masks do that work). Every operator is a function of `(mdp, values)`, for `jit`, `vmap` and `grad`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.mdp.model import TabularMDP


class Sweep(NamedTuple):
    """One full backup."""

    value: Array  # [S] T v
    policy: Array  # [S] int32, greedy in v: the first of equals


def action_values(mdp: TabularMDP, v: Array) -> Array:
    """[A, S] action values, whether available or not: the kernel of everything here, with the state axis last.

    q(s, a) = r(s, a) + gamma sum_s' P(s' | s, a) v(s')
    """
    return mdp.expected_reward + mdp.gamma * mdp.transitions.expect(v)


def sweep(mdp: TabularMDP, v: Array) -> Sweep:
    """The backup and its greedy policy, in one pass over the model."""
    return choose(mdp, action_values(mdp, v))


def choose(mdp: TabularMDP, q: Array) -> Sweep:
    """The best of action values [A, S] among the available."""
    q = jnp.where(mdp.mask.T, q, -jnp.inf)
    if mdp.num_actions > 16:
        best, policy = jnp.max(q, axis=0), jnp.argmax(q, axis=0).astype(jnp.int32)
    else:  # a running comparison fuses with the backup; a reduction would store q first
        best, policy = q[0], jnp.zeros(q.shape[1], jnp.int32)
        for a in range(1, mdp.num_actions):
            better = q[a] > best
            best, policy = jnp.where(better, q[a], best), jnp.where(better, a, policy)
    return Sweep(jnp.where(mdp.terminal, 0.0, best), policy)


def q_values(mdp: TabularMDP, v: Array) -> Array:
    """What each action is worth if v is what follows.

        q(s, a) = sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Args:
      mdp: the problem.
      v: [S], 0 in terminal states.

    Returns:
      [S, A]; -inf where an action is not available, 0 in terminal states.

    Example:
      >>> from rljax.mdp import problems
      >>> q_values(problems.chapter_mdp(gamma=0.9), jnp.zeros(3))[0].tolist()
      [7.0, 0.0, 0.0]

    Sutton & Barto (2018), eq. 4.6.
    """
    checks.rank(1, v=v)
    q = jnp.where(mdp.terminal[None], 0.0, action_values(mdp, v))
    return jnp.where(mdp.mask.T, q, -jnp.inf).T


def bellman_optimality(mdp: TabularMDP, v: Array) -> Array:
    """The Bellman optimality operator on values.

        (T v)(s) = max_a sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Monotone, and a contraction by gamma in the maximum norm; its fixed point is V*.

    Args:
      mdp: the problem.
      v: [S].

    Returns:
      [S].

    Example:
      >>> from rljax.mdp import problems
      >>> bellman_optimality(problems.chapter_mdp(gamma=0.9), jnp.zeros(3)).tolist()
      [7.0, 0.0, 32.0]

    Bellman (1957); Geron (2022), ch. 18, "Bellman optimality equation".
    """
    checks.rank(1, v=v)
    return sweep(mdp, v).value


def q_bellman_optimality(mdp: TabularMDP, q: Array) -> Array:
    """The Bellman optimality operator on action values: the chapter's Q-value iteration, one step.

        q'(s, a) = sum_s' P(s' | s, a) (r(s, a, s') + gamma max_a' q(s', a'))

    Args:
      mdp: the problem.
      q: [S, A]; entries of unavailable actions are never looked at.

    Returns:
      [S, A]; -inf where an action is not available.

    Geron (2022), ch. 18, "Q-value iteration".
    """
    checks.rank(2, q=q)
    best = jnp.max(jnp.where(mdp.mask, q, -jnp.inf), axis=1)
    return q_values(mdp, jnp.where(mdp.terminal, 0.0, best))


def policy_operator(mdp: TabularMDP, policy: Array, v: Array) -> Array:
    """The Bellman operator of a policy.

        (T_pi v)(s) = sum_a pi(a | s) sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Args:
      mdp: the problem.
      policy: [S] actions, or [S, A] probabilities.
      v: [S].

    Returns:
      [S].

    Sutton & Barto (2018), eq. 4.4.
    """
    checks.rank(1, v=v)
    return jnp.where(mdp.terminal, 0.0, _under(policy, action_values(mdp, v)))


def reward_under(mdp: TabularMDP, policy: Array) -> Array:
    """[S]: r_pi(s) = sum_a pi(a | s) r(s, a); 0 in terminal states."""
    return jnp.where(mdp.terminal, 0.0, _under(policy, mdp.expected_reward))


def greedy(mdp: TabularMDP, v: Array) -> Array:
    """The policy that looks one step ahead.

        pi(s) = argmax_a q(s, a),   the first of equals, among the available

    Args:
      mdp: the problem.
      v: [S].

    Returns:
      [S] int32.
    """
    checks.rank(1, v=v)
    return sweep(mdp, v).policy


def soft_bellman(mdp: TabularMDP, v: Array, temperature: ArrayLike) -> Array:
    """The entropy-regularised Bellman operator: a maximum that is worth something for the choice it leaves.

        (T v)(s) = tau log sum_a exp(q(s, a) / tau)        over the available actions

    Between T v and T v + tau log A; a contraction by gamma as well.

    Args:
      mdp: the problem.
      v: [S].
      temperature: tau > 0; may be traced.

    Returns:
      [S].

    Ziebart (2010); Haarnoja et al. (2017).
    """
    checks.rank(1, v=v)
    checks.real("temperature", temperature, 0, above=True)
    q = jnp.where(mdp.mask.T, action_values(mdp, v), -jnp.inf)
    return jnp.where(mdp.terminal, 0.0, temperature * jax.nn.logsumexp(q / temperature, axis=0))


def _under(policy: Array, q: Array) -> Array:
    if policy.ndim == 1:
        return jnp.take_along_axis(q, policy[None, :], axis=0)[0]
    return jnp.sum(policy.T * q, axis=0)
