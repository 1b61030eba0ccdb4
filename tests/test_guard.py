"""The guard: every fault of the catalogue refused at its step, in words; what is good passes as it is."""

from __future__ import annotations

import json
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from bad_environments import (
    AT,
    LANES,
    OTHERS,
    RESETS,
    STEPS,
    VECTORS,
    BadCartPole,
    BadVector,
    Counter,
    Scripted,
    counters,
)
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from experiments import __main__ as command_line
from rljax.envs import guard_checks
from rljax.envs.guard import BadEnvironment, guarded


def refusal(call, env_id, step, when, field, value):
    """The call is refused with all that a message must have."""
    with pytest.raises(BadEnvironment) as caught:
        call()
    error, text = caught.value, str(caught.value)
    assert text.startswith(f"{env_id}, {when}: {field} is {value}"), text
    assert "; expected " in text and text.endswith("."), text
    assert error.step == step and error.env_id == env_id and error.field == field
    assert len(text) < 300 and "\n" not in text


def play(env, steps, seed=0):
    """Push left and right in turn."""
    env.reset(seed=seed)
    for t in range(steps):
        env.step(t % 2)


@pytest.mark.parametrize("fault", STEPS)
@pytest.mark.parametrize("at", [1, AT])
def test_a_bad_step_is_refused_when_it_is_taken(fault, at):
    env = guarded(BadCartPole(fault, at))
    bad = STEPS[fault]
    play(env, at - 1)
    field = f"step({(at - 1) % 2})" if fault == "raises" else bad.field
    refusal(lambda: env.step((at - 1) % 2), "BadCartPole", at, f"step {at}", field, bad.value)
    refusal(lambda: env.step(0), "BadCartPole", at + 1, f"step {at + 1}", "the environment", "at no state")


@pytest.mark.parametrize("fault", RESETS)
@pytest.mark.parametrize("at", [1, 3])
def test_a_bad_reset_is_refused(fault, at):
    env = guarded(BadCartPole(fault, at, "reset"))
    for _ in range(at - 1):
        play(env, 2)
    bad = RESETS[fault]
    refusal(lambda: env.reset(seed=0), "BadCartPole", 2 * (at - 1), f"reset {at}", bad.field, bad.value)


@pytest.mark.parametrize("fault", OTHERS)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_what_is_bad_in_other_spaces(fault, at):
    other = OTHERS[fault]
    if at == 0 and "memory" in fault:
        return
    fresh = lambda x: {k: v.copy() if k == "at" else v for k, v in x.items()} if isinstance(x, dict) else copied(x)
    good = [fresh(other.good) for _ in range(at - 1)] + [other.good] * (at > 0)
    env = guarded(Scripted(other.space, [*good, other.bad]), env_id="Other-v3")
    run = lambda: env.reset() if at == 0 else env.step(0)
    if at:
        play(env, at - 1)
    refusal(run, "Other-v3", at, f"step {at}" if at else "reset 1", other.field, other.value)


def copied(x):
    if isinstance(x, tuple):
        return tuple(map(copied, x))
    return x.copy() if isinstance(x, np.ndarray) else x


@pytest.mark.parametrize("fault", VECTORS)
def test_what_is_bad_in_vectors(fault):
    env, bad = guarded(BadVector(fault)), VECTORS[fault]
    env.reset(seed=0)
    for t in range(AT - 1):
        env.step(np.full(LANES, t % 2))
    refusal(lambda: env.step(np.zeros(LANES, int)), "BadVector", AT, f"step {AT}", bad.field, bad.value)


def test_the_catalogue_is_long_enough():
    assert len(STEPS) + len(RESETS) + len(OTHERS) + len(VECTORS) >= 90


def test_what_never_ends():
    env = guarded(BadCartPole(where="for ever"), max_episode_steps=30)
    for episode in range(2):
        play(env, 29)
        when = "step 30" if episode == 0 else "step 60, 30 after reset 2"
        refusal(lambda: env.step(0), "BadCartPole", 30 + 30 * episode, when, "the episode", "30 steps old and not over")


def test_what_ends_in_time_is_no_fault():
    env = guarded(gymnasium.make("CartPole-v1", max_episode_steps=5), max_episode_steps=5)
    for _ in range(3):
        play(env, 4)
        assert env.step(0)[2:4] == (False, True)


@pytest.mark.parametrize("limit", [40, 300])
def test_which_of_a_vector_never_ends(limit):
    env = guarded(BadVector(), max_episode_steps=limit)
    env.reset(seed=0)
    for _ in range(limit - 1):
        env.step(np.zeros(LANES, int))
    field = "the episode of environment 1"
    refusal(lambda: env.step(np.zeros(LANES, int)), "BadVector", limit, f"step {limit}", field, f"{limit} steps old")


