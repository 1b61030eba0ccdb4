"""What a given policy is worth, how often it visits what, and how the optimal values change with the problem."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from rljax.mdp.model import TabularMDP
from rljax.mdp.operators import checked, reward_under


def one_step_ahead(mdp: TabularMDP, policy: Array) -> Callable[[Array], Array]:
    """What values of the next state are worth now, as a function of them: for loops under one policy.

        x  ->  gamma sum_a pi(a | s) sum_s' P(s' | s, a) x(s'),    so  T_pi v = r_pi + one_step_ahead(v)

    Args:
      mdp: the problem.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      From [S] to [S]; 0 in terminal states. The chain is built once, outside of it.
    """
    chain, gamma = mdp.transitions.under(policy), jnp.where(mdp.terminal, 0.0, mdp.gamma)
    return lambda x: gamma * chain.expect(x)[0]


def under(mdp: TabularMDP, policy: Array) -> TabularMDP:
    """The problem in which a policy has already chosen: one action. To plan it is to evaluate the policy iteratively, with a
    certified bound: `planning.solve(under(mdp, policy), planners.krylov_policy_iteration())`.

    Args:
      mdp: the problem.
      policy: [S] actions, or [S, A] probabilities.

    Errors:
      ValueError, TypeError: as far as it is known, a policy that is none, naming state and action.

    Example:
      >>> from rljax.mdp import planners, planning, problems
      >>> mdp = problems.puterman_two_state(gamma=0.95)
      >>> found = planning.solve(under(mdp, jnp.array([0, 0])), planners.krylov_policy_iteration(), tolerance=1e-2)
      >>> [round(float(x), 2) for x in found.v]
      [-8.57, -20.0]

    Puterman (1994), sec. 6.1.
    """
    policy = checked(mdp, policy)
    chosen = {"reward": reward_under(mdp, policy)[:, None], "mask": jnp.ones((mdp.num_states, 1), bool)}
    return mdp.with_parts(transitions=mdp.transitions.under(policy), **chosen)


def evaluate(mdp: TabularMDP, policy: Array) -> Array:
    """The exact values of a policy, by Gaussian elimination.

        v = (I - gamma P_pi)^-1 r_pi

    Args:
      mdp: the problem; [S, S] numbers must fit in memory.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      [S]. Gradient reaches rewards, transitions, gamma and a stochastic policy.

    Errors:
      ValueError, TypeError: as far as it is known, a policy that is none, naming state and action.

    Example:
      >>> from rljax.mdp import problems
      >>> mdp = problems.puterman_two_state(gamma=0.95)
      >>> [round(float(x), 3) for x in evaluate(mdp, jnp.array([0, 0]))]
      [-8.571, -20.0]

    Sutton & Barto (2018), eq. 4.4; Puterman (1994), thm. 6.1.1.
    """
    policy = checked(mdp, policy)
    p = mdp.transitions.under(policy).matrix()[:, 0]
    reward = jnp.where(mdp.terminal, 0.0, reward_under(mdp, policy))
    going_on = jnp.where(mdp.terminal, 0.0, mdp.gamma)[:, None] * p
    return jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=p.dtype) - going_on, reward)


def bicgstab(ahead: Callable[[Array], Array], residual: Array, tolerance: Array, max_steps: int) -> tuple[Array, Array]:
    """What values lack whose backup under a policy adds `residual`: x = residual + ahead(x), to within `tolerance`.

    Args:
      ahead: linear, from [S] to [S]: `one_step_ahead` of the policy.
      residual: [S].
      tolerance: [] of the largest entry of what is left of it; if that is so from the start, nothing is done.
      max_steps: two calls of `ahead` each.

    Returns:
      [S] x, the best met, and [S] what is left: x + left is one backup further.

    van der Vorst (1992), Bi-CGSTAB.
    """
    apply = lambda x: x - ahead(x)
    unit = jnp.max(jnp.abs(residual))  # products of what is very large or small would leave the range of float32
    unit = jnp.where(unit > 0, unit, 1.0)
    residual, tolerance = residual / unit, tolerance / unit
    tiny = jnp.finfo(residual.dtype).tiny
    safe = lambda x: jnp.where(jnp.abs(x) < tiny, tiny, x)
    size = lambda r: jnp.max(jnp.abs(r))

    def going(carry: tuple[Array, ...]) -> Array:
        i, r, *_ = carry
        return (size(r) > tolerance) & (i < max_steps) & jnp.isfinite(size(r))

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        i, r, x, best, left, p, rho = carry
        ap = apply(p)
        alpha = rho / safe(jnp.vdot(residual, ap))
        s = r - alpha * ap
        as_ = apply(s)
        omega = jnp.vdot(as_, s) / safe(jnp.vdot(as_, as_))
        x = x + alpha * p + omega * s
        r = s - omega * as_
        better = size(r) < size(left)
        best, left = jnp.where(better, x, best), jnp.where(better, r, left)
        rho_next = jnp.vdot(residual, r)
        p = r + (rho_next / safe(rho)) * (alpha / safe(omega)) * (p - omega * ap)
        return i + 1, r, x, best, left, p, rho_next

    x = jnp.zeros_like(residual)
    carry = (jnp.int32(0), residual, x, x, residual, residual, jnp.vdot(residual, residual))
    _, _, _, best, left, *_ = lax.while_loop(going, step, carry)
    return best * unit, left * unit


def occupancy(mdp: TabularMDP, policy: Array) -> Array:
    """How often a policy is in each state, later visits discounted.

        mu(s) = sum_t gamma^t P(S_t = s),    so  sum_s mu(s) r_pi(s) = sum_s initial(s) v_pi(s)

    Args:
      mdp: the problem; [S, S] numbers must fit in memory.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      [S] expected discounted visits, 0 in terminal states; over all states they sum to 1 / (1 - gamma) if nothing ends.

    Errors:
      ValueError, TypeError: as far as it is known, a policy that is none, naming state and action.

    Puterman (1994), sec. 6.9.
    """
    p = mdp.transitions.under(checked(mdp, policy)).matrix()[:, 0]
    going_on = jnp.where(mdp.terminal, 0.0, mdp.gamma)[:, None] * p
    visits = jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=p.dtype) - going_on.T, mdp.initial)
    return jnp.where(mdp.terminal, 0.0, visits)
