"""What makes a matrix a Markov chain: checked on the host as far as it is known, never on what is traced."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike


def matrix(p: ArrayLike) -> Array:
    """p as a transition matrix of floats; checked as far as it is known."""
    p = _floats("p", p)
    if p.ndim != 2 or p.shape[0] != p.shape[1] or p.shape[0] == 0:
        raise ValueError(
            f"p has shape {p.shape}; expected [S, S]. For a batch of chains, wrap the function in jax.vmap."
        )
    if not isinstance(p, jax.core.Tracer):
        _rows("p", np.asarray(p))
    return p


def state(state: ArrayLike, size: int) -> Array:
    """[] int32, checked as far as it is known."""
    state = jnp.asarray(state)
    if not jnp.issubdtype(state.dtype, jnp.integer):
        raise TypeError(
            f"start has type {state.dtype}; expected a state (an integer), or the law of one, floats [{size}]."
        )
    if not isinstance(state, jax.core.Tracer) and not 0 <= int(state) < size:
        raise ValueError(f"start is {int(state)}; expected one of the states 0 ... {size - 1}.")
    return state.astype(jnp.int32)


def law(law: ArrayLike, p: Array) -> Array:
    """[S] probabilities of the states of p."""
    law = _floats("the law", law).astype(p.dtype)
    if law.shape != p.shape[:1]:
        raise ValueError(f"the law has shape {law.shape}; expected {p.shape[:1]}, a probability for each state.")
    if not isinstance(law, jax.core.Tracer):
        _rows("the law", np.asarray(law)[None])
    return law


def _floats(name: str, value: Any) -> Array:
    try:
        given = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    except ValueError as error:  # rows of unequal length
        raise ValueError(
            f"{name} has rows of unequal length; expected floats in a rectangular array. Make all as long as the first."
        ) from error
    if not jnp.issubdtype(given, jnp.floating):
        raise TypeError(f"{name} has type {given}; expected floats. Write 1.0 for 1, or convert it: .astype(float).")
    return jnp.asarray(value)


def _rows(name: str, p: np.ndarray) -> None:
    wrong = ~(p >= 0)  # NaN is not >= 0
    row = (lambda state: f"{name}, state {state}") if len(p) > 1 or name == "p" else lambda _: name
    if wrong.any():
        i, j = np.argwhere(wrong)[0]
        raise ValueError(f"{row(i)}: the probability of {j} is {p[i, j]}; expected at least 0.")
    total = p.sum(axis=1, dtype=np.float64)
    wrong = ~(np.abs(total - 1) <= (1e-5 if p.dtype.itemsize <= 4 else 1e-10))
    if wrong.any():
        i = np.argmax(wrong)
        fix = " Is it transposed?" if np.allclose(p.sum(axis=0), 1) else ""
        raise ValueError(f"{row(i)}: probabilities sum to {total[i]:.10g}; expected 1. Divide by the sum.{fix}")
