"""The chapter's decision process, until `rljax.mdp.problems` has landed."""

from __future__ import annotations

from jax.typing import ArrayLike

from rljax import mdp

TRANSITION_PROBABILITIES = [
    [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
    [[0.0, 1.0, 0.0], None, [0.0, 0.0, 1.0]],
    [None, [0.8, 0.1, 0.1], None],
]
REWARDS = [
    [[10, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 0, -50]],
    [[0, 0, 0], [40, 0, 0], [0, 0, 0]],
]


def chapter_mdp(gamma: ArrayLike) -> mdp.TabularMDP:
    """Three states, three actions."""
    return mdp.from_nested(TRANSITION_PROBABILITIES, REWARDS, gamma=gamma)
