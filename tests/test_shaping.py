"""Shaping: what may change the best policy and what may not, on decision processes small enough to try every policy."""

from itertools import product

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import shaping
from rljax.structs import Transition

STATES, ACTIONS = 4, 2
END = STATES - 1  # arriving here terminates the episode
GAMMA = 0.9


def transition(source, reward, arrival, terminated=False):
    return Transition(*[None] * 9)._replace(
        observation=source, reward=reward, next_observation=arrival, terminated=jnp.asarray(terminated)
    )


# Golden --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize(
    ("angle", "expected"), [(0.0, 1.0), (0.25, 0.75), (-0.25, 0.75), (0.7, 0.3), (0.71, 0.3), (-3.0, 0.3)]
)
def test_angle_penalty_is_the_angle_of_arrival_capped_at_seven_tenths(angle, expected):
    step = transition(jnp.array([9.0, 9.0, 9.0, 9.0]), jnp.asarray(1.0), jnp.array([8.0, -8.0, angle, 8.0]))
    shaped = shaping.angle_penalty(step)
    chex.assert_shape(shaped, ())
    chex.assert_trees_all_close(np.float64(shaped), expected, atol=1e-6)
    free = shaping.angle_penalty(step._replace(reward=jnp.asarray(0.0)))
    chex.assert_trees_all_close(np.float64(free), expected - 1, atol=1e-6)


@pytest.mark.usefixtures("precision")
def test_potential_by_hand():
    shape = shaping.potential_based(lambda o: 10 * o[0], gamma=0.5)
    step = transition(jnp.array([3.0]), jnp.asarray(2.0), jnp.array([8.0]))
    chex.assert_trees_all_close(np.float64(shape(step)), 2 + 0.5 * 80 - 30.0)
    ended = step._replace(terminated=jnp.array(True))
    chex.assert_trees_all_close(np.float64(shape(ended)), 2 - 30.0)
    cut = step._replace(truncated=jnp.array(True))  # the future goes on, and so does its potential
    chex.assert_trees_all_close(np.float64(shape(cut)), 2 + 0.5 * 80 - 30.0)


def test_an_infinite_potential_at_the_end_is_not_asked_for():
    shape = shaping.potential_based(lambda o: jnp.log(o), gamma=0.9)
    ended = shape(transition(jnp.asarray(1.0), jnp.asarray(2.0), jnp.asarray(0.0), terminated=True))
    chex.assert_trees_all_close(ended, jnp.asarray(2.0))


# Oracle: every deterministic policy of a small decision process, solved as linear equations -----------------------------


def policy_values(p, r, gamma):
    """[policies, S] from p, r [S, A, S]: V = (I - gamma P)^-1 R, nothing being worth anything after END."""
    values = []
    alive = np.arange(STATES) != END
    for policy in product(range(ACTIONS), repeat=STATES):
        rows = np.arange(STATES), np.array(policy)
        reward = (p[rows] * r[rows]).sum(-1) * alive
        values.append(np.linalg.solve(np.eye(STATES) - gamma * p[rows] * alive[:, None] * alive, reward))
    return np.array(values)


def best_policies(values):
    """Those that no other one beats in any state (up to rounding); what is done at END is nobody's business."""
    best = (values >= values.max(0) - 1e-9)[:, :END].all(1)
    return {policy[:END] for policy, ok in zip(product(range(ACTIONS), repeat=STATES), best, strict=True) if ok}


def random_mdp(seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(STATES, 0.5), (STATES, ACTIONS))
    return p, rng.normal(size=p.shape), 10 * rng.normal(size=STATES)


@jax.jit
def shaped_rewards(r, phi, gamma):
    """Our shaping of every (source, action, arrival), [S, A, S]."""
    shape = shaping.potential_based(lambda state: phi[state], gamma)
    s, _, arrival = jnp.meshgrid(*map(jnp.arange, r.shape), indexing="ij")
    flat = jax.vmap(lambda s, r, a: shape(transition(s, r, a, a == END)))(s.ravel(), r.ravel(), arrival.ravel())
    return flat.reshape(r.shape)


def test_a_potential_moves_every_policys_value_by_the_same_and_keeps_the_best_best():
    with jax.enable_x64(True):
        for seed in range(30):
            p, r, phi = random_mdp(seed)
            plain = policy_values(p, r, GAMMA)
            shaped = policy_values(p, np.asarray(shaped_rewards(r, phi, GAMMA)), GAMMA)
            chex.assert_trees_all_close(shaped[:, :END], (plain - phi)[:, :END], atol=1e-8)
            assert best_policies(plain) == best_policies(shaped) != set()


