"""Playing on the host: whole episodes, and transitions written into arrays as learners take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rljax import checks
from rljax.envs.host import HostEnvironment, HostStep
from rljax.structs import Transition


class Places(NamedTuple):
    """Transitions that count: of these environments, in their so-many-th episode, its so-many-th step."""

    lanes: np.ndarray
    episode: np.ndarray
    time: np.ndarray


def episodes(
    env: HostEnvironment,
    choose: Callable[[int, np.ndarray], np.ndarray],
    number: int,
    *,
    seed: int | None = None,
    on_step: Callable[[Places, np.ndarray, np.ndarray, HostStep], None] | None = None,
) -> np.ndarray:
    """Returns of whole episodes, as many in each environment: whoever took the first to end would take the short ones.

    Args:
      env: the environments; they are reset before.
      choose: (t, observations [N, D]) -> actions [N].
      number: of episodes, rounded up to a multiple of N.
      seed: of the reset; None goes on with the random numbers that they have.
      on_step: is shown (places, observations, actions, `HostStep`): which environments' transitions count, and where.

    Returns:
      [E] sums of rewards.

    Errors:
      ValueError: no episodes.
    """
    checks.integer("number", number, 1)
    each = -(-number // env.num_envs)
    played, length, total = (np.zeros(env.num_envs, kind) for kind in (int, int, float))
    returns = np.zeros((each, env.num_envs))
    observation, t = env.reset(seed), 0
    while (played < each).any():
        action = choose(t, observation)
        step = env.step(action)
        lanes = np.flatnonzero(step.valid & (played < each))
        if on_step:
            on_step(Places(lanes, played[lanes], length[lanes]), observation, action, step)
        total[lanes] += step.reward[lanes]
        length[lanes] += 1
        ends = lanes[(step.terminated | step.truncated)[lanes]]
        returns[played[ends], ends] = total[ends]
        played[ends] += 1
        total[ends], length[ends] = 0.0, 0
        observation, t = step.observation, t + 1
    return returns.ravel()


def blank(size: int, shape: tuple[int, ...], whole: bool) -> Transition:
    """Room for transitions of environments that have no states here."""
    observation = lambda: np.zeros((*shape, size), np.float32)
    flag = lambda: np.zeros(shape, bool)
    action, reward = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    leaves: tuple[Any, ...] = (
        observation(),
        action,
        reward,
        observation(),
        flag(),
        flag(),
        flag() if whole else (),
        (),
        (),
    )
    return Transition(*leaves)


def record(
    played: Transition,
    rows: np.ndarray,
    columns: np.ndarray,
    lanes: np.ndarray,
    observation: np.ndarray,
    action: np.ndarray,
    step: HostStep,
) -> None:
    """Write the transitions of the environments `lanes` where they belong."""
    played.observation[rows, columns] = observation[lanes]
    played.action[rows, columns] = action[lanes]
    played.reward[rows, columns] = step.reward[lanes]
    played.next_observation[rows, columns] = step.successor[lanes]
    played.terminated[rows, columns] = step.terminated[lanes]
    played.truncated[rows, columns] = step.truncated[lanes]
