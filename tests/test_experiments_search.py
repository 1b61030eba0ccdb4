"""The commands of policy search and of sweeps, and experiments in Gymnasium's worlds: what they leave, what they refuse."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from PIL import Image

from experiments import __main__ as command_line
from experiments import _world, sweep
from experiments.benchmarks import policy_search as benchmark
from rljax.envs.guard import BadEnvironment
from rljax.runs import sweep_plots

pytestmark = pytest.mark.usefixtures("as_users_run_it")


def summary(folder):
    return json.loads((Path(folder) / "summary.json").read_text())


def rows(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def drawn(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("L")).std() > 5


def test_policy_search_leaves_its_curves_its_champion_and_films_and_play_knows_it(capsys):
    command_line.run("policy_search --quick --population 10 --generations 2 --target 50 --out run".split())
    said = capsys.readouterr().out
    assert "genetic" in said and "python -m experiments play run" in said and drawn("run/search.png")
    found = summary("run")["genetic"]
    assert found["seeds"] == 2 and 9 < found["test_mean_return_iqm"] <= 50
    table = rows("run/metrics.csv")
    assert {row["variant"] for row in table} == {"genetic"} and {row["seed"] for row in table} == {"0", "1"}
    assert all(float(row["worst"]) <= float(row["mean"]) <= float(row["best"]) <= 50 for row in table)
    command_line.run("play run --quick --out played".split())
    assert summary("played")["mean_return"] > 9 and Path("played/play.gif").stat().st_size > 1000


def test_a_sweep_leaves_every_run_its_heat_map_and_curves_also_of_runs_that_fail_at_once(capsys):
    """The weight 3.4e38 is finite, and what it is multiplied with is not."""
    command_line.run("sweep reinforce --learning-rate 0.001,0.1 --shaping 0,3.4e38 --quick --out run".split())
    said = capsys.readouterr().out
    assert "learning rate 0.1, shaping 3.4e+38" in said and "one program" in said
    assert drawn("run/heat_map.png") and drawn("run/learning_curves.png")
    table = rows("run/runs.csv")
    assert len(table) == 2 * (2 * 2 + 2) and {row["step"] for row in table} == {"0", "5", "10"}
    assert all(bool(row["fault"]) == (row["step"] == "0") == (float(row["shaping"]) > 0) for row in table)
    found = summary("run")["settings"]
    ranked = [row["test_score_iqm"] for row in found]
    assert ranked == sorted(ranked, reverse=True) and summary("run")["programs_compiled"] == 1
    for row in found:
        mine = [run for run in table if all(float(run[name]) == row[name] for name in ("learning_rate", "shaping"))]
        tests = [float(run["test"]) for run in mine if run["step"] in ("0", "10")]
        np.testing.assert_allclose(row["test_score_iqm"], np.mean(tests))
        assert row["failed"] == (2 if row["shaping"] else 0) and (row["steps_mean"] == 0) == bool(row["shaping"])
        low, high = row["share_at_95_percent_interval"]
        assert low <= row["share_at_95_percent"] <= high and high - low > 0.5, "two seeds are sure of nothing"


def test_heat_maps_of_one_two_and_three_names_and_of_none_that_form_a_grid(tmp_path):
    for number, settings in enumerate(
        (
            [{"a": 1.0}, {"a": 2.0}],
            [{"a": a, "b": b} for a in (1, 2) for b in (3, 4)],
            [{"a": a, "b": b, "c": c} for a in (1, 2) for b in (3, 4) for c in (5, 6)],
            [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 3.0}],
            [{"a": 1, "b": 3}, {"a": 1, "b": 3}, {"a": 2, "b": 3}, {"a": 2, "b": 4}],  # as many as a grid has
        )
    ):
        path = tmp_path / f"{number}.png"
        sweep_plots.heat_map(path, settings, np.arange(len(settings)) + 1.0, title="a title", label="a label")
        assert drawn(path)


def test_settings_that_differ_have_names_that_differ():
    told = [sweep_plots.told({"a": value}) for value in (0.12345678, 0.12345679, 1234567, 1234568, 1, True, "x", 0.1)]
    assert told == [f"a {x}" for x in ("0.12345678", "0.12345679", "1234567", "1234568", "1", "True", "x", "0.1")]


def test_what_can_be_swept_has_algorithms_that_can_be_made():
    from rljax import envs

    values = {"learning_rate": 0.01, "gamma": 0.9, "epsilon": 0.1, "shaping": 0.5, "mutation": 0.5, "hidden": 3}
    for name, learner in sweep.learners().items():
        setting = {key: values[key] for key in learner.settings}
        made = learner.make(envs.TimeLimit(envs.CartPole(), 20), learner.steps, 20, **setting)
        assert made.step is not None and learner.steps % learner.eval_every == 0, name


def test_what_the_benchmark_measures_is_a_whole_search():
    case = {**benchmark.CASE, "population": 10, "episodes": 1, "final_episodes": 2, "max_steps": 20, "generations": 3}
    prepared = benchmark.search(seed=0, **case)
    assert prepared.steps == 1 and prepared.compile_seconds > 0 and 1 <= int(prepared.run()) <= 3


def test_reinforce_in_a_world_of_gymnasiums(capsys):
    command_line.run("reinforce --env gymnasium:CartPole-v1 --quick --iterations 5 --episodes 2 --out run".split())
    assert "REINFORCE on CartPole-v1" in capsys.readouterr().out
    assert 5 < summary("run")["plain"]["test_mean_return_iqm"] <= 50
    assert Path("run/after.gif").stat().st_size > 1000
    command_line.run("play run --episodes 2 --out played".split())
    assert 5 < summary("played")["mean_return"] <= 50


def test_a_population_smaller_than_the_usual_finalists():
    command_line.run("policy_search --quick --population 8 --method hill_climbing --out small".split())
    assert rows("small/tests.csv")[0]["variant"] == "hill_climbing"


class Tight(CartPoleEnv):
    """CartPole that leaves what it declares."""

    def __init__(self, **options):
        super().__init__(**options)
        self.observation_space = gymnasium.spaces.Box(-0.05, 0.05, (4,), np.float32)


def test_a_world_that_leaves_its_own_bounds_is_refused_or_let_pass_now_and_when_it_is_played_again():
    gymnasium.register("rljax-tests/Tight-v0", Tight, max_episode_steps=20, disable_env_checker=True)
    push_right = lambda params, key, observation: jnp.int32(1)
    judge = lambda world: world.judge(jax.random.split(jax.random.key(0), 1), push_right, jnp.zeros((1, 1)), 2)
    name = "gymnasium:rljax-tests/Tight-v0"
    with pytest.raises(BadEnvironment, match=r"Tight-v0.*let it pass: bounds=False"):
        judge(_world.of(name))
    world = _world.of(name, bounds=False)
    for loose in (world, _world.again(world.about)):
        assert ((judge(loose) > 5) & (judge(loose) < 20)).all()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sweep reinforce", "nothing is given to sweep; expected lists for some of --learning-rate"),
        ("sweep pqn --mutation 0.1", "--mutation is given, and pqn has no such setting"),
        ("sweep reinforce --gamma 0.9,x", "--gamma is '0.9,x'; expected numbers joined by commas"),
        (
            "sweep reinforce --gamma 0.5:0.9",
            r"--gamma is '0.5:0.9'; expected a list, or .*a range low:high with --random",
        ),
        ("sweep reinforce --hidden 2:8 --random 3", "--hidden is '2:8'; expected a list"),
        ("sweep dqn --hidden 0,8", "--hidden is '0,8'; expected whole numbers of at least 1"),
        ("sweep reinforce --gamma 0.9,1.5", r"gamma is 1\.5; expected a number in \[0, 1\]"),
        ("sweep reinforce --shaping nan", r"shaping is nan; expected a number in \(-inf, inf\)"),
        ("sweep reinforce --gamma 0.9 --steps 7", "steps is 7; expected a multiple of 5"),
        ("policy_search --method genetic,luck", "method is 'luck'; expected one of 'genetic'"),
        ("policy_search --mutation=-1", "mutation is -1; expected a number in"),
        ("policy_search --target 501", r"target is 501; expected a number in \[0, 500\]"),
        ("dqn --env Acrobot-v1", "env is 'Acrobot-v1'; expected CartPole, or an id of Gymnasium's such as gymnasium:"),
        ("dqn --env gymnasium:Nothing-v0", "Gymnasium cannot make 'Nothing-v0'"),
        ("dqn --env gymnasium:Pendulum-v1", "Pendulum-v1: the action space is Box"),
    ],
)
def test_bad_input_ends_in_one_line(command, message, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.run([*command.split(), "--out", "run"])
    assert re.search(message, str(ended.value)), ended.value
    assert not Path("run").exists()
