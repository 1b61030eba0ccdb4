"""The README is executed: its snippet runs, its commands parse, its map and functions exist, its figures are the results'."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest

from experiments import __main__ as command_line

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS: dict[str, set[str]] = {}  # name -> the options that the README gives it
for command in re.findall(r"python -m experiments ([a-z_.]+[^`\n\[]*)`", README):
    name, *options = shlex.split(command)
    COMMANDS.setdefault(name, set()).update(option for option in options if option.startswith("--"))


def test_the_snippet_runs_and_learns() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict[str, object] = {}
    exec(snippet, scope)
    assert float(scope["result"].members.best_score.max()) >= 195


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_commands_and_their_options_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.run([name, "--help"])
    assert ended.value.code in (0, None)
    shown = capsys.readouterr().out
    assert [option for option in COMMANDS[name] if option not in shown] == []


@pytest.mark.parametrize(
    "name",
    sorted(
        set(
            re.findall(
                r"`((?:envs|policies|networks|returns|backups|losses|shaping|mdp|agents|train|runs)\.\w+)", README
            )
        )
    ),
)
def test_named_functions_exist(name: str) -> None:
    module, attribute = name.split(".")
    found = importlib.import_module(f"rljax.{module}")
    assert hasattr(found, attribute) or importlib.import_module(f"rljax.{name}")


def test_the_map_is_the_territory() -> None:
    (block,) = re.findall(r"```\n(rljax/\n.*?)```", README, re.DOTALL)
    library = block.split("experiments/")[0]
    named = set(re.findall(r"\b(\w+)(?:\.py|/)", library)) - {"rljax", "base"}
    there = {path.stem for path in (ROOT / "rljax").iterdir() if path.stem not in ("__init__", "__pycache__", "py")}
    agents = {path.stem for path in (ROOT / "rljax" / "agents").glob("*.py")} - {"__init__"}
    assert named == there | agents


def test_ci_runs_the_readmes_own_test_command() -> None:
    command = re.findall(r"\.venv/bin/python -m pytest[^\n]*", README)[0]
    assert command in (ROOT / ".ci" / "run").read_text()
    assert not re.search(r"@[A-Z]+@", README)


RESULTS = ROOT / "experiments" / "benchmarks" / "results"


def results(name: str, *path: str) -> Any:
    found = json.loads((RESULTS / f"{name}.json").read_text())
    for part in path:
        found = found[part]
    return found


def rows_of(name: str, case: str) -> dict[str, Any]:
    return {row["contender"]: row for row in results(name, case)}


def stepping(name: str, case: str) -> list[float]:
    rows = rows_of(name, case)
    speed = rows["rljax"]["steps_per_second"]
    return [speed / (1e9 if speed >= 1e9 else 1e6), rows["gymnax"]["ours_faster"]]


def planned(case: str) -> list[float]:
    record = results("planning", case)
    milliseconds = statistics.median(record["milliseconds"][record["fastest_of_ours"]])
    return [milliseconds / (1e3 if milliseconds >= 100 else 1), record["ours_faster"]]


def median(name: str, *path: str) -> float:
    return results(name, *path)["median"]


# Label of a row, if need be after that of the row above it -> what its figures are, in order.
FIGURES = {
    ("stepping, random actions, automatic reset, N = 1 ",): stepping("stepping", "random actions, N = 1"),
    ("N = 1 ", "same, N = 64 "): stepping("stepping", "random actions, N = 64"),
    ("same, N = 64 ", "same, N = 1024 "): stepping("stepping", "random actions, N = 1024"),
    ("same, N = 1024 ", "same, N = 65536 "): stepping("stepping", "random actions, N = 65536"),
    ("4-5-1 policy in the loop, recorded, N = 64 ",): stepping("rollouts", "4-5-1 policy, recorded, N = 64"),
    ("recorded, N = 64 ", "same, N = 1024 "): stepping("rollouts", "4-5-1 policy, recorded, N = 1024"),
    ("150 updates of REINFORCE, one seed ",): [
        median("reinforce", "one seed: seconds of one core"),
        median("reinforce", "NumPy / one seed"),
    ],
    ("same, 256 seeds at once ",): [
        median("reinforce", "256 seeds: seconds"),
        median("reinforce", "256 seeds / one seed"),
    ],
    ("its compilation, tracing included; by XLA alone ",): [
        median("reinforce", "compilation of the training program, one seed")
    ],
    ("process start to first training result ",): [median("reinforce", "process start to first result")],
    ("planning to a certified 1e-6: dense 100 x 4 ",): planned("dense 100 x 4"),
    ("same, with `--asynchronous`",): planned("dense 100 x 4, asynchronous"),
    ("same: maze 1e5, outwards from the goal ",): planned("maze 1e5"),
    ("same: local 1000 x 10, made lists each time ",): planned("local 1000 x 10"),
    ("same: 1000 problems, by modified policy iteration; by `plan` ",): planned("1000 problems"),
    ("same: maze 1e6, likewise ",): planned("maze 1e6"),
    **{
        (f"same: {case} ",): planned(case)
        for case in (
            "dense 1000 x 10",
            "dense 3000 x 4",
            "local 1000 x 10, lists",
            "FrozenLake 8 x 8",
            "1000 gammas",
            "Garnet 1e5 x 4 x 5",
            "Garnet 1e6 x 4 x 5",
        )
    },
    ("drawing a batch from a million transitions",): [median("dqn", "uniform, 1e6 / uniform, 1e4")],
    ("DQN with CleanRL's settings, 50 000 steps, one seed ",): [
        statistics.median(results("dqn", "seconds of each round, for each seed", "one seed")),
        median("dqn", "PureJaxRL / one seed"),
    ],
    ("its compilation, of ",): [median("dqn", "compilation of the default program: seconds")],
    ("automatic reset, N = 1024 ", "same, N = 65536 "): stepping("h100/stepping", "random actions, N = 65536"),
    ("same, N = 1048576 ",): stepping("h100/stepping", "random actions, N = 1048576"),
    ("4-5-1 policy in the loop, recorded, N = 1024 ",): stepping("h100/rollouts", "4-5-1 policy, recorded, N = 1024"),
    ("4096 seeds at once ",): [
        median("h100/reinforce", "4096 seeds: seconds"),
        median("h100/reinforce", "4096 seeds / one seed"),
    ],
    ("of which 64 solve ",): [results("h100/dqn-64-seeds", "run_seconds")],
}


@pytest.mark.parametrize("labels", FIGURES, ids=" > ".join)
def test_measurements_are_those_of_the_results(labels: tuple[str, ...]) -> None:
    """To as many digits as are shown."""
    table = [line for line in README.splitlines() if line.startswith("| ")]
    found = [
        line
        for above, line in zip(["", *table], table, strict=False)
        if labels[-1] in line and (len(labels) == 1 or labels[0] in above)
    ]
    assert len(found) == 1, found
    _, _, here, _, ratio, *_ = found[0].split("|")
    shown = [re.findall(r"[\d.]+", cell)[0] for cell in (here, ratio) if re.search(r"\d", cell)]
    assert len(shown) == len(FIGURES[labels])
    for figure, value in zip(shown, FIGURES[labels], strict=True):
        digits = len(figure.replace(".", "").lstrip("0"))
        assert float(f"{value:.{digits}g}") == float(figure), (figure, value)
