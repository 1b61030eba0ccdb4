"""What `dqn` refuses, and what to do instead: memories that are too small, options that contradict each other, networks that
do not fit. On the host, before anything is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rljax import checks, replay
from rljax.envs.base import Environment
from rljax.networks import Network


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


def epsilon(epsilon: Any) -> None:
    """A share of random actions, or a schedule of it. Traced: nothing is computed."""
    if not callable(epsilon):
        checks.real("epsilon", epsilon, 0, 1)
        return
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix integers and floats
        share = jax.eval_shape(epsilon, jax.ShapeDtypeStruct((), jnp.int32))
    if getattr(share, "shape", None) != ():
        raise ValueError(
            f"epsilon(steps) is {share}; expected a number, []. Take one of optax's schedules, such as "
            "optax.linear_schedule(1.0, 0.05, 10_000)."
        )


def transform(optimiser: Any, learning_rate: Any) -> optax.GradientTransformation:
    """What `optimiser` makes of the learning rate."""
    checks.real("learning_rate", learning_rate, 0, above=True, below=True)
    checks.function("optimiser", optimiser, "optax.adam (not optax.adam(0.01): the learning rate is given apart)")
    made = optimiser(learning_rate)
    checks.functions("optimiser(learning_rate)", made, *optax.GradientTransformation._fields)
    return made


def discrete(env: Environment) -> int:
    """The number of actions of `env`."""
    space = getattr(env, "action_space", None)
    actions = getattr(space, "n", None)
    if actions is None:
        raise ValueError(
            f"the actions of the task are {space}; expected a Discrete space: Q-learning compares all actions."
        )
    return int(actions)


def mask(available: Callable[[Any], Any] | None, observation: Any, actions: int) -> None:
    """A function from an observation to which actions are available, or None. Traced: nothing is computed."""
    if available is None:
        return
    checks.function("available", available, "TabularEnv(...).available")
    given = jax.eval_shape(available, observation)
    if getattr(given, "shape", None) != (actions,) or given.dtype != bool:
        raise ValueError(
            f"available(observation) is {given}; expected bool[{actions}], True where an action may be taken."
        )


def fit(env: Environment, network: Network, atoms: tuple[int, ...], available: Callable[[Any], Any] | None) -> int:
    """The number of actions of `env`, if the network's output is [actions, *atoms]. Traced: nothing is computed."""
    actions = discrete(env)
    key = jax.random.key(0)
    params, observation = jax.eval_shape(network.init, key), jax.eval_shape(lambda key: env.reset(key)[1], key)
    output = jax.eval_shape(network.apply, params, observation)
    expected = (actions, *atoms)
    if getattr(output, "shape", None) != expected:
        raise ValueError(
            f"the network's output has shape {getattr(output, 'shape', output)}; expected {expected}: one entry for each "
            "action, and as many numbers in each as the head has atoms. Take networks.q_network with such sizes."
        )
    mask(available, observation, actions)
    return actions
