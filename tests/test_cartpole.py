"""CartPole is Gymnasium's classic CartPole: the same numbers, the same ends, the same rewards."""

import dataclasses

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from jax.test_util import check_grads
from scipy import stats

from rljax import rollout
from rljax.envs import CartPole, CartPoleState, TimeLimit

INTEGRATORS = ("euler", "semi-implicit")
HEAVY = {"gravity": 3.7, "masscart": 0.6, "masspole": 0.45, "length": 1.1, "force_mag": 4.0, "tau": 0.05}
LIMITS = {"angle_threshold": 0.4, "position_threshold": 1.5}
PARAMETERS = {"default": {}, "heavy pole": {**HEAVY, **LIMITS}}
PAIRS = 1_000_000


def classic(parameters=None, integrator="euler", **options):
    """Gymnasium's own environment, with changed parameters carried through to what it stores of them."""
    env = gymnasium.make("CartPole-v1", **options).unwrapped
    assert type(env) is CartPoleEnv
    for name, value in (parameters or {}).items():
        name = {"angle_threshold": "theta_threshold_radians", "position_threshold": "x_threshold"}.get(name, name)
        assert isinstance(getattr(env, name), float)
        setattr(env, name, value)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
    env.kinematics_integrator = integrator
    return env


def ask(env, state, action):
    """(next state, reward, terminated) of Gymnasium from any state, as the first step after a reset."""
    env.state, env.steps_beyond_terminated = np.array(state, np.float64), None
    _, reward, terminated, _, _ = env.step(int(action))
    return env.state, reward, terminated


def largest(*terms):
    """The largest magnitude among terms that are summed, and their sum where it is larger still."""
    return np.max(np.abs(np.broadcast_arrays(*terms, sum(terms))), axis=0)


def oracle(env, state, action):
    """Gymnasium's step over columns [4, B] in float64: next state, terminated, and for each next variable the largest
    magnitude among the terms that are summed on the way to it."""
    x, v, theta, omega = np.asarray(state, np.float64)
    force = np.where(action == 1, env.force_mag, -env.force_mag)
    cos, sin = np.cos(theta), np.sin(theta)
    centrifugal = env.polemass_length * np.square(omega) * sin
    temp = (force + centrifugal) / env.total_mass
    share = 4.0 / 3.0 - env.masspole * np.square(cos) / env.total_mass
    inertia = env.length * share
    thetaacc = (env.gravity * sin - cos * temp) / inertia
    xacc = temp - env.polemass_length * thetaacc * cos / env.total_mass
    next_v, next_omega = v + env.tau * xacc, omega + env.tau * thetaacc
    explicit = env.kinematics_integrator == "euler"
    next_x = x + env.tau * (v if explicit else next_v)
    next_theta = theta + env.tau * (omega if explicit else next_omega)
    terminated = (np.abs(next_x) > env.x_threshold) | (np.abs(next_theta) > env.theta_threshold_radians)

    # The scale of each sum; where a term is itself a sum, that sum's scale is carried along.
    drive = largest(force, centrifugal) / env.total_mass
    spin = np.maximum(largest(env.gravity * sin, -cos * temp), np.abs(cos) * drive) / inertia
    spin *= 4.0 / 3.0 / share  # the divisor is a difference, whose first term is 4/3
    push = np.maximum(
        largest(temp, xacc - temp), np.maximum(drive, env.polemass_length * spin * np.abs(cos) / env.total_mass)
    )
    of_v = np.maximum(largest(v, env.tau * xacc), env.tau * push)
    of_omega = np.maximum(largest(omega, env.tau * thetaacc), env.tau * spin)
    of_x = np.maximum(largest(x, next_x - x), 0.0 if explicit else env.tau * of_v)
    of_theta = np.maximum(largest(theta, next_theta - theta), 0.0 if explicit else env.tau * of_omega)
    return np.stack([next_x, next_v, next_theta, next_omega]), terminated, np.stack([of_x, of_v, of_theta, of_omega])


