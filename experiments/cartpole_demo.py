"""CartPole under a random agent: what the task looks like, as a GIF."""

from __future__ import annotations

from pathlib import Path


def main(*, seed: int = 0, out: Path | None = None, quick: bool = False, steps: int = 200) -> None:
    """Record some steps of one environment, resetting it whenever the pole falls.

    Args:
      seed: of the random agent and the starts.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 30 steps.
      steps: number of steps, 50 a second; at most 1000.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console, _play
    from rljax import checks, envs
    from rljax.runs import folder

    options = {"seed": seed, "quick": quick, "steps": steps}
    checks.integer("steps", steps, 1)
    checks.real("steps", steps, 1, _play.LONGEST)
    checks.seed(seed)
    steps = min(steps, 30) if quick else steps
    path = folder.create(out, "cartpole_demo")
    folder.write_config(path, "cartpole_demo", options, {"steps": steps})
    env = envs.TimeLimit(envs.CartPole(), 500)
    at_random = lambda parameters, key, observation: jax.random.bernoulli(key).astype(jnp.int32)
    (played,) = _play.record(jax.random.key(seed), env, at_random, jnp.zeros(1), steps, once=False)
    _play.film(path / "random.gif", env, played, "a random agent")
    ends = np.flatnonzero(played.terminated)
    lengths = np.diff(ends, prepend=-1)
    summary = {"steps": steps, "episodes_ended": len(ends), "mean_length": lengths.mean() if len(ends) else None}
    folder.write_json(path / "summary.json", summary)
    said = lambda x: "-" if x is None else f"{x:.4g}"
    _console.table("A random agent", [{name.replace("_", " "): said(value) for name, value in summary.items()}])
    _console.files(path)
