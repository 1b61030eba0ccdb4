"""Orders in which to sweep states: outwards from the goals, level by level.

A backup carries values one step against the arrows. If every state is backed up after the states it leads to, a single sweep
carries them all the way; the nearest to that, where there are cycles, is the order of distances.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax.mdp import validation
from rljax.mdp.generated import Generated
from rljax.mdp.model import TabularMDP
from rljax.structs import pytree_dataclass


@pytree_dataclass
class Levels:
    """States in an order, backed up `width` at a time: states[first[i]], ..., states[first[i] + width - 1] together."""

    states: Array | None  # [S] int32 in that order; None: 0, 1, 2, ...
    place: Array | None  # [S] int32 where each state stands in it
    first: Array  # [L] int32
    width: int = dataclasses.field(metadata={"static": True})


def in_blocks(num_states: int, num_blocks: int) -> Levels:
    """The states' own order in blocks of equal size; the last one overlaps the one before it."""
    width = -(-num_states // num_blocks)
    first = np.minimum(np.arange(0, num_states, width), num_states - width)
    return Levels(None, None, jnp.asarray(first, jnp.int32), width)


def outwards(mdp: TabularMDP) -> Levels:
    """From the terminal states against the arrows: first who may come there in one step, then in two, ...

    Made on the host, once for all rewards, discounts and probabilities of the same problem; for a maze of a million cells it
    takes a second.

    Args:
      mdp: the problem, with transitions stored.

    Returns:
      A level for every distance, as wide as the widest; states that never come to an end stand last, and terminal states,
      which are never backed up, behind them.

    Errors:
      ValueError: no state is terminal. TypeError: transitions that are not stored, or are traced.

    Example:
      >>> from rljax.mdp import gridworld
      >>> outwards(gridworld.gridworld("..G.", gamma=0.9)[0]).states.tolist()
      [1, 3, 0, 2]
    """
    from scipy import sparse  # JAX itself needs it

    if isinstance(mdp.transitions, Generated) or isinstance(mdp.terminal, jax.core.Tracer):
        raise TypeError(
            "the order is made on the host, of transitions stored there. Make it before `jit`, for all calls."
        )
    size, terminal = mdp.num_states, np.asarray(mdp.terminal)
    if not terminal.any():
        raise ValueError("no state is terminal; expected one at least: there is nothing to go outwards from.")
    state, action, successor, _ = validation.edges(mdp.transitions)
    moves = np.asarray(mdp.mask)[state, action] & ~terminal[state]
    ends = np.flatnonzero(terminal)
    source, target = np.append(successor[moves], np.full(len(ends), size)), np.append(state[moves], ends)
    graph = sparse.csr_array((np.ones(len(source), np.float32), (source, target)), (size + 1, size + 1))
    found, before = sparse.csgraph.breadth_first_order(graph, size)  # from one more state, which all the ends follow
    rank = np.empty(size + 1, np.int64)
    rank[found] = np.arange(len(found))
    before = rank[before[found[1:]]]  # where the predecessor of each was found; never falls
    bounds = [1 + len(ends)]  # what has its predecessors in one level is the next
    while bounds[-1] < len(found):
        bounds.append(1 + int(np.searchsorted(before, bounds[-1])))
    reached, live = len(found) - bounds[0], size - len(ends)
    width = int(np.diff(bounds).max(initial=0)) or max(live, 1)
    lost = np.flatnonzero(~np.isin(np.arange(size), found))
    states = np.concatenate([found[bounds[0] :], lost, ends])
    first = np.append(np.array(bounds[:-1], int) - bounds[0], np.arange(reached, live, width))
    place = np.empty(size, np.int64)
    place[states] = np.arange(size)
    first = np.minimum(first, size - width)  # the last may overlap the one before it
    states, place, first = (jnp.asarray(x, jnp.int32) for x in (states, place, first))
    return Levels(states, place, first, width)
