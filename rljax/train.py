"""The one loop: it runs any `Algorithm` for many members (seeds, settings) at once, as compiled chunks.

A round is `eval_every` steps of every member and then, if wanted, one score of each. A chunk is some rounds in one compiled
`while_loop`; the host acts only between chunks. Three promises, each a test:

* a result does not depend on how the run was cut: step t of a member uses `fold_in(key, t)`, a score its own key stream;
* a member stops for itself (target reached, no progress, not finite), counts no more from then on (`keep_state` freezes its
  state as well), and the chunk ends with the last;
* the best parameters, by score, are kept, of equals the last; without scores, the last finite ones.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from rljax import checks
from rljax.structs import Algorithm

_NEVER: int = np.iinfo(np.int32).max


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
    give_up: int | Array = _NEVER  # scores without a new best after which to stop
    keep_state: bool = False  # freeze the state of what has stopped: a copy a round, dear with a replay buffer


@dataclass(frozen=True)
class Progress:
    """What the host is shown after each chunk."""

    steps: int  # taken by the members that still run
    metrics: dict[str, np.ndarray]  # of the chunk: name -> [steps, B], NaN where a member had stopped
    scores: np.ndarray  # [rounds, B] of the chunk
    running: int  # members not yet stopped
    compile_seconds: float
    run_seconds: float  # since the start, compilation apart


@dataclass(frozen=True)
class Result:
    """What a run leaves. B members."""

    members: Member  # leaves [B, ...]
    metrics: dict[str, np.ndarray]  # name -> [steps, B], NaN where a member had stopped
    scores: np.ndarray  # [rounds, B]
    elapsed: np.ndarray  # [steps] run seconds by the end of the chunk that held the step
    compile_seconds: float
    run_seconds: float
    plan: Plan
    names: tuple[str, ...] = field(repr=False)  # the quantities that `Member.fault` counts

    @property
    def parameters(self) -> Any:
        """The best parameters of every member, [B, ...]."""
        return self.members.best


class Diverged(ArithmeticError):
    """A member met a NaN or an infinity. `result` holds all there is; its parameters are the last finite or best ones."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


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
        bad = jnp.stack([~_finite(value) for value in (*(metrics[name] for name in sorted(metrics)), params)])
        fault = jnp.where((fault == 0) & bad.any(), 1 + jnp.argmax(bad).astype(jnp.int32), fault)
        last = _select(fault == 0, params, last)
        return (state, t + (fault == 0).astype(jnp.int32), last, fault), metrics

    start = (member.state, member.steps, algorithm.parameters(member.state), member.fault)
    (state, steps, params, fault), metrics = lax.scan(step, start, None, plan.eval_every)
    after = member._replace(state=state, steps=steps, best=params, fault=fault, stopped=fault > 0)
    score = jnp.asarray(jnp.nan, member.best_score.dtype)
    if plan.score:
        score = algorithm.score(jax.random.fold_in(key_score, steps), params).astype(score.dtype)
        fault = jnp.where((fault == 0) & jnp.isnan(score), len(metrics) + 2, fault)  # it would neither stop nor be kept
        better = score > member.best_score
        hits = jnp.where(score >= plan.target, member.hits + 1, 0)
        stale = jnp.where(better, 0, member.stale + 1)
        after = after._replace(
            best=_select(score >= member.best_score, params, member.best),
            best_score=jnp.where(better, score, member.best_score),
            fault=fault,
            hits=hits,
            stale=stale,
            stopped=(fault > 0) | (hits >= plan.patience) | (stale >= plan.give_up),
        )
    going, nan = ~member.stopped, jnp.nan
    # Until the round is over a fault is not acted on: what follows it is no result.
    shown = going & (jnp.arange(plan.eval_every, dtype=steps.dtype) <= steps - member.steps)
    metrics = {name: jnp.where(shown, value, nan) for name, value in metrics.items()}
    kept = _select(going, after._replace(state=()), member._replace(state=()))
    state = _select(going, state, member.state) if plan.keep_state else state
    return kept._replace(state=state), metrics, jnp.where(going, score, nan)


