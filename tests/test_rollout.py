"""Rollouts: what each transition says at the end of an episode, in three modes; whole episodes; refusals."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rljax import rollout
from rljax.envs import CartPole, CartPoleState, TimeLimit, TimeLimitState
from rljax.structs import Step

pytestmark = pytest.mark.usefixtures("optimised")

MODES = ("none", "same_step", "next_step")


class Count(NamedTuple):
    count: jax.Array  # [] int32


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Counter:
    """Counts its steps and terminates at `end`. The reward tells the count and the action apart."""

    end: int = 4

    def reset(self, key):
        return Count(jnp.int32(0)), self.observe(Count(jnp.int32(0)))

    def observe(self, state):
        return 10.0 * state.count.astype(jnp.float32)

    def step(self, key, state, action):
        after = Count(state.count + 1)
        reward = (100 * state.count + action).astype(jnp.float32)
        terminated = after.count >= self.end
        return after, Step(self.observe(after), reward, terminated, jnp.zeros_like(terminated))


COUNTER = TimeLimit(Counter(), 3)


def coin(key, observation):
    return jax.random.bernoulli(key).astype(jnp.int32)


def next_number(key, observation):
    """The count seen, plus one."""
    return (observation / 10.0).astype(jnp.int32) + 1


def counters():
    """Three counters that start at 0, 2 and 1: their first episodes are truncated, terminated, and both at once."""
    return rollout.Cursor(TimeLimitState(Count(jnp.int32([0, 2, 1])), jnp.zeros(3, jnp.int32)), jnp.zeros(3, bool))


@functools.partial(jax.jit, static_argnums=(2, 3))
def count_from(key, cursor, steps, mode):
    return rollout.unroll(key, COUNTER, next_number, cursor, steps, autoreset=mode)


def count(seed, steps, mode, cursor=None):
    return count_from(jax.random.key(seed), cursor or counters(), steps, mode)


# Twelve steps by hand. One line per counter.

SOURCE = {
    "none": ["0 1 2 3 3 3 3 3 3 3 3 3", "2 3 4 4 4 4 4 4 4 4 4 4", "1 2 3 4 4 4 4 4 4 4 4 4"],
    "same_step": ["0 1 2 0 1 2 0 1 2 0 1 2", "2 3 0 1 2 0 1 2 0 1 2 0", "1 2 3 0 1 2 0 1 2 0 1 2"],
    "next_step": ["0 1 2 3 0 1 2 3 0 1 2 3", "2 3 4 0 1 2 3 0 1 2 3 0", "1 2 3 4 0 1 2 3 0 1 2 3"],
}
ARRIVAL = {
    "none": ["1 2 3 3 3 3 3 3 3 3 3 3", "3 4 4 4 4 4 4 4 4 4 4 4", "2 3 4 4 4 4 4 4 4 4 4 4"],
    "same_step": ["1 2 3 1 2 3 1 2 3 1 2 3", "3 4 1 2 3 1 2 3 1 2 3 1", "2 3 4 1 2 3 1 2 3 1 2 3"],
    "next_step": ["1 2 3 3 1 2 3 3 1 2 3 3", "3 4 4 1 2 3 3 1 2 3 3 1", "2 3 4 4 1 2 3 3 1 2 3 3"],
}
CLOCK = {
    "none": ["0 1 2 3 3 3 3 3 3 3 3 3", "0 1 2 2 2 2 2 2 2 2 2 2", "0 1 2 3 3 3 3 3 3 3 3 3"],
    "same_step": ["0 1 2 0 1 2 0 1 2 0 1 2", "0 1 0 1 2 0 1 2 0 1 2 0", "0 1 2 0 1 2 0 1 2 0 1 2"],
    "next_step": ["0 1 2 3 0 1 2 3 0 1 2 3", "0 1 2 0 1 2 3 0 1 2 3 0", "0 1 2 3 0 1 2 3 0 1 2 3"],
}
ARRIVAL_CLOCK = {
    "none": ["1 2 3 3 3 3 3 3 3 3 3 3", "1 2 2 2 2 2 2 2 2 2 2 2", "1 2 3 3 3 3 3 3 3 3 3 3"],
    "same_step": ["1 2 3 1 2 3 1 2 3 1 2 3", "1 2 1 2 3 1 2 3 1 2 3 1", "1 2 3 1 2 3 1 2 3 1 2 3"],
    "next_step": ["1 2 3 3 1 2 3 3 1 2 3 3", "1 2 2 1 2 3 3 1 2 3 3 1", "1 2 3 3 1 2 3 3 1 2 3 3"],
}
TERMINATED = {
    "none": ["0 0 0 0 0 0 0 0 0 0 0 0", "0 1 0 0 0 0 0 0 0 0 0 0", "0 0 1 0 0 0 0 0 0 0 0 0"],
    "same_step": ["0 0 0 0 0 0 0 0 0 0 0 0", "0 1 0 0 0 0 0 0 0 0 0 0", "0 0 1 0 0 0 0 0 0 0 0 0"],
    "next_step": ["0 0 0 0 0 0 0 0 0 0 0 0", "0 1 0 0 0 0 0 0 0 0 0 0", "0 0 1 0 0 0 0 0 0 0 0 0"],
}
TRUNCATED = {
    "none": ["0 0 1 0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0 0 0 0 0 0", "0 0 1 0 0 0 0 0 0 0 0 0"],
    "same_step": ["0 0 1 0 0 1 0 0 1 0 0 1", "0 0 0 0 1 0 0 1 0 0 1 0", "0 0 1 0 0 1 0 0 1 0 0 1"],
    "next_step": ["0 0 1 0 0 0 1 0 0 0 1 0", "0 0 0 0 0 1 0 0 0 1 0 0", "0 0 1 0 0 0 1 0 0 0 1 0"],
}
VALID = {
    "none": ["1 1 1 0 0 0 0 0 0 0 0 0", "1 1 0 0 0 0 0 0 0 0 0 0", "1 1 1 0 0 0 0 0 0 0 0 0"],
    "same_step": ["1 1 1 1 1 1 1 1 1 1 1 1"] * 3,
    "next_step": ["1 1 1 0 1 1 1 0 1 1 1 0", "1 1 0 1 1 1 0 1 1 1 0 1", "1 1 1 0 1 1 1 0 1 1 1 0"],
}
REWARD = {  # 100 * count + action, the action being count + 1
    "none": ["1 102 203 0 0 0 0 0 0 0 0 0", "203 304 0 0 0 0 0 0 0 0 0 0", "102 203 304 0 0 0 0 0 0 0 0 0"],
    "same_step": [
        "1 102 203 1 102 203 1 102 203 1 102 203",
        "203 304 1 102 203 1 102 203 1 102 203 1",
        "102 203 304 1 102 203 1 102 203 1 102 203",
    ],
    "next_step": [
        "1 102 203 0 1 102 203 0 1 102 203 0",
        "203 304 0 1 102 203 0 1 102 203 0 1",
        "102 203 304 0 1 102 203 0 1 102 203 0",
    ],
}
# Where the cursor stands after twelve steps: count, clock, over.
AFTER = {
    "none": ([3, 4, 4], [3, 2, 3], [True, True, True]),
    "same_step": ([0, 1, 0], [0, 1, 0], [False, False, False]),
    "next_step": ([0, 1, 0], [0, 1, 0], [False, False, False]),
}


def table(rows, dtype=np.int32):
    """[12, 3], time-major."""
    return np.array([row.split() for row in rows], dtype=np.int32).T.astype(dtype)


@pytest.mark.parametrize("mode", MODES)
def test_every_field_by_hand(mode):
    cursor, played = count(0, 12, mode)
    expected = {
        "observation": 10.0 * table(SOURCE[mode], np.float32),
        "action": table(SOURCE[mode]) + 1,
        "reward": table(REWARD[mode], np.float32),
        "next_observation": 10.0 * table(ARRIVAL[mode], np.float32),
        "terminated": table(TERMINATED[mode], bool),
        "truncated": table(TRUNCATED[mode], bool),
        "valid": table(VALID[mode], bool),
        "state": TimeLimitState(Count(table(SOURCE[mode])), table(CLOCK[mode])),
        "next_state": TimeLimitState(Count(table(ARRIVAL[mode])), table(ARRIVAL_CLOCK[mode])),
    }
    assert set(expected) == set(played._fields)
    for name, value in expected.items():
        chex.assert_trees_all_equal_shapes_and_dtypes(getattr(played, name), value)
        for ours, theirs in zip(jax.tree.leaves(getattr(played, name)), jax.tree.leaves(value), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
    counts, clock, over = AFTER[mode]
    assert cursor.state.inner.count.tolist() == counts
    assert cursor.state.elapsed.tolist() == clock
    assert cursor.over.tolist() == over


def test_same_step_is_what_one_gets_unasked():
    unasked = rollout.unroll(jax.random.key(0), COUNTER, next_number, counters(), 12)
    chex.assert_trees_all_equal(unasked, count(0, 12, "same_step"))


@pytest.mark.parametrize("mode", MODES)
def test_last_observation_and_state_of_an_episode_are_true_ones(mode):
    """Not those of the reset: what a value estimate may bootstrap from."""
    _, played = count(0, 12, mode)
    ended = np.asarray(played.terminated | played.truncated)
    assert ended.sum() >= 3
    assert set(np.asarray(played.next_state.inner.count)[ended]) == {3, 4}
    np.testing.assert_array_equal(played.next_observation, 10.0 * np.asarray(played.next_state.inner.count))
    assert (np.asarray(played.next_state.inner.count)[np.asarray(played.terminated)] == 4).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cut", [3, 9])
def test_where_a_deterministic_run_is_cut_changes_nothing(mode, cut):
    """The pending reset of "next_step" and the dead of "none" travel in the cursor."""
    whole_cursor, whole = count(0, 12, mode)
    cursor, first = count(1, cut, mode)
    cursor, second = count(2, 12 - cut, mode, cursor)
    chex.assert_trees_all_equal(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second), whole)
    chex.assert_trees_all_equal(cursor, whole_cursor)


@pytest.mark.parametrize("before", ["none", "next_step"])
def test_same_step_takes_up_the_dead_of_another_mode(before):
    """After three steps the first and the third counter are over; whatever the mode was, each goes on with an episode."""
    cursor, _ = count(0, 3, before)
    assert cursor.over.tolist() == [True, before == "none", True]
    cursor, played = count(1, 9, "same_step", cursor)
    assert played.valid.all() and not cursor.over.any()
    dead = [0, 2]
    np.testing.assert_array_equal(np.asarray(played.state.inner.count)[:, dead].T, [[0, 1, 2] * 3] * 2)
    np.testing.assert_array_equal(np.asarray(played.truncated)[:, dead].T, [[0, 0, 1] * 3] * 2)


@pytest.mark.parametrize("after", ["none", "next_step"])
def test_the_dead_wait_for_what_the_next_mode_does_with_them(after):
    cursor, _ = count(0, 3, "next_step")
    _, played = count(1, 3, after, cursor)
    assert np.asarray(played.state.inner.count)[:, 0].tolist() == {"none": [3, 3, 3], "next_step": [3, 0, 1]}[after]
    assert np.asarray(played.valid)[:, 0].tolist() == [False] + [after == "next_step"] * 2


@pytest.mark.parametrize("mode", MODES)
def test_without_any_compiler_the_same(mode):
    compiled = count(0, 5, mode)
    with jax.disable_jit():
        eager = count(0, 5, mode)
    chex.assert_trees_all_equal(compiled, eager)


# The dead do not poison the living


class Squares:
    """x -> a x^2, over beyond 100. Left running it would overflow within eight steps."""

    def __init__(self, a):
        self.a = a

    def reset(self, key):
        return jnp.float32(2.0), jnp.float32(2.0)

    def observe(self, state):
        return state

    def step(self, key, state, action):
        after = self.a * jnp.square(state)
        return after, Step(after, -after, after > 100.0, jnp.bool_(False))


@pytest.mark.parametrize("masked", ["by the rollout", "by the caller"])
def test_gradient_of_what_was_lived_is_finite(masked):
    def total(a):
        cursor = rollout.Cursor(jnp.float32([2.0]), jnp.zeros(1, bool))
        policy = lambda key, observation: jnp.int32(0)
        _, played = rollout.unroll(jax.random.key(0), Squares(a), policy, cursor, 20, autoreset="none")
        by_rollout, by_caller = played.reward.sum(), -jnp.where(played.valid, played.next_state, 0.0).sum()
        return by_rollout if masked == "by the rollout" else by_caller

    # x_1 = 4 a, x_2 = 16 a^3, x_3 = 256 a^7, and there it ends.
    assert float(total(jnp.float32(1.0))) == -(4 + 16 + 256)
    assert float(jax.jit(jax.grad(total))(jnp.float32(1.0))) == -(4 + 3 * 16 + 7 * 256)


# Whole episodes


def lean(key, observation):
    """Towards the side that the pole leans to: 24 to 63 steps."""
    return (observation[2] > 0.0).astype(jnp.int32)


def episodes_against_unroll(env, limit, many=16):
    played = jax.jit(lambda key: rollout.episodes(key, env, lean, many, limit))(jax.random.key(0))
    key_start, key_play = jax.random.split(jax.random.key(0))

    @jax.jit
    def unrolled(key_start, key_play):
        cursor = rollout.start(key_start, env, many)
        return rollout.unroll(key_play, env, lean, cursor, limit, autoreset="none")[1]

    whole = unrolled(key_start, key_play)
    np.testing.assert_array_equal(played.lengths, whole.valid.sum(axis=0))
    np.testing.assert_array_equal(played.returns, whole.reward.sum(axis=0))
    assert played.lengths.dtype == jnp.int32 and played.returns.dtype == jnp.result_type(float)
    return played


def test_episodes_are_unrolls_that_record_nothing(precision):
    played = episodes_against_unroll(CartPole(sutton_barto_reward=True), 120)
    assert len(np.unique(played.lengths)) > 4 and set(played.returns.tolist()) == {-1.0}


def test_episodes_end_at_the_environments_own_limit():
    played = episodes_against_unroll(TimeLimit(CartPole(), 40), 60)
    assert played.lengths.max() == 40 and played.lengths.min() < 40


def test_episodes_stop_at_max_steps_and_count_it():
    forever = lambda key, observation: jnp.int32(0)
    never = Counter(end=10_000_000)
    played = rollout.episodes(jax.random.key(0), never, forever, 3, 7)
    assert played.lengths.tolist() == [7, 7, 7]
    assert played.returns.tolist() == [sum(100.0 * n for n in range(7))] * 3
    played = rollout.episodes(jax.random.key(0), Counter(end=5), forever, 2, 7)
    assert played.lengths.tolist() == [5, 5]


def test_episodes_max_steps_is_traced():
    chex.clear_trace_counter()
    env, still = Counter(end=6), lambda key, observation: jnp.int32(0)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def lengths(max_steps):
        return rollout.episodes(jax.random.key(0), env, still, 2, max_steps).lengths

    assert [lengths(jnp.int32(limit)).tolist() for limit in (2, 5, 9)] == [[2, 2], [5, 5], [6, 6]]


def test_episodes_of_a_random_agent_have_the_law_of_gymnasiums():
    """Lengths of 2000 episodes here and there: Kolmogorov-Smirnov at one in 10^5."""
    ours = jax.jit(lambda key: rollout.episodes(key, CartPole(), coin, 2000, 500))(jax.random.key(0)).lengths
    env, random, theirs = gymnasium.make("CartPole-v1").unwrapped, np.random.default_rng(0), []
    env.reset(seed=0)
    for _ in range(2000):
        env.reset()
        steps = 1
        while not env.step(random.integers(2))[2]:
            steps += 1
        theirs.append(steps)
    assert stats.ks_2samp(np.asarray(ours), theirs).pvalue > 1e-5


# Refusals

START = rollout.Cursor(CartPoleState(*jnp.zeros((4, 2))), jnp.zeros(2, bool))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda k: rollout.unroll(k, CartPole(), coin, START, 3, autoreset="always"),
            ValueError,
            "autoreset is 'always'; expected one of 'none', 'same_step', 'next_step'",
        ),
        (lambda k: rollout.unroll(k, CartPole(), coin, START, 3, autoreset=None), ValueError, "autoreset is None"),
        (
            lambda k: rollout.unroll(k, CartPole(), coin, START, 0),
            ValueError,
            "num_steps is 0; expected a whole number",
        ),
        (
            lambda k: rollout.unroll(k, CartPole(), coin, START, 2.0),
            TypeError,
            "num_steps is 2.0; expected a whole number",
        ),
        (lambda k: rollout.unroll(k, None, coin, START, 3), TypeError, "env is None; expected an environment"),
        (lambda k: rollout.unroll(k, CartPole(), 1, START, 3), TypeError, "policy is 1; expected a function"),
        (lambda k: rollout.start(k, CartPole, 2), TypeError, "expected an environment, such as"),
        (lambda k: rollout.episodes(k, None, coin, 2, 10), TypeError, "env is None; expected an environment"),
        (lambda k: rollout.start(k, CartPole(), 0), ValueError, "num_envs is 0; expected a whole number"),
        (lambda k: rollout.start(k, CartPole(), 1.5), TypeError, "num_envs is 1.5; expected a whole number"),
        (lambda k: rollout.episodes(k, CartPole(), coin, 0, 10), ValueError, "is 0; expected a whole number"),
        (lambda k: rollout.episodes(k, CartPole(), coin, 2, 0), ValueError, "max_steps is 0; expected"),
        (lambda k: rollout.episodes(k, CartPole(), coin, 2, 2.5), TypeError, "max_steps is 2.5; expected a whole"),
        (lambda k: rollout.episodes(k, CartPole(), coin, 2, np.inf), TypeError, "max_steps is inf; expected a whole"),
        (lambda k: rollout.episodes(k, CartPole(), coin, 2, 2**40), ValueError, r"max_steps is .* below 2\*\*31"),
    ],
)
def test_bad_sizes_and_modes_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(jax.random.key(0))


@pytest.mark.parametrize(
    "call",
    [
        lambda k: rollout.start(k, CartPole(), 2),
        lambda k: rollout.unroll(k, CartPole(), coin, START, 3),
        lambda k: rollout.episodes(k, CartPole(), coin, 2, 10),
    ],
)
def test_raw_keys_and_what_is_none_are_refused(call):
    for key in (jax.random.PRNGKey(0), 0, None):
        with pytest.raises(TypeError, match=r"typed kind that jax\.random\.key\(seed\) makes"):
            call(key)
    with pytest.raises(ValueError, match=r"shape \(\)"):
        call(jax.random.split(jax.random.key(0)))


def test_the_cut_of_the_loop_over_time_is_the_backends_and_changes_nothing(monkeypatch):
    """An accelerator is given two steps in one pass; what is played is the same."""
    assert rollout._stages("gpu", 12, 3) == (1, 2) and rollout._stages("gpu", 1, 3) == (1, 1)
    assert rollout._stages("cpu", 12, 3) == (12, 1) and rollout._stages("cpu", 12, 128) == (1, 1)
    played = lambda mode: rollout.unroll(jax.random.key(0), COUNTER, next_number, counters(), 13, autoreset=mode)
    whole = {mode: jax.jit(lambda mode=mode: played(mode))() for mode in MODES}
    cuts = []
    monkeypatch.setattr(rollout, "_stages", lambda *asked: cuts.append(asked) or (1, 2))
    for mode in MODES:
        chex.assert_trees_all_equal(jax.jit(lambda mode=mode: played(mode))(), whole[mode])
    assert cuts == [(jax.default_backend(), 13, 3)] * len(MODES)
