"""What `dqn` alone refuses, and what to do instead: memories that are too small, options that contradict each other. On the
host, before anything is compiled."""

from __future__ import annotations

from typing import Any

from rljax import checks, replay


def memory(memory: Any, block: int, unroll_steps: int, warmup: int, n: int, batch_size: int) -> None:
    """A `Replay` of whole blocks of `block` transitions that holds a batch, and windows of `n` steps by the first update."""
    if not isinstance(memory, replay.Replay):
        raise TypeError(f"memory is {memory!r}; expected a replay.Replay, such as replay.uniform(100_000).")
    if memory.capacity % block:
        raise ValueError(
            f"memory holds {memory.capacity} transitions and {block} are played at a time; expected a multiple. "
            f"Take a capacity of {-(-memory.capacity // block) * block}."
        )
    if batch_size > memory.capacity:
        raise ValueError(
            f"batch_size is {batch_size} and the memory holds {memory.capacity} transitions; expected at most that. "
            "Take a smaller batch or a larger capacity."
        )
    rows = memory.capacity // block * unroll_steps
    if n > rows:
        raise ValueError(
            f"n is {n} and the memory holds {rows} steps of each environment; expected n at most that. "
            "Take a smaller n or a larger capacity."
        )
    written = (-(-warmup // block) + 1) * unroll_steps  # the first step plays a block too
    if n > written:
        raise ValueError(
            f"n is {n} and the first update comes after {written} steps of each environment; expected n at most that. "
            f"Take a warmup of at least {(-(-n // unroll_steps) - 1) * block} transitions."
        )


def munchausen(temperature: Any, alpha: Any, clip: Any, double: bool, n: int) -> None:
    """Its numbers, and what it goes without."""
    checks.real("munchausen.temperature", temperature, 0, above=True, below=True)
    checks.real("munchausen.alpha", alpha, 0, 1)
    checks.real("munchausen.clip", clip, high=0)
    if double:
        raise ValueError("munchausen and double are given; expected one: a soft policy has no best action to choose.")
    if n > 1:
        raise ValueError(f"munchausen is given and n is {n}; expected n=1: its bonus is part of every single reward.")