@pytest.mark.parametrize("mode", AutoresetMode)
def test_the_age_of_each_episode_of_a_vector_is_known(mode):
    """Episodes of lane 1 have 5, 6, 7, ... steps: the limit of 9 is passed in the sixth, whichever way they are reset."""
    env = guarded(counters(mode, (1, 5, 2)), max_episode_steps=9)
    env.reset(seed=0)
    steps = 5 + 6 + 7 + 8 + 9 + 9 + (5 if mode is AutoresetMode.NEXT_STEP else 0)
    for t in range(steps):
        if t + 1 == steps:
            refusal(lambda: env.step(np.zeros(3, int)), "SyncVectorEnv", steps, f"step {steps}", *ENDLESS)
            return
        *_, terminated, truncated, _ = env.step(np.zeros(3, int))
        if mode is AutoresetMode.DISABLED and (terminated | truncated).any():
            env.reset(options={"reset_mask": terminated | truncated})


def test_the_age_of_an_episode_after_many_steps():
    class Still(gymnasium.vector.VectorEnv):
        """Nothing but ends, every seven steps, until step 70 000."""

        num_envs, single_action_space = 2, spaces.Discrete(2)
        single_observation_space = spaces.Box(-np.inf, np.inf, (1,))
        action_space = spaces.MultiDiscrete([2, 2])
        observation_space = spaces.Box(-np.inf, np.inf, (2, 1))
        metadata: ClassVar = {"autoreset_mode": AutoresetMode.SAME_STEP}
        seen: ClassVar = [np.zeros((2, 1), np.float32) for _ in range(2)]
        flags: ClassVar = [np.zeros(2, bool), np.ones(2, bool)]
        reward = np.zeros(2, np.float32)

        def reset(self, *, seed=None, options=None):
            self.steps = 0
            return self.seen[0], {}

        def step(self, actions):
            self.steps += 1
            ends = self.steps % 7 == 0 and self.steps <= 70_000
            now = self.seen[self.steps % 2]
            return now, self.reward, self.flags[ends], self.flags[0], {"final_obs": now} if ends else {}

    env = guarded(Still(), max_episode_steps=20)
    env.reset()
    for _ in range(70_019):
        env.step(None)
    field = "the episode of environment 0"
    refusal(lambda: env.step(None), "Still", 70_020, "step 70020", field, "20 steps old and not over")


ENDLESS = ("the episode of environment 1", "9 steps old and not over")


def test_raising_in_close_and_use_after_it():
    env = guarded(BadCartPole(where="close"))
    play(env, 3)
    refusal(env.close, "BadCartPole", 3, "step 3", "close", "raising OSError: the window is gone")
    refusal(lambda: env.step(0), "BadCartPole", 4, "step 4", "the environment", "closed")
    refusal(env.reset, "BadCartPole", 4, "reset 2", "the environment", "closed")
    env.close()
    vector = guarded(BadVector("NaN"))
    vector.close()
    refusal(vector.reset, "BadVector", 0, "reset 1", "the environment", "closed")
    refusal(lambda: vector.step(np.zeros(LANES, int)), "BadVector", 1, "step 1", "the environment", "closed")
    vector.close()


def test_the_order_of_calls():
    env = guarded(gymnasium.make("CartPole-v1"))
    refusal(lambda: env.step(0), "CartPole-v1", 1, "step 1", "the environment", "at no state")
    env.reset(seed=0)
    while not env.step(0)[2]:
        pass
    with pytest.raises(BadEnvironment, match="the environment is at no state to step from"):
        env.step(0)


def test_bounds_may_be_left_out_but_not_what_is_finite():
    env = guarded(BadCartPole("too far right"), bounds=False)
    play(env, AT)
    with pytest.raises(BadEnvironment, match=r"observation\[2\] is nan"):
        play(guarded(BadCartPole("NaN"), bounds=False), AT)
    wide = guarded(Scripted(spaces.Box(0, 1, (3, 7)), [np.full((3, 7), 5.0, np.float32)]), bounds=False)
    wide.reset()


def test_final_observations_are_checked():
    """Of a vector that resets in the same step: they are in the info."""

    class Last(Counter):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation * (np.nan if truncated else 1), reward, terminated, truncated, info

    env = guarded(SyncVectorEnv([lambda n=n: Last(n) for n in (9, 5)], autoreset_mode=AutoresetMode.SAME_STEP))
    env.reset(seed=0)
    for _ in range(4):
        env.step(np.zeros(2, int))
    field = "final_obs[0] of environment 1"
    refusal(lambda: env.step(np.zeros(2, int)), "SyncVectorEnv", 5, "step 5", field, "nan")


