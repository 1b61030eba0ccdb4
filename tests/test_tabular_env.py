"""Any MDP as an environment: its law, its rewards, its ends, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import mdp, rollout
from rljax.envs import CartPole, TabularEnv, TimeLimit, mdp_from_env

# Three states, the last one terminal; action 1 is not available in state 1.
P = np.array([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], [[0.25, 0.25, 0.5], [0.0, 0.0, 0.0]], [[0.0] * 3] * 2], np.float32)
R = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
MASK = np.array([[True, True], [True, False], [False, False]])
TERMINAL = np.array([False, False, True])


def world(sparse=False, **others):
    fields = {"gamma": 0.9, "mask": jnp.asarray(MASK), "terminal": jnp.asarray(TERMINAL)} | others
    if not sparse:
        return TabularEnv(mdp.TabularMDP(jnp.asarray(P), jnp.asarray(R), **fields))
    successor = jnp.broadcast_to(jnp.arange(3, dtype=jnp.int32), P.shape)
    return TabularEnv(mdp.TabularMDP(mdp.Sparse.of(successor, jnp.asarray(P)), jnp.asarray(R), **fields))


def many(env, state, action, number=20_000):
    keys = jax.random.split(jax.random.key(3), number)
    return jax.jit(jax.vmap(lambda key: env.step(key, jnp.int32(state), jnp.int32(action))))(keys)


@pytest.mark.parametrize("sparse", [False, True])
def test_successors_have_their_law_and_rewards_are_of_the_transition(sparse):
    env = world(sparse)
    for state, action in [(0, 0), (0, 1), (1, 0)]:
        successor, step = many(env, state, action)
        p, share = P[state, action], np.bincount(successor, minlength=3) / 20_000
        assert (np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 20_000)).all()  # nothing at all where p is 0
        np.testing.assert_array_equal(step.reward, R[state, action, np.asarray(successor)])
        np.testing.assert_array_equal(step.terminated, np.asarray(successor) == 2)
        np.testing.assert_array_equal(step.observation, successor)
        assert not step.truncated.any()


def test_initial_states_have_their_law():
    env = world(initial=jnp.array([0.25, 0.75, 0.0]))
    state, observation = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 10_000))
    np.testing.assert_array_equal(state, observation)
    share = np.bincount(state, minlength=3) / 10_000
    assert abs(share[1] - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 10_000) and share[2] == 0


def test_the_contract():
    env = world()
    state, observation = env.reset(jax.random.key(0))
    assert state.shape == () and state.dtype == observation.dtype == jnp.int32
    state, step = env.step(jax.random.key(1), state, jnp.int32(0))
    assert state.dtype == step.observation.dtype == jnp.int32 and step.reward.dtype == jnp.float32
    assert env.observation_space.n == 3 and env.action_space.n == 2
    assert env.observation_space.contains(int(state))
    assert int(env.observe(state)) == int(state)
    np.testing.assert_array_equal(env.mask[:2], MASK[:2])
    np.testing.assert_array_equal(env.available(jnp.int32(1)), [True, False])


def test_what_is_over_stays_over_for_nothing():
    successor, step = many(world(), 2, 0, 100)
    assert (successor == 2).all() and (step.reward == 0).all() and step.terminated.all()


def test_an_unavailable_action_is_refused_on_the_host():
    env, key = world(), jax.random.key(0)
    with pytest.raises(ValueError, match="action 1 is not available in state 1; expected one of 0"):
        env.step(key, jnp.int32(1), jnp.int32(1))
    with pytest.raises(ValueError, match="action is 2"):
        env.step(key, jnp.int32(1), jnp.int32(2))
    with pytest.raises(TypeError, match="one integer"):
        env.step(key, jnp.int32(1), jnp.float32(0))


def test_a_world_without_ends_knows_it():
    endless = TabularEnv(mdp.TabularMDP(jnp.full((2, 1, 2), 0.5), jnp.zeros(2), gamma=0.9))
    assert endless.never_ends and not world().never_ends
    assert not jax.jit(lambda env: jnp.bool_(env.never_ends))(endless)  # traced: not known
    assert not many(endless, 0, 0, 50)[1].terminated.any()


def test_it_rolls_out_with_a_time_limit_and_restarts():
    env = TimeLimit(world(), 3)
    cursor = rollout.start(jax.random.key(0), env, 64)
    policy = lambda key, observation: jnp.int32(0)
    _, played = jax.jit(lambda key, cursor: rollout.unroll(key, env, policy, cursor, 30))(jax.random.key(1), cursor)
    assert played.terminated.any() and played.truncated.any() and (played.observation != 2).all()
    np.testing.assert_array_equal(played.terminated, played.next_observation == 2)


def test_rewards_and_whole_problems_are_swept_by_vmap():
    envs = jax.vmap(lambda scale: TabularEnv(world().mdp.with_parts(reward=scale * jnp.asarray(R))))(jnp.arange(3.0))
    step = lambda env: env.step(jax.random.key(0), jnp.int32(0), jnp.int32(1))[1].reward
    np.testing.assert_array_equal(jax.vmap(step)(envs), [0.0, 5.0, 10.0])


@pytest.mark.parametrize("sparse", [False, True])
def test_the_model_comes_back_from_below_wrappers(sparse):
    env = world(sparse)
    assert mdp_from_env(env) is env.mdp
    assert mdp_from_env(TimeLimit(TimeLimit(env, 3), 5)) is env.mdp
    again = TabularEnv(mdp_from_env(env))
    jax.tree.map(np.testing.assert_array_equal, again, env)
    gammas = jax.vmap(lambda env: mdp_from_env(env).gamma)(jax.tree.map(lambda x: jnp.stack([x, x]), env))
    np.testing.assert_allclose(gammas, [0.9, 0.9])


def test_an_environment_without_a_table_is_refused():
    with pytest.raises(TypeError, match=r"env is a CartPole; expected a TabularEnv.*from_gymnasium"):
        mdp_from_env(TimeLimit(CartPole(), 5))


def test_what_is_no_problem_is_refused():
    for wrong in (None, "a", CartPole()):
        with pytest.raises(TypeError, match=r"mdp is .*; expected a TabularMDP"):
            TabularEnv(wrong)
