"""Bellman's operators: the chapter's numbers, float64 loops in three representations, and the laws they are known for."""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rljax import mdp
from rljax.mdp import Dense, Sparse, TabularMDP, operators

pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")
random_laws = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
S, A = 5, 3


class World(NamedTuple):
    """An MDP as a student writes it, in float64."""

    p: np.ndarray  # [S, A, S]
    r: np.ndarray  # [S, A, S]
    mask: np.ndarray  # [S, A]
    terminal: np.ndarray  # [S]
    gamma: float


def random_world(seed, states=S, actions=A, ends=True, gamma=0.9):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(states, 0.3), (states, actions))
    p = np.where(p < 0.02, 0.0, p)
    p /= p.sum(axis=2, keepdims=True)
    mask = rng.random((states, actions)) < 0.7
    mask[np.arange(states), rng.integers(actions, size=states)] = True
    terminal = (np.arange(states) == 3) & ends
    return World(p, rng.normal(size=p.shape) * 3, mask | terminal[:, None], terminal, gamma)


def dense(world):
    probability, reward = (jnp.asarray(x, float) for x in (world.p, world.r))
    return TabularMDP(probability, reward, gamma=world.gamma, mask=world.mask, terminal=world.terminal)


def sparse(world):
    """Successors in falling order, unused places between."""
    order = np.arange(len(world.p))[::-1]
    successor = np.broadcast_to(order, world.p.shape)
    probability, reward = (jnp.asarray(x[..., order], float) for x in (world.p, world.r))
    return TabularMDP.sparse(
        successor, probability, reward, gamma=world.gamma, mask=world.mask, terminal=world.terminal
    )


def looked_up(s, a, p, r):
    return jnp.arange(p.shape[2], dtype=jnp.int32), p[s, a], r[s, a]


def generated(world):
    parameters = tuple(jnp.asarray(x, float) for x in (world.p, world.r))
    return TabularMDP.generated(
        looked_up,
        *world.mask.shape,
        parameters=parameters,
        block_size=2,
        gamma=world.gamma,
        mask=world.mask,
        terminal=world.terminal,
    )


BUILDERS = {"dense": dense, "sparse": sparse, "generated": generated}
in_every_form = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)


def q_loop(world, v):
    v = np.where(world.terminal, 0.0, v)
    q = np.full(world.mask.shape, -np.inf)
    for s, a in np.ndindex(*q.shape):
        if world.terminal[s]:
            q[s, a] = 0.0
        elif world.mask[s, a]:
            q[s, a] = sum(world.p[s, a, t] * (world.r[s, a, t] + world.gamma * v[t]) for t in range(len(v)))
    return q


def close(a, b, scale=1.0):
    tolerance = scale * (1e-12 if jax.config.jax_enable_x64 else 3e-6)
    chex.assert_trees_all_close(
        np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=tolerance, atol=10 * tolerance
    )


def values(seed, states=S):
    """[S] of the precision that is on, and the same in float64."""
    v = jnp.asarray(np.random.default_rng(seed + 1000).normal(size=states) * 4, float)
    return v, np.asarray(v, np.float64)


# Golden --------------------------------------------------------------------------------------------------------------