GOOD = {
    "CartPole-v1": {},
    "MountainCar-v0": {},
    "MountainCarContinuous-v0": {},
    "Pendulum-v1": {},
    "Acrobot-v1": {},
    "Blackjack-v1": {},
    "FrozenLake-v1": {},
    "CliffWalking": {},
    "Taxi": {},
}


def made(name):
    newest = max(known for known in gymnasium.registry if known.startswith(name))
    return gymnasium.make(newest, **GOOD[name])


def same(one, other):
    """Equal to the bit, in value and in type."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", GOOD)
def test_what_is_good_passes_as_it_is(name):
    plain, env = made(name), guarded(made(name), max_episode_steps=10_000)
    assert same(plain.reset(seed=3), env.reset(seed=3))
    plain.action_space.seed(4)
    for _ in range(600):
        action = plain.action_space.sample()
        one, other = plain.step(action), env.step(action)
        assert same(one, other)
        if one[2] or one[3]:
            assert same(plain.reset(), env.reset())
    env.close()


@pytest.mark.parametrize("mode", ["vector_entry_point", *AutoresetMode])
def test_vectors_pass_as_they_are(mode):
    def make():
        if mode == "vector_entry_point":
            return gymnasium.make_vec("CartPole-v1", num_envs=5, vectorization_mode=mode)
        return gymnasium.make_vec(
            "CartPole-v1", num_envs=5, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}
        )

    plain, env = make(), guarded(make(), max_episode_steps=500)
    assert same(plain.reset(seed=3), env.reset(seed=3))
    plain.action_space.seed(4)
    for _ in range(300):
        action = plain.action_space.sample()
        one, other = plain.step(action), env.step(action)
        assert same(one[:4], other[:4])
        ended = one[2] | one[3]
        if mode is AutoresetMode.DISABLED and ended.any():
            again = [e.reset(options={"reset_mask": ended.copy()}) for e in (plain, env)]
            assert same(*again)
    env.close()


def test_the_fast_look_never_passes_what_the_exact_one_refuses():
    """All spaces, all layouts of memory, random values of which one may be bad."""
    rng = np.random.default_rng(0)
    for trial in range(600):
        shape = tuple(rng.integers(1, 5, rng.integers(0, 4)).tolist())
        dtype = rng.choice(["float16", "float32", "float64", "int8", "uint8", "int64"])
        low, high = [(-3, 3), (-np.inf, np.inf), (0, 2), (-1, np.inf)][rng.integers(4)]
        if dtype in ("int8", "uint8", "int64"):
            low, high = 0, 3
        space = spaces.Box(low, high, shape, dtype)
        value = np.asarray(rng.uniform(0, 1, shape)).astype(dtype)
        value = np.array(value, order=rng.choice(["C", "F"]))
        if trial % 3 and value.ndim:
            index = tuple(rng.integers(0, n) for n in shape)
            wrong = [np.nan, np.inf, -np.inf, 7, 2.5, 3.0]
            value[index] = wrong[rng.integers(6)] if value.dtype.kind == "f" else [0, 1, 4][rng.integers(3)]
        bounds = bool(trial % 2)
        ok, fault = guard_checks.observation(space, bounds)
        finite = value.dtype.kind != "f" or np.isfinite(value).all()
        assert (fault(value, None) is None) == (finite and (not bounds or space.contains(value)))
        if ok(value, None):
            assert fault(value, None) is None
        elif value.ndim and value.dtype.kind != "f":
            assert fault(value, None) is not None  # and where it can be sure, it is
        assert not ok(value, value)


def test_what_it_costs_can_be_measured(tmp_path):
    command_line.run(["benchmarks.guard", "--quick", "--seconds", "0.05", "--out", str(tmp_path)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary) == 9 and all(row["microseconds_per_step"] > 0 for row in summary.values())


def test_refusals():
    with pytest.raises(TypeError, match=r"expected an environment of Gymnasium"):
        guarded("CartPole-v1")
    with pytest.raises(TypeError, match=r"the space of observation is Text.*TransformObservation"):
        guarded(Scripted(spaces.Text(3), ["abc"]))
    with pytest.raises(TypeError, match=r"the observation_space of .* is None; expected one of gymnasium.spaces"):
        guarded(Scripted(None, []))
    with pytest.raises(ValueError, match=r"max_episode_steps is 0; expected a whole number of at least 1"):
        guarded(Counter(3), max_episode_steps=0)
    with pytest.raises(TypeError, match=r"bounds is 1; expected True or False"):
        guarded(Counter(3), bounds=1)
    vector = counters(AutoresetMode.NEXT_STEP, (2, 3))
    del vector.metadata["autoreset_mode"]
    with pytest.raises(ValueError, match=r"the metadata of SyncVectorEnv has autoreset_mode None; expected one of"):
        guarded(vector)
