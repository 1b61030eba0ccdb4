"""CartPole behind Gymnasium's interface, random actions: thousand steps per second against Gymnasium's own environments."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.interleave import Prepared

FUNCTIONAL, NUMPY = "Gymnasium, JAX", "Gymnasium, NumPy"  # its FunctionalJaxVectorEnv and CartPoleVectorEnv
BARS = {1: {}, 64: {}, 1024: {FUNCTIONAL: 50.0, NUMPY: 0.5}, 16384: {NUMPY: 1.0}}
OURS = "rljax.envs.gymnasium:rljax/CartPole-v1"


def main(*, seed: int = 0, out: Path | None = None, quick: bool = False, rounds: int = 7, seconds: float = 0.5) -> None:
    """Measure every contender at 1, 64, 1024 and 16384 environments, and one environment that is not a vector.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 2 rounds of 0.1 s.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement.
    """
    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    rounds, seconds = (2, 0.1) if quick else (rounds, seconds)
    checks.integer("rounds", rounds, 1)
    checks.real("seconds", seconds, 0, above=True, below=True)
    checks.seed(seed)
    cases: dict[str, tuple[dict[str, dict[str, Any]], dict[str, float]]] = {}
    cases["one environment"] = ({"rljax": {"name": OURS}, "Gymnasium": {"name": "CartPole-v1"}}, {})
    for num_envs, bars in BARS.items():
        contenders = {
            "rljax": {"name": OURS},
            "rljax, same step": {"name": OURS, "autoreset_mode": "SameStep"},
            "rljax, JAX arrays": {"name": OURS, "arrays": "jax"},
            NUMPY: {"name": "CartPole-v1"},
            FUNCTIONAL: {"name": "phys2d/CartPole-v1", "num_steps": 8},  # seconds: it compiles all along
        }
        cases[f"N = {num_envs}"] = ({who: {**what, "num_envs": num_envs} for who, what in contenders.items()}, bars)
    path, summary = folder.create(out, "benchmarks.gymnasium_adapters"), {}
    folder.write_config(path, "benchmarks.gymnasium_adapters", options)
    worker = interleave.Worker("experiments.benchmarks.gymnasium_adapters")
    try:
        for title, (contenders, bars) in cases.items():
            maker = "single" if title == "one environment" else "vector"
            asked = {
                who: interleave.Contender(worker, maker, {"seed": seed, **what}) for who, what in contenders.items()
            }
            summary[title] = rows = interleave.summarise(interleave.race(asked, rounds, seconds), "rljax", bars)
            _console.table(title, interleave.lines(rows))
    finally:
        worker.close()
    folder.write_json(path / "summary.json", summary)
    _console.files(path)


def single(seed: int, name: str) -> Prepared:
    """`gymnasium.make` with its usual wrappers, reset where episodes end."""
    import gymnasium
    import numpy as np

    env = gymnasium.make(name)
    actions = np.random.default_rng(seed).integers(0, 2, 1000)

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Prepared(run, len(actions), _begun(env, seed, actions[0]))


def vector(seed: int, name: str, num_envs: int, num_steps: int = 32, **options: Any) -> Prepared:
    """`gymnasium.make_vec`; a step that only resets is counted as one, alike for all, as is one that is frozen."""
    import gymnasium
    import jax
    import numpy as np

    envs = gymnasium.make_vec(name, num_envs, vectorization_mode="vector_entry_point", **options)
    actions: Any = np.random.default_rng(seed).integers(0, 2, (num_steps, num_envs))
    if envs.metadata.get("jax") or "phys2d" in name:
        actions = [jax.device_put(row) for row in actions]

    def run() -> None:
        answers = [envs.step(action)[0] for action in actions]
        jax.block_until_ready(answers[-1])

    return Prepared(run, num_steps * num_envs, _begun(envs, seed, actions[0]))


def _begun(env: Any, seed: int, action: Any) -> float:
    """Seconds of the first reset and the first step: compilation, where there is one that no other contender has done."""
    begin = time.perf_counter()
    env.reset(seed=seed)
    env.step(action)
    return time.perf_counter() - begin


CONTENDERS: dict[str, Callable[..., Prepared]] = {"single": single, "vector": vector}
