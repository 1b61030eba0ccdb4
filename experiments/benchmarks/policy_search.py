"""Genetic policy search, from nothing to 500 of 500 on CartPole: whole searches against evosax and gymnax; first result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.benchmarks.interleave import Prepared

CASE = {"population": 100, "episodes": 4, "final_episodes": 64, "max_steps": 500, "mutation": 0.5, "generations": 30}
PEERS = (
    "not measured: python -m venv peers && peers/bin/pip install gymnax six evosax, then --peer-python peers/bin/python"
)


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 7,
    seconds: float = 2.0,
    peer_python: Path | None = None,
) -> None:
    """Measure whole searches, each with another seed, in turn; then how long a fresh process needs to its first champion.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement; one search at least.
      peer_python: interpreter that has evosax and gymnax; default: the environment variable RLJAX_PEER_PYTHON.
    """
    import os
    import statistics
    import subprocess
    import sys
    import time

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds, seconds = 1, 0.05
    path = folder.create(out, "benchmarks.policy_search")
    folder.write_config(path, "benchmarks.policy_search", options, locals())
    case = {"seed": seed, **CASE}
    workers = {"rljax": interleave.Worker("experiments.benchmarks.policy_search")}
    if python := peer_python or os.environ.get("RLJAX_PEER_PYTHON"):
        workers["evosax"] = interleave.Worker("experiments.benchmarks.evosax_worker", Path(python).absolute())
    results = interleave.race(
        {name: interleave.Contender(worker, "search", case) for name, worker in workers.items()}, rounds, seconds
    )
    for worker in workers.values():
        worker.close()
    starts = []
    for _ in range(rounds):
        begin = time.perf_counter()
        code = "from experiments.benchmarks.policy_search import first_result; first_result()"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=interleave.ROOT, capture_output=True)
        starts.append(time.perf_counter() - begin)

    rows: list[dict[str, Any]] = interleave.summarise(results, "rljax", {"evosax": 8.0})
    first = statistics.median(starts)
    folder.write_json(
        path / "summary.json",
        {
            "searches": rows,
            "process start to first champion": {"median": first, "bar": "<= 2", "reached": first <= 2, "each": starts},
        },
    )
    _console.table(
        "Genetic policy search, 100 candidates, until one survives 64 fresh episodes of 500 steps",
        [
            {
                "contender": row["contender"],
                "a search": f"{1e3 / row['steps_per_second']:.3g} ms",
                "ours faster": f"{row['ours_faster']:.3g}x",
                "rounds": "-".join(f"{ratio:.3g}" for ratio in row["ours_faster_range"]),
                "bar": "" if row["bar"] is None else f">={row['bar']:g}x {'reached' if row['reached'] else 'MISSED'}",
            }
            for row in rows
        ],
    )
    _console.console.print(
        f"compilation {results['rljax'][0].compile_seconds:.2f} s; process start to first champion {first:.2f} s "
        f"(bar 2 s: {'reached' if first <= 2 else 'MISSED'})"
    )
    if "evosax" not in workers:
        _console.console.print(f"evosax {PEERS}")
    _console.files(path)


def search(
    seed: int, population: int, episodes: int, final_episodes: int, max_steps: int, mutation: float, generations: int
) -> Prepared:
    """The loop's own pure functions in one `while_loop`, one program; another seed in every call."""
    import itertools
    import time

    import jax
    import jax.numpy as jnp

    from rljax import agents, envs, networks, train

    algorithm = agents.policy_search(
        envs.CartPole(),
        networks.linear_policy(4),
        agents.genetic(population, population // 5, mutation=mutation),
        episodes=episodes,
        max_steps=max_steps,
        score_episodes=final_episodes,
    )
    plan = train.Plan(eval_every=1, score=True, target=float(max_steps))

    def whole(key: jax.Array) -> train.Member:
        one = lambda member: train.advance(algorithm, key, member, plan)[0]
        going = lambda member: ~member.stopped & (member.steps < generations)
        return jax.lax.while_loop(going, one, train.begin(algorithm, key))

    begin = time.perf_counter()
    program = jax.jit(whole).lower(jax.random.key(seed)).compile()
    seconds, seeds = time.perf_counter() - begin, itertools.count(seed)
    return Prepared(lambda: jnp.asarray(program(jax.random.key(next(seeds))).steps).block_until_ready(), 1, seconds)


def first_result() -> None:
    """What a user waits for: import, compile, and a champion."""
    import jax

    from rljax import agents, envs, networks, train

    algorithm = agents.policy_search(envs.CartPole(), networks.linear_policy(4))
    result = train.train(algorithm, jax.random.split(jax.random.key(0), 1), 30, eval_every=1, target=500.0)
    print(result.members.best_score)


CONTENDERS = {"search": search}
