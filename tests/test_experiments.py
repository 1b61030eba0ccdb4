"""The command line: it answers at once, does what it says, and refuses in one line with nothing left behind."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import __main__ as command_line
from experiments import _console, _play, _results
from rljax import networks, train
from rljax.runs import checkpoint
from rljax.runs.statistics import interquartile_mean
from rljax.train import memory

ROOT = Path(__file__).parents[1]
NAMES = command_line.available()


pytestmark = pytest.mark.usefixtures("as_users_run_it")


def numbers(content):
    if isinstance(content, dict):
        return [number for value in content.values() for number in numbers(value)]
    if isinstance(content, list):
        return [number for value in content for number in numbers(value)]
    return [content] if isinstance(content, (int, float)) else []


def summary_of(folder):
    """The summary, all of whose numbers are finite."""
    summary = json.loads((folder / "summary.json").read_text())
    assert numbers(summary) and all(map(math.isfinite, numbers(summary)))
    return summary


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def frames_of(path):
    with Image.open(path) as gif:
        assert gif.format == "GIF"
        return gif.n_frames


def files_in(folder):
    return {path.name for path in folder.iterdir()}


def refusal(*arguments):
    """What a refused command says: one line, then how to see more; and what it leaves behind: nothing."""
    before = sorted((p, p.is_file() and p.read_bytes()) for p in Path().rglob("*"))
    with pytest.raises(SystemExit) as caught:
        command_line.run([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, str), "a message, and so an exit code of 1"
    error, *hint = caught.value.code.split("\n")
    assert error.startswith("error: ") and len(error) > len("error: ")
    assert hint == ["(RLJAX_TRACEBACK=1 shows where it was raised)"]
    assert sorted((p, p.is_file() and p.read_bytes()) for p in Path().rglob("*")) == before
    return error


# Without JAX

FORBID = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib", "flax", "optax"):
            sys.stderr.write(f"IMPORTED {name}\\n")
            raise RuntimeError(f"import of {name}")

sys.meta_path.insert(0, Forbidden())
"""

EVERY_HELP = """
import contextlib, io, json, sys
from experiments import __main__ as command_line

answers = {}
for i, name in enumerate(command_line.available()):
    needed = {"play": ["somewhere"], "sweep": ["reinforce"]}.get(name, [])
    for option in ("--help", *(["--no-such-flag"] if i % 4 == 0 else [])):  # both end where options are read
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                command_line.run([name, *needed, option])
                code = "it ran"
            except SystemExit as end:
                code = end.code
        answers[f"{name} {option}"] = [code, said.getvalue()]
json.dump(answers, sys.stdout)
"""


def python(*arguments, folder, code=0):
    """A fresh interpreter in which `import jax` is an error."""
    (folder / "sitecustomize.py").write_text(FORBID)
    env = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "COLUMNS": "200", "NO_COLOR": "1"}
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=folder)
    assert ended.returncode == code, ended.stderr
    return ended


def test_the_trap_is_set(tmp_path):
    assert "IMPORTED jax" in python("-c", "import jax", folder=tmp_path, code=1).stderr
    assert "IMPORTED jax" in python("-c", "import rljax; rljax.returns", folder=tmp_path, code=1).stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_listing_names_every_experiment_in_one_line(tmp_path, arguments):
    said = python("-m", "experiments", *arguments, folder=tmp_path)
    assert said.stderr == ""
    usage, empty, *lines = said.stdout.splitlines()
    assert usage.startswith("usage: python -m experiments NAME") and empty == ""
    assert {"reinforce", "basic_policy", "cartpole_demo", "play"} <= set(NAMES)
    assert [line.split()[0] for line in lines] == list(NAMES)
    for line, (name, summary) in zip(lines, NAMES.items(), strict=True):
        assert line.strip().startswith(name) and line.endswith(summary) and len(summary) > 20


def test_a_module_run_by_itself_says_how_to_run_it(tmp_path):
    ended = python("-m", "experiments.benchmarks.planning", folder=tmp_path, code=1)
    assert ended.stderr.strip().endswith("Take python -m experiments benchmarks.planning")


def test_listing_is_of_the_files():
    files = [p.relative_to(ROOT / "experiments") for p in (ROOT / "experiments").rglob("*.py") if p.name[0] != "_"]
    runnable = {
        ".".join(p.with_suffix("").parts) for p in files if "\ndef main(" in (ROOT / "experiments" / p).read_text()
    }
    assert set(NAMES) == runnable