def pairs(count, seed=0):
    """States [4, count], float64 but exact in float32, and actions: one half reachable, one half far beyond."""
    random = np.random.default_rng(seed)
    alive = random.uniform(-1, 1, (4, count - count // 2)) * np.array([[2.4], [3.0], [0.21], [3.5]])
    beyond = random.uniform(-1, 1, (4, count // 2)) * np.array([[5.0], [10.0], [3.0], [10.0]])
    state = np.concatenate([alive, beyond], axis=1).astype(np.float32).astype(np.float64)
    return state, random.integers(0, 2, count)


def stepper(env):
    return jax.jit(jax.vmap(lambda state, action: env.step(jax.random.key(0), state, action)))


def columns(state, dtype=None):
    return CartPoleState(*jnp.asarray(state, dtype))


def balance(key, observation):
    """Stays up for ever: a linear law on all four."""
    x, v, angle, angular_velocity = observation
    return (angle + 0.2 * angular_velocity + 0.02 * x + 0.05 * v > 0).astype(jnp.int32)


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


@pytest.mark.parametrize("limit", [200, 500])
def test_time_limit_ends_exactly(limit):
    env = TimeLimit(CartPole(), limit)

    @jax.jit
    def play(key):
        cursor = rollout.start(jax.random.fold_in(key, 0), env, 8)
        return rollout.unroll(jax.random.fold_in(key, 1), env, balance, cursor, limit + 3, autoreset="none")[1]

    played = play(jax.random.key(0))
    assert not played.terminated.any()
    np.testing.assert_array_equal(
        played.truncated, np.broadcast_to(np.arange(limit + 3)[:, None] == limit - 1, (limit + 3, 8))
    )
    assert played.valid.sum(axis=0).tolist() == [limit] * 8 == played.reward.sum(axis=0).tolist()


@pytest.mark.parametrize("sooner", [0, 1, -1])
def test_fall_and_time_limit_on_one_step_are_both_reported(sooner):
    right, key = jnp.int32(1), jax.random.key(0)
    bare = CartPole()
    state, _ = bare.reset(key)
    fall = 0
    while not bare.terminal(state):
        state, fall = bare.dynamics(state, right), fall + 1
    env = TimeLimit(bare, fall + sooner)
    state, _ = env.reset(jax.random.key(0))
    for _ in range(fall - 1):
        state, step = env.step(key, state, right)
        assert not step.terminated
    assert bool(step.truncated) == (sooner == -1)
    _, step = env.step(key, state, right)
    assert step.terminated
    assert bool(step.truncated) == (sooner <= 0)


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


def test_a_stack_of_environments_is_an_environment_under_vmap():
    each = [CartPole(), CartPole(gravity=1.6, length=0.3), CartPole(force_mag=3.0, tau=0.01)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(leaves), *each)
    state, right, key = CartPoleState(*jnp.array([0.1, -0.2, 0.05, 0.3])), jnp.int32(1), jax.random.key(0)
    together = jax.vmap(lambda env: env.step(key, state, right))(stacked)
    for i, env in enumerate(each):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, i=i: leaf[i], together), env.step(key, state, right), atol=1e-6
        )


def test_derived_constants_follow_their_primitives():
    env = dataclasses.replace(CartPole(), masspole=0.4, masscart=2.0, length=0.25)
    assert env.total_mass == pytest.approx(2.4) and env.polemass_length == pytest.approx(0.1)
    assert not {"total_mass", "polemass_length"} & {field.name for field in dataclasses.fields(CartPole)}
    traced = jax.vmap(lambda m: dataclasses.replace(CartPole(), masspole=m).total_mass)(jnp.array([0.5, 1.0]))
    assert traced.tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    "name", ["masscart", "masspole", "length", "force_mag", "tau", "angle_threshold", "position_threshold", "gravity"]
)
@pytest.mark.parametrize("value", [-1.0, -1, np.float32(-0.5), np.float64(-0.5), float("nan")])
def test_bad_parameters_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        CartPole(**{name: value})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"masspole": 0.0}, ValueError, "masspole is 0; expected"),
        ({"tau": 0}, ValueError, "tau is 0; expected"),
        ({"reset_range": -0.1}, ValueError, "reset_range is -0.1; expected"),
        ({"length": True}, TypeError, "length is True; expected a number"),
        ({"masscart": None}, TypeError, "masscart is None; expected a number or an array of numbers"),
        ({"gravity": "9.8"}, TypeError, "gravity is '9.8'; expected a number or an array of numbers"),
        ({"gravity": [9.8]}, TypeError, r"gravity is \[9\.8\]; expected a number or an array of numbers"),
        ({"tau": np.array([True])}, TypeError, r"tau is array\(\[ True\]\); expected a number"),
        ({"gravity": np.array(-1.0)}, ValueError, r"gravity is -1; expected a number in \[0, inf\)"),
        ({"gravity": np.array([9.8, np.inf])}, ValueError, r"gravity\[1\] is inf; expected a number in \[0, inf\)"),
        ({"length": jnp.array([[1.0], [0.0]])}, ValueError, r"length\[1, 0\] is 0; expected a number in \(0, inf\)"),
        ({"integrator": "rk4"}, ValueError, "integrator is 'rk4'; expected one of 'euler', 'semi-implicit'"),
    ],
)
def test_bad_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        CartPole(**options)


