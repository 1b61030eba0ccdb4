"""The planning benchmark's problems in plain NumPy, made alike for us and for the peers' interpreter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Problem(NamedTuple):
    """Successor lists, or (`successor` None) all probabilities; `stop` marks states that only lead to themselves for 0."""

    successor: np.ndarray | None  # [S, A, B]
    probability: np.ndarray  # [S, A, B] or [S, A, S]
    reward: np.ndarray  # [S, A]
    stop: np.ndarray  # [S] bool
    gamma: float = 0.99


def make(name: str, seed: int) -> Problem:
    """One of `PROBLEMS`."""
    return PROBLEMS[name](np.random.default_rng(seed))


def dense(rng: np.random.Generator, states: int, actions: int) -> Problem:
    """Every state may follow, few are likely: mixes in a handful of steps."""
    probability = rng.random((states, actions, states)) ** 4
    return _problem(None, probability, rng.normal(size=(states, actions)))


def local(rng: np.random.Generator, states: int, actions: int, reach: int = 3) -> Problem:
    """A line on which one moves `reach` states at most, stored with all its zeros: mixes slowly."""
    probability = np.zeros((states, actions, states))
    state, action = np.arange(states)[:, None], np.arange(actions)[None]
    for k in range(-reach, reach + 1):
        successor = np.clip(state + k, 0, states - 1)
        np.add.at(probability, (state, action, successor), rng.random((states, actions)))
    return _problem(None, probability, rng.normal(size=(states, actions)))


def lists(problem: Problem) -> Problem:
    """The same without its zeros."""
    keep = problem.probability > 0
    successor = np.argsort(~keep, axis=2, kind="stable")[:, :, : keep.sum(axis=2).max()]
    return problem._replace(successor=successor, probability=np.take_along_axis(problem.probability, successor, axis=2))


def garnet(rng: np.random.Generator, states: int, actions: int, branching: int) -> Problem:
    """Random successors (Archibald et al., 1995)."""
    successor = np.sort(rng.integers(0, states, (states, actions, branching)), axis=2)
    while (twice := (np.diff(successor, axis=2) == 0).any(axis=2)).any():
        successor[twice] = np.sort(rng.integers(0, states, (twice.sum(), branching)), axis=1)
    probability = rng.dirichlet(np.ones(branching), size=(states, actions))
    return _problem(successor, probability, rng.normal(size=(states, actions)))


def maze(rng: np.random.Generator, side: int, wall_share: float = 0.2) -> Problem:
    """A square with random walls, goal in the middle; a step costs 1 and goes astray sideways one time in five."""
    wall = rng.random((side, side)) < wall_share
    wall[side // 2, side // 2] = False
    goal = (side // 2) * side + side // 2
    wall = ~_reached(~wall, (side // 2, side // 2))
    return _grid(wall, np.array([goal]), lambda successor: np.full(successor.shape, -1.0), (0.8, 0.1, 0.1))


def _reached(free: np.ndarray, goal: tuple[int, int]) -> np.ndarray:
    """The free cells from which the goal can be reached: cells walled in are walls."""
    reached = np.zeros_like(free)
    reached[goal] = True
    while True:
        more = reached.copy()
        more[1:] |= reached[:-1]
        more[:-1] |= reached[1:]
        more[:, 1:] |= reached[:, :-1]
        more[:, :-1] |= reached[:, 1:]
        more &= free
        if (more == reached).all():
            return reached
        reached = more


def frozen_lake(_: np.random.Generator) -> Problem:
    """Gymnasium's 8 x 8 map: every direction but backwards is equally likely; 1 for reaching the goal."""
    rows = "SFFFFFFF FFFFFFFF FFFHFFFF FFFFFHFF FFFHFFFF FHHFFFHF FHFFHFHF FFFHFFFG".split()
    cells = np.array([list(row) for row in rows])
    ends = np.flatnonzero(np.isin(cells.ravel(), ["H", "G"]))
    return _grid(np.zeros(cells.shape, bool), ends, lambda successor: (successor == 63).astype(float), (1 / 3,) * 3)


def _grid(wall: np.ndarray, ends: np.ndarray, reward: object, chances: tuple[float, ...]) -> Problem:
    height, width = wall.shape
    y, x = np.divmod(np.arange(height * width), width)
    steps = [(0, -1), (1, 0), (0, 1), (-1, 0)]
    neighbours = []
    for dy, dx in steps:
        to_y, to_x = y + dy, x + dx
        inside = (to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width)
        target = np.where(inside, to_y, y) * width + np.where(inside, to_x, x)
        neighbours.append(np.where(wall.ravel()[target], y * width + x, target))
    around = np.stack(neighbours, axis=1)  # [S, 4]
    successor = np.stack([around, np.roll(around, 1, axis=1), np.roll(around, -1, axis=1)], axis=2)
    probability = np.broadcast_to(np.array(chances), successor.shape).copy()
    # A place named twice is added up into its first mention; the other is left without probability.
    for b in range(1, 3):
        for c in range(b):
            same = (successor[:, :, b] == successor[:, :, c]) & (probability[:, :, b] > 0)
            probability[:, :, c] += np.where(same, probability[:, :, b], 0)
            probability[:, :, b] = np.where(same, 0, probability[:, :, b])
    expected = (probability * reward(successor)).sum(axis=2)  # pyright: ignore[reportCallIssue]
    stop = wall.ravel().copy()
    stop[ends] = True
    successor[stop], probability[stop], expected[stop] = np.flatnonzero(stop)[:, None, None], [1.0, 0.0, 0.0], 0.0
    return Problem(successor, probability, expected, stop)


def _problem(successor: np.ndarray | None, probability: np.ndarray, reward: np.ndarray) -> Problem:
    probability = probability / probability.sum(axis=2, keepdims=True)
    return Problem(successor, probability, reward, np.zeros(len(reward), bool))


PROBLEMS = {
    "dense 100 x 4": lambda rng: dense(rng, 100, 4),
    "dense 1000 x 10": lambda rng: dense(rng, 1000, 10),
    "dense 3000 x 4": lambda rng: dense(rng, 3000, 4),
    "local 1000 x 10": lambda rng: local(rng, 1000, 10),
    "local 1000 x 10, lists": lambda rng: lists(local(rng, 1000, 10)),
    "Garnet 1e5 x 4 x 5": lambda rng: garnet(rng, 100_000, 4, 5),
    "Garnet 1e6 x 4 x 5": lambda rng: garnet(rng, 1_000_000, 4, 5),
    "FrozenLake 8 x 8": frozen_lake,
    "20 states": lambda rng: dense(rng, 20, 4),
    "maze 1e5": lambda rng: maze(rng, 316),
    "maze 1e6": lambda rng: maze(rng, 1000),
}
