"""Gymnasium's spaces as learners want them: observations as rows of float32, actions as numbers from zero.

| observation space   | numbers in the row                                                      |
|---------------------|-------------------------------------------------------------------------|
| Box, MultiBinary    | its elements, in C order                                                |
| Discrete            | one-hot: 1 at `value - start`                                           |
| MultiDiscrete       | one-hot, one after the other                                            |
| Dict, Tuple         | those of its parts, one after the other, in the order of the space      |

That is the order of `gymnasium.spaces.flatten`; here whole batches are flattened, without a loop over their rows.

| action space                    | numbered actions                                                         |
|---------------------------------|--------------------------------------------------------------------------|
| Discrete                        | `start + a`                                                              |
| MultiDiscrete, MultiBinary      | mixed radix, the last component fastest; at most `MAX_ACTIONS` in all    |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from rljax import checks

MAX_ACTIONS = 1024  # a learner has an output for each


class HostSpace(NamedTuple):
    """Observations of N environments as N rows of D numbers."""

    size: int  # D
    flatten: Callable[
        [Any], np.ndarray
    ]  # what N environments (or one) returned -> [N, D] float32, in memory of its own
    names: tuple[str, ...]  # [D] what each number is


class HostActions(NamedTuple):
    """The actions of an environment, numbered."""

    number: int  # A
    decode: Callable[
        [Any], Any
    ]  # [N] integers in 0 ... A - 1, others are refused -> what the environment's `step` takes


class Leaf(NamedTuple):
    """A space that has no parts, and where in an observation it is."""

    name: str  # "observation", "observation['camera']", "observation[1]['speed']"
    path: tuple[Any, ...]  # keys and indices on the way
    space: spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def leaves(space: Any, name: str = "observation", path: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    """The parts of a space of observations, in order.

    Errors:
      TypeError: a part is of another kind: its values have no fixed number of numbers.

    Example:
      >>> space = spaces.Dict({"speed": spaces.Box(-1, 1, (2,)), "gears": spaces.Tuple([spaces.Discrete(5)])})
      >>> [leaf.name for leaf in leaves(space)]
      ["observation['gears'][0]", "observation['speed']"]
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for key, part in parts:
            yield from leaves(part, f"{name}[{key!r}]", (*path, key))
    elif isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        yield Leaf(name, path, space)
    else:
        raise TypeError(
            f"the space of {name} is {space!r}; expected Box, Discrete, MultiDiscrete, MultiBinary, or Dict and Tuple of "
            "these. Make numbers of it: gymnasium.wrappers.TransformObservation."
        )


def observations(space: Any, num_envs: int = 1) -> HostSpace:
    """How observations of `num_envs` environments become rows.

    Args:
      space: of one environment.
      num_envs: N.

    Returns:
      `HostSpace`; its `flatten` takes what a vector environment of N returns and, for N = 1, what a single one does.
      That the values lie in the space is not checked here: see `rljax.envs.guard`.

    Errors:
      TypeError: a space without a fixed number of numbers (Text, Graph, Sequence, OneOf), or none at all.
      ValueError: a space without numbers.

    Example:
      >>> space = spaces.Dict({"at": spaces.Box(-9, 9, (2,)), "gear": spaces.Discrete(2, start=1)})
      >>> row = observations(space)
      >>> row.size, row.names
      (4, ("observation['at'][0]", "observation['at'][1]", "observation['gear'] is 1", "observation['gear'] is 2"))
      >>> row.flatten({"at": np.array([5.0, 6.0], np.float32), "gear": 2})
      array([[5., 6., 0., 1.]], dtype=float32)
    """
    checks.integer("num_envs", num_envs, 1)
    parts = [(leaf.path, *_columns(leaf)) for leaf in leaves(space)]
    names = tuple(name for _, _, these in parts for name in these)
    size = len(names)
    if not size:
        raise ValueError(f"the observation space {space!r} holds no numbers; expected at least one.")
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return HostSpace(size, lambda value: np.array(value, np.float32).reshape(num_envs, size), names)

    def flatten(value: Any) -> np.ndarray:
        rows, end = np.zeros((num_envs, size), np.float32), 0
        for path, write, these in parts:
            part, begin = value, end
            for key in path:
                part = part[key]
            end = begin + len(these)
            write(rows[:, begin:end], part)
        return rows

    return HostSpace(size, flatten, names)


