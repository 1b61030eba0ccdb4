"""The tabular model: what it fills in, what it is made of, and what it refuses, by state, action, value and fix."""

import dataclasses
import itertools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax.mdp import Dense, Generated, Sparse, TabularMDP, operators, solve
from rljax.mdp.planners import value_iteration

in_both_precisions = pytest.mark.usefixtures("precision")
P = np.array([[[0.5, 0.5], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])  # [S, A, S]: two states, two actions
R = np.array([1.0, 0.0])
LISTS = (np.array([[[0, 1], [0, 1]], [[1, 0], [1, 0]]]), np.array([[[0.5, 0.5], [1, 0]], [[1, 0], [1, 0]]]))  # the same


def model(p=P, r=R, *, gamma=0.9, **others):
    return TabularMDP(p, r, gamma=gamma, **others)


def with_entry(array, index, value):
    changed = np.array(array, float)
    changed[index] = value
    return changed


def ring(s, a, size=4):
    """One step to the left or to the right; arriving at 0 pays 1."""
    successor = (s + 2 * a - 1) % size
    return successor[None], jnp.ones(1), (successor == 0).astype(float)[None]


# What is filled in ---------------------------------------------------------------------------------------------------


@in_both_precisions
def test_defaults():
    world = model()
    assert world.num_states == world.num_actions == 2 and world.dtype == jnp.zeros(()).dtype
    assert world.mask.all() and not world.terminal.any() and world.initial.tolist() == [0.5, 0.5]
    assert {x.dtype for x in (world.reward, world.gamma, world.initial)} == {world.dtype}
    assert world.gamma.shape == () and isinstance(world.transitions, Dense)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(world))


def test_the_first_state_is_none_that_is_terminal():
    assert model(terminal=np.array([False, True])).initial.tolist() == [1.0, 0.0]
    assert model(terminal=np.array([True, True])).initial.tolist() == [0.5, 0.5]  # there is no other
    assert model(initial=np.array([0.25, 0.75])).initial.tolist() == [0.25, 0.75]


def test_all_actions_of_a_terminal_state_count_as_available():
    mask = np.array([[True, False], [False, False]])
    assert model(mask=mask, terminal=np.array([False, True])).mask.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("given", [np.float32, np.float64])
@in_both_precisions
def test_transitions_decide_the_precision(given):
    world = model(P.astype(given), R, gamma=np.float64(0.9), initial=np.array([1.0, 0.0]))
    wanted = given if jax.config.jax_enable_x64 else np.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(world)} == {np.dtype(wanted), np.dtype(bool)}
    assert {x.dtype for x in jax.tree.leaves(world.astype(jnp.float32))} == {np.dtype("float32"), np.dtype(bool)}


def test_rows_that_are_never_taken_need_not_sum_to_one():
    p = P.copy()
    p[0, 1], p[1] = 0.0, 7.0
    world = model(p, mask=np.array([[True, False], [True, True]]), terminal=np.array([False, True]))
    assert operators.bellman_optimality(world, np.ones(2)).tolist() == pytest.approx([1.45, 0.0])


@pytest.mark.parametrize("rank", [1, 2, 3])
@in_both_precisions
def test_rewards_expected_and_sampled(rank):
    full = np.random.default_rng(0).normal(size=(2, 2, 2))
    reward = full[(..., *[0] * (3 - rank))]
    expected = {1: np.broadcast_to(reward[:, None], (2, 2)) if rank == 1 else None, 2: reward}.get(rank)
    expected = np.sum(P * full, axis=2) if rank == 3 else expected
    world = model(r=reward)
    np.testing.assert_allclose(world.expected_reward, expected.T, rtol=1e-6)
    listed = TabularMDP.sparse(*LISTS, np.take_along_axis(full, LISTS[0], 2) if rank == 3 else reward, gamma=0.9)
    np.testing.assert_allclose(listed.expected_reward, expected.T, rtol=1e-6)
    for s, a, t in np.ndindex(2, 2, 2):
        paid = float(jnp.asarray(reward)[(s, a, t)[:rank]])
        assert float(world.sample_reward(jnp.int32(s), jnp.int32(a), jnp.int32(t))) == paid
        slot = int(np.flatnonzero(LISTS[0][s, a] == t)[0])
        assert float(listed.sample_reward(jnp.int32(s), jnp.int32(a), jnp.int32(slot))) == paid