@pytest.mark.parametrize("name", ["gravity", "masscart", "masspole", "length", "force_mag", "tau", "reset_range"])
@pytest.mark.parametrize("value", [float("inf"), np.float32(np.inf), jnp.float32(jnp.inf)])
def test_infinite_physics_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"^{name} is inf; expected a number in .0, inf\)"):
        CartPole(**{name: value})


def test_parameters_are_checked_when_replaced_and_not_when_rebuilt():
    """`jax.tree.map(lambda _: 0, env)` is what `vmap` takes as `in_axes`: it weighs nothing, and nobody asks."""
    with pytest.raises(ValueError, match="masscart is 0"):
        dataclasses.replace(CartPole(), masscart=0.0)
    axes = jax.tree.map(lambda _: 0, CartPole())
    assert type(axes) is CartPole and axes.masscart == 0
    stack = jax.tree.map(lambda leaf: jnp.full(2, leaf), CartPole())
    assert jax.vmap(lambda env: env.total_mass, in_axes=(axes,))(stack).shape == (2,)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(CartPole())]
    assert names[:2] == [".gravity", ".masscart"] and len(names) == 9


def test_what_is_allowed_at_the_edge():
    CartPole(angle_threshold=float("inf"), position_threshold=np.inf)  # a threshold that is never crossed
    CartPole(gravity=jnp.array([[0.0, 9.8]]), length=np.array([0.5, 1.0]), masscart=2, tau=jnp.bfloat16(0.5))
    assert CartPole(reset_range=0.0, gravity=0.0).gravity == 0.0
    state, _ = CartPole(reset_range=0).reset(jax.random.key(0))
    assert [float(x) for x in state] == [0.0] * 4


# Reset


def test_reset_is_uniform_and_independent():
    """Each variable passes Kolmogorov-Smirnov at one in 10^5, and no pair is correlated beyond five sigma."""
    for env, half in ((CartPole(), 0.05), (CartPole(reset_range=0.3), 0.3)):
        keys = jax.random.split(jax.random.key(1), 20_000)
        state, observation = jax.jit(jax.vmap(env.reset))(keys)
        draws = np.stack(state, axis=1)
        np.testing.assert_array_equal(observation, draws)
        assert (draws >= -half).all() and (draws < half).all()
        assert draws.min() < -0.999 * half and draws.max() > 0.999 * half
        for column in draws.T:
            assert stats.kstest(column, stats.uniform(-half, 2 * half).cdf).pvalue > 1e-5
        correlation = np.corrcoef(draws.T) - np.eye(4)
        assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_reset_depends_on_the_key_alone():
    env = CartPole()
    one, same, other = (env.reset(jax.random.key(seed))[1] for seed in (5, 5, 6))
    assert one.tolist() == same.tolist()
    assert not set(one.tolist()) & set(other.tolist())


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


# An immutable pytree


