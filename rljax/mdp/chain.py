"""Markov chains: where a system without choices goes, how soon, and where it ends up.

A chain is its transition matrix p [S, S], p[i, j] = P(X_{t+1} = j | X_t = i). A decision process under a policy is one:
`mdp.transitions.under(policy).matrix()[:, 0]`.

All exact answers come from one elimination that never subtracts (Grassmann, Taksar & Heyman, 1985): no digits cancel, so
float32 is enough even where the matrix I - p is nearly singular, and what is zero stays zero exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks, noise
from rljax.mdp import chain_validation
from rljax.mdp.elimination import class_laws, eliminate, solve_down, solve_up


def simulate(key: Array, p: ArrayLike, start: ArrayLike, num_steps: int) -> Array:
    """One path of the chain: each state drawn from the row of the one before.

        X_{t+1} ~ p[X_t, :]

    Args:
      p: [S, S] transition probabilities.
      start: [] the state X_0, or [S] its law.
      num_steps: T.

    Returns:
      [T + 1] int32: X_0 ... X_T. A transition of probability 0 is never taken.

    Errors:
      ValueError, TypeError: p is no transition matrix, start no state or law of it.

    Example:
      >>> simulate(jax.random.key(0), jnp.array([[0., 1.], [1., 0.]]), 0, 4).tolist()
      [0, 1, 0, 1, 0]

    Norris (1997), section 1.1.
    """
    p = chain_validation.matrix(p)
    checks.integer("num_steps", num_steps, 0)
    uniforms = jax.random.uniform(noise.fused(key), (num_steps + 1,), p.dtype)
    if jnp.ndim(start) == 0:
        first = chain_validation.state(start, p.shape[0])
    else:
        first = _place(_thresholds(chain_validation.law(start, p)[None, :]), jnp.int32(0), uniforms[-1])
    thresholds = _thresholds(p)

    def step(state: Array, u: Array) -> tuple[Array, Array]:
        state = _place(thresholds, state, u)
        return state, state

    return jnp.concatenate([first[None], lax.scan(step, first, uniforms[:-1])[1]])


def power(p: ArrayLike, n: int) -> Array:
    """The n-step transition matrix, by repeated squaring: about 2 log2 n products.

        P(X_{t+n} = j | X_t = i) = (p^n)[i, j]

    Rows are made to sum to one after each product: in float32 they would drift by n roundings otherwise.

    Args:
      p: [S, S].
      n: number of steps; 0 gives the identity.

    Returns:
      [S, S]. Gradient: along changes of p that keep its rows summing to one.

    Example:
      >>> power(jnp.array([[0.5, 0.5], [0., 1.]]), 3).tolist()
      [[0.125, 0.875], [0.0, 1.0]]

    Norris (1997), theorem 1.1.3.
    """
    p = chain_validation.matrix(p)
    checks.integer("n", n, 0)
    result = jnp.eye(p.shape[0], dtype=p.dtype)
    while n > 0:
        result = _times(result, p) if n % 2 else result
        n //= 2
        p = _times(p, p) if n else p
    return result


def laws(p: ArrayLike, initial: ArrayLike, num_steps: int) -> Array:
    """How the law of the state evolves.

        law_0 = initial,    law_{t+1} = law_t p

    Args:
      p: [S, S].
      initial: [S] the law of X_0.
      num_steps: T.

    Returns:
      [T + 1, S]: the laws of X_0 ... X_T. Gradient as in `power`.

    Example:
      >>> laws(jnp.array([[0.5, 0.5], [0., 1.]]), jnp.array([1., 0.]), 2).tolist()
      [[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]]

    Norris (1997), theorem 1.1.3.
    """
    p = chain_validation.matrix(p)
    initial = chain_validation.law(initial, p)
    checks.integer("num_steps", num_steps, 0)

    def step(law: Array, _: None) -> tuple[Array, Array]:
        law = _times(law, p)
        return law, law

    return jnp.concatenate([initial[None], lax.scan(step, initial, None, num_steps)[1]])


class Structure(NamedTuple):
    """The classes of states that lead to one another."""

    component: Array  # [S] int32: the least state of the class
    recurrent: Array  # [S] bool: the class is never left; elsewhere the state is transient
    period: Array  # [S] int32: returns take multiples of it; 0 where there is no return


def structure(p: ArrayLike) -> Structure:
    """Communicating classes, which of them are recurrent, and their periods.

        i -> j           if (p^n)[i, j] > 0 for some n >= 0
        same class       if i -> j and j -> i
        recurrent        if i -> j implies j -> i
        period           gcd of all n >= 1 with (p^n)[i, i] > 0

    Compiled like everything here: reachability by squaring, the period from the levels of a breadth-first search.

    Args:
      p: [S, S]; only which entries are positive matters.

    Returns:
      `Structure`.

    Example:
      >>> found = structure(jnp.array([[0., 1., 0.], [1., 0., 0.], [0.5, 0., 0.5]]))
      >>> found.component.tolist(), found.recurrent.tolist(), found.period.tolist()
      ([0, 0, 2], [True, True, False], [2, 2, 1])

    Norris (1997), sections 1.2, 1.5 and 1.8; Denardo (1977) for the period.
    """
    p = chain_validation.matrix(p)
    edge, index = p > 0, jnp.arange(p.shape[0], dtype=jnp.int32)

    def squared(reach: Array) -> Array:
        count = reach.astype(jnp.float32)
        return count @ count > 0

    reach = lax.while_loop(
        lambda pair: jnp.any(pair[0] != pair[1]),
        lambda pair: (pair[1], squared(pair[1])),
        (jnp.zeros_like(edge), edge | (index[:, None] == index[None, :])),
    )[1]
    both = reach & reach.T
    component = jnp.argmax(both, axis=1).astype(jnp.int32)
    inside = edge & both
    level = _levels(inside, component == index)
    # A step that does not lead one level down closes a cycle: the period divides how much it is off.
    off = jnp.where(inside, jnp.abs(level[:, None] + 1 - level[None, :]), 0)
    return Structure(component, ~jnp.any(reach & ~both, axis=1), _common_divisor(off, both))


class Absorption(NamedTuple):
    """Where and when a set of states is entered first."""

    probability: Array  # [S, S]: from i, the state of the set entered first is j; rows sum to P(ever entered)
    time: Array  # [S]: expected steps until then; infinite where it may never happen


def absorption(p: ArrayLike, into: ArrayLike | None = None) -> Absorption:
    """Which state of a set the chain enters first, and the expected number of steps until it does.

        h[i, j] = 1(i = j)                     t[i] = 0                          i in the set
        h[i, j] = sum_k p[i, k] h[k, j]        t[i] = 1 + sum_k p[i, k] t[k]     elsewhere, least solution

    Args:
      p: [S, S].
      into: [S] bool, the set; default: the recurrent states (in an absorbing chain: the absorbing ones).

    Returns:
      `Absorption`. Gradient: along changes of p that keep its rows summing to one.

    Errors:
      TypeError, ValueError: into is not [S] bool.

    Example:
      >>> ruin = jnp.array([[1., 0., 0., 0.], [0.5, 0., 0.5, 0.], [0., 0.5, 0., 0.5], [0., 0., 0., 1.]])
      >>> found = absorption(ruin)  # fair coin, stake 1 or 2 of 3
      >>> found.probability[:, 3].tolist(), found.time.tolist()
      ([0.0, 0.333333, 0.666667, 1.0], [0.0, 2.0, 2.0, 0.0])

    Norris (1997), theorems 1.3.2 and 1.3.5; Kemeny & Snell (1976), ch. 3.
    """
    p = chain_validation.matrix(p)
    into = structure(p).recurrent if into is None else jnp.asarray(into)
    checks.boolean(into=into)
    if into.shape != p.shape[:1]:
        raise ValueError(f"into has shape {into.shape}; expected {p.shape[:1]}, one for each state.")
    factors = eliminate(p, into)
    caught = factors.stop & ~into  # one state of each class that never enters the set
    ends = jnp.concatenate([jnp.diag(into), caught[:, None]], axis=1).astype(p.dtype)
    ends = jnp.where(factors.stop[:, None], ends, jnp.matmul(factors.out, ends, precision="highest"))
    steps = jnp.where(factors.stop, 0.0, solve_down(factors, jnp.ones_like(p[0])) / factors.scale)
    found = solve_up(factors, jnp.concatenate([ends, steps[:, None]], axis=1))
    probability, lost, time = found[:, :-2], found[:, -2], found[:, -1]
    return Absorption(probability, jnp.where(lost > 0, jnp.inf, time))


def stationary(p: ArrayLike) -> Array:
    """The law that a step leaves as it is.

        x = x p,    sum x = 1

    Args:
      p: [S, S] with one recurrent class; transient states have x = 0, periods do not matter.

    Returns:
      [S], each entry to a few roundings of its own size. NaN if p is traced and has several recurrent classes.
      Gradient: along changes of p that keep its rows summing to one.

    Errors:
      ValueError: several recurrent classes have a law each (`long_run` tells them apart).

    Example:
      >>> stationary(jnp.array([[0.9, 0.1], [0.3, 0.7]])).tolist()
      [0.75, 0.25]

    Grassmann, Taksar & Heyman (1985), Regenerative analysis and steady state distributions for Markov chains.
    """
    p = chain_validation.matrix(p)
    factors = eliminate(p, jnp.zeros(p.shape[0], bool))
    if not isinstance(factors.stop, jax.core.Tracer) and factors.stop.sum() > 1:
        states = np.flatnonzero(factors.stop)
        raise ValueError(
            f"p has {len(states)} recurrent classes (states {', '.join(map(str, states[:5]))} are in different ones), each "
            "with a stationary law; expected one class. long_run(p) gives the law from every starting state."
        )
    x = class_laws(factors, jnp.zeros(p.shape[0], jnp.int32))
    return jnp.where(factors.stop.sum() == 1, x, jnp.nan)


def long_run(p: ArrayLike) -> Array:
    """The share of time spent in j by the chain that started in i; for aperiodic chains also the limit of p^n.

        L = lim (1 / n) sum_{m < n} p^m

    `long_run(p) @ r` is the average reward per step. Any number of recurrent classes.

    Args:
      p: [S, S].

    Returns:
      [S, S]: row i mixes the stationary laws of the classes where the chain from i may end. Gradient as in `stationary`.

    Example:
      >>> long_run(jnp.array([[0., 1., 0., 0.], [1., 0., 0., 0.], [0.25, 0., 0.5, 0.25], [0., 0., 0., 1.]])).tolist()
      [[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]]

    Puterman (1994), appendix A.4.
    """
    p = chain_validation.matrix(p)
    factors = eliminate(p, jnp.zeros(p.shape[0], bool))
    ends = jnp.where(factors.stop[:, None], jnp.eye(p.shape[0], dtype=p.dtype), factors.out)
    ends = solve_up(factors, ends)  # [S, S]: from i, the class of the stop j
    component = jnp.argmax(ends, axis=1).astype(jnp.int32)  # for recurrent states: exactly one is positive
    return jnp.take(ends, component, axis=1) * class_laws(factors, component)[None, :]


def _thresholds(p: Array) -> Array:
    """[..., S] c, rising, such that the first c > u has the law p for u uniform in [0, 1), and p > 0 to the last rounding."""
    positive = p > 0
    last = p.shape[-1] - 1 - jnp.argmax(positive[..., ::-1], axis=-1, keepdims=True)
    # Sums in parallel are not quite monotone: where p is 0 the threshold is the one before.
    rising = lax.cummax(jnp.where(positive, jnp.cumsum(p, axis=-1), 0.0), axis=p.ndim - 1)
    beyond = lax.broadcasted_iota(last.dtype, p.shape, p.ndim - 1) >= last
    return jnp.where(beyond, jnp.inf, rising)


def _place(thresholds: Array, row: Array, u: Array) -> Array:
    """[] int32: how many of the row's thresholds are at most u, by bisection."""
    size = thresholds.shape[1]
    place = jnp.int32(0)
    for bit in reversed(range(size.bit_length())):
        further = place + (1 << bit)
        passed = thresholds[row, jnp.minimum(further, size) - 1] <= u
        place = jnp.where((further <= size) & passed, further, place)
    return place


