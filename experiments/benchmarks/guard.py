"""What the guard around a Gymnasium environment costs: guarded against plain steps of its fastest, CartPole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from experiments.benchmarks.interleave import Prepared

BAR = 0.03  # of a plain step
SIZES = (1, 64, 1024)


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 100,
    seconds: float = 0.03,
) -> None:
    """Measure `gymnasium.make("CartPole-v1")` and the NumPy vectors of 64 and 1024, plain, guarded, and with a step limit.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 3 rounds.
      rounds: interleaved measurements of each contender: many and short, since a few percent are to be told apart.
      seconds: shortest measurement.
    """
    import statistics

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds = 3
    checks.seed(seed)
    checks.integer("rounds", rounds, 2)
    checks.real("seconds", seconds, 0, above=True)
    path = folder.create(out, "benchmarks.guard")
    folder.write_config(path, "benchmarks.guard", options, locals())
    worker, summary = interleave.Worker("experiments.benchmarks.guard"), {}
    try:
        for num_envs in SIZES:
            case = {"seed": seed, "num_envs": num_envs}
            contenders = {name: interleave.Contender(worker, name, case) for name in CONTENDERS}
            results = interleave.race(contenders, rounds, seconds)
            # Of the processor: one thread works, and what other processes take of the clock is larger than what is sought.
            each = {name: [num_envs * m.cpu_seconds / m.steps for m in results[name]] for name in results}
            for name, times in each.items():
                extra = [time / plain - 1 for time, plain in zip(times, each["plain"], strict=True)]
                overhead = statistics.median(extra)
                summary[f"N = {num_envs}, {name}"] = {
                    "microseconds_per_step": 1e6 * statistics.median(times),
                    "overhead": overhead,
                    "overhead_quartiles": statistics.quantiles(extra, n=4)[::2],
                    "reached": overhead <= BAR,
                    "microseconds_of_each_round": [1e6 * time for time in times],
                }
    finally:
        worker.close()
    folder.write_json(path / "summary.json", summary)
    _console.table(
        f"the guard around CartPole, {rounds} rounds",
        [
            {
                "what": name,
                "a step": f"{row['microseconds_per_step']:.2f} us",
                "overhead": f"{row['overhead']:+.2%}",
                "quartiles": " ... ".join(f"{x:+.1%}" for x in row["overhead_quartiles"]),
                "bar": "" if name.endswith("plain") else f"<= {BAR:.0%} {'reached' if row['reached'] else 'MISSED'}",
            }
            for name, row in summary.items()
        ],
    )
    _console.files(path)


def plain(seed: int, num_envs: int) -> Prepared:
    """As Gymnasium makes it."""
    return _prepared(seed, num_envs, lambda env: env)


def guarded(seed: int, num_envs: int) -> Prepared:
    """Guarded."""
    from rljax.envs import guard

    return _prepared(seed, num_envs, guard.guarded)


def guarded_with_limit(seed: int, num_envs: int) -> Prepared:
    """Guarded, and episodes that never end are noticed."""
    from rljax.envs import guard

    return _prepared(seed, num_envs, lambda env: guard.guarded(env, max_episode_steps=1000))


def _prepared(seed: int, num_envs: int, wrap: Callable) -> Prepared:
    import gymnasium
    import numpy as np

    generator = np.random.default_rng(seed)
    if num_envs == 1:
        env = wrap(gymnasium.make("CartPole-v1"))
        env.reset(seed=seed)
        actions = generator.integers(0, 2, 300).tolist()

        def run() -> None:
            for action in actions:
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()

        return Prepared(run, len(actions))
    env = wrap(gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point"))
    env.reset(seed=seed)
    batches = generator.integers(0, 2, (50, num_envs))

    def run_all() -> None:
        kept = None
        for batch in batches:
            kept = env.step(batch)  # until the next: whoever learns holds what it has seen last
        del kept

    return Prepared(run_all, batches.size)


CONTENDERS = {"plain": plain, "guarded": guarded, "guarded_with_limit": guarded_with_limit}
