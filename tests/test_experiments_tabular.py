"""Experiments of tabular learners: the chapter's numbers, through the command line."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from experiments import __main__ as command_line
from experiments import _results
from experiments.benchmarks import q_learning as contenders

pytestmark = pytest.mark.usefixtures("as_users_run_it")


def numbers(content):
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers(value)]
    return [content] if isinstance(content, (int, float)) else []


def results(folder, files):
    """The summary, all of whose numbers are finite; the files are those that are named, and the pictures whole."""
    assert {path.name for path in folder.iterdir()} == {"config.json", "summary.json", *files}
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert np.asarray(image.convert("L")).std() > 5
    summary = json.loads((folder / "summary.json").read_text())
    assert numbers(summary) and all(map(math.isfinite, numbers(summary)))
    return summary


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def refusal(*arguments):
    """The one line that a refused command says; no folder is left."""
    with pytest.raises(SystemExit) as caught:
        command_line.run([*arguments, "--out", "refused"])
    assert isinstance(caught.value.code, str)
    return caught.value.code.split("\n")[0]


def differing(folder):
    """Options whose value in the run, as `config.json` tells it, is another than the one asked for: name -> (asked, used)."""
    config = json.loads((folder / "config.json").read_text())
    assert config["options"].keys() == config["used"].keys()
    return {name: (x, config["used"][name]) for name, x in config["options"].items() if config["used"][name] != x}


Q_FILES = ("values.csv", "tests.csv", "q_values.png", "distribution.png")


def test_q_learning_quick(tmp_path, request):
    command_line.run(["q_learning", "--quick", "--out", "one"])
    request.getfixturevalue("unpainted")
    command_line.run(["q_learning", "--quick", "--out", "same"])
    summary = results(tmp_path / "one", Q_FILES)
    assert differing(tmp_path / "one") == {"seeds": (1000, 20), "steps": (10_000, 1000)}
    (learner,) = _results.read([tmp_path / "one"])
    assert learner.tests_of == "minus_largest_error" and len(learner.tests) == 20 and (learner.tests < 0).all()
    assert (tmp_path / "one" / "values.csv").read_text() == (tmp_path / "same" / "values.csv").read_text()
    assert summary["seeds"] == 20 and summary["steps"] == 1000 and len(rows_of(tmp_path / "one" / "values.csv")) == 20
    assert [(row["state"], row["action"]) for row in summary["values"]] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 2),
        (2, 1),
    ]


def test_q_learning_is_the_chapters(tmp_path):
    """Exact values to the digit; the chapter's own run is an ordinary one."""
    command_line.run(["q_learning", "--seeds", "200", "--out", "full"])
    rows = results(tmp_path / "full", Q_FILES)["values"]
    exact = [18.918919, 17.027027, 13.621622, 0.0, -4.879715, 50.133650]
    assert [round(row["exact"], 6) for row in rows] == pytest.approx(exact, abs=1e-6)
    assert [row["chapter"] for row in rows] == [17.42, 15.63, 12.54, 0.0, -8.93, 48.37]
    assert all(0.05 < row["quantile_of_chapter"] < 0.95 for row in rows)
    assert all(row["percentile_5"] <= row["mean"] <= row["percentile_95"] for row in rows)


def test_q_learning_of_one_seed_and_of_any_number_of_steps(tmp_path):
    command_line.run(["q_learning", "--seeds", "1", "--steps", "41", "--out", "one"])
    assert results(tmp_path / "one", ("values.csv", "tests.csv", "q_values.png"))["steps"] == 41
    command_line.run(["q_learning", "--seeds", "2", "--steps", "1009", "--out", "prime"])
    results(tmp_path / "prime", Q_FILES)


TD_FILES = ("values.png", "trace_decay.png", "errors.csv")


def test_td_learning_quick(tmp_path):
    command_line.run(["td_learning", "--quick", "--out", "one"])
    summary = results(tmp_path / "one", TD_FILES)
    assert summary["seeds"] == 20 and summary["walks"] == 5
    used = {name: used for name, (_, used) in differing(tmp_path / "one").items()}
    assert used.pop("trace_decays") == [row["lambda"] for row in summary["trace_decays"]]
    assert used == {"seeds": 20, "steps": 1000, "walks": 5, "num_step_sizes": 5}
    assert len(rows_of(tmp_path / "one" / "errors.csv")) == 5 * len(summary["trace_decays"])


@pytest.mark.usefixtures("unpainted")
def test_td_learning_finds_the_books_valleys(optimised, tmp_path):
    """Sutton & Barto, figure 12.6: an intermediate lambda is best, at a middling step size."""
    options = "--seeds 100 --walks 50 --num-step-sizes 12 --trace-decays 0 0.8 1"
    command_line.run(["td_learning", "--out", "full", *options.split()])
    summary = results(tmp_path / "full", TD_FILES)
    none, middle, all_ = (row["error"] for row in summary["trace_decays"])
    assert 0.24 < middle < 0.27 < none < 0.36 < all_ < summary["error_before"]
    assert round(summary["error_before"], 4) == round(math.sqrt(sum((i / 10) ** 2 for i in range(-9, 10)) / 19), 4)
    p = np.array([[0.7 + 1 + 0.8, 0.3 + 0.2, 0.0], [0, 1.5, 1.5], [2.4, 0.3, 0.3]]) / 3  # s0: three actions alike
    exact = np.linalg.solve(np.eye(3) - 0.9 * p, [7 / 3, -25.0, 32.0])
    assert [row["exact"] for row in summary["values"]] == pytest.approx(exact)
    assert all(abs(row["mean"] - row["exact"]) < 2.5 for row in summary["values"])


