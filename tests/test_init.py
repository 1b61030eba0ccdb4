"""`import rljax` costs nothing, and everything is there when asked for."""

import ast
import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import rljax

HOME = Path(rljax.__file__).parent
NAMESPACES = [name for name in dir(rljax) if not name.startswith("__")]


def fresh(code):
    """What a fresh interpreter prints."""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME.parent)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_import_loads_neither_jax_nor_numpy_nor_any_room():
    loaded = fresh("import sys, rljax; print(*sys.modules)")
    assert "rljax" in loaded
    heavy = {"jax", "jaxlib", "numpy", "flax", "optax", "chex", "gymnasium", "matplotlib", "PIL"}
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert [name for name in loaded if name.startswith("rljax")] == ["rljax"]


def test_a_namespace_is_loaded_by_its_first_use():
    loaded = fresh("import sys, rljax; rljax.checks; print(*sys.modules)")
    assert "rljax.checks" in loaded and "jax" in loaded and "rljax.rollout" not in loaded
    assert fresh("from rljax import returns; print(returns.__name__)") == ["rljax.returns"]
    assert fresh("import rljax.envs.cartpole; print(rljax.envs.CartPole.__name__)") == ["CartPole"]


@pytest.mark.parametrize("name", NAMESPACES)
def test_every_namespace_resolves(name):
    assert getattr(rljax, name) is importlib.import_module(f"rljax.{name}")


def test_namespaces_are_the_rooms_of_the_house():
    files = {path.stem for path in HOME.glob("*.py")} | {path.parent.name for path in HOME.glob("*/__init__.py")}
    assert set(NAMESPACES) == files - {"__init__"}


def test_type_checkers_are_told_the_same():
    tree = ast.parse((HOME / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    told = [(node.module, alias.name, alias.asname) for node in block.body for alias in node.names]
    assert told == [("rljax", name, name) for name in sorted(NAMESPACES)]


@pytest.mark.parametrize("name", ["nonsense", "Returns", "", "_NAMESPACE", "__path"])
def test_an_unknown_attribute_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match=f"module 'rljax' has no attribute '{name}'"):
        getattr(rljax, name)
    assert not hasattr(rljax, name)


def test_an_unknown_import_is_an_import_error():
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        from rljax import nonsense  # noqa: F401


def test_version():
    assert rljax.__version__ == metadata.version("rljax-functional")
    assert "__version__" in dir(rljax) and dir(rljax) == sorted(dir(rljax))
