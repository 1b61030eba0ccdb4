"""The README is executed: its snippet runs, its commands parse, its map and its functions exist."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"python -m experiments ([a-z_.]+[^`\n\[]*)`", README)))


def test_the_snippet_runs_and_learns() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    scope: dict[str, object] = {}
    exec(snippet, scope)
    assert float(scope["result"].members.best_score.max()) >= 195


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_and_their_options_exist(command: str) -> None:
    name, *options = shlex.split(command)
    shown = subprocess.run(
        [sys.executable, "-m", "experiments", name, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert shown.returncode == 0, shown.stderr
    for option in options:
        if option.startswith("--"):
            assert option in shown.stdout


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
