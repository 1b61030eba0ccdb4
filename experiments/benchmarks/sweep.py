"""Sweeps: runs that end early, and runs that do not, by how many sit side by side; one after the other is a place for one."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    runs: int = 256,
    places: tuple[int, ...] = (1, 8, 64, 256),
) -> None:
    """Measure the same runs of REINFORCE through programs of different widths, in turn.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round of 8 runs, through 1 and 4 places.
      rounds: interleaved measurements of each width.
      runs: how many; the widest program seats them all and so waits for the slowest.
      places: widths.
    """
    import statistics
    import time

    import jax

    from experiments import _console
    from rljax import agents, checks, envs, networks
    from rljax.runs import folder
    from rljax.train import loop, running

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("rounds", "runs"):
        checks.integer(name, options[name], 1)
    for width in places:
        checks.integer("places", width, 1)
    if quick:
        rounds, runs, places = 1, 8, (1, 4)
    path = folder.create(out, "benchmarks.sweep")
    folder.write_config(path, "benchmarks.sweep", options, locals())
    algorithm = agents.reinforce(envs.CartPole(), networks.chapter_policy())
    keys = jax.random.split(jax.random.key(seed), runs)
    plans = {  # 150 updates each; a target of 195 is reached after 10 to 150
        "all of one length": loop.planned(150, 5, None, 1, None, True, False),
        "until 195 of 200": loop.planned(150, 5, 195.0, 1, None, True, False),
    }
    summary: dict[str, object] = {"runs": runs}
    for title, plan in plans.items():
        programs, seconds, steps = {}, {width: [] for width in places}, 0.0
        for width in places:
            begin = jax.random.clone(keys)[: min(width, runs)]
            programs[width] = running.compiled(lambda: algorithm, begin, {}, plan, 2)
            running.run(programs[width], jax.random.clone(keys), {}, 30)  # first calls pay for buffers and threads
        for _ in range(rounds):
            for width, program in programs.items():
                begin = time.perf_counter()
                result = running.run(program, jax.random.clone(keys), {}, 30)
                seconds[width].append(time.perf_counter() - begin)
                steps = float(result.members.steps.mean())
        best = min(seconds, key=lambda width: statistics.median(seconds[width]))
        rows = [
            {
                "places": width,
                "seconds": statistics.median(times),
                "against_the_best": statistics.median(a / b for a, b in zip(times, seconds[best], strict=True)),
                "compile_seconds": programs[width].seconds,
                "each": times,
            }
            for width, times in seconds.items()
        ]
        summary[title] = {"mean_updates": steps, "widths": rows}
        _console.table(
            f"{runs} runs of REINFORCE, {title} (mean {steps:.0f} updates)",
            [
                {
                    "side by side": f"{row['places']}",
                    "seconds": f"{row['seconds']:.2f}",
                    "against the best": f"{row['against_the_best']:.2f}x",
                    "compile": f"{row['compile_seconds']:.1f} s",
                }
                for row in rows
            ],
        )
    folder.write_json(path / "summary.json", summary)
    _console.files(path)
