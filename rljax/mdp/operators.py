"""Bellman's operators: one backup of values or action values, exactly, from the model.

    (T v)(s) = max_a q(s, a),    q(s, a) = sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

Values v [S] are 0 in terminal states, whatever is given there; action values q are [S, A], and -inf where an action is
not available (in what people read; inside, masks do that work). Every operator is a function of `(mdp, values)`, for `jit`,
`vmap` and `grad`. For loops there are `sweep` and its parts, whose action values are [A, S]; reduce rewards on arrival to
`expected_reward` before one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.mdp import validation
from rljax.mdp.generated import Generated
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
    """The best of action values [A, S] among the available, the first of equals; value and action 0 in terminal states."""
    q = jnp.where(mdp.mask.T, q, -jnp.inf)
    if mdp.num_actions > 16:
        best, policy = jnp.max(q, axis=0), jnp.argmax(q, axis=0).astype(jnp.int32)
    else:  # a running comparison fuses with the backup; a reduction would store q first
        best, policy = q[0], jnp.zeros(q.shape[1], jnp.int32)
        for a in range(1, mdp.num_actions):
            better = q[a] > best
            best, policy = jnp.where(better, q[a], best), jnp.where(better, jnp.int32(a), policy)
    return Sweep(jnp.where(mdp.terminal, 0.0, best), jnp.where(mdp.terminal, jnp.int32(0), policy))


def q_values(mdp: TabularMDP, v: ArrayLike) -> Array:
    """What each action is worth if v is what follows.

        q(s, a) = sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Args:
      mdp: the problem.
      v: [S]; what stands at terminal states is never looked at.

    Returns:
      [S, A]; -inf where an action is not available, 0 in terminal states. Gradient reaches v, rewards, transitions, gamma.

    Errors:
      ValueError: v has not one number for each state.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[0., 1.], [1., 0.]], [[0., 1.], [0., 1.]]]), jnp.array([1., 3.]), gamma=0.5)
      >>> q_values(mdp, jnp.array([0.0, 4.0])).tolist()
      [[3.0, 1.0], [5.0, 5.0]]

    Sutton & Barto (2018), eq. 4.6.
    """
    q = jnp.where(mdp.terminal[None], 0.0, action_values(mdp, _values(mdp, v)))
    return jnp.where(mdp.mask.T, q, -jnp.inf).T


def bellman_optimality(mdp: TabularMDP, v: ArrayLike) -> Array:
    """The Bellman optimality operator on values: the chapter's value iteration, one step.

        (T v)(s) = max_a sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Monotone, and a contraction by gamma in the maximum norm; its fixed point is V*.

    Args:
      mdp: the problem.
      v: [S].

    Returns:
      [S]. Gradient reaches v, rewards, transitions and gamma, through the best action (where two are, one or both of them).

    Errors:
      ValueError: v has not one number for each state.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[0., 1.], [1., 0.]], [[0., 1.], [0., 1.]]]), jnp.array([1., 3.]), gamma=0.5)
      >>> bellman_optimality(mdp, jnp.array([4.0, 6.0])).tolist()
      [4.0, 6.0]

    Bellman (1957); Geron (2022), ch. 18, "Markov decision processes".
    """
    return sweep(mdp, _values(mdp, v)).value


def q_bellman_optimality(mdp: TabularMDP, q: ArrayLike) -> Array:
    """The Bellman optimality operator on action values: the chapter's Q-value iteration, one step.

        (T q)(s, a) = sum_s' P(s' | s, a) (r(s, a, s') + gamma max_a' q(s', a'))

    Args:
      mdp: the problem.
      q: [S, A]; what stands at actions that are not available is never looked at.

    Returns:
      [S, A]; -inf where an action is not available, 0 in terminal states.

    Errors:
      ValueError: q has another shape.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[0., 1.], [1., 0.]], [[0., 1.], [0., 1.]]]), jnp.array([1., 3.]), gamma=0.5)
      >>> q_bellman_optimality(mdp, jnp.array([[4.0, 3.0], [6.0, 6.0]])).tolist()
      [[4.0, 3.0], [6.0, 6.0]]

    Geron (2022), ch. 18, "Markov decision processes".
    """
    q = jnp.asarray(q, mdp.dtype)
    checks.same_shape(q=q, mask=mdp.mask)
    return q_values(mdp, choose(mdp, q.T).value)


def policy_operator(mdp: TabularMDP, policy: ArrayLike, v: ArrayLike) -> Array:
    """The Bellman operator of a policy.

        (T_pi v)(s) = sum_a pi(a | s) sum_s' P(s' | s, a) (r(s, a, s') + gamma v(s'))

    Affine, monotone, a contraction by gamma; its fixed point is the policy's value. Loops take `evaluation.one_step_ahead`,
    which reads one action's transitions instead of all.

    Args:
      mdp: the problem.
      policy: [S] actions, or [S, A] probabilities. In terminal states anything.
      v: [S].

    Returns:
      [S]. Gradient reaches probabilities too.

    Errors:
      TypeError, ValueError: types and shapes; as far as they are known, actions that are not available in a state and
        probabilities that do not sum to one.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[0., 1.], [1., 0.]], [[0., 1.], [0., 1.]]]), jnp.array([1., 3.]), gamma=0.5)
      >>> policy_operator(mdp, jnp.array([1, 0]), jnp.array([2.0, 6.0])).tolist()
      [2.0, 6.0]
      >>> policy_operator(mdp, jnp.array([[0.5, 0.5], [1.0, 0.0]]), jnp.array([2.0, 6.0])).tolist()
      [3.0, 6.0]

    Sutton & Barto (2018), eq. 4.4.
    """
    policy = checked(mdp, policy)
    return jnp.where(mdp.terminal, 0.0, _under(policy, action_values(mdp, _values(mdp, v))))


def checked(mdp: TabularMDP, policy: ArrayLike) -> Array:
    """A policy, [S] int32 actions or [S, A] probabilities, if it is one."""
    policy = jnp.asarray(policy)
    validation.policy(mdp, policy)
    return policy.astype(jnp.int32 if policy.ndim == 1 else mdp.dtype)


def reward_under(mdp: TabularMDP, policy: Array) -> Array:
    """[S]: r_pi(s) = sum_a pi(a | s) r(s, a); 0 in terminal states."""
    return jnp.where(mdp.terminal, 0.0, _under(policy, mdp.expected_reward))


def greedy(mdp: TabularMDP, v: ArrayLike) -> Array:
    """The policy that looks one step ahead.

        pi(s) = argmax_a q(s, a),    the first of equals, among the available; 0 in terminal states

    Args:
      mdp: the problem.
      v: [S].

    Returns:
      [S] int32.

    Errors:
      ValueError: v has not one number for each state.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[0., 1.], [1., 0.]], [[0., 1.], [0., 1.]]]), jnp.array([1., 3.]), gamma=0.5)
      >>> greedy(mdp, jnp.array([6.0, 4.0])).tolist()
      [1, 0]

    Sutton & Barto (2018), eq. 4.9.
    """
    return sweep(mdp, _values(mdp, v)).policy


def reward_scale(mdp: TabularMDP) -> Array:
    """[] max sum_s' P(s' | s, a) |r(s, a, s')| over what can be done: what the rounding of expected rewards is relative to."""
    if mdp.reward is None:
        assert isinstance(mdp.transitions, Generated)
        size = mdp.transitions.everywhere(lambda _, probability, reward: jnp.sum(probability * jnp.abs(reward)))
    else:
        size = mdp.with_parts(reward=jnp.abs(mdp.reward)).expected_reward
    return jnp.max(jnp.where(mdp.mask.T & ~mdp.terminal[None], size, 0.0))


def soft_bellman(mdp: TabularMDP, v: ArrayLike, temperature: ArrayLike) -> Array:
    """The entropy-regularised Bellman operator: a maximum that is worth something for the choice it leaves.

        (T_tau v)(s) = tau log sum_a exp(q(s, a) / tau)    over the available actions
                     = max_pi sum_a pi(a) (q(s, a) - tau log pi(a))

    Between T v and T v + tau log A; monotone, a contraction by gamma as well.

    Args:
      mdp: the problem.
      v: [S].
      temperature: [] tau > 0; may be traced.

    Returns:
      [S]; 0 in terminal states. The gradient by q(s, .) is the softmax policy.

    Errors:
      ValueError: v has not one number for each state; a temperature that is not positive.

    Example:
      >>> from rljax.mdp import TabularMDP
      >>> mdp = TabularMDP(jnp.array([[[1.0], [1.0]]]), jnp.array([2.0]), gamma=0.5)
      >>> [round(x, 3) for x in soft_bellman(mdp, jnp.array([0.0]), 1.0).tolist()]  # 2 + log 2
      [2.693]

    Ziebart (2010), Modeling purposeful adaptive behavior with the principle of maximum causal entropy.
    """
    checks.real("temperature", temperature, 0, above=True, below=True)
    tau = jnp.asarray(temperature, mdp.dtype)
    q = action_values(mdp, _values(mdp, v))
    return jnp.where(mdp.terminal, 0.0, tau * jax.nn.logsumexp(q / tau, axis=0, where=mdp.mask.T))


def _values(mdp: TabularMDP, v: ArrayLike) -> Array:
    checks.same_shape(v=v, states=mdp.terminal)
    return jnp.where(mdp.terminal, 0.0, jnp.asarray(v, mdp.dtype))


def _under(policy: Array, q: Array) -> Array:
    if policy.ndim == 1:
        return jnp.take_along_axis(q, policy[None, :], axis=0)[0]
    return jnp.sum(policy.T * q, axis=0)
