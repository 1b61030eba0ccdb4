"""CartPole by itself: an immutable pytree of checked parameters, reset, clock and gradients."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cartpole_oracle import INTEGRATORS, columns, pairs
from jax.test_util import check_grads
from scipy import stats

from rljax import rollout
from rljax.envs import CartPole, CartPoleState, TimeLimit

pytestmark = pytest.mark.usefixtures("optimised")

# Parameters


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


# A clock around it


def balance(key, observation):
    """Stays up for ever: a linear law on all four."""
    x, v, angle, angular_velocity = observation
    return (angle + 0.2 * angular_velocity + 0.02 * x + 0.05 * v > 0).astype(jnp.int32)


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


# Precision and trouble


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("integrator", ["euler", "semi-implicit"])
def test_the_state_keeps_its_precision_whatever_that_of_the_parameters(integrator):
    """Else a loop's carry changes its type, as in domain randomisation with NumPy's float64."""
    with jax.enable_x64(True):
        gravities = jnp.asarray(np.linspace(5, 15, 3))
        assert gravities.dtype == jnp.float64

        def play(gravity):
            env = CartPole(gravity=gravity, integrator=integrator)
            cursor = rollout.start(jax.random.key(0), env, 2)
            policy = lambda key, observation: jnp.int32(1)
            return rollout.unroll(jax.random.key(1), env, policy, cursor, 5)[1]

        played = jax.jit(jax.vmap(play))(gravities)
        assert {leaf.dtype for leaf in (*played.next_state, played.observation, played.reward)} == {
            jnp.dtype("float32")
        }


@pytest.mark.usefixtures("precision")
def test_a_state_that_is_no_number_has_fallen():
    """Else it would be alive for ever, at a reward of one a step."""
    for place in ("position", "angle"):
        state = CartPoleState(*jnp.zeros(4))._replace(**{place: jnp.asarray(jnp.nan)})
        assert CartPole().terminal(state) and CartPole(angle_threshold=np.inf, position_threshold=np.inf).terminal(
            state
        )


def test_states_that_would_be_cut_off_and_keys_that_are_many_are_refused():
    key = jax.random.key(0)
    for state in (CartPoleState(*jnp.array([0, 1, 0, 1])), CartPoleState(0.0, 1.0, 0.0, 1.0), jnp.zeros(4)):
        with pytest.raises(TypeError, match="expected a CartPoleState of arrays of floats"):
            CartPole().step(key, state, 1)
    with pytest.raises(ValueError, match=r"random keys of shape \(\) are expected; got shape \(8,\)"):
        CartPole().reset(jax.random.split(key, 8))
    with pytest.raises(TypeError, match="sutton_barto_reward is 'no'; expected True or False"):
        CartPole(sutton_barto_reward="no")
