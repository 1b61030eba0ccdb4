"""Refusals: the static checks that public makers run before any work.

Each check returns nothing and raises `ValueError` or `TypeError` with what was given, what was expected and what to do.
Values that are being traced (a learning rate under `vmap`) carry no number yet and pass.
"""

from __future__ import annotations

import math
from numbers import Integral
from types import UnionType
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def real(
    name: str,
    value: Any,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    above: bool = False,
    below: bool = False,
    batch: bool = False,
) -> None:
    """`value` is a number (or a concrete scalar array) with `low <= value <= high`.

    `above` and `below` make the lower and the upper end strict, so that `below` with `high` infinite asks for a finite
    number; `batch` allows an array of any shape, for `vmap`, and checks each of its elements.

    Example:
      >>> real("gamma", 1.5, 0, 1)
      Traceback (most recent call last):
      ValueError: gamma is 1.5; expected a number in [0, 1].
      >>> real("gravity", np.array([9.8, np.inf]), 0, below=True, batch=True)
      Traceback (most recent call last):
      ValueError: gravity[1] is inf; expected a number in [0, inf).
    """
    if isinstance(value, jax.core.Tracer):
        return
    if not _is_a(int | float, value, jnp.floating, jnp.integer) or not (batch or np.ndim(value) == 0):
        raise TypeError(f"{name} is {value!r}; expected a number{' or an array of numbers' if batch else ''}.")
    numbers = np.asarray(value, np.float64)
    inside = (low < numbers if above else low <= numbers) & (numbers < high if below else numbers <= high)
    if not inside.all():
        name, number = _first(name, numbers, ~inside)
        number = float(number)
        text = f"{number:g}" if float(f"{number:g}") == number else repr(number)  # never a value rounded into the range
        ends = f"{'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
        raise ValueError(f"{name} is {text}; expected a number in {ends}.")


def integer(name: str, value: Any, low: int, *, batch: bool = False) -> None:
    """`value` is a whole Python number of at least `low`: sizes shape the program, so they cannot be traced.

    It is also below 2^31, since the counters that meet it are 32 bits wide. `batch` is for numbers that shape nothing: they
    may be traced, and arrays of any shape, checked element by element.

    Example:
      >>> integer("num_envs", 0, 1)
      Traceback (most recent call last):
      ValueError: num_envs is 0; expected a whole number of at least 1.
      >>> integer("num_steps", 10**12, 1)
      Traceback (most recent call last):
      ValueError: num_steps is 1000000000000; expected a whole number of at least 1 and below 2**31.
    """
    if batch and isinstance(value, jax.core.Tracer):
        return
    if not _is_a(Integral, value, jnp.integer) or not (batch or isinstance(value, Integral)):
        raise TypeError(f"{name} is {value!r}; expected a whole number (int){' or an array of them' if batch else ''}.")
    numbers = np.asarray(value)
    for wrong, ends in ((numbers < low, ""), (numbers >= 2**31, " and below 2**31")):
        if np.any(wrong):
            name, number = _first(name, numbers, np.asarray(wrong))
            raise ValueError(f"{name} is {number}; expected a whole number of at least {low}{ends}.")


def together(most: int = 2**26, /, **counts: Any) -> None:
    """What is held in memory side by side: whole numbers of at least 1, whose product is at most `most`.

    2^26 are some gigabytes of what takes the least: a key, a state, a return.

    Example:
      >>> together(seeds=16, test_episodes=100)
      >>> together(seeds=16, test_episodes=10**8)
      Traceback (most recent call last):
      ValueError: seeds * test_episodes is 1600000000; expected at most 67108864, for all are held in memory at once. \
Take fewer.
    """
    for name, count in counts.items():
        integer(name, count, 1)
    product = math.prod(map(int, counts.values()))
    if product > most:
        raise ValueError(
            f"{' * '.join(counts)} is {product}; expected at most {most}, for all are held in memory at once. Take fewer."
        )


def seed(value: Any) -> None:
    """`value` is a whole number in [0, 2^32): what every generator here takes, JAX's and Gymnasium's.

    Example:
      >>> seed(-1)
      Traceback (most recent call last):
      ValueError: seed is -1; expected a whole number of at least 0 and below 2**32.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**32:
        raise ValueError(f"seed is {value}; expected a whole number of at least 0 and below 2**32.")


def choice(name: str, value: Any, options: tuple[str, ...]) -> None:
    """`value` is one of `options`.

    Example:
      >>> choice("autoreset", "never", ("none", "same_step"))
      Traceback (most recent call last):
      ValueError: autoreset is 'never'; expected one of 'none', 'same_step'.
    """
    if value not in options:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, options))}.")


def key(value: Any, shape: tuple[int, ...] = ()) -> None:
    """`value` is a typed random key (or an array of them with `shape`), as `jax.random.key` makes.

    Example:
      >>> key(jax.random.PRNGKey(0))
      Traceback (most recent call last):
      TypeError: a random key is expected, of the typed kind that jax.random.key(seed) makes; got uint32[2]. \
