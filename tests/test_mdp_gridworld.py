"""Grid worlds: Gymnasium's lakes, the book's 4 x 3 world, a loop over cells as oracle, mazes that are trees."""

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.csgraph
from gymnasium.envs.toy_text import frozen_lake

from rljax.mdp.gridworld import FROZEN_LAKE_4X4, FROZEN_LAKE_8X8, gridworld, maze

pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")
MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))


def close(a, b):
    tolerance = 1e-13 if jax.config.jax_enable_x64 else 1e-6
    np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=tolerance, atol=tolerance)


@jax.jit
def parts(mdp):
    return mdp.transitions.matrix(), mdp.expected_reward.T, mdp.terminal


def tables(mdp):
    """P [S, A, S] and r(s, a) [S, A] in float64, nothing in terminal states."""
    return of_live(*parts(mdp))


def of_live(p, r, terminal):
    alive = ~np.asarray(terminal)[:, None]
    return np.asarray(p, np.float64) * alive[:, :, None], np.asarray(r, np.float64) * alive


def optimal_values(mdp, sweeps=2000):
    p, r = tables(mdp)
    v = np.zeros(mdp.num_states)
    for _ in range(sweeps):
        v = (r + float(mdp.gamma) * p @ v).max(axis=1)
    return v


def oracle(lines, slip, step_reward, rewards, terminal):
    """The definition, cell by cell."""
    cells = [(i, j) for i, line in enumerate(lines) for j, symbol in enumerate(line) if symbol != "#"]
    p, r = np.zeros((len(cells), 4, len(cells))), np.zeros((len(cells), 4))
    for s, (i, j) in enumerate(cells):
        if lines[i][j] in terminal:
            continue
        for a in range(4):
            for turn, probability in ((-1, slip / 2), (0, 1 - slip), (1, slip / 2)):
                move = MOVES[(a + turn) % 4]
                to = (i + move[0], j + move[1])
                t = cells.index(to) if to in cells else s
                p[s, a, t] += probability
                r[s, a] += probability * (step_reward + rewards.get(lines[cells[t][0]][cells[t][1]], 0.0))
    return p, r


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize(("size", "text"), [("4x4", FROZEN_LAKE_4X4), ("8x8", FROZEN_LAKE_8X8)])
def test_the_frozen_lake_is_gymnasiums(size, text, slippery):
    assert text.split("\n") == frozen_lake.MAPS[size]
    env = gymnasium.make("FrozenLake-v1", map_name=size, is_slippery=slippery).unwrapped
    mdp, layout = gridworld(text, slip=2 / 3 if slippery else 0.0, gamma=0.99)
    p, r = np.zeros((len(env.P), 4, len(env.P))), np.zeros((len(env.P), 4))
    ends = np.zeros(len(env.P), bool)
    for s, actions in env.P.items():
        for a, transitions in actions.items():
            for probability, t, reward, over in transitions:
                p[s, a, t] += probability
                r[s, a] += probability * reward
                ends[t] |= over
    assert (np.asarray(mdp.terminal) == ends).all()
    ours = tables(mdp)
    close(ours[0], p * ~ends[:, None, None])
    close(ours[1], r)
    close(mdp.initial, env.initial_state_distrib)
    assert mdp.transitions.fan_out == (3 if slippery else 1)
    assert (layout.state.ravel() == np.arange(len(env.P))).all()


def test_the_books_world_of_4_by_3():
    """Russell & Norvig, figure 17.3: -0.04 a step, 0.8 as meant, undiscounted."""
    with jax.enable_x64(True):
        mdp, layout = gridworld(
            "...G\n.#.P\nS...", slip=0.2, step_reward=-0.04, rewards={"P": -1.0}, terminal="GP", gamma=1 - 1e-9
        )
        found = layout.image(optimal_values(mdp), 9.0)
    expected = [[0.812, 0.868, 0.918, 0], [0.762, 9, 0.660, 0], [0.705, 0.655, 0.611, 0.388]]
    np.testing.assert_allclose(found, expected, atol=5.1e-4)


def test_drawings_and_states_belong_together():
    mdp, layout = gridworld("\nS.#\n#.G\n", gamma=0.9)
    assert layout.state.tolist() == [[0, 1, -1], [-1, 2, 3]]
    assert layout.cell.tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]]
    assert mdp.terminal.tolist() == [False, False, False, True]
    assert mdp.initial.tolist() == [1, 0, 0, 0]
    assert layout.text() == "S.#\n#.G"
    assert layout.text(jnp.array([2, 1, 2, 0])) == "S↓#\n#→G"
    np.testing.assert_array_equal(layout.image(jnp.arange(4.0)), [[0, 1, np.nan], [np.nan, 2, 3]])
    assert layout.image(np.arange(4), -1).tolist() == [[0, 1, -1], [-1, 2, 3]]
    assert layout.image(np.zeros((4, 4))).shape == (2, 3, 4)
    chex.assert_trees_all_equal(gridworld(["S.#", "#.G"], gamma=0.9)[0], mdp)


