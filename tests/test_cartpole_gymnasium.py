"""CartPole is Gymnasium's classic CartPole: the same numbers, the same ends, the same rewards."""

import dataclasses

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cartpole_oracle import INTEGRATORS, PARAMETERS, ask, classic, columns, oracle, pairs, stepper

from rljax.envs import CartPole, CartPoleState

pytestmark = pytest.mark.usefixtures("optimised")

PAIRS = 1_000_000

# The oracle is Gymnasium


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_oracle_is_gymnasiums_own_step_to_the_bit(parameters, integrator):
    env = classic(parameters, integrator)
    state, action = pairs(3000, seed=1)
    next_state, terminated, _ = oracle(env, state, action)
    for i in range(state.shape[1]):
        theirs, _, ended = ask(env, state[:, i], action[i])
        np.testing.assert_array_equal(next_state[:, i], theirs)
        assert terminated[i] == ended


# One step


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_step_is_gymnasiums_over_a_million_pairs(precision, parameters, integrator):
    env = CartPole(integrator=integrator, **parameters)
    state, action = pairs(PAIRS)
    expected, ended, scale = oracle(classic(parameters, integrator), state, action)
    dtype = jnp.float64 if precision else jnp.float32
    next_state, step = stepper(env)(columns(state, dtype), jnp.asarray(action, jnp.int32))
    assert all(leaf.dtype == dtype for leaf in (*next_state, step.observation, step.reward))
    np.testing.assert_array_equal(np.stack(next_state, axis=1), step.observation)
    error = np.abs(np.asarray(next_state, np.float64) - expected)
    assert 0.2 < ended.mean() < 0.8
    if precision:
        assert error.max() <= 1e-12
        np.testing.assert_array_equal(step.terminated, ended)
    else:
        # Relative to the result would be dishonest both ways: where terms cancel, no float32 program can be right to
        # 5e-7 of what is left, and relative to the norm of the state an error in a small variable would hide.
        assert (error / scale).max() <= 5e-7
        margin = np.minimum(
            np.abs(np.abs(expected[0]) - env.position_threshold), np.abs(np.abs(expected[2]) - env.angle_threshold)
        )
        clear = margin > 5e-7 * np.maximum(scale[0], scale[2])
        assert clear.mean() > 0.9999
        np.testing.assert_array_equal(np.asarray(step.terminated)[clear], ended[clear])
    assert not step.truncated.any()
    np.testing.assert_array_equal(
        step.reward,
        np.where(ended if precision else step.terminated, np.where(fallen(env, state), 0.0, 1.0), 1.0),
    )


def fallen(env, state):
    """Whether the source had fallen, thresholds as exact as the precision in use."""
    dtype = jnp.result_type(float)
    position, angle = (np.asarray(limit, dtype) for limit in (env.position_threshold, env.angle_threshold))
    return (np.abs(state[0].astype(dtype)) > position) | (np.abs(state[2].astype(dtype)) > angle)


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_thresholds_are_gymnasiums_to_the_last_bit(parameters):
    """On a threshold the pole still stands; one unit in the last place beyond, it has fallen."""
    theirs = classic(parameters)
    with jax.enable_x64(True):
        env = CartPole(**parameters)
        step = stepper(env)
        states, expected = [], []
        for variable, limit in ((0, theirs.x_threshold), (2, theirs.theta_threshold_radians)):
            for sign in (-1.0, 1.0):
                for distance, falls in ((-1, False), (0, False), (1, True)):
                    state = np.zeros(4)  # at rest: the explicit integrator leaves position and angle where they are
                    state[variable] = sign * (np.nextafter(limit, distance * np.inf) if distance else limit)
                    states.append(state)
                    expected.append(falls)
        states = np.array(states).T
        next_state, answer = step(columns(states), jnp.ones(len(expected), jnp.int32))
        assert np.array_equal(next_state.position, states[0]) and np.array_equal(next_state.angle, states[2])
        assert [ask(theirs, state, 1)[2] for state in states.T] == expected
        assert answer.terminated.tolist() == expected
        assert jax.vmap(env.terminal)(columns(states)).tolist() == expected


def test_thresholds_in_float32_are_the_rounded_ones():
    env = CartPole()
    for variable, limit in (("position", np.float32(2.4)), ("angle", np.float32(12 * 2 * np.pi / 360))):
        at = CartPoleState(*jnp.zeros((4,)))._replace(**{variable: jnp.asarray(limit)})
        beyond = at._replace(**{variable: jnp.asarray(np.nextafter(limit, np.float32(np.inf)))})
        assert not env.terminal(at) and env.terminal(beyond)