def train(
    algorithm: Algorithm | Callable[..., Algorithm],
    keys: Array,
    num_steps: int,
    *,
    settings: Mapping[str, Any] | None = None,
    eval_every: int | None = None,
    target: float | None = None,
    patience: int = 1,
    give_up: int | None = None,
    score: bool | None = None,
    keep_state: bool = False,
    chunk: int = 10,
    on_chunk: Callable[[Progress], None] | None = None,
) -> Result:
    """Run `num_steps` steps of one algorithm under each of B keys.

    Args:
      algorithm: an `Algorithm`, or a maker called with each member's `settings` as keyword arguments: first with their
        values, once for each different row, so that its own checks see them, then traced.
      keys: [B] typed keys, one for each member.
      num_steps: of each member that does not stop before.
      settings: name -> [B] values for the maker, traced: a sweep over learning rates compiles once.
      eval_every: steps in a round; divides `num_steps`. Default: 10, or the largest divisor below.
      target: stop a member once `patience` scores in a row have reached it.
      patience: see `target`.
      give_up: stop a member after so many scores without a new best.
      score: score after each round and keep the best parameters. Default: if `target` or `give_up` is given.
      keep_state: leave the algorithm's whole state in the result, replay buffers and all; otherwise it is ().
      chunk: rounds between two looks of the host; never changes the result.
      on_chunk: is shown a `Progress` after each chunk: progress bars, files, pictures.

    Returns:
      `Result`.

    Errors:
      ValueError, TypeError: before anything is compiled, what the maker itself refuses among them.
      Diverged: after the chunk in which a member's metrics or parameters ceased to be finite; carries the result.

    Example:
      >>> from rljax import agents, envs, networks
      >>> algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy(), max_steps=20)
      >>> result = train(algorithm, jax.random.split(jax.random.key(0), 2), 4, eval_every=2)
      >>> result.metrics["mean_length"].shape
      (4, 2)
    """
    checks.key(keys, getattr(keys, "shape", ()))
    if keys.ndim != 1 or not keys.size:
        raise ValueError(
            f"keys has shape {keys.shape}; expected keys of shape (B,), at least one: jax.random.split(key, B)."
        )
    checks.integer("num_steps", num_steps, 1)
    checks.integer("chunk", chunk, 1)
    plan = _plan(num_steps, eval_every, target, patience, give_up, score, keep_state)
    make, arrays = _maker(algorithm, settings or {}, len(keys))
    return _run(make, keys, arrays, plan, num_steps // plan.eval_every, chunk, on_chunk)


def _plan(
    num_steps: int,
    eval_every: int | None,
    target: float | None,
    patience: int,
    give_up: int | None,
    score: bool | None,
    keep_state: bool,
) -> Plan:
    """The options as a plan, or what is wrong with them."""
    if eval_every is None:
        eval_every = max(n for n in range(1, min(10, num_steps) + 1) if num_steps % n == 0)
    give_up = _NEVER if give_up is None else give_up
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
    wanted = target is not None or give_up < _NEVER
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


def _maker(
    algorithm: Algorithm | Callable[..., Algorithm], settings: Mapping[str, Any], num_members: int
) -> tuple[Callable[..., Algorithm], dict[str, Array]]:
    """A maker, tried with every different row of the settings, and the settings as arrays [B]."""
    if isinstance(algorithm, Algorithm):
        if settings:  # or every member would be the same
            raise TypeError(
                f"settings are given for {', '.join(settings)}, and an Algorithm, which is made already; expected its "
                f"maker: lambda {', '.join(settings)}: agents.reinforce(...)."
            )
        return lambda: algorithm, {}
    checks.function("algorithm", algorithm, "lambda learning_rate: agents.reinforce(...), or an Algorithm")
    for name, value in settings.items():
        checks.real(f"settings[{name!r}]", np.asarray(value), batch=True)
        if np.shape(value)[:1] != (num_members,):
            raise ValueError(
                f"settings[{name!r}] has shape {np.shape(value)}; expected [{num_members}], one for each key."
            )
    arrays = {name: jnp.asarray(value) for name, value in settings.items()}
    rows = zip(*map(np.asarray, arrays.values()), strict=True) if arrays else [()]
    for row in {tuple(value.tobytes() for value in row): row for row in rows}.values():
        made = algorithm(**dict(zip(arrays, row, strict=True)))
        if not isinstance(made, Algorithm):
            raise TypeError(f"the maker returned {made!r}; expected an Algorithm.")
    return algorithm, arrays


def _run(
    make: Callable[..., Algorithm],
    keys: Array,
    settings: dict[str, Array],
    plan: Plan,
    num_rounds: int,
    chunk: int,
    on_chunk: Callable[[Progress], None] | None,
) -> Result:
    began = time.perf_counter()
    chunk = min(chunk, num_rounds)
    # jit here lets `eval_shape` and the loop share one trace.
    round_ = jax.jit(jax.vmap(lambda setting, key, member: advance(make(**setting), key, member, plan)))

    def program(settings: dict[str, Any], keys: Array, members: Member, rounds: Array) -> tuple[Member, Any, Array]:
        """Up to `rounds` rounds of all members; what the rows beyond those hold is never read."""
        rows = jax.eval_shape(round_, settings, keys, members)[1:]
        rows = jax.tree.map(lambda row: jnp.full((chunk, *row.shape), jnp.nan, row.dtype), rows)

        def body(carry: tuple[Array, Member, Any]) -> tuple[Array, Member, Any]:
            i, members, rows = carry
            members, *row = round_(settings, keys, members)
            return i + 1, members, jax.tree.map(lambda rows, row: rows.at[i].set(row), rows, tuple(row))

        def going(carry: tuple[Array, Member, Any]) -> Array:
            return (carry[0] < rounds) & ~carry[1].stopped.all()

        i, members, rows = lax.while_loop(going, body, (jnp.int32(0), members, rows))
        return members, rows, i

    # Members lie where their keys do, whether a leaf depends on them or not: what leaves a chunk enters the next one.
    where = keys.sharding if len(keys.sharding.device_set) > 1 else None
    # Two programs, compiled side by side: XLA keeps no more than one core and a bit busy with each.
    start = jax.vmap(lambda setting, key: begin(make(**setting), key))
    first = jax.jit(start, out_shardings=where).trace(settings, keys)
    begun = jax.tree.map(lambda leaf: leaf.update(sharding=where), first.out_info)
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        # Traced and lowered here, not aside: jax.enable_x64(True) and its like hold for one thread.
        starting = aside.submit(first.lower().compile)
        loop = jax.jit(program, donate_argnums=2, out_shardings=(where, None, None))
        compiled = loop.lower(settings, keys, begun, jnp.int32(0)).compile()
        members = starting.result()(settings, keys)
    compile_seconds = time.perf_counter() - began

    began, done, chunks, elapsed = time.perf_counter(), 0, [], []
    while done < num_rounds and not bool(members.stopped.all()):
        members, rows, rounds = compiled(settings, keys, members, jnp.int32(min(chunk, num_rounds - done)))
        rounds = int(rounds)
        metrics, scores = jax.tree.map(lambda x, rounds=rounds: np.asarray(x[:rounds]), rows)
        # [rounds, B, eval_every] -> [steps, B]
        metrics = {name: np.moveaxis(x, 1, 2).reshape(-1, len(keys)) for name, x in metrics.items()}
        done += rounds
        chunks.append((metrics, scores))
        elapsed += [time.perf_counter() - began] * rounds * plan.eval_every
        if on_chunk:
            running = int((~members.stopped).sum())
            on_chunk(Progress(done * plan.eval_every, metrics, scores, running, compile_seconds, elapsed[-1]))
        if bool((members.fault > 0).any()):
            break
    result = Result(
        members=members if plan.keep_state else members._replace(state=()),
        metrics={name: np.concatenate([m[name] for m, _ in chunks]) for name in chunks[0][0]},
        scores=np.concatenate([s for _, s in chunks]),
        elapsed=np.array(elapsed),
        compile_seconds=compile_seconds,
        run_seconds=time.perf_counter() - began,
        plan=plan,
        names=(*sorted(chunks[0][0]), "parameters", "score"),
    )
    if bool((members.fault > 0).any()):
        raise Diverged(_diagnosis(result), result)
    return result


def _diagnosis(result: Result) -> str:
    fault = np.asarray(result.members.fault)
    first = int(np.flatnonzero(fault)[np.argmin(np.asarray(result.members.steps)[fault > 0])])
    name = result.names[fault[first] - 1]
    step = int(result.members.steps[first]) + (name != "score")  # counted from 1; a score comes after its step
    return (
        f"{name} ceased to be finite in step {step} of member {first} ({int((fault > 0).sum())} of {fault.size} members "
        "failed). The parameters kept are the last finite ones. A smaller learning rate is the usual cure."
    )


def _finite(tree: Any) -> Array:
    return jnp.stack([jnp.bool_(True), *(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))]).all()


def _select(condition: Array, yes: Any, no: Any) -> Any:
    return jax.tree.map(lambda y, n: jnp.where(condition, y, n), yes, no)
