"""A small world to learn in, and any world, begun in a given state."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rljax import mdp


def starting_in(model: mdp.TabularMDP, state: int) -> mdp.TabularMDP:
    """The same world, begun in one state for certain."""
    first = jnp.zeros(model.num_states, model.dtype).at[state].set(1.0)
    return mdp.TabularMDP(
        model.transitions, model.reward, gamma=model.gamma, mask=model.mask, terminal=model.terminal, initial=first
    )


def random_walk(num_states: int = 19) -> mdp.TabularMDP:
    """To either side alike from the middle; one ends beyond the first state with -1, beyond the last one with 1.

    Sutton & Barto (2018), example 7.1. States 1 ... num_states, terminal are 0 and num_states + 1.
    """
    ends = num_states + 1
    p = np.zeros((ends + 1, 1, ends + 1))
    for s in range(1, ends):
        p[s, 0, s - 1] = p[s, 0, s + 1] = 0.5
    reward = np.zeros_like(p)
    reward[..., 0], reward[..., ends] = -1.0, 1.0
    terminal, initial = np.zeros(ends + 1, bool), np.zeros(ends + 1)
    terminal[[0, ends]], initial[ends // 2] = True, 1.0
    return mdp.TabularMDP(
        jnp.asarray(p), jnp.asarray(reward), gamma=1.0, terminal=jnp.asarray(terminal), initial=jnp.asarray(initial)
    )
