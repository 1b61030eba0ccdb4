"""Rollouts of CartPole under a random agent: they replay step by step, no draw is made twice, no episode leaks."""

import functools
import itertools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rljax import returns, rollout
from rljax.envs import CartPole, TimeLimit
from rljax.structs import Step

pytestmark = pytest.mark.usefixtures("optimised")

MODES = ("none", "same_step", "next_step")
LIMITED = TimeLimit(CartPole(), 17)
T, N = 60, 16


def coin(key, observation):
    return jax.random.bernoulli(key).astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=(2, 3))
def flip_from(key, cursor, steps, mode):
    return rollout.unroll(key, LIMITED, coin, cursor, steps, autoreset=mode)


@functools.partial(jax.jit, static_argnums=1)
def start(key, num_envs):
    return rollout.start(key, LIMITED, num_envs)


def flip(seed, mode, steps=T, num_envs=N):
    """(where it began, where it ended, what was played)"""
    cursor = start(jax.random.key(seed), num_envs)
    return cursor, *flip_from(jax.random.key(seed + 1000), cursor, steps, mode)


def close(a, b):
    """Equal up to how the compiler contracts a product and a sum."""
    chex.assert_trees_all_close(a, b, rtol=0, atol=2e-6)


@pytest.mark.parametrize("mode", MODES)
def test_each_episode_replays_step_by_step(mode):
    began, ended_at, played = flip(0, mode)
    chex.assert_trees_all_equal(jax.tree.map(lambda leaf: leaf[0], played.state), began.state)
    state, valid = jax.tree.map(np.asarray, played.state), np.asarray(played.valid)
    over = np.asarray(played.terminated | played.truncated)
    assert played.terminated.any() and (played.truncated & ~played.terminated).any()

    # Every valid step is the environment's own.
    again, step = jax.jit(jax.vmap(jax.vmap(LIMITED.step, (None, 0, 0)), (None, 0, 0)))(
        jax.random.key(0), played.state, played.action
    )
    at = lambda tree, where: jax.tree.map(lambda leaf: np.asarray(leaf)[where], tree)
    close(at(again, valid), at(played.next_state, valid))
    chex.assert_trees_all_equal(at((step.reward, step.truncated), valid), at((played.reward, played.truncated), valid))
    np.testing.assert_array_equal(played.terminated[valid], LIMITED.inner.terminal(played.next_state.inner)[valid])

    # Observations are those of the recorded states.
    np.testing.assert_array_equal(played.observation, np.stack(played.state.inner, axis=-1))
    np.testing.assert_array_equal(played.next_observation, np.stack(played.next_state.inner, axis=-1))

    # Within an episode, one step begins where the last one led; after its end, in a fresh state or nowhere at all.
    later, before = jax.tree.map(lambda leaf: leaf[1:], state), at(played.next_state, np.s_[:-1])
    goes_on = (valid & ~over)[:-1]
    chex.assert_trees_all_equal(at(later, goes_on), at(before, goes_on))
    resets = {"none": np.zeros((T, N), bool), "same_step": over, "next_step": ~valid}[mode]
    fresh = at(later, resets[:-1])
    assert (fresh.elapsed == 0).all() and all((np.abs(leaf) <= 0.05).all() for leaf in fresh.inner)
    assert len(np.unique(fresh.inner.angle)) == resets[:-1].sum()
    frozen = {"none": ~valid | over, "same_step": np.zeros((T, N), bool), "next_step": over}[mode][:-1]
    chex.assert_trees_all_equal(at(later, frozen), at(before, frozen))
    assert not np.asarray(played.reward)[~valid].any() and not over[~valid].any()

    # The clock counts the steps of each episode, and the cursor is where the last step led.
    starts = np.concatenate([np.ones((1, N), bool), resets[:-1]])
    clock = np.arange(T)[:, None] - np.maximum.accumulate(np.where(starts, np.arange(T)[:, None], 0), axis=0)
    np.testing.assert_array_equal(state.elapsed[valid], clock[valid])
    last = jax.tree.map(lambda leaf: leaf[-1], played.next_state)
    stays = ~resets[-1]
    chex.assert_trees_all_equal(at(ended_at.state, stays), at(last, stays))


def test_modes_agree_up_to_the_first_end():
    (_, _, dead), (_, _, same), (_, _, later) = (flip(3, mode) for mode in MODES)
    alive = np.asarray(dead.valid)
    assert 0.1 < alive.mean() < 0.5
    for other in (same, later):
        for name in dead._fields:
            close(*(jax.tree.map(lambda leaf: np.asarray(leaf)[alive], getattr(run, name)) for run in (dead, other)))


