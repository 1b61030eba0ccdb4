"""Q-learning, 10 000 steps on the chapter's MDP: one seed and 1000 against NumPy and against plain Python."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.interleave import Prepared, compiled

STEPS = 10_000


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    seconds: float = 0.5,
    seeds: int = 1000,
) -> None:
    """Measure whole runs, in turn.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round, 8 seeds.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement; one call at least.
      seeds: learned at once by one of the contenders.
    """
    import statistics

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds, seconds, seeds = 1, 0.05, 8
    checks.seed(seed)
    checks.integer("rounds", rounds, 1)
    checks.integer("seeds", seeds, 1)
    checks.real("seconds", seconds, 0, above=True)
    path = folder.create(out, "benchmarks.q_learning")
    folder.write_config(path, "benchmarks.q_learning", options, locals())
    worker = interleave.Worker("experiments.benchmarks.q_learning")
    case, many = {"seed": seed}, f"{seeds} seeds"
    contenders = {
        "one seed": interleave.Contender(worker, "rljax", {**case, "seeds": 1}),
        "NumPy": interleave.Contender(worker, "numpy", case),
        many: interleave.Contender(worker, "rljax", {**case, "seeds": seeds}),
        "plain Python": interleave.Contender(worker, "python", case),
    }
    try:
        results = interleave.race(contenders, rounds, seconds)
    finally:
        worker.close()

    def each(name: str, what: str = "seconds") -> list[float]:
        return [getattr(m, what) * STEPS / m.steps for m in results[name]]  # of one run, all its seeds together

    def ratio(slow: str, fast: str, what: str = "seconds") -> float:
        return statistics.median(a / b for a, b in zip(each(slow, what), each(fast, what), strict=True))

    measured: dict[str, tuple[float, str, float | None]] = {
        "NumPy / one seed": (ratio("NumPy", "one seed"), ">=", 50.0),
        f"{many} / NumPy's one": (ratio(many, "NumPy"), "<=", 3.0),
        f"{many} / NumPy's one, seconds of a core": (ratio(many, "NumPy", "cpu_seconds"), "", None),
        "plain Python / one seed": (ratio("plain Python", "one seed"), "", None),
        f"{many} / plain Python's one": (ratio(many, "plain Python"), "", None),
        **{f"{name}: seconds": (statistics.median(each(name)), "", None) for name in results},
        "compilation, one seed: seconds": (results["one seed"][0].compile_seconds, "", None),
    }
    summary = {
        name: {
            "median": value,
            "bar": None if bar is None else f"{sign} {bar:g}",
            "reached": None if bar is None else (value <= bar if sign == "<=" else value >= bar),
        }
        for name, (value, sign, bar) in measured.items()
    }
    summary["seconds of each round"] = {name: each(name) for name in results}
    folder.write_json(path / "summary.json", summary)
    _console.table(
        f"Q-learning, {STEPS} steps on the chapter's MDP",
        [
            {
                "what": name,
                "median": f"{value:.3g}",
                "bar": "" if bar is None else f"{sign} {bar:g}",
                "": "" if bar is None else "reached" if summary[name]["reached"] else "MISSED",
            }
            for name, (value, sign, bar) in measured.items()
        ],
    )
    _console.files(path)


def rljax(seed: int, seeds: int) -> Prepared:
    """The loop's own pure functions under one `jit`: 10 000 steps of every seed, no score, no look of the host."""
    import jax

    from experiments import _worlds
    from rljax import agents, train
    from rljax.agents import tabular
    from rljax.envs.tabular import TabularEnv
    from rljax.mdp import problems

    algorithm = agents.control(
        TabularEnv(_worlds.starting_in(problems.chapter_mdp(0.9), 0)),
        step_size=tabular.harmonic(0.05, 0.005),
        steps_per_update=STEPS,
    )

    def one(key: jax.Array) -> jax.Array:
        member, _, _ = train.advance(algorithm, key, train.begin(algorithm, key), train.Plan(eval_every=1))
        return algorithm.parameters(member.state)

    keys = jax.random.split(jax.random.key(seed), seeds)
    return compiled(jax.vmap(one) if seeds > 1 else lambda keys: one(keys[0]), keys, steps=STEPS)


def numpy(seed: int) -> Prepared:
    """As one writes it with NumPy, and as the chapter does: a table, `choice` for actions and for successors."""
    import numpy as np

    from rljax.mdp import problems

    probabilities, rewards, actions = problems.TRANSITION_PROBABILITIES, problems.REWARDS, problems.POSSIBLE_ACTIONS

    def run() -> np.ndarray:
        random, q, state = np.random.default_rng(seed), np.full((3, 3), -np.inf), 0
        for s, available in enumerate(actions):
            q[s, available] = 0.0
        for k in range(STEPS):
            action = random.choice(actions[state])
            successor = random.choice(3, p=probabilities[state][action])
            alpha = 0.05 / (1 + k * 0.005)
            target = rewards[state][action][successor] + 0.9 * q[successor].max()
            q[state, action] += alpha * (target - q[state, action])
            state = successor
        return q

    return Prepared(run, STEPS)


def python(seed: int) -> Prepared:
    """The fastest that an interpreter does: lists; random numbers and step sizes made beforehand, in one go."""
    import bisect
    import itertools

    import numpy as np

    from rljax.mdp import problems

    actions = problems.POSSIBLE_ACTIONS
    cumulative = [
        [list(itertools.accumulate(row[:-1])) if row else [] for row in rows]
        for rows in problems.TRANSITION_PROBABILITIES
    ]
    rewards, find = problems.REWARDS, bisect.bisect_right

    def run() -> list[list[float]]:
        first, second = np.random.default_rng(seed).random((2, STEPS)).tolist()
        alphas = (0.05 / (1 + 0.005 * np.arange(STEPS))).tolist()
        q, state = [[0.0 if a in available else -np.inf for a in range(3)] for available in actions], 0
        for u, w, alpha in zip(first, second, alphas, strict=True):
            available, row = actions[state], q[state]
            action = available[int(u * len(available))]
            successor = find(cumulative[state][action], w)
            target = rewards[state][action][successor] + 0.9 * max(q[successor])
            row[action] += alpha * (target - row[action])
            state = successor
        return q

    return Prepared(run, STEPS)


CONTENDERS = {"rljax": rljax, "numpy": numpy, "python": python}
