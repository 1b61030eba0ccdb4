"""The measuring harness: contenders live in processes of their own and are asked in turn, so that noise hits all alike.

A contender is a function `prepare(**case) -> Prepared` in the dictionary `CONTENDERS` of a module. Driver and worker
speak JSON, one object a line: a request `{"case": name, "seconds": at least so long, "arguments": {...}}` is answered
`{"seconds": wall, "cpu_seconds": of the whole process, "compile_seconds": apart, "steps": done meanwhile, "peak_bytes": of
its memory, "trace_seconds": of those to compile}`.
Imported by the peers' interpreter too, hence nothing but the standard library at the top, and no rljax.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PEERS = "not measured: python -m venv peers && peers/bin/pip install gymnax six, then --peer-python peers/bin/python"


class Prepared(NamedTuple):
    """A contender ready to run."""

    run: Callable[[], Any]  # returns when the work is done, not when it is enqueued
    steps: int  # environment steps of one call
    compile_seconds: float = 0.0
    trace_seconds: float = 0.0  # among those: Python's, before the compiler has anything


class Measurement(NamedTuple):
    """What a worker answers; several become one by `middle`."""

    seconds: float
    cpu_seconds: float
    compile_seconds: float
    steps: int
    peak_bytes: int = 0  # the most memory that the worker has held until now
    trace_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Environment steps per second of wall time."""
        return self.steps / self.seconds


class Contender(NamedTuple):
    """Whom to ask, and for what."""

    worker: Worker
    case: str
    arguments: Mapping[str, Any]


def compiled(function: Callable[..., Any], *arguments: Any, steps: int) -> Prepared:
    """`jax.jit(function)`, compiled ahead for `arguments`, so that no call to be timed ever compiles."""
    import jax

    begin = time.perf_counter()
    lowered = jax.jit(function).lower(*arguments)
    traced = time.perf_counter() - begin
    program = lowered.compile()
    seconds = time.perf_counter() - begin
    return Prepared(lambda: jax.block_until_ready(program(*arguments)), steps, seconds, traced)


def pin(one_core: bool) -> None:
    """This process to one core, for good: the threads of JAX, which starts later, inherit it."""
    if one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def serve(module: str) -> None:
    """The worker's side: prepare each case once, time it as often as asked, until the driver hangs up."""
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not garble the answers
    contenders = importlib.import_module(module).CONTENDERS
    ready: dict[str, Prepared] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if line not in ready:
            ready[line] = contenders[request["case"]](**request["arguments"])
            ready[line].run()  # first calls pay for buffers, caches and threads
        prepared, calls, begin, cpu = ready[line], 0, time.perf_counter(), time.process_time()
        # As many calls as fill the time: a contender a hundred times faster is measured as long as the others.
        while (seconds := time.perf_counter() - begin) < request["seconds"]:
            prepared.run()
            calls += 1
        cpu_seconds = time.process_time() - cpu
        peak = _peak_bytes()
        compiling = prepared.compile_seconds
        answer = Measurement(seconds, cpu_seconds, compiling, calls * prepared.steps, peak, prepared.trace_seconds)
        print(json.dumps(answer._asdict()), file=answers, flush=True)


def _peak_bytes() -> int:
    """The most memory that this process has held: `ru_maxrss` is that of whoever started it, if that was more."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
    return 1024 * (peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class Worker:
    """A persistent process that serves the contenders of one module."""

    def __init__(self, module: str, python: str | Path = sys.executable) -> None:
        """Start it; it says nothing before it is asked."""
        # Default flags and cold compilations for everybody, whatever the caller's shell has set.
        environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")}
        code = f"from experiments.benchmarks.interleave import serve; serve({module!r})"
        self._name, self._errors = f"{module} under {python}", tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [python, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def ask(self, case: str, seconds: float, arguments: Mapping[str, Any]) -> Measurement:
        """One measurement of at least `seconds`."""
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        try:
            requests.write(json.dumps({"case": case, "seconds": seconds, "arguments": arguments}) + "\n")
            requests.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            words, code = "".join(self._errors.readlines()[-5:]).strip(), self._process.wait()
            raise ChildProcessError(f"the worker {self._name} died with {code} at {case!r}; its last words:\n{words}")
        return Measurement(**json.loads(answer))

    def close(self) -> None:
        """Hang up and wait."""
        self._process.communicate()
        self._errors.close()


@contextmanager
def workers(ours: str, peer_python: Path | None) -> Iterator[tuple[Worker, Worker | None]]:
    """Our worker and, if there is an interpreter for it (given, or in `RLJAX_PEER_PYTHON`), that of the peers."""
    python = peer_python or os.environ.get("RLJAX_PEER_PYTHON")
    mine = Worker(ours)
    peer = Worker("experiments.benchmarks.gymnax_worker", Path(python).absolute()) if python else None
    try:
        yield mine, peer
    finally:
        mine.close()
        if peer:
            peer.close()


class Case(NamedTuple):
    """One race: name -> (contender, arguments) of ours and of the peers', and the ratios that are wanted."""

    ours: Mapping[str, tuple[str, Mapping[str, Any]]]
    peers: Mapping[str, tuple[str, Mapping[str, Any]]]
    bars: Mapping[str, float]