def test_a_generated_model_tells_its_rewards_or_is_given_them():
    world = TabularMDP.generated(ring, 4, 2, gamma=0.5)
    assert world.reward is None and world.num_states == 4 and world.transitions.fan_out == 1
    assert world.expected_reward.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    assert float(world.sample_reward(jnp.int32(1), jnp.int32(0), jnp.int32(0))) == 1.0
    given = TabularMDP(Generated(ring, 4, 2), np.arange(4.0), gamma=0.5)
    assert given.expected_reward.tolist() == [[0, 1, 2, 3]] * 2
    arriving = TabularMDP(Generated(ring, 4, 2), np.arange(8.0).reshape(4, 2, 1), gamma=0.5)
    assert arriving.expected_reward.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_no_block_of_a_generated_model_is_too_small_or_too_large():
    v = jnp.arange(4.0)
    for size in (1, 3, 4, 4096):
        transitions = Generated(ring, 4, 2, block_size=size)
        assert transitions.expect(v).tolist() == [[3, 0, 1, 2], [1, 2, 3, 0]]


# A pytree ------------------------------------------------------------------------------------------------------------


def test_what_is_rebuilt_or_traced_is_not_checked():
    world = model()
    broken = jax.tree.map(lambda x: jnp.full_like(x, 7), world)
    assert isinstance(broken, TabularMDP) and float(broken.gamma) == 7.0
    assert float(jax.jit(lambda g: model(gamma=g).gamma)(7.0)) == 7.0
    assert float(jax.jit(lambda p: model(p).transitions.probability.sum())(2 * P.astype(np.float32))) == 8.0
    with pytest.raises(ValueError, match=r"reward has shape \(3,\)"):  # shapes are known
        jax.eval_shape(lambda r: model(r=r), jnp.zeros(3))


def test_replace_checks_again():
    world = model()
    assert float(dataclasses.replace(world, gamma=0.5).gamma) == 0.5
    with pytest.raises(ValueError, match=r"gamma is 1\.5"):
        dataclasses.replace(world, gamma=1.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        world.gamma = 0.5


def test_many_problems_are_stacked():
    worlds = [model(gamma=g, r=g * R) for g in (0.0, 0.5, 0.9)]
    stack = jax.tree.map(lambda *x: jnp.stack(x), *worlds)
    plan = jax.jit(jax.vmap(lambda world: solve(world, value_iteration(), tolerance=1e-4).v))(stack)
    alone = jax.jit(lambda world: solve(world, value_iteration(), tolerance=1e-4).v)
    chex.assert_trees_all_close(plan, jnp.stack([alone(world) for world in worlds]), atol=1e-5)


@pytest.mark.parametrize("states", [2, 16, 17, 64])  # JAX shares memory that happens to be aligned
def test_what_its_maker_does_to_his_arrays_later_changes_nothing(states):
    probability = np.full((states, 2, states), 1 / states, np.float32)
    successor = np.broadcast_to(np.arange(states, dtype=np.int32), probability.shape).copy()
    reward, gamma = np.ones((states, 2), np.float32), np.array(0.5, np.float32)
    terminal, mask, initial = np.zeros(states, bool), np.ones((states, 2), bool), np.eye(states, dtype=np.float32)[0]
    others = {"gamma": gamma, "terminal": terminal, "mask": mask, "initial": initial}
    made = [TabularMDP(probability, reward, **others), TabularMDP.sparse(successor, probability, reward, **others)]
    before = jax.tree.map(np.array, made)
    for array in (probability, successor, reward, gamma, terminal, mask, initial):
        array[...] = 0
    chex.assert_trees_all_equal(made, before)


def test_masked_arrays_are_refused():
    masked = lambda x: np.ma.array(x, mask=np.ones_like(x, bool))
    p, r = np.full((2, 1, 2), 0.5), np.ones(2)
    for make in (
        lambda: TabularMDP(masked(p), r, gamma=0.9),
        lambda: TabularMDP(p, masked(r), gamma=0.9),
        lambda: TabularMDP(p, r, gamma=0.9, terminal=masked(np.zeros(2, bool))),
        lambda: TabularMDP.sparse(masked(np.zeros((2, 1, 1), int)), np.ones((2, 1, 1)), r, gamma=0.9),
    ):
        with pytest.raises((TypeError, ValueError), match=r"(?i)masked"):
            make()


def test_copies_are_equal():
    world = TabularMDP.sparse(*LISTS, R, gamma=0.9)
    chex.assert_trees_all_equal(pickle.loads(pickle.dumps(world)), world)


def test_with_parts_leaves_the_rest_alone():
    world = model()
    other = world.with_parts(reward=jnp.array([2.0, 3.0]))
    assert other.reward.tolist() == [2.0, 3.0] and other.transitions is world.transitions


# Sampling ------------------------------------------------------------------------------------------------------------


def looked_up(s, a, p):
    return jnp.arange(p.shape[2], dtype=jnp.int32)[::-1], p[s, a, ::-1], jnp.zeros(p.shape[2])


def transitions_of(kind, p):
    """Lists name the states in falling order."""
    order = np.arange(p.shape[2])[::-1]
    if kind == "sparse":
        return Sparse.of(np.broadcast_to(order, p.shape), p[..., order])
    return Dense(p) if kind == "dense" else Generated(looked_up, *p.shape[:2], (jnp.asarray(p),))


@pytest.mark.parametrize("states", [4, 50])  # on both sides of what is unrolled
@pytest.mark.parametrize("kind", ["dense", "sparse", "generated"])
@in_both_precisions
def test_samples_follow_the_law(kind, states):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(states), (states, 2)) * (rng.random((states, 2, states)) < 0.5)
    p[..., 1] += 1e-3
    p /= p.sum(axis=2, keepdims=True)
    transitions, n = transitions_of(kind, p), 20_000
    keys = jax.random.split(jax.random.key(0), n)
    s, a = jnp.int32(2), jnp.int32(1)
    successor, slot = jax.jit(jax.vmap(lambda key: transitions.sample(key, s, a)))(keys)
    assert successor.dtype == slot.dtype == jnp.int32
    assert (slot == (successor if kind == "dense" else states - 1 - successor)).all()
    count = np.bincount(successor, minlength=states)
    law = p[2, 1]
    assert (count[law == 0] == 0).all()
    assert (np.abs(count - n * law) <= 5 * np.sqrt(n * law * (1 - law)) + 1e-9).all()