CHAPTER = (
    [
        [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
        [[0.0, 1.0, 0.0], None, [0.0, 0.0, 1.0]],
        [None, [0.8, 0.1, 0.1], None],
    ],
    [[[10, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, -50]], [[0, 0, 0], [40, 0, 0], [0, 0, 0]]],
    [[0, 1, 2], [0, 2], [1]],
)
NO = -np.inf
Q_STAR = {
    0.90: [[18.918919, 17.027027, 13.621622], [0.0, NO, -4.879715], [NO, 50.133650, NO]],
    0.95: [
        [21.8992500512, 20.8042875486, 16.8675958837],
        [1.1208292238, NO, 1.1798202356],
        [NO, 53.8734949848, NO],
    ],
}


@pytest.mark.parametrize(("gamma", "policy"), [(0.90, [0, 0, 1]), (0.95, [0, 2, 1])])
@in_both_precisions
def test_the_chapters_action_values_are_a_fixed_point(gamma, policy):
    world, q = mdp.from_nested(*CHAPTER, gamma=gamma), np.array(Q_STAR[gamma])
    v, actions = q.max(axis=1), np.array(policy)
    done = all_of(world, v, q, actions, np.eye(3)[actions], 1.0)
    np.testing.assert_allclose(done["q of q"], q, atol=1e-5 if world.dtype == jnp.float32 else 2e-6, rtol=0)
    np.testing.assert_allclose(done["optimality"], v, atol=1e-5, rtol=0)
    np.testing.assert_allclose(done["q"], q, atol=1e-5, rtol=0)
    np.testing.assert_allclose(done["actions"], v, atol=1e-5, rtol=0)
    np.testing.assert_allclose(done["law"], v, atol=1e-5, rtol=0)
    assert done["greedy"].tolist() == policy


def test_the_chapters_fifty_sweeps():
    """The table often printed for gamma 0.95, which has not converged."""
    with jax.enable_x64(True):
        world = mdp.from_nested(*CHAPTER, gamma=0.95)
        q = jax.lax.fori_loop(0, 50, lambda _, q: mdp.q_bellman_optimality(world, q), jnp.zeros((3, 3)))
        table = [[21.73304188, 20.63807938, 16.70138772], [0.95462106, NO, 1.01361207], [NO, 53.70728682, NO]]
        np.testing.assert_allclose(q, table, atol=1e-8, rtol=0)


all_of = jax.jit(
    lambda world, v, q, actions, law, tau: {
        "q": mdp.q_values(world, v),
        "optimality": mdp.bellman_optimality(world, v),
        "greedy": mdp.greedy(world, v),
        "q of q": mdp.q_bellman_optimality(world, q),
        "actions": mdp.policy_operator(world, actions, v),
        "law": mdp.policy_operator(world, law, v),
        "soft": mdp.soft_bellman(world, v, tau),
    }
)


# Oracle --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@in_every_form
@in_both_precisions
def test_every_operator_is_what_a_loop_says(build, seed):
    world = random_world(seed)
    (v, v64), model = values(seed), build(world)
    q, tau, rng = q_loop(world, v64), 0.7, np.random.default_rng(seed)
    # What stands at unavailable actions and in terminal states is not looked at.
    noise = np.where(world.mask & ~world.terminal[:, None], q, 1e6)
    actions = np.array([rng.choice(np.flatnonzero(row)) for row in world.mask])
    law = rng.random((S, A)) * world.mask
    law = jnp.asarray(law / law.sum(axis=1, keepdims=True), float)
    done = all_of(model, v, noise, actions, law, tau)
    assert all(x.dtype == model.dtype for name, x in done.items() if name != "greedy")
    close(done["q"], q)
    close(done["optimality"], q.max(axis=1))
    assert done["greedy"].tolist() == q.argmax(axis=1).tolist() and done["greedy"].dtype == jnp.int32
    close(done["q of q"], q_loop(world, q.max(axis=1)))
    close(done["actions"], q[np.arange(S), actions])
    mean = [sum(float(law[s, a]) * q[s, a] for a in range(A) if world.mask[s, a]) for s in range(S)]
    close(done["law"], mean)
    soft = [0.0 if world.terminal[s] else tau * np.log(sum(np.exp(x / tau) for x in q[s])) for s in range(S)]
    close(done["soft"], soft)


@pytest.mark.parametrize("rank", [1, 2, 3])
@in_every_form
@in_both_precisions
def test_rewards_of_every_rank(build, rank):
    world = random_world(7)
    reward = world.r[(slice(None), slice(None), slice(None))[:rank] + (0,) * (3 - rank)]
    world = world._replace(r=np.broadcast_to(reward.reshape(*reward.shape, *[1] * (3 - rank)), world.p.shape))
    given = jnp.asarray(reward[..., ::-1] if rank == 3 and build is sparse else reward, float)
    v, v64 = values(7)
    found = jax.jit(lambda given, v: mdp.q_values(dataclasses.replace(build(world), reward=given), v))(given, v)
    close(found, q_loop(world, v64))


@pytest.mark.parametrize(("states", "actions"), [(1, 1), (2, 17), (40, 2)])
@in_every_form
def test_sizes_on_both_sides_of_what_is_unrolled(build, states, actions):
    world = random_world(0, states, actions, ends=False)
    v, v64 = values(0, states)
    q = q_loop(world, v64)
    best, policy = jax.jit(lambda v: operators.sweep(build(world), v))(v)
    close(best, q.max(axis=1), scale=4)
    assert policy.tolist() == q.argmax(axis=1).tolist()


def test_the_first_of_equals_is_greedy():
    for actions in (3, 20):
        p = np.ones((1, actions, 1))
        reward = np.zeros((1, actions))
        reward[0, [0, 2]] = 1.0
        mask = np.arange(actions)[None] > 0
        assert mdp.greedy(TabularMDP(p, reward, gamma=0.5), np.zeros(1)).tolist() == [0]
        assert mdp.greedy(TabularMDP(p, reward, gamma=0.5, mask=mask), np.zeros(1)).tolist() == [2]


def test_a_terminal_state_is_worth_nothing_whatever_it_says():
    p = np.ones((1, 2, 1)) * [[[1.0], [7.0]]]  # its rows are never looked at
    world = TabularMDP(p, np.array([[3.0, 9.0]]), gamma=0.5, terminal=np.array([True]), mask=np.zeros((1, 2), bool))
    v = np.array([100.0])
    assert world.mask.all()
    assert mdp.q_values(world, v).tolist() == [[0.0, 0.0]] and mdp.greedy(world, v).tolist() == [0]
    for value in (mdp.bellman_optimality(world, v), mdp.soft_bellman(world, v, 1.0)):
        assert value.tolist() == [0.0]
    assert mdp.policy_operator(world, np.array([1]), v).tolist() == [0.0]
    assert operators.reward_under(world, jnp.array([1])).tolist() == [0.0]


# Laws ----------------------------------------------------------------------------------------------------------------

numbers = arrays(np.float64, S, elements=st.floats(-20, 20, width=32))
worlds = st.builds(random_world, st.integers(0, 50), ends=st.booleans(), gamma=st.sampled_from([0.0, 0.5, 0.99]))
everything = jax.jit(
    lambda world, v, tau: {
        "optimality": mdp.bellman_optimality(world, v),
        "policy": mdp.policy_operator(world, mdp.greedy(world, jnp.zeros(S)), v),
        "soft": mdp.soft_bellman(world, v, tau),
        "q": mdp.q_values(world, v),
        "greedy": mdp.policy_operator(world, mdp.greedy(world, v), v),
        "q of q": mdp.q_bellman_optimality(world, mdp.q_values(world, v)),
        "q of v": mdp.q_values(world, mdp.bellman_optimality(world, v)),
    }
)
CONTRACTIONS = ("optimality", "policy", "soft")


def on(world, v, tau=0.5):
    return {name: np.asarray(x, np.float64) for name, x in everything(dense(world), jnp.asarray(v, float), tau).items()}


def slack():
    return 1e-11 if jax.config.jax_enable_x64 else 1e-4


@given(worlds, numbers, numbers)
@random_laws
@in_both_precisions
def test_monotone(world, v, more):
    low, high = on(world, v), on(world, v + np.abs(more))
    for name in CONTRACTIONS:
        assert (low[name] <= high[name] + slack()).all(), name


@given(worlds, numbers, numbers)
@random_laws
@in_both_precisions
def test_contraction_by_gamma(world, u, v):
    a, b = on(world, u), on(world, v)
    for name in CONTRACTIONS:
        assert np.abs(a[name] - b[name]).max() <= world.gamma * np.abs(u - v).max() + slack(), name


@given(worlds, numbers)
@random_laws
@in_both_precisions
def test_values_are_the_best_action_values(world, v):
    done = on(world, v)
    close(done["optimality"], done["q"].max(axis=1))
    close(done["greedy"], done["optimality"])
    close(done["q of q"], done["q of v"])
    assert (done["policy"] <= done["optimality"] + slack()).all()


@given(worlds, numbers, st.sampled_from([1e-3, 0.1, 1.0, 30.0]))
@random_laws
@in_both_precisions
def test_soft_lies_between_the_maximum_and_what_choice_is_worth(world, v, tau):
    done = on(world, v, tau)
    choices = np.where(world.terminal, 1, world.mask.sum(axis=1))
    assert (done["optimality"] <= done["soft"] + slack()).all()
    assert (done["soft"] <= done["optimality"] + tau * np.log(choices) + slack()).all()


@given(worlds.filter(lambda world: not world.terminal.any()), numbers, st.floats(-5, 5, width=32))
@random_laws
@in_both_precisions
def test_a_constant_is_discounted_once(world, v, constant):
    before, after = on(world, v), on(world, v + constant)
    for name in CONTRACTIONS:
        np.testing.assert_allclose(after[name], before[name] + world.gamma * constant, atol=slack(), rtol=0)


@in_both_precisions
def test_the_soft_gradient_is_the_softmax_policy():
    world, (v, v64) = dense(random_world(3)), values(3)
    q, tau = q_loop(random_world(3), v64), 0.8
    value = lambda r: mdp.soft_bellman(dataclasses.replace(world, reward=r), v, tau).sum()
    slope = jax.jit(jax.grad(value))(world.expected_reward.T)
    law = np.exp(q / tau) / np.exp(q / tau).sum(axis=1, keepdims=True)
    close(slope, np.where(np.asarray(world.terminal)[:, None], 0.0, law))


# Transformations -----------------------------------------------------------------------------------------------------


@in_every_form
@in_both_precisions
def test_eager_jit_and_vmap_agree_over_whole_problems(build):
    models = [build(random_world(seed, gamma=0.1 * seed)) for seed in range(4)]
    v = jnp.stack([values(seed)[0] for seed in range(4)])
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    together, alone = jax.jit(jax.vmap(mdp.q_values))(stack, v), jax.jit(mdp.q_values)
    for i, model in enumerate(models):
        close(together[i], alone(model, v[i]))
    close(together[0], mdp.q_values(models[0], v[0]))


@in_both_precisions
def test_vmap_over_gamma_rewards_and_transitions_alone():
    world = dense(random_world(0))
    v, _ = values(0)
    gammas = jnp.linspace(0.0, 0.9, 4)
    rewards = jnp.stack([world.reward * k for k in (1.0, -2.0)])
    tables = jnp.stack([dense(random_world(k)).transitions.probability for k in range(3)])
    for name, batch in (("gamma", gammas), ("reward", rewards), ("transitions", tables)):
        change = lambda x, name=name: mdp.bellman_optimality(dataclasses.replace(world, **{name: x}), v)
        together = jax.jit(jax.vmap(change))(batch)
        for k, x in enumerate(batch):
            close(together[k], change(x))


@in_every_form
def test_one_trace_for_every_number(build):
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(mdp.bellman_optimality, n=1))
    model = build(random_world(0))
    for world in (model, dataclasses.replace(model, gamma=0.3), dataclasses.replace(model, terminal=np.arange(S) < 1)):
        traced(world, jnp.zeros(S))


