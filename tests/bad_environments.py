"""Environments that do not keep their word: a catalogue of faults, each with what its refusal must say.

Every one is good until its step: CartPole that goes wrong at step `AT`, or at a reset, or small worlds whose observations are
written down; and the same for vectors. `field` and `value` are what the message must name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AutoresetMode

AT = 7  # the step that goes wrong
NAN, INF = float("nan"), float("inf")


class Bad(NamedTuple):
    """One fault: what is done to an answer, and what must be said of it."""

    change: Callable[[Any, Any], Any]  # (environment, its answer) -> what it returns instead
    field: str
    value: str


def part(index: int, change: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """One part of an answer, changed."""
    return lambda env, answer: tuple(change(x) if i == index else x for i, x in enumerate(answer))


def put(index: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A copy with one element changed."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[index] = value
        return array

    return change


def reused(view: bool) -> Callable[[Any, Any], Any]:
    """The observation, written into the array that was returned before."""

    def change(env: Any, answer: Any) -> Any:
        env.last[:] = answer[0]
        return (env.last[:] if view else env.last, *answer[1:])

    return change


def crash(env: Any, answer: Any) -> Any:
    raise ZeroDivisionError("float division by zero")


ABOVE = np.nextafter(np.float32(4.8), np.float32(9), dtype=np.float32)  # by the smallest step there is

STEPS = {
    # observations
    "NaN": Bad(part(0, put(2, NAN)), "observation[2]", "nan"),
    "infinite": Bad(part(0, put(1, INF)), "observation[1]", "inf"),
    "minus infinity": Bad(part(0, put(3, -INF)), "observation[3]", "-inf"),
    "all NaN": Bad(part(0, lambda o: o * NAN), "observation[0]", "nan"),
    "float64": Bad(part(0, lambda o: o.astype(np.float64)), "observation.dtype", "float64"),
    "float16": Bad(part(0, lambda o: o.astype(np.float16)), "observation.dtype", "float16"),
    "integers": Bad(part(0, lambda o: o.astype(int)), "observation.dtype", "int64"),
    "bool": Bad(part(0, lambda o: o > 0), "observation.dtype", "bool"),
    "objects": Bad(part(0, lambda o: o.astype(object)), "observation.dtype", "object"),
    "one more": Bad(part(0, lambda o: np.append(o, o[:1])), "observation.shape", "(5,)"),
    "one less": Bad(part(0, lambda o: o[:3].copy()), "observation.shape", "(3,)"),
    "a column": Bad(part(0, lambda o: o[:, None].copy()), "observation.shape", "(4, 1)"),
    "a row": Bad(part(0, lambda o: o[None].copy()), "observation.shape", "(1, 4)"),
    "empty": Bad(part(0, lambda o: o[:0].copy()), "observation.shape", "(0,)"),
    "a scalar": Bad(part(0, lambda o: o[0]), "observation", "np.float32"),
    "a list": Bad(part(0, lambda o: [1, 2, 3, 4]), "observation", "[1, 2, 3, 4]"),
    "a tuple": Bad(part(0, lambda o: (1.0, 2.0)), "observation", "(1.0, 2.0)"),
    "None": Bad(part(0, lambda o: None), "observation", "None"),
    "a dict": Bad(part(0, lambda o: {"position": 0}), "observation", "{'position': 0}"),
    "too far right": Bad(part(0, put(0, 100.0)), "observation[0]", "100.0"),
    "too far left": Bad(part(0, put(0, -100.0)), "observation[0]", "-100.0"),
    "just outside": Bad(part(0, put(0, ABOVE)), "observation[0]", str(ABOVE)),
    "the same array": Bad(reused(view=False), "observation", "in the memory of the one before"),
    "a view of the same array": Bad(reused(view=True), "observation", "in the memory of the one before"),
    # rewards
    "reward NaN": Bad(part(1, lambda r: NAN), "reward", "nan"),
    "reward NaN of NumPy": Bad(part(1, lambda r: np.float64(NAN)), "reward", "nan"),
    "reward infinite": Bad(part(1, lambda r: INF), "reward", "inf"),
    "reward minus infinity": Bad(part(1, lambda r: np.float32(-INF)), "reward", "-inf"),
    "reward beyond float32": Bad(part(1, lambda r: 1e39), "reward", "1e+39"),
    "reward a large integer": Bad(part(1, lambda r: 10**39), "reward", "1" + 39 * "0"),
    "reward None": Bad(part(1, lambda r: None), "reward", "None"),
    "reward in words": Bad(part(1, lambda r: "1.0"), "reward", "'1.0'"),
    "reward [1]": Bad(part(1, lambda r: np.array([r])), "reward", "array([1.])"),
    "reward True": Bad(part(1, lambda r: True), "reward", "True"),
    "reward complex": Bad(part(1, lambda r: 1j), "reward", "1j"),
    # flags
    "terminated None": Bad(part(2, lambda t: None), "terminated", "None"),
    "terminated 0": Bad(part(2, lambda t: 0), "terminated", "0"),
    "terminated [1]": Bad(part(2, lambda t: np.array([t])), "terminated", "array([False])"),
    "truncated None": Bad(part(3, lambda t: None), "truncated", "None"),
    "truncated 0.0": Bad(part(3, lambda t: 0.0), "truncated", "0.0"),
    "truncated in words": Bad(part(3, lambda t: "False"), "truncated", "'False'"),
    # the answer
    "info None": Bad(part(4, lambda i: None), "info", "None"),
    "info a list": Bad(part(4, lambda i: []), "info", "[]"),
    "four parts, as in Gym": Bad(lambda env, a: (*a[:3], a[4]), "the answer of step", "a tuple of 4"),
    "six parts": Bad(lambda env, a: (*a, {}), "the answer of step", "a tuple of 6"),
    "nothing": Bad(lambda env, a: None, "the answer of step", "None"),
    "the observation alone": Bad(lambda env, a: a[0], "the answer of step", "array(["),
    "raises": Bad(crash, "step(1)", "raising ZeroDivisionError: float division by zero"),
}

RESETS = {
    "NaN": Bad(part(0, put(0, NAN)), "observation[0]", "nan"),
    "float64": Bad(part(0, lambda o: o.astype(np.float64)), "observation.dtype", "float64"),
    "one more": Bad(part(0, lambda o: np.append(o, o[:1])), "observation.shape", "(5,)"),
    "outside": Bad(part(0, put(2, 1.0)), "observation[2]", "1.0"),
    "None": Bad(part(0, lambda o: None), "observation", "None"),
    "info None": Bad(part(1, lambda i: None), "info", "None"),
    "the observation alone, as in Gym": Bad(lambda env, a: a[0], "the answer of reset", "array(["),
    "nothing": Bad(lambda env, a: None, "the answer of reset", "None"),
    "raises": Bad(crash, "reset", "raising ZeroDivisionError: float division by zero"),
}


class BadCartPole(CartPoleEnv):
    """CartPole, wrong from step `at` on, or in reset number `at`; or never ending."""

    def __init__(self, fault: str = "", at: int = AT, where: str = "step") -> None:
        super().__init__()
        self.fault, self.at, self.where, self.steps, self.resets = fault, at, where, 0, 0
        self.last = np.zeros(4, np.float32)

    def reset(self, *, seed=None, options=None):
        answer = super().reset(seed=seed, options=options)
        self.resets += 1
        if self.where == "reset" and self.resets >= self.at:
            return RESETS[self.fault].change(self, answer)
        self.last = answer[0]
        return answer

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        answer = observation, reward, terminated and self.where != "for ever", truncated, info
        if self.where == "for ever":
            self.state[:] *= 0.5  # inside its space, for ever
        if self.where == "step" and self.steps >= self.at:
            return STEPS[self.fault].change(self, answer)
        self.last = observation
        return answer

    def close(self):
        if self.where == "close":
            raise OSError("the window is gone")


class Scripted(gymnasium.Env):
    """A world without rewards whose observations are given; the last one again and again."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: gymnasium.Space, seen: list[Any]) -> None:
        self.observation_space, self.seen, self.steps = space, seen, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.seen[0], {}

    def step(self, action):
        self.steps += 1
        return self.seen[min(self.steps, len(self.seen) - 1)], 0.0, False, False, {}