def test_help_and_wrong_flags_are_answered_without_jax(tmp_path):
    ended = python("-c", EVERY_HELP, folder=tmp_path)
    answers = json.loads(ended.stdout)
    assert "IMPORTED" not in ended.stderr
    for name in NAMES:
        code, said = answers.pop(f"{name} --help")
        assert code in (0, None) and f"python -m experiments {name}" in said
        assert all(option in said for option in ("--seed", "--out", "--quick"))
    assert len(answers) > 5
    for code, said in answers.values():
        assert code == 2 and "--no-such-flag" in said


def test_an_unknown_name_is_answered_without_jax(tmp_path):
    said = python("-m", "experiments", "cartpole_dmo", folder=tmp_path, code=1)
    assert said.stderr.endswith("error: there is no experiment 'cartpole_dmo'. Did you mean 'cartpole_demo'?\n")
    assert "reinforce" in said.stderr and said.stdout == "" and "Traceback" not in said.stderr
    said = python("-m", "experiments", "zzzz", folder=tmp_path, code=1)
    assert said.stderr.endswith("error: there is no experiment 'zzzz'.\n")
    python("-m", "experiments", "_console", folder=tmp_path, code=1)


def test_a_wrong_flag_and_a_wrong_value_on_the_real_command_line(tmp_path):
    assert "--sede" in python("-m", "experiments", "reinforce", "--sede", "1", folder=tmp_path, code=2).stderr
    for arguments in (["reinforce", "--optimiser", "sgd"], ["reinforce", "--seeds", "many"], ["play"]):
        said = python("-m", "experiments", *arguments, folder=tmp_path, code=2)
        assert "Traceback" not in said.stderr and "IMPORTED" not in said.stderr


# Each experiment, quickly


