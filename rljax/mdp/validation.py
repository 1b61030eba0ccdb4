"""What makes a tabular MDP one: checked on the host when a person builds it, never on what is traced.

Everything is vectorised: a million states take a second or two. Messages name state, action, value and what to do.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from rljax import checks
from rljax.mdp.generated import Generated, Transitions
from rljax.mdp.transitions import Dense, Sparse

if TYPE_CHECKING:
    from rljax.mdp.model import TabularMDP

_TOLERANCE = {"float32": 1e-5, "float64": 1e-9}  # of a sum of probabilities: what adding up many of them may lose


def shapes(given: TabularMDP) -> None:
    """Static facts, which hold of tracers too: shapes and types that fit one another.

    Errors:
      ValueError, TypeError: with the shape expected, and which transposition would have it.
    """
    s, a = given.num_states, given.num_actions
    if isinstance(given.transitions, Dense):
        _square(given.transitions.probability.shape)
    for name, value, expected in (
        ("mask", given.mask, (s, a)),
        ("terminal", given.terminal, (s,)),
        ("initial", given.initial, (s,)),
    ):
        if value.shape != expected:
            raise ValueError(
                f"{name} has shape {value.shape}; expected {expected}, for {s} states and {a} actions."
                f"{_transpose(name, value.shape, [expected])}"
            )
    checks.boolean(mask=given.mask, terminal=given.terminal)
    if given.reward is None:
        if not isinstance(given.transitions, Generated):
            raise TypeError("reward is None; expected an array. Only a generated model tells its rewards itself.")
        return
    expected = [(s,), (s, a), (s, a, given.transitions.fan_out)]
    if given.reward.shape not in expected:
        raise ValueError(
            f"reward has shape {given.reward.shape}; expected {', '.join(map(str, expected[:2]))} or {expected[2]}, "
            f"for {s} states, {a} actions and {given.transitions.fan_out} successors of each."
            f"{_transpose('reward', given.reward.shape, expected)}"
        )


def numbers(given: TabularMDP) -> Transitions:
    """Facts of concrete numbers: laws of probability, finite rewards, something to do everywhere, an end if gamma = 1.

    Returns:
      The transitions; rows whose sum is off by more than rounding are divided by it, since planners prove things of sums of 1.

    Errors:
      ValueError: naming state, action, value and what to do.
    """
    transitions = given.transitions
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(given)):
        return transitions
    mask, terminal = np.asarray(given.mask), np.asarray(given.terminal)
    stuck = ~mask.any(axis=1)
    if stuck.any():
        raise ValueError(
            f"state {np.argmax(stuck)} has no available action; expected one at least. Correct mask, or make it terminal."
        )
    live = mask & ~terminal[:, None]  # [S, A]: where something happens; elsewhere a row need not sum to one
    if given.reward is not None:
        _rewards(np.asarray(given.reward), "successor" if isinstance(given.transitions, Dense) else "place")
    _initial(np.asarray(given.initial), terminal)
    if isinstance(transitions, Generated):
        _generated(transitions, live)
    else:
        transitions = _probabilities(transitions, live)
    if float(given.gamma) == 1.0:
        _ends(transitions, live, terminal)
    return transitions


def policy(given: TabularMDP, policy: Any) -> None:
    """Actions [S], each available, or probabilities [S, A], each row a distribution over what is available.

    Errors:
      TypeError, ValueError: naming state and action.
    """
    s, a = given.num_states, given.num_actions
    whole, real = jnp.issubdtype(policy.dtype, jnp.integer), jnp.issubdtype(policy.dtype, jnp.floating)
    if not ((policy.shape == (s,) and whole) or (policy.shape == (s, a) and real)):
        kind = ValueError if whole or real else TypeError
        raise kind(
            f"a policy of type {policy.dtype} and shape {policy.shape} is given; expected whole actions {(s,)} or "
            f"probabilities {(s, a)}, for {s} states and {a} actions."
        )
    if isinstance(policy, jax.core.Tracer) or any(isinstance(x, jax.core.Tracer) for x in (given.mask, given.terminal)):
        return
    chosen, mask, alive = np.asarray(policy), np.asarray(given.mask), ~np.asarray(given.terminal)
    if whole:
        wrong = ((chosen < 0) | (chosen >= a) | ~mask[np.arange(s), np.clip(chosen, 0, a - 1)]) & alive
        if wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"state {at}: the policy takes action {chosen[at]}; expected one of {np.flatnonzero(mask[at]).tolist()}, "
                "which are available."
            )
        return
    wrong = ((~(chosen >= 0)) | (~mask & (chosen != 0))) & alive[:, None]
    if wrong.any():
        at, action = np.argwhere(wrong)[0]
        raise ValueError(
            f"state {at}, action {action}: the policy's probability is {chosen[at, action]!s}; expected at least 0, and 0 "
            "where the action is not available."
        )
    total = chosen.sum(axis=1, dtype=np.float64)
    wrong = ~(np.abs(total - 1.0) <= 1e-5) & alive
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"state {at}: the policy's probabilities sum to {chosen.dtype.type(total[at])!s}; expected 1. Divide by the sum."
        )


def _square(shape: tuple[int, ...]) -> None:
    if shape[0] == shape[2]:
        return
    advice = "For successors in lists take TabularMDP.sparse."
    if shape[1] == shape[2]:
        advice = "If that is [A, S, S], transpose it: probability.transpose(1, 0, 2)."
    elif shape[0] == shape[1]:
        advice = "If that is [S, S', A], transpose it: probability.transpose(0, 2, 1)."
    raise ValueError(f"probability has shape {shape}; expected [S, A, S'], P(s' | s, a) at [s, a, s']. {advice}")


def _transpose(name: str, shape: tuple[int, ...], expected: list[tuple[int, ...]]) -> str:
    if len(shape) == 2 and shape[::-1] in expected:
        return f" Transpose it: {name}.T."
    if len(shape) == 3 and (shape[1], shape[0], shape[2]) in expected:
        return f" Transpose it: {name}.transpose(1, 0, 2)."
    return ""


def _rewards(reward: np.ndarray, last: str) -> None:
    wrong = ~np.isfinite(reward)
    if wrong.any():
        index = np.argwhere(wrong)[0]
        names = ", ".join(f"{name} {i}" for name, i in zip(("state", "action", last), index, strict=False))
        raise ValueError(
            f"{names}: the reward is {reward[tuple(index)]!s}; expected a finite number. "
            "An action that must not be taken is masked (mask[s, a] = False, with any finite reward), not punished so."
        )


def _initial(initial: np.ndarray, terminal: np.ndarray) -> None:
    wrong = ~((initial >= 0) & (initial < np.inf))
    if wrong.any():
        s = np.argmax(wrong)
        raise ValueError(
            f"state {s}: initial is {initial[s]!s}; expected a probability. Make them at least 0, with sum 1."
        )
    total = initial.sum(dtype=np.float64)
    if not abs(total - 1.0) <= _TOLERANCE[str(initial.dtype)]:
        raise ValueError(f"initial sums to {initial.dtype.type(total)!s}; expected 1. Divide it by its sum.")


def _probabilities(transitions: Dense | Sparse, live: np.ndarray) -> Dense | Sparse:
    probability = np.asarray(transitions.probability)
    sparse = isinstance(transitions, Sparse)
    at = lambda s, a, b: (b, a, s) if sparse else (s, a, b)
    place = "place" if sparse else "successor"
    if not (probability.min() >= 0 and probability.max() < np.inf):  # a NaN is the minimum of what holds one
        wrong = ~((probability >= 0) & (probability < np.inf))
        s, a, b = (np.argwhere(wrong.T) if sparse else np.argwhere(wrong))[0]
        raise ValueError(
            f"state {s}, action {a}, {place} {b}: the probability is {probability[at(s, a, b)]!s}; expected at least 0 and "
            f"finite. If the action is not available, set mask[{s}, {a}] to False and its row to 0."
        )
    total = probability.sum(axis=0, dtype=np.float64).T if sparse else probability.sum(axis=2, dtype=np.float64)
    tolerance = _TOLERANCE[str(probability.dtype)]
    wrong = ~(np.abs(total - 1.0) <= tolerance) & live
    if wrong.any():
        s, a = np.argwhere(wrong)[0]
        raise ValueError(
            _sum(s, a, probability.dtype.type(total[s, a])) + ("" if sparse else _other_axis(probability, tolerance))
        )
    if isinstance(transitions, Sparse):
        _successors(np.asarray(transitions.successor), probability)
    off = (np.abs(total - 1.0) > transitions.fan_out * np.finfo(probability.dtype).eps) & live
    if not off.any():
        return transitions
    divisor = np.where(off, total, 1.0)
    exact = probability / (divisor.T[None] if sparse else divisor[:, :, None])
    return dataclasses.replace(transitions, probability=jnp.asarray(exact.astype(probability.dtype)))


def _sum(s: Any, a: Any, total: np.floating) -> str:
    return (
        f"state {s}, action {a}: the probabilities sum to {total!s}; expected 1. Divide the row by its sum or, if the "
        f"action is not available there, set mask[{s}, {a}] to False."
    )


def _other_axis(probability: np.ndarray, tolerance: float) -> str:
    for axis, order in ((0, "(2, 1, 0)"), (1, "(0, 2, 1)")):
        if np.allclose(probability.sum(axis=axis, dtype=np.float64), 1.0, rtol=0.0, atol=tolerance):
            return f" But the sums along axis {axis} are 1: is it transposed? Try probability.transpose{order}."
    return ""


def _successors(successor: np.ndarray, probability: np.ndarray) -> None:
    """Lists [B, A, S] name states that exist, each once."""
    places, _, num_states = successor.shape
    if successor.min() < 0 or successor.max() >= num_states:
        s, a, b = np.argwhere(((successor < 0) | (successor >= num_states)).T)[0]
        raise ValueError(
            f"state {s}, action {a}, place {b}: the successor is {successor[b, a, s]}; expected 0 ... {num_states - 1}. "
            "An unused place names any of these, with probability 0."
        )
    # Unused places are told apart by numbers of their own, below the states.
    unused = -1 - np.arange(places, dtype=np.int32)[:, None, None]
    ordered = np.sort(np.where(probability > 0, successor, unused), axis=0)
    twice = (ordered[1:] == ordered[:-1]).any(axis=0).T
    if twice.any():
        s, a = np.argwhere(twice)[0]
        raise ValueError(
            f"state {s}, action {a}: the successors {successor[:, a, s].tolist()} name a state twice. Add up their "
            "probabilities in one place and set that of the other to 0."
        )


def _generated(transitions: Generated, live: np.ndarray) -> None:
    """What a function says, block by block: nothing of size B is stored."""
    tolerance = _TOLERANCE[str(transitions.dtype)]

    def judge(successor: Any, probability: Any, reward: Any) -> Any:
        possible = (probability >= 0) & (probability < np.inf) & (jnp.abs(reward) < np.inf)
        exists = (successor >= 0) & (successor < transitions.num_states)
        return jnp.all(possible & exists), jnp.abs(jnp.sum(probability) - 1.0) <= tolerance

    sound, summed = (np.asarray(x).T for x in transitions.everywhere(judge))
    wrong = ~sound | (~summed & live)
    if not wrong.any():
        return
    s, a = np.argwhere(wrong)[0]
    successor, probability, reward = (np.asarray(x) for x in transitions.successors(jnp.int32(s), jnp.int32(a)))
    if sound[s, a]:
        raise ValueError(_sum(s, a, probability.sum()))
    raise ValueError(
        f"state {s}, action {a}: the function returns successors {successor.tolist()}, probabilities "
        f"{probability.tolist()}, rewards {reward.tolist()}; expected successors in 0 ... {transitions.num_states - 1}, "
        "probabilities of at least 0, finite rewards. Correct the function; an action that is not available is masked."
    )


def _ends(transitions: Transitions, live: np.ndarray, terminal: np.ndarray) -> None:
    """With gamma = 1 every policy must end: no set of states may hold an action in each of its states that stays inside."""
    from scipy import sparse  # JAX itself needs it

    num_states, num_actions = live.shape
    state, action, successor, _ = edges(transitions.stored() if isinstance(transitions, Generated) else transitions)
    pair = state * num_actions + action
    links = sparse.coo_array((np.ones(len(pair), bool), (pair, successor)), (live.size, num_states)).tocsc()
    staying = live.ravel().copy()  # actions that have not been seen to leave
    number = live.sum(axis=1)  # of them in each state
    inside, leaving = ~terminal, np.flatnonzero(terminal)
    while leaving.size:  # each transition is looked at once, when its successor is found to lie outside
        first, length = links.indptr[leaving], links.indptr[leaving + 1] - links.indptr[leaving]
        place = np.repeat(first - np.cumsum(length) + length, length) + np.arange(length.sum())
        now = np.unique(links.indices[place])
        now = now[staying[now]]
        staying[now] = False
        touched, lost = np.unique(now // num_actions, return_counts=True)
        number[touched] -= lost
        leaving = touched[inside[touched] & (number[touched] == 0)]
        inside[leaving] = False
    if inside.any():
        s = int(np.argmax(inside))
        a = int(np.argmax(staying.reshape(live.shape)[s]))
        raise ValueError(
            f"gamma is 1 in {transitions.dtype}, and from state {s} a policy may never end: action {a} there, and one in "
            f"each state it leads to, stay among {inside.sum()} states for ever. Take gamma < 1, or mark the states where "
            "episodes end as terminal."
        )


def edges(transitions: Dense | Sparse) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """State, action, successor and place, [E] each, of every transition of positive probability."""
    probability = np.asarray(transitions.probability)
    # NumPy skips zeros fast only along one axis.
    found = np.unravel_index(np.flatnonzero(probability > 0), probability.shape)
    if isinstance(transitions, Dense):
        state, action, successor = found
        return state, action, successor, successor
    place, action, state = found
    return state, action, np.asarray(transitions.successor)[place, action, state], place
