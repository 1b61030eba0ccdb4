"""The floors: a module imports strictly lower ones, so circles cannot start; and the rules that keep it so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "checks": 0,
    "structs": 0,
    "noise": 1,
    "packing": 1,
    "returns": 1,
    "backups": 1,
    "policies": 1,
    "losses": 1,
    "shaping": 1,
    "networks": 2,
    "features": 2,
    "replay": 2,
    "mdp": 2,
    "envs": 3,
    "rollout": 4,
    "agents": 5,
    "train": 6,
    "host": 7,
    "runs": 7,
    "envs.gymnasium": 8,  # the host's side of environments: it compiles, draws and speaks NumPy
}
SAME_FLOOR = {("policies", "noise")}  # drawing an action needs numbers to draw with
FILES = sorted((ROOT / "rljax").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module named by an import statement anywhere in the file, type-checking blocks aside."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


def room(path: Path) -> str:
    return room_of(path.relative_to(ROOT / "rljax").with_suffix("").parts)


def room_of(parts: tuple[str, ...]) -> str:
    """The first part of a name, or the first two, where they have a floor of their own."""
    return ".".join(parts[:2]) if ".".join(parts[:2]) in FLOORS else parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for name in imports(path):
        if name.startswith("rljax."):
            there = room_of(tuple(name.split(".")[1:]))
            lower = FLOORS[there] < FLOORS[here] or there == here or (here, there) in SAME_FLOOR
            assert lower, f"{path.name} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOORS)


def test_low_floors_know_jax_numpy_and_the_standard_library_alone() -> None:
    for path in FILES:
        if FLOORS.get(room(path), 9) <= 1:
            outside = {name.split(".")[0] for name in imports(path)} & {
                "flax",
                "optax",
                "gymnasium",
                "matplotlib",
                "PIL",
            }
            assert not outside, f"{path.name} imports {outside}"


@pytest.mark.parametrize(("package", "rooms"), [("gymnasium", {"envs", "envs.gymnasium"}), ("optax", {"agents"})])
def test_sole_importers(package: str, rooms: set[str]) -> None:
    found = {room(path) for path in FILES if any(name.split(".")[0] == package for name in imports(path))}
    assert found <= rooms


def test_the_library_is_jitted_by_its_callers() -> None:
    """`train` compiles; nothing below it decides that for the caller. But `noise`, as `jax.random` itself: for its trace."""
    for path in FILES:
        if FLOORS.get(room(path), 9) < FLOORS["train"] and room(path) != "noise":
            code = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
            assert not [node for node in code if ast.unparse(node) == "jax.jit"], f"{path.name} calls jax.jit"


def test_every_public_function_of_the_mathematics_has_an_example_and_a_docstring() -> None:
    for path in FILES:
        if room(path) in "returns policies losses shaping networks features noise checks rollout".split():
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    docstring = ast.get_docstring(node) or ""
                    assert docstring, f"{path.name}: {node.name} has no docstring"


def test_files_can_be_read_in_one_sitting() -> None:
    long = {path.name: n for path in FILES if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_every_learner_says_where_it_departs() -> None:
    """From the paper, the chapter or the planner: a numbered list at the end of the file's docstring."""
    for name in "reinforce policy_search dqn pqn linear_q tabular planning".split():
        docstring = ast.get_docstring(ast.parse((ROOT / "rljax" / "agents" / f"{name}.py").read_text())) or ""
        assert "Departures" in docstring and "\n1. " in docstring.partition("Departures")[2], name
