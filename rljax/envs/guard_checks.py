"""What is asked of everything that an environment returns: a fast look, which may be unsure, and an exact one, with words.

    ok(value, last) -> bool              True: nothing is wrong. False: ask `fault`
    fault(value, last) -> Fault | None   exact, and slow

`last` is what the environment returned before, or None: observations must not share memory with the one before.

Fast means few operations of Python: the guard may cost 3 % of CartPole, 200 ns. Up to `UNROLLED` numbers are compared by a
function that is written for their bounds (as dataclasses write theirs), more by two calls of NumPy on the whole block, and
that all comparisons are true is read from their bytes: a third of the time of `numpy.all`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

LARGEST = float(np.finfo(np.float32).max)  # learners count in float32: what is larger is infinite to them
LEAST = -LARGEST
UNROLLED = 16
NUMBERS = frozenset((float, int, np.float64, np.float32, np.int64, np.int32))  # the usual ones
FLAGS = frozenset((bool, np.bool_))


class Fault(NamedTuple):
    """What is wrong, in four phrases."""

    field: str
    value: str
    expected: str
    remedy: str


class Check(NamedTuple):
    """See the head of this file."""

    ok: Callable[[Any, Any], bool]
    fault: Callable[[Any, Any], Fault | None]


def observation(space: Any, bounds: bool = True, name: str = "observation") -> Check:
    """The check of what lies in `space`; without `bounds`, a Box has none but those of float32.

    Example:
      >>> check = observation(spaces.Box(-1, 1, (2,)))
      >>> check.ok(np.zeros(2, np.float32), None)
      True
      >>> check.fault(np.array([0.0, np.nan], np.float32), None)[:3]
      ('observation[1]', 'nan', 'a finite number')
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _parts(space, bounds, name)
    return _number(space, name) if isinstance(space, spaces.Discrete) else _array(space, bounds, name)


