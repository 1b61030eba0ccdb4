"""Memory, counted before it is taken: what a compiled program needs, and what there is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import jax


def needed(*programs: Any) -> int:
    """Bytes of compiled programs of which one runs at a time: arguments, results and all that is between, of the largest."""
    sizes = [0]
    for program in programs:
        stats = program.memory_analysis()
        if stats is not None:  # not every backend tells
            taken = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
            sizes.append(taken - stats.alias_size_in_bytes)
    return max(sizes)


def held(arrays: Any) -> int:
    """Bytes of a tree of arrays or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays))


def available(device: Any = None) -> int | None:
    """Bytes that are free on a device, where it or the operating system tells; on a CPU also under a container's limit."""
    stats = (device or jax.devices()[0]).memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    free = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free.append(int(lines["MemAvailable"].split()[0]) * 1024)
    left = left_in_container(Path("/sys/fs/cgroup"))
    return min([*free, *([] if left is None else [left])], default=None)


def left_in_container(group: Path) -> int | None:
    """Bytes below the limit of a control group, where it has one; files that are only kept at hand count as free."""
    limit, used, stat = (group / f"memory.{name}" for name in ("max", "current", "stat"))
    if not (limit.exists() and used.exists() and stat.exists()) or limit.read_text().strip() == "max":
        return None
    kept = dict(line.split() for line in stat.read_text().splitlines()).get("inactive_file", "0")
    return int(limit.read_text()) - int(used.read_text()) + int(kept)


def refuse(bytes_needed: int, members: int, bytes_free: int | None) -> None:
    """A program that will not fit is not begun.

    Errors:
      ValueError: with how many members would fit, and what to make smaller if none does.
    """
    if bytes_free is not None and bytes_needed > bytes_free:
        fit = members * bytes_free // bytes_needed
        fewer = f"About {fit} would: take fewer at once (sweep does, with places={fit})"
        smaller = "Not even one would: take a smaller network"
        raise ValueError(
            f"{members} members side by side need {bytes_needed / 2**30:.3g} GiB and {bytes_free / 2**30:.3g} GiB are free; "
            f"expected a run that fits. {fewer if fit else smaller}, a smaller replay memory, or a smaller chunk."
        )