class Other(NamedTuple):
    """A space, what is good there, what is bad, and what must be said of it."""

    space: gymnasium.Space
    good: Any
    bad: Any
    field: str
    value: str


def camera(pixel: float) -> np.ndarray:
    return np.full((3, 7), pixel, np.float32)


_PARTS = spaces.Dict({"at": spaces.Box(-1, 1, (2,)), "gear": spaces.Discrete(3, start=1)})
_PAIR = spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(3)])
_AT = np.zeros(2, np.float32)
OTHERS = {
    "Discrete, above": Other(spaces.Discrete(4), 3, 4, "observation", "4"),
    "Discrete, below its start": Other(spaces.Discrete(4, start=1), 1, 0, "observation", "0"),
    "Discrete, a float": Other(spaces.Discrete(4), np.int64(3), 3.0, "observation", "3.0"),
    "Discrete, bool": Other(spaces.Discrete(4), np.int32(3), True, "observation", "True"),
    "Discrete, None": Other(spaces.Discrete(4), 0, None, "observation", "None"),
    "Discrete, [1]": Other(spaces.Discrete(4), np.array(0), np.array([0]), "observation", "array([0])"),
    "MultiDiscrete, above": Other(
        spaces.MultiDiscrete([2, 3]), np.array([1, 2]), np.array([1, 3]), "observation[1]", "3"
    ),
    "MultiDiscrete, floats": Other(
        spaces.MultiDiscrete([2, 3]), np.array([1, 2], np.int32), np.array([1.0, 2.0]), "observation.dtype", "float64"
    ),
    "MultiBinary, 2": Other(
        spaces.MultiBinary(3), np.array([0, 1, 0], np.int8), np.array([0, 1, 2], np.int8), "observation[2]", "2"
    ),
    "a picture, NaN": Other(
        spaces.Box(0, 1, (3, 7)), camera(0.5), put((2, 6), NAN)(camera(0.5)), "observation[2, 6]", "nan"
    ),
    "a picture, outside": Other(
        spaces.Box(0, 1, (3, 7)), camera(0.5), put((1, 0), 1.5)(camera(0.5)), "observation[1, 0]", "1.5"
    ),
    "without bounds, infinite": Other(
        spaces.Box(-INF, INF, (3, 7)), camera(9e9), put((0, 3), -INF)(camera(0.5)), "observation[0, 3]", "-inf"
    ),
    "float64 beyond float32": Other(
        spaces.Box(-INF, INF, (1,), np.float64), np.array([1e38]), np.array([1e39]), "observation[0]", "1e+39"
    ),
    "bytes, above": Other(
        spaces.Box(0, 9, (20,), np.uint8), np.full(20, 9, np.uint8), np.full(20, 10, np.uint8), "observation[0]", "10"
    ),
    "no axes, NaN": Other(
        spaces.Box(-1, 1, ()), np.zeros((), np.float32), np.full((), NAN, np.float32), "observation", "nan"
    ),
    "Dict, a part missing": Other(
        _PARTS, {"at": _AT, "gear": 3}, {"at": _AT + 1}, "observation", "a dict with 'at'; expected"
    ),
    "Dict, a part NaN": Other(
        _PARTS, {"at": _AT, "gear": 3}, {"at": _AT * NAN, "gear": 3}, "observation['at'][0]", "nan"
    ),
    "Dict, a part outside": Other(
        _PARTS, {"at": _AT, "gear": 3}, {"at": _AT.copy(), "gear": 0}, "observation['gear']", "0"
    ),
    "Dict, a part in the same memory": Other(
        _PARTS, {"at": _AT, "gear": 3}, {"at": _AT, "gear": 3}, "observation['at']", "in the memory of the one before"
    ),
    "Tuple, one less": Other(_PAIR, (0, np.zeros(3, np.int8)), (0,), "observation", "(0,)"),
    "Tuple, a list": Other(_PAIR, (0, np.zeros(3, np.int8)), [0, np.ones(3, np.int8)], "observation", "[0, array("),
    "Tuple, outside": Other(_PAIR, (0, np.zeros(3, np.int8)), (1, np.full(3, -1, np.int8)), "observation[1][0]", "-1"),
}

