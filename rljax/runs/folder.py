"""The folder of a run: made before any work, never shared, written whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import IO, Any

PACKAGES = ("jax", "jaxlib", "flax", "optax", "gymnasium", "numpy", "chex")
CONFIG = "config.json"
# In this process: each folder of a run, with what was new of it and its parents; and those that CONFIG was written to.
_created: dict[Path, list[Path]] = {}
_configured: set[Path] = set()


def create(out: str | Path | None, name: str) -> Path:
    """An empty folder for one run.

    Args:
      out: where; None makes a fresh folder `runs/NAME-DATE-TIME`, numbered if two start in one second.
      name: of the experiment.

    Errors:
      FileExistsError: `out` exists and is not an empty folder. Nothing in it is touched. OSError: it cannot be made.

    Example:
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     create(f"{parent}/mine", "demo").name
      'mine'
    """
    if out is not None:
        path = Path(out)
        new = _made(path, exist_ok=True)
        if new is None or any(path.iterdir()):
            raise FileExistsError(
                f"{path} exists and is not an empty folder; expected a new place for the results of {name}. "
                "Give another --out, or leave it out for a fresh folder under runs/."
            )
        _created[path.absolute()] = new
        return path
    stamp = f"{name.replace('.', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1000):
        path = Path("runs") / (stamp + (f"-{number + 1}" if number else ""))
        new = _made(path, exist_ok=False)
        if new is not None:
            _created[path.absolute()] = new
            return path
    raise FileExistsError(f"runs/{stamp} and 999 more exist. Give --out.")


def _made(path: Path, exist_ok: bool) -> list[Path] | None:
    """A folder, with its parents: those that were not there before; None if it is a file, or there and may not be."""
    whole = path.absolute()
    try:
        new = [folder for folder in (whole, *whole.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=exist_ok)
    except FileExistsError:
        return None
    except OSError as error:
        raise type(error)(f"{path} cannot be made ({error.strerror}). Give another --out.") from error
    return new


def withdraw() -> None:
    """Takes away again what `create` made in this process, where nothing but `config.json` is in it: of a run that was refused
    after all, for more memory than there is. A folder that was there before is left, empty as it was.

    Example:
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     path = create(f"{parent}/mine", "demo")
      ...     withdraw()
      ...     path.exists()
      False
    """
    while _created:
        path, new = _created.popitem()
        mine = [CONFIG] if path in _configured else []
        with contextlib.suppress(OSError):  # someone else was faster, or has more in there
            if [file.name for file in path.iterdir()] == mine:
                (path / CONFIG).unlink(missing_ok=True)
                for folder in new:
                    folder.rmdir()


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], Any]) -> Path:
    """Call `write(file)` on a temporary neighbour of `path`, then rename: a kill leaves the old file or the new one."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def write_json(path: str | Path, content: Mapping[str, Any]) -> Path:
    """`content` as readable JSON; NumPy and JAX scalars and arrays become numbers and lists, NaN and infinities null."""
    text = json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"
    return write_atomically(path, lambda file: file.write(text.encode()))


def read_json(path: str | Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Errors:
      FileNotFoundError, ValueError: there is no such file, or it is not whole; the message says which folder was meant.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there; expected the folder of a finished run, as experiments make them."
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not whole JSON ({error}). Run the experiment again.") from error


def write_config(
    path: Path, experiment: str, options: Mapping[str, Any], used: Mapping[str, Any] | None = None
) -> None:
    """`config.json`: what was asked, with which versions, on what machine, so that the run can be made again.

    `used` are the values of the options by then, among what else it may hold, `locals()` say: others than those asked for
    under `--quick`, or where a default was found on the way.

    Errors:
      FileExistsError: another run has written one there since the folder was made.
    """
    content = {
        "experiment": experiment,
        "options": {name: value for name, value in options.items() if name != "out"},
        "used": {name: (used or {}).get(name, value) for name, value in options.items() if name != "out"},
        "command": shlex.join(["python", "-m", Path(sys.argv[0]).parent.name, *sys.argv[1:]])
        if Path(sys.argv[0]).name == "__main__.py"
        else shlex.join(sys.argv),
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
        "machine": {"platform": platform.platform(), "processors": os.cpu_count(), "devices": _devices(experiment)},
    }
    if (path / CONFIG).exists():
        raise FileExistsError(f"{path / CONFIG} is there by now: another run has the same --out. Give each its own.")
    write_json(path / CONFIG, content)
    _configured.add(path.absolute())


def _devices(experiment: str) -> list[str] | None:
    """What JAX computes on, which the bits of a run depend on. A benchmark's own process leaves devices to its workers."""
    if experiment.startswith("benchmarks."):
        return None
    import jax

    return [device.device_kind for device in jax.devices()]


def write_csv(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """One line per row, headed by the keys of the first; whole or not at all.

    Errors:
      ValueError: there is no row, and so no head, or a row has a key that the first lacks. Nothing is written.
    """
    rows = list(rows)
    if not rows:
        raise ValueError(
            f"no rows are given for {path}; expected at least one, whose keys head the table. "
            "Without results there is no file to write."
        )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _plain(value: Any) -> Any:
    """The same in the types of JSON, which has no NaN: other programs refuse the whole file."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"{value!r} cannot be written as JSON")
