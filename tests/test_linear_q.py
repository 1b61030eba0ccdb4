"""Approximate Q-learning: one step by hand and in NumPy, tables as a special case, tasks whose values are known."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from rljax import envs, features, mdp, train
from rljax.agents import linear_q as make
from rljax.agents.linear_q import update, values
from rljax.mdp import problems

BOX = ([-1.0, -2.0], [1.0, 2.0])
GRID, WAVES = features.tile_coding(4, 3, *BOX), features.fourier(2, *BOX)


def endless(limit: int) -> envs.TimeLimit:
    """One state, two actions, reward 1 for ever; only the clock ends an episode."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5)
    return envs.TimeLimit(envs.TabularEnv(world), limit)


def runner(algorithm, steps, weights=None):
    """From a key to the state after `steps` steps, and their metrics; the first weights are zero, or those that are given."""

    def run(key):
        key_init, key_steps = jax.random.split(key)
        state = algorithm.init(key_init)
        state = state if weights is None else state._replace(learner=state.learner._replace(weights=weights))
        return jax.lax.scan(lambda s, key: algorithm.step(key, s), state, jax.random.split(key_steps, steps))

    return jax.jit(run)


def updated(made, *arrays, learning_rate):
    return jax.jit(functools.partial(update, made, learning_rate=learning_rate))(*arrays)