def data_of(keys):
    return {tuple(map(int, row)) for row in np.asarray(jax.random.key_data(keys)).reshape(-1, 2)}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The folders of `reinforce --quick` and of `play --quick` on it, and the keys that training and playing were given."""
    out, seen = tmp_path_factory.mktemp("quick"), {}

    def spy(patch, module, name, place):
        real, seen[name] = getattr(module, name), set()

        def spied(*args, **options):
            seen[name] |= data_of(jax.random.clone(args[place]))
            return real(*args, **options)

        patch.setattr(module, name, spied)

    with jax.numpy_dtype_promotion("standard"), pytest.MonkeyPatch.context() as patch:
        spy(patch, train, "train", 1)
        spy(patch, _play, "judge", 0)
        spy(patch, _play, "record", 0)
        command_line.run(["reinforce", "--quick", "--out", str(out / "trained"), "--target", "30"])
        command_line.run(["play", str(out / "trained"), "--quick", "--out", str(out / "played")])
    return out / "trained", out / "played", seen


@pytest.fixture(scope="module")
def trained(quick):
    return quick[0]


def test_reinforce_quick(trained):
    assert files_in(trained) == {
        "config.json",
        "summary.json",
        "metrics.csv",
        "tests.csv",
        "learning_curve.png",
        "policy.npz",
        "before.gif",
        "after.gif",
    }
    summary, rows = summary_of(trained), rows_of(trained / "metrics.csv")
    assert set(summary) == {"plain", "shaped", "shaped, early stopping"}
    for name, variant in summary.items():
        assert variant["seeds"] == 2 and 0 < variant["iterations_iqm"] <= 10
        assert 5 < variant["last_mean_length_iqm"] <= 50 and 5 < variant["test_mean_return_iqm"] <= 50
        assert 0 <= variant["test_share_of_seeds_at_target"] <= 1
        mine = [row for row in rows if row["variant"] == name]
        iterations = [[int(r["iteration"]) for r in mine if r["seed"] == seed] for seed in "01"]
        assert all(column == list(range(1, len(column) + 1)) for column in iterations)
        assert sum(map(len, iterations)) / 2 == variant["iterations_iqm"]
        assert {r["mean_length"] for r in mine if r["seed"] == "0"} != {
            r["mean_length"] for r in mine if r["seed"] == "1"
        }
    assert summary["plain"]["iterations_iqm"] == summary["shaped"]["iterations_iqm"] == 10
    quantities = ("mean_length", "mean_return", "loss", "entropy", "compile_seconds", "run_seconds")
    assert all(math.isfinite(float(row[name])) for row in rows for name in quantities)
    assert all(row["mean_length"] == row["mean_return"] for row in rows)  # reported unshaped
    with Image.open(trained / "learning_curve.png") as image:
        image.load()
    assert 5 < frames_of(trained / "before.gif") <= 60 and 5 < frames_of(trained / "after.gif") <= 60
    config = json.loads((trained / "config.json").read_text())
    assert config["experiment"] == "reinforce" and config["options"]["quick"] and config["options"]["gamma"] == 0.95
    assert "out" not in config["options"] and config["options"]["target"] == 30


def test_reinforce_leaves_what_compare_reads(trained):
    learners = _results.read([trained])
    assert [learner.name for learner in learners] == ["plain", "shaped", "shaped, early stopping"]
    metrics, summary = rows_of(trained / "metrics.csv"), summary_of(trained)
    for learner in learners:
        assert (learner.curves_of, learner.tests_of) == ("mean_return", "test_mean_return")
        assert len(learner.curves) == len(learner.tests) == 2 and learner.best == 50
        assert interquartile_mean(learner.tests) == summary[learner.name]["test_mean_return_iqm"]
        low, high = summary[learner.name]["test_mean_return_iqm_interval"]
        assert low <= interquartile_mean(learner.tests) <= high
        returns = [float(r["mean_return"]) for r in metrics if (r["variant"], r["seed"]) == (learner.name, "0")]
        np.testing.assert_array_equal(learner.curves[0].scores, returns)
        np.testing.assert_array_equal(learner.curves[0].steps, 10 * np.arange(1, len(returns) + 1))  # of ten episodes


def test_reinforce_leaves_a_policy_that_loads(trained):
    about = checkpoint.about(trained / "policy.npz")
    assert about["sizes"] == [4, 5, 1] and about["max_steps"] == 50 and about["env"] == "CartPole"
    network = networks.mlp(about["sizes"])
    params = checkpoint.load(trained / "policy.npz", jax.eval_shape(network.init, jax.random.key(0)))
    leaves = jax.tree.leaves(params)
    assert sum(leaf.size for leaf in leaves) == 31 and all(np.isfinite(leaf).all() for leaf in leaves)
    assert np.isfinite(network.apply(params, np.ones(4, np.float32)))


def test_play_on_what_reinforce_left(quick):
    _, played, _ = quick
    assert files_in(played) == {"config.json", "summary.json", "play.gif"}
    summary = summary_of(played)
    assert summary["episodes"] == 10
    assert 5 < summary["min"] <= summary["median"] <= summary["max"] <= 50
    assert summary["min"] <= summary["mean_return"] <= summary["max"]
    assert frames_of(played / "play.gif") > 5


def test_play_from_a_folder_with_any_name_leaves_it_as_it_was(trained, tmp_path):
    """The name is the caption, and Pillow's font has no more than ASCII."""
    name = "run ü 杆\nline"
    shutil.copytree(trained, name)
    before = {path.name: path.read_bytes() for path in Path(name).iterdir()}
    command_line.run(["play", name, "--episodes", "3", "--max-steps", "4", "--out", "short"])
    assert summary_of(tmp_path / "short") == {"episodes": 3, "mean_return": 4.0, "min": 4, "median": 4.0, "max": 4}
    assert "play.gif" in files_in(tmp_path / "short")
    assert {path.name: path.read_bytes() for path in Path(name).iterdir()} == before


def test_a_variant_that_diverges_is_told_and_what_there_is_is_kept(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.run(["reinforce", "--quick", "--learning-rate", "1e38", "--out", "bad"])
    assert caught.value.code.startswith("error: 3 of 3 variants failed; plain: parameters ceased")
    assert {"config.json", "summary.json", "metrics.csv", "policy.npz", "after.gif"} < files_in(tmp_path / "bad")
    assert all(
        "ceased to be finite, or credible, in step" in row["failure"] for row in summary_of(tmp_path / "bad").values()
    )
    rows = rows_of(tmp_path / "bad" / "metrics.csv")
    assert len({row["variant"] for row in rows}) == 3 and all(math.isfinite(float(row["mean_length"])) for row in rows)
    network = networks.mlp((4, 5, 1))
    like = jax.eval_shape(network.init, jax.random.key(0))
    kept = checkpoint.load(tmp_path / "bad" / "policy.npz", like)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))


