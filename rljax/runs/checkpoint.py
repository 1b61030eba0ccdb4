"""Parameters in one file: an `.npz` archive, whose checksums notice a flipped bit, with a manifest, and never a pickle.

The archive holds `manifest` (JSON: format, what it was trained for, path, shape and type of every leaf) and `leaf_0, ...`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rljax.runs import folder

FORMAT = "rljax-parameters-1"


class BadCheckpoint(ValueError):
    """The file is not a whole checkpoint of ours, or not one for these parameters."""


def save(path: str | Path, params: Any, about: Mapping[str, Any] | None = None) -> Path:
    """Write `params`, a pytree of arrays, with `about`, a dict of plain values, whole or not at all.

    Errors:
      ValueError: a leaf is not an array of numbers or truth values.
    """
    leaves = []
    for place, leaf in jax.tree_util.tree_leaves_with_path(params):
        name, leaf = jax.tree_util.keystr(place), leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        if getattr(leaf.dtype, "kind", "") not in tuple("biuf"):
            raise ValueError(
                f"{name or 'the leaf'} has type {leaf.dtype}; expected numbers. Save arrays of numbers only."
            )
        leaves.append((name, np.asarray(leaf)))
    manifest = {
        "format": FORMAT,
        "about": dict(about or {}),
        "leaves": [{"path": place, "shape": leaf.shape, "dtype": leaf.dtype.str} for place, leaf in leaves],
    }
    arrays: dict[str, Any] = {f"leaf_{i}": leaf for i, (_, leaf) in enumerate(leaves)}
    text = np.frombuffer(json.dumps(manifest).encode(), np.uint8)
    return folder.write_atomically(path, lambda file: np.savez(file, manifest=text, **arrays))


def about(path: str | Path) -> dict[str, Any]:
    """What was said when the file was saved."""
    return _read(Path(path))[0]["about"]


def load(path: str | Path, like: Any) -> Any:
    """The parameters in the file, for a network whose parameters look like `like`.

    Args:
      path: of the file.
      like: a pytree of arrays or `jax.ShapeDtypeStruct`s: `jax.eval_shape(network.init, jax.random.key(0))`.

    Errors:
      BadCheckpoint: no such file, truncated, damaged or foreign, or other leaves, shapes or types than `like`; says which.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as parent:
      ...     _ = save(f"{parent}/p.npz", {"w": np.ones(2, np.float32)})
      ...     load(f"{parent}/p.npz", {"w": np.zeros(2, np.float32)})["w"].tolist()
      [1.0, 1.0]
    """
    path = Path(path)
    manifest, arrays = _read(path)
    wanted = jax.tree_util.tree_leaves_with_path(like)
    saved = {leaf["path"]: array for leaf, array in zip(manifest["leaves"], arrays, strict=True)}
    if missing := [key for key, _ in ((jax.tree_util.keystr(place), 0) for place, _ in wanted) if key not in saved]:
        raise BadCheckpoint(
            f"{path} has no {missing[0]}; it holds {', '.join(saved) or 'nothing'}. Is it of another network?"
        )
    leaves = []
    for place, leaf in wanted:
        key = jax.tree_util.keystr(place)
        array = saved.pop(key)
        if array.shape != tuple(leaf.shape) or array.dtype != leaf.dtype:
            raise BadCheckpoint(
                f"{path} holds {key} as {array.dtype}{list(array.shape)}; this network expects "
                f"{leaf.dtype}{list(leaf.shape)}. Load it with the network that it was trained with."
            )
        leaves.append(array)
    if saved:
        raise BadCheckpoint(
            f"{path} also holds {', '.join(saved)}, which this network lacks. Is it of another network?"
        )
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    if not path.is_file():
        raise BadCheckpoint(f"{path} is not there; expected a file that rljax.runs.checkpoint.save wrote.")
    try:
        if not zipfile.is_zipfile(path):  # of which NumPy would say that it may be a pickle
            raise ValueError("it is no archive")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            # NumPy stops reading where an array ends, and so before the checksum if the archive says that more follows.
            if (damaged := archive.zip.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")
            manifest = json.loads(archive["manifest"].tobytes())
            known, about, leaves = manifest["format"] == FORMAT, manifest["about"], manifest["leaves"]
            arrays = [archive[f"leaf_{i}"] for i in range(len(leaves))] if known else []
        told = [(leaf["path"], leaf["shape"], leaf["dtype"]) for leaf in leaves] if known else []
        paths = [path for path, _, _ in told]
        sound = isinstance(about, dict) and all(isinstance(path, str) for path in paths)
        sound &= len(set(paths)) == len(paths) and [t[1:] for t in told] == [
            (list(a.shape), a.dtype.str) for a in arrays
        ]
    except Exception as error:  # of whatever kind: bytes from a stranger can upset zip, NumPy and JSON in many ways
        raise BadCheckpoint(
            f"{path} is not a whole file of rljax parameters ({type(error).__name__}: {error}). "
            "It may be truncated, damaged or of another program; train again, or take a copy."
        ) from error
    if not known:
        raise BadCheckpoint(f"{path} has format {manifest['format']!r}; this version reads {FORMAT!r}. Train again.")
    if not sound:
        raise BadCheckpoint(f"{path} does not hold what its manifest says. The file was altered; train again.")
    return manifest, arrays