def actions(space: Any, num_envs: int | None = None) -> HostActions:
    """The actions of one environment, or of each of `num_envs`, as numbers.

    Args:
      space: of one environment.
      num_envs: N of a vector environment, or None for a single one, which takes its action without an axis for N.

    Returns:
      `HostActions`.

    Errors:
      TypeError: a space that cannot be numbered.
      ValueError: more than `MAX_ACTIONS` combinations.

    Example:
      >>> actions(spaces.Discrete(3, start=-1)).decode(np.array([0]))
      -1
      >>> keyboard = actions(spaces.MultiDiscrete([2, 3]), num_envs=2)
      >>> keyboard.number, keyboard.decode(np.array([1, 5])).tolist()
      (6, [[0, 1], [1, 2]])
      >>> actions(spaces.Box(-2, 2, (1,)))
      Traceback (most recent call last):
      TypeError: the action space is Box(-2.0, 2.0, (1,), float32); expected Discrete, MultiDiscrete or MultiBinary: this \
learner chooses among numbered actions. Take a few of its values: gymnasium.wrappers.DiscretizeAction.
    """
    if isinstance(space, spaces.Discrete):
        counts, start = np.asarray(space.n), np.asarray(space.start)
    elif isinstance(space, spaces.MultiDiscrete):
        counts, start = space.nvec, space.start
    elif isinstance(space, spaces.MultiBinary):
        counts, start = np.full(space.shape, 2), np.zeros(space.shape, int)
    else:
        raise TypeError(
            f"the action space is {space!r}; expected Discrete, MultiDiscrete or MultiBinary: this learner chooses among "
            "numbered actions. Take a few of its values: gymnasium.wrappers.DiscretizeAction."
        )
    number = math.prod(counts.ravel().tolist())
    if number > MAX_ACTIONS:
        raise ValueError(
            f"the action space {space!r} has {number} combinations; expected at most {MAX_ACTIONS}: a learner has an output "
            "for each. Leave out what is not needed: gymnasium.wrappers.TransformAction."
        )
    digits = np.stack(np.unravel_index(np.arange(number), counts.ravel().tolist()), axis=-1)
    table = (digits.reshape(number, *counts.shape) + start).astype(space.dtype)  # [A, ...]
    if num_envs is not None:
        checks.integer("num_envs", num_envs, 1)
        return HostActions(number, lambda action: table[_inside(np.asarray(action), number)])
    if isinstance(space, spaces.Discrete):
        return HostActions(number, lambda action: table[_inside(np.asarray(action), number).item()].item())
    return HostActions(number, lambda action: table[_inside(np.asarray(action), number).item()].copy())


def _inside(action: np.ndarray, number: int) -> np.ndarray:
    if action.dtype.kind not in "iu" or (action.astype(np.uint64) >= number).any():  # a number below zero becomes huge
        raise ValueError(f"the actions are {action.tolist()}; expected whole numbers in [0, {number - 1}].")
    return action


def row(value: Any, index: int) -> Any:
    """What environment `index` observed, of what a vector of them did: a list of theirs (an array of objects), or a batch.

    Example:
      >>> row({"speed": np.array([[1.0], [2.0]])}, 1)
      {'speed': array([2.])}
    """
    if isinstance(value, dict):
        return {key: row(part, index) for key, part in value.items()}
    return tuple(row(part, index) for part in value) if isinstance(value, tuple) else value[index]


def _columns(leaf: Leaf) -> tuple[Callable[[np.ndarray, Any], None], list[str]]:
    """What writes a part of observations into its columns [N, W], zeros before, and the names of these."""
    space, name = leaf.space, leaf.name
    if isinstance(space, spaces.Box | spaces.MultiBinary):

        def copy(columns: np.ndarray, value: Any) -> None:
            columns[...] = np.reshape(value, columns.shape)

        return copy, [f"{name}{list(index) or ''}" for index in np.ndindex(space.shape)]
    counts, start = (
        (np.atleast_1d(space.n), np.atleast_1d(space.start))
        if isinstance(space, spaces.Discrete)
        else (space.nvec.ravel(), space.start.ravel())
    )
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]) - start  # the column of each component's zero

    def one_hot(columns: np.ndarray, value: Any) -> None:
        chosen = np.reshape(value, (len(columns), len(counts))) + first
        columns[np.arange(len(columns))[:, None], chosen] = 1.0

    labels = [f"{name}{list(index) or ''}" for index in np.ndindex(space.shape or ())]
    return one_hot, [
        f"{label} is {low + value}"
        for label, count, low in zip(labels, counts, start, strict=True)
        for value in range(count)
    ]
