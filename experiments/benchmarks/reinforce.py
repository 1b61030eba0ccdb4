"""REINFORCE, 150 updates of the chapter's set-up: one seed and 256 against NumPy, compilation and first result apart."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.interleave import Prepared, compiled

UPDATES = 150


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    seconds: float = 0.5,
    seeds: int = 256,
) -> None:
    """Measure whole trainings, in turn; then how long a fresh process needs to its first result.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round, 8 seeds.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement; one call at least.
      seeds: trained at once by the last contender.
    """
    import statistics
    import subprocess
    import sys
    import time

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds, seconds, seeds = 1, 0.05, 8
    path = folder.create(out, "benchmarks.reinforce")
    folder.write_config(path, "benchmarks.reinforce", options, locals())
    worker = interleave.Worker("experiments.benchmarks.reinforce")
    case = {"seed": seed}
    contenders = {
        "one seed": interleave.Contender(worker, "rljax", {**case, "seeds": 1}),
        "NumPy": interleave.Contender(worker, "numpy", case),
        f"{seeds} seeds": interleave.Contender(worker, "rljax", {**case, "seeds": seeds}),
    }
    results = interleave.race(contenders, rounds, seconds)
    worker.close()
    starts = []
    for _ in range(rounds):
        begin = time.perf_counter()
        code = "from experiments.benchmarks.reinforce import first_result; first_result()"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=interleave.ROOT, capture_output=True)
        starts.append(time.perf_counter() - begin)

    def each(name: str, what: str) -> list[float]:
        return [getattr(m, what) * UPDATES / m.steps for m in results[name]]  # of one training

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(a / b for a, b in zip(each(slow, "seconds"), each(fast, "seconds"), strict=True))

    compiling, tracing = results["one seed"][0].compile_seconds, results["one seed"][0].trace_seconds
    measured = {
        "one seed: seconds of one core": (statistics.median(each("one seed", "cpu_seconds")), "<=", 0.1),
        "NumPy / one seed": (ratio("NumPy", "one seed"), ">=", 20.0),
        f"{seeds} seeds / one seed": (ratio(f"{seeds} seeds", "one seed"), "<=", 40.0),
        f"{seeds} seeds: seconds": (statistics.median(each(f"{seeds} seeds", "seconds")), "<=", 4.0),
        "compilation of the training program, one seed": (compiling, "<=", 2.0),
        "by XLA, without the tracing before it": (compiling - tracing, "<=", 2.0),
        "process start to first result": (statistics.median(starts), "<=", 5.0),
    }
    summary = {
        name: {"median": value, "bar": f"{sign} {bar:g}", "reached": value <= bar if sign == "<=" else value >= bar}
        for name, (value, sign, bar) in measured.items()
    }
    summary["seconds of each round"] = {name: each(name, "seconds") for name in results}
    folder.write_json(path / "summary.json", summary)
    _console.table(
        f"REINFORCE, {UPDATES} updates",
        [
            {
                "what": name,
                "median": f"{value:.3g}",
                "bar": f"{sign} {bar:g}",
                "": "reached" if summary[name]["reached"] else "MISSED",
            }
            for name, (value, sign, bar) in measured.items()
        ],
    )
    _console.files(path)


def rljax(seed: int, seeds: int) -> Prepared:
    """The loop's own pure functions under one `jit`: 150 updates of every seed, no score, no look of the host."""
    import jax

    from rljax import agents, envs, networks, train

    algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy())
    plan = train.Plan(eval_every=UPDATES)

    def one(key: jax.Array) -> tuple[train.Member, dict[str, jax.Array]]:
        member, metrics, _ = train.advance(algorithm, key, train.begin(algorithm, key), plan)
        return member, metrics

    keys = jax.random.split(jax.random.key(seed), seeds)
    return compiled(jax.vmap(one), keys, steps=UPDATES)


def numpy(seed: int) -> Prepared:
    """The strongest reasonable port: `numpy_reinforce`."""
    from experiments.benchmarks import numpy_reinforce

    return Prepared(lambda: numpy_reinforce.train(seed, UPDATES), UPDATES)


def first_result() -> None:
    """What a user waits for: import, compile, and the first ten updates of one seed."""
    import jax

    from rljax import agents, envs, networks, train

    algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy())
    result = train.train(algorithm, jax.random.split(jax.random.key(0), 1), 10)
    print(result.metrics["mean_length"][-1])


CONTENDERS = {"rljax": rljax, "numpy": numpy}
