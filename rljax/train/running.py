"""The one loop: it runs any `Algorithm` for many members (seeds, settings) at once, as compiled chunks.

A chunk is some rounds (`loop.advance`) of all members in one compiled `while_loop`, and ends when the last has stopped; the
host acts only between chunks. A program has a fixed number of places. Members beyond that wait in line, and take the places of
those that have finished: nobody waits for the slowest, and a member's bits do not depend on who sits beside it, if anybody.
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
from rljax.train import memory
from rljax.train.loop import Member, Plan, advance, begin, planned, select


@dataclass(frozen=True)
class Progress:
    """What the host is shown after each chunk."""

    steps: int  # taken by the member that has taken most
    metrics: dict[str, np.ndarray]  # of the chunk: name -> [steps, B], NaN where a member had stopped
    scores: np.ndarray  # [rounds, B] of the chunk
    running: int  # members not yet stopped
    finished: int  # members that need no more steps
    compile_seconds: float
    run_seconds: float  # since the start, compilation apart


@dataclass(frozen=True)
class Result:
    """What a run leaves. B members."""

    members: Member  # leaves [B, ...]
    metrics: dict[str, np.ndarray]  # name -> [steps, B], NaN where a member had stopped
    scores: np.ndarray  # [rounds, B]
    elapsed: np.ndarray  # [steps] run seconds by the end of the last chunk that held the step
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


class Program(NamedTuple):
    """What `train` compiles, for a fixed number of members side by side."""

    begin: jax.stages.Compiled  # (settings, keys) -> members
    advance: jax.stages.Compiled  # (settings, keys, members, rounds) -> members, rows, rounds done
    places: int
    plan: Plan
    chunk: int  # most rounds of a call
    seconds: float  # that compilation took


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
      ValueError, TypeError: before anything is compiled, what the maker itself refuses among them; before anything is
        run, a program that needs more memory than there is.
      Diverged: after the chunk in which a member's metrics or parameters ceased to be finite; carries the result.

    Example:
      >>> from rljax import agents, envs, networks
      >>> algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy(), max_steps=20)
      >>> result = train(algorithm, jax.random.split(jax.random.key(0), 2), 4, eval_every=2)
      >>> result.metrics["mean_length"].shape
      (4, 2)
    """
    several(keys)
    checks.integer("num_steps", num_steps, 1)
    checks.integer("chunk", chunk, 1)
    if on_chunk is not None:
        checks.function("on_chunk", on_chunk, "lambda progress: print(progress.steps), or None")
    plan = planned(num_steps, eval_every, target, patience, give_up, score, keep_state)
    make, arrays = _maker(algorithm, settings or {}, len(keys))
    num_rounds = num_steps // plan.eval_every
    program = compiled(make, keys, arrays, plan, min(chunk, num_rounds))
    return run(program, keys, arrays, num_rounds, on_chunk)


def several(keys: Array) -> None:
    """Keys [B], at least one."""
    checks.key(keys, getattr(keys, "shape", ()))
    if keys.ndim != 1 or not keys.size:
        raise ValueError(
            f"keys has shape {keys.shape}; expected keys of shape (B,), at least one: jax.random.split(key, B)."
        )


def _maker(
    algorithm: Algorithm | Callable[..., Algorithm], settings: Mapping[str, Any], num_members: int
) -> tuple[Callable[..., Algorithm], dict[str, Array]]:
    """A maker, tried with every different row of the settings, and the settings as arrays [B]."""
    if not isinstance(settings, Mapping):
        raise TypeError(
            f"settings is {settings!r}; expected numbers by name, such as {{'learning_rate': [0.01, 0.001]}}."
        )
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


