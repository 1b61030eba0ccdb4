"""Policy search, the chapter's first algorithm: try policies on CartPole-v1, keep what works; genetic and three others.

The chapter's: 100 policies, all tried; the 80 worst are dropped, the 20 best kept, each with 4 offspring that differ a little.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rljax import networks

METHODS = ("genetic", "random_search", "hill_climbing", "evolution_strategy")


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    method: str = "genetic",
    policy: Literal["linear", "neural"] = "linear",
    seeds: int = 16,
    generations: int = 30,
    population: int | None = None,
    mutation: float = 0.5,
    annealed: bool = False,
    crossover: float = 0.0,
    episodes: int = 4,
    max_steps: int = 500,
    target: float | None = None,
    test_episodes: int = 64,
) -> None:
    """Search with several seeds at once, each until its champion balances the pole; save the curves, the best and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds, 3 generations of episodes of at most 50 steps.
      method: one, or several joined by commas, of genetic, random_search, hill_climbing, evolution_strategy.
      policy: linear is four numbers, neural the chapter's 4-5-1 network.
      seeds: independent searches.
      generations: most of them.
      population: candidates of a generation; default: each method's own (100 for genetic, of which a fifth survives).
      mutation: standard deviation of what the genetic algorithm adds to each number of an offspring.
      annealed: halve that every 10 generations.
      crossover: share of an offspring's numbers that another survivor gives, genetic only.
      episodes: of each candidate.
      max_steps: most steps of an episode.
      target: mean return of the champion in 64 fresh episodes that ends a search; default: max_steps, every one of them.
      test_episodes: fresh ones that judge each champion at the end.
    """
    import jax
    import numpy as np
    import optax

    from experiments import _console, _play, _results, _train, _world
    from rljax import agents, checks, envs
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    for name in ("generations", "episodes", "max_steps"):
        checks.integer(name, options[name], 1)
    names = [name.strip().replace("-", "_") for name in method.split(",")]
    for name in names:
        checks.choice("method", name, METHODS)
    if target is not None:
        checks.real("target", target, 0, max_steps)
    checks.real("mutation", mutation, 0, below=True)
    if quick:
        seeds, generations, max_steps = min(seeds, 2), min(generations, 3), min(max_steps, 50)
        test_episodes, target = min(test_episodes, 10), target if (target or 0) <= max_steps else None
    target = float(max_steps) if target is None else target
    env, net = envs.CartPole(), network(policy)
    sized: dict[str, Any] = {} if population is None else {"population": population}
    survivors = {} if population is None else {"survivors": max(1, population // 5)}
    made = {
        "genetic": lambda: agents.genetic(
            **sized,
            **survivors,
            mutation=optax.exponential_decay(mutation, 10, 0.5) if annealed else mutation,
            crossover=crossover,
        ),
        "random_search": lambda: agents.random_search(**sized),
        "hill_climbing": lambda: agents.hill_climbing(**sized),
        "evolution_strategy": lambda: agents.evolution_strategy(**sized),
    }
    variants: _train.Variants = {}
    for name in names:
        way = made[name]()
        search = agents.policy_search(
            env, net, way, episodes=episodes, finalists=min(10, way.size), max_steps=max_steps
        )
        variants[name] = (search, {})
    path = folder.create(out, "policy_search")
    folder.write_config(path, "policy_search", options, locals())

    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    results, failures = _train.each(
        variants, keys, generations, eval_every=1, chunk=2, watched="champion", target=target
    )
    lengths = {
        name: _play.judge(keys_test, env, algorithm.act, results[name].parameters, test_episodes, max_steps).mean(
            axis=1
        )
        for name, (algorithm, _) in variants.items()
    }
    folder.write_csv(
        path / "metrics.csv",
        (
            {
                "variant": name,
                "seed": member,
                "generation": int(step) + 1,
                **{metric: float(values[step, member]) for metric, values in result.metrics.items()},
                "champion_in_64_fresh_episodes": float(result.scores[step, member]),
            }
            for name, result in results.items()
            for member in range(seeds)
            for step in np.flatnonzero(np.isfinite(result.metrics["best"][:, member]))
        ),
    )
    _results.write_tests(path, lengths)
    plots.search_curves(
        path / "search.png",
        {name: result.metrics for name, result in results.items()},
        title="CartPole: policies tried, generation by generation",
        best_possible=max_steps,
    )
    summary = {
        name: {
            "seeds": seeds,
            "generations_iqm": interquartile_mean(result.members.steps),
            "generations_max": int(np.max(result.members.steps)),
            "share_of_seeds_that_reach_the_target": float((result.members.best_score >= target).mean()),
            "test_mean_return_iqm": interquartile_mean(lengths[name]),
            "test_mean_return_iqm_interval": bootstrap_interval(lengths[name]),
            "test_mean_return_min": float(lengths[name].min()),
            "compile_seconds": result.compile_seconds,
            "run_seconds": result.run_seconds,
            **({"failure": failures[name]} if name in failures else {}),
        }
        for name, result in results.items()
    }
    folder.write_json(path / "summary.json", summary)

    name, (algorithm, _) = next(iter(variants.items()))
    best = int(np.argmax(lengths[name]))
    champion = jax.tree.map(lambda leaf: leaf[best], results[name].parameters)
    about = {"experiment": "policy_search", "env": "CartPole", "max_steps": max_steps, "policy": policy}
    checkpoint.save(path / "policy.npz", champion, about)
    _train.before_and_after(path, key_film, _world.cartpole(max_steps), algorithm, keys[best], champion)

    _console.table(
        f"Policy search on CartPole, {_console.many(seeds, 'seed')} "
        f"(interquartile means; test: {test_episodes} fresh episodes)",
        [
            {
                "method": name.replace("_", " "),
                "tries": f"{row['generations_iqm']:.1f}",
                "most": f"{row['generations_max']}",
                f"at {target:g}": f"{row['share_of_seeds_that_reach_the_target']:.1%}",
                "test": f"{row['test_mean_return_iqm']:.1f}",
                "worst": f"{row['test_mean_return_min']:.1f}",
                "compile": f"{row['compile_seconds']:.1f} s",
                "run": f"{row['run_seconds']:.2f} s",
            }
            for name, row in summary.items()
        ],
    )
    _console.console.print(
        f"tries: generations; a search ends once its champion returns {target:g} on average in 64 fresh episodes. policy.npz "
        f"and after.gif hold the champion of the best seed of the test ({best}) of {name.replace('_', ' ')}, before.gif what "
        "it began with."
    )
    _console.files(path)
    _train.complain(failures, len(variants))
    _console.console.print(f"watch it again: python -m experiments play {path}", markup=False)


def network(policy: str) -> networks.Network:
    """Four numbers, or the chapter's network."""
    from rljax import networks

    return {"linear": lambda: networks.linear_policy(4), "neural": networks.chapter_policy}[policy]()
