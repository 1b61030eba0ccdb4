"""Models from what others write down, and from one representation to another.

    from_nested       the chapter's lists, None where an action is not available       -> Dense
    from_scipy        sparse matrices, one for each action or one for all              -> Sparse
    to_dense          any model, [S, A, S] in memory                                   -> Dense
    to_sparse         any model, as many successors a list as the longest needs        -> Sparse

All but `to_dense` run on the host: how long a list is depends on numbers.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rljax.mdp import validation
from rljax.mdp.generated import Generated
from rljax.mdp.model import TabularMDP
from rljax.mdp.transitions import Dense, Sparse, floats


class Lists(NamedTuple):
    """Successors in the order in which people write."""

    successor: np.ndarray  # [S, A, B]
    probability: np.ndarray  # [S, A, B]
    reward: np.ndarray  # [S, A, B]


def from_nested(
    transition_probabilities: Sequence[Sequence[Sequence[float] | None]],
    rewards: Any,
    possible_actions: Sequence[Sequence[int]] | None = None,
    **others: Any,
) -> TabularMDP:
    """The chapter's way to write an MDP down: `transition_probabilities[s][a][s']`, None where an action is not available.

    Args:
      transition_probabilities: S lists of A lists of S numbers; None instead of the last where s does not offer a.
      rewards: `rewards[s][a][s']` in the same form; or [S][A], or [S].
      possible_actions: the actions of each state; default: those that are not None.
      others: gamma, terminal and initial, as of `TabularMDP`.

    Errors:
      ValueError, TypeError: naming state and action; then those of `TabularMDP`.

    Example:
      >>> p = [[[0.7, 0.3], [1.0, 0.0]], [None, [0.8, 0.2]]]
      >>> r = [[[10, 0], [0, 0]], [[0, 0], [0, -50]]]
      >>> mdp = from_nested(p, r, [[0, 1], [1]], gamma=0.9)
      >>> mdp.mask.tolist(), mdp.expected_reward.tolist()
      ([[True, True], [False, True]], [[7.0, 0.0], [0.0, -10.0]])

    Geron (2022), ch. 18, "Markov decision processes".
    """
    probability, mask = _table("transition_probabilities", transition_probabilities)
    num_states, num_actions = mask.shape
    if possible_actions is not None:
        listed = np.zeros_like(mask)
        if len(possible_actions) != num_states:
            raise ValueError(
                f"possible_actions has {len(possible_actions)} entries; expected {num_states}, one for a state."
            )
        for s, actions in enumerate(possible_actions):
            if not (isinstance(actions, Sequence) and all(isinstance(a, numbers.Integral) for a in actions)):
                raise TypeError(
                    f"possible_actions[{s}] is {actions!r}; expected the actions of state {s}, whole numbers."
                )
            for a in actions:
                if not (0 <= a < num_actions and mask[s, a]):
                    raise ValueError(
                        f"state {s}: action {a} is possible, but transition_probabilities[{s}] says nothing of it. "
                        "Write its probabilities there, or take it off possible_actions."
                    )
                listed[s, a] = True
        mask = listed
    if not isinstance(rewards, (Sequence, np.ndarray)):
        raise TypeError(f"rewards is {rewards!r}; expected rewards[s][a][s'], [s][a] or [s].")
    nested = lambda x: x is None or isinstance(x, (Sequence, np.ndarray))
    if all(isinstance(row, Sequence) and any(map(nested, row)) for row in rewards):
        reward, _ = _table("rewards", rewards)
        if reward.shape[:2] != mask.shape:
            raise ValueError(f"rewards has the shape {reward.shape}; expected {probability.shape}.")
    else:
        try:
            reward = np.asarray(rewards, float)
        except (TypeError, ValueError):
            raise TypeError(f"rewards is {rewards!r}; expected numbers, as many in each row.") from None
    return TabularMDP(Dense(jnp.asarray(probability)), reward, mask=mask, **others)


def from_scipy(probability: Any, reward: Any, **others: Any) -> TabularMDP:
    """Sparse matrices of scipy, or whatever has its `tocoo`.

    Args:
      probability: A matrices [S, S], one for each action; or one [S A, S] with P(s' | s, a) in row s A + a.
      reward: an array [S] or [S, A]; or matrices in the same form, rewards on arrival: what they do not store is 0.
      others: gamma, mask, terminal and initial, as of `TabularMDP`.

    Errors:
      ValueError, TypeError: shapes and types; then those of `TabularMDP`.

    Example:
      >>> from scipy import sparse
      >>> stay, swap = sparse.eye_array(2, format="csr"), sparse.csr_array(np.eye(2)[::-1])
      >>> from_scipy([stay, swap], np.array([0.0, 1.0]), gamma=0.9).transitions.successor[0].tolist()
      [[0, 1], [1, 0]]
    """
    state, action, successor, p, num_states, num_actions = _entries("probability", probability)
    if not np.issubdtype(p.dtype, np.floating):
        raise TypeError(f"probability has type {p.dtype}; expected float32 or float64. Convert it: P.astype(float).")
    if isinstance(reward, Sequence) or hasattr(reward, "tocoo"):
        *paying, amount, reward_states, reward_actions = _entries("reward", reward)
        if (reward_states, reward_actions) != (num_states, num_actions):
            raise ValueError(
                f"reward is of {reward_states} states and {reward_actions} actions; expected {num_states} and "
                f"{num_actions}, as of probability."
            )
        shape = (num_states, num_actions, num_states)
        keys, where = np.unique(np.ravel_multi_index(paying, shape), return_inverse=True)
        amounts = np.append(np.bincount(where, amount, len(keys)), 0.0)  # stored twice is added up, as scipy does
        wanted = np.ravel_multi_index((state, action, successor), shape)
        found = np.searchsorted(keys, wanted)
        earned = np.where(np.append(keys, -1)[found] == wanted, amounts[found], 0.0)
        return TabularMDP.sparse(*lists_of(shape[:2], state, action, successor, p, earned), **others)
    lists = lists_of((num_states, num_actions), state, action, successor, p, np.zeros(len(p)))
    return TabularMDP.sparse(lists.successor, lists.probability, floats("reward", reward), **others)


def to_dense(mdp: TabularMDP) -> TabularMDP:
    """The same model with every probability written out, [S, A, S]; rewards on arrival as well.

    Example:
      >>> mdp = TabularMDP.sparse(jnp.array([[[0]], [[0]]]), jnp.ones((2, 1, 1)), jnp.ones((2, 1, 1)), gamma=0.5)
      >>> to_dense(mdp).reward.tolist()
      [[[1.0, 0.0]], [[1.0, 0.0]]]
    """
    if isinstance(mdp.transitions, Generated):
        mdp = to_sparse(mdp)
    transitions, reward = mdp.transitions, mdp.reward
    if isinstance(transitions, Sparse) and reward is not None and reward.ndim == 3:
        earned = jnp.where(transitions.probability > 0, reward.T, 0.0)  # of lists that name each successor once
        reward = Sparse(transitions.successor, earned).matrix()
    return _changed(mdp, Dense(transitions.matrix()), reward)


def to_sparse(mdp: TabularMDP) -> TabularMDP:
    """The same model as lists of successors, in the order of their numbers, no longer than the longest must be.

    There and back again is exact; rewards for what cannot happen are lost on the way. An action without any successor (one
    that is not available) leads to where it is taken, with probability 0.

    Example:
      >>> mdp = TabularMDP(jnp.array([[[0.0, 1.0]], [[0.0, 1.0]]]), jnp.array([1.0, 0.0]), gamma=0.5)
      >>> to_sparse(mdp).transitions.successor.tolist()
      [[[1, 1]]]
    """
    given, reward = mdp.transitions, mdp.reward
    if isinstance(given, Generated):
        transitions = given.stored()
        each = given.everywhere(lambda _, __, reward: reward).T if reward is None else reward
    else:
        transitions, each = given, reward
    state, action, successor, place = validation.edges(transitions)
    index = (place, action, state) if isinstance(transitions, Sparse) else (state, action, successor)
    p = np.asarray(transitions.probability)[index]
    arriving = each is not None and each.ndim == 3
    earned = np.asarray(each)[state, action, place] if arriving else np.zeros(len(p), p.dtype)
    lists = lists_of((mdp.num_states, mdp.num_actions), state, action, successor, p, earned)
    return _changed(mdp, Sparse.of(lists.successor, lists.probability), lists.reward if arriving else reward)


def _changed(mdp: TabularMDP, transitions: Dense | Sparse, reward: Any) -> TabularMDP:
    return TabularMDP(transitions, reward, gamma=mdp.gamma, mask=mdp.mask, terminal=mdp.terminal, initial=mdp.initial)


def lists_of(
    shape: tuple[int, int],
    state: np.ndarray,
    action: np.ndarray,
    successor: np.ndarray,
    probability: np.ndarray,
    reward: np.ndarray,
) -> Lists:
    """Transitions [E] in any order to lists [S, A, B] in the order of successors; those named twice are added up."""
    num_states, num_actions = shape
    used = probability != 0  # what is not a number is kept, to be refused
    pair = state[used].astype(np.int64) * num_actions + action[used]
    key, where = np.unique(pair * num_states + successor[used], return_inverse=True)
    p, r = probability[used], reward[used]
    total = np.bincount(where, p, len(key))
    least, most = np.full(len(key), np.inf), np.full(len(key), -np.inf)
    np.minimum.at(least, where, r)
    np.maximum.at(most, where, r)
    mean = np.divide(np.bincount(where, p * r, len(key)), total, where=total != 0, out=np.zeros(len(key)))
    mean = np.where(least == most, least, mean)  # nothing to average, nothing to round
    pair, target = np.divmod(key, num_states)
    count = np.bincount(pair, minlength=num_states * num_actions)
    place = np.arange(len(key)) - np.repeat(np.cumsum(count) - count, count)
    size = (num_states * num_actions, max(1, int(count.max(initial=0))))
    own = np.repeat(np.arange(num_states, dtype=np.int32), num_actions)[:, None]  # near in memory, if never looked at
    lists = Lists(np.broadcast_to(own, size).copy(), np.zeros(size, p.dtype), np.zeros(size, p.dtype))
    for array, values in zip(lists, (target, total, mean), strict=True):
        array[pair, place] = values
    return Lists(*(array.reshape(num_states, num_actions, -1) for array in lists))


def _table(name: str, nested: Any) -> tuple[np.ndarray, np.ndarray]:
    """[S, A, S] numbers, 0 for None, and [S, A] bool: where there was not None."""
    listed = lambda x: isinstance(x, (Sequence, np.ndarray))
    if not listed(nested) or not all(map(listed, nested)):
        raise TypeError(f"{name} is {nested!r}; expected {name}[s][a][s'], numbers in nested lists.")
    num_states = len(nested)
    num_actions = len(nested[0]) if num_states else 0
    table, given = np.zeros((num_states, num_actions, num_states)), np.zeros((num_states, num_actions), bool)
    for s, rows in enumerate(nested):
        if len(rows) != num_actions:
            raise ValueError(
                f"{name}[{s}] has {len(rows)} actions, {name}[0] {num_actions}; expected as many everywhere. "
                "Write None for one that is not available."
            )
        for a, row in enumerate(rows):
            if row is None:
                continue
            try:
                numbers = np.asarray(row)
                if numbers.dtype.kind not in "iuf":
                    raise TypeError
            except (TypeError, ValueError):
                raise TypeError(f"{name}[{s}][{a}] is {row!r}; expected {num_states} numbers, or None.") from None
            if numbers.shape != (num_states,):
                raise ValueError(f"{name}[{s}][{a}] is {row!r}; expected {num_states} numbers, one for a successor.")
            table[s, a], given[s, a] = numbers, True
    return table, given


def _entries(name: str, given: Any) -> tuple[Any, ...]:
    """State, action, successor and value, each [E], of scipy's matrices, then S and A."""
    matrices = list(given) if isinstance(given, Sequence) else [given]
    if not matrices or not all(hasattr(m, "tocoo") and len(m.shape) == 2 for m in matrices):
        raise TypeError(
            f"{name} is {type(given).__name__}; expected a list of sparse matrices [S, S], one for each action, or one "
            "[S A, S]. For arrays take TabularMDP."
        )
    num_states, stacked = matrices[0].shape[1], not isinstance(given, Sequence)
    rows = matrices[0].shape[0]
    num_actions = rows // num_states if stacked and num_states else len(matrices)
    expected = (num_states * num_actions if stacked else num_states, num_states)
    for a, m in enumerate(matrices):
        if m.shape != expected or 0 in m.shape:
            raise ValueError(f"{name}{'' if stacked else [a]} has shape {m.shape}; expected {expected}, nothing empty.")
    parts = [m.tocoo() for m in matrices]
    row, column, value = (np.concatenate([getattr(m, x) for m in parts]) for x in ("row", "col", "data"))
    if stacked:
        state, action = np.divmod(row, num_actions)
    else:
        state, action = row, np.repeat(np.arange(num_actions), [len(m.data) for m in parts])
    return state, action, column, value, num_states, num_actions
