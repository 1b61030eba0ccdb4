"""CartPole behind Gymnasium's interface, random actions: million steps per second against Gymnasium's own environments."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.interleave import Prepared

FUNCTIONAL, NUMPY = "Gymnasium, JAX", "Gymnasium, NumPy"  # its FunctionalJaxVectorEnv and CartPoleVectorEnv
BARS = {1: {}, 64: {}, 1024: {FUNCTIONAL: 50.0, NUMPY: 0.5}, 16384: {NUMPY: 1.0}}
INLINE, OURS = "rljax, inline", "rljax.envs.gymnasium:rljax/CartPole-v1"


def main(*, seed: int = 0, out: Path | None = None, quick: bool = False, rounds: int = 7, seconds: float = 0.5) -> None:
    """Measure every contender at 1, 64, 1024 and 16384 environments, and one environment that is not a vector.

    "inline" is rljax in a process where JAX runs programs in the thread that asks for them.

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
    path, summary = folder.create(out, "benchmarks.gymnasium_adapters"), {}
    folder.write_config(path, "benchmarks.gymnasium_adapters", options, locals())
    worker, inline = (interleave.Worker("experiments.benchmarks.gymnasium_adapters") for _ in range(2))
    ours, theirs = {"seed": seed, "name": OURS}, {"seed": seed, "name": "CartPole-v1"}
    # Few steps a call, since they can take seconds: it compiles for every new number of environments that are reset.
    functional = {"seed": seed, "name": "phys2d/CartPole-v1", "num_steps": 8}
    one = {
        "rljax": (worker, "single", ours),
        NUMPY: (worker, "single", theirs),
        INLINE: (inline, "single_inline", ours),
    }
    many = {
        "rljax": (worker, "vector", ours),
        "rljax, same step": (worker, "vector", {**ours, "autoreset_mode": "SameStep"}),
        "rljax, JAX arrays": (worker, "vector", {**ours, "arrays": "jax"}),
        INLINE: (inline, "vector_inline", ours),
        NUMPY: (worker, "vector", theirs),
        FUNCTIONAL: (worker, "vector", functional),
    }
    cases = {"one environment": (one, {}, {})}
    cases |= {f"N = {num_envs}": (many, {"num_envs": num_envs}, bars) for num_envs, bars in BARS.items()}
    try:
        for title, (contenders, size, bars) in cases.items():
            asked = {
                who: interleave.Contender(w, maker, {**what, **size}) for who, (w, maker, what) in contenders.items()
            }
            summary[title] = rows = interleave.summarise(interleave.race(asked, rounds, seconds), "rljax", bars)
            _console.table(title, interleave.lines(rows))
    finally:
        worker.close()
        inline.close()
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


def _inline(contender: Callable[..., Prepared]) -> Callable[..., Prepared]:
    """As told to JAX before it starts, hence in a process of its own."""

    def prepare(**case: Any) -> Prepared:
        import jax

        jax.config.update("jax_cpu_enable_async_dispatch", False)
        return contender(**case)

    return prepare


CONTENDERS: dict[str, Callable[..., Prepared]] = {
    "single": single,
    "vector": vector,
    "single_inline": _inline(single),
    "vector_inline": _inline(vector),
}