def test_one_update_by_hand():
    """x = (1, s), s -> 2 s - 1 in [-1, 1]; rows of w are actions.

    First: q(o') = w (1, 1) = (3, 2), y = 1 + 0.5 * 3 = 2.5, q(o, 1) = w_1 (1, 0) = 2, delta = 0.5: w_1 += 0.1 / 2 * 0.5 (1, 0).
    Second, an end: y = -2, q(o, 0) = w_0 (1, -1) = -1, delta = -1: w_0 += 0.1 / 2 * -1 (1, -1).
    """
    line = features.polynomial(1, [0.0], [1.0])
    w, delta = updated(
        line,
        jnp.array([[1.0, 2.0], [2.0, 0.0]]),
        jnp.array([[0.5], [0.0]]),
        jnp.array([1, 0]),
        jnp.array([1.0, -2.0]),
        jnp.array([0.5, 0.0]),
        jnp.array([[1.0], [0.3]]),
        learning_rate=0.1,
    )
    np.testing.assert_allclose(w, [[0.95, 2.05], [2.025, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(delta, [0.5, -1.0], rtol=1e-6)


@pytest.mark.parametrize("made", [GRID, WAVES, GRID._replace(active=None)], ids=["tiles", "waves", "dense tiles"])
@pytest.mark.parametrize("masked", [False, True])
def test_a_loop_over_transitions_learns_the_same(made, masked, precision):
    rng, dtype = np.random.default_rng(0), jnp.result_type(float)
    w = rng.normal(size=(3, made.size))
    o_tm1, o_t = rng.uniform(-3, 3, (2, 8, 2))
    a_tm1, r_t, discount_t = rng.integers(0, 3, 8), rng.normal(size=8), rng.choice([0.0, 0.9], 8)
    mask = rng.random((8, 3)) < 0.6
    mask[:, 0] |= ~mask.any(axis=1)
    arguments = [jnp.asarray(x, dtype) for x in (w, o_tm1, r_t, discount_t, o_t)]
    with jax.enable_x64(True):
        x_tm1, x_t = (np.asarray(jax.vmap(made.apply)(jnp.asarray(o))) for o in (o_tm1, o_t))
    expected, errors = w.copy(), []
    for i in range(8):
        q_t = [w[a] @ x_t[i] for a in range(3) if mask[i, a] or not masked]
        errors.append(r_t[i] + discount_t[i] * max(q_t) - w[a_tm1[i]] @ x_tm1[i])
        expected[a_tm1[i]] += 0.3 / 8 * errors[i] * made.rate * x_tm1[i]
    learned, delta = updated(
        made,
        arguments[0],
        arguments[1],
        jnp.asarray(a_tm1),
        *arguments[2:],
        jnp.asarray(mask) if masked else None,
        learning_rate=0.3,
    )
    assert learned.dtype == delta.dtype == dtype
    np.testing.assert_allclose(learned, expected, atol=1e-12 if precision else 2e-5)
    np.testing.assert_allclose(delta, errors, atol=1e-12 if precision else 2e-5)


@pytest.mark.parametrize("made", [GRID, WAVES])
def test_the_step_is_a_semi_gradient(made):
    """-alpha of the gradient of delta^2 / 2 by the weights, the target held fixed; for rates of 1."""
    made = made._replace(rate=1.0)
    w, o_tm1, o_t = jax.random.normal(jax.random.key(0), (2, made.size)), jnp.array([0.3, 0.5]), jnp.array([0.2, -1.0])

    def loss(moving):
        y = 1.0 + 0.9 * values(made, w, o_t).max()
        return 0.5 * (y - values(made, moving, o_tm1)[1]) ** 2

    one = lambda x: jnp.asarray(x)[None]
    learned, _ = updated(made, w, one(o_tm1), one(1), one(1.0), one(0.9), one(o_t), learning_rate=0.1)
    np.testing.assert_allclose(learned, w - 0.1 * jax.jit(jax.grad(loss))(w), atol=1e-5)


def test_of_one_hot_features_it_is_q_learning_on_the_chapters_world():
    """Uniform play of 1024 environments, averaged, with a step size that falls: near the exact values. What is not
    available has a weight of 1000, and is neither taken nor hoped for."""
    world = problems.chapter_mdp(0.9)
    env, first = envs.TabularEnv(world), jnp.where(world.mask, 0.0, 1000.0).T
    algorithm = make(
        env,
        features.one_hot(3),
        num_envs=1024,
        unroll_steps=1000,
        gamma=0.9,
        learning_rate=lambda steps: 5.0 / (1.0 + steps / 30_000),
        epsilon=1.0,
        available=env.available,
    )
    state, metrics = runner(algorithm, 1, first)(jax.random.key(0))
    q = np.asarray(state.learner.weights).T
    q_star = [[18.918919, 17.027027, 13.621622], [0.0, np.nan, -4.879714], [np.nan, 50.133652, np.nan]]
    assert (np.abs(q - q_star)[np.asarray(world.mask)] < 0.5).all()
    assert (q[~np.asarray(world.mask)] == 1000).all()
    assert [int(algorithm.act(state.learner.weights, jax.random.key(0), jnp.int32(s))) for s in range(3)] == [0, 0, 1]
    assert int(state.learner.steps) == 1000 * 1024 and metrics["epsilon"][0] == 1


def test_a_time_limit_is_no_death_and_metrics_are_of_whole_episodes():
    """The value is 1 / (1 - gamma) = 2; taking the limit of 3 steps for an end would give 1.75 at most."""
    algorithm = make(endless(3), features.one_hot(1), num_envs=3, gamma=0.5, learning_rate=0.9, epsilon=1.0)
    state, metrics = runner(algorithm, 2)(jax.random.key(0))
    np.testing.assert_allclose(state.learner.weights, [[2.0], [2.0]], atol=1e-3)
    assert metrics["mean_return"].tolist() == [3.0, 3.0], "not of the episodes under way, 1 and 2 steps old"
    assert metrics["td_error"][0] > metrics["td_error"][1] and metrics["td_error"][1] < 1e-3
    assert float(jax.jit(algorithm.score)(jax.random.key(0), state.learner.weights)) == 3.0


def test_a_termination_is_one():
    """From the first state to the last for 5: its value is 5, whatever is thought of the last."""
    world = mdp.TabularMDP(
        jnp.array([[[0.0, 1.0]], [[0.0, 1.0]]]),
        jnp.array([5.0, 0.0]),
        gamma=0.5,
        initial=jnp.array([1.0, 0.0]),
        terminal=jnp.array([False, True]),
    )
    algorithm = make(envs.TabularEnv(world), features.one_hot(2), learning_rate=0.5, unroll_steps=20)
    state, _ = runner(algorithm, 1, jnp.array([[0.0, 100.0]]))(jax.random.key(0))
    np.testing.assert_allclose(state.learner.weights, [[5.0, 100.0]], rtol=1e-4)


def test_schedules_are_of_environment_steps_and_numbers_may_be_traced():
    make_one = functools.partial(make, endless(5), features.one_hot(1), num_envs=2, unroll_steps=5, gamma=0.5)
    early = lambda steps: jnp.where(steps < 10, 0.1, 0.0)
    algorithm = make_one(learning_rate=early, epsilon=lambda steps: 1.0 / (1.0 + steps))
    state, metrics = runner(algorithm, 3)(jax.random.key(0))
    shares = 1 / (1.0 + np.arange(0, 30, 2))  # five for each step of the algorithm
    np.testing.assert_allclose(metrics["epsilon"], shares.reshape(3, 5).mean(axis=1), rtol=1e-6)
    # Five corrections of 0.1 on average are shared by the two actions; all that are later are 0.
    assert 0.3 < float(state.learner.weights.sum()) < 0.8
    keys = jax.random.split(jax.random.key(0), 2)
    result = train.train(make_one, keys, 2, settings={"learning_rate": np.float32([0.1, 0.5]), "epsilon": np.ones(2)})
    w = np.asarray(result.parameters)
    assert (w[0] != w[1]).any() and (w > 0).all()


def test_different_keys_learn_different_weights_and_the_same_key_the_same():
    algorithm = make(
        envs.TimeLimit(envs.CartPole(), 20), features.polynomial(1, [-1.0] * 4, [1.0] * 4), unroll_steps=30
    )
    run = runner(algorithm, 1)
    one, same, other = (run(jax.random.key(seed))[0].learner.weights for seed in (0, 0, 1))
    assert (one == same).all() and (one != other).any()


def test_a_run_that_diverges_is_stopped_and_keeps_finite_weights():
    """Corrections of 5 times the error make it grow, 4 times each: past 1e38 after 64 of each action."""
    algorithm = make(endless(5), features.one_hot(1), learning_rate=5.0, gamma=0.0, epsilon=1.0)
    with pytest.raises(train.Diverged, match="ceased to be finite, or credible, in step 2") as caught:
        train.train(algorithm, jax.random.key(0)[None], 2, eval_every=1)
    assert np.isfinite(caught.value.result.parameters).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0"),
        ({"unroll_steps": 0}, "unroll_steps is 0"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"epsilon": 1.5}, "epsilon is 1.5"),
        ({"features": GRID}, r"observation has shape \(4,\)"),
        ({"features": features.Features(lambda o: o, 3)}, r"shape \(4,\); expected \(3,\)"),
        (
            {"features": features.Features(lambda o: o, 4, np.ones(3))},
            r"features.rate has shape \(3,\); expected \(\) or",
        ),
        ({"features": features.Features(lambda o: o, 4, -1.0)}, "features.rate is -1"),
        ({"learning_rate": lambda steps: None}, r"learning_rate\(steps\) is None; expected a number"),
        ({"learning_rate": lambda steps: jnp.ones(3)}, r"learning_rate\(steps\) is .*3.*; expected a number"),
        ({"epsilon": lambda steps, more: steps}, r"epsilon\(steps\) is no function of one number"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        make(envs.CartPole(), **{"features": features.Features(lambda o: o, 4), **options})


def test_what_is_no_environment_no_features_or_no_function_is_refused():
    four = features.Features(lambda o: o, 4)
    with pytest.raises(TypeError, match="expected Features"):
        make(envs.CartPole(), lambda o: o)
    with pytest.raises(TypeError, match="expected an environment"):
        make(envs.CartPole, four)
    with pytest.raises(TypeError, match="available is 3"):
        make(envs.CartPole(), four, available=3)

    class Continuous(envs.CartPole):
        action_space = property(lambda self: spaces.Box(-1.0, 1.0))

    with pytest.raises(ValueError, match="Discrete"):
        make(Continuous(), four)


def test_weights_of_other_features_and_unequal_lengths_are_refused():
    two = jnp.zeros(2)
    with pytest.raises(ValueError, match=r"weights has shape \(2, 9\); expected \(A, 64\)"):
        values(GRID, jnp.zeros((2, WAVES.size)), two)
    with pytest.raises(ValueError, match="expected equal shapes"):
        update(WAVES, jnp.zeros((2, 9)), two[None], jnp.array([0]), two, two, two[None], learning_rate=0.1)


def test_no_product_is_rounded_on_an_accelerator():
    """Which no number on a CPU can show."""
    o, one = jnp.zeros((8, 2)), jnp.ones(8)
    step = lambda w: update(WAVES, w, o, jnp.zeros(8, jnp.int32), one, one, o, learning_rate=0.1)
    text = str(jax.make_jaxpr(step)(jnp.zeros((3, WAVES.size))))
    assert text.count("dot_general[") == 3
    assert text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 3
