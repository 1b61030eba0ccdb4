"""Grid worlds and mazes: drawn as text, walked as a sparse MDP.

| symbol            | the cell                                        |
|-------------------|-------------------------------------------------|
| `#`               | wall: no state; so is what lies beyond the edge |
| `.`, `F`, a space | free                                            |
| `S`               | start (several: one of them, at random)         |
| `G`               | goal: pays 1, ends the episode                  |
| `H`               | hole: ends the episode                          |
| others            | free, if `rewards` or `terminal` name them      |

Actions are Gymnasium's: 0 left, 1 down, 2 right, 3 up. Who walks into a wall stays where they are. Everything is built on
the host with arrays, no loop runs over cells: a million cells take a few seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jax.typing import ArrayLike

from rljax import checks
from rljax.mdp.model import TabularMDP
from rljax.mdp.transitions import Sparse, floats, numpy_for, placed

FROZEN_LAKE_4X4 = "SFFF\nFHFH\nFFFH\nHFFG"
FROZEN_LAKE_8X8 = "SFFFFFFF\nFFFFFFFF\nFFFHFFFF\nFFFFFHFF\nFFFHFFFF\nFHHFFFHF\nFHFFHFHF\nFFFHFFFG"

_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # row, column; neighbours in this cycle are at right angles
_ARROWS = np.array(list("←↓→↑"))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the states of a grid world lie, in numpy: states are its cells without walls, row by row."""

    symbols: np.ndarray  # [H, W] of one character each
    state: np.ndarray  # [H, W] int32; -1 at walls
    cell: np.ndarray  # [S, 2] int32: row and column

    def image(self, values: ArrayLike, wall: Any = np.nan) -> np.ndarray:
        """[H, W, ...] of values [S, ...]: what `imshow` takes; walls hold `wall`.

        Example:
          >>> gridworld("S#G", gamma=0.9)[1].image([0.5, 1.0]).tolist()
          [[0.5, nan, 1.0]]
        """
        values = np.asarray(values)
        if values.shape[:1] != (len(self.cell),):
            raise ValueError(f"values has shape {values.shape}; expected [{len(self.cell)}, ...], one for each state.")
        image = np.full((*self.state.shape, *values.shape[1:]), wall, np.result_type(values, type(wall)))
        image[tuple(self.cell.T)] = values
        return image

    def text(self, policy: ArrayLike | None = None) -> str:
        """The drawing; with actions [S], an arrow in each cell that says nothing else.

        Example:
          >>> print(gridworld(["S..#", ".#.G"], gamma=0.9)[1].text([2, 2, 1, 3, 2, 0]))
          S→↓#
          ↑#→G
        """
        symbols = self.symbols
        if policy is not None:
            policy = np.asarray(policy)
            if policy.dtype.kind != "i" or not ((policy >= 0) & (policy < 4)).all():
                raise ValueError(f"policy is {policy}; expected actions 0 ... 3, whole numbers.")
            symbols = np.where(np.isin(symbols, list(". F")), _ARROWS[self.image(policy, 0)], symbols)
        return "\n".join(map("".join, symbols))


def gridworld(
    text: str | Sequence[str],
    *,
    gamma: ArrayLike,
    slip: ArrayLike = 0.0,
    step_reward: ArrayLike = 0.0,
    rewards: Mapping[str, ArrayLike] | None = None,
    terminal: str = "GH",
) -> tuple[TabularMDP, Layout]:
    """The world of a drawing.

        P(a step as meant) = 1 - slip,    P(to the left of it) = P(to the right of it) = slip / 2
        r(s, a, s')        = step_reward + rewards[symbol of s']

    Args:
      text: lines of equal length, or the lines as strings; symbols as above.
      gamma: discount.
      slip: probability of going astray; 2/3 is Gymnasium's slippery ice. May be traced.
      step_reward: for every step; negative to make haste. May be traced.
      rewards: for coming to (or staying in) a cell, by its symbol; adds to and overrides {"G": 1}. May be traced.
      terminal: symbols of the cells that end the episode.

    Returns:
      The MDP, `Sparse` with 1 successor (slip = 0) or 3, and its `Layout`.

    Errors:
      ValueError: lines of different lengths, a symbol that nothing explains, no free cell, slip outside of [0, 1].

    Example:
      >>> mdp, layout = gridworld(FROZEN_LAKE_4X4, slip=2 / 3, gamma=0.99)
      >>> mdp.num_states, layout.cell[15].tolist(), layout.state[3].tolist()
      (16, [3, 3], [12, 13, 14, 15])
    """
    checks.real("slip", slip, 0, 1)
    checks.real("step_reward", step_reward, above=True, below=True)
    if unknown := [
        symbol for symbol in (*(rewards or {}), *terminal) if not (isinstance(symbol, str) and len(symbol) == 1)
    ]:
        raise ValueError(
            f"{unknown[0]!r} is given a reward or an end; expected symbols of the text, one character each."
        )
    for symbol, reward in (rewards or {}).items():
        checks.real(f"rewards[{symbol!r}]", reward, above=True, below=True)
    rewards = {"G": 1.0, **(rewards or {})}
    symbols = _parse(text, {*".F SG#", *rewards, *terminal})
    if "#" in {*rewards, *terminal}:
        raise ValueError(
            "'#' is given a reward or an end; expected neither: nobody comes to a wall. Draw another symbol."
        )
    free = symbols != "#"
    cell = np.argwhere(free).astype(np.int32)
    state = np.full(symbols.shape, -1, np.int32)
    state[free] = np.arange(len(cell), dtype=np.int32)
    symbol = symbols[free]
    ends = np.isin(symbol, list(terminal))

    here = np.arange(len(cell), dtype=np.int32)
    beyond = np.pad(state, 1, constant_values=-1)
    there = [beyond[1 + i : beyond.shape[0] - 1 + i, 1 + j : beyond.shape[1] - 1 + j][free] for i, j in _MOVES]
    target = np.stack([np.where((to < 0) | ends, here, to) for to in there])  # [A, S]
    xp = numpy_for(slip, step_reward, *rewards.values())
    if not isinstance(slip, jax.core.Tracer) and not np.any(slip):
        successor, probability = target[None], np.ones((1, *target.shape))
    else:
        successor, probability = _astray(target, xp.asarray(slip, float), xp)
    pays = xp.zeros(len(cell))
    for name, reward in rewards.items():
        pays = xp.where(symbol == name, xp.asarray(reward, float), pays)
    pays = xp.where(ends[:, None, None], 0.0, xp.asarray(step_reward, float) + pays[successor.T])
    start = symbol == "S"
    mdp = TabularMDP(
        Sparse(placed(successor), floats("probability", probability)),
        floats("reward", pays),
        gamma=gamma,
        terminal=ends,
        initial=floats("initial", start / start.sum()) if start.any() else None,
    )
    return mdp, Layout(symbols, state, cell)