@in_every_form
def test_derivatives_are_those_of_finite_differences(build):
    with jax.enable_x64(True):
        model, (v, _) = build(random_world(1)), values(1)
        leaves, structure = jax.tree.flatten(model)
        floating = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]

        @jax.jit
        def of(parts, v, tau):
            changed = list(leaves)
            for i, x in zip(floating, parts, strict=True):
                changed[i] = jnp.asarray(x)
            model = jax.tree.unflatten(structure, changed)
            law = jnp.full((S, A), 1 / A)
            q = jnp.where(model.mask, mdp.q_values(model, v), 0.0)
            return mdp.bellman_optimality(model, v), mdp.soft_bellman(model, v, tau), operators._under(law, q.T)

        parts = [leaves[i] for i in floating]
        jax.test_util.check_grads(of, (parts, v, 0.6), order=1, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("v", [np.zeros(S + 1), np.zeros(1), np.zeros((S, 1)), 0.0])
def test_values_of_another_shape_are_refused(v):
    world = dense(random_world(0))
    for operator in (mdp.q_values, mdp.bellman_optimality, mdp.greedy):
        with pytest.raises(ValueError, match=r"v has shape .* and states \(5,\); expected equal shapes"):
            operator(world, v)
    with pytest.raises(ValueError, match="v has shape"):
        mdp.soft_bellman(world, v, 1.0)
    with pytest.raises(ValueError, match="v has shape"):
        mdp.policy_operator(world, mdp.greedy(world, np.zeros(S)), v)
    with pytest.raises(ValueError, match=r"q has shape .* and mask \(5, 3\)"):
        mdp.q_bellman_optimality(world, v)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match=r"temperature is .*; expected a number in \(0, inf\)"):
        mdp.soft_bellman(dense(random_world(0)), np.zeros(S), temperature)