def test_episodes_that_judge_are_not_those_that_train(quick):
    """No key of one is a key of the other: `fold_in(key, 1)` is `split(key)[1]`."""
    *_, seen = quick
    used = []
    for keys in seen.values():
        split = [data_of(jax.random.split(jax.random.wrap_key_data(np.uint32(parent)), 3)) for parent in keys]
        used.append(keys.union(*split))
    assert len(used) == 3 and all(used)
    assert not used[0] & used[1] and not used[0] & used[2] and not used[1] & used[2]


def test_quick_is_said_as_it_was_run(trained):
    config = json.loads((trained / "config.json").read_text())
    assert config["options"]["seeds"] == 16 and config["used"]["seeds"] == 2
    assert config["used"]["max_steps"] == 50 and config["used"]["target"] == 30 and "out" not in config["used"]


def test_the_table_fits_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr(_console, "console", _console.Console(width=80))
    row = {"variant": "shaped, early stopping", "updates": "150", "last length": "199.9", "greedy test": "200.0"}
    _console.table("title", [row | {">= 48.75": "100%", "compile": "10.5 s", "run": "0.50 s"}])
    said = capsys.readouterr().out
    assert "shaped, early stopping" in said and "updates" in said and "compile" in said and "…" not in said


def test_a_bar_that_ends_early_ends_full(monkeypatch, capsys):
    monkeypatch.setattr(_console, "console", _console.Console(width=80))
    with _console.bar("some work", 150) as bar:
        bar.update(140, "on the way")
        bar.finish(145, "all have stopped")
    assert "145/145" in capsys.readouterr().out