def exploration_files(*worlds):
    return {"curves.csv", "seeds.csv"} | {
        f"{what}_{w}.png" for w in worlds for what in ("regret", "coverage", "reward", "visits")
    }


def test_exploration_quick(tmp_path):
    command_line.run(["exploration", "--quick", "--worlds", "maze", "--out", "one"])
    summary = results(tmp_path / "one", exploration_files("maze"))
    assert len(summary) == 3 and differing(tmp_path / "one") == {"seeds": (100, 4), "steps": (20_000, 1000)}
    seeds = rows_of(tmp_path / "one" / "seeds.csv")
    for name, row in summary.items():
        mine = [float(r["regret"]) for r in seeds if f"{r['world']}: {r['exploration']}" == name]
        assert len(mine) == 4 and row["regret_last"] == pytest.approx(np.mean(mine))
        low, high = row["regret_last_interval"]
        assert 0 <= min(mine) <= low <= row["regret_last"] <= high <= max(mine) <= 1 and 0 < row["coverage_last"] <= 1
    rows = rows_of(tmp_path / "one" / "curves.csv")
    assert len(rows) == 3 * 100 and {row["step"] for row in rows} == {str(10 * n) for n in range(1, 101)}


@pytest.mark.usefixtures("unpainted")
def test_exploration_by_counts_crosses_the_river_where_the_others_do_not(tmp_path):
    command_line.run(["exploration", "--seeds", "20", "--steps", "10000", "--worlds", "river", "--out", "river"])
    uniform, greedy, counts = results(tmp_path / "river", exploration_files("river")).values()
    assert counts["regret_last"] < 0.1 < 0.5 < min(uniform["regret_last"], greedy["regret_last"])
    assert counts["mean_reward"] > 5 * max(uniform["mean_reward"], greedy["mean_reward"])


def test_exploration_for_one_step_of_one_seed(tmp_path):
    command_line.run(["exploration", "--seeds", "1", "--steps", "1", "--worlds", "river", "--out", "one"])
    assert len(results(tmp_path / "one", exploration_files("river"))) == 3


def test_benchmark_quick(tmp_path):
    command_line.run(["benchmarks.q_learning", "--quick", "--out", "one"])
    summary = results(tmp_path / "one", ())
    assert [row["bar"] for row in summary.values() if row.get("bar")] == [">= 50", "<= 3"]
    assert {len(rounds) for rounds in summary["seconds of each round"].values()} == {1}


@pytest.mark.parametrize("who", ["rljax", "numpy", "python"])
def test_contenders_learn_the_same(who):
    """Each within what the seeds of the others spread."""
    prepared = contenders.CONTENDERS[who](**{"seed": 3, **({"seeds": 1} if who == "rljax" else {})})
    assert prepared.steps == 10_000
    q = np.asarray(prepared.run()).reshape(3, 3)
    learned = [q[0, 0], q[0, 1], q[0, 2], q[1, 0], q[1, 2], q[2, 1]]
    assert np.abs(np.array(learned) - [18.0, 15.7, 12.6, 0.0, -9.3, 48.0]).max() < 3.5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("q_learning --seeds 0", "seeds is 0"),
        ("q_learning --steps 0", "steps is 0"),
        ("q_learning --gamma 1", "gamma is 1"),
        ("q_learning --initial-step-size -1", "initial is -1"),
        ("q_learning --decay nan", "decay is nan"),
        ("exploration --seeds 0", "seeds is 0"),
        ("exploration --steps 0", "steps is 0"),
        ("exploration --step-size 0", "step_size is 0"),
        ("exploration --epsilon-last 2", "epsilon_last is 2"),
        ("exploration --kappa -1", "kappa is -1"),
        ("exploration --river-states 2", "river_states is 2"),
        ("exploration --worlds", "the number of worlds is 0"),
        ("benchmarks.q_learning --seeds 0", "seeds is 0"),
        ("benchmarks.q_learning --rounds 0", "rounds is 0"),
        ("benchmarks.q_learning --seconds 0", "seconds is 0"),
        ("td_learning --walks 0", "walks is 0"),
        ("td_learning --seeds 0", "seeds is 0"),
        ("td_learning --episodes 0", "episodes is 0"),
        ("td_learning --trace-decays 0.5 1.5", "trace_decay is 1.5"),
        ("td_learning --trace-decays", "the number of trace_decays is 0"),
        ("td_learning --num-step-sizes 0", "num_step_sizes is 0"),
    ],
)
def test_bad_options_end_in_one_line_and_leave_nothing(tmp_path, arguments, says):
    assert says in refusal(*arguments.split())
    assert not any(tmp_path.iterdir())
