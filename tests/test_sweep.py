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


def climb(speed: Any = 1.0, *, width: int = 2, poison_at: float = -1.0) -> Algorithm:
    """Parameters that grow by `speed` and a little noise in each step; their mean is the score."""

    def step(key: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[Any, dict[str, jax.Array]]:
        x, t = state
        x = x + speed + 1e-3 * jax.random.normal(key, x.shape)
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


def test_floats_share_a_program_and_what_is_no_float_has_its_own() -> None:
    traces = []

    def make(speed: Any, width: int) -> Algorithm:
        if isinstance(speed, jax.core.Tracer):
            traces.append(width)
        return climb(speed, width=width)

    settings = train.grid(width=[2, 3], speed=[1.0, 2.0, 3.0])
    result = train.sweep(make, settings, keys(2), 4, eval_every=2, score=True, places=3)
    assert result.programs == 2 and traces == [2, 2, 3, 3], "one trace to begin, one to advance, for each width"
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
    assert seen[-1] == (12, 12) and seen == sorted(seen)


def test_a_run_that_fails_stops_alone_and_says_why() -> None:
    settings = [{"speed": 1.0, "poison_at": -1.0}, {"speed": 1.0, "poison_at": 5.0}]
    result = train.sweep(climb, settings, keys(3), 12, eval_every=3, score=True, places=2)
    assert result.fault == [[""] * 3, ["mean"] * 3]
    assert result.steps.tolist() == [[12] * 3, [5] * 3]
    assert np.isfinite(result.metrics["mean"][:, 0]).all() and np.isfinite(result.parameters[1]).all()


def test_the_table_has_a_row_for_each_setting_seed_and_round(tmp_path: Path) -> None:
    result = train.sweep(climb, train.grid(speed=[1.0, 4.0]), keys(2), 6, eval_every=2, target=7.0)
    folder.write_csv(tmp_path / "runs.csv", result.rows())
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert list(rows[0]) == ["speed", "seed", "step", "fast", "mean", "score"]
    found = [(float(row["speed"]), int(row["seed"]), int(row["step"])) for row in rows]
    assert found == [(1.0, k, t) for k in (0, 1) for t in (2, 4, 6)] + [(4.0, k, 2) for k in (0, 1)]
    for row in rows:
        s, k, t = [1.0, 4.0].index(float(row["speed"])), int(row["seed"]), int(row["step"])
        np.testing.assert_allclose(float(row["mean"]), result.metrics["mean"][t - 1, s, k])
        np.testing.assert_allclose(float(row["score"]), result.scores[t // 2 - 1, s, k])


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
        ({"keys": jax.random.key(0)}, r"keys of shape \(B,\)"),
        ({"num_steps": 7, "eval_every": 2}, "Take 6 steps"),
    ],
)
def test_bad_input_is_refused_before_any_work(wrong: dict[str, Any], message: str) -> None:
    given = {"settings": [{"speed": 1.0}], "keys": keys(2), "num_steps": 4, **wrong}
    with pytest.raises(ValueError, match=message):
        train.sweep(climb, **given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"a": []}, r"a is \[\]; expected a list of at least one value"),
        ({"a": "0.1"}, "a is '0.1'; expected a list"),
    ],
)
def test_lists_of_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train.grid(**wrong)


def test_ranges_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="the lower end of a is 0"):
        train.sample(0, 2, a=(0.0, 1.0))
    with pytest.raises(ValueError, match="the upper end of a is 1; expected a number in"):
        train.sample(0, 2, a=(2.0, 1.0))


def test_what_makes_no_algorithm_is_refused() -> None:
    with pytest.raises(TypeError, match="the maker returned 3; expected an Algorithm"):
        train.sweep(lambda speed: 3, [{"speed": 1.0}], keys(1), 2)  # type: ignore[arg-type,return-value]


def test_memory_is_counted_before_it_is_taken() -> None:
    """Parameters of 2^40 bytes a member: nothing here has that, and nothing is allocated."""
    with pytest.raises(ValueError, match=r"2 members side by side need .* GiB and .* GiB are free.* About 0 members"):
        train.sweep(climb, [{"speed": 1.0, "width": 2**38}], keys(2), 2)


def test_what_a_program_needs_is_at_least_what_it_holds() -> None:
    x = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    assert memory.needed(jax.jit(lambda x: x + 1).lower(x).compile()) >= 8e6
    free = memory.available()
    assert free is None or free > 0
    memory.refuse(100, 1, None)
    memory.refuse(100, 1, 100)
    with pytest.raises(ValueError, match="places=5"):
        memory.refuse(100, 10, 50)
