"""Models from Gymnasium's toy-text environments, which tell what they do: FrozenLake, CliffWalking, Taxi."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rljax.mdp.convert import lists_of
from rljax.mdp.model import TabularMDP


def from_gymnasium(env: Any, **others: Any) -> TabularMDP:
    """A toy-text environment of Gymnasium (FrozenLake, CliffWalking, Taxi), or its table `P[s][a]`, a list of transitions
    `(probability, successor, reward, terminated)`.

    Successors named twice are added up (rewards on average). Where episodes end becomes terminal: the states that nothing
    but terminated transitions enters, and those that nothing leaves and that pay nothing. A state that is entered in both
    ways (Taxi's, where the passenger is) goes on; its terminated transitions then lead to one more state, number S, which
    is terminal. A state without actions, or an action without transitions, is one that is not available.

    Args:
      env: the environment, wrapped or not, or its table.
      others: gamma and initial, as of `TabularMDP`; default of initial: that of the environment, if there is one.

    Errors:
      TypeError: no such table. ValueError: states that are not 0 ... S - 1, a successor that is none of them, probabilities
        that do not sum to one.

    Example:
      >>> table = {0: {0: [(1.0, 1, 5.0, True)], 1: [(0.5, 0, 0.0, False), (0.5, 0, 1.0, False)]},
      ...          1: {0: [(1.0, 1, 0.0, True)], 1: [(1.0, 1, 0.0, True)]}}
      >>> mdp = from_gymnasium(table, gamma=0.9)
      >>> mdp.terminal.tolist(), mdp.expected_reward.tolist()
      ([False, True], [[5.0, 0.0], [0.5, 0.0]])
    """
    world = getattr(env, "unwrapped", env)
    state, action, successor, probability, reward, over, num_states = _columns(getattr(world, "P", world))
    initial = others.pop("initial", getattr(world, "initial_state_distrib", None))
    starts = np.zeros(num_states, bool) if initial is None else np.asarray(initial) > 0

    still = np.bincount(state, minlength=num_states) > 0  # something happens there, but nothing moves and nothing pays
    still[state[(successor != state) | (reward != 0)]] = False
    terminal = still.copy()
    terminal[successor[over & (successor != state)]] = True
    while True:  # a state that the living enter alive is not the end; then those that it enters are not, either
        lived = starts.copy()
        lived[successor[~over & ~terminal[state]]] = True
        again = terminal & (still | ~lived)
        if (again == terminal).all():
            break
        terminal = again
    successor = np.where(over & ~terminal[successor], num_states, successor)
    alive = ~terminal[state]
    extra = int((successor[alive] == num_states).any())
    terminal = np.concatenate([terminal, np.ones(extra, bool)])

    num_actions = int(action.max()) + 1
    ends = np.repeat(np.flatnonzero(terminal), num_actions)  # whatever is done there, nothing happens
    always = np.tile(np.arange(num_actions), len(ends) // num_actions)
    lists = lists_of(
        (num_states + extra, num_actions),
        np.append(state[alive], ends),
        np.append(action[alive], always),
        np.append(successor[alive], ends),
        np.append(probability[alive], np.ones(len(ends))),
        np.append(reward[alive], np.zeros(len(ends))),
    )
    if initial is not None:
        initial = jnp.asarray(np.append(np.asarray(initial, float), np.zeros(extra)))
    mask = (lists.probability > 0).any(axis=2)
    return TabularMDP.sparse(*lists, mask=mask, terminal=terminal, initial=initial, **others)


_MOST_ACTIONS = 1 << 16  # a number beyond is a mistake, and would make a table of as many


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, Sequence)
        and len(entry) == 4
        and isinstance(entry[0], numbers.Real)
        and isinstance(entry[1], numbers.Integral)
        and isinstance(entry[2], numbers.Real)
        and isinstance(entry[3], bool | np.bool_ | numbers.Integral)
    )


def _columns(table: Any) -> tuple[Any, ...]:
    """State, action, successor, probability, reward, terminated, each [E], of Gymnasium's P, and S."""
    if not isinstance(table, Mapping):
        raise TypeError(
            f"{type(table).__name__} has no table of transitions; expected a toy-text environment of Gymnasium or its P, "
            "{state: {action: [(probability, successor, reward, terminated), ...]}}."
        )
    num_states = len(table)
    if set(table) != set(range(num_states)):
        raise ValueError(f"the states are {list(table)[:5]}, ...; expected 0 ... {num_states - 1}. Number them so.")
    for s in range(num_states):
        if not (isinstance(table[s], Mapping) and all(isinstance(a, numbers.Integral) for a in table[s])):
            raise TypeError(
                f"state {s}: {table[s]!r} is given; expected actions 0, 1, ... and their transitions, a dict."
            )
        for a, entries in table[s].items():
            if not isinstance(entries, list | tuple):
                raise TypeError(f"state {s}, action {a}: {entries!r} is given; expected a list of transitions.")
            for entry in entries:
                if not _is_entry(entry):
                    raise TypeError(
                        f"state {s}, action {a}: {entry!r} is given; expected (probability, successor, reward, terminated): "
                        "two numbers about a whole one, and True or False."
                    )
    entries = [(s, a, entry) for s in range(num_states) for a in table[s] for entry in table[s][a]]
    rows = [(s, a, t, p, r, end) for s, a, (p, t, r, end) in entries]
    if not rows:
        raise ValueError("the table has no transitions; expected at least one. An MDP needs a state and an action.")
    state, action, successor, probability, reward, over = (np.asarray(column) for column in zip(*rows, strict=True))
    beyond = (action < 0) | (action >= _MOST_ACTIONS)
    if beyond.any():
        i = int(np.argmax(beyond))
        raise ValueError(
            f"state {state[i]}: an action {action[i]} is given; expected 0 ... {_MOST_ACTIONS - 1}. Number them from 0 on."
        )
    outside = (successor < 0) | (successor >= num_states)
    if outside.any():
        i = int(np.argmax(outside))
        raise ValueError(
            f"state {state[i]}, action {action[i]}: the successor is {successor[i]}; expected one in "
            f"0 ... {num_states - 1}."
        )
    wrong = ~((probability >= 0) & (probability < np.inf))
    if wrong.any():  # before any are added up
        i = int(np.argmax(wrong))
        raise ValueError(
            f"state {state[i]}, action {action[i]}: the probability of successor {successor[i]} is {probability[i]}; "
            "expected at least 0 and finite. Correct the table."
        )
    pair = state * (int(action.max()) + 1) + action
    total = np.bincount(pair, probability.astype(float))
    # Here, where states that seem to be at their end are still in it; what never happens is not available.
    wrong = (np.abs(total[pair] - 1.0) > 1e-5) & (total[pair] > 0)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(
            f"state {state[i]}, action {action[i]}: the probabilities sum to {total[pair[i]]:g}; expected 1. Correct the table."
        )
    happens = probability > 0
    columns = (x[happens] for x in (state, action, successor, probability.astype(float), reward.astype(float)))
    return *columns, over[happens].astype(bool), num_states
