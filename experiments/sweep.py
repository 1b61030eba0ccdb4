"""Sweeps on CartPole: every combination of some settings under the same seeds, as one program; a heat map and the curves.

A run is worth what the parameters that it kept, those of its best evaluation, reach in a test afterwards: 20 fresh episodes.
The evaluations themselves, the highest of which chose the parameters or stopped the run, are too good.

For example: python -m experiments sweep reinforce --learning-rate 0.001,0.003,0.01,0.03 --gamma 0.9,0.95,0.99 --seeds 32
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tyro.conf import Positional

if TYPE_CHECKING:
    from rljax import envs, structs


class Learner(NamedTuple):
    """What can be swept of an algorithm."""

    make: Callable[..., structs.Algorithm]  # (env, steps of the algorithm, max_steps, **setting)
    settings: tuple[str, ...]
    steps: int  # of the algorithm
    eval_every: int


def main(
    algorithm: Positional[Literal["reinforce", "dqn", "pqn", "policy_search"]] = "reinforce",
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    learning_rate: str | None = None,
    gamma: str | None = None,
    epsilon: str | None = None,
    shaping: str | None = None,
    mutation: str | None = None,
    hidden: str | None = None,
    random: int | None = None,
    seeds: int = 32,
    steps: int | None = None,
    max_steps: int = 200,
    target: float | None = None,
    patience: int = 1,
    places: int | None = None,
) -> None:
    """Run all settings; save every score and the test of every run as a table, the heat map and the learning curves.

    What is swept is a list such as 0.001,0.01 or, with --random, a range such as 0.0001:0.1. Numbers are traced, so that all
    settings share one program; widths of layers are not, and each is compiled.

    Args:
      algorithm: what learns.
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds and 2 evaluations, of episodes of at most 50 steps.
      learning_rate: reinforce, dqn, pqn.
      gamma: reinforce, dqn, pqn.
      epsilon: share of random actions; pqn.
      shaping: weight of the chapter's penalty on the angle; reinforce.
      mutation: standard deviation of what offspring differ by; policy_search.
      hidden: width of the hidden layer (two such for dqn and pqn).
      random: so many settings, drawn from ranges (evenly in the logarithm) and lists; default: every combination of lists.
      seeds: runs of each setting, the same for all.
      steps: of the algorithm; default: its own (reinforce 150 updates, dqn 2450 blocks of 20 steps, pqn 60 of 2048,
        policy_search 30 generations).
      max_steps: most steps of an episode.
      target: mean return of 20 greedy episodes that stops a run early; default: none does ...
      patience: ... once so many evaluations in a row have reached it.
      places: runs side by side; the time is that of all places, also of those left empty by too few runs; default: 1, 8 or 64.
    """
    import jax
    import numpy as np

    from experiments import _console, _train
    from rljax import checks, envs, train
    from rljax.runs import folder, plots, sweep_plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean, share_interval

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("max_steps", *(["places"] if places is not None else [])):
        checks.integer(name, options[name], 1)
    learner = learners()[algorithm]
    steps = learner.steps if steps is None else steps
    checks.integer("steps", steps, 1)
    checks.together(seeds=seeds, **({} if random is None else {"random": random}))
    settings = chosen(algorithm, learner, options, seed, random)
    checks.together(seeds=seeds, settings=len(settings))
    early = _train.stopping(target, patience, max_steps)
    if quick:
        seeds, steps, max_steps = min(seeds, 2), min(steps, 2 * learner.eval_every), min(max_steps, 50)
        early = early if (target or 0) <= max_steps else {}
    if steps % learner.eval_every:
        raise ValueError(
            f"steps is {steps}; expected a multiple of {learner.eval_every}, since {algorithm} is evaluated once in so many. "
            f"Take {-(-steps // learner.eval_every) * learner.eval_every}."
        )
    env = envs.TimeLimit(envs.CartPole(), max_steps)
    make = lambda **setting: learner.make(env, steps, max_steps, **setting)
    for setting in settings:  # refused before there is a folder
        make(**setting)
    path = folder.create(out, "sweep")
    folder.write_config(path, "sweep", options, locals())

    keys = jax.random.split(jax.random.key(seed), seeds)
    with _console.bar(f"{algorithm}, {len(settings)} settings", len(settings) * seeds) as bar:

        def show(progress: train.Progress, before: int, total: int) -> None:
            del total
            bar.update(before + progress.finished, f"runs; {progress.steps} of {steps} steps")

        result = train.sweep(
            make,
            settings,
            keys,
            steps,
            places=places,
            eval_every=learner.eval_every,
            score=True,
            chunk=2,
            on_chunk=show,
            **early,
        )
    folder.write_csv(path / "runs.csv", result.rows())
    tests = np.nan_to_num(result.tests)  # what no number can be given to is worth nothing
    worth = interquartile_mean(tests, axis=1)
    sweep_plots.heat_map(
        path / "heat_map.png",
        settings,
        worth,
        title=f"{algorithm} on CartPole: test of what was learned",
        label=f"mean return of 20 fresh greedy episodes (steps),\ninterquartile mean of {_console.many(seeds, 'seed')}",
    )
    best_first = sorted(range(len(settings)), key=lambda s: -worth[s])
    shown = best_first[:12]
    plots.learning_curves(
        path / "learning_curves.png",
        {sweep_plots.told(settings[s]): result.scores[:, s] for s in shown},
        title=f"{algorithm} on CartPole, {'all' if len(shown) == len(settings) else 'the 12 best'} settings, best test first",
        xlabel=f"evaluation, one every {learner.eval_every} steps of the algorithm",
        ylabel="evaluation: mean return of 20 greedy episodes (steps)",
        best_possible=max_steps,
    )
    reached = tests >= 0.95 * max_steps
    rows = [
        {
            **settings[s],
            "test_score_iqm": float(worth[s]),
            "test_score_iqm_interval": bootstrap_interval(tests[s]),
            "share_at_95_percent": float(reached[s].mean()),
            "share_at_95_percent_interval": share_interval(reached[s]),
            "steps_mean": float(result.steps[s].mean()),
            "failed": sum(map(bool, result.fault[s])),
        }
        for s in best_first
    ]
    summary = {
        "algorithm": algorithm,
        "seeds": seeds,
        "settings": rows,
        "programs_compiled": result.programs,
        "places": result.places,
        "compile_seconds": result.compile_seconds,
        "run_seconds": result.run_seconds,
    }
    folder.write_json(path / "summary.json", summary)
    _console.table(
        f"{algorithm} on CartPole, {_console.many(seeds, 'seed')} of each setting, the best first",
        [
            {
                "setting": sweep_plots.told({name: row[name] for name in settings[0]}),
                "test": "{:.1f} ({:.0f}-{:.0f})".format(row["test_score_iqm"], *row["test_score_iqm_interval"]),
                f">= {0.95 * max_steps:g}": "{:.0%} ({:.0f}-{:.0f})".format(
                    row["share_at_95_percent"], *(100 * end for end in row["share_at_95_percent_interval"])
                ),
                "steps": f"{row['steps_mean']:.0f}",
                "not finite": f"{row['failed']}",
            }
            for row in rows[:20]
        ],
    )
    programs = "one program" if result.programs == 1 else f"{result.programs} programs"
    _console.console.print(
        f"{len(settings) * seeds} runs, {result.places} side by side, by {programs} compiled in {result.compile_seconds:.1f} "
        f"s; they ran {result.run_seconds:.1f} s. test: 20 fresh episodes of the parameters that a run kept, those of its best "
        "evaluation, also if it failed later; interquartile mean of the seeds. In parentheses: 95 % intervals, by bootstrap "
        "or Wilson's (shares)."
    )
    _console.files(path)


def learners() -> dict[str, Learner]:
    """Every algorithm that can be swept."""
    return {
        "reinforce": Learner(_reinforce, ("learning_rate", "gamma", "shaping", "hidden"), 150, 5),
        "dqn": Learner(_dqn, ("learning_rate", "gamma", "hidden"), 2450, 50),
        "pqn": Learner(_pqn, ("learning_rate", "gamma", "epsilon", "hidden"), 60, 10),
        "policy_search": Learner(_policy_search, ("mutation",), 30, 1),
    }


def chosen(
    algorithm: str, learner: Learner, options: dict[str, Any], seed: int, random: int | None
) -> list[dict[str, Any]]:
    """The settings of the command line.

    Errors:
      ValueError: nothing to sweep, an option that the algorithm does not have, what is no list of numbers.
    """
    from rljax import train

    swept = {}
    for name in ("learning_rate", "gamma", "epsilon", "shaping", "mutation", "hidden"):
        if (text := options[name]) is None:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name not in learner.settings:
            has = ", ".join(f"--{other.replace('_', '-')}" for other in learner.settings)
            raise ValueError(f"{flag} is given, and {algorithm} has no such setting; expected some of {has}.")
        kind = int if name == "hidden" else float
        try:
            swept[name] = tuple(map(float, text.split(":"))) if ":" in text else [kind(x) for x in text.split(",")]
        except ValueError as error:
            raise ValueError(
                f"{flag} is {text!r}; expected numbers joined by commas, such as 0.001,0.01, or a range low:high."
            ) from error
        if isinstance(swept[name], tuple) and (random is None or len(swept[name]) != 2 or kind is int):
            raise ValueError(
                f"{flag} is {text!r}; expected a list, or (but for --hidden) a range low:high with --random N, the number "
                "of settings."
            )
        if kind is int and min(swept[name]) < 1:
            raise ValueError(f"{flag} is {text!r}; expected whole numbers of at least 1, such as 32,64.")
    if not swept:
        has = " ".join(f"--{other.replace('_', '-')}" for other in learner.settings)
        raise ValueError(
            f"nothing is given to sweep; expected lists for some of {has}. Try --{learner.settings[0].replace('_', '-')} "
            f"{'0.1,0.3,1.0' if algorithm == 'policy_search' else '0.001,0.003,0.01'}."
        )
    return train.grid(**swept) if random is None else train.sample(seed, random, **swept)


def _reinforce(
    env: envs.Environment,
    steps: int,
    max_steps: int,
    *,
    learning_rate: Any = 0.01,
    gamma: Any = 0.95,
    shaping: Any = None,
    hidden: int = 5,
) -> structs.Algorithm:
    from rljax import agents, checks, networks
    from rljax.shaping import angle_penalty

    del steps
    if shaping is not None:
        checks.real("shaping", shaping, above=True, below=True)
    weighted = lambda t: t.reward + shaping * (angle_penalty(t) - t.reward)
    return agents.reinforce(
        env,
        networks.mlp((4, hidden, 1)),
        max_steps=max_steps,
        learning_rate=learning_rate,
        gamma=gamma,
        shaping=None if shaping is None else weighted,
    )


def _dqn(
    env: envs.Environment,
    steps: int,
    max_steps: int,
    *,
    learning_rate: Any = 1e-3,
    gamma: Any = 0.99,
    hidden: int = 64,
) -> structs.Algorithm:
    from experiments import _deep_q

    variants = _deep_q.chosen("n_step,layer_norm")
    return _deep_q.algorithm(
        env,
        _deep_q.network([4, hidden, hidden, 2], variants),
        variants,
        steps=_deep_q.WARMUP + steps * _deep_q.BLOCK,
        max_steps=max_steps,
        gamma=gamma,
        learning_rate=learning_rate,
    )


def _pqn(
    env: envs.Environment,
    steps: int,
    max_steps: int,
    *,
    learning_rate: Any = 2.5e-4,
    gamma: Any = 0.99,
    epsilon: Any = 0.2,
    hidden: int = 64,
) -> structs.Algorithm:
    from rljax import agents, networks

    del steps
    return agents.pqn(
        env,
        networks.q_network((4, hidden, hidden, 2), layer_norm=True),
        gamma=gamma,
        learning_rate=learning_rate,
        epsilon=epsilon,
        max_steps=max_steps,
    )


def _policy_search(env: envs.Environment, steps: int, max_steps: int, *, mutation: Any = 0.5) -> structs.Algorithm:
    from rljax import agents, networks

    del steps
    return agents.policy_search(
        env, networks.linear_policy(4), agents.genetic(mutation=mutation), max_steps=max_steps, score_episodes=20
    )