def test_another_discount_than_the_learners_may_change_the_best_policy():
    """The theorem's condition is needed, so the test above can fail."""
    changed = 0
    with jax.enable_x64(True):
        for seed in range(30):
            p, r, phi = random_mdp(seed)
            shaped = policy_values(p, np.asarray(shaped_rewards(r, phi, 0.5)), GAMMA)
            changed += best_policies(policy_values(p, r, GAMMA)) != best_policies(shaped)
    assert changed > 5


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("terminated", [True, False])
def test_additions_telescope_to_minus_the_first_potential(terminated):
    """Discounted, along any episode; where it is cut and not ended, the last potential is still to come."""
    rng = np.random.default_rng(0)
    phi = lambda o: jnp.sum(jnp.square(o))
    path = jnp.asarray(rng.normal(size=(9, 2)), float)
    ends = jnp.arange(8) == (7 if terminated else -1)
    steps = Transition(*[None] * 9)._replace(
        observation=path[:-1], next_observation=path[1:], reward=jnp.zeros(8), terminated=ends
    )
    additions = np.asarray(jax.vmap(shaping.potential_based(phi, GAMMA))(steps), np.float64)
    potentials = np.square(np.asarray(path, np.float64)).sum(1)
    rest = 0 if terminated else GAMMA**8 * potentials[-1]
    chex.assert_trees_all_close((GAMMA ** np.arange(8)) @ additions, rest - potentials[0], atol=1e-5)


# A pole for which leaning is the price of a longer life: from the start (state 0) action 1 holds it upright and loses it,
# action 0 lets it lean (state 1), where it stays for ever.
ANGLES = np.array([0.0, 0.8, 0.0, 0.0])
LEANING = np.zeros((STATES, ACTIONS, STATES))
LEANING[0, 0, 1] = LEANING[0, 1, END] = LEANING[1, :, 1] = LEANING[2, :, END] = LEANING[END, :, END] = 1


def on_angles(shape):
    """Rewards [S, A, S] of one for every step, shaped as those of a pole with these angles."""
    observe = lambda state: jnp.zeros(4).at[2].set(jnp.asarray(ANGLES, jnp.float32)[state])
    step = lambda s, a: shape(transition(observe(s), jnp.ones(()), observe(a), a == END))
    states = jnp.arange(STATES)
    shaped = jax.vmap(lambda s: jax.vmap(lambda a: step(s, a))(states))(states)
    return np.repeat(np.asarray(shaped, np.float64)[:, None], ACTIONS, 1)


def test_an_angle_penalty_changes_the_best_policy_and_the_same_angle_as_a_potential_does_not():
    gamma = 0.5
    first_move = lambda r: {policy[0] for policy in best_policies(policy_values(LEANING, r, gamma))}
    upright = lambda o: -jnp.minimum(jnp.abs(o[2]), 0.7)
    assert first_move(on_angles(lambda t: t.reward)) == {0}  # 1 + 1/2 + 1/4 + ... = 2 against 1
    assert first_move(on_angles(shaping.angle_penalty)) == {1}  # 0.3 * 2 against 1
    assert first_move(on_angles(shaping.potential_based(upright, gamma))) == {0}


# Transformations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [shaping.angle_penalty, shaping.potential_based(lambda o: -jnp.abs(o[2]), 0.95)],
    ids=["angle", "potential"],
)
def test_eager_jitted_vmapped_and_scanned_shapings_are_equal_and_traced_once(shape):
    rng = np.random.default_rng(0)
    o_tm1, o_t = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
    rows = transition(o_tm1, jnp.arange(3.0), o_t, np.array([False, True, False]))
    row = lambda i: jax.tree.map(lambda x: x[i], rows)
    eager = jnp.stack([shape(row(i)) for i in range(3)])
    chex.clear_trace_counter()
    jitted = jax.jit(chex.assert_max_traces(shape, n=1))
    chex.assert_trees_all_close(jnp.stack([jitted(row(i)) for i in range(3)]), eager, rtol=1e-6)
    chex.assert_trees_all_close(jax.vmap(shape)(rows), eager, rtol=1e-6)
    chex.assert_trees_all_close(jax.lax.scan(lambda c, x: (c, shape(x)), None, rows)[1], eager, rtol=1e-6)


def test_the_discount_of_a_potential_may_be_traced():
    step = transition(jnp.array([3.0]), jnp.asarray(2.0), jnp.array([8.0]))
    found = jax.vmap(lambda gamma: shaping.potential_based(lambda o: o[0], gamma)(step))(jnp.array([0.0, 0.5, 1.0]))
    chex.assert_trees_all_close(found, jnp.array([-1.0, 3.0, 7.0]))


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [-0.1, 1.5, float("nan")])
def test_a_discount_outside_of_0_and_1_is_refused(gamma):
    with pytest.raises(ValueError, match=r"gamma is .*; expected a number in \[0, 1\]"):
        shaping.potential_based(lambda o: o[0], gamma)


def test_a_potential_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="potential is 3; expected a function"):
        shaping.potential_based(3, 0.9)


@pytest.mark.parametrize("shape", [(2,), (4, 4, 4)])
def test_the_angle_is_only_looked_for_in_one_step_of_cartpole(shape):
    step = Transition(*[None] * 9)._replace(reward=jnp.ones(shape[:-1]), next_observation=jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"next_observation has shape .*; expected one of CartPole's, \(4,\).*vmap"):
        shaping.angle_penalty(step)