def compiled(
    make: Callable[..., Algorithm], keys: Array, settings: dict[str, Array], plan: Plan, chunk: int
) -> Program:
    """A program for as many members as there are keys, and settings, here: of those only shapes and types count.

    Errors:
      ValueError: it needs more memory than there is.
    """
    began = time.perf_counter()
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
    # What can never fit is refused before it costs a compilation, or breaks the compiler.
    memory.refuse(memory.held(begun) // len(keys.sharding.device_set), len(keys), memory.available())
    # Traced and lowered here, not aside: jax.enable_x64(True) and its like hold for one thread. And before the other thread
    # starts: the two would wait for each other.
    loop = jax.jit(program, donate_argnums=2, out_shardings=(where, None, None))
    advancing, starting = loop.lower(settings, keys, begun, jnp.int32(0)), first.lower()
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        compiling = aside.submit(advancing.compile)
        started = starting.compile()
        program_ = Program(started, compiling.result(), len(keys), plan, chunk, time.perf_counter() - began)
    memory.refuse(memory.needed(program_.begin, program_.advance), len(keys), memory.available())
    return program_


def run(
    program: Program,
    keys: Array,
    settings: dict[str, Array],
    num_rounds: int,
    on_chunk: Callable[[Progress], None] | None = None,
    *,
    halt: bool = True,
) -> Result:
    """M members through the places of a program. With fewer members than places, the others are computed and never read.

    Args:
      program: from `compiled`.
      keys, settings: [M, ...].
      num_rounds: of each member that does not stop before.
      on_chunk: is shown a `Progress` after each chunk.
      halt: a fault of one member ends the run, with `Diverged`; otherwise it stops that member alone.
    """
    began, plan, places, everyone = time.perf_counter(), program.plan, program.places, len(keys)
    sitting = np.arange(places) % everyone  # which member has the place
    empty = np.arange(places) >= everyone  # they stand still from the first step on, copies of members
    done, over, gone = np.zeros(places, int), empty.copy(), empty.copy()
    waiting = min(places, everyone)  # the first member that has no place yet
    kind, numbers = jax.random.key_impl(keys), jax.random.key_data(keys)

    def seated() -> tuple[dict[str, Array], Array]:
        if places == everyone:
            return settings, keys
        here = {name: values[sitting] for name, values in settings.items()}
        return here, jax.random.wrap_key_data(numbers[sitting], impl=kind)  # a key for each, not one that was used

    here = seated()
    members = program.begin(*here)
    members = members._replace(stopped=members.stopped | empty) if empty.any() else members
    chunks: list[_Chunk] = []
    left: list[tuple[np.ndarray, Member]] = []  # who gave up a place, and how
    elapsed, stops, halted = np.zeros(num_rounds * plan.eval_every), 0, False

    def leave(who: np.ndarray) -> None:
        kept = members if plan.keep_state else members._replace(state=())
        left.append((sitting[who], kept if who.all() else jax.tree.map(lambda leaf: leaf[np.flatnonzero(who)], kept)))

    while not (over.all() or halted):
        most = min(program.chunk, int((num_rounds - done[~over]).min()))
        members, rows, rounds = program.advance(*here, members, jnp.int32(most))
        rounds = int(rounds)
        metrics, scores = jax.tree.map(lambda x, rounds=rounds: np.asarray(x)[:rounds], rows)
        chunks.append(
            _Chunk(sitting[~over], done[~over], {k: x[:, ~over] for k, x in metrics.items()}, scores[:, ~over])
        )
        now = time.perf_counter() - began
        for first in np.unique(done[~over]):
            elapsed[first * plan.eval_every : (first + rounds) * plan.eval_every] = now
        done[~over] += rounds
        stopped = np.asarray(members.stopped)
        stops += int((stopped & ~over).sum())
        over |= stopped | (done == num_rounds)
        if on_chunk:
            metrics, steps = {name: _steps(x) for name, x in metrics.items()}, int(done.max()) * plan.eval_every
            finished = waiting - int((~over).sum())
            on_chunk(Progress(steps, metrics, scores, everyone - stops, finished, program.seconds, now))
        halted = halt and bool((members.fault > 0).any())
        if halted or (over.all() and waiting == everyone):
            break
        through = over & ~stopped & ~gone
        if through.any():  # they would run on beside the others
            leave(through)
            gone |= through
            members = members._replace(stopped=members.stopped | through)
        # To begin costs the same for one place as for all (a warm-up, say): it waits until a quarter of them is free.
        if waiting < everyone and over.sum() >= max(1, places // 4):
            free = over & (np.cumsum(over) <= everyone - waiting)
            if (free & ~gone).any():
                leave(free & ~gone)
            sitting = sitting.copy()
            sitting[free] = np.arange(waiting, waiting + free.sum())
            waiting += int(free.sum())
            here = seated()
            members = jax.vmap(select)(jnp.asarray(free), program.begin(*here), members)
            done[free], over[free], gone[free] = 0, False, False
    leave(~gone)
    longest = max(int(chunk.done.max()) + len(chunk.scores) for chunk in chunks)
    result = Result(
        members=_in_line(left),
        metrics={name: _steps(_rows(chunks, everyone, longest, name)) for name in chunks[0].metrics},
        scores=_rows(chunks, everyone, longest),
        elapsed=elapsed[: longest * plan.eval_every],
        compile_seconds=program.seconds,
        run_seconds=time.perf_counter() - began,
        plan=plan,
        names=(*sorted(chunks[0].metrics), "parameters", "score"),
    )
    if halted:
        raise Diverged(diagnosis(result), result)
    return result


class _Chunk(NamedTuple):
    """What L members did between two looks of the host."""

    who: np.ndarray  # [L]
    done: np.ndarray  # [L] rounds before it
    metrics: dict[str, np.ndarray]  # name -> [rounds, L, eval_every]
    scores: np.ndarray  # [rounds, L]


def _rows(chunks: list[_Chunk], everyone: int, longest: int, name: str | None = None) -> np.ndarray:
    """[rounds, M, ...] the metric of that name, or the scores, each where it belongs; NaN where a member had stopped."""
    pieces = [chunk.scores if name is None else chunk.metrics[name] for chunk in chunks]
    rows = np.full((longest, everyone, *pieces[0].shape[2:]), np.nan, pieces[0].dtype)
    for chunk, piece in zip(chunks, pieces, strict=True):
        rows[chunk.done + np.arange(len(piece))[:, None], chunk.who] = piece
    return rows


def _steps(rows: np.ndarray) -> np.ndarray:
    """[rounds, B, eval_every] as [steps, B]."""
    return np.moveaxis(rows, 1, 2).reshape(-1, rows.shape[1])


def _in_line(left: list[tuple[np.ndarray, Member]]) -> Member:
    """All members in the order of their keys."""
    if len(left) == 1:
        return left[0][1]
    order = np.argsort(np.concatenate([who for who, _ in left]))
    return jax.tree.map(lambda *pieces: jnp.concatenate(pieces)[order], *(members for _, members in left))


def diagnosis(result: Result) -> str:
    """What ceased to be finite, when and where."""
    fault = np.asarray(result.members.fault)
    first = int(np.flatnonzero(fault)[np.argmin(np.asarray(result.members.steps)[fault > 0])])
    name = result.names[fault[first] - 1]
    step = int(result.members.steps[first]) + (name != "score")  # counted from 1; a score comes after its step
    failed = int((fault > 0).sum())
    others = ", at which all stop" if failed < fault.size else ""
    return (
        f"{name} ceased to be finite, or credible, in step {step} of member {first} ({failed} of {fault.size} members failed"
        f"{others}). The parameters kept are the last finite ones. A smaller learning rate is the usual cure."
    )
