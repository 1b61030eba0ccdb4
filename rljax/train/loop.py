"""One member of a run, as pure functions: `jit`, `vmap` and `scan` apply.

A round is `eval_every` steps and then, if wanted, one score. Three promises, each a test:

* a result does not depend on how the run was cut: step t of a member uses `fold_in(key, t)`, scores and the test of what is
  kept have key streams of their own;
* a member stops for itself (target reached, no progress, not finite), and counts no more from then on (`keep_state` freezes
  its state as well);
* the best parameters, by score, are kept, of equals the last; without scores, the last finite ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from rljax import checks
from rljax.structs import Algorithm

NEVER: int = np.iinfo(np.int32).max


class Member(NamedTuple):
    """One run in the making: with its key, everything that its next step needs."""

    state: Any  # of the algorithm; once stopped it runs on, unread, unless `Plan.keep_state`
    steps: Array  # [] int32, steps taken
    best: Any  # parameters of the highest score, of equals the last; without scores, the last finite ones
    best_score: Array  # [] -inf before the first score
    hits: Array  # [] int32, scores in a row that reached the target
    stale: Array  # [] int32, scores since the best
    stopped: Array  # [] bool, frozen
    fault: Array  # [] int32, 0 or 1 + the index in `Result.names` of the first quantity that was not finite


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When to score and when to stop; what is no bool and not `eval_every` may be traced."""

    eval_every: int = 10  # steps in a round
    score: bool = False  # score after every round
    target: float | Array = np.inf  # a score that is good enough
    patience: int | Array = 1  # scores in a row that must reach it
    give_up: int | Array = NEVER  # scores without a new best after which to stop
    keep_state: bool = False  # freeze the state of what has stopped: a copy a round, dear with a replay buffer


def planned(
    num_steps: int,
    eval_every: int | None,
    target: float | None,
    patience: int,
    give_up: int | None,
    score: bool | None,
    keep_state: bool,
) -> Plan:
    """The options of `train` as a plan, or what is wrong with them."""
    if eval_every is None:
        eval_every = max(n for n in range(1, min(10, num_steps) + 1) if num_steps % n == 0)
    give_up = NEVER if give_up is None else give_up
    for name, value in (("eval_every", eval_every), ("patience", patience), ("give_up", give_up)):
        checks.integer(name, value, 1)
    if num_steps % eval_every:
        raise ValueError(
            f"num_steps is {num_steps} and eval_every {eval_every}; expected whole rounds. "
            f"Take {num_steps // eval_every * eval_every or eval_every} steps, or another eval_every."
        )
    if target is not None:
        checks.real("target", target, above=True, below=True)
    elif patience > 1:
        raise ValueError(f"patience is {patience}; expected a target beside it. Give target, or leave patience out.")
    wanted = target is not None or give_up < NEVER
    score = wanted if score is None else score
    checks.flags(score=score, keep_state=keep_state)
    if wanted and not score:
        raise ValueError(f"target and give_up need scores, and score is {score}. Leave score out.")
    target = np.inf if target is None else target
    return Plan(
        eval_every=eval_every,
        score=bool(score),
        target=target,
        patience=patience,
        give_up=give_up,
        keep_state=bool(keep_state),
    )


def begin(algorithm: Algorithm, key: Array) -> Member:
    """A member before its first step."""
    checks.key(key)
    state = algorithm.init(jax.random.fold_in(key, 0))
    zero = jnp.int32(0)
    score = jnp.asarray(-jnp.inf, jnp.result_type(float))
    return Member(state, zero, algorithm.parameters(state), score, zero, zero, jnp.bool_(False), zero)


