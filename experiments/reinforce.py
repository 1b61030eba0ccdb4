"""The main job: REINFORCE learns to balance the pole; plain, with shaped rewards, and with early stopping as well.

The chapter's set-up: 4-5-1 network, 150 iterations of 10 episodes of at most 200 steps, gamma 0.95, Adam 0.01.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    env: str = "CartPole",
    seeds: int = 16,
    iterations: int = 150,
    episodes: int = 10,
    max_steps: int | None = None,
    bounds: bool = True,
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
      env: CartPole, on the device, or gymnasium:ID, any of Gymnasium's with actions that can be numbered; there the variants
        are plain and, with a target, early stopping.
      seeds: independent runs of each variant.
      iterations: updates of each run, a multiple of 5.
      episodes: played for each update.
      max_steps: most steps of an episode; default: 200 on CartPole, Gymnasium's own elsewhere.
      bounds: in Gymnasium, stop at an observation outside the bounds that the environment declares; LunarLander leaves its own.
      gamma: discount in [0, 1].
      learning_rate: of the optimiser.
      optimiser: the chapter's editions use either.
      baseline: learn a value function and subtract it from the returns.
      target: mean return of the greedy policy that stops the last variant (default on CartPole: 97.5 % of max_steps, 195 of
        200) ...
      patience: ... once so many evaluations in a row (every 5 iterations, 20 episodes) have reached it.
      test_episodes: fresh episodes that judge each trained policy.
    """
    import jax
    import numpy as np
    import optax

    from experiments import _console, _results, _train, _world
    from rljax import agents, checks, networks, policies, shaping
    from rljax.agents.common import flattened
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean, share_interval

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    for name in ("iterations", "episodes", "patience"):
        checks.integer(name, options[name], 1)
    every = 5
    if iterations % every:
        raise ValueError(
            f"iterations is {iterations}; expected a multiple of {every}, since the greedy policy is evaluated once in "
            f"{every}. Take {-(-iterations // every) * every}."
        )
    on_device = env == "CartPole"
    world = _world.of(env, 1, 200 if on_device and max_steps is None else max_steps, bounds)
    if target is not None:
        _train.stopping(target, patience, world.best)
    if quick:
        seeds, iterations, max_steps = min(seeds, 2), min(iterations, 10), min(world.max_steps, 50)
        test_episodes, target = min(test_episodes, 10), target if (target or 0) <= max_steps else None
        world = _world.of(env, 1, max_steps, bounds)
    target = 0.975 * world.max_steps if target is None and on_device else target
    two = world.actions == 2  # the chapter's single sigmoid unit
    sizes = (world.observations, 5 if two else 32, 1 if two else world.actions)
    plain, shaped = (
        agents.reinforce(
            world.env,
            networks.mlp(sizes),
            distribution=policies.bernoulli if two else policies.categorical,
            episodes_per_update=episodes,
            max_steps=world.max_steps,
            gamma=gamma,
            learning_rate=learning_rate,
            optimiser=flattened({"adam": optax.adam, "nadam": optax.nadam}[optimiser]),
            shaping=reward,
            baseline=networks.mlp((world.observations, 16, 1)) if baseline else None,
        )
        for reward in (None, shaping.angle_penalty if on_device else None)
    )
    early = {"target": target, "patience": patience}
    variants: _train.Variants = {"plain": (plain, {})}
    if on_device:
        variants |= {"shaped": (shaped, {}), "shaped, early stopping": (shaped, early)}
    elif target is not None:
        variants |= {"early stopping": (plain, early)}

    def share(returns: np.ndarray, target: float) -> dict[str, Any]:
        reached = returns >= target
        return {
            "test_share_of_seeds_at_target": float(reached.mean()),
            "test_share_of_seeds_at_target_interval": share_interval(reached),
        }

    path = folder.create(out, "reinforce")
    folder.write_config(path, "reinforce", options, {**locals(), "max_steps": world.max_steps})

    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    results, failures = _train.each(
        variants, keys, iterations, eval_every=every, chunk=2, watched="mean_length", how=world.train
    )
    with _console.busy(f"testing: {test_episodes} fresh episodes of each seed"):
        returns = {
            name: world.judge(
                keys_test[: len(results[name].members.steps)], algorithm.act, results[name].parameters, test_episodes
            ).mean(axis=1)
            for name, (algorithm, _) in variants.items()
        }

    folder.write_csv(
        path / "metrics.csv",
        (
            {
                "variant": name,
                "seed": member,
                "iteration": int(step) + 1,
                **{metric: float(values[step, member]) for metric, values in result.metrics.items()},
                "compile_seconds": round(result.compile_seconds, 3),
                "run_seconds": round(float(result.elapsed[step]), 3),
            }
            for name, result in results.items()
            for member in range(len(result.members.steps))
            for step in np.flatnonzero(np.isfinite(result.metrics["mean_length"][:, member]))
        ),
    )
    _results.write_tests(path, returns)
    plots.learning_curves(
        path / "learning_curve.png",
        {name: result.metrics["mean_return"] for name, result in results.items()},
        title="REINFORCE on CartPole: how long the pole stays up" if on_device else f"REINFORCE on {world.name}",
        xlabel=f"iteration ({episodes} episodes each)",
        ylabel="mean episode length (steps)" if on_device else "mean return of an episode",
        best_possible=world.best,
        tests={name: interquartile_mean(lengths) for name, lengths in returns.items()},
    )
    summary = {
        name: {
            "seeds": seeds,
            "iterations_iqm": interquartile_mean(result.members.steps),
            "iterations_iqm_interval": bootstrap_interval(result.members.steps),
            "last_mean_length_iqm": interquartile_mean(plots.last(result.metrics["mean_length"])),
            "last_mean_length_iqm_interval": bootstrap_interval(plots.last(result.metrics["mean_length"])),
            "last_mean_return_iqm": interquartile_mean(plots.last(result.metrics["mean_return"])),
            "test_mean_return_iqm": interquartile_mean(returns[name]),
            "test_mean_return_iqm_interval": bootstrap_interval(returns[name]),
            **({} if target is None else share(returns[name], target)),
            "compile_seconds": result.compile_seconds,
            "run_seconds": result.run_seconds,
            **({"failure": failures[name]} if name in failures else {}),
        }
        for name, result in results.items()
    }
    folder.write_json(path / "summary.json", summary)

    name, (algorithm, _) = list(variants.items())[-1]
    result = results[name]
    best = int(np.argmax(returns[name]))
    last = jax.tree.map(lambda leaf: leaf[best], result.parameters)
    checkpoint.save(path / "policy.npz", last.policy, {**world.about, "experiment": "reinforce", "sizes": sizes})
    _train.before_and_after(path, key_film, world, algorithm, keys[best], last)

    _console.table(
        f"REINFORCE on {world.name}, {_console.many(seeds, 'seed')} "
        f"(interquartile means; test: {test_episodes} fresh episodes)",
        [
            {
                "variant": name,
                "updates": f"{row['iterations_iqm']:.0f}",
                "last return": f"{row['last_mean_return_iqm']:.1f}",
                "greedy test": f"{row['test_mean_return_iqm']:.1f}",
                **({} if target is None else {f">= {target:g}": f"{row['test_share_of_seeds_at_target']:.0%}"}),
                "compile": f"{row['compile_seconds']:.1f} s",
                "run": f"{row['run_seconds']:.2f} s",
            }
            for name, row in summary.items()
        ],
    )
    _console.console.print(
        "last return: the sampled policy in its last update; greedy test: the kept policy, always taking the likelier action. "
        f"{_train.kept(path)} the best seed of that test ({best}) of {name!r}."
    )
    _console.files(path)
    _train.complain(failures, len(variants))
    _console.console.print(f"watch it again: python -m experiments play {path}", markup=False)
