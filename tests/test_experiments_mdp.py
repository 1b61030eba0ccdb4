"""Experiments on small worlds: the chapter's numbers, through the command line."""

from __future__ import annotations

import csv
import itertools
import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import __main__ as command_line


@pytest.fixture(autouse=True)
def as_users_run_it(tmp_path, monkeypatch):
    """JAX as it comes, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLJAX_TRACEBACK", raising=False)
    with jax.numpy_dtype_promotion("standard"):
        yield


def run(*arguments):
    """The folder that the experiment leaves: its names, and its summary without a number that is not finite."""
    command_line.run([str(argument) for argument in (*arguments, "--out", "out")])
    summary = json.loads(Path("out/summary.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    for figure in Path("out").glob("*.png"):
        with Image.open(figure) as image:
            image.load()
            assert np.asarray(image.convert("L")).std() > 5
    return {path.name for path in Path("out").iterdir()}, summary


def rows_of(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_markov_chain(capsys):
    files, summary = run("markov_chain", "--quick")
    assert files == {"config.json", "summary.json", "laws.csv", "paths.png", "law.png", "absorption.png"}
    # t1 = 1 + 0.9 t2 and t2 = 1 + t1, hence 19 and 20; then t0 = 1 + 0.7 t0 + 0.2 t1, hence 16.
    np.testing.assert_allclose([state["expected_steps"] for state in summary["states"]], [16, 19, 20, 0], atol=1e-12)
    assert [state["absorbs"] for state in summary["states"]] == [False, False, False, True]
    for state in summary["states"]:
        assert abs(state["simulated_mean"] - state["expected_steps"]) <= 5 * state["standard_error"]
    assert summary["paths"] == 500 and summary["not_absorbed_when_simulation_ended"] == 0
    law = summary["law_after_steps"]
    np.testing.assert_allclose(law["exact"][0], 0.7**50, rtol=1e-9)
    assert math.isclose(sum(law["exact"]), 1) and math.isclose(sum(law["simulated"]), 1)
    assert summary["largest_difference_of_laws"] < 5 * math.sqrt(0.25 / 500)
    paths = [line.partition(":")[2].split() for line in capsys.readouterr().out.splitlines() if line[:4] == "path"]
    assert len(paths) == 10
    possible = {("0", "0"), ("0", "1"), ("0", "3"), ("1", "2"), ("1", "3"), ("2", "1")}
    for states in paths:
        assert states[0] == "0" and (states[-1] == "3" or len(states) == 52) and "3" not in states[:-1]
        assert set(itertools.pairwise(states)) <= possible | {(s, "...") for s in "0123"}
    rows = rows_of("out/laws.csv")
    assert len(rows) == 4 * 51
    np.testing.assert_allclose([float(row["exact"]) for row in rows[:8]], [1, 0, 0, 0, 0.7, 0.2, 0, 0.1], atol=1e-15)


def test_markov_chain_from_elsewhere(capsys):
    _, summary = run("markov_chain", "--quick", "--start", "3", "--shown", "2")
    assert summary["law_after_steps"]["exact"] == summary["law_after_steps"]["simulated"] == [0, 0, 0, 1]
    assert "path  2: 3\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run("markov_chain", "--quick")
    for options, says in (
        (["--start", "4"], "start is 4"),
        (["--paths", "1"], "paths is 1"),
        (["--shown", "0"], "shown is 0"),
    ):
        with pytest.raises(SystemExit, match=says):
            command_line.run(["markov_chain", *options, "--out", "new"])
        assert not Path("new").exists()
