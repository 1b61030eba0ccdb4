"""Deep Q-learning solves CartPole-v1: many seeds at once, any mixture of variants, the best parameters kept."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    variant: str = "n_step",
    seeds: int = 8,
    steps: int = 50_000,
    hidden: tuple[int, ...] = (120, 84),
    gamma: float = 0.995,
    learning_rate: float = 1e-3,
    max_steps: int = 500,
    target: float | None = None,
    patience: int = 1,
    test_episodes: int = 100,
) -> None:
    """Train; save the curves of the greedy policy, the best network and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds of 4000 steps, episodes of at most 50, 10 test episodes.
      variant: what is changed about plain DQN, joined by commas: huber, squared, c51, qr, soft_target, hard_target, no_target,
        double, munchausen, n_step, per, dueling, layer_norm; or plain.
      seeds: independent runs.
      steps: of the environment, in all; a multiple of 1000, at least 2000: the first 1000 are random.
      hidden: widths of the network's layers.
      gamma: discount in [0, 1].
      learning_rate: at the start; falls to zero.
      max_steps: most steps of an episode.
      target: mean return of 20 greedy episodes that stops a seed early; default: none does ...
      patience: ... once so many evaluations in a row (every 1000 steps) have reached it.
      test_episodes: fresh episodes that judge the parameters of each seed.
    """
    import jax
    import numpy as np

    from experiments import _console, _deep_q, _play, _train
    from rljax import checks, envs
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import interquartile_mean

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("seeds", "steps", "max_steps", "patience", "test_episodes"):
        checks.integer(name, options[name], 1)
    _deep_q.check_steps(steps)
    if target is not None:
        checks.real("target", target, 0, max_steps)
    if quick:
        seeds, steps, max_steps = min(seeds, 2), min(steps, 4000), min(max_steps, 50)
        test_episodes, target = min(test_episodes, 10), target if (target or 0) <= max_steps else None
    used = {name: value for name, value in locals().items() if name in options}
    variants = _deep_q.chosen(variant)
    env = envs.TimeLimit(envs.CartPole(), max_steps)
    sizes = [4, *hidden, 2]
    network = _deep_q.network(sizes, variants)
    algorithm = _deep_q.algorithm(
        env, network, variants, steps=steps, max_steps=max_steps, gamma=gamma, learning_rate=learning_rate
    )
    path = folder.create(out, "dqn")
    folder.write_config(path, "dqn", options, used)

    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    blocks, every = (steps - _deep_q.WARMUP) // _deep_q.BLOCK, 1000 // _deep_q.BLOCK
    stopping = {} if target is None else {"target": target, "patience": patience}
    trained, failures = _train.each(
        {variant: (algorithm, stopping)}, keys, blocks, eval_every=every, chunk=2, watched="score", score=True
    )
    result = trained[variant]
    lengths = _play.judge(keys_test, env, algorithm.act, result.parameters, test_episodes, max_steps).mean(axis=1)

    ends = _deep_q.WARMUP + 1000 * (1 + np.arange(len(result.scores)))
    folder.write_csv(
        path / "scores.csv",
        (
            {"seed": member, "environment_steps": int(end), "greedy_return": float(score)}
            for end, scores in zip(ends, result.scores, strict=True)
            for member, score in enumerate(scores)
            if np.isfinite(score)
        ),
    )
    plots.learning_curves(
        path / "learning_curve.png",
        {variant: result.scores},
        title="DQN on CartPole: how long the greedy policy holds the pole",
        xlabel="thousand environment steps, after 1000 of random play",
        ylabel="mean return of 20 episodes (steps)",
        best_possible=max_steps,
    )
    solved = 0.95 * max_steps
    summary = {
        "variant": variant,
        "seeds": seeds,
        "environment_steps": int(ends[-1]),
        "test_mean_return_iqm": interquartile_mean(lengths),
        "test_mean_return_min": float(lengths.min()),
        "test_share_of_seeds_that_solve": float((lengths >= solved).mean()),
        "last_score_iqm": interquartile_mean(plots.last(result.scores)),
        "compile_seconds": result.compile_seconds,
        "run_seconds": result.run_seconds,
        **({"failure": failures[variant]} if failures else {}),
    }
    folder.write_json(path / "summary.json", summary)
    best = int(np.argmax(lengths))
    last = jax.tree.map(lambda leaf: leaf[best], result.parameters)
    about = {"experiment": "dqn", "env": "CartPole", "max_steps": max_steps, "variant": variant, "sizes": sizes}
    checkpoint.save(path / "policy.npz", last, about)
    _train.before_and_after(path, key_film, env, algorithm, keys[best], last, max_steps)

    _console.table(
        f"DQN on CartPole, {seeds} seeds of {ends[-1]} steps (interquartile means; test: {test_episodes} fresh episodes)",
        [
            {
                "variant": variant,
                "last score": f"{summary['last_score_iqm']:.1f}",
                "test of the best": f"{summary['test_mean_return_iqm']:.1f}",
                f">= {solved:g}": f"{summary['test_share_of_seeds_that_solve']:.0%}",
                "compile": f"{result.compile_seconds:.1f} s",
                "run": f"{result.run_seconds:.1f} s",
            }
        ],
    )
    _console.console.print(
        "last score: 20 greedy episodes of the last parameters; the best: those of the highest score on the way. "
        f"policy.npz and after.gif hold the best seed of the test ({best})."
    )
    _console.files(path)
    _train.complain(failures, 1)
    _console.console.print(f"watch it again: python -m experiments play {path}")
