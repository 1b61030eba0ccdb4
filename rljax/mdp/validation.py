"""What makes a tabular MDP one: checked on the host when a person builds it, never on what is traced.

Everything is vectorised: a million states take a second or two. Messages name state, action, value and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks
from rljax.mdp.transitions import Dense, Generated, Sparse, Transitions

if TYPE_CHECKING:
    from rljax.mdp.model import TabularMDP


def floats(name: str, value: Any) -> Array:
    """`value` as a JAX array of floats; integers and objects are refused, since they hide mistakes (1 / 3 typed as 0)."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        raise TypeError(f"{name} is a {type(value).__name__}; expected an array. Nested lists: TabularMDP.from_nested.")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} has type {dtype}; expected floats. Convert it: {name}.astype(float).")
    return jnp.asarray(value)


def gamma(value: Any) -> None:
    """[] in [0, 1]."""
    checks.real("gamma", value, 0, 1)


def transitions(given: Transitions) -> None:
    """Shapes, then laws of probability, row by row."""
    if isinstance(given, Generated):
        checks.integer("num_states", given.num_states, 1)
        checks.integer("num_actions", given.num_actions, 1)
        return
    probability = floats("probability", given.probability)
    shape = probability.shape
    if len(shape) != 3 or 0 in shape or (isinstance(given, Dense) and shape[0] != shape[2]):
        wanted = (
            "[S, A, S], source state first" if isinstance(given, Dense) else "[B, A, S] (Sparse.of takes [S, A, B])"
        )
        raise ValueError(f"probability has shape {shape}; expected {wanted}, nothing empty. Transpose it?")
    if isinstance(given, Sparse) and (
        given.successor.shape != shape or not jnp.issubdtype(given.successor.dtype, jnp.integer)
    ):
        raise ValueError(
            f"successor has shape {given.successor.shape} and type {given.successor.dtype}, probability {shape}; "
            "expected integers of equal shape."
        )


def mdp(given: TabularMDP) -> None:
    """Everything else; nothing if a part is traced."""
    s, a = given.num_states, given.num_actions
    for name, shape in (("mask", (s, a)), ("terminal", (s,)), ("initial", (s,))):
        value = getattr(given, name)
        if value.shape != shape:
            raise ValueError(f"{name} has shape {value.shape}; expected {shape}, of {s} states and {a} actions.")
    checks.boolean(mask=given.mask, terminal=given.terminal)
    last = s if isinstance(given.transitions, Dense) else given.transitions.fan_out
    shapes = [(s,), (s, a), (s, a, last)]
    if given.reward.shape not in shapes:
        raise ValueError(f"reward has shape {given.reward.shape}; expected one of {', '.join(map(str, shapes))}.")
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(given)):
        return
    _host(given)


def _host(given: TabularMDP) -> None:
    mask, terminal = np.asarray(given.mask), np.asarray(given.terminal)
    live = mask & ~terminal[:, None]  # [S, A]: rows that are ever looked at
    stuck = ~terminal & ~mask.any(axis=1)
    if stuck.any():
        raise ValueError(
            f"state {np.argmax(stuck)} has no available action; expected one at least. Make it terminal, or correct mask."
        )
    _rewards(given, live)
    _initial(given)
    if isinstance(given.transitions, Generated):
        return
    probability = np.asarray(given.transitions.probability)
    if isinstance(given.transitions, Sparse):
        probability = probability.T  # [S, A, B]
    _rows(probability, live)
    if isinstance(given.transitions, Sparse):
        _successors(np.asarray(given.transitions.successor).T, probability, live)
    if np.asarray(given.gamma) == 1.0:
        _proper(given, probability, live)


def _rows(probability: np.ndarray, live: np.ndarray) -> None:
    wrong = ~(probability >= 0) & live[:, :, None]  # NaN is not >= 0
    if wrong.any():
        s, a, t = np.argwhere(wrong)[0]
        raise ValueError(f"state {s}, action {a}: probability[{t}] is {probability[s, a, t]}; expected at least 0.")
    total = probability.sum(axis=2, dtype=np.float64)
    tolerance = 1e-5 if probability.dtype.itemsize <= 4 else 1e-10
    wrong = ~(np.abs(total - 1) <= tolerance) & live
    if wrong.any():
        s, a = np.argwhere(wrong)[0]
        raise ValueError(
            f"state {s}, action {a}: probabilities sum to {total[s, a]:.10g}; expected 1. Divide the row by its sum, or, "
            f"if the action is not available there, set mask[{s}, {a}] to False."
        )


def _successors(successor: np.ndarray, probability: np.ndarray, live: np.ndarray) -> None:
    num_states = len(successor)
    wrong = (successor < 0) | (successor >= num_states)
    if wrong.any():
        s, a, b = np.argwhere(wrong)[0]
        raise ValueError(
            f"state {s}, action {a}: successor[{b}] is {successor[s, a, b]}; expected 0 ... {num_states - 1}. "
            "Unused places take any of these, with probability 0."
        )
    # Unused places are told apart by numbers of their own, beyond the states.
    places = np.where(probability > 0, successor, num_states + np.arange(successor.shape[2], dtype=successor.dtype))
    ordered = np.sort(places, axis=2)
    wrong = (ordered[:, :, 1:] == ordered[:, :, :-1]).any(axis=2) & live
    if wrong.any():
        s, a = np.argwhere(wrong)[0]
        raise ValueError(
            f"state {s}, action {a}: successors {successor[s, a].tolist()} name a state twice; add them up."
        )


def _rewards(given: TabularMDP, live: np.ndarray) -> None:
    reward = np.asarray(given.reward)
    looked_at = (live.any(axis=1), live, live[:, :, None])[reward.ndim - 1]
    wrong = ~np.isfinite(reward) & looked_at
    if wrong.any():
        where = np.argwhere(wrong)[0]
        names = ", ".join(f"{name} {i}" for name, i in zip(("state", "action", "successor"), where, strict=False))
        raise ValueError(
            f"{names}: the reward is {reward[tuple(where)]}; expected a finite number. "
            "An action that must not be taken is masked, not punished with infinity."
        )


def _initial(given: TabularMDP) -> None:
    initial = np.asarray(given.initial, np.float64)
    if not (initial >= 0).all() or (not np.asarray(given.terminal).all() and not abs(initial.sum() - 1) <= 1e-5):
        raise ValueError(f"initial sums to {initial.sum():.10g} (least {initial.min():g}); expected probabilities.")


def _proper(given: TabularMDP, probability: np.ndarray, live: np.ndarray) -> None:
    """With gamma = 1 every policy must end: no set of states may be such that some action in each stays inside."""
    terminal = np.asarray(given.terminal)
    inside = ~terminal
    sparse = isinstance(given.transitions, Sparse)
    successor = np.asarray(given.transitions.successor).T if isinstance(given.transitions, Sparse) else None
    while True:
        leaves = ~inside[successor] if sparse else ~inside[None, None, :]
        stays = ~((probability > 0) & leaves).any(axis=2) & live
        still = inside & stays.any(axis=1)
        if (still == inside).all():
            break
        inside = still
    if inside.any():
        s = int(np.argmax(inside))
        raise ValueError(
            f"gamma is 1, and from state {s} a policy exists that never ends (action {int(np.argmax(stays[s]))} stays among "
            f"{int(inside.sum())} states for ever); expected that every policy reaches a terminal state. "
            "Take gamma < 1, or mark where episodes end as terminal."
        )