def advance(algorithm: Algorithm, key: Array, member: Member, plan: Plan) -> tuple[Member, dict[str, Array], Array]:
    """One round of one member: pure, and so jit, vmap and scan apply. A stopped member comes back as it was, but
    for its state, which runs on unless `plan.keep_state`.

    Args:
      algorithm: the record of functions.
      key: the one that the member began with, at every call: it is folded, never consumed.
      member: from `begin` or an earlier call.
      plan: when to score and to stop.

    Returns:
      The member, its metrics [eval_every] and its score [] (NaN where there is none).
    """
    key_step, key_score = (jax.random.fold_in(key, stream) for stream in (1, 2))

    def step(carry: tuple[Any, Array, Any, Array], _: None) -> tuple[tuple[Any, Array, Any, Array], dict[str, Array]]:
        state, t, last, fault = carry
        state, metrics = algorithm.step(jax.random.fold_in(key_step, t), state)
        for name, value in metrics.items():
            if jnp.ndim(value):
                raise ValueError(
                    f"the metric {name!r} has shape {jnp.shape(value)}; expected (). Reduce it in the step."
                )
        params = algorithm.parameters(state)
        bad = jnp.stack([~finite(value) for value in (*(metrics[name] for name in sorted(metrics)), params)])
        fault = jnp.where((fault == 0) & bad.any(), 1 + jnp.argmax(bad).astype(jnp.int32), fault)
        last = select(fault == 0, params, last)
        return (state, t + (fault == 0).astype(jnp.int32), last, fault), metrics

    start = (member.state, member.steps, algorithm.parameters(member.state), member.fault)
    (state, steps, params, fault), metrics = lax.scan(step, start, None, plan.eval_every)
    after = member._replace(state=state, steps=steps, best=params, fault=fault, stopped=fault > 0)
    score = jnp.asarray(jnp.nan, member.best_score.dtype)
    if plan.score:
        score = algorithm.score(jax.random.fold_in(key_score, steps), params).astype(score.dtype)
        after = judged(member, after, params, score, plan, len(metrics) + 2)
    going, nan = ~member.stopped, jnp.nan
    # Until the round is over a fault is not acted on: what follows it is no result.
    shown = going & (jnp.arange(plan.eval_every, dtype=steps.dtype) <= steps - member.steps)
    metrics = {name: jnp.where(shown, value, nan) for name, value in metrics.items()}
    kept = select(going, after._replace(state=()), member._replace(state=()))
    state = select(going, state, member.state) if plan.keep_state else state
    return kept._replace(state=state), metrics, jnp.where(going, score, nan)


def judged(before: Member, after: Member, params: Any, score: Array, plan: Plan, no_number: int) -> Member:
    """A member after a round, once its parameters have a score: is it the best, is it enough, is it hopeless?

    Args:
      before: the member as it came into the round.
      after: as it left it; what counts scores and stops is not looked at.
      params: at the end of the round.
      score: [] of them.
      plan: see `Plan`.
      no_number: the fault that a NaN is. It would neither stop the run nor be kept.
    """
    fault = jnp.where((after.fault == 0) & jnp.isnan(score), no_number, after.fault)
    better = score > before.best_score
    hits = jnp.where(score >= plan.target, before.hits + 1, 0)
    stale = jnp.where(better, 0, before.stale + 1)
    return after._replace(
        best=select(score >= before.best_score, params, before.best),
        best_score=jnp.where(better, score, before.best_score),
        fault=fault,
        hits=hits,
        stale=stale,
        stopped=(fault > 0) | (hits >= plan.patience) | (stale >= plan.give_up),
    )


def tested(algorithm: Algorithm, key: Array, params: Any) -> Array:
    """[] the score of parameters that were kept, by chance that had no say in what is kept.

    The score that they were kept for, or that stopped the run, is too good: the highest of several noisy ones.

    Args:
      algorithm: the record of functions.
      key: the one that the member began with.
      params: `Member.best`.
    """
    return algorithm.score(jax.random.fold_in(key, 3), params)


def finite(tree: Any) -> Array:
    """[] bool, every number of every leaf is."""
    return jnp.stack([jnp.bool_(True), *(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))]).all()


def select(condition: Array, yes: Any, no: Any) -> Any:
    """`yes` where a condition [] holds, else `no`, leaf by leaf."""
    return jax.tree.map(lambda y, n: jnp.where(condition, y, n), yes, no)
