"""Gymnasium's functional environments on the device: step by step what their own functions say."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.phys2d.cartpole import CartPoleFunctional
from gymnasium.envs.phys2d.pendulum import PendulumFunctional
from gymnasium.envs.tabular.blackjack import BlackjackFunctional
from gymnasium.envs.tabular.cliffwalking import CliffWalkingFunctional
from gymnasium.experimental.functional import FuncEnv

from rljax import rollout
from rljax.envs import TimeLimit
from rljax.envs.functional import from_functional

KINDS = {
    "CartPole": CartPoleFunctional,
    "Pendulum": PendulumFunctional,
    "CliffWalking": CliffWalkingFunctional,
    "Blackjack": BlackjackFunctional,
}
STEPS, LANES = 200, 3
QUICK = {"xla_backend_optimization_level": 0}  # to compile


@pytest.fixture(autouse=True)
def as_gymnasium_writes_jax():
    """Its Blackjack draws twice with one key."""
    with jax.debug_key_reuse(False):
        yield


def actions(env, seed=0):
    """[STEPS, LANES, ...] of the action space, from zero."""
    space = env.action_space
    rng = np.random.default_rng(seed)
    shape = (STEPS, LANES, *space.shape)
    if isinstance(space, spaces.Discrete):
        return jnp.asarray(rng.integers(0, int(space.n), shape), jnp.int32)
    if space.dtype.kind == "i":
        return jnp.asarray(rng.integers(space.low, space.high + 1, shape), jnp.int32)
    return jnp.asarray(rng.uniform(space.low, space.high, shape), jnp.float32)


@pytest.mark.parametrize("name", KINDS)
def test_each_step_is_that_of_its_own_functions(name):
    func_env = KINDS[name]()
    env = from_functional(func_env)
    assert env.action_space is func_env.action_space and env.observation_space is func_env.observation_space

    def first(key):  # theirs
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            initial, observation = jax.random.split(key)
            state = func_env.initial(initial)
            return state, func_env.observation(state, observation)

    def then(key, state, action):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            transition, observation, reward, terminal = jax.random.split(key, 4)
            after = func_env.transition(state, action, transition)
            ends = jnp.asarray(func_env.terminal(after, terminal))
            return after, func_env.observation(after, observation), func_env.reward(state, action, after, reward), ends

    reset, step, first, then = (
        jax.jit(jax.vmap(function), compiler_options=QUICK) for function in (env.reset, env.step, first, then)
    )
    keys, taken = jax.random.split(jax.random.key(1), (STEPS, LANES)), actions(env)
    (state, _), over, ends = reset(keys[0]), np.zeros(LANES, bool), 0
    for t in range(STEPS):
        fresh, seen = reset(keys[t])
        initial, initially = first(keys[t])
        equal(seen, initially)
        for mine, own in zip(jax.tree.leaves(fresh.inner), jax.tree.leaves(initial), strict=True):
            assert (np.ravel(mine) == np.broadcast_to(np.ravel(own), np.size(mine))).all()
        state = jax.tree.map(functools.partial(chosen, over), fresh, state)
        after, answer = step(keys[t], state, taken[t])
        inner, observation, reward, over = then(keys[t], state.inner, taken[t])
        equal(after.inner, inner)
        equal((answer.observation, after.observation), (observation, observation))
        equal((answer.reward, answer.terminated), (reward.astype(jnp.float32), over))
        assert answer.reward.dtype == jnp.float32 and answer.terminated.dtype == bool and not answer.truncated.any()
        state, ends = after, ends + int(over.sum())
    assert ends > 5 or name in ("Pendulum", "CliffWalking")


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def chosen(over, fresh, state):
    """[LANES, ...] begun anew where it was over."""
    return np.where(np.reshape(over, (LANES, *[1] * (state.ndim - 1))), fresh, state)


def test_it_plays_in_rollouts_and_under_a_clock():
    env = TimeLimit(from_functional(CartPoleFunctional()), 12)
    policy = lambda key, observation: (observation[2] > 0).astype(jnp.int32)

    @jax.jit
    def play(key):
        key_start, key_play = jax.random.split(key)
        return rollout.unroll(key_play, env, policy, rollout.start(key_start, env, 4), 30)[1]

    played = play(jax.random.key(0))
    assert played.observation.shape == (30, 4, 4) and bool(played.truncated.any())
    going_on = ~(played.terminated | played.truncated)[:-1]
    np.testing.assert_array_equal(played.next_observation[:-1][going_on], played.observation[1:][going_on])
    assert set(np.unique(played.reward)) == {1.0}


class Noisy(FuncEnv):
    """What is seen is a fair coin; the state is a clock."""

    observation_space, action_space = spaces.Box(0, 1, ()), spaces.Discrete(2)

    def initial(self, rng, params=None):
        return 0

    def transition(self, state, action, rng, params=None):
        return state + 1

    def observation(self, state, rng, params=None):
        return jax.random.bernoulli(rng).astype(jnp.float32)

    def reward(self, state, action, next_state, rng, params=None):
        return next_state

    def terminal(self, state, rng, params=None):
        return False


def test_what_is_seen_may_be_random_and_stays_what_it_was():
    env = from_functional(Noisy())
    keys = jax.random.split(jax.random.key(0), 2000)
    again = jax.random.split(jax.random.key(1), 2000)
    state, seen = jax.jit(jax.vmap(env.reset))(keys)
    after, step = jax.jit(jax.vmap(lambda key, state: env.step(key, state, jnp.int32(0))))(again, state)
    np.testing.assert_array_equal(jax.vmap(env.observe)(after), step.observation)
    for coin in (seen, step.observation):
        assert abs(float(coin.mean()) - 0.5) < 5 * 0.5 / np.sqrt(2000)
    assert abs(np.corrcoef(seen, step.observation)[0, 1]) < 5 / np.sqrt(2000)
    assert after.inner.dtype == jnp.int32 and step.reward.dtype == jnp.float32 and (step.reward == 1).all()


def test_parameters_may_be_traced():
    func_env = PendulumFunctional()

    def fall(g):
        env = from_functional(func_env, func_env.default_params.replace(g=g))
        state, _ = env.reset(jax.random.key(0))
        return env.step(jax.random.key(1), state, jnp.zeros(1))[0].inner[1]

    speeds = jax.jit(jax.vmap(fall))(jnp.array([0.0, 5.0, 10.0]))
    np.testing.assert_allclose(speeds[2] - speeds[1], speeds[1] - speeds[0], rtol=1e-5)
    assert abs(float(speeds[1] - speeds[0])) > 1e-3
    assert float(jax.jit(fall)(10.0)) == pytest.approx(float(speeds[2]), rel=1e-4)


class Plain(Noisy):
    """Faults of its own, one at a time."""

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    def initial(self, rng, params=None):
        return jnp.zeros(2) if self.fault == "initial" else super().initial(rng)

    def transition(self, state, action, rng, params=None):
        if self.fault == "numpy":
            return int(np.sin(state))
        if self.fault == "grows":
            return jnp.append(state, 1)
        return jnp.zeros(3) if self.fault == "initial" else state + 1

    def reward(self, state, action, next_state, rng, params=None):
        return jnp.zeros(1) if self.fault == "reward" else 0.0

    def terminal(self, state, rng, params=None):
        return jnp.zeros((2,), bool) if self.fault == "terminal" else False


def test_refusals():
    with pytest.raises(TypeError, match=r"func_env is the class Noisy; expected .*Make an instance: Noisy\(\)"):
        from_functional(Noisy)
    with pytest.raises(TypeError, match=r"func_env is a TimeLimit, without initial, .*; expected .*rljax.envs.host"):
        from_functional(TimeLimit(from_functional(Noisy()), 3))
    with pytest.raises(ValueError, match=r"Plain cannot be traced by JAX: TracerArrayConversionError.*jax.numpy"):
        from_functional(Plain("numpy"))
    with pytest.raises(ValueError, match=r"Plain cannot be traced by JAX: .*broadcasting"):
        from_functional(Plain("initial"))
    with pytest.raises(ValueError, match=r"Plain: the state of a step is int32\[3\]; expected int32\[2\]"):
        from_functional(Plain("grows"))
    with pytest.raises(ValueError, match=r"Plain: the reward of a step is float32\[1\]; expected float32\[\]"):
        from_functional(Plain("reward"))
    with pytest.raises(ValueError, match=r"Plain: terminal of a step is bool\[2\]; expected bool\[\]"):
        from_functional(Plain("terminal"))
    shifted = Noisy()
    shifted.action_space = spaces.Discrete(2, start=1)
    with pytest.raises(ValueError, match=r"the action space of Noisy is Discrete\(2, start=1\); expected .* from zero"):
        from_functional(shifted)
    transformed = PendulumFunctional()
    transformed.transform(jax.vmap)
    with pytest.raises(ValueError, match=r"PendulumFunctional cannot be traced by JAX: .*not yet transformed"):
        from_functional(transformed)
