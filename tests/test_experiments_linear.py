"""The command of approximate Q-learning: what it leaves behind, and what it refuses before anything is lost."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import __main__ as command_line
from experiments import _saved, approximate_q
from rljax.agents.linear_q import values
from rljax.runs import checkpoint

SMALL = "--quick --num-envs 2 --max-steps 20 --out run".split()


pytestmark = pytest.mark.usefixtures("as_users_run_it")


def loaded(folder):
    network, choose = _saved.policy(checkpoint.about(folder / "policy.npz"))
    weights = checkpoint.load(folder / "policy.npz", jax.eval_shape(network.init, jax.random.key(0)))
    return network, choose, weights


def test_it_leaves_its_curves_its_policy_and_films_and_play_knows_it(capsys):
    command_line.run(["approximate_q", "--features", "tiles", "--tilings", "4", "--tiles", "2", *SMALL])
    run, said = Path("run"), capsys.readouterr().out
    assert {path.name for path in run.iterdir()} == {
        *("after.gif", "before.gif", "config.json", "learning_curve.png", "policy.npz", "scores.csv", "summary.json"),
        "tests.csv",
    }
    assert "approximate_q, tiles" in said and "python -m experiments play run" in said
    with Image.open(run / "learning_curve.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
    with (run / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["environment_steps"]) for row in rows] == [
        (seed, steps) for steps in ("500", "1000", "1500") for seed in "01"
    ]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["seeds"] == 2 and summary["environment_steps"] == 1500
    assert 5 < summary["test_mean_return_min"] <= summary["test_mean_return_iqm"] <= 20
    assert all(map(math.isfinite, summary["test_mean_return_iqm_interval"]))
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["learning_rate"] is None and config["used"]["learning_rate"] == 1.0

    network, choose, weights = loaded(run)
    assert weights.shape == (2, 4 * 3**4) and weights.any()
    observation = np.array([0.1, -0.2, 0.05, 0.3], np.float32)
    features = approximate_q.basis("tiles", [4, 2])
    np.testing.assert_array_equal(network.apply(weights, observation), values(features, weights, observation))
    assert int(choose(np.array([1.0, 2.0]))) == 1

    command_line.run(["play", "run", "--quick", "--out", "played"])
    assert (Path("played") / "play.gif").exists()
    assert 5 < json.loads(Path("played/summary.json").read_text())["mean_return"] <= 20


@pytest.mark.parametrize(
    ("kind", "sizes", "number"), [("tiles", [16, 5], 16 * 6**4), ("fourier", [3], 256), ("polynomial", [3], 256)]
)
def test_features_are_of_the_task(kind, sizes, number):
    """The bounds of the first and third number are where an episode ends."""
    features = approximate_q.basis(kind, sizes)
    assert features.size == number
    last, beyond = np.array([[2.4, 0.0, -0.20944, 0.0], [9.0, 0.0, -9.0, 0.0]], np.float32)
    inside = np.array([2.2, 0.0, -0.17, 0.0], np.float32)
    x_last, x_beyond, x_inside = map(features.apply, (last, beyond, inside))
    np.testing.assert_allclose(x_last, x_beyond, atol=1e-3)
    assert np.abs(x_last - x_inside).max() > 0.1


def test_a_run_that_diverges_says_so_and_keeps_finite_weights():
    with pytest.raises(SystemExit) as caught:
        command_line.run(["approximate_q", "--order", "1", "--learning-rate", "1e9", *SMALL])
    assert "ceased to be finite, or credible, in step" in str(caught.value.code)
    assert np.isfinite(loaded(Path("run"))[2]).all()
    assert "failure" in json.loads(Path("run/summary.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--steps 1999", "steps is 1999; expected at least one evaluation, 2000 (250 of each of 8 environments)"),
        ("--order 0", "order is 0"),
        ("--order 300", "the number of features"),
        ("--order 40", "GiB; expected at most 4"),
        ("--features tiles --tilings 0", "tilings is 0"),
        ("--features tiles --tiles 0", "tiles is 0"),
        ("--tiles 0", "tiles is 0"),
        ("--num-envs 0", "num_envs is 0"),
        ("--learning-rate 0", "learning_rate is 0"),
        ("--epsilon 1.5", "epsilon is 1.5"),
        ("--target 501", "target is 501"),
        ("--seed -1", "seed is -1"),
    ],
)
def test_refusals_leave_nothing_behind(arguments, message):
    with pytest.raises(SystemExit) as caught:
        command_line.run(["approximate_q", *arguments.split()])
    assert message in str(caught.value.code)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "about", [{}, {"features": "fourier"}, {"features": "waves", "sizes": [3]}, {"features": "tiles", "sizes": [3]}]
)
def test_what_does_not_say_its_features_is_refused(about):
    with pytest.raises(ValueError, match="does not say what it is for"):
        _saved.policy({"env": "CartPole", "experiment": "approximate_q", **about})