@pytest.mark.parametrize("sutton_barto_reward", [False, True])
def test_rewards_are_gymnasiums_before_at_and_after_the_fall(sutton_barto_reward):
    theirs = classic(sutton_barto_reward=sutton_barto_reward)
    theirs.reset(seed=3)
    env = CartPole(sutton_barto_reward=sutton_barto_reward)
    with jax.enable_x64(True):
        step = jax.jit(lambda state: env.step(jax.random.key(0), state, jnp.int32(1)))
        state, ours, expected, ended = columns(theirs.state), [], [], []
        for _ in range(14):
            state, answer = step(state)
            with pytest.MonkeyPatch.context() as patch:  # Gymnasium warns of steps after the fall
                patch.setattr(gymnasium.logger, "warn", lambda *_: None)
                _, reward, terminated, _, _ = theirs.step(1)
            ours.append(float(answer.reward))
            expected.append(reward)
            ended.append((terminated, bool(answer.terminated)))
    assert ours == expected
    assert all(a == b for a, b in ended)
    fall = [b for _, b in ended].index(True)
    assert 5 < fall < 12
    before, at, after = (0.0, -1.0, -1.0) if sutton_barto_reward else (1.0, 1.0, 0.0)
    assert ours == [before] * fall + [at] + [after] * (13 - fall)


# Whole episodes


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_episodes_end_on_gymnasiums_step(integrator):
    """400 episodes of up to 200 steps, half of random actions, half of a balancing law that errs now and then.

    Not longer: under given actions nothing brings the pole back, rounding grows by e^0.08 a step, and in 500 steps by 10^17.
    """
    theirs, random, horizon = classic(integrator=integrator), np.random.default_rng(0), 200
    starts, actions, lengths, last = [], np.zeros((horizon, 400), np.int32), [], []
    for episode in range(400):
        theirs.reset(seed=episode)
        starts.append(theirs.state)
        noise = 1.0 if episode % 2 else random.uniform(0.1, 0.6)
        coins, throws = random.uniform(size=horizon), random.integers(0, 2, horizon)
        for t in range(horizon):
            x, v, angle, spin = theirs.state
            action = throws[t] if coins[t] < noise else int(angle + 0.2 * spin + 0.02 * x + 0.05 * v > 0)
            actions[t, episode] = action
            if theirs.step(action)[2]:
                break
        lengths.append(t + 1)
        last.append(theirs.state)
    assert len(set(lengths)) > 50 and sum(length > 100 for length in lengths) > 5

    with jax.enable_x64(True):
        env = CartPole(integrator=integrator)

        @jax.jit
        def replay(starts, actions):
            def one(state, action):
                state, step = jax.vmap(env.step, (None, 0, 0))(jax.random.key(0), state, action)
                return state, (state, step.terminated)

            return jax.lax.scan(one, starts, actions)[1]

        states, terminated = replay(columns(np.array(starts).T), jnp.asarray(actions))
    states, terminated = np.stack(states, axis=-1), np.asarray(terminated)
    ours = np.where(terminated.any(axis=0), terminated.argmax(axis=0) + 1, horizon)
    np.testing.assert_array_equal(ours, lengths)
    ends = states[ours - 1, np.arange(400)]
    np.testing.assert_allclose(ends, np.array(last), rtol=0, atol=1e-8)  # rounding grows along an unstable pole


# Parameters


def test_vmap_over_parameters_is_separate_environments(precision):
    gravity, masspole = np.array([1.6, 9.8, 24.8]), np.array([0.05, 0.1, 0.7])
    state, action = pairs(64, seed=2)
    state, action = columns(state, jnp.result_type(float)), jnp.asarray(action, jnp.int32)
    key = jax.random.key(0)

    def step(gravity, masspole):
        env = dataclasses.replace(CartPole(), gravity=gravity, masspole=masspole)
        return jax.vmap(lambda s, a: env.step(key, s, a))(state, action)

    together = jax.jit(jax.vmap(step))(
        jnp.asarray(gravity, state.angle.dtype), jnp.asarray(masspole, state.angle.dtype)
    )
    for i, (g, m) in enumerate(zip(gravity, masspole, strict=True)):
        alone = stepper(CartPole(gravity=float(g), masspole=float(m)))(state, action)
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        chex.assert_trees_all_close(one, alone, rtol=0, atol=1e-12 if precision else 1e-5)
        if precision:
            expected, ended, _ = oracle(classic({"gravity": g, "masspole": m}), np.stack(state), np.asarray(action))
            np.testing.assert_allclose(np.stack(one[0]), expected, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(one[1].terminated, ended)


# Spaces


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_spaces_are_gymnasiums(parameters):
    env, theirs = CartPole(**parameters), classic(parameters)
    assert env.action_space == theirs.action_space
    if not parameters:
        assert env.observation_space == theirs.observation_space
    box = env.observation_space
    assert box.dtype == np.float32 and box.shape == (4,)
    high = [2 * theirs.x_threshold, np.inf, 2 * theirs.theta_threshold_radians, np.inf]
    np.testing.assert_array_equal(box.high, np.array(high, np.float32))
    np.testing.assert_array_equal(box.low, -box.high)
    _, observation = env.reset(jax.random.key(0))
    assert box.contains(np.asarray(observation))