def test_same_key_same_bits_and_other_keys_other_bits():
    one, same, other = (flip(seed, "same_step")[2] for seed in (7, 7, 8))
    chex.assert_trees_all_equal(one, same)
    assert not np.array_equal(one.action, other.action) and not np.array_equal(one.reward, other.observation[..., 0])
    cursor = flip(7, "same_step")[0]
    again = flip_from(jax.random.key(1), cursor, T, "same_step")[1]
    np.testing.assert_array_equal(again.observation[0], one.observation[0])  # from the same start ...
    assert not np.array_equal(again.action, one.action)  # ... another way


def test_lanes_and_steps_differ():
    _, _, played = flip(9, "same_step")
    lanes = {tuple(lane) for lane in np.asarray(played.action).T.tolist()}
    assert len(lanes) == N
    assert len(np.unique(played.observation[0, :, 2])) == N
    assert len({tuple(row) for row in np.asarray(played.action).tolist()}) > T / 2


def test_a_shorter_or_narrower_rollout_is_a_part_of_a_longer_or_wider_one():
    """Noise is a function of key, step and lane alone; so the stages in which steps are recorded leave no trace."""
    _, _, whole = flip(4, "next_step")
    for steps, lanes in ((37, N), (T, 3)):
        _, _, part = flip(4, "next_step", steps, lanes)
        close(part, jax.tree.map(lambda leaf, steps=steps, lanes=lanes: leaf[:steps, :lanes], whole))
        np.testing.assert_array_equal(part.action, whole.action[:steps, :lanes])


def test_jit_is_eager():
    cursor = rollout.start(jax.random.key(0), LIMITED, N)
    compiled = flip_from(jax.random.key(5), cursor, T, "next_step")
    eager = rollout.unroll(jax.random.key(5), LIMITED, coin, cursor, T, autoreset="next_step")
    close(compiled, eager)
    np.testing.assert_array_equal(compiled[1].action, eager[1].action)


def test_one_trace_for_all_keys_and_cursors():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def play(key, cursor):
        return rollout.unroll(key, LIMITED, coin, cursor, 3, autoreset="next_step")

    cursor = start(jax.random.key(0), 2)
    for seed in range(3):
        cursor, played = play(jax.random.key(seed), cursor)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((cursor, played)))


class Draws(NamedTuple):
    of_reset: jax.Array  # [] uint32
    of_step: jax.Array  # [] uint32


class Dice:
    """Writes down what it draws."""

    def reset(self, key):
        state = Draws(jax.random.bits(key), jnp.uint32(0))
        return state, state

    def observe(self, state):
        return state

    def step(self, key, state, action):
        state = state._replace(of_step=jax.random.bits(key))
        over = jnp.bool_(False)
        return state, Step(state, jnp.float32(0.0), over, over)


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
def test_no_draw_is_made_twice(mode):
    """Policy, physics and reset, at every step of every environment: all from streams of their own."""
    env, policy = TimeLimit(Dice(), 2), lambda key, observation: jax.random.bits(key)
    cursor = rollout.start(jax.random.key(0), env, 16)
    _, played = rollout.unroll(jax.random.key(1), env, policy, cursor, 30, autoreset=mode)
    steps = np.asarray(played.next_state.inner.of_step)[np.asarray(played.valid)]
    starts = np.asarray(played.state.inner.of_reset)[np.asarray(played.state.elapsed) == 0]
    draws = np.concatenate([np.asarray(played.action).ravel(), steps, starts])
    assert len(draws) > 900 and len(np.unique(draws)) == len(draws)


@settings(deadline=None, max_examples=25)
@given(lane=st.integers(0, N - 1), angle=st.sampled_from([-0.2, -0.01, 0.0, 0.1, 0.19]), mode=st.sampled_from(MODES))
def test_environments_do_not_touch_each_other(lane, angle, mode):
    cursor = rollout.start(jax.random.key(2), LIMITED, N)
    inner = cursor.state.inner
    moved = cursor._replace(state=cursor.state._replace(inner=inner._replace(angle=inner.angle.at[lane].set(angle))))
    (_, one), (_, other) = (flip_from(jax.random.key(3), c, T, mode) for c in (cursor, moved))
    rest = lambda played: jax.tree.map(lambda leaf: np.delete(np.asarray(leaf), lane, axis=1), played)
    chex.assert_trees_all_equal(rest(one), rest(other))
    assert not np.array_equal(one.observation[:, lane], other.observation[:, lane])


