"""The guard around a Gymnasium environment: what goes wrong is refused at the step where it does, in words.

Each reset and each step is checked: NaN and infinity, shapes and types and their drift, bounds of the space, flags that are no
flags, None, observations that share memory with the one before, episodes without an end, exceptions, use after close.
What passes, passes untouched: the very objects that the environment returned.

A single environment is stepped beneath the wrappers that `gymnasium.make` puts around it, `TimeLimit`, `OrderEnforcing` and
`PassiveEnvChecker`: order and checks are the guard's own, and so is the clock, which it needs anyway. What is saved there
pays for what is checked, 0.4 us: a step of CartPole-v1 takes 2 to 3 % longer. Vectors have no such wrappers; a step of all
takes 2.5 us longer for 64 CartPoles and 5 us for 1024, 6 % of the fastest there is: `python -m experiments benchmarks.guard`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from rljax import checks
from rljax.envs import guard_checks, host_spaces
from rljax.envs.guard_checks import FLAGS, LARGEST, LEAST, NUMBERS, Fault

_NEVER = 2**62
_ARRAY, _BOOL = np.ndarray, np.dtype(bool)
_CLOSED = Fault("the environment", "closed", "an open one", "Make another.")
_WAITS = Fault("the environment", "at no state to step from", "a reset before", "Call reset first, and after each end.")


class BadEnvironment(ValueError):
    """An environment has not kept its word; says where, what, and what was expected."""

    def __init__(self, env_id: str, step: int, when: str, fault: Fault) -> None:
        super().__init__(f"{env_id}, {when}: {fault.field} is {fault.value}; expected {fault.expected}. {fault.remedy}")
        self.env_id = env_id
        self.step = step  # steps taken since the guard was made, this one included; 0 in the first reset
        self.field = fault.field
        self.value = fault.value


def guarded(
    env: Any, *, env_id: str | None = None, max_episode_steps: int | None = None, bounds: bool = True
) -> GuardedEnv | GuardedVectorEnv:
    """The same environment, guarded. Use it in place of the given one: steps do not pass through all of its wrappers.

    Args:
      env: a `gymnasium.Env` or a `gymnasium.vector.VectorEnv`.
      env_id: its name in messages; default: that of its spec, or of its class.
      max_episode_steps: an episode that has not ended by then never will.
      bounds: observations must lie within the bounds of a Box.

    Returns:
      A `gymnasium.Wrapper` or a `gymnasium.vector.VectorWrapper`; both raise `BadEnvironment`.

    Errors:
      TypeError: what is no environment of Gymnasium, or has no spaces, or one that nothing learns from (Text, Graph, ...).
      ValueError: a limit below 1; a vector environment that does not say when it resets.

    Example:
      >>> env = guarded(gymnasium.make("CartPole-v1"))
      >>> observation, info = env.reset(seed=0)
      >>> env.close()
      >>> env.step(0)
      Traceback (most recent call last):
      rljax.envs.guard.BadEnvironment: CartPole-v1, step 1: the environment is closed; expected an open one. Make another.
    """
    if not isinstance(env, gymnasium.Env | VectorEnv):
        raise TypeError(
            f"env is {env!r}; expected an environment of Gymnasium, such as gymnasium.make('CartPole-v1') makes."
        )
    for name in ("observation_space", "action_space"):
        if not isinstance(getattr(env, name, None), gymnasium.Space):
            raise TypeError(f"the {name} of {env!r} is {getattr(env, name, None)!r}; expected one of gymnasium.spaces.")
    tuple(host_spaces.leaves(env.observation_space))
    if max_episode_steps is not None:
        checks.integer("max_episode_steps", max_episode_steps, 1)
    checks.flags(bounds=bounds)
    if env_id is None:
        env_id = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    mode = env.metadata.get("autoreset_mode")
    if isinstance(env, VectorEnv) and not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"the metadata of {env_id} has autoreset_mode {mode!r}; expected one of gymnasium.vector.AutoresetMode: when "
            "it resets cannot be seen from outside. Set env.metadata['autoreset_mode']."
        )
    made = GuardedVectorEnv if isinstance(env, VectorEnv) else GuardedEnv
    return made(env, env_id, max_episode_steps or _NEVER, bounds)  # pyright: ignore[reportArgumentType]


class _Watch:
    """What a guard remembers, and what it does when something is wrong."""

    def __init__(self, env_id: str, space: Any, bounds: bool) -> None:
        self.env_id = env_id
        self.ok, self.fault = guard_checks.observation(space, bounds)
        self.last: Any = None  # the observation before
        self.steps = 0  # in this episode of a single environment; since the reset of a vector
        self.stop = -1  # steps that need no second thought: -1 before a reset, after an end, after a fault
        self.past = 0  # steps before the last reset
        self.resets, self.resetting = 0, False
        self.open = True

    def bad(self, fault: Fault) -> BadEnvironment:
        """The error of this step or reset."""
        self.stop = -1
        total = self.past + self.steps
        when = f"reset {self.resets}" if self.resetting else f"step {total}"
        if self.past and not self.resetting:
            when += f", {self.steps} after reset {self.resets}"
        return BadEnvironment(self.env_id, total, when, fault)

    def raised(self, call: str, error: Exception) -> BadEnvironment:
        """The error of a call that raised another."""
        words = f"raising {type(error).__name__}" + (f": {error}" if str(error) else "")
        return self.bad(Fault(call, words, "an answer", "Correct the environment, or what it was given."))

    def begin(self, call: Any, seed: int | None, options: Any, kept: int = 0) -> tuple[Any, Any]:
        """What the reset answered, checked; `kept` steps go on counting (of a vector of which a part is reset)."""
        self.past, self.steps, self.stop = self.past + self.steps - kept, kept, -1
        self.resets, self.resetting = self.resets + 1, True
        if not self.open:
            raise self.bad(_CLOSED)
        try:
            answer = call(seed=seed, options=options)
        except Exception as error:
            raise self.raised("reset", error) from error
        observation, info = self.unpacked("reset", answer, 2)
        fault = guard_checks.info(info)
        if not self.ok(observation, self.last):
            fault = self.fault(observation, self.last) or fault
        if fault:
            raise self.bad(fault)
        self.last, self.resetting = observation, False
        return answer

    def allow(self) -> None:
        """Before a step that needs a second thought."""
        self.steps, self.resetting = self.steps + 1, False
        if not self.open or self.stop < 0:
            raise self.bad(_WAITS if self.open else _CLOSED)

    def unpacked(self, call: str, answer: Any, number: int) -> tuple[Any, ...]:
        """The parts of an answer."""
        if isinstance(answer, tuple | list) and len(answer) == number:
            return tuple(answer)
        parts = "(observation, reward, terminated, truncated, info)" if number == 5 else "(observation, info)"
        given = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else guard_checks.short(answer)
        raise self.bad(Fault(f"the answer of {call}", given, parts, "Return just these, as gymnasium.Env has it."))

    def close(self, call: Any) -> None:
        """Closed, once and for all."""
        if self.open:
            self.open, self.stop = False, -1
            try:
                call()
            except Exception as error:
                raise self.raised("close", error) from error


class GuardedEnv(gymnasium.Wrapper):
    """See `guarded`."""

    def __init__(self, env: gymnasium.Env, env_id: str, limit: int, bounds: bool) -> None:
        super().__init__(env)
        self._inner, self._clock = _beneath(env)
        self._step: Any = self._inner.step
        self._limit = limit
        self._watch = _Watch(env_id, env.observation_space, bounds)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """That of the environment."""
        answer = self._watch.begin(self._inner.reset, seed, options)
        self._watch.stop = min(self._limit, self._clock) - 1
        return answer

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """That of the environment."""
        watch, step = self._watch, self._step
        if watch.steps >= watch.stop:
            return self._careful_step(action)
        watch.steps += 1
        try:
            answer = step(action)
        except Exception as error:
            raise watch.raised(f"step({action!r})", error) from error
        try:
            observation, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            watch.unpacked("step", answer, 5)
            raise
        ok = watch.ok
        if (
            ok(observation, watch.last)
            and (reward.__class__ is float or reward.__class__ in NUMBERS)
            and LEAST <= reward <= LARGEST
            and info.__class__ is dict
        ):
            if terminated is False and truncated is False:
                watch.last = observation
                return answer
            if terminated.__class__ in FLAGS and truncated.__class__ in FLAGS:
                watch.last = observation
                if terminated or truncated:
                    watch.stop = -1
                return answer
        return self._judged(answer)

    def _careful_step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """A step that may be forbidden, or at which a clock may strike."""
        watch = self._watch
        watch.allow()
        try:
            answer = self._step(action)
        except Exception as error:
            raise watch.raised(f"step({action!r})", error) from error
        observation, reward, terminated, truncated, info = self._judged(watch.unpacked("step", answer, 5))
        if watch.steps >= self._clock:
            watch.stop = -1
            return observation, reward, terminated, True, info
        if watch.steps >= self._limit and not (terminated or truncated):
            raise watch.bad(_endless(self._limit))
        return answer

    def _judged(self, answer: tuple[Any, ...]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """The same answer, if nothing is wrong with it."""
        watch = self._watch
        observation, reward, terminated, truncated, info = answer
        fault = (
            watch.fault(observation, watch.last)
            or guard_checks.reward(reward)
            or guard_checks.flag("terminated", terminated)
            or guard_checks.flag("truncated", truncated)
            or guard_checks.info(info)
        )
        if fault:
            raise watch.bad(fault)
        watch.last = observation
        if terminated or truncated:
            watch.stop = -1
        return observation, reward, terminated, truncated, info

    def render(self) -> Any:
        """That of the environment."""
        return self._inner.render()

    def close(self) -> None:
        """That of the environment; a second time, nothing."""
        self._watch.close(super().close)


class GuardedVectorEnv(VectorWrapper):
    """See `guarded`."""

    def __init__(self, env: VectorEnv, env_id: str, limit: int, bounds: bool) -> None:
        super().__init__(env)
        self.autoreset_mode: AutoresetMode = env.metadata["autoreset_mode"]
        self._finals = self.autoreset_mode is AutoresetMode.SAME_STEP  # are in the info
        self._step: Any = env.step
        self._shape = (env.num_envs,)
        self._reward_dtype: np.dtype | None = None  # of the first step ...
        self._fine: Any = None  # ... and the fast look at rewards of that type
        self._final = guard_checks.observation(env.single_observation_space, bounds, "final_obs")
        self._watch = _Watch(env_id, env.observation_space, bounds)
        self._limit = limit
        self._begun = np.zeros(env.num_envs, np.int64)  # the step after which the episode of each began
        self._pause = int(self.autoreset_mode is AutoresetMode.NEXT_STEP)  # a reset takes a step of its own

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """That of the environment."""
        watch = self._watch
        chosen = None if options is None else options.get("reset_mask")  # the environment may take it out
        answer = watch.begin(self.env.reset, seed, options, kept=0 if chosen is None else watch.steps)
        self._begun[... if chosen is None else chosen] = watch.steps
        watch.stop = self._deadline() - 1
        return answer

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """That of the environment."""
        watch, shape = self._watch, self._shape
        careful = watch.steps >= watch.stop
        if careful:
            watch.allow()
        else:
            watch.steps += 1
        step = self._step
        try:
            answer = step(actions)
        except Exception as error:
            raise watch.raised("step", error) from error
        try:
            observation, reward, terminated, truncated, info = answer
        except (TypeError, ValueError):
            watch.unpacked("step", answer, 5)
            raise
        ok, fine = watch.ok, self._fine
        if not (
            ok(observation, watch.last)
            and reward.__class__ is _ARRAY
            and reward.dtype is self._reward_dtype
            and reward.shape == shape
            and fine(reward)
            and terminated.__class__ is _ARRAY
            and terminated.dtype is _BOOL
            and terminated.shape == shape
            and truncated.__class__ is _ARRAY
            and truncated.dtype is _BOOL
            and truncated.shape == shape
            and info.__class__ is dict
        ):
            self._judge(observation, reward, terminated, truncated, info)
        watch.last = observation
        if self._finals and b"\1" in terminated.tobytes() + truncated.tobytes():
            self._judge_final(terminated | truncated, info)
        if self._limit < _NEVER:
            np.copyto(self._begun, watch.steps + self._pause, where=terminated | truncated)
            if careful:
                endless = watch.steps - self._begun >= self._limit
                if endless.any():
                    raise watch.bad(_endless(self._limit, f" of environment {int(np.argmax(endless))}"))
                watch.stop = self._deadline() - 1
        return answer

    def _judge(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> None:
        watch = self._watch
        fault = (
            watch.fault(observation, watch.last)
            or guard_checks.rewards(reward, self._shape, self._reward_dtype)
            or guard_checks.flags("terminated", terminated, self._shape)
            or guard_checks.flags("truncated", truncated, self._shape)
            or guard_checks.info(info)
        )
        if fault:
            raise watch.bad(fault)
        if self._reward_dtype is None:
            self._reward_dtype, self._fine = reward.dtype, guard_checks.finite(reward.dtype, len(reward))

    def _judge_final(self, ended: np.ndarray, info: dict[str, Any]) -> None:
        """What was seen last, of environments that were reset in this very step."""
        watch, final = self._watch, info.get("final_obs")
        if final is None:
            remedy = "A vector environment that resets in the same step puts the last observations there."
            raise watch.bad(Fault("info['final_obs']", "missing", "an observation of each that ended", remedy))
        if watch.ok(final, None):  # one array for all
            return
        for lane in np.flatnonzero(ended).tolist():
            last = host_spaces.row(final, lane)
            fault = None if self._final.ok(last, None) else self._final.fault(last, None)
            if fault:
                raise watch.bad(fault._replace(field=f"{fault.field} of environment {lane}"))

    def _deadline(self) -> int:
        """The first step at which an episode may be too old."""
        return int(self._begun.min()) + self._limit

    def close(self, **kwargs: Any) -> None:
        """That of the environment; a second time, nothing."""
        self._watch.close(lambda: self.env.close(**kwargs))


def _endless(limit: int, whose: str = "") -> Fault:
    remedy = "Terminate it where the task ends, truncate it (gymnasium.wrappers.TimeLimit), or allow more: max_episode_steps."
    return Fault(f"the episode{whose}", f"{limit} steps old and not over", "an end by then", remedy)


def _beneath(env: gymnasium.Env) -> tuple[gymnasium.Env, int]:
    """What to step, and the most steps of an episode that the wrappers above it allow."""
    clock = _NEVER
    while type(env) in (TimeLimit, OrderEnforcing, PassiveEnvChecker):
        clock = min(clock, getattr(env, "_max_episode_steps", _NEVER))
        env = env.env  # pyright: ignore[reportAttributeAccessIssue]
    return env, clock
