"""Q-learning on the chapter's MDP: one run, the band over a thousand seeds, the exact values, and where the book's run lies.

The chapter's set-up: all available actions alike, 10 000 steps, gamma 0.9, alpha_k = 0.05 / (1 + 0.005 k), from state 0.
"""

from __future__ import annotations

from pathlib import Path

REPORTED = ((17.42, 15.63, 12.54), (0.0, None, -8.93), (None, 48.37, None))  # the chapter's own run


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 1000,
    steps: int = 10_000,
    gamma: float = 0.9,
    initial_step_size: float = 0.05,
    decay: float = 0.005,
) -> None:
    """Learn the action values under many seeds at once; compare them with the exact ones and with the chapter's run.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 20 seeds, 1000 steps.
      seeds: independent runs.
      steps: of each run.
      gamma: discount in [0, 1).
      initial_step_size: alpha_0 of ...
      decay: ... alpha_k = alpha_0 / (1 + k decay).
    """
    import jax
    import numpy as np

    from experiments import _console, _worlds
    from rljax import agents, checks, train
    from rljax.agents import tabular
    from rljax.envs.tabular import TabularEnv
    from rljax.mdp import planners, problems
    from rljax.runs import folder, tabular_plots

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        seeds, steps = min(seeds, 20), min(steps, 1000)
    checks.seed(seed)
    checks.together(seeds=seeds)
    checks.integer("steps", steps, 1)
    checks.real("gamma", gamma, 0, 1, below=True)
    every = max(n for n in range(1, min(25, steps) + 1) if steps % n == 0)
    kept = min(steps // every, 400)
    model = _worlds.starting_in(problems.chapter_mdp(gamma), 0)
    algorithm = agents.control(
        TabularEnv(model),
        tabular.q_learning,
        exploration=tabular.uniform(),
        step_size=tabular.harmonic(initial_step_size, decay),
        steps_per_update=every,
        history=kept,
    )
    with jax.enable_x64(True):
        solution = planners.plan(problems.chapter_mdp(gamma), "policy_iteration", tolerance=1e-9)
        exact_q, best = np.asarray(solution.q), np.asarray(solution.policy)
    path = folder.create(out, "q_learning")
    folder.write_config(path, "q_learning", options, locals())

    with _console.bar(_console.many(seeds, "seed"), steps) as bar:

        def show(progress: train.Progress) -> None:
            bar.update(progress.steps * every, f"{progress.run_seconds:.1f} s of computing")

        keys = jax.random.split(jax.random.key(seed), seeds)
        result = train.train(algorithm, keys, steps // every, keep_state=True, on_chunk=show)
    mask = np.asarray(model.mask)
    pairs = [(int(s), int(a)) for s, a in np.argwhere(mask)]
    names = [f"Q({s}, {a})" for s, a in pairs]
    history = np.asarray(jax.vmap(tabular.recorded)(result.members.state))  # [seeds, kept, S, A]
    exact, last = exact_q[mask], history[:, -1, mask].astype(float)
    reported = np.array([REPORTED[s][a] for s, a in pairs], float)
    greedy = np.where(mask, history[:, -1], -np.inf).argmax(axis=-1)
    times = every * (steps // every - kept + 1 + np.arange(kept))

    below, equal = (last < reported).mean(axis=0), (last == reported).mean(axis=0)
    quantile = below + 0.5 * equal
    rows = [
        {
            "state": s,
            "action": a,
            "exact": float(exact[k]),
            "mean": float(last[:, k].mean()),
            "standard_deviation": float(last[:, k].std()),
            "percentile_5": float(np.quantile(last[:, k], 0.05)),
            "percentile_95": float(np.quantile(last[:, k], 0.95)),
            "chapter": float(reported[k]),
            "quantile_of_chapter": float(quantile[k]),
        }
        for k, (s, a) in enumerate(pairs)
    ]
    summary = {
        "seeds": seeds,
        "steps": steps,
        "values": rows,
        "share_of_seeds_with_the_optimal_policy": float((greedy == best).all(axis=1).mean()),
        "compile_seconds": result.compile_seconds,
        "run_seconds": result.run_seconds,
    }
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(
        path / "values.csv",
        ({"seed": i, **dict(zip(names, map(float, row), strict=True))} for i, row in enumerate(last)),
    )
    folder.write_csv(
        path / "tests.csv",
        ({"seed": i, "minus_largest_error": float(-x)} for i, x in enumerate(np.abs(last - exact).max(axis=1))),
    )
    whole = kept == steps // every  # then the first table, all zeros, is drawn too
    tabular_plots.learned_action_values(
        path / "q_values.png",
        np.append(0, times) if whole else times,
        np.pad(history, ((0, 0), (1, 0), (0, 0), (0, 0))) if whole else history,
        exact_q,
        mask,
        title="Q-learning on the chapter's MDP: action values (in units of reward)",
    )
    if seeds > 1:
        moving = last.std(axis=0) > 0
        pick = lambda x: x[..., moving]
        tabular_plots.final_values(
            path / "distribution.png",
            pick(last),
            pick(exact),
            pick(reported),
            [name for name, moves in zip(names, moving, strict=True) if moves],
            title=f"Q-learning after {steps} steps",
            xlabel="learned value (in units of reward)",
        )
    _console.table(
        f"Q-learning on the chapter's MDP, {steps} steps, {_console.many(seeds, 'seed')}",
        [
            {
                "": name,
                "exact": f"{row['exact']:.3f}",
                "mean": f"{row['mean']:.3f}",
                "5 %": f"{row['percentile_5']:.2f}",
                "95 %": f"{row['percentile_95']:.2f}",
                "chapter" if steps == 10_000 else "chapter, 10 000 steps": f"{row['chapter']:.2f}",
                "seeds below": "all equal" if equal[k] == 1 else f"{row['quantile_of_chapter']:.1%}",
            }
            for k, (name, row) in enumerate(zip(names, rows, strict=True))
        ],
    )
    _console.console.print(
        f"optimal greedy policy: {summary['share_of_seeds_with_the_optimal_policy']:.1%} of the seeds; "
        f"compile {result.compile_seconds:.1f} s, run {result.run_seconds:.2f} s"
    )
    _console.files(path)