LANES = 3
VECTORS = {
    "NaN": Bad(part(0, put((1, 2), NAN)), "observation[1, 2]", "nan"),
    "infinite": Bad(part(0, put((2, 1), INF)), "observation[2, 1]", "inf"),
    "outside": Bad(part(0, put((0, 0), -5.0)), "observation[0, 0]", "-5.0"),
    "float64": Bad(part(0, lambda o: o.astype(np.float64)), "observation.dtype", "float64"),
    "one environment less": Bad(part(0, lambda o: o[1:].copy()), "observation.shape", "(2, 4)"),
    "a list": Bad(part(0, lambda o: list(o)), "observation", "[array("),
    "the same array": Bad(reused(view=False), "observation", "in the memory of the one before"),
    "reward NaN": Bad(part(1, put(1, NAN)), "reward[1]", "nan"),
    "reward infinite": Bad(part(1, put(2, -INF)), "reward[2]", "-inf"),
    "reward a list": Bad(part(1, lambda r: [1, 1, 1]), "reward", "[1, 1, 1]"),
    "reward a column": Bad(part(1, lambda r: r[:, None]), "reward.shape", "(3, 1)"),
    "reward of another type": Bad(part(1, lambda r: r.astype(np.float64)), "reward.dtype", "float64"),
    "reward objects": Bad(part(1, lambda r: r.astype(object)), "reward", "an array of object"),
    "terminated 0 and 1": Bad(part(2, lambda t: t.astype(int)), "terminated", "an array of int64"),
    "terminated one": Bad(part(2, lambda t: False), "terminated", "False"),
    "truncated a column": Bad(part(3, lambda t: t[:, None]), "truncated.shape", "(3, 1)"),
    "truncated None": Bad(part(3, lambda t: None), "truncated", "None"),
    "info None": Bad(part(4, lambda i: None), "info", "None"),
    "four parts": Bad(lambda env, a: a[:4], "the answer of step", "a tuple of 4"),
    "raises": Bad(crash, "step", "raising ZeroDivisionError: float division by zero"),
}


