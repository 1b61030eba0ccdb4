"""The command line: `python -m experiments` lists, `python -m experiments NAME --help` explains, without importing JAX.

An experiment is a module here with a one-line summary and a function `main`, whose keyword arguments are the options.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def available() -> dict[str, str]:
    """Name -> summary of every module with a `main`, read without importing it."""
    found = {}
    for path in sorted(HERE.glob("*.py")) + sorted((HERE / "benchmarks").glob("*.py")):
        tree = ast.parse(path.read_text())
        if path.name[0] != "_" and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            name = ".".join(path.relative_to(HERE).with_suffix("").parts)
            found[name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return found


def listing(found: dict[str, str]) -> str:
    """What `python -m experiments` prints."""
    width = max(map(len, found))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in found.items()]
    return "\n".join(["usage: python -m experiments NAME [options]    (NAME --help shows them)", "", *lines])


def run(arguments: list[str]) -> None:
    """Parse, then run; mistakes of the user end in one line, not in a traceback."""
    found = available()
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(listing(found))
        return
    name, *options = arguments
    if name not in found:
        close = difflib.get_close_matches(name.lower(), found, 1)
        hint = f" Did you mean {close[0]!r}?" if close and name != "benchmarks" else ""
        sys.exit(f"{listing(found)}\n\nerror: there is no experiment {name!r}.{hint}")
    try:
        import tyro
    except ModuleNotFoundError:
        sys.exit("error: experiments need more packages than the library: pip install -e '.[experiments]'")
    module = importlib.import_module(f"experiments.{name}")
    try:
        tyro.cli(module.main, prog=f"python -m experiments {name}", args=options)
        if "--quick" in options:
            print("--quick shows that all of it runs; for numbers and pictures that mean something, leave it out.")
    except KeyboardInterrupt:
        sys.exit("interrupted: what was written by then is in the folder of the run")
    except (ValueError, OSError, ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        out_of_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)  # NumPy's, XLA's
        if isinstance(error, RuntimeError) and not out_of_memory:
            raise  # ours to mend
        if "rljax.runs.folder" in sys.modules:
            sys.modules["rljax.runs.folder"].withdraw()
        if os.environ.get("RLJAX_TRACEBACK"):
            raise
        if out_of_memory:
            first = str(error).partition("\n")[0].rstrip(".") or "memory ran out"
            error = f"{first}. Make the run smaller: fewer of what its options count, or a smaller network or problem."
        sys.exit(f"error: {error}\n(RLJAX_TRACEBACK=1 shows where it was raised)")


if __name__ == "__main__":
    run(sys.argv[1:])
