"""Sweeps: every setting under the same seeds, thousands of runs through one program.

| a value that is        | is             | because                                                              |
|------------------------|----------------|----------------------------------------------------------------------|
| a float                | traced         | it changes numbers: all settings that differ in it share one program |
| anything else          | a constant     | it may change shapes: each combination is compiled for itself        |

The runs of one program sit side by side in a fixed number of places, and each that ends makes room for the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks
from rljax.structs import Algorithm
from rljax.train import running
from rljax.train.loop import Plan, planned

Setting = Mapping[str, Any]


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """Every combination, the last name changing fastest.

    Example:
      >>> grid(gamma=[0.9, 0.99], hidden=[32])
      [{'gamma': 0.9, 'hidden': 32}, {'gamma': 0.99, 'hidden': 32}]
    """
    for name, options in values.items():
        if isinstance(options, str) or not len(options):
            raise ValueError(f"{name} is {options!r}; expected a list of at least one value.")
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]


def sample(seed: int, number: int, **ranges: tuple[float, float] | Sequence[Any]) -> list[dict[str, Any]]:
    """Settings at random: a pair of positive floats is a range, drawn from evenly in its logarithm; a list is chosen from.

    Example:
      >>> settings = sample(0, 100, learning_rate=(1e-4, 1e-2), optimiser=["adam", "nadam"])
      >>> all(1e-4 <= setting["learning_rate"] <= 1e-2 for setting in settings)
      True

    Bergstra & Bengio (2012), Random search for hyper-parameter optimization.
    """
    checks.seed(seed)
    checks.integer("number", number, 1)
    random = np.random.default_rng(seed)

    def draw(name: str, options: Any) -> list[Any]:
        if isinstance(options, tuple):
            low, high = options
            checks.real(f"the lower end of {name}", low, 0, above=True, below=True)
            checks.real(f"the upper end of {name}", high, low, below=True)
            return np.exp(random.uniform(np.log(low), np.log(high), number)).clip(low, high).tolist()
        return [options[i] for i in random.integers(len(options), size=number)]

    columns = {name: draw(name, options) for name, options in ranges.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True)
class Sweep:
    """What a sweep leaves: S settings under K seeds each. NaN where a run had stopped, or its algorithm has no such metric."""

    settings: list[dict[str, Any]]
    metrics: dict[str, np.ndarray]  # name -> [steps, S, K]
    scores: np.ndarray  # [rounds, S, K]
    best_score: np.ndarray  # [S, K] -inf without scores
    steps: np.ndarray  # [S, K] taken
    fault: list[list[str]]  # [S][K] which quantity ceased to be finite, or ""
    parameters: list[Any]  # [S] leaves [K, ...], the best of each seed
    places: int  # runs side by side
    programs: int  # compiled: one for each combination of values that are not floats
    compile_seconds: float
    run_seconds: float
    plan: Plan

    def rows(self) -> Iterator[dict[str, Any]]:
        """A tidy table: one row per setting, seed and round that was run, with the metrics of the round's last step."""
        every = self.plan.eval_every
        for s, setting in enumerate(self.settings):
            for k in range(self.steps.shape[1]):
                for i in range(-(-int(self.steps[s, k]) // every)):
                    last = min((i + 1) * every, int(self.steps[s, k])) - 1
                    metrics = {name: float(values[last, s, k]) for name, values in self.metrics.items()}
                    score = {"score": float(self.scores[i, s, k])} if self.plan.score else {}
                    yield {**setting, "seed": k, "step": last + 1, **metrics, **score}


def sweep(
    make: Callable[..., Algorithm],
    settings: Sequence[Setting],
    keys: Array,
    num_steps: int,
    *,
    places: int = 64,
    eval_every: int | None = None,
    target: float | None = None,
    patience: int = 1,
    give_up: int | None = None,
    score: bool | None = None,
    chunk: int = 10,
    on_chunk: Callable[[running.Progress, int, int], None] | None = None,
) -> Sweep:
    """Run every setting under every key.

    A run that meets a NaN stops, and the others go on. The bits of a run depend on its setting, its key and `places` (with
    fewer runs than places, on their number); not on what else is swept.

    Args:
      make: called with a setting as keyword arguments: first with its values, so that its checks see them, then traced.
      settings: from `grid`, `sample` or by hand, all with the same names.
      keys: [K] typed keys, the same for every setting: differences between settings are not those of luck.
      num_steps, eval_every, target, patience, give_up, score, chunk: of `train`.
      places: runs side by side. More are faster up to the width of the machine, and take more memory.
      on_chunk: is shown a `Progress` after each chunk, the runs finished before this program, and the runs in all.

    Returns:
      `Sweep`.

    Errors:
      ValueError, TypeError: before anything is compiled, what the maker itself refuses among them; before a program is run,
        one that needs more memory than there is, with the number of places that would fit.

    Example:
      >>> from rljax import agents, envs, networks
      >>> make = lambda **setting: agents.reinforce(envs.CartPole(), networks.chapter_policy(), max_steps=20, **setting)
      >>> result = sweep(make, grid(gamma=[0.9, 0.95]), jax.random.split(jax.random.key(0), 2), 2, eval_every=1)
      >>> result.metrics["mean_length"].shape, result.programs, len(list(result.rows()))
      ((2, 2, 2), 1, 8)
    """
    running.several(keys)
    checks.integer("num_steps", num_steps, 1)
    checks.integer("chunk", chunk, 1)
    checks.integer("places", places, 1)
    checks.function("make", make, "lambda **setting: agents.reinforce(env, network, **setting)")
    plan = planned(num_steps, eval_every, target, patience, give_up, score, False)
    groups = _groups(make, settings)
    rounds, total, before = num_steps // plan.eval_every, len(settings) * len(keys), 0
    outcomes: list[tuple[list[int], running.Result]] = []
    kind, numbers = jax.random.key_impl(keys), jax.random.key_data(keys)
    for group in groups:
        here = jax.random.wrap_key_data(jnp.tile(numbers, (len(group.rows), 1)), impl=kind)
        floats = {name: jnp.repeat(jnp.asarray(values), len(keys)) for name, values in group.floats.items()}
        seats = min(places, len(here))
        first = {name: values[:seats] for name, values in floats.items()}
        program = running.compiled(group.make, jax.random.clone(here)[:seats], first, plan, min(chunk, rounds))
        show = None if on_chunk is None else lambda progress, before=before: on_chunk(progress, before, total)
        outcomes.append((group.rows, running.run(program, here, floats, rounds, show, halt=False)))
        before += len(here)
    return _collected([dict(setting) for setting in settings], len(keys), outcomes, min(places, total), plan)


class _Group(NamedTuple):
    """Settings that share a program."""

    make: Callable[..., Algorithm]  # of the floats alone
    rows: list[int]  # which settings
    floats: dict[str, list[float]]  # name -> one for each


def _groups(make: Callable[..., Algorithm], settings: Sequence[Setting]) -> list[_Group]:
    """Settings by what is constant in them, each tried with its own values."""
    if not settings:
        raise ValueError("there are no settings; expected at least one: train.grid(learning_rate=[0.001, 0.01]).")
    found: list[tuple[dict[str, Any], _Group]] = []
    for row, setting in enumerate(settings):
        if set(setting) != set(settings[0]):
            raise ValueError(
                f"setting {row} has {', '.join(setting)}, and setting 0 {', '.join(settings[0])}; expected the same names."
            )
        if not isinstance(made := make(**setting), Algorithm):
            raise TypeError(f"the maker returned {made!r}; expected an Algorithm.")
        floats = {name: float(value) for name, value in setting.items() if isinstance(value, float | np.floating)}
        fixed = {name: value for name, value in setting.items() if name not in floats}
        for other, group in found:
            if other == fixed and set(group.floats) == set(floats):
                break
        else:
            group = _Group(lambda fixed=fixed, **floats: make(**fixed, **floats), [], {name: [] for name in floats})
            found.append((fixed, group))
        group.rows.append(row)
        for name, value in floats.items():
            group.floats[name].append(value)
    return [group for _, group in found]


def _collected(
    settings: list[dict[str, Any]],
    seeds: int,
    outcomes: list[tuple[list[int], running.Result]],
    places: int,
    plan: Plan,
) -> Sweep:
    """The results of all groups in the order of the settings."""
    shape = (len(settings), seeds)
    rounds = max(len(result.scores) for _, result in outcomes)
    names = sorted({name for _, result in outcomes for name in result.metrics})
    metrics = {name: np.full((rounds * plan.eval_every, *shape), np.nan) for name in names}
    scores, best = np.full((rounds, *shape), np.nan), np.full(shape, -np.inf)
    steps, fault = np.zeros(shape, int), [[""] * seeds for _ in settings]
    parameters: list[Any] = [None] * len(settings)
    for rows, result in outcomes:
        each = (len(rows), seeds)
        for name, values in result.metrics.items():
            metrics[name][: len(values), rows] = values.reshape(-1, *each)
        scores[: len(result.scores), rows] = result.scores.reshape(-1, *each)
        best[rows] = np.asarray(result.members.best_score).reshape(each)
        steps[rows] = np.asarray(result.members.steps).reshape(each)
        faults = np.asarray(result.members.fault).reshape(each)
        for i, row in enumerate(rows):
            fault[row] = ["" if not number else result.names[number - 1] for number in faults[i]]
            mine = slice(i * seeds, (i + 1) * seeds)
            parameters[row] = jax.tree.map(lambda leaf, mine=mine: leaf[mine], result.parameters)
    return Sweep(
        settings,
        metrics,
        scores,
        best,
        steps,
        fault,
        parameters,
        places,
        len(outcomes),
        sum(result.compile_seconds for _, result in outcomes),
        sum(result.run_seconds for _, result in outcomes),
        plan,
    )