class BadVector(CartPoleVectorEnv):
    """Three CartPoles, wrong from step `AT` on; one of them never ending, where there is no fault."""

    def __init__(self, fault: str = "") -> None:
        super().__init__(LANES)
        self.fault, self.steps_taken, self.last = fault, 0, np.zeros((LANES, 4), np.float32)

    def reset(self, **options):
        answer = super().reset(**options)
        self.last = answer[0]
        return answer

    def step(self, action):
        if not self.fault:
            self.state[:, 1] *= 0.5
        answer = super().step(action)
        self.steps_taken += 1
        if self.fault and self.steps_taken >= AT:
            return VECTORS[self.fault].change(self, answer)
        self.last = answer[0]
        return answer


def counters(mode: AutoresetMode, lengths: tuple[int, ...]) -> gymnasium.vector.SyncVectorEnv:
    """Environments that count, see `Counter`."""
    return gymnasium.vector.SyncVectorEnv([lambda n=n: Counter(n) for n in lengths], autoreset_mode=mode)


class Counter(gymnasium.Env):
    """What it shows is the number of its episode and of the step in it; episodes have `length` steps, `length + 1`, ...

    Every second one is truncated, the others terminate; the reward is the number of the step, and action 1 doubles it.
    """

    observation_space = spaces.Box(0, INF, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self.length, self.episode, self.clock = length, -1, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.clock = self.episode + 1, 0
        return np.array([self.episode, 0], np.float32), {}

    def step(self, action):
        self.clock += 1
        over, even = self.clock == self.length + self.episode, self.episode % 2 == 0
        seen = np.array([self.episode, self.clock], np.float32)
        return seen, float(self.clock * (1 + action)), over and not even, over and even, {}