def test_policies_that_are_none_are_refused():
    p = np.ones((2, 2, 2)) / 2
    world = TabularMDP(p, np.zeros(2), gamma=0.5, mask=np.array([[True, True], [True, False]]))
    for policy, error, message in (
        (np.array([0, 2]), ValueError, r"state 1: the policy takes action 2; expected one of \[0\]"),
        (np.array([-1, 0]), ValueError, r"state 0: the policy takes action -1; expected one of \[0, 1\]"),
        (
            np.array([0, 1]),
            ValueError,
            r"state 1: the policy takes action 1; expected one of \[0\], which are available",
        ),
        (np.array([[0.5, 0.5], [0.5, 0.5]]), ValueError, "state 1, action 1: the policy's probability is 0.5"),
        (np.array([[0.5, 0.4], [1.0, 0.0]]), ValueError, "state 0: the policy's probabilities sum to 0.9"),
        (np.array([[-0.5, 1.5], [1.0, 0.0]]), ValueError, "state 0, action 0: the policy's probability is -0.5"),
        (np.array([[np.nan, 1.0], [1.0, 0.0]]), ValueError, "state 0, action 0: the policy's probability is nan"),
        (np.array([0, 0, 0]), ValueError, r"of type int.* and shape \(3,\) is given"),
        (np.array([0.0, 0.0]), ValueError, r"of type float32 and shape \(2,\) is given"),
        (np.array([True, False]), TypeError, "of type bool"),
    ):
        with pytest.raises(error, match=message):
            mdp.policy_operator(world, policy, np.zeros(2))
    # Where it is not known yet, it is not looked at.
    assert jax.jit(mdp.policy_operator)(world, jnp.array([0, 1]), jnp.zeros(2)).tolist() == [0.0, 0.0]