def test_starts_are_equally_likely_and_without_any_all_live_cells_are():
    close(gridworld("SS.SG", gamma=0.9)[0].initial, [1 / 3, 1 / 3, 0, 1 / 3, 0])
    close(gridworld("...G", gamma=0.9)[0].initial, [1 / 3, 1 / 3, 1 / 3, 0])


def test_a_cell_alone_is_a_world():
    mdp, _ = gridworld("S", slip=0.5, gamma=0.9, step_reward=-1.0)
    close(tables(mdp)[0], np.ones((1, 4, 1)))
    close(optimal_values(mdp), [-10])


# Oracle --------------------------------------------------------------------------------------------------------------

RULES = {"step_reward": -0.5, "rewards": {"G": 2.0, "c": 0.25, "P": -3.0}, "terminal": "GHP"}


def random_grid(seed):
    rng = np.random.default_rng(seed)
    shape = ((1, 7), (7, 1), (12, 14), (12, 14))[seed]
    grid = rng.choice(list("#####...FSGHcP "), shape)
    grid[tuple(rng.integers(shape))] = "."
    return list(map("".join, grid))


@in_both_precisions
@pytest.mark.parametrize("slip", [0.0, 0.3, 1.0])
def test_every_cell_moves_as_defined(slip):
    for seed in range(4):
        lines = random_grid(seed)
        made = jax.jit(lambda lines=lines: parts(gridworld(lines, slip=slip, gamma=0.9, **RULES)[0]))
        p, r = of_live(*made())
        expected = oracle(lines, slip, **RULES)
        close(p, expected[0])
        close(r, expected[1])


def test_successors_are_named_once_and_the_reward_is_that_of_the_successor():
    for seed in range(4):
        lines = random_grid(seed)
        mdp = jax.jit(lambda lines=lines: gridworld(lines, slip=0.3, gamma=0.9, **RULES)[0])()
        symbols = np.array([list(line) for line in lines])
        comes = (
            np.array([{"G": 2.0, "c": 0.25, "P": -3.0}.get(symbol, 0.0) for symbol in symbols[symbols != "#"]]) - 0.5
        )
        successor, probability = np.asarray(mdp.transitions.successor), np.asarray(mdp.transitions.probability)
        close(mdp.reward, np.where(np.asarray(mdp.terminal)[:, None, None], 0.0, comes[successor.T]))
        for b, c in ((0, 1), (0, 2), (1, 2)):
            assert not ((successor[b] == successor[c]) & (probability[b] > 0) & (probability[c] > 0)).any()


def test_numbers_may_be_swept():
    make = lambda slip, step, goal: gridworld(
        FROZEN_LAKE_4X4, slip=slip, step_reward=step, rewards={"G": goal}, gamma=slip
    )[0]
    numbers = (jnp.array([0.25, 0.5]), jnp.array([-1.0, 0.0]), jnp.array([1.0, 5.0]))
    many = jax.jit(jax.vmap(make))(*numbers)
    for i in range(2):
        one = make(*(float(x[i]) for x in numbers))
        chex.assert_trees_all_close(jax.tree.map(lambda x, i=i: x[i], many), one, rtol=1e-6)


# Mazes ---------------------------------------------------------------------------------------------------------------


def neighbours(mdp):
    """Which states an action leads to, [S, S]."""
    to = np.asarray(mdp.transitions.successor)[0]
    here = np.tile(np.arange(mdp.num_states), 4)
    return scipy.sparse.coo_array((np.ones(to.size), (here, to.ravel())), (mdp.num_states,) * 2).tocsr()


