"""Three ways to explore, on a river and in a maze: uniform, epsilon-greedy, and by counts, f(Q, N) = Q + kappa / (1 + N).

Q-learning throughout. Regret is how much worse than optimal the greedy policy is from the start; coverage the share of
state-action pairs that have been tried; reward is what was earned meanwhile; visits show where the time went. While it
learns, any of equal values may be taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

MAZE = """
###########
#S..#.....#
#.#.#.###.#
#.#...#...#
#.###.#.#.#
#.....#.#G#
###########
"""


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 100,
    steps: int = 20_000,
    worlds: tuple[Literal["river", "maze"], ...] = ("river", "maze"),
    step_size: float = 0.1,
    epsilon_last: float = 0.05,
    kappa: float = 1.0,
    river_states: int = 6,
) -> None:
    """Learn in each world by each way, all seeds at once.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 4 seeds, 1000 steps.
      seeds: independent runs of each.
      steps: of each run.
      worlds: where.
      step_size: alpha of Q-learning.
      epsilon_last: epsilon falls in a line from 1 to this over the first half of the steps.
      kappa: reward in units of which what was never tried is interesting.
      river_states: length of the river.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import agents, checks, train
    from rljax.agents import tabular
    from rljax.envs.tabular import TabularEnv
    from rljax.mdp import TabularMDP, gridworld, planners, problems
    from rljax.runs import folder, tabular_plots
    from rljax.runs.statistics import bootstrap_interval, mean_score, share_interval
    from rljax.structs import Algorithm

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    worlds = tuple(dict.fromkeys(worlds))
    if quick:
        seeds, steps = min(seeds, 4), min(steps, 1000)
    checks.seed(seed)
    checks.together(seeds=seeds)
    checks.integer("steps", steps, 1)
    checks.integer("the number of worlds", len(worlds), 1)
    checks.integer("river_states", river_states, 3)
    checks.together(2**10, river_states=river_states)  # of them squared, for each seed
    checks.real("step_size", step_size, 0, 1, above=True)
    checks.real("epsilon_last", epsilon_last, 0, 1)
    checks.real("kappa", kappa, 0)
    every = max(n for n in range(1, min(max(1, steps // 100), steps) + 1) if steps % n == 0)

    def annealed(step: jax.Array) -> jax.Array:
        return 1.0 - (1.0 - epsilon_last) * jnp.minimum(1.0, 2.0 * step.astype(float) / steps)

    ways = {
        "uniform": (tabular.q_learning, tabular.uniform()),
        f"epsilon-greedy, 1 to {epsilon_last:g}": (tabular.q_learning, tabular.epsilon_greedy(annealed)),
        f"counts, kappa {kappa:g}": (tabular.curious(kappa), tabular.by_counts(kappa)),
    }

    def exactly(model: TabularMDP) -> tuple[np.ndarray, np.ndarray]:
        """V* and Q*, 0 where an action is not available."""
        with jax.enable_x64(True):
            solution = planners.plan(model.astype(np.float64), tolerance=1e-9)
            return np.asarray(solution.v), np.where(np.asarray(model.mask), np.asarray(solution.q), 0.0)

    def learner(
        model: TabularMDP, q_star: np.ndarray, rule: tabular.Rule, exploration: tabular.Exploration
    ) -> Algorithm:
        """Q-learning that also tells how much of the world it has tried."""
        algorithm = agents.control(
            TabularEnv(model),
            rule,
            exploration=exploration,
            step_size=step_size,
            steps_per_update=every,
            q_star=jnp.asarray(q_star, model.dtype),
            regret=True,
        )
        pairs = model.mask & ~model.terminal[:, None]

        def step(key: jax.Array, state: tabular.TabularState) -> tuple[tabular.TabularState, dict[str, jax.Array]]:
            state, metrics = algorithm.step(key, state)
            return state, {**metrics, "coverage": jnp.mean((state.visits > 0).astype(float), where=pairs)}

        return algorithm._replace(step=step)

    path = folder.create(out, "exploration")
    folder.write_config(path, "exploration", options, locals())
    keys = jax.random.split(jax.random.key(seed), seeds)
    times = every * np.arange(1, steps // every + 1)
    maze, layout = gridworld.gridworld(MAZE, gamma=0.98, slip=0.1)
    summary, rows, ends, lines = {}, [], [], []
    for world in worlds:
        if world == "river":
            model = problems.river_swim(river_states, small=0.005, large=1.0)
            title = f"river-swim, {river_states} states"
        else:
            model = maze
            title = f"a maze of {model.num_states} cells"
        v_star, q_star = exactly(model)
        best = float(np.asarray(model.initial) @ v_star)
        regrets, coverages, rewards, visits = {}, {}, {}, {}
        for name, (rule, exploration) in ways.items():
            with _console.bar(f"{world}: {name}", steps) as bar:

                def show(progress: train.Progress, bar: _console.Bar = bar, best: float = best) -> None:
                    regret = progress.metrics["regret"][-1].mean() / best
                    bar.update(progress.steps * every, f"regret {max(regret, 0):.1%}")

                algorithm = learner(model, q_star, rule, exploration)
                result = train.train(algorithm, jax.random.clone(keys), steps // every, keep_state=True, on_chunk=show)
            regrets[name] = np.maximum(result.metrics["regret"].astype(float), 0.0) / best
            coverages[name] = result.metrics["coverage"].astype(float)
            rewards[name] = result.metrics["mean_reward"].astype(float)
            visits[name] = np.asarray(result.members.state.visits).astype(float).mean(axis=0)  # [S, A]
            solved = regrets[name] <= 0.05
            first = np.where(solved.any(axis=0), times[solved.argmax(axis=0)], np.inf)
            half = float(np.median(first))
            last = regrets[name][-1]
            low, high = bootstrap_interval(last, mean_score)
            summary[f"{world}: {name}"] = {
                "regret_last": float(last.mean()),
                "regret_last_interval": (low, high),
                "regret_mean_over_steps": float(regrets[name].mean()),
                "median_steps_to_regret_5_percent": half if np.isfinite(half) else None,
                "share_of_seeds_solved_at_the_end": float(solved[-1].mean()),
                "share_of_seeds_solved_at_the_end_interval": share_interval(solved[-1]),
                "coverage_last": float(coverages[name][-1].mean()),
                "mean_reward": float(result.metrics["mean_reward"].mean()),
                "compile_seconds": result.compile_seconds,
                "run_seconds": result.run_seconds,
            }
            rows += [
                {
                    "world": world,
                    "exploration": name,
                    "step": int(t),
                    "regret": float(regret.mean()),
                    "coverage": float(coverage.mean()),
                }
                for t, regret, coverage in zip(times, regrets[name], coverages[name], strict=True)
            ]
            ends += [{"world": world, "exploration": name, "seed": i, "regret": float(x)} for i, x in enumerate(last)]
            mine = summary[f"{world}: {name}"]
            lines.append(
                {
                    "world": world,
                    "way": name.partition(",")[0],
                    "regret": f"{mine['regret_last']:.0%} \\[{100 * low:.0f}, {100 * high:.0f}]",
                    "mean": f"{mine['regret_mean_over_steps']:.1%}",
                    "to 5 %": f"{half:.0f}" if np.isfinite(half) else "never",
                    "tried": f"{mine['coverage_last']:.1%}",
                    "reward": f"{mine['mean_reward']:.4f}",
                    "run": f"{mine['run_seconds']:.1f} s",
                }
            )
        tabular_plots.compared(
            path / f"regret_{world}.png",
            times,
            regrets,
            title=f"Regret of the greedy policy: {title}",
            ylabel="regret (% of the optimal value)",
            percent=True,
        )
        tabular_plots.compared(
            path / f"coverage_{world}.png",
            times,
            coverages,
            title=f"Coverage: {title}",
            ylabel="state-action pairs tried (%)",
            percent=True,
        )
        tabular_plots.compared(
            path / f"reward_{world}.png",
            times,
            rewards,
            title=f"Reward while learning: {title}",
            ylabel=f"reward per step (mean of {every} steps)",
        )
        about = f"Where {steps} steps go: {title} (mean of {_console.many(seeds, 'seed')})"
        if world == "river":
            tabular_plots.visited_pairs(
                path / "visits_river.png", visits, ("left, with the current", "right, against it"), title=about
            )
        else:
            over = np.asarray(model.terminal)
            pictures = {
                name: layout.image(np.where(over, np.nan, counts.sum(axis=1))) for name, counts in visits.items()
            }
            start, goal = (layout.cell[np.argmax(where)].tolist() for where in (np.asarray(model.initial), over))
            tabular_plots.visited_cells(
                path / "visits_maze.png",
                pictures,
                {"S": tuple(start), "G": tuple(goal)},
                title=about,
                label="visits of the cell",
            )
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(path / "curves.csv", rows)
    folder.write_csv(path / "seeds.csv", ends)
    _console.table(
        f"Q-learning, {steps} steps, {_console.many(seeds, 'seed')}; regret in % of the optimal value", lines
    )
    _console.console.print(
        "regret: at the end, the mean over seeds with its 95 % bootstrap interval; mean: over all steps too; to 5 %: the "
        "median seed's steps until then; tried: state-action pairs; reward: per step, while learning."
    )
    _console.files(path)
