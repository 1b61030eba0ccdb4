"""Sweeps: one program for what is traced, places that never stand empty, bits that do not depend on the neighbours."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import agents, envs, networks, train
from rljax.runs import folder
from rljax.structs import Algorithm
from rljax.train import memory


@jax.custom_batching.custom_vmap
def crowded(x: jax.Array) -> jax.Array:
    """Numbers with bits that depend on how many are computed side by side, as those of matrix products may."""
    return x


@crowded.def_vmap
def _(axis_size: int, in_batched: list[bool], x: jax.Array) -> tuple[jax.Array, bool]:
    return x * (1 + axis_size * 1e-6), in_batched[0]


def climb(speed: Any = 1.0, *, width: int = 2, poison_at: float = -1.0) -> Algorithm:
    """Parameters that grow by `speed` and a little noise in each step; their mean is the score."""

    def step(key: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[Any, dict[str, jax.Array]]:
        x, t = state
        x = crowded(x) + speed + 1e-3 * jax.random.normal(key, x.shape)
        x = jnp.where(t == poison_at, jnp.nan, x)
        return (x, t + 1.0), {"mean": x.mean(), "fast": jnp.asarray(speed, x.dtype)}

    return Algorithm(
        init=lambda key: (jax.random.uniform(key, (width,)), jnp.float32(0)),
        step=step,
        parameters=lambda state: state[0],
        act=lambda params, key, observation: jnp.int32(0),
        score=lambda key, params: params.mean(),
    )


def keys(number: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), number)


def test_grid_and_sample() -> None:
    assert train.grid(a=[1, 2], b=["x"]) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
    settings = train.sample(0, 4000, rate=(1e-4, 1e-2), width=[1, 2])
    assert settings == train.sample(0, 4000, rate=(1e-4, 1e-2), width=[1, 2])
    below = np.mean([setting["rate"] < 1e-3 for setting in settings])
    assert abs(below - 0.5) < 5 * 0.5 / np.sqrt(4000), "evenly in the logarithm"
    assert abs(np.mean([setting["width"] for setting in settings]) - 1.5) < 5 * 0.5 / np.sqrt(4000)
    assert all(float(f"{setting['rate']:g}") == setting["rate"] for setting in settings), "what is printed is all of it"
    within = train.sample(0, 9, rate=(1.23456789, 1.23456799))
    assert all(1.23456789 <= setting["rate"] <= 1.23456799 for setting in within)


def test_floats_share_a_program_and_what_is_no_float_has_its_own() -> None:
    traces = []

    def make(speed: Any, width: int) -> Algorithm:
        if isinstance(speed, jax.core.Tracer):
            traces.append(width)
        return climb(speed, width=width)

    settings = train.grid(width=[2, 3], speed=[1.0, 2.0, 3.0])
    result = train.sweep(make, settings, keys(2), 4, eval_every=2, score=True, places=3)
    assert result.programs == 2 and traces == [2] * 3 + [3] * 3, (
        "one trace to begin, to advance and to test, for each width"
    )
    assert [leaf.shape for leaf in result.parameters] == [(2, 2)] * 3 + [(2, 3)] * 3
    np.testing.assert_allclose(
        result.metrics["fast"], np.broadcast_to(np.float32([1, 2, 3, 1, 2, 3])[:, None], (4, 6, 2))
    )
    np.testing.assert_array_equal(result.scores[-1], result.metrics["mean"][-1])
    assert (result.steps == 4).all() and result.places == 3


def test_a_run_is_that_of_train_with_as_many_side_by_side() -> None:
    """And does not depend on what else is swept, on its place, or on who finished before."""
    speeds = [0.5, 3.0, 1.0, 0.1, 2.0]
    options: dict[str, Any] = {"eval_every": 2, "target": 8.0, "chunk": 3}
    result = train.sweep(climb, train.grid(speed=speeds), keys(3), 30, places=4, **options)
    assert len(np.unique(result.steps)) > 3, "runs of different lengths"
    for s, speed in enumerate(speeds):
        alone = train.train(
            climb, keys(4)[:3][jnp.array([0, 1, 2, 0])], 30, settings={"speed": np.float32([speed] * 4)}, **options
        )
        np.testing.assert_array_equal(result.steps[s], alone.members.steps[:3])
        np.testing.assert_array_equal(result.parameters[s], alone.parameters[:3])
        np.testing.assert_array_equal(result.best_score[s], alone.members.best_score[:3])
        taken = len(alone.metrics["mean"])
        np.testing.assert_array_equal(result.metrics["mean"][:taken, s], alone.metrics["mean"][:, :3])
        np.testing.assert_array_equal(result.scores[: taken // 2, s], alone.scores[:, :3])
        assert np.isnan(result.metrics["mean"][taken:, s]).all()
    few = train.sweep(climb, train.grid(speed=[0.1]), keys(3), 30, places=4, **options)
    assert few.places == 4, "three runs, and a place that stands empty"
    np.testing.assert_array_equal(few.metrics["mean"][:, 0], result.metrics["mean"][: len(few.metrics["mean"]), 3])
    np.testing.assert_array_equal(few.parameters[0], result.parameters[3])
    np.testing.assert_array_equal(few.tests[0], result.tests[3])


def test_places_are_chosen_by_the_runs_of_the_largest_program() -> None:
    for number, expected in ((1, 1), (2, 8), (9, 64), (65, 64)):
        assert train.sweep(climb, train.grid(speed=[0.1]), keys(number), 1).places == expected
    assert train.sweep(climb, train.grid(width=[2, 3]), keys(4), 1).places == 8, "two programs of four runs"


@pytest.mark.parametrize("places", [1, 5, 100])
def test_every_run_is_run_whatever_the_number_of_places(places: int) -> None:
    seen: list[tuple[int, int]] = []
    result = train.sweep(
        climb,
        train.grid(speed=[0.3, 1.0, 5.0]),
        keys(4),
        12,
        eval_every=3,
        target=10.0,
        places=places,
        chunk=1,
        on_chunk=lambda progress, before, total: seen.append((before + progress.finished, total)),
    )
    # Beginning in [0, 1): 5 a step passes 10 in the first round of 3, 1 a step in the fourth, 0.3 never.
    assert result.steps.tolist() == [[12] * 4, [12] * 4, [3] * 4]
    assert (result.best_score[0] < 10).all() and (result.best_score[1:] >= 10).all()
    assert seen[-1] == (12, 12) and seen == sorted(seen) and result.places == places


def test_values_are_pythons_and_share_a_program_if_they_are_floats_or_the_same_constants() -> None:
    """Also those of arrays. True equals 1, and a maker may tell them apart."""
    assert train.grid(a=jnp.array([1.0, 2.0]), b=np.array([2])) == train.grid(a=[1.0, 2.0], b=[2])
    settings = [{"speed": speed, "flag": np.True_} for speed in (np.float32(1), jnp.float32(2), np.asarray(3.0))]
    make = lambda speed, flag: climb(speed)
    result = train.sweep(make, [*settings, {"speed": 1.0, "flag": np.int64(1)}], keys(1), 2)
    assert result.settings == [*train.grid(speed=[1.0, 2.0, 3.0], flag=[True]), {"speed": 1.0, "flag": 1}]
    assert result.programs == 2 and np.isnan(result.tests).all(), "without scores there is no test"


def test_what_a_run_keeps_is_tested_by_chance_that_did_not_choose_it() -> None:
    """All parameters are worth 0, and a score is noise: those that end runs are above the target, those of the tests not."""
    noise = lambda key, params: jax.random.normal(key)
    result = train.sweep(
        lambda: climb()._replace(score=noise), [{}], keys(200), 6, eval_every=1, target=1.0, places=200
    )
    assert (result.best_score[result.steps < 6] >= 1).all() and result.best_score.mean() > 1
    assert abs(result.tests.mean()) < 5 / np.sqrt(200) and abs(result.tests.std() - 1) < 5 / np.sqrt(400)


def test_a_run_that_fails_stops_alone_and_says_why_in_its_last_row() -> None:
    settings = train.grid(speed=[1.0], poison_at=[0.0, 2.0, 3.0, -1.0])
    result = train.sweep(climb, settings, keys(2), 4, eval_every=2, score=True, places=2)
    assert result.fault == [["mean"] * 2] * 3 + [[""] * 2]
    assert result.steps.tolist() == [[0] * 2, [2] * 2, [3] * 2, [4] * 2]
    assert np.isfinite(result.metrics["mean"][:, 3]).all() and np.isfinite(result.parameters[:3]).all()
    rows = [row for row in result.rows() if row["seed"] == 1]
    ends = [[(row["step"], row["fault"]) for row in rows if row["poison_at"] == s["poison_at"]] for s in settings]
    assert ends == [[(0, "mean")], [(2, "mean")], [(2, ""), (3, "mean")], [(2, ""), (4, "")]]
    assert np.isnan(rows[0]["fast"]) and rows[2]["fast"] == 1.0
    assert all(np.isfinite(row["score"]) for row in rows), "of the last finite parameters"
    assert [np.isfinite(row["test"]) for row in rows] == [True, True, False, True, False, True]


def test_the_table_has_a_row_for_each_setting_seed_and_round(tmp_path: Path) -> None:
    result = train.sweep(climb, train.grid(speed=[1.0, 4.0]), keys(2), 6, eval_every=2, target=7.0)
    folder.write_csv(tmp_path / "runs.csv", result.rows())
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert list(rows[0]) == ["speed", "seed", "step", "fast", "mean", "score", "test", "fault"]
    found = [(float(row["speed"]), int(row["seed"]), int(row["step"])) for row in rows]
    assert found == [(1.0, k, t) for k in (0, 1) for t in (2, 4, 6)] + [(4.0, k, 2) for k in (0, 1)]
    for row in rows:
        s, k, t = [1.0, 4.0].index(float(row["speed"])), int(row["seed"]), int(row["step"])
        np.testing.assert_allclose(float(row["mean"]), result.metrics["mean"][t - 1, s, k])
        np.testing.assert_allclose(float(row["score"]), result.scores[t // 2 - 1, s, k])
        np.testing.assert_allclose(float(row["test"]), result.tests[s, k] if t == result.steps[s, k] else np.nan)


def test_a_metric_with_the_name_of_a_setting_or_a_column_has_a_column_of_its_own() -> None:
    def make(mean: Any, metric_step: Any) -> Algorithm:
        made = climb(mean + metric_step)
        step = lambda key, state: (made.step(key, state)[0], {"mean": mean / 2, "step": jnp.float32(9), "new": mean})
        return made._replace(step=step)

    result = train.sweep(make, train.grid(mean=[1.0, 4.0], metric_step=[0.5]), keys(1), 1)
    expected = {"metric_step": 0.5, "seed": 0, "step": 1, "metric_metric_step": 9.0, "fault": ""}
    assert list(result.rows()) == [
        {**expected, "mean": 1.0, "metric_mean": 0.5, "new": 1.0},
        {**expected, "mean": 4.0, "metric_mean": 2.0, "new": 4.0},
    ]


@pytest.mark.usefixtures("standard_promotion")
def test_a_learner_is_swept_over_rates_and_shaping() -> None:
    def make(learning_rate: Any, weight: Any) -> Algorithm:
        shaped = lambda t: t.reward - weight * jnp.abs(t.next_observation[2])
        return agents.reinforce(
            envs.CartPole(),
            networks.linear_policy(4),
            max_steps=20,
            episodes_per_update=4,
            learning_rate=learning_rate,
            shaping=shaped,
        )

    result = train.sweep(make, train.grid(learning_rate=[0.01, 0.1], weight=[0.0, 1.0]), keys(2), 2, eval_every=1)
    assert result.programs == 1
    assert len({row.tobytes() for row in np.moveaxis(result.metrics["loss"], 0, -1).reshape(8, 2)}) == 8


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"settings": []}, "there are no settings"),
        (
            {"settings": [{"speed": 1.0}, {"pace": 1.0}]},
            "setting 1 has pace, and setting 0 speed; expected the same names",
        ),
        ({"places": 0}, "places is 0"),
        ({"on_chunk": 3}, "on_chunk is 3; expected a function such as"),
        ({"keys": jax.random.key(0)}, r"keys of shape \(B,\)"),
        ({"num_steps": 7, "eval_every": 2}, "Take 6 steps"),
        ({"settings": [{"seed": 1.0}]}, "a setting is called seed; expected another name than .* seed, step, score"),
        ({"settings": {"speed": [1.0, 2.0]}}, r"settings is {'speed': .*; expected a list of dicts.* Take train\.grid"),
        ({"settings": ["speed"]}, r"settings is \['speed'\]; expected a list of dicts"),
        (
            {"settings": [{"speed": np.ones(2)}]},
            r"speed is array\(\[1., 1.\]\); expected a number, or .* maker look them up",
        ),
        ({"settings": [{"speed": jax.random.key(0)}]}, r"speed is Array[^;]*; expected a number"),
        ({"settings": [{"speed": (np.ones(2),)}, {"speed": (np.ones(2),)}]}, r"speed is \(array.*; expected a number"),
    ],
)
def test_bad_input_is_refused_before_any_work(wrong: dict[str, Any], message: str) -> None:
    make = lambda **setting: climb(1.0)
    given = {"settings": [{"speed": 1.0}], "keys": keys(2), "num_steps": 4, **wrong}
    with pytest.raises((ValueError, TypeError), match=message):
        train.sweep(make, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": []}, r"a is \[\]; expected a list of at least one value"),
        ({"a": "0.1"}, "a is '0.1'; expected a list"),
        ({"a": 0.9}, r"a is 0\.9; expected a list of at least one value, a=\[0\.01, 0\.1\]"),
        ({"a": np.ones((2, 2))}, r"a is array[^;]*; expected a list"),
    ],
)
def test_what_is_no_list_of_values_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train.grid(**wrong)
    with pytest.raises(ValueError, match=message):
        train.sample(0, 3, **wrong)


def test_ranges_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="the lower end of a is 0"):
        train.sample(0, 2, a=(0.0, 1.0))
    with pytest.raises(ValueError, match="the upper end of a is 1; expected a number in"):
        train.sample(0, 2, a=(2.0, 1.0))
    with pytest.raises(
        ValueError, match=r"a is \(1\.0, 2\.0, 3\.0\); expected .* or a range of two numbers above 0, a="
    ):
        train.sample(0, 2, a=(1.0, 2.0, 3.0))


def test_what_makes_no_algorithm_is_refused() -> None:
    with pytest.raises(TypeError, match="the maker returned 3; expected an Algorithm"):
        train.sweep(lambda speed: 3, [{"speed": 1.0}], keys(1), 2)  # type: ignore[arg-type,return-value]


def test_memory_is_counted_of_all_programs_before_one_is_run(monkeypatch) -> None:
    """Parameters of 2^40 bytes a member: nothing here has that, and nothing is allocated. Nor is there room for many steps."""
    never = lambda *_: pytest.fail("work was begun")
    refused = (
        r"2 members side by side need .* GiB and .* GiB are free.* Not even one would: take a smaller network, a sm"
    )
    with pytest.raises(ValueError, match=refused):
        train.sweep(climb, train.grid(width=[2, 2**38]), keys(2), 2, places=2, on_chunk=never)
    monkeypatch.setattr(memory, "available", lambda: 2**10)  # enough for what is held, not for the program
    with pytest.raises(ValueError, match=refused):
        train.sweep(climb, train.grid(width=[2, 3]), keys(2), 2, places=2, on_chunk=never)


def test_what_is_held_is_what_the_arrays_take() -> None:
    tree = {"a": jnp.zeros((3, 5)), "b": (jnp.zeros(7, jnp.bool_), keys(2), jnp.int8(1))}
    data = [tree["a"], *tree["b"][::2], jax.random.key_data(tree["b"][1])]
    assert memory.held(tree) == memory.held(jax.eval_shape(lambda: tree)) == sum(leaf.nbytes for leaf in data)


def test_what_a_program_needs_is_at_least_what_it_holds() -> None:
    x = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    assert memory.needed(jax.jit(lambda x: x + 1).lower(x).compile()) >= 8e6
    free = memory.available()
    assert free is None or free > 0
    memory.refuse(100, 1, None)
    memory.refuse(100, 1, 100)
    with pytest.raises(
        ValueError, match=r"About 5 would: take fewer at once \(sweep does, with places=5\), a smaller rep"
    ):
        memory.refuse(100, 10, 50)


def test_what_is_left_in_a_container_counts_files_at_hand_as_free(tmp_path):
    assert memory.left_in_container(tmp_path) is None
    for name, text in (("max", "4000\n"), ("current", "3950\n"), ("stat", "anon 300\ninactive_file 3600\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory.left_in_container(tmp_path) == 4000 - 3950 + 3600
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.left_in_container(tmp_path) is None