def _levels(edge: Array, source: Array) -> Array:
    """[S] int32: steps from the nearest source."""
    weight = edge.astype(jnp.float32)

    def advance(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        level, t = carry
        reached = (level == t).astype(jnp.float32) @ weight > 0
        return jnp.where((level < 0) & reached, t + 1, level), t + 1

    start = (jnp.where(source, 0, -1).astype(jnp.int32), jnp.int32(0))
    return lax.while_loop(lambda carry: jnp.any(carry[0] == carry[1]), advance, start)[0]


def _common_divisor(x: Array, together: Array) -> Array:
    """[S] int32: the greatest common divisor of the rows x[j, :] with together[i, j]; 0 if all are 0. Euclid, all at once."""
    none = jnp.iinfo(x.dtype).max

    def reduce(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, divisor = carry
        least = jnp.minimum(divisor, jnp.min(jnp.where(x > 0, x, none), axis=1))
        divisor = jnp.min(jnp.where(together, least[None, :], none), axis=1)
        return x % divisor[:, None], divisor

    divisor = lax.while_loop(lambda carry: jnp.any(carry[0] > 0), reduce, (x, jnp.full_like(x[0], none)))[1]
    return jnp.where(divisor == none, 0, divisor)


def _times(law: Array, p: Array) -> Array:
    """[..., S]: the laws one step of p later, still laws whatever was rounded."""
    law = jnp.matmul(law, p, precision="highest")  # accelerators would round p to 10 bits
    return law / law.sum(axis=-1, keepdims=True)