def versus_gymnax(
    name: str, out: Path | None, options: Mapping[str, Any], cases: Mapping[str, Case], rounds: int, seconds: float
) -> None:
    """Race "rljax" of `experiments.NAME` against the others in every case: tables on the terminal, `summary.json` in `out`."""
    import inspect

    from experiments import _console
    from rljax import noise
    from rljax.runs import folder

    path = folder.create(out, name)
    folder.write_config(path, name, options, locals())
    # Fewer rounds of the cipher are faster: whoever reads the ratios must know them. JAX's own, hence gymnax, has 20.
    rounds_of = {"rljax": inspect.signature(noise.threefry).parameters["rounds"].default, "gymnax": 20}
    summary: dict[str, Any] = {"threefry_rounds": rounds_of}
    _console.console.print("rounds of Threefry: rljax {rljax}, gymnax {gymnax}".format(**rounds_of))
    with workers(f"experiments.{name}", options["peer_python"]) as (mine, peer):
        for title, case in cases.items():
            contenders = {who: Contender(mine, *what) for who, what in case.ours.items()}
            if peer:
                contenders |= {who: Contender(peer, *what) for who, what in case.peers.items()}
            summary[title] = rows = summarise(race(contenders, rounds, seconds), "rljax", case.bars)
            _console.table(title, lines(rows))
    if not peer:
        _console.console.print(f"gymnax {PEERS}")
    folder.write_json(path / "summary.json", summary)
    _console.files(path)


def race(contenders: Mapping[str, Contender], rounds: int, seconds: float) -> dict[str, list[Measurement]]:
    """`rounds` measurements of each, in turn (A, B, C, A, B, C, ...)."""
    results: dict[str, list[Measurement]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (worker, case, arguments) in contenders.items():
            results[name].append(worker.ask(case, seconds, arguments))
    return results


def summarise(results: Mapping[str, list[Measurement]], ours: str, bars: Mapping[str, float]) -> list[dict[str, Any]]:
    """One record per contender: median rate and its spread, and how many times faster `ours` was, round by round.

    A ratio is taken inside each round, where both met the same neighbours, and only then the median over rounds.
    """
    rows = []
    for name, measurements in results.items():
        rates = [m.rate for m in measurements]
        ratios = [mine.rate / other.rate for mine, other in zip(results[ours], measurements, strict=True)]
        bar = bars.get(name)
        rows.append(
            {
                "contender": name,
                "steps_per_second": statistics.median(rates),
                "slowest": min(rates),
                "fastest": max(rates),
                "steps_per_cpu_second": statistics.median(m.steps / m.cpu_seconds for m in measurements),
                "ours_faster": statistics.median(ratios),
                "ours_faster_range": [min(ratios), max(ratios)],
                "bar": bar,
                "reached": None if bar is None else statistics.median(ratios) >= bar,
                "compile_seconds": measurements[0].compile_seconds,
            }
        )
    return rows


def lines(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """`summarise`'s records as texts for a table."""
    return [
        {
            "contender": row["contender"],
            "M steps/s": _short(row["steps_per_second"] / 1e6),
            "spread": f"{_short(row['slowest'] / 1e6)}-{_short(row['fastest'] / 1e6)}",
            "ours faster": f"{_short(row['ours_faster'])}x",
            "rounds": "-".join(map(_short, row["ours_faster_range"])),
            "bar": "" if row["bar"] is None else f">={row['bar']:g}x {'reached' if row['reached'] else 'MISSED'}",
            "compile": f"{row['compile_seconds']:.2f} s",
        }
        for row in rows
    ]


def _short(number: float) -> str:
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"