# The kernel ----------------------------------------------------------------------------------------------------------


@in_every_form
@in_both_precisions
def test_chains_of_policies(build):
    world = random_world(2)
    transitions = build(world).transitions
    actions = np.array([2, 0, 1, 1, 0])
    law = np.random.default_rng(0).dirichlet(np.ones(A), S)
    v, v64 = values(2)

    @jax.jit
    def under(transitions, policy, v):
        chain = transitions.under(policy)
        assert isinstance(chain, Dense | Sparse) and chain.num_actions == 1 and chain.num_states == S
        return chain.matrix(), chain.expect(v), transitions.matrix(), transitions.expect(v)

    for policy, table in (
        (jnp.asarray(actions, jnp.int32), world.p[np.arange(S), actions]),
        (jnp.asarray(law, float), np.einsum("sa,sat->st", law, world.p)),
    ):
        matrix, expected, whole_matrix, whole_expected = under(transitions, policy, v)
        close(matrix[:, 0], table)
        close(expected[0], table @ v64)
        close(whole_matrix, world.p)
        close(whole_expected, (world.p @ v64).T)


@pytest.mark.parametrize("build", [dense, sparse])
def test_parts_of_a_model(build):
    world = random_world(2)
    model = build(world)
    close(model.transitions.stay(), np.diagonal(world.p, axis1=0, axis2=2))
    close(model.transitions.into(jnp.int32(4)), world.p[:, :, 4].T)
    v, _ = values(2)
    weight = np.random.default_rng(1).random(world.p.shape[1::-1])
    others = world.p * ~np.eye(len(v), dtype=bool)[:, None, :]
    rows = model.transitions.rows(jnp.asarray(weight, v.dtype))
    close(rows.expect(v), weight.T * (others @ np.asarray(v)))
    part = jax.tree.map(lambda x: x[1:4], rows)
    close(part.expect(v), rows.expect(v)[1:4])