def test_an_interrupt_ends_in_one_line(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train", interrupted)
    with pytest.raises(SystemExit) as caught:
        command_line.run(["reinforce", "--quick", "--out", "stopped"])
    assert caught.value.code.startswith("interrupted") and "\n" not in caught.value.code


def test_cartpole_demo_quick(tmp_path):
    for folder, seed in (("one", 0), ("same", 0), ("other", 1)):
        command_line.run(["cartpole_demo", "--quick", "--out", folder, "--seed", str(seed)])
    assert files_in(tmp_path / "one") == {"config.json", "summary.json", "random.gif"}
    summary = summary_of(tmp_path / "one")
    assert summary["steps"] == 30 and 0 <= summary["episodes_ended"] <= 3
    assert 20 <= frames_of(tmp_path / "one" / "random.gif") <= 60
    one, same, other = ((tmp_path / folder / "random.gif").read_bytes() for folder in ("one", "same", "other"))
    assert one == same != other


def test_cartpole_demo_without_an_end_is_no_error(tmp_path):
    command_line.run(["cartpole_demo", "--steps", "1", "--out", "one"])
    assert summary_of(tmp_path / "one") == {"steps": 1, "episodes_ended": 0, "mean_length": None}


def test_basic_policy_is_the_chapters_to_the_digit_through_both_roads(tmp_path):
    command_line.run(["basic_policy", "--out", "full"])
    folder = tmp_path / "full"
    assert files_in(folder) == {"config.json", "summary.json", "episodes.csv", "returns.png"}
    summary = summary_of(folder)
    assert summary["episodes_that_differ"] == 0
    for road in ("gymnasium", "jax"):
        assert {name: summary[road][name] for name in ("mean", "min", "max", "median")} == {
            "mean": 41.698,
            "min": 24.0,
            "max": 63.0,
            "median": 40.0,
        }
        assert round(summary[road]["standard_deviation"], 9) == 8.389445512
    rows = rows_of(folder / "episodes.csv")
    assert [int(row["episode"]) for row in rows] == list(range(1, 501))
    assert all(row["gymnasium"] == row["jax"] for row in rows)
    assert np.mean([int(row["jax"]) for row in rows]) == 41.698


def test_basic_policy_quick_into_a_fresh_folder(tmp_path, capsys):
    command_line.run(["basic_policy", "--quick", "--max-steps", "30"])
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("basic_policy-") and folder.name in capsys.readouterr().out
    summary = summary_of(folder)
    assert summary["gymnasium"] == summary["jax"] and summary["jax"]["max"] == 30 > summary["jax"]["min"]
    assert len(rows_of(folder / "episodes.csv")) == 20


# Refusals


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("reinforce --gamma 1.5", "gamma is 1.5; expected a number in [0, 1]"),
        ("reinforce --gamma nan", "gamma is nan"),
        ("reinforce --seeds 0", "seeds is 0"),
        ("reinforce --quick --seeds -3", "seeds is -3"),
        ("reinforce --iterations 0", "iterations is 0"),
        ("reinforce --iterations 149", "iterations is 149; expected a multiple of 5"),
        ("reinforce --quick --iterations 149", "Take 150."),
        ("reinforce --target nan", "target is nan; expected a number in [0, 200]"),
        ("reinforce --target 201", "target is 201; expected a number in [0, 200]"),
        ("reinforce --learning-rate inf", "learning_rate is inf"),
        ("reinforce --quick --test-episodes 0", "test_episodes is 0"),
        ("reinforce --quick --max-steps -1", "max_steps is -1"),
        (f"reinforce --quick --max-steps {10**12}", "below 2**31"),
        (f"reinforce --quick --seeds {10**12}", "below 2**31"),
        (f"basic_policy --quick --episodes {10**12}", "below 2**31"),
        (f"cartpole_demo --quick --steps {10**12}", "below 2**31"),
        ("cartpole_demo --quick --steps 1001", "steps is 1001; expected a number in [1, 1000]"),
        ("reinforce --episodes 0", "is 0; expected"),
        ("reinforce --max-steps 0", "max_steps is 0"),
        ("reinforce --learning-rate 0", "learning_rate is 0"),
        ("reinforce --learning-rate -0.1", "learning_rate is -0.1"),
        ("reinforce --patience 0", "patience is 0"),
        ("reinforce --test-episodes 0", "test_episodes is 0"),
        ("reinforce --seeds 1000000000", "seeds * test_episodes is 100000000000; expected at most 67108864"),
        ("reinforce --test-episodes 100000000", "for all are held in memory at once. Take fewer."),
        ("basic_policy --episodes 1000000000", "episodes * max_steps is 200000000000"),
        ("markov_chain --paths 1000000000", "paths * steps is"),
        ("markov_chain --paths 400000 --steps 100", "starts * paths * longest is"),
        ("gridworld --height 60001 --width 60001", "height * width is 3600120001; expected at most 1048576"),
        ("exploration --river-states 1000000", "river_states is 1000000; expected at most 1024"),
        ("sweep reinforce --gamma 0.9 --places 1000000000", "places is 1000000000; expected at most"),
        ("sweep reinforce --gamma 0.8:0.9 --random 1000000000", "seeds * random is"),
        ("value_iteration --sweeps 1000000000", "sweeps * gammas is"),
        ("basic_policy --episodes 0", "episodes is 0"),
        ("basic_policy --max-steps 0", "max_steps is 0"),
        ("cartpole_demo --steps 0", "steps is 0"),
        ("play nowhere", "nowhere is no folder; expected the folder of a run of one of: reinforce, policy_search"),
        ("play nowhere --episodes 0", "episodes is 0"),
    ],
)
def test_bad_options_end_in_one_line_and_leave_nothing(arguments, says):
    assert says in refusal(*arguments.split())


def test_a_run_too_large_for_memory_leaves_nothing(monkeypatch):
    """What it takes is known once its programs are; there is a folder then."""
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    assert "100000 members side by side need" in refusal("reinforce", "--seeds", "100000")
    assert "expected a run that fits" in refusal("q_learning", "--seeds", "100000", "--out", "new/folder")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError("Unable to allocate 8 GiB"), "Unable to allocate 8 GiB. Make the run smaller"),
        (MemoryError(), "memory ran out. Make the run smaller"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory."), "Out of memory. Make the run smaller"),
    ],
)
def test_memory_that_runs_out_ends_in_one_line(monkeypatch, error, says):
    def exhausted(*_, **__):
        raise error

    monkeypatch.setattr(train, "train", exhausted)
    assert says in refusal("reinforce", "--quick")


