"""Sweeps: every setting under the same seeds, thousands of runs through one program.

| a value that is        | is             | because                                                              |
|------------------------|----------------|----------------------------------------------------------------------|
| a float                | traced         | it changes numbers: all settings that differ in it share one program |
| anything else          | a constant     | it may change shapes: each combination is compiled for itself        |

The runs of one program sit side by side in a fixed number of places, and each that ends makes room for the next. Places that
no run needs are computed all the same: how many there are decides about bits, and so what else is swept must not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks
from rljax.structs import Algorithm
from rljax.train import loop, running

Setting = Mapping[str, Any]

# Few, so that small sweeps have the bits of others of their kind. 256 runs of REINFORCE that stop early take 2.5 s on two cores
# with 64 side by side, 4.0 all at once (they wait for the slowest), 4.6 with 8 and 7.4 alone; empty places cost what runs do.
WIDTHS = (1, 8, 64)
COLUMNS = ("seed", "step", "score", "test", "fault")  # of a table of runs, beside settings and metrics


def grid(**values: Sequence[Any] | np.ndarray | Array) -> list[dict[str, Any]]:
    """Every combination, the last name changing fastest.

    Args:
      values: name -> a list of at least one value, or an array of numbers [n].

    Errors:
      ValueError: what is no such list.

    Example:
      >>> grid(gamma=[0.9, 0.99], hidden=[32])
      [{'gamma': 0.9, 'hidden': 32}, {'gamma': 0.99, 'hidden': 32}]
    """
    lists = [_listed(name, options) for name, options in values.items()]
    return [dict(zip(values, row, strict=True)) for row in itertools.product(*lists)]


def sample(
    seed: int, number: int, **ranges: tuple[float, float] | Sequence[Any] | np.ndarray | Array
) -> list[dict[str, Any]]:
    """Settings at random: a pair of positive numbers is a range, drawn from evenly in its logarithm; a list is chosen from.

    Args:
      seed: of the draws.
      number: of settings.
      ranges: name -> (low, high), or a list of at least one value. Draws are rounded to six digits: what is printed of a
        setting is all of it.

    Errors:
      ValueError, TypeError: what is neither; ends that are not finite, not above 0 or the wrong way round.

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
        if isinstance(options, tuple) and len(options) == 2:
            low, high = options
            checks.real(f"the lower end of {name}", low, 0, above=True, below=True)
            checks.real(f"the upper end of {name}", high, low, below=True)
            drawn = np.exp(random.uniform(np.log(low), np.log(high), number))
            return np.clip([float(f"{value:g}") for value in drawn], low, high).tolist()
        options = _listed(name, options, ranges=True)
        return [options[i] for i in random.integers(len(options), size=number)]

    columns = {name: draw(name, options) for name, options in ranges.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep leaves: S settings under K seeds each. NaN where a run had stopped, or its algorithm has no such metric."""

    settings: list[dict[str, Any]]
    metrics: dict[str, np.ndarray]  # name -> [steps, S, K]
    scores: np.ndarray  # [rounds, S, K]
    best_score: np.ndarray  # [S, K] -inf without scores; the highest of several noisy numbers, and so too good
    tests: np.ndarray  # [S, K] a fresh score of `parameters`, by which to judge them; NaN without scores
    steps: np.ndarray  # [S, K] taken
    fault: list[list[str]]  # [S][K] which quantity ceased to be finite, or ""
    parameters: list[Any]  # [S] leaves [K, ...], the best of each seed
    places: int  # runs side by side, in every program
    programs: int  # compiled: one for each combination of values that are not floats
    compile_seconds: float
    run_seconds: float
    plan: loop.Plan

    def rows(self) -> Iterator[dict[str, Any]]:
        """A tidy table: one row per setting, seed and round that was run, with the metrics of the round's last finite step.

        The last row of a run says how it ended: its test, and its fault, if it had one. A run that failed in its first step has
        one row, of step 0. A metric that shares its name with a setting or a column is called `metric_NAME`.
        """
        every, taken = self.plan.eval_every, set(COLUMNS).union(*self.settings)
        columns = {}
        for name in self.metrics:
            column = name
            while column in taken:
                column = f"metric_{column}"
            taken.add(column)
            columns[name] = column
        for s, setting in enumerate(self.settings):
            for k in range(self.steps.shape[1]):
                steps = int(self.steps[s, k])
                rounds = max(1, -(-steps // every))
                for i in range(rounds):
                    step, ends = min((i + 1) * every, steps), i == rounds - 1
                    row = {**setting, "seed": k, "step": step}
                    for name, values in self.metrics.items():
                        row[columns[name]] = float(values[step - 1, s, k]) if step else np.nan
                    if self.plan.score:
                        row["score"] = float(self.scores[i, s, k])
                        row["test"] = float(self.tests[s, k]) if ends else np.nan
                    yield {**row, "fault": self.fault[s][k] if ends else ""}


def sweep(
    make: Callable[..., Algorithm],
    settings: Sequence[Setting],
    keys: Array,
    num_steps: int,
    *,
    places: int | None = None,
    eval_every: int | None = None,
    target: float | None = None,
    patience: int = 1,
    give_up: int | None = None,
    score: bool | None = None,
    chunk: int = 10,
    on_chunk: Callable[[running.Progress, int, int], None] | None = None,
) -> Sweep:
    """Run every setting under every key; with scores, test what each run kept by one that is fresh.

    A run that meets a NaN stops, and the others go on. The bits of a run depend on its setting, its key and `places`; not on
    what else is swept.

    Args:
      make: called with a setting as keyword arguments: first with its values, so that its checks see them, then traced.
      settings: from `grid`, `sample` or by hand, all with the same names.
      keys: [K] typed keys, the same for every setting: differences between settings are not those of luck.
      num_steps, eval_every, target, patience, give_up, score, chunk: of `train`.
      places: runs side by side, in every program; default: the least of `WIDTHS` that seats all runs of the largest, else the
        last of them. The time and the memory are those of all places, also of those that too few runs leave empty.
      on_chunk: is shown a `Progress` after each chunk, the runs finished before this program, and the runs in all.

    Returns:
      `Sweep`.

    Errors:
      ValueError, TypeError: before anything is compiled, what the maker itself refuses among them; before the first run, a
        program that needs more memory than there is, with the number of places that would fit.

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
    if places is not None:
        checks.together(places=places)
    checks.function("make", make, "lambda **setting: agents.reinforce(env, network, **setting)")
    if on_chunk is not None:
        checks.function(
            "on_chunk", on_chunk, "lambda progress, before, total: print(before + progress.finished, total), or None"
        )
    plan = loop.planned(num_steps, eval_every, target, patience, give_up, score, False)
    known = _checked(settings)
    rounds, total, before, began = num_steps // plan.eval_every, len(known) * len(keys), 0, time.perf_counter()
    # All of them before the first is run: what one is refused for must not cost the work of others.
    grouped = _groups(make, known)
    if places is None:
        widest = max(len(group.rows) for group in grouped) * len(keys)
        places = next((width for width in WIDTHS if width >= widest), WIDTHS[-1])
    groups = [(group, _compiled(group, keys, places, plan, min(chunk, rounds))) for group in grouped]
    compiled = time.perf_counter()
    outcomes = []
    for group, program in groups:
        show = None if on_chunk is None else lambda progress, before=before: on_chunk(progress, before, total)
        result = running.run(program.train, *program.those(np.arange(program.runs)), rounds, show, halt=False)
        outcomes.append((group.rows, result, _tests(program, result.parameters)))
        before += program.runs
    return Sweep(
        settings=known,
        **_collected(len(known), len(keys), outcomes, plan),
        places=places,
        programs=len(groups),
        compile_seconds=compiled - began,
        run_seconds=time.perf_counter() - compiled,
        plan=plan,
    )


def _listed(name: str, options: Any, *, ranges: bool = False) -> list[Any]:
    """A list of values as it is, an array of numbers as Python's; or what is wrong with it. With `ranges`, a tuple is one."""
    if isinstance(options, np.ndarray | Array) and options.ndim == 1:
        options = np.asarray(options).tolist()
    others = (str, bytes, tuple) if ranges else (str, bytes)
    if isinstance(options, others) or not isinstance(options, Sequence) or not options:
        pair = f", or a range of two numbers above 0, {name}=(0.001, 0.1)" if ranges else ""
        raise ValueError(f"{name} is {options!r}; expected a list of at least one value, {name}=[0.01, 0.1]{pair}.")
    return list(options)


def _checked(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """The settings, with arrays of one number as Python's numbers; or what is wrong with them."""
    if not isinstance(settings, Sequence) or not all(isinstance(setting, Mapping) for setting in settings):
        raise TypeError(
            f"settings is {settings!r}; expected a list of dicts, one for each setting. Take train.grid(name=[...]), which "
            "makes it."
        )
    if not settings:
        raise ValueError("there are no settings; expected at least one: train.grid(learning_rate=[0.001, 0.01]).")
    for row, setting in enumerate(settings):
        if set(setting) != set(settings[0]):
            raise ValueError(
                f"setting {row} has {', '.join(setting)}, and setting 0 {', '.join(settings[0])}; expected the same names."
            )
    for name in set(COLUMNS) & set(settings[0]):
        raise ValueError(
            f"a setting is called {name}; expected another name than those of the columns of every table of runs, "
            f"{', '.join(COLUMNS)}. Let the maker call it otherwise."
        )
    return [{name: _number(name, value) for name, value in setting.items()} for setting in settings]


def _number(name: str, value: Any) -> Any:
    """A value as it is, an array of one number as Python's."""
    if not isinstance(value, np.ndarray | np.generic | Array):
        return value
    if value.ndim or jnp.issubdtype(value.dtype, jax.dtypes.extended):
        raise _no_value(name, value)
    return float(value) if jnp.issubdtype(value.dtype, jnp.floating) else np.asarray(value).item()


def _no_value(name: str, value: Any) -> TypeError:
    return TypeError(
        f"{name} is {value!r}; expected a number, or what can be compared by ==, such as a text or a tuple of numbers. Give "
        f"the arrays names, and let the maker look them up: lambda {name}: agents.reinforce(..., ARRAYS[{name}])."
    )


class _Group(NamedTuple):
    """Settings that share a program."""

    make: Callable[..., Algorithm]  # of the floats alone
    rows: list[int]  # which settings
    floats: dict[str, list[float]]  # name -> one for each


def _groups(make: Callable[..., Algorithm], settings: list[dict[str, Any]]) -> list[_Group]:
    """Settings by what is constant in them, each tried with its own values."""
    found: list[tuple[dict[str, Any], _Group]] = []
    for row, setting in enumerate(settings):
        if not isinstance(made := make(**setting), Algorithm):
            raise TypeError(f"the maker returned {made!r}; expected an Algorithm.")
        floats = {name: float(value) for name, value in setting.items() if isinstance(value, float)}
        fixed = {name: value for name, value in setting.items() if name not in floats}
        for other, group in found:
            if set(group.floats) == set(floats) and all(_same(name, fixed[name], other[name]) for name in fixed):
                break
        else:
            group = _Group(lambda fixed=fixed, **floats: make(**fixed, **floats), [], {name: [] for name in floats})
            found.append((fixed, group))
        group.rows.append(row)
        for name, value in floats.items():
            group.floats[name].append(value)
    return [group for _, group in found]


def _same(name: str, one: Any, other: Any) -> bool:
    """Two constants make the same program; True and 1 need not."""
    try:
        return type(one) is type(other) and bool(one == other)
    except ValueError as error:  # there is an array in it
        raise _no_value(name, one) from error


class _Program(NamedTuple):
    """A group, ready to be run: M runs, its settings times K, through P places."""

    train: running.Program
    test: jax.stages.Compiled | None  # (floats [P], keys [P], parameters [P, ...]) -> scores [P]
    runs: int  # M
    those: Callable[[np.ndarray], tuple[Array, dict[str, Array]]]  # indices of runs [N] -> keys [N], floats [N]


def _compiled(group: _Group, keys: Array, places: int, plan: loop.Plan, chunk: int) -> _Program:
    """All that a group needs, for as many members as there are places, however few runs there are."""
    kind, numbers = jax.random.key_impl(keys), jnp.tile(jax.random.key_data(keys), (len(group.rows), 1))
    floats = {name: jnp.repeat(jnp.asarray(values), len(keys)) for name, values in group.floats.items()}

    def those(who: np.ndarray) -> tuple[Array, dict[str, Array]]:
        return jax.random.wrap_key_data(numbers[who], impl=kind), {name: values[who] for name, values in floats.items()}

    first, setting = those(np.arange(places) % len(numbers))
    program, test = running.compiled(group.make, first, setting, plan, chunk), None
    if plan.score:
        one = lambda setting, key, params: loop.tested(group.make(**setting), key, params)
        test = jax.jit(jax.vmap(one)).lower(setting, first, program.begin.out_info.best).compile()
    return _Program(program, test, len(numbers), those)


def _tests(program: _Program, parameters: Any) -> np.ndarray:
    """[M] a fresh score of what each run kept, as many side by side as there are places."""
    tests = np.full(program.runs, np.nan)
    if program.test is None:
        return tests
    for start in range(0, program.runs, program.train.places):
        who = np.arange(start, start + program.train.places) % program.runs
        keys, setting = program.those(who)
        tests[who] = program.test(setting, keys, jax.tree.map(lambda leaf, who=who: leaf[who], parameters))
    return tests


def _collected(
    settings: int, seeds: int, outcomes: list[tuple[list[int], running.Result, np.ndarray]], plan: loop.Plan
) -> dict[str, Any]:
    """The results of all groups in the order of the settings."""
    shape = (settings, seeds)
    rounds = max(len(result.scores) for _, result, _ in outcomes)
    names = sorted({name for _, result, _ in outcomes for name in result.metrics})
    metrics = {name: np.full((rounds * plan.eval_every, *shape), np.nan) for name in names}
    scores, best, tests = np.full((rounds, *shape), np.nan), np.full(shape, -np.inf), np.full(shape, np.nan)
    steps, fault = np.zeros(shape, int), [[""] * seeds for _ in range(settings)]
    parameters: list[Any] = [None] * settings
    for rows, result, tested in outcomes:
        each = (len(rows), seeds)
        for name, values in result.metrics.items():
            metrics[name][: len(values), rows] = values.reshape(-1, *each)
        scores[: len(result.scores), rows] = result.scores.reshape(-1, *each)
        best[rows] = np.asarray(result.members.best_score).reshape(each)
        tests[rows] = tested.reshape(each)
        steps[rows] = np.asarray(result.members.steps).reshape(each)
        faults = np.asarray(result.members.fault).reshape(each)
        for i, row in enumerate(rows):
            fault[row] = ["" if not number else result.names[number - 1] for number in faults[i]]
            mine = slice(i * seeds, (i + 1) * seeds)
            parameters[row] = jax.tree.map(lambda leaf, mine=mine: leaf[mine], result.parameters)
    return {
        "metrics": metrics,
        "scores": scores,
        "best_score": best,
        "tests": tests,
        "steps": steps,
        "fault": fault,
        "parameters": parameters,
    }