# Nothing leaks over the end of an episode

GAMMA, LAMBDA = 0.9, 0.8


@functools.cache
def stream():
    """One long row of each quantity, [T, N] float32, from a real rollout; values are those of some critic."""
    _, _, played = flip(11, "same_step")
    critic = lambda observation: np.sin(np.asarray(observation) @ np.float32([3.0, 1.0, 20.0, 2.0])) + np.float32(2.0)
    terminated, truncated = np.asarray(played.terminated), np.asarray(played.truncated)
    assert (terminated & ~truncated).any() and (truncated & ~terminated).any()
    return np.asarray(played.reward), terminated, truncated, critic(played.observation), critic(played.next_observation)


@jax.jit
def estimates(r_t, terminated, truncated, v_tm1, v_t):
    """What learners compute: [5, T]."""
    discount_t, lambda_t = GAMMA * (1.0 - terminated), LAMBDA * (1.0 - truncated)
    rows = []
    for parallel in (False, True):
        rows += [
            returns.discounted_returns(r_t, GAMMA * (1.0 - jnp.maximum(terminated, truncated)), parallel=parallel),
            returns.lambda_returns(r_t, discount_t, v_t, lambda_t, parallel=parallel),
            returns.gae(r_t, discount_t, v_tm1, v_t, lambda_t, parallel=parallel),
        ]
    return jnp.stack([*rows, returns.n_step_returns(r_t, discount_t, v_t, 3, lambda_t=1.0 - truncated)])


@settings(deadline=None, max_examples=150)
@given(
    lane=st.integers(0, N - 1),
    which=st.integers(0, 10),
    later=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1.0, 1e3, 1e6]),
)
def test_nothing_leaks_over_the_end_of_an_episode(lane, which, later, seed, size):
    """Change every reward, value and end on one side of a boundary: on the other side, not one bit changes."""
    row = [column[:, lane].astype(np.float32) for column in stream()]
    ends = np.flatnonzero((row[1] + row[2])[:-1])
    end = ends[which % len(ends)]
    changed, kept = (
        (slice(end + 1, None), slice(None, end + 1)) if later else (slice(None, end + 1), slice(end + 1, None))
    )
    random, other = np.random.default_rng(seed), [column.copy() for column in row]
    for i, column in enumerate(other):
        new = random.normal(size=T) * size if i not in (1, 2) else random.integers(0, 2, T)
        column[changed] = new[changed]
    if not later:  # the boundary itself stays one, of either kind
        kinds = np.float32([(1, 0), (0, 1), (1, 1)])
        other[1][end], other[2][end] = kinds[random.integers(3)]
    before, after = (np.asarray(estimates(*rows)) for rows in (row, other))
    np.testing.assert_array_equal(after[:, kept], before[:, kept])
    assert (after[:, changed] != before[:, changed]).any(axis=1).all()


def test_estimates_of_a_stream_are_those_of_its_episodes_alone():
    """Against a loop in float64 over each episode: what is terminated is worth nothing, what is truncated its value."""
    for lane in range(N):
        r, terminated, truncated, v_tm1, v_t = (column[:, lane].astype(np.float64) for column in stream())
        monte_carlo, mixed, advantage, _, _, _, three = np.asarray(
            estimates(*(np.float32(x) for x in (r, terminated, truncated, v_tm1, v_t)))
        )
        bounds = [0, *(np.flatnonzero(terminated + truncated) + 1), T]
        for low, high in itertools.pairwise(bounds):
            future, g = 0.0, None
            for t in reversed(range(low, high)):
                future = r[t] + GAMMA * future
                successor = v_t[t] if g is None else (1 - LAMBDA) * v_t[t] + LAMBDA * g
                g = r[t] + GAMMA * (1 - terminated[t]) * successor
                last = min(t + 2, high - 1)
                n_step = sum(GAMMA ** (s - t) * r[s] for s in range(t, last + 1))
                n_step += GAMMA ** (last + 1 - t) * (1 - terminated[last]) * v_t[last]
                found = [monte_carlo[t], mixed[t], advantage[t] + v_tm1[t], three[t]]
                np.testing.assert_allclose(found, [future, g, g, n_step], rtol=0, atol=2e-5)