@pytest.mark.parametrize(("height", "width"), [(3, 5), (5, 3), (5, 5), (21, 35), (301, 301)])
def test_a_maze_is_a_tree_between_walls(height, width):
    text = maze(7, height, width)
    mdp, layout = gridworld(text, gamma=0.9, terminal="")
    assert layout.symbols.shape == (height, width)
    assert (layout.symbols[[0, -1]] == "#").all() and (layout.symbols[:, [0, -1]] == "#").all()
    assert (layout.symbols[1::2, 1::2] != "#").all() and (layout.symbols[2:-1:2, 2:-1:2] == "#").all()
    assert layout.symbols[1, 1] == "S" and layout.symbols[-2, -2] == "G" and text.count("S") == text.count("G") == 1
    rooms = (height // 2) * (width // 2)
    assert mdp.num_states == 2 * rooms - 1
    assert scipy.sparse.csgraph.connected_components(neighbours(mdp))[0] == 1


def test_mazes_depend_on_the_seed_and_on_nothing_else():
    assert maze(0, 21, 21) == maze(0, 21, 21) != maze(1, 21, 21)
    free = lambda text: np.array([list(line) for line in text.splitlines()]) != "#"
    corridors = np.mean([free(maze(s, 7, 7)) for s in range(400)], axis=0)
    doors = corridors[1:-1, 1:-1][np.indices((5, 5)).sum(axis=0) % 2 == 1]  # 8 of 12 are open
    assert doors.mean() == pytest.approx(8 / 12)
    assert (doors > 0.5).all() and (doors < 0.85).all()
    np.testing.assert_allclose(corridors, corridors.T, atol=5 * np.sqrt(0.5 / 400))  # no direction is preferred


def test_loops_open_walls_that_the_tree_left():
    closed, some, opened = (maze(3, 41, 41, loops=loops) for loops in (0.0, 0.3, 1.0))
    free = lambda text: np.array(list(text)) != "#"
    assert (free(some) >= free(closed)).all() and (free(opened) >= free(some)).all()
    assert free(closed).sum() < free(some).sum() < free(opened).sum() == 400 + 2 * 20 * 19 + 40  # line ends count


@pytest.mark.parametrize("seed", range(3))
def test_the_value_of_a_maze_is_the_distance_to_its_goal(seed):
    mdp, layout = gridworld(maze(seed, 15, 15, loops=0.1), gamma=0.9)
    goal = layout.state[-2, -2]
    steps = scipy.sparse.csgraph.shortest_path(neighbours(mdp).T, indices=goal, unweighted=True)
    close(optimal_values(mdp), np.where(steps == 0, 0.0, 0.9 ** (steps - 1)))


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: gridworld("S.\n.G.", gamma=0.9), ValueError, "line 1 of the drawing has 3 symbols, line 0 has 2"),
        (lambda: gridworld("", gamma=0.9), ValueError, "line 0 of the drawing has 0 symbols"),
        (lambda: gridworld([], gamma=0.9), ValueError, "the drawing has no lines"),
        (lambda: gridworld("S.\n.x", gamma=0.9), ValueError, "row 1, column 1: the symbol is 'x'; expected one of"),
        (lambda: gridworld("##", gamma=0.9), ValueError, "the drawing has walls only"),
        (lambda: gridworld("S#", gamma=0.9, rewards={"#": -1.0}), ValueError, "'#' is given a reward or an end"),
        (lambda: gridworld("S#", gamma=0.9, terminal="#"), ValueError, "'#' is given a reward or an end"),
        (lambda: gridworld("SG", gamma=0.9, slip=1.5), ValueError, r"slip is 1\.5; expected a number in \[0, 1\]"),
        (lambda: gridworld("SG", gamma=1.5), ValueError, r"gamma is 1\.5"),
        (lambda: gridworld("SG", gamma=0.9, step_reward=float("nan")), ValueError, "step_reward is nan"),
        (lambda: gridworld("SG", gamma=0.9, rewards={"G": None}), TypeError, r"rewards\['G'\] is None"),
        (lambda: gridworld("SG", gamma=0.9, rewards={"GG": 1.0}), ValueError, "'GG' is given a reward or an end"),
        (lambda: gridworld(5, gamma=0.9), TypeError, "the drawing is 5; expected a text"),
        (lambda: gridworld([1, 2], gamma=0.9), TypeError, r"the drawing is \[1, 2\]; expected a text"),
        (lambda: maze(0, 4, 5), ValueError, r"height is 4; expected an odd number.*Take 5\."),
        (lambda: maze(0, 5, 1), ValueError, "width is 1; expected a whole number of at least 3"),
        (lambda: maze(0, 3, 3), ValueError, "start and goal take a room each"),
        (lambda: maze(0, 5, 5.0), TypeError, r"width is 5\.0"),
        (lambda: maze(-1, 5, 5), ValueError, "seed is -1"),
        (lambda: maze(0, 5, 5, loops=2.0), ValueError, "loops is 2"),
        (
            lambda: gridworld("SG", gamma=0.9)[1].image(np.zeros(3)),
            ValueError,
            r"values has shape \(3,\); expected \[2",
        ),
        (lambda: gridworld("SG", gamma=0.9)[1].text([4, 0]), ValueError, r"policy is \[4 0\]; expected actions"),
        (lambda: gridworld("SG", gamma=0.9)[1].text([0.0, 1.0]), ValueError, "whole numbers"),
    ],
)
def test_what_is_no_world_is_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