def test_a_mistake_of_ours_is_not_taken_for_one_of_the_user(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(train, "train", broken)
    with pytest.raises(RuntimeError, match="a mistake"):
        command_line.run(["reinforce", "--quick"])


@pytest.mark.parametrize(
    ("name", "seed"),
    [("basic_policy", -1), *((name, 10**30) for name in ("basic_policy", "cartpole_demo", "reinforce", "play"))],
)
def test_bad_seeds_end_in_one_line_and_leave_nothing(name, seed, trained):
    refusal(name, *([trained] if name == "play" else []), "--quick", "--seed", seed)


@pytest.mark.parametrize("name", ["basic_policy", "cartpole_demo", "reinforce", "play"])
def test_a_folder_in_use_is_refused_and_untouched(name, trained):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("years of work")
    assert "mine exists and is not an empty folder" in refusal(
        name, *([trained] if name == "play" else []), "--out", "mine"
    )
    Path("file").write_text("more work")
    assert "file exists and is not an empty folder" in refusal(
        name, *([trained] if name == "play" else []), "--out", "file"
    )


def policies_that_are_none(whole):
    yield "empty", b""
    yield "text", b"not a policy"
    for length in (10, 200, len(whole) // 2, len(whole) - 1):
        yield f"cut at {length}", whole[:length]
    for place in range(0, len(whole), 89):
        yield f"flip at {place}", whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :]
    directory = whole.index(b"PK\x01\x02")
    yield "said to be encrypted", whole[: directory + 8] + b"\x01" + whole[directory + 9 :]
    yield "said to be compressed", whole[: directory + 10] + b"\x63" + whole[directory + 11 :]


def test_damaged_policies_end_in_one_line(trained):
    whole, refused = (trained / "policy.npz").read_bytes(), 0
    Path("run").mkdir()
    for name, data in policies_that_are_none(whole):
        Path("run/policy.npz").write_bytes(data)
        # Had the damage been harmless (a date in the archive), the folder in use would be the objection.
        error = refusal("play", "run", "--out", "run")
        assert "policy.npz" in error or ("flip" in name and "is not an empty folder" in error), name
        refused += "policy.npz" in error
    assert refused > 12


@pytest.mark.parametrize(
    ("params", "about"),
    [
        ("policy", {}),
        ("policy", {"sizes": [4, 5, 1]}),
        ("policy", {"max_steps": 50}),
        ("policy", {"sizes": [4, 6, 1], "max_steps": 50}),
        ("policy", {"sizes": [4], "max_steps": 50}),
        ("policy", {"sizes": [4, 0, 1], "max_steps": 50}),
        ("policy", {"sizes": "4-5-1", "max_steps": 50}),
        ("policy", {"sizes": None, "max_steps": 50}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": 0}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": "many"}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": None}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": True}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": 10**12}),
        ("policy", {"sizes": [4, True, 1], "max_steps": 50}),
        ("policy", {"sizes": [4, "5", 1], "max_steps": 50}),
        ("policy", {"sizes": [3, 5, 1], "max_steps": 50}),
        ("policy", {"sizes": [4, 5, 2], "max_steps": 50}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": 50, "env": "Pendulum"}),
        ("policy", {"sizes": [4, 5, 1], "max_steps": 50, "env": None}),
        ("NaN", {"sizes": [4, 5, 1], "max_steps": 50}),
        ("table", {"sizes": [4, 5, 1], "max_steps": 50}),
        ("table", {}),
    ],
)
def test_foreign_parameters_end_in_one_line(params, about):
    """Whole checkpoints of ours, of something else."""
    Path("run").mkdir()
    whole = networks.mlp(tuple(about["sizes"]) if about.get("sizes") in ([3, 5, 1], [4, 5, 2]) else (4, 5, 1))
    policy = whole.init(jax.random.key(0))
    stored = {"policy": policy, "NaN": jax.tree.map(lambda x: x * np.nan, policy), "table": {"q": np.zeros((3, 2))}}
    checkpoint.save("run/policy.npz", stored[params], {"env": "CartPole", **about} if about else {})
    refusal("play", "run")


def test_a_refusal_on_the_real_command_line(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "experiments", "cartpole_demo", "--steps", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert ended.returncode == 1 and ended.stdout == "" and not any(tmp_path.iterdir())
    assert ended.stderr.startswith("error: steps is 0; expected a whole number") and "Traceback" not in ended.stderr
    ended = subprocess.run(command, capture_output=True, text=True, env={**env, "RLJAX_TRACEBACK": "1"}, cwd=tmp_path)
    assert ended.returncode == 1 and "Traceback" in ended.stderr