If it is a raw PRNGKey, pass jax.random.wrap_key_data(raw_key).
    """
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        given = f"{dtype}{list(value.shape)}" if hasattr(value, "shape") else repr(value)
        raise TypeError(
            f"a random key is expected, of the typed kind that jax.random.key(seed) makes; got {given}. "
            "If it is a raw PRNGKey, pass jax.random.wrap_key_data(raw_key)."
        )
    if value.shape != shape:
        raise ValueError(f"random keys of shape {shape} are expected; got shape {value.shape}.")


def numbers(**arrays: Any) -> None:
    """Each is an array of numbers (or of bools, or keys), or lists of them.

    Example:
      >>> numbers(v=["1", "2"])
      Traceback (most recent call last):
      TypeError: v is ['1', '2']; expected an array of numbers.
    """
    for name, value in arrays.items():
        for leaf in jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None):
            kind = getattr(getattr(leaf, "dtype", None), "kind", None)  # JAX's own types, keys among them, have none
            if kind in tuple("OSUMmc") or not (hasattr(leaf, "dtype") or isinstance(leaf, int | float)):
                raise TypeError(f"{name} is {value!r}; expected an array of numbers.")


def same_shape(**arrays: Any) -> None:
    """All arrays have one shape: broadcasting (B,) against (B, 1) makes a (B, B) loss that trains, badly.

    Example:
      >>> same_shape(r_t=jnp.zeros(3), v_t=jnp.zeros((3, 1)))
      Traceback (most recent call last):
      ValueError: r_t has shape (3,) and v_t (3, 1); expected equal shapes. Reshape one of them.
    """
    (first, shape), *others = ((name, _shape(name, value)) for name, value in arrays.items())
    for name, other in others:
        if other != shape:
            raise ValueError(
                f"{first} has shape {shape} and {name} {other}; expected equal shapes. Reshape one of them."
            )


def rank(number: int, **arrays: Any) -> None:
    """Each array has `number` axes: functions here are written for one stream; `jax.vmap` makes them batches.

    Example:
      >>> rank(1, r_t=jnp.zeros((5, 2)))
      Traceback (most recent call last):
      ValueError: r_t has shape (5, 2); expected 1 axis. For a batch, wrap the function in jax.vmap.
    """
    for name, value in arrays.items():
        shape = _shape(name, value)
        if len(shape) != number:
            raise ValueError(
                f"{name} has shape {shape}; expected {number} ax{'i' if number == 1 else 'e'}s. "
                "For a batch, wrap the function in jax.vmap."
            )


def boolean(**arrays: Any) -> None:
    """Each array is bool: 0 and 1 as numbers are refused, since their sums and complements mean other things.

    Example:
      >>> boolean(valid=jnp.ones(3))
      Traceback (most recent call last):
      TypeError: valid has type float32; expected bool. Compare it with something, or convert it: valid.astype(bool).
    """
    numbers(**arrays)
    for name, value in arrays.items():
        if jnp.result_type(value) != jnp.bool_:
            raise TypeError(
                f"{name} has type {jnp.result_type(value)}; expected bool. "
                f"Compare it with something, or convert it: {name}.astype(bool)."
            )


def flags(**values: Any) -> None:
    """Each value is True or False: it shapes the program, so it cannot be traced.

    Example:
      >>> flags(double="no")
      Traceback (most recent call last):
      TypeError: double is 'no'; expected True or False.
    """
    for name, value in values.items():
        if not isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} is {value!r}; expected True or False.")


def action(value: Any, number: int) -> None:
    """`value` is one of the actions 0 ... number - 1: one integer; if it is not being traced, also inside the range.

    Example:
      >>> action(2, 2)
      Traceback (most recent call last):
      ValueError: action is 2; expected one of 0 ... 1.
    """
    shape = _shape("action", value)
    if shape != () or not jnp.issubdtype(jnp.result_type(value), jnp.integer):
        raise TypeError(
            f"an action of type {jnp.result_type(value)} and shape {shape} is given; expected one integer. "
            "For many environments, wrap the step in jax.vmap."
        )
    if not isinstance(value, jax.core.Tracer) and not 0 <= int(value) < number:
        raise ValueError(f"action is {int(value)}; expected one of 0 ... {number - 1}.")


def functions(name: str, value: Any, *parts: str) -> None:
    """`value` is a tuple of functions, one for each name in `parts`: what a record of functions is made from.

    Example:
      >>> functions("network", None, "init", "apply")
      Traceback (most recent call last):
      TypeError: network is None; expected a tuple of functions, (init, apply).
    """
    if not isinstance(value, tuple) or len(value) != len(parts) or not all(map(callable, value)):
        raise TypeError(f"{name} is {value!r}; expected a tuple of functions, ({', '.join(parts)}).")


def function(name: str, value: Any, example: str) -> None:
    """`value` can be called; `example` says what is meant.

    Example:
      >>> function("optimiser", 0.01, "optax.adam")
      Traceback (most recent call last):
      TypeError: optimiser is 0.01; expected a function such as optax.adam.
    """
    if not callable(value):
        raise TypeError(f"{name} is {value!r}; expected a function such as {example}.")


def environment(name: str, value: Any) -> None:
    """`value` is an environment: an instance, not the class, with the methods of `envs.base.Environment`.

    Example:
      >>> environment("env", None)
      Traceback (most recent call last):
      TypeError: env is None; expected an environment, such as envs.CartPole(), with reset, observe and step.
    """
    if isinstance(value, type) or not all(callable(getattr(value, m, None)) for m in ("reset", "observe", "step")):
        raise TypeError(
            f"{name} is {value!r}; expected an environment, such as envs.CartPole(), with reset, observe and step."
        )


def _shape(name: str, value: Any) -> tuple[int, ...]:
    numbers(**{name: value})
    return jnp.shape(value if hasattr(value, "shape") else jnp.asarray(value))


def _is_a(kind: type | UnionType, value: Any, *dtypes: Any) -> bool:
    """`value` is a Python number of that kind, or a scalar or an array of one of those types; a bool is no number."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return any(jnp.issubdtype(value.dtype, dtype) for dtype in dtypes)
    return isinstance(value, kind) and not isinstance(value, bool)


def _first(name: str, numbers: np.ndarray, wrong: np.ndarray) -> tuple[str, Any]:
    """The first wrong number and what to call it: `name`, or `name[i, j]` in an array."""
    index = np.argwhere(wrong)[0].tolist()
    return f"{name}{index or ''}", numbers[tuple(index)]
