"""What `dqn` refuses, and what to do instead: memories that are too small, options that contradict each other, networks that
do not fit. On the host, before anything is compiled."""

from __future__ import annotations

from typing import Any

import jax

from rljax import checks, replay
from rljax.envs.base import Environment
from rljax.networks import Network


def memory(memory: Any, block: int, unroll_steps: int, warmup: int, n: int) -> None:
    """A `Replay` that holds whole blocks of `block` transitions and windows of `n` steps, some before the first update."""
    if not isinstance(memory, replay.Replay):
        raise TypeError(f"memory is {memory!r}; expected a replay.Replay, such as replay.uniform(100_000).")
    if memory.capacity % block:
        raise ValueError(
            f"memory holds {memory.capacity} transitions and {block} are played at a time; expected a multiple. "
            f"Take a capacity of {-(-memory.capacity // block) * block}."
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


def fit(env: Environment, network: Network, atoms: tuple[int, ...]) -> int:
    """The number of actions of `env`, if the network's output is [actions, *atoms]. Traced: nothing is computed."""
    actions = getattr(env.action_space, "n", None)
    if actions is None:
        raise ValueError(
            f"the actions of the task are {env.action_space}; expected a Discrete space: Q-learning compares all actions."
        )
    key = jax.random.key(0)
    params, observation = jax.eval_shape(network.init, key), jax.eval_shape(lambda key: env.reset(key)[1], key)
    output = jax.eval_shape(network.apply, params, observation)
    expected = (int(actions), *atoms)
    if getattr(output, "shape", None) != expected:
        raise ValueError(
            f"the network's output has shape {getattr(output, 'shape', output)}; expected {expected}: one entry for each "
            "action, and as many numbers in each as the head has atoms. Take networks.q_network with such sizes."
        )
    return int(actions)
