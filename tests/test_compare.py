"""`compare`: from folders that runs leave (here written by hand) to figures, tables and numbers; and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import __main__ as command_line
from experiments import _comparison, _results
from rljax.runs import checkpoint, comparison_plots, folder
from rljax.runs.statistics import interquartile_mean, probability_of_improvement

FILES = {"config.json", "summary.json", "improvement.csv", "profiles.csv", "profiles.png", "improvement.png"}
CURVE_FILES = {"curves.csv", "curves.png", "reached.csv", "reached.png"}
GRID = np.array([1000, 2000, 3000, 4000])


pytestmark = pytest.mark.usefixtures("as_users_run_it")


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def made(name, tests, curves=None, *, experiment="dqn", setting=500, env="CartPole", summary=None):
    """A folder as `experiment` leaves it; tests and curves by variant, {"": ...} where there are none. Curves [R, T]."""
    source, path = _results.SOURCES[experiment], Path(name)
    path.mkdir(parents=True)
    about = {"gamma" if experiment == "q_learning" else "max_steps": setting}
    if experiment in ("q_learning", "dqn_ablation"):
        folder.write_json(path / "config.json", {"experiment": experiment, "used": about})
    else:
        folder.write_json(path / "config.json", {"experiment": experiment, "used": {"max_steps": None, "episodes": 10}})
        checkpoint.save(path / "policy.npz", {"w": np.zeros(1)}, {"env": env, **about})
    folder.write_json(path / "summary.json", summary or {"seeds": 2})
    named = lambda variant: {"variant": variant} if variant else {}
    quantity = "minus_largest_error" if experiment == "q_learning" else "test_mean_return"
    if source.tested:
        folder.write_csv(
            path / "tests.csv",
            [
                {**named(variant), "seed": i, quantity: x}
                for variant, scores in tests.items()
                for i, x in enumerate(scores)
            ],
        )
    if source.table:
        folder.write_csv(
            path / source.table,
            [
                {**named(variant), "seed": i, source.budget: int(step), source.column: x}
                for variant, curve in curves.items()
                for i, row in enumerate(curve)
                for step, x in zip(GRID, row, strict=False)
                if np.isfinite(x)
            ],
        )
    return str(path)


def climbing(*ends):
    """[R, 4] straight from 100 to each end."""
    return np.linspace(100.0, ends, 4).T


GOOD = {"": [480.0, 500.0, 490.0, 500.0]}
POOR = {"": [100.0, 200.0, 490.0, 150.0]}


@pytest.fixture
def two():
    good = made("good", GOOD, {"": climbing(500, 500, 490, 480)})
    return good, made("poor", POOR, {"": climbing(200, 300, 490, 120)}, experiment="pqn")


def refusal(*arguments):
    """The one line that a refused command says; no folder is left."""
    with pytest.raises(SystemExit) as caught:
        command_line.run(["compare", *arguments, "--out", "refused"])
    assert isinstance(caught.value.code, str) and not Path("refused").exists()
    return caught.value.code.split("\n")[0]


def test_two_runs(two, capsys):
    command_line.run(["compare", *two, "--quick", "--out", "seen"])
    said = capsys.readouterr().out
    assert {path.name for path in Path("seen").iterdir()} == FILES | CURVE_FILES
    for path in Path("seen").glob("*.png"):
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 5
    summary = json.loads(Path("seen/summary.json").read_text())
    assert summary["task"] == "CartPole (at most 500 steps)" and summary["threshold"] == 475
    assert (summary["scores_are"], summary["curves_are"]) == ("test_mean_return", "greedy_return")
    good, poor = summary["learners"]["good"], summary["learners"]["poor"]
    assert good["seeds"] == 4 and good["score_iqm"] == interquartile_mean(GOOD[""]) == 495
    assert good["score_interval"][0] <= 495 <= good["score_interval"][1] and poor["score_min"] == 100
    (pair,) = summary["probability_of_improvement"]
    assert (pair["x"], pair["y"]) == ("poor", "good")
    assert pair["probability"] == probability_of_improvement(POOR[""], GOOD[""]) == 1.5 / 16
    assert pair["low"] <= pair["probability"] <= pair["high"]
    assert good["seeds_that_get_there"] == 4 and poor["seeds_that_get_there"] == 1
    assert good["median_time"] == 4000 and poor["median_time"] is None  # infinite
    assert summary["horizon"] == good["mean_time_up_to_horizon"] == 4000
    assert "good" in said and "495" in said and "0.09" in said and "python -m" not in said
    config = json.loads(Path("seen/config.json").read_text())
    assert config["used"]["resamples"] == 200 and config["options"]["resamples"] == 2000


@pytest.mark.usefixtures("unpainted")
def test_tables_that_pandas_reads(two):
    command_line.run(["compare", *two, "--quick", "--threshold", "300", "--out", "seen"])
    curves = rows_of("seen/curves.csv")
    assert len(curves) == 2 * len(GRID) and list(curves[0]) == [
        "learner",
        "environment_steps",
        "iqm",
        "low",
        "high",
    ]
    for row in curves:
        assert float(row["low"]) <= float(row["iqm"]) <= float(row["high"])
    last = {row["learner"]: float(row["iqm"]) for row in curves}
    assert last == {"good": 495.0, "poor": 250.0}
    profile = [float(row["share_above"]) for row in rows_of("seen/profiles.csv") if row["learner"] == "poor"]
    assert profile[0] == 1 and profile[-1] == 0 and (np.diff(profile) <= 0).all() and 0.25 in profile
    there = {row["learner"]: row for row in rows_of("seen/reached.csv")}  # the last of each
    assert float(there["good"]["share_there"]) == 1.0 and float(there["poor"]["share_there"]) == 0.5
    again = [path.read_bytes() for path in sorted(Path("seen").glob("*.csv"))]
    command_line.run(["compare", *two, "--quick", "--threshold", "300", "--out", "same"])
    assert again == [path.read_bytes() for path in sorted(Path("same").glob("*.csv"))]


def test_a_seed_that_stopped_counts_with_its_last_value_and_one_that_never_gets_there_as_censored():
    nan = np.nan
    curves = {"": [[100.0, 480.0, nan, nan], [100.0, 200.0, 300.0, nan], [nan, 100.0, 100.0, 480.0]]}
    run = made("run", {"": [1.0, 2.0, 3.0]}, curves)
    (learner,) = _results.read([Path(run)])
    assert [curve.steps.tolist() for curve in learner.curves] == [[1000, 2000], [1000, 2000, 3000], [2000, 3000, 4000]]
    arrival = _comparison.arrivals(learner.curves, 475.0, 0.95)
    assert arrival.times.tolist() == [2000, 4000] and arrival.at_risk.tolist() == [3, 1]
    band = _comparison.middle(learner.curves, {"resamples": 50})
    assert band.x[0] == 2000 and band.x[-1] == 4000  # from where all have a value, to the end of the last
    assert band.middle[0] == pytest.approx(780 / 3) and band.middle[-1] == pytest.approx((480 + 300 + 480) / 3)
    drawn = _comparison.reached(arrival, 9000.0)
    np.testing.assert_allclose(drawn.middle, [0, 1 / 3, 1.0, 1.0])
    assert (
        _comparison.stopped(learner.curves, 475.0) == 0
    )  # the first one was there, and the others went on to their end
    assert _comparison.stopped(learner.curves, 490.0) == 1
    assert drawn.x.tolist() == [0, 2000, 4000, 9000] and (drawn.low <= drawn.middle).all()


def test_one_folder_with_several_variants(capsys):
    tests = {"plain": [100.0, 120.0], "shaped": [190.0, 200.0], "early": [195.0, 195.0]}
    curves = {name: climbing(*scores) for name, scores in tests.items()}
    failed = {name: {"seeds": 2} for name in tests} | {"early": {"failure": "loss ceased to be finite [sic]"}}
    run = made("runs/one", tests, curves, experiment="reinforce", setting=200, summary=failed)
    command_line.run(["compare", run, "--quick", "--out", "seen"])
    summary = json.loads(Path("seen/summary.json").read_text())
    assert list(summary["learners"]) == ["plain", "shaped", "early"] and summary["threshold"] == 190
    assert summary["curves_are_over"] == "episodes" and summary["learners"]["shaped"]["median_time"] == 40_000  # of ten
    assert len(summary["probability_of_improvement"]) == 3
    assert summary["learners"]["early"]["failure"] and "failure" not in summary["learners"]["plain"]
    assert "early was cut short and counts as it was: loss ceased to be finite [sic]" in capsys.readouterr().out


@pytest.mark.usefixtures("unpainted")
def test_runs_of_different_curves_are_compared_by_their_tests(capsys):
    tests = {"plain": [100.0, 120.0], "shaped": [190.0, 200.0]}
    a = made("a", tests, {name: climbing(*x) for name, x in tests.items()}, experiment="reinforce")
    b = made("b", GOOD, {"": climbing(*GOOD[""])})
    command_line.run(["compare", a, b, "--quick", "--out", "seen"])
    assert {path.name for path in Path("seen").iterdir()} == FILES
    assert list(json.loads(Path("seen/summary.json").read_text())["learners"]) == ["a: plain", "a: shaped", "b"]
    assert "no curves" in capsys.readouterr().out


@pytest.mark.usefixtures("unpainted")
def test_runs_without_tests_are_compared_by_where_their_curves_end():
    ablation = {"plain": climbing(100, 200), "double": climbing(300, 400)}
    a = made("a", {}, ablation, experiment="dqn_ablation")
    b = made("b", GOOD, {"": climbing(*GOOD[""])})
    command_line.run(["compare", a, b, "--quick", "--out", "seen"])
    summary = json.loads(Path("seen/summary.json").read_text())
    assert summary["scores_are"] == "last greedy_return" and summary["learners"]["a: double"]["score_iqm"] == 350


@pytest.mark.usefixtures("unpainted")
def test_tables_without_curves():
    a, b = (made(n, {"": [-1.0, x]}, experiment="q_learning", setting=0.9) for n, x in (("a", -2.0), ("b", -0.5)))
    command_line.run(["compare", a, b, "--quick", "--out", "seen"])
    summary = json.loads(Path("seen/summary.json").read_text())
    assert summary["task"] == "the chapter's MDP (gamma 0.9)" and summary["threshold"] is None
    assert "threshold is -1, and the runs have no curves" in refusal(a, b, "--threshold", "-1")
    assert {path.name for path in Path("seen").iterdir()} == FILES


@pytest.mark.usefixtures("unpainted")
def test_a_task_whose_highest_score_is_unknown_has_no_threshold_of_its_own():
    env = {"env": "gymnasium:Acrobot-v1"}
    a, b = (made(n, {"": [-90.0, x]}, {"": climbing(-90, x)}, **env) for n, x in (("a", -80.0), ("b", -70.0)))
    command_line.run(["compare", a, b, "--quick", "--out", "seen"])
    assert {path.name for path in Path("seen").iterdir()} == FILES | {"curves.csv", "curves.png"}
    command_line.run(["compare", a, b, "--quick", "--threshold", "-75", "--out", "given"])
    summary = json.loads(Path("given/summary.json").read_text())
    assert summary["threshold"] == -75 and summary["learners"]["b"]["seeds_that_get_there"] == 2


@pytest.mark.usefixtures("unpainted")
def test_gymnasiums_cartpole_is_the_same_task_as_ours():
    curves = {"": climbing(*GOOD[""])}
    ours, theirs = made("ours", GOOD, curves), made("theirs", GOOD, curves, env="gymnasium:CartPole-v1")
    assert {(a.task, a.best) for a in _results.read([Path(ours), Path(theirs)])} == {
        ("CartPole (at most 500 steps)", 500)
    }


def test_names_that_look_like_markup_are_shown_as_they_are(capsys):
    a, b = (made(name, GOOD, {"": climbing(*GOOD[""])}) for name in ("a[green]", "b[0]"))
    command_line.run(["compare", a, b, "--quick", "--out", "seen[bold]"])
    out = capsys.readouterr().out
    assert "b[0]" in out and out.count("a[green]") == 2 and "results in seen[bold]:" in out


@pytest.mark.usefixtures("unpainted")
def test_folders_of_one_name_are_told_apart_by_their_paths():
    a, b = (made(f"{parent}/run", GOOD, {"": climbing(*GOOD[""])}) for parent in "ab")
    assert [learner.name for learner in _results.read([Path(a), Path(b)])] == ["a/run", "b/run"]


def test_many_are_drawn_against_the_first(monkeypatch):
    """Seven learners are 21 pairs; all are in the table."""
    tests = {f"variant {i}": [float(i), 2.0 * i + 1] for i in range(7)}
    run = made("run", tests, {name: climbing(*x) for name, x in tests.items()}, experiment="reinforce", setting=200)
    seen, real = [], comparison_plots.improvement
    monkeypatch.setattr(
        comparison_plots, "improvement", lambda path, rows, **o: seen.append(rows) or real(path, rows, **o)
    )
    command_line.run(["compare", run, "--quick", "--out", "seen"])
    assert len(rows_of("seen/improvement.csv")) == 21
    assert len(seen[0]) == 6 and all(name.endswith("over variant 0") for name in seen[0])


def test_refusals(two):
    good, poor = two
    assert "no run is given; expected two learners at least" in refusal()
    assert "good is given; expected two learners at least" in refusal(good)
    assert "nowhere is no folder" in refusal(good, "nowhere")
    assert "good is given twice" in refusal(good, poor, "./good")
    assert "level is 1" in refusal(good, poor, "--level", "1")
    assert "threshold is 501; expected at most 500" in refusal(good, poor, "--threshold", "501")
    assert "resamples is 0" in refusal(good, poor, "--resamples", "0")
    assert "threshold is nan" in refusal(good, poor, "--threshold", "nan")
    assert "seed is -1" in refusal(good, poor, "--seed", "-1")
    short = made("short", GOOD, {"": climbing(*GOOD[""])}, setting=200)
    assert (
        "good learned CartPole (at most 500 steps), short CartPole (at most 200 steps); expected one task"
        in refusal(good, short)
    )
    acrobot = made("acrobot", GOOD, {"": climbing(*GOOD[""])}, env="gymnasium:Acrobot-v1")
    assert "good learned CartPole (at most 500 steps), acrobot gymnasium:Acrobot-v1 (at most 500" in refusal(
        good, acrobot
    )
    alone = made("alone", {"": [500.0]}, {"": climbing(500)})
    assert "alone is of 1 seed; expected two at least" in refusal(good, alone)
    ablation = made("ablation", {}, {"plain": climbing(100, 200)}, experiment="dqn_ablation")
    other = made("other", {"x": [1.0, 2.0]}, {"x": climbing(1, 2)}, experiment="reinforce")
    said = refusal(ablation, other)
    assert (
        "nothing in common: ablation has no tests and greedy_return; other has test_mean_return and mean_return" in said
    )


def test_what_is_damaged_is_refused_with_its_line(two):
    good, poor = two
    for file, text, message in (
        (
            "tests.csv",
            "seed,test_mean_return\n0,480.0\n1\n",
            "poor/tests.csv, line 3: 1, None; expected numbers below seed",
        ),
        (
            "tests.csv",
            "seed,test_mean_return\n0,480.0\n1,\n",
            "poor/tests.csv, line 3: 1, ; expected numbers below seed",
        ),
        ("tests.csv", "seed,test_mean_return\n", "poor/tests.csv has no rows"),
        ("tests.csv", "seed,test_mean_return\n0,480.0\n", "poor is of 1 seed"),  # though it has more curves
        ("config.json", "[]", "poor/config.json is []"),
        ("config.json", '{"experiment": ["pqn"]}', "poor is of ['pqn']"),
        ("config.json", '{"experiment": "reinforce", "used": null}', "poor is not as an experiment leaves it"),
        ("config.json", '{"experiment": "q_learning", "used": 5}', "poor is not as an experiment leaves it (TypeError"),
        ("summary.json", "[]", "poor is not as an experiment leaves it"),
    ):
        whole = Path(poor, file).read_text()
        Path(poor, file).write_text(text)
        assert message in refusal(good, poor)
        Path(poor, file).write_text(whole)


def test_what_is_no_whole_run_is_refused(two):
    good, poor = two
    for file, says in (
        ("summary.json", "has no summary.json, which is written at the end: the run has not finished"),
        ("tests.csv", "tests.csv is not there; expected it in the folder of a finished run"),
        ("scores.csv", "scores.csv is not there"),
        ("config.json", "config.json is not there"),
    ):
        shutil.rmtree("cut", ignore_errors=True)
        shutil.copytree(poor, "cut")
        Path("cut", file).unlink()
        assert says in refusal(good, "cut")
    shutil.copytree(poor, "old")
    Path("old/scores.csv").write_text("seed,greedy_return\n0,1.0\n")
    assert "old/scores.csv has no column 'environment_steps'" in refusal(good, "old")
    Path("film").mkdir()
    folder.write_json("film/config.json", {"experiment": "cartpole_demo"})
    assert "film is of 'cartpole_demo'; expected a run of one of approximate_q" in refusal(good, "film")
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit, match="mine exists and is not an empty folder"):
        command_line.run(["compare", good, poor, "--out", "mine"])
