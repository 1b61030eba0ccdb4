"""What each variant of deep Q-learning is worth on CartPole-v1: the same budget and the same seeds for all."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    variants: tuple[str, ...] = (
        "plain",
        "no_target",
        "hard_target",
        "squared",
        "double",
        "dueling",
        "layer_norm",
        "per",
        "c51",
        "qr",
        "munchausen",
        "n_step",
        "n_step,double",
        "n_step,layer_norm",
    ),
    seeds: int = 32,
    steps: int = 50_000,
    hidden: tuple[int, ...] = (120, 84),
    gamma: float = 0.995,
    learning_rate: float = 1e-3,
    max_steps: int = 500,
) -> None:
    """Train each variant over the same seeds; save one figure, every curve, and the best policy with GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 variants, 2 seeds of 3000 steps, episodes of at most 50.
      variants: each as the --variant of `dqn`; all else as there.
      seeds: independent runs of each, the same for all.
      steps: of the environment, a multiple of 1000, at least 2000.
      hidden: widths of the network's layers, such as 64 64.
      gamma: discount in [0, 1].
      learning_rate: at the start; falls to zero.
      max_steps: most steps of an episode.
    """
    import jax
    import numpy as np

    from experiments import _console, _deep_q, _train, _world
    from rljax import checks, train
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds)
    checks.integer("max_steps", max_steps, 1)
    _deep_q.check_steps(steps)
    if not variants or len(set(variants)) < len(variants):
        raise ValueError(f"variants is {variants}; expected at least one, each once. Leave out what is given twice.")
    if quick:
        variants, seeds, steps, max_steps = variants[:2], min(seeds, 2), min(steps, 3000), min(max_steps, 50)
    world = _world.cartpole(max_steps)
    sizes = world.sizes(hidden)
    contest = {}
    for name in variants:  # all are refused before the first is trained
        found = _deep_q.chosen(name)
        algorithm = _deep_q.algorithm(
            world.env,
            _deep_q.network(sizes, found),
            found,
            steps=steps,
            max_steps=max_steps,
            gamma=gamma,
            learning_rate=learning_rate,
        )
        contest[name] = (algorithm, {})
    path = folder.create(out, "dqn_ablation")
    folder.write_config(path, "dqn_ablation", options, locals())

    # That of the films is of no member: `fold_in(key, i)` is `split(key, n)[i]`.
    keys, key_film = jax.random.split(jax.random.key(seed), seeds), jax.random.fold_in(jax.random.key(seed), seeds)
    blocks, every = (steps - _deep_q.WARMUP) // _deep_q.BLOCK, 1000 // _deep_q.BLOCK
    results: dict[str, train.Result] = {}
    failures: dict[str, str] = {}
    for name, one in contest.items():
        found, failed = _train.each({name: one}, keys, blocks, eval_every=every, chunk=2, watched="score", score=True)
        results, failures = results | found, failures | failed
        folder.write_csv(  # after each: what has taken hours is not lost with the next one
            path / "scores.csv",
            (
                {
                    "variant": name,
                    "seed": member,
                    "environment_steps": _deep_q.WARMUP + 1000 * (1 + round_),
                    "greedy_return": float(result.scores[round_, member]),
                }
                for name, result in results.items()
                for member in range(seeds)
                for round_ in np.flatnonzero(np.isfinite(result.scores[:, member]))
            ),
        )
    plots.learning_curves(
        path / "learning_curves.png",
        {name: result.scores for name, result in results.items()},
        title=f"DQN on CartPole: {len(variants)} variants, the greedy policy on the way",
        xlabel="thousand environment steps, after 1000 of random play",
        ylabel="mean return of 20 episodes (steps)",
        best_possible=max_steps,
    )
    summary = {}
    for name, result in results.items():
        over_all, last = np.nanmean(result.scores, axis=0), plots.last(result.scores)
        summary[name] = {
            "mean_score_iqm": interquartile_mean(over_all),
            "mean_score_interval": bootstrap_interval(over_all),
            "last_score_iqm": interquartile_mean(last),
            "last_score_interval": bootstrap_interval(last),
            "share_of_seeds_whose_best_score_is_full": float((result.members.best_score >= max_steps).mean()),
            "compile_seconds": result.compile_seconds,
            "run_seconds": result.run_seconds,
            **({"failure": failures[name]} if name in failures else {}),
        }
    folder.write_json(path / "summary.json", {"seeds": seeds, "environment_steps": steps, "variants": summary})
    plots.intervals(
        path / "ablation.png",
        {name: (row["mean_score_iqm"], *row["mean_score_interval"]) for name, row in summary.items()},
        title=f"DQN on CartPole: mean greedy return over {steps} steps",
        xlabel=f"interquartile mean of {_console.many(seeds, 'seed')}, with 95 % bootstrap interval (steps)",
        best_possible=max_steps,
    )
    # What failed before its first evaluation has no score: a NaN, which `max` would keep if it came first.
    winner = max(summary, key=lambda name: np.nan_to_num(summary[name]["mean_score_iqm"], nan=-np.inf))
    best = int(np.argmax(results[winner].members.best_score))
    learned = jax.tree.map(lambda leaf: leaf[best], results[winner].parameters)
    about = {"experiment": "dqn_ablation", "variant": winner, "sizes": sizes}
    checkpoint.save(path / "policy.npz", learned, {**world.about, **about})
    _train.before_and_after(path, key_film, world, contest[winner][0], keys[best], learned)
    _console.table(
        f"DQN on CartPole, {_console.many(seeds, 'seed')} of {steps} steps: interquartile means [95 % bootstrap intervals]",
        [
            {
                "variant": name,
                "whole run": _said(row["mean_score_iqm"], row["mean_score_interval"]),
                "last": _said(row["last_score_iqm"], row["last_score_interval"]),
                "best is full": f"{row['share_of_seeds_whose_best_score_is_full']:.0%}",
                "run": f"{row['run_seconds']:.0f} s",
            }
            for name, row in summary.items()
        ],
    )
    _console.console.print(
        "whole run: the mean of all evaluations, how soon and how steadily a variant learns; last: the last parameters; "
        f"best is full: seeds with an evaluation (20 greedy episodes) of {max_steps} on the way; "
        f"policy.npz and after.gif: the best seed ({best}) of {winner!r}, whose whole run is best."
    )
    _console.files(path)
    _train.complain(failures, len(variants))
    _console.console.print(f"watch it again: python -m experiments play {path}", markup=False)


def _said(middle: float, interval: tuple[float, float]) -> str:
    return f"{middle:.0f} \\[{interval[0]:.0f}, {interval[1]:.0f}]"