def test_environment_is_an_immutable_pytree_of_its_numbers():
    env = CartPole(integrator="semi-implicit", sutton_barto_reward=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        env.gravity = 1.0
    leaves, structure = jax.tree.flatten(env)
    assert len(leaves) == 9 and all(isinstance(leaf, float) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert again == env and again.integrator == "semi-implicit" and again.sutton_barto_reward
    assert jax.tree.structure(CartPole()) != structure  # what is static is compared, hashed and retraced


def test_environment_is_an_argument_of_jit_and_does_not_retrace():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=2)  # one for each integrator
    def step(env, state, action):
        return env.step(jax.random.key(0), state, action)

    state = CartPoleState(*jnp.array([0.1, -0.2, 0.05, 0.3]))
    for options in (
        {},
        {"gravity": 1.6},
        {"tau": 0.1},
        {"integrator": "semi-implicit"},
        {"integrator": "semi-implicit", "length": 2.0},
    ):
        env = CartPole(**options)
        ours, alone = step(env, state, jnp.int32(0)), env.step(jax.random.key(0), state, jnp.int32(0))
        chex.assert_trees_all_close(ours, alone, atol=1e-6)


def test_key_is_not_consumed_by_deterministic_physics():
    env, key = CartPole(), jax.random.key(0)
    state, _ = env.reset(jax.random.key(1))
    for _ in range(3):
        state, _ = env.step(key, state, jnp.int32(1))  # the key-reuse checker of conftest would object


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (2, ValueError),
        (-1, ValueError),
        (jnp.int32(2), ValueError),
        (1.0, TypeError),
        (jnp.float32(1.0), TypeError),
        (True, TypeError),
        (jnp.zeros(1, jnp.int32), TypeError),
    ],
)
def test_what_is_no_action_is_refused(action, error):
    """Gymnasium refuses them too; taken for 0, they would push left."""
    env = CartPole()
    state, _ = env.reset(jax.random.key(0))
    with pytest.raises(error, match="action"):
        env.step(jax.random.key(1), state, action)


@pytest.mark.parametrize("action", [1, np.int64(1), jnp.int32(1), jnp.uint8(1)])
def test_any_integer_is_an_action(action):
    env = CartPole()
    state, _ = env.reset(jax.random.key(0))
    chex.assert_trees_all_equal(
        env.step(jax.random.key(1), state, action), env.step(jax.random.key(1), state, jnp.int32(1))
    )


# Gradients


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_gradient_through_the_physics_is_that_of_finite_differences(integrator):
    env = CartPole(integrator=integrator)
    with jax.enable_x64(True):
        names = [
            f.name
            for f in dataclasses.fields(env)
            if not f.metadata and "threshold" not in f.name and f.name != "reset_range"
        ]
        assert len(names) == 6

        def after(parameters, state):
            """Five pushes."""
            it = dataclasses.replace(env, **parameters)
            for action in (1, 0, 1, 1, 0):
                state = it.dynamics(state, jnp.int32(action))
            return state

        parameters = {name: jnp.asarray(getattr(env, name), jnp.float64) for name in names}
        state = CartPoleState(*jnp.array([0.3, -0.8, 0.15, 1.2]))
        check_grads(after, (parameters, state), order=1, modes=("fwd", "rev"), eps=1e-5, atol=1e-6, rtol=1e-6)
        slope = jax.grad(lambda p: after(p, state).angular_velocity)(parameters)
        assert all(float(value) != 0 for value in slope.values())


def test_gradient_is_finite_far_beyond_the_living(precision):
    env = CartPole()
    state, action = pairs(2000, seed=4)
    state, action = columns(state, jnp.result_type(float)), jnp.asarray(action, jnp.int32)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(env.dynamics)))(state, action)
    back = jax.jit(jax.vmap(jax.jacrev(env.dynamics)))(state, action)
    chex.assert_tree_all_finite((jacobian, back))
    chex.assert_trees_all_close(jacobian, back, rtol=0, atol=1e-12 if precision else 1e-5)
    if precision:
        exact = jacobian
        with jax.enable_x64(False):
            fast = jax.jit(jax.vmap(jax.jacfwd(env.dynamics)))(
                jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), state), action
            )
        chex.assert_trees_all_close(jax.tree.map(np.float64, fast), jax.tree.map(np.float64, exact), rtol=0, atol=1e-5)