@pytest.mark.parametrize("kind", ["dense", "sparse", "generated"])
def test_what_cannot_happen_never_does(kind):
    p = np.zeros((40, 1, 40))
    p[:, 0, 17] = 1.0
    for size in (40, 20):
        transitions = transitions_of(kind, p[:size, :, :size])
        draw = jax.jit(jax.vmap(lambda key, go=transitions: go.sample(key, jnp.int32(0), jnp.int32(0))[0]))
        assert set(draw(jax.random.split(jax.random.key(1), 1000)).tolist()) == {17}


# Bad input -----------------------------------------------------------------------------------------------------------

SWAPPED = np.stack([np.eye(3), np.eye(3)])  # [A, S, S]
REFUSED = {
    "a sum": (with_entry(P, (0, 1, 0), 0.9), R, {}, r"state 0, action 1: the probabilities sum to 0\.9; .*mask\[0, 1\]"),
    "a negative one": (with_entry(P, (0, 0), [-0.5, 1.5]), R, {}, r"state 0, action 0, successor 0: the probability is -0\.5"),
    "a NaN": (with_entry(P, (1, 0, 1), np.nan), R, {}, "state 1, action 0, successor 1: the probability is nan"),
    "an infinite one": (with_entry(P, (1, 1, 0), np.inf), R, {}, "state 1, action 1, successor 0: the probability is inf"),
    "a NaN where nothing is available": (
        with_entry(P, (0, 1), np.nan), R, {"mask": np.array([[True, False], [True, True]])}, "state 0, action 1, successor 0",
    ),
    "a reward": (P, np.array([0.0, np.nan]), {}, "state 1: the reward is nan; expected a finite number"),
    "a reward of an action": (P, np.array([[0, 0], [-np.inf, 0]]), {}, "state 1, action 0: the reward is -inf.*masked"),
    "a reward on arrival": (P, with_entry(np.zeros((2, 2, 2)), (0, 1, 1), np.inf), {}, "state 0, action 1, successor 1"),
    "nothing to do": (P, R, {"mask": np.array([[True, True], [False, False]])}, "state 1 has no available action"),
    "gamma above": (P, R, {"gamma": 1.5}, r"gamma is 1\.5; expected a number in \[0, 1\]"),
    "gamma below": (P, R, {"gamma": -0.1}, r"gamma is -0\.1; expected"),
    "gamma that is none": (P, R, {"gamma": np.nan}, "gamma is nan; expected"),
    "no end": (P, R, {"gamma": 1.0}, "gamma is 1 in float.., and from state 0 a policy may never end: action 0 there"),
    "[A, S, S]": (SWAPPED, R, {}, r"shape \(2, 3, 3\).*If that is \[A, S, S\].* probability.transpose\(1, 0, 2\)"),
    "[S, S, A]": (np.ones((3, 3, 2)), R, {}, r"If that is \[S, S', A\], transpose it: probability.transpose\(0, 2, 1\)"),
    "lists": (np.ones((4, 2, 3)), R, {}, r"shape \(4, 2, 3\).*For successors in lists take TabularMDP.sparse"),
    "successors first": (
        np.array([[[0.5, 0.1], [0.9, 0.0]], [[0.5, 0.9], [0.1, 1.0]]]), R, {}, r"sums along axis 0 are 1.*transpose\(2, 1, 0\)",
    ),
    "successors in the middle": (
        np.array([[[0.5, 0.1], [0.5, 0.9]], [[0.9, 0.0], [0.1, 1.0]]]), R, {}, r"sums along axis 1 are 1.*transpose\(0, 2, 1\)",
    ),
    "a chain": (np.eye(2), R, {}, r"probability has shape \(2, 2\); expected three axes.*one action has an axis of length 1"),
    "no states": (np.zeros((0, 2, 0)), np.zeros(0), {}, r"probability has shape \(0, 2, 0\).*none of them empty"),
    "no actions": (np.zeros((2, 0, 2)), R, {}, r"probability has shape \(2, 0, 2\).*none of them empty"),
    "a reward too many": (P, np.zeros(3), {}, r"reward has shape \(3,\); expected \(2,\), \(2, 2\) or \(2, 2, 2\)"),
    "a reward transposed": (np.ones((3, 2, 3)) / 3, np.zeros((2, 3)), {}, r"reward has shape \(2, 3\).*reward\.T"),
    "rewards transposed": (
        np.ones((3, 2, 3)) / 3, np.zeros((2, 3, 3)), {}, r"reward has shape.*Transpose it: reward\.transpose\(1, 0, 2\)",
    ),
    "a mask transposed": (np.ones((3, 2, 3)) / 3, np.zeros(3), {"mask": np.ones((2, 3), bool)}, r"mask has shape.*mask\.T"),
    "terminal": (P, R, {"terminal": np.zeros(3, bool)}, r"terminal has shape \(3,\); expected \(2,\)"),
    "initial": (P, R, {"initial": np.array([1.0])}, r"initial has shape \(1,\); expected \(2,\)"),
    "initial that is none": (P, R, {"initial": np.array([0.5, 0.4])}, r"initial sums to 0\.9.*expected 1"),
    "negative initial": (P, R, {"initial": np.array([1.5, -0.5])}, r"state 1: initial is -0\.5"),
    "NaN initial": (P, R, {"initial": np.array([np.nan, 1.0])}, "state 0: initial is nan"),
}  # fmt: skip
REFUSED_TYPES = {
    "integers": (P.astype(int), R, {}, "probability has type int.*expected float32 or float64. Convert it"),
    "booleans": (P > 0, R, {}, "probability has type bool"),
    "half": (P.astype(np.float16), R, {}, "probability has type float16"),
    "complex": (P.astype(np.complex64), R, {}, "probability has type complex64"),
    "objects": (P.astype(object), R, {}, "probability is no array of numbers"),
    "text": (P.astype(str), R, {}, "probability is no array of numbers"),
    "the chapter's lists": (
        [[[0.5, 0.5], None], [[0.0, 1.0], [0.0, 1.0]]],
        R,
        {},
        "no array of numbers.*mdp.from_nested",
    ),
    "ragged": ([[[0.5, 0.5], [1.0]]], R, {}, "no array of numbers"),
    "nothing": (None, R, {}, "probability is no array of numbers"),
    "whole rewards": (P, np.array([1, 0]), {}, "reward has type int.*Convert it: reward.astype"),
    "rewards of objects": (P, R.astype(object), {}, "reward is no array of numbers"),
    "no rewards": (P, None, {}, "reward is None.*Only a generated model"),
    "a mask of numbers": (P, R, {"mask": np.ones((2, 2))}, "mask has type float.*expected bool"),
    "terminal of numbers": (P, R, {"terminal": np.zeros(2, int)}, "terminal has type int.*expected bool"),
    "a ragged mask": (P, R, {"mask": [[True], [True, False]]}, "mask is no rectangular array"),
    "a mask of text": (P, R, {"mask": np.array([["yes", "no"]] * 2)}, "mask holds <U3"),
    "terminal is a set": (P, R, {"terminal": {1}}, "terminal holds object"),
    "many gammas": (P, R, {"gamma": np.array([0.5, 0.9])}, "gamma is .*expected a number"),
    "gamma as text": (P, R, {"gamma": "0.9"}, "gamma is '0.9'; expected a number"),
}


