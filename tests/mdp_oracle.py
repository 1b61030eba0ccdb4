"""Random MDPs of every kind, as NumPy arrays, and their optimal values by float64 policy iteration: the tests' oracle."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rljax import mdp


class Model(NamedTuple):
    successor: np.ndarray  # [S, A, B]
    probability: np.ndarray  # [S, A, B]
    arriving: np.ndarray  # [S, A, B] rewards
    mask: np.ndarray
    terminal: np.ndarray
    gamma: float

    @property
    def reward(self) -> np.ndarray:
        """[S, A], expected."""
        return (self.probability * self.arriving).sum(axis=2)


def random(rng: np.random.Generator, kind: str, states: int = 12, actions: int = 3, branching: int = 4) -> Model:
    """`kind`: "continuing" or "episodic" (some states end, gamma 1, every policy ends). One in three hardly ever moves."""
    successor = np.argsort(rng.random((states, actions, states)), axis=2)[:, :, :branching]
    probability = rng.dirichlet(np.ones(branching), size=(states, actions))
    mask = rng.random((states, actions)) < 0.7
    mask[np.arange(states), rng.integers(0, actions, states)] = True
    terminal, gamma = np.zeros(states, bool), float(rng.choice([0.0, 0.5, 0.9, 0.99]))
    if kind == "episodic":
        terminal[:2], gamma = True, 1.0
        # Slot 0 leads to an end with a chance of at least 0.1, unless another slot already does.
        ends = (successor < 2).any(axis=2)
        successor[:, :, 0] = np.where(ends, successor[:, :, 0], 0)
        share = np.where((successor < 2).cumsum(axis=2).cumsum(axis=2) == 1, 0.1, 0.0)
        probability = 0.9 * probability + share
    elif rng.random() < 0.5:
        terminal[rng.integers(0, states)] = True
    if rng.random() < 1 / 3:
        here = np.arange(states)[:, None]
        successor[:, :, 1] = np.where((successor == here[:, :, None]).any(axis=2), successor[:, :, 1], here)
        stay = {"continuing": 0.98}.get(kind, 0.8)
        probability = (1 - stay) * probability + stay * (successor == here[:, :, None])
    return Model(successor, probability, rng.normal(size=successor.shape) * 5, mask, terminal, gamma)


def tabular(model: Model, dense: bool) -> mdp.TabularMDP:
    if dense:
        transitions, reward = mdp.Dense(jnp.asarray(full(model))), spread(model, model.arriving)
    else:
        transitions = mdp.Sparse.of(jnp.asarray(model.successor), jnp.asarray(model.probability))
        reward = model.arriving
    return mdp.TabularMDP(
        transitions,
        jnp.asarray(reward),
        gamma=model.gamma,
        mask=jnp.asarray(model.mask),
        terminal=jnp.asarray(model.terminal),
    )


def generated(model: Model) -> mdp.TabularMDP:
    """By a function that looks it all up; every leaf may be traced."""
    lists = [jnp.asarray(x) for x in (model.successor, model.probability, model.arriving)]
    outcomes = lambda s, a: tuple(x[s, a] for x in lists)
    transitions = mdp.Generated(outcomes, *model.mask.shape, block_size=8)
    ends = {"mask": jnp.asarray(model.mask), "terminal": jnp.asarray(model.terminal)}
    return mdp.TabularMDP(transitions, None, gamma=model.gamma, **ends)


def full(model: Model) -> np.ndarray:
    """[S, A, S] probabilities."""
    return spread(model, model.probability)


def spread(model: Model, lists: np.ndarray) -> np.ndarray:
    """[S, A, S] of [S, A, B]."""
    table = np.zeros((*model.mask.shape, len(model.mask)))
    for s, a, b in np.ndindex(*model.successor.shape):
        table[s, a, model.successor[s, a, b]] += lists[s, a, b]
    return table


def optimal(model: Model) -> np.ndarray:
    """[S] V*, by policy iteration in float64 with linear solves."""
    table, (states, _) = full(model), model.reward.shape
    live = ~model.terminal
    policy = model.mask.argmax(axis=1)
    for _ in range(1000):
        chain = model.gamma * table[np.arange(states), policy] * live[:, None]
        v = np.linalg.solve(np.eye(states) - chain, np.where(live, model.reward[np.arange(states), policy], 0.0))
        q = np.where(model.mask, model.reward + model.gamma * table @ v, -np.inf)
        better = q.max(axis=1) > q[np.arange(states), policy] + 1e-12 * (10 + np.abs(v).max())
        if not (better & live).any():
            return v
        policy = np.where(better, q.argmax(axis=1), policy)
    raise AssertionError("policy iteration has not ended")


def stack(models: list[mdp.TabularMDP]) -> mdp.TabularMDP:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
