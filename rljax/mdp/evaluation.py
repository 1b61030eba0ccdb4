"""What a given policy is worth, how often it visits what, and how the optimal values change with the problem."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from rljax.mdp.model import TabularMDP
from rljax.mdp.operators import reward_under

_Backup = Callable[[Array], Array]


def backup_under(mdp: TabularMDP, policy: Array) -> _Backup:
    """T_pi as a function of v, with everything that does not depend on v taken out of it: for loops over backups.

        (T_pi v)(s) = sum_a pi(a | s) (r(s, a) + gamma sum_s' P(s' | s, a) v(s'))

    Args:
      mdp: the problem.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      From [S] to [S]; terminal states are worth 0.
    """
    chain, reward = mdp.transitions.under(policy), reward_under(mdp, policy)
    reward = jnp.where(mdp.terminal, 0.0, reward)
    gamma = jnp.where(mdp.terminal, 0.0, mdp.gamma)
    return lambda v: reward + gamma * chain.expect(v)[0]


def evaluate(mdp: TabularMDP, policy: Array) -> Array:
    """The exact values of a policy, by Gaussian elimination.

        v = (I - gamma P_pi)^-1 r_pi

    Args:
      mdp: the problem; [S, S] numbers must fit in memory.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      [S]. Gradient reaches rewards, transitions, gamma and a stochastic policy.

    Example:
      >>> from rljax.mdp import problems
      >>> mdp = problems.puterman_two_state(gamma=0.95)
      >>> [round(float(x), 3) for x in evaluate(mdp, jnp.array([0, 0]))]
      [-8.571, -20.0]

    Sutton & Barto (2018), eq. 4.4; Puterman (1994), thm. 6.1.1.
    """
    p = mdp.transitions.under(policy).matrix()[:, 0]
    reward = jnp.where(mdp.terminal, 0.0, reward_under(mdp, policy))
    going_on = jnp.where(mdp.terminal, 0.0, mdp.gamma)[:, None] * p
    return jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=p.dtype) - going_on, reward)


def bicgstab(backup: _Backup, v: Array, tolerance: Array, max_steps: int) -> Array:
    """Values that `backup` leaves as they are to within `tolerance`: v = b + M v, so (I - M) x = backup(v) - v.

    Args:
      backup: affine, from [S] to [S]; `backup_under` makes it.
      v: [S] first guess.
      tolerance: [] of the residual's largest entry.
      max_steps: two backups each.

    Returns:
      [S], the best values met: never worse than one backup of `v`.

    van der Vorst (1992), Bi-CGSTAB.
    """
    zero = backup(jnp.zeros_like(v))
    apply = lambda x: x - (backup(x) - zero)
    start = backup(v) - v
    tiny = jnp.finfo(v.dtype).tiny
    safe = lambda x: jnp.where(jnp.abs(x) < tiny, tiny, x)
    size = lambda r: jnp.max(jnp.abs(r))

    def going(carry: tuple[Array, ...]) -> Array:
        i, residual, _, _, best_size, *_ = carry
        return (size(residual) > tolerance) & (i < max_steps) & jnp.isfinite(best_size) & jnp.isfinite(size(residual))

    def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        i, r, x, best, best_size, p, rho = carry
        ap = apply(p)
        alpha = rho / safe(jnp.vdot(start, ap))
        s = r - alpha * ap
        as_ = apply(s)
        omega = jnp.vdot(as_, s) / safe(jnp.vdot(as_, as_))
        x = x + alpha * p + omega * s
        r = s - omega * as_
        better = size(r) < best_size
        best, best_size = jnp.where(better, x, best), jnp.where(better, size(r), best_size)
        rho_next = jnp.vdot(start, r)
        p = r + (rho_next / safe(rho)) * (alpha / safe(omega)) * (p - omega * ap)
        return i + 1, r, x, best, best_size, p, rho_next

    x = jnp.zeros_like(v)
    carry = (jnp.int32(0), start, x, x, size(start), start, jnp.vdot(start, start))
    best = lax.while_loop(going, step, carry)[3]
    return backup(v + best)


def occupancy(mdp: TabularMDP, policy: Array) -> Array:
    """How often a policy is in each state, later visits discounted.

        mu(s) = sum_t gamma^t P(S_t = s),    so  sum_s mu(s) r_pi(s) = sum_s initial(s) v_pi(s)

    Args:
      mdp: the problem; [S, S] numbers must fit in memory.
      policy: [S] actions, or [S, A] probabilities.

    Returns:
      [S] expected discounted visits, 0 in terminal states; over all states they sum to 1 / (1 - gamma) if nothing ends.

    Puterman (1994), sec. 6.9.
    """
    p = mdp.transitions.under(policy).matrix()[:, 0]
    going_on = jnp.where(mdp.terminal, 0.0, mdp.gamma)[:, None] * p
    visits = jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=p.dtype) - going_on.T, mdp.initial)
    return jnp.where(mdp.terminal, 0.0, visits)
