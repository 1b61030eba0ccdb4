"""TimeLimit: a clock around any environment, as a pytree, to the step."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import rollout
from rljax.envs import CartPole, CartPoleState, EpisodeStatistics, TimeLimit, TimeLimitState

RIGHT, KEY = jnp.int32(1), lambda: jax.random.key(0)


def ends(env, steps):
    """(terminated, truncated) of each of `steps` pushes to the right from rest, resets apart."""
    state = rest(env)
    found = []
    for _ in range(steps):
        state, step = env.step(KEY(), state, RIGHT)
        found.append((bool(step.terminated), bool(step.truncated)))
    return found


def rest(env):
    if isinstance(env, TimeLimit):
        return TimeLimitState(rest(env.inner), jnp.int32(0))
    return CartPoleState(*jnp.zeros(4))


def test_truncates_on_step_max_steps_and_never_before():
    """From rest, pushes to the right fell the pole on step 9."""
    assert ends(CartPole(), 12) == [(False, False)] * 8 + [(True, False)] * 4
    for limit in (1, 4, 8):
        assert ends(TimeLimit(CartPole(), limit), limit) == [(False, False)] * (limit - 1) + [(False, True)]
    assert ends(TimeLimit(CartPole(), 9), 9)[-2:] == [(False, False), (True, True)]
    assert ends(TimeLimit(CartPole(), 10), 10)[-2:] == [(True, False), (True, True)]


def test_stays_truncated_beyond_the_limit():
    assert [truncated for _, truncated in ends(TimeLimit(CartPole(), 2), 5)] == [False, True, True, True, True]


def test_everything_else_is_the_wrapped_environments(precision):
    inner = CartPole(gravity=3.0, sutton_barto_reward=True)
    env = TimeLimit(inner, 5)
    assert env.observation_space == inner.observation_space and env.action_space == inner.action_space
    (state, observation), (bare, seen) = env.reset(KEY()), inner.reset(KEY())
    chex.assert_trees_all_equal((state.inner, observation), (bare, seen))
    assert state.elapsed.dtype == jnp.int32 and int(state.elapsed) == 0
    for t in range(1, 8):
        state, step = env.step(KEY(), state, RIGHT)
        bare, inner_step = inner.step(KEY(), bare, RIGHT)
        chex.assert_trees_all_equal(state.inner, bare)
        chex.assert_trees_all_equal(step._replace(truncated=inner_step.truncated), inner_step)
        chex.assert_trees_all_equal(env.observe(state), inner.observe(bare))
        assert state.elapsed.dtype == jnp.int32 and int(state.elapsed) == t


def test_a_time_limit_within_a_time_limit():
    for outer, inner in ((3, 6), (6, 3)):
        env = TimeLimit(TimeLimit(CartPole(), inner), outer)
        assert [truncated for _, truncated in ends(env, 3)] == [False, False, True]


def test_is_an_immutable_pytree():
    env = TimeLimit(CartPole(), 7)
    with pytest.raises(dataclasses.FrozenInstanceError):
        env.max_steps = 8
    leaves, structure = jax.tree.flatten(env)
    assert 7 in leaves and len(leaves) == 10
    assert jax.tree.unflatten(structure, leaves) == env
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def truncated(env, elapsed):
        return env.step(KEY(), TimeLimitState(rest(env.inner), elapsed), RIGHT)[1].truncated

    assert [bool(truncated(TimeLimit(CartPole(), limit), jnp.int32(4))) for limit in (4, 5, 6)] == [True, True, False]


def test_max_steps_is_vmapped(precision):
    limits = jnp.array([1, 3, 8, 30], jnp.int32)

    def length(max_steps):
        env = TimeLimit(CartPole(), max_steps)
        cursor = rollout.Cursor(jax.tree.map(lambda leaf: leaf[None], rest(env)), jnp.zeros(1, bool))
        played = rollout.unroll(KEY(), env, lambda key, observation: RIGHT, cursor, 20, autoreset="none")[1]
        return played.valid.sum(), played.truncated.any(), played.terminated.any()

    lengths, truncated, terminated = jax.jit(jax.vmap(length))(limits)
    assert lengths.tolist() == [1, 3, 8, 9]
    assert truncated.tolist() == [True, True, True, False]
    assert terminated.tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("max_steps", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2.5, TypeError),
        (float("nan"), TypeError),
        (True, TypeError),
        ("5", TypeError),
        (None, TypeError),
        ([5], TypeError),
        (np.array(0), ValueError),
        (np.array(5.0), TypeError),
        (jnp.array(-3), ValueError),
        (2**40, ValueError),
    ],
)
def test_bad_limits_are_refused(max_steps, error):
    with pytest.raises(error, match=r"^max_steps is .*; expected a whole number"):
        TimeLimit(CartPole(), max_steps)


@pytest.mark.parametrize("inner", [None, CartPole, "CartPole-v1"])
def test_what_is_no_environment_is_refused(inner):
    with pytest.raises(TypeError, match=r"^inner is .*; expected an environment"):
        TimeLimit(inner, 3)


def test_a_numpy_limit_is_checked_as_a_python_one():
    assert ends(TimeLimit(CartPole(), np.int64(2)), 2)[-1] == (False, True)
    with pytest.raises(ValueError, match="max_steps is 0"):
        TimeLimit(CartPole(), np.int64(0))


def test_a_limit_for_each_of_a_batch_is_checked_one_by_one():
    with pytest.raises(ValueError, match=r"^max_steps\[1\] is 0; expected a whole number of at least 1"):
        TimeLimit(CartPole(), jnp.array([3, 0]))
    with pytest.raises(ValueError, match="max_steps is 0"):
        dataclasses.replace(TimeLimit(CartPole(), 3), max_steps=0)


def test_axes_are_made_of_the_environment_itself():
    """`jax.tree.map(lambda _: 0, env)` is what `vmap` takes as `in_axes`; it is no time limit, and nobody asks."""
    stack = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), TimeLimit(CartPole(), 1))
    stack = dataclasses.replace(stack, max_steps=jnp.array([1, 2, 3], jnp.int32))
    axes = jax.tree.map(lambda _: 0, TimeLimit(CartPole(), 1))
    assert type(axes) is TimeLimit and axes.max_steps == 0
    elapsed = jnp.int32(1)
    step = lambda env: env.step(KEY(), TimeLimitState(CartPoleState(*jnp.zeros(4)), elapsed), RIGHT)[1].truncated
    assert jax.vmap(step, in_axes=(axes,))(stack).tolist() == [True, True, False]


def test_episode_statistics_are_those_of_whole_episodes() -> None:
    """Of every episode that ends in a rollout: the sum of its rewards and its length, by a loop over the record."""
    env = EpisodeStatistics(TimeLimit(CartPole(), 12))
    policy = lambda key, observation: jax.random.bernoulli(key).astype(jnp.int32)
    cursor = rollout.start(jax.random.key(0), env, 4)
    _, played = jax.jit(lambda c: rollout.unroll(jax.random.key(1), env, policy, c, 60))(cursor)
    ended, seen = np.asarray(played.terminated | played.truncated), 0
    for i in range(4):
        length = 0
        for t in range(60):
            length += 1
            if ended[t, i]:
                assert int(played.next_state.elapsed[t, i]) == length == float(played.next_state.total[t, i])
                length, seen = 0, seen + 1
    assert seen >= 16
