"""The main job: REINFORCE learns to balance the pole; plain, with shaped rewards, and with early stopping as well.

The chapter's set-up: 4-5-1 network, 150 iterations of 10 episodes of at most 200 steps, gamma 0.95, Adam 0.01.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 16,
    iterations: int = 150,
    episodes: int = 10,
    max_steps: int = 200,
    gamma: float = 0.95,
    learning_rate: float = 0.01,
    optimiser: Literal["adam", "nadam"] = "adam",
    baseline: bool = False,
    target: float | None = None,
    patience: int = 2,
    test_episodes: int = 100,
) -> None:
    """Train three variants over several seeds at once; save the curves, the best policy and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds, 10 iterations of 50 steps, 10 test episodes.
      seeds: independent runs of each variant.
      iterations: updates of each run, a multiple of 5.
      episodes: played for each update.
      max_steps: most steps of an episode.
      gamma: discount in [0, 1].
      learning_rate: of the optimiser.
      optimiser: the chapter's editions use either.
      baseline: learn a value function and subtract it from the returns.
      target: mean steps of the greedy policy that stop the third variant (default: 97.5 % of max_steps, 195 of 200) ...
      patience: ... once so many evaluations in a row (every 5 iterations, 20 episodes) have reached it.
      test_episodes: fresh episodes that judge each trained policy.
    """
    import jax
    import numpy as np
    import optax

    from experiments import _console, _play, _train
    from rljax import agents, checks, envs, networks, policies, shaping
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean, mean_score

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("seeds", "iterations", "episodes", "max_steps", "patience", "test_episodes"):
        checks.integer(name, options[name], 1)
    every = 5
    if iterations % every:
        raise ValueError(
            f"iterations is {iterations}; expected a multiple of {every}, since the greedy policy is evaluated once in "
            f"{every}. Take {-(-iterations // every) * every}."
        )
    if target is not None:
        checks.real("target", target, 0, max_steps)
    if quick:
        seeds, iterations, max_steps = min(seeds, 2), min(iterations, 10), min(max_steps, 50)
        test_episodes, target = min(test_episodes, 10), target if (target or 0) <= max_steps else None
    target = 0.975 * max_steps if target is None else target
    used = {name: value for name, value in locals().items() if name in options}
    env, sizes = envs.CartPole(), (4, 5, 1)
    plain, shaped = (
        agents.reinforce(
            env,
            networks.mlp(sizes),
            distribution=policies.bernoulli,
            episodes_per_update=episodes,
            max_steps=max_steps,
            gamma=gamma,
            learning_rate=learning_rate,
            optimiser={"adam": optax.adam, "nadam": optax.nadam}[optimiser],
            shaping=reward,
            baseline=networks.mlp((4, 16, 1)) if baseline else None,
        )
        for reward in (None, shaping.angle_penalty)
    )
    variants = {
        "plain": (plain, {}),
        "shaped": (shaped, {}),
        "shaped, early stopping": (shaped, {"target": target, "patience": patience}),
    }
    path = folder.create(out, "reinforce")
    folder.write_config(path, "reinforce", options, used)

    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    results, failures = _train.each(variants, keys, iterations, eval_every=every, chunk=2, watched="mean_length")
    lengths = {
        name: _play.judge(keys_test, env, algorithm.act, results[name].parameters, test_episodes, max_steps).mean(
            axis=1
        )
        for name, (algorithm, _) in variants.items()
    }

    played = {
        name: episodes * np.cumsum(result.metrics["mean_length"], axis=0, dtype=float)
        for name, result in results.items()
    }
    folder.write_csv(
        path / "metrics.csv",
        (
            {
                "variant": name,
                "seed": member,
                "iteration": int(step) + 1,
                "environment_steps": round(played[name][step, member]),
                **{metric: float(values[step, member]) for metric, values in result.metrics.items()},
                "compile_seconds": round(result.compile_seconds, 3),
                "run_seconds": round(float(result.elapsed[step]), 3),
            }
            for name, result in results.items()
            for member in range(seeds)
            for step in np.flatnonzero(np.isfinite(result.metrics["mean_length"][:, member]))
        ),
    )
    folder.write_csv(
        path / "tests.csv",
        (
            {"variant": name, "seed": member, "test_mean_length": float(length)}
            for name, tested in lengths.items()
            for member, length in enumerate(tested)
        ),
    )
    plots.learning_curves(
        path / "learning_curve.png",
        {name: result.metrics["mean_length"] for name, result in results.items()},
        title="REINFORCE on CartPole: how long the pole stays up",
        xlabel=f"iteration ({episodes} episodes each)",
        ylabel="mean episode length (steps)",
        best_possible=max_steps,
    )
    summary = {
        name: {
            "seeds": seeds,
            "iterations_iqm": interquartile_mean(result.members.steps),
            "last_mean_length_iqm": interquartile_mean(plots.last(result.metrics["mean_length"])),
            "test_mean_length_iqm": interquartile_mean(lengths[name]),
            "test_mean_length_iqm_interval": bootstrap_interval(lengths[name]),
            "test_share_of_seeds_at_target": float((lengths[name] >= target).mean()),
            "test_share_of_seeds_at_target_interval": bootstrap_interval(lengths[name] >= target, mean_score),
            "compile_seconds": result.compile_seconds,
            "run_seconds": result.run_seconds,
            **({"failure": failures[name]} if name in failures else {}),
        }
        for name, result in results.items()
    }
    folder.write_json(path / "summary.json", summary)

    name, (algorithm, _) = list(variants.items())[-1]
    result = results[name]
    best = int(np.argmax(lengths[name]))
    last = jax.tree.map(lambda leaf: leaf[best], result.parameters)
    about = {"experiment": "reinforce", "env": "CartPole", "max_steps": max_steps, "sizes": sizes}
    checkpoint.save(path / "policy.npz", last.policy, about)
    _train.before_and_after(path, key_film, env, algorithm, keys[best], last, max_steps)

    _console.table(
        f"REINFORCE on CartPole, {seeds} seeds (interquartile means; test: {test_episodes} fresh episodes)",
        [
            {
                "variant": name,
                "updates": f"{row['iterations_iqm']:.0f}",
                "last length": f"{row['last_mean_length_iqm']:.1f}",
                "greedy test": f"{row['test_mean_length_iqm']:.1f}",
                f">= {target:g}": f"{row['test_share_of_seeds_at_target']:.0%}",
                "compile": f"{row['compile_seconds']:.1f} s",
                "run": f"{row['run_seconds']:.2f} s",
            }
            for name, row in summary.items()
        ],
    )
    _console.console.print(
        "last length: the sampled policy in its last update; greedy test: the kept policy, always taking the likelier action. "
        f"policy.npz and after.gif hold the best seed of that test ({best}) of {name!r}."
    )
    _console.files(path)
    _train.complain(failures, len(variants))
    _console.console.print(f"watch it again: python -m experiments play {path}")