@pytest.mark.parametrize(("p", "r", "others", "message"), REFUSED.values(), ids=REFUSED)
@in_both_precisions
def test_refused(p, r, others, message):
    with pytest.raises(ValueError, match=message):
        model(p, r, **others)


@pytest.mark.parametrize(("p", "r", "others", "message"), REFUSED_TYPES.values(), ids=REFUSED_TYPES)
@in_both_precisions
def test_types_refused(p, r, others, message):
    with pytest.raises(TypeError, match=message):
        model(p, r, **others)


def test_refused_lists():
    successor, probability = LISTS
    named = lambda index, state: with_entry(successor, index, state).astype(int)
    for s, p, error, message in (
        (named((0, 1, 1), 2), probability, ValueError, r"state 0, action 1, place 1: the successor is 2; .* 0 \.\.\. 1"),
        (named((0, 1, 1), -1), probability, ValueError, "state 0, action 1, place 1: the successor is -1"),
        (named((0, 0, 1), 0), probability, ValueError, r"state 0, action 0: the successors \[0, 0\] name a state twice"),
        (successor, with_entry(probability, (1, 0, 0), 0.5), ValueError, r"state 1, action 0: .* sum to 0\.5"),
        (successor, with_entry(probability, (1, 1, 1), np.nan), ValueError, "state 1, action 1, place 1: .* is nan"),
        (successor.astype(float), probability, TypeError, "successor has type float.*expected integers"),
        (successor.astype(object), probability, TypeError, "successor holds object.*expected integers"),
        ([[[0], [0, 1]], [[0], [1]]], probability, TypeError, "successor is no rectangular array"),
        (successor.astype(np.int64) + 2**32, probability, ValueError, "expected numbers of states, below 2147483648"),
        (successor, (probability > 0).astype(int), TypeError, "probability has type int"),
        (successor[:1], probability, ValueError, r"successor has shape .* and probability"),
        (successor[0], probability[0], ValueError, "successor has shape .*expected three axes"),
        (successor[..., :0], probability[..., :0], ValueError, "successor has shape .*none of them empty"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            TabularMDP.sparse(s, p, R, gamma=0.9)
    with pytest.raises(ValueError, match=r"reward has shape \(2, 2, 3\); expected .* or \(2, 2, 2\)"):
        TabularMDP.sparse(successor, probability, np.zeros((2, 2, 3)), gamma=0.9)
    same = with_entry(successor, (0, 1, 1), 0).astype(int)  # an unused place may name any state, also one that is used
    assert TabularMDP.sparse(same, probability, R, gamma=0.9).transitions.matrix().tolist() == P.tolist()


def test_refused_functions():
    one = jnp.ones(1)
    for function, error, message in (
        (None, TypeError, r"function is None; expected function\(s, a\)"),
        (lambda s, a: (s[None], one), ValueError, r"returns .*; expected successor \[B\], probability \[B\] and reward \[B\]"),
        (lambda s, a: (s[None], one, jnp.ones(2)), ValueError, r"expected successor \[B\]"),
        (lambda s, a: (s, jnp.ones(()), jnp.ones(())), ValueError, r"expected successor \[B\]"),
        (lambda s, a: ring(s, a) if s else ring(s, 0), TypeError, r"traced by JAX: TracerBoolConversionError.*jnp\.where"),
        (lambda s: ring(s, 0), TypeError, r"cannot be traced by JAX: TypeError: .* 1 positional argument"),
        (lambda s, a: (one, one, one), TypeError, "expected whole successors"),
        (lambda s, a: (s[None], s[None], one), TypeError, "floating probabilities"),
        (lambda s, a: (s[None] + 1, one, one), ValueError, r"state 3, action 0: the function returns successors \[4\]"),
        (lambda s, a: (s[None], one - 0.5, one), ValueError, r"state 0, action 0: the probabilities sum to 0\.5"),
        (lambda s, a: (s[None], one * jnp.where(s == 2, jnp.nan, 1.0), one), ValueError, "state 2, action 0: .*nan"),
        (lambda s, a: (s[None], one, one * jnp.where(a == 1, jnp.inf, 1.0)), ValueError, "state 0, action 1: .*inf"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            TabularMDP.generated(function, 4, 2, gamma=0.9)
    for sizes in ((0, 2), (4, 0)):
        with pytest.raises(ValueError, match="is 0; expected a whole number of at least 1"):
            TabularMDP.generated(ring, *sizes, gamma=0.9)
    with pytest.raises(ValueError, match=r"gamma is 1 in float.., and from state 1 a policy may never end"):
        TabularMDP.generated(ring, 4, 2, gamma=1.0, terminal=np.arange(4) == 0)


@pytest.mark.parametrize("form", [Dense, Sparse])
def test_gamma_1_is_refused_exactly_where_some_policy_never_ends(form):
    """Every deterministic policy of hundreds of small worlds is tried: does it reach the end from everywhere?"""
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(150):
        states, actions = rng.integers(2, 5), rng.integers(1, 4)
        p = rng.dirichlet(np.ones(states), (states, actions)) * (rng.random((states, actions, states)) < 0.4)
        p[..., 0] += p.sum(axis=2) == 0
        p /= p.sum(axis=2, keepdims=True)
        mask = rng.random((states, actions)) < 0.7
        mask[np.arange(states), rng.integers(actions, size=states)] = True
        terminal = np.arange(states) < rng.integers(0, 3)
        p[terminal] = 7.0  # is not looked at
        proper = True
        for policy in itertools.product(*(np.flatnonzero(row) for row in mask)):
            reaches = terminal
            for _ in range(states):
                reaches = reaches | (((p[np.arange(states), policy] > 0) & reaches).any(axis=1))
            proper &= bool(reaches.all())
        transitions = Dense(p)
        if form is Sparse:
            transitions = Sparse.of(np.broadcast_to(np.arange(states), p.shape), p)
        make = lambda: TabularMDP(transitions, np.zeros(states), gamma=1.0, mask=mask, terminal=terminal)  # noqa: B023
        if proper:
            make()
        else:
            with pytest.raises(ValueError, match="gamma is 1 in float32, and from state"):
                make()
        outcomes.append(proper)
    assert 20 < sum(outcomes) < 130


def test_gamma_1_names_a_state_that_never_ends():
    successor = np.array([1, 2, 3, 3, 5, 4])[:, None, None]  # 0 -> 1 -> 2 -> 3, which is the end; 4 <-> 5
    lists = successor, np.ones((6, 1, 1)), np.zeros(6)
    with pytest.raises(
        ValueError, match=r"from state 4 a policy may never end: action 0 .*stay among 2 states for ever"
    ):
        TabularMDP.sparse(*lists, gamma=1.0, terminal=np.arange(6) == 3)
    assert TabularMDP.sparse(*lists, gamma=1.0, terminal=np.isin(np.arange(6), [3, 5])).gamma == 1.0


def test_a_hundred_thousand_states_are_checked():
    """Vectorised: in a loop this would take a minute. One wrong row of 800 000 is found and named."""
    rng, states = np.random.default_rng(0), 100_000
    successor = np.stack([rng.integers(0, states // 4, (states, 2)) * 4 + b for b in range(4)], axis=2)
    probability = rng.dirichlet(np.ones(4), (states, 2)).astype(np.float32)
    terminal = np.arange(states) < 4
    successor[..., 0] = 0  # so that every policy ends
    assert (
        TabularMDP.sparse(successor, probability, np.zeros(states), gamma=1.0, terminal=terminal).num_states == states
    )
    probability[54_321, 1, 2] += 0.5
    with pytest.raises(ValueError, match=r"state 54321, action 1: the probabilities sum to 1\.5"):
        TabularMDP.sparse(successor, probability, np.zeros(states), gamma=0.9, terminal=terminal)