def maze(seed: int, height: int, width: int, *, loops: float = 0.0) -> str:
    """A random maze as text, from `S` in one corner to `G` in the other: the minimum spanning tree of random weights.

    Every free cell can be reached from every other; without loops, in one way.

    Args:
      seed: of numpy's generator.
      height, width: in cells, walls included; odd, at least 3, since rooms and walls alternate.
      loops: share of the walls between rooms that are taken down for no need.

    Errors:
      ValueError: even or smaller sizes, sizes of a single room, loops outside of [0, 1].

    Example:
      >>> maze(0, 5, 9).count("#")  # of 45: 8 rooms are free, and the 7 doors of a tree
      30
    """
    from scipy import sparse  # JAX itself needs it

    checks.seed(seed)
    checks.real("loops", loops, 0, 1)
    for name, size in (("height", height), ("width", width)):
        checks.integer(name, size, 3)
        if size % 2 == 0:
            raise ValueError(f"{name} is {size}; expected an odd number: rooms and walls alternate. Take {size + 1}.")
    if height == width == 3:
        raise ValueError("height and width are 3; expected one of at least 5: start and goal take a room each.")
    rng = np.random.default_rng(seed)
    room = np.arange((height // 2) * (width // 2)).reshape(height // 2, width // 2)
    one = np.concatenate([room[:, :-1].ravel(), room[:-1].ravel()])  # the rooms at both sides of each wall
    other = np.concatenate([room[:, 1:].ravel(), room[1:].ravel()])
    weight = 1.0 + rng.random(len(one))  # of a wall; a weight of 0 would be no wall
    graph = sparse.coo_array((weight, (one, other)), (room.size, room.size))
    tree = sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    more = rng.random(len(one)) < loops
    one, other = np.append(tree.row, one[more]), np.append(tree.col, other[more])
    row = lambda room: 2 * (room // (width // 2)) + 1
    column = lambda room: 2 * (room % (width // 2)) + 1
    symbols = np.full((height, width + 1), "#")
    symbols[1::2, 1:-1:2] = "."
    symbols[(row(one) + row(other)) // 2, (column(one) + column(other)) // 2] = "."
    symbols[1, 1], symbols[-2, -3], symbols[:, -1] = "S", "G", "\n"
    return "".join(symbols.ravel()[:-1])


def _astray(target: np.ndarray, slip: Any, xp: Any) -> tuple[np.ndarray, Any]:
    """Successors [3, A, S] and their probabilities, by `xp`: left of the intended way, the way, right of it; where two lead
    to one state, it is named once."""
    left, right = np.roll(target, 1, axis=0), np.roll(target, -1, axis=0)
    side = slip / 2.0
    probability = [
        xp.where(left == target, 0.0, xp.where(left == right, slip, side)),
        1.0 - slip + side * xp.asarray(left == target, float) + side * xp.asarray(right == target, float),
        xp.where((right == target) | (right == left), 0.0, side),
    ]
    return np.stack([left, target, right]), xp.stack(probability)


def _parse(text: str | Sequence[str], known: set[str]) -> np.ndarray:
    """[H, W] of single characters."""
    if not (isinstance(text, Sequence) and all(isinstance(line, str) for line in text)):
        raise TypeError(f"the drawing is {text!r}; expected a text, or a list of its lines.")
    lines = text.strip("\n").split("\n") if isinstance(text, str) else list(text)
    if not lines:
        raise ValueError("the drawing has no lines; expected at least one.")
    width = len(lines[0])
    for i, line in enumerate(lines):
        if len(line) != width or width == 0:
            raise ValueError(
                f"line {i} of the drawing has {len(line)} symbols, line 0 has {width}; expected equal lengths above 0. "
                "Fill up with '#' or '.'."
            )
    symbols = np.array(lines).view("<U1").reshape(len(lines), width)
    strange = ~np.isin(symbols, list(known))
    if strange.any():
        i, j = np.argwhere(strange)[0]
        raise ValueError(
            f"row {i}, column {j}: the symbol is {str(symbols[i, j])!r}; expected one of {' '.join(sorted(known))}. "
            "Name others in rewards or terminal."
        )
    if (symbols == "#").all():
        raise ValueError("the drawing has walls only; expected a free cell: one of . F S G H or a space.")
    return symbols