def short(value: Any) -> str:
    """A value in a message: not more than fits a line."""
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array, {value.dtype}{list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def reward(value: Any) -> Fault | None:
    """One finite number, no truth value and no array."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return Fault("reward", short(value), "one number", "Return float(reward).")
    number = value if isinstance(value, int) else float(value)
    return None if LEAST <= number <= LARGEST else _infinite("reward", value)


def flag(name: str, value: Any) -> Fault | None:
    """True or False, not 1 or None."""
    if isinstance(value, bool | np.bool_):
        return None
    return Fault(name, short(value), "True or False", f"Return bool({name}).")


def info(value: Any) -> Fault | None:
    """A dict."""
    return None if isinstance(value, dict) else Fault("info", short(value), "a dict", "Return {} if there is no news.")


def rewards(value: Any, shape: tuple[int, ...], dtype: np.dtype | None) -> Fault | None:
    """[N] finite numbers, of the same type at every step."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else short(value)
        return Fault("reward", kind, f"an array of {shape[0]} numbers", "Return np.asarray(reward, np.float32).")
    if value.shape != shape:
        return Fault("reward.shape", str(value.shape), str(shape), "Return one number for each environment.")
    if dtype is not None and value.dtype != dtype:
        return Fault("reward.dtype", str(value.dtype), f"{dtype}, as before", "Convert it: reward.astype.")
    return _content("reward", value, np.asarray(LEAST), np.asarray(LARGEST))


def flags(name: str, value: Any, shape: tuple[int, ...]) -> Fault | None:
    """[N] bool."""
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_:
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else short(value)
        return Fault(name, kind, f"an array of {shape[0]} bool", f"Return np.asarray({name}, bool).")
    if value.shape != shape:
        return Fault(f"{name}.shape", str(value.shape), str(shape), "Return one flag for each environment.")
    return None


def finite(dtype: np.dtype, size: int) -> Callable[[np.ndarray], bool]:
    """Of an array [size] of that type: certainly all of it is finite, to float32 too.

    Example:
      >>> finite(np.dtype(np.float32), 2)(np.array([1.0, np.inf], np.float32))
      False
    """
    if dtype.kind in "biu":
        return lambda array: True
    if dtype.itemsize > 4:  # all squares add up to less than the largest: so does each

        def in_sum(array: np.ndarray) -> bool:
            return bool(array.dot(array) < LARGEST)

        return in_sum
    mask, true, isfinite = np.empty(size, bool), b"\1" * size, np.isfinite

    def one_by_one(array: np.ndarray) -> bool:
        isfinite(array, mask)
        return mask.tobytes() == true

    return one_by_one


def _number(space: spaces.Discrete, name: str) -> Check:
    low, high = int(space.start), int(space.start) + int(space.n) - 1

    def ok(value: Any, last: Any) -> bool:
        return (value.__class__ is int or value.__class__ is np.int64) and low <= value <= high

    def fault(value: Any, last: Any) -> Fault | None:
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole and not (isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in "iu"):
            return Fault(name, short(value), f"one whole number in {low} ... {high}", "Return int(state).")
        if low <= value <= high:
            return None
        return Fault(name, str(value), f"in {low} ... {high}, its space", "Correct it, or enlarge the space.")

    return Check(ok, fault)


def _parts(space: spaces.Dict | spaces.Tuple, bounds: bool, name: str) -> Check:
    kind = dict if isinstance(space, spaces.Dict) else tuple
    named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
    parts = tuple((key, observation(part, bounds, f"{name}[{key!r}]")) for key, part in named)
    nothing = dict.fromkeys(key for key, _ in parts)
    keys = nothing.keys()

    def has_keys(value: Any) -> bool:
        return value.keys() == keys if kind is dict else len(value) == len(keys)

    def ok(value: Any, last: Any) -> bool:
        if value.__class__ is not kind or (value is last and kind is dict) or not has_keys(value):
            return False
        last = nothing if last is None else last
        return all(check.ok(value[key], last[key]) for key, check in parts)

    def fault(value: Any, last: Any) -> Fault | None:
        inside: Any = value  # whatever it is
        if not isinstance(value, kind) or not has_keys(value):
            words = f"a dict with {', '.join(map(repr, nothing))}" if kind is dict else f"a tuple of {len(keys)}"
            given = f"a dict with {', '.join(map(repr, value))}" if isinstance(value, dict) else short(value)
            return Fault(name, given, words, "Return what its space describes.")
        if value is last and kind is dict:
            return _shared(name)
        last = nothing if last is None else last
        return next((found for key, check in parts if (found := check.fault(inside[key], last[key]))), None)

    return Check(ok, fault)


def _array(space: Any, bounds: bool, name: str) -> Check:
    dtype, shape = space.dtype, space.shape
    low, high = _limits(space, bounds)
    boxed = isinstance(space, spaces.Box)  # the others take what is safely converted, as their `contains` does

    def fault(value: Any, last: Any) -> Fault | None:
        if not isinstance(value, np.ndarray | np.generic if shape == () else np.ndarray):
            remedy = f"Return np.asarray({name}, np.{dtype})."
            if type(value).__module__.split(".")[0] in ("jax", "jaxlib"):
                remedy = "Wrap the environment: gymnasium.wrappers.JaxToNumpy."
            return Fault(name, short(value), f"a NumPy array, {dtype}{list(shape)}", remedy)
        if not (value.dtype == dtype if boxed else value.dtype.kind in "biu" and np.can_cast(value.dtype, dtype)):
            remedy = f"Return {name}.astype(np.{dtype}), or correct the space."
            return Fault(f"{name}.dtype", str(value.dtype), f"{dtype}, that of its space", remedy)
        if value.shape != shape:
            remedy = "Return the same shape at every step, or correct the space."
            return Fault(f"{name}.shape", str(value.shape), f"{shape}, that of its space", remedy)
        if _share(value, last):
            return _shared(name)
        return _content(name, np.asarray(value), low, high)

    few = len(shape) == 1 and 0 < shape[0] <= UNROLLED
    return Check(_unrolled(dtype, low, high) if few else _block(dtype, shape, low, high), fault)


def _unrolled(dtype: np.dtype, low: np.ndarray, high: np.ndarray) -> Callable[[Any, Any], bool]:
    """`ok` of a vector, element by element in Python's own numbers."""
    names = [f"x{i}" for i in range(len(low))]
    ends = zip(low.tolist(), names, high.tolist(), strict=True)
    source = f"""
def ok(value, last):
    if value.__class__ is array and value.dtype is dtype and value is not last:
        if value.base is None or not share(value, last):
            try:
                [{", ".join(names)}] = value.tolist()
                return {" and ".join(f"{least!r} <= {x} <= {most!r}" for least, x, most in ends)}
            except (TypeError, ValueError):  # another shape
                pass
    return False
"""
    scope: dict[str, Any] = {"array": np.ndarray, "dtype": dtype, "share": _share}
    exec(source, scope)
    return scope["ok"]


def _block(dtype: np.dtype, shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> Callable[[Any, Any], bool]:
    """`ok` of an array of any shape: all elements within `low` and `high`, and none NaN."""
    size, array, less_equal = math.prod(shape), np.ndarray, np.less_equal
    least, most = _range(dtype)
    unbounded = bool((low <= least).all() and (high >= most).all())  # nothing but what is not finite can be wrong
    fine, true, ends = finite(dtype, size), b"\1" * (2 * size), None

    def buffers(order: Any) -> tuple[np.ndarray, ...]:
        """The ends, what each comparison says, and the memory where it says so."""
        memory = np.empty(2 * size, bool)
        ends = (np.full(shape, end, dtype, order=order) for end in (low, high))
        return *ends, *(half.reshape(shape, order=order) for half in (memory[:size], memory[size:])), memory

    def ok(value: Any, last: Any) -> bool:
        nonlocal ends
        if value.__class__ is not array or value.dtype is not dtype or value.shape != shape or value is last:
            return False
        if value.base is not None and _share(value, last):
            return False
        if unbounded:
            return fine(value.ravel(order="K"))
        if ends is None:  # operands that lie alike in memory are compared in one sweep
            ends = buffers("C" if value.flags.c_contiguous else "F")
        least, most, above, below, memory = ends
        less_equal(least, value, above)
        less_equal(value, most, below)
        return memory.tobytes() == true

    return ok


def _limits(space: Any, bounds: bool) -> tuple[np.ndarray, np.ndarray]:
    """[...] the least and the largest element, both finite."""
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + (space.nvec - 1)
    if isinstance(space, spaces.MultiBinary):
        return np.zeros(space.shape, space.dtype), np.ones(space.shape, space.dtype)
    least, most = _range(space.dtype)
    if not bounds:
        return np.full(space.shape, least, space.dtype), np.full(space.shape, most, space.dtype)
    return (space.low, space.high) if space.dtype.kind in "biu" else (space.low.clip(least), space.high.clip(max=most))


def _range(dtype: np.dtype) -> tuple[Any, Any]:
    if dtype.kind == "b":
        return False, True
    if dtype.kind in "iu":
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    most = min(LARGEST, float(np.finfo(dtype).max))
    return -most, most


def _content(name: str, value: np.ndarray, low: np.ndarray, high: np.ndarray) -> Fault | None:
    """The first element that is not finite or not within its bounds."""
    wrong = ~((low <= value) & (value <= high))
    if not wrong.any():
        return None
    index = tuple(np.argwhere(wrong)[0].tolist())
    element, name = value[index], f"{name}{list(index) or ''}"
    if element.dtype.kind == "f" and not LEAST <= float(element) <= LARGEST:
        return _infinite(name, element)
    least, most = (np.broadcast_to(end, value.shape)[index] for end in (low, high))
    remedy = "Clip it, correct the space, or let it pass: bounds=False."
    return Fault(name, str(element), f"in [{least}, {most}], its space", remedy)


def _infinite(name: str, value: Any) -> Fault:
    size = ", one that float32 can hold" if isinstance(value, int) or math.isfinite(value) else ""
    return Fault(name, str(value), f"a finite number{size}", "Look for an overflow, a division by zero, a root of -1.")


def _share(value: Any, last: Any) -> bool:
    return value is last or (
        isinstance(value, np.ndarray) and isinstance(last, np.ndarray) and np.shares_memory(value, last)
    )


def _shared(name: str) -> Fault:
    remedy = "Return a copy each time (a SyncVectorEnv: copy=True): learners keep what they have seen."
    return Fault(name, "in the memory of the one before", "memory of its own", remedy)
