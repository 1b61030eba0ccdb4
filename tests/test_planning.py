"""Planners: within their certified bound of what linear solves say, on hundreds of problems, in both precisions."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mdp_oracle
import numpy as np
import pytest
import scipy.optimize

from rljax import agents, mdp, train
from rljax.mdp import evaluation, horizons, operators, planners, planning

METHODS = tuple(planners.METHODS)
plan = jax.jit(planners.plan, static_argnames="method")  # compiled, as callers do
TRANSITIONS = np.array(
    [
        [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.0, 0.0, 0.0], [0.8, 0.1, 0.1], [0.0, 0.0, 0.0]],
    ]
)
REWARDS = np.zeros((3, 3, 3))
REWARDS[0, 0, 0], REWARDS[1, 2, 2], REWARDS[2, 1, 0] = 10, -50, 40
MASK = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0]], bool)


def chapter(gamma: float) -> mdp.TabularMDP:
    return mdp.TabularMDP(
        mdp.Dense(jnp.asarray(TRANSITIONS)), jnp.asarray(REWARDS), gamma=gamma, mask=jnp.asarray(MASK)
    )


Q_STAR = {
    0.90: ([[18.918919, 17.027027, 13.621622], [0, -np.inf, -4.879715], [-np.inf, 50.133650, -np.inf]], [0, 0, 1]),
    0.95: (
        [
            [21.8992500512, 20.8042875486, 16.8675958837],
            [1.1208292238, -np.inf, 1.1798202356],
            [-np.inf, 53.8734949848, -np.inf],
        ],
        [0, 2, 1],
    ),
}


def chapter_among_twelve(gamma: float) -> mdp_oracle.Model:
    """The chapter's problem, and nine states beside it where nothing happens: of the size of the random ones."""
    successor = (np.arange(12)[:, None, None] + np.arange(4)).repeat(3, axis=1) % 12
    probability, reward, mask = np.zeros((12, 3, 4)), np.zeros((12, 3, 4)), np.ones((12, 3), bool)
    successor[:3], probability[:3, :, :3], probability[3:, :, 0] = np.arange(4), TRANSITIONS, 1.0
    reward[:3, :, :3], mask[:3] = REWARDS, MASK
    return mdp_oracle.Model(successor, probability, reward, mask, np.zeros(12, bool), gamma)


@functools.cache
def problems(kind: str) -> list[mdp_oracle.Model]:
    """100 random ones and the chapter's two."""
    rng = np.random.default_rng(7)
    return [*(mdp_oracle.random(rng, kind) for _ in range(100)), *map(chapter_among_twelve, Q_STAR)]


@functools.cache
def stacked(kind: str, dense: bool, wide: bool) -> mdp.TabularMDP:
    with jax.enable_x64(wide):
        return mdp_oracle.stack([mdp_oracle.tabular(model, dense) for model in problems(kind)])


@functools.cache
def compiled(method: str, tolerance: float) -> Callable[[mdp.TabularMDP], planning.Solution]:
    # Backups one by one are run for longer than they are compiled.
    effort = {"xla_backend_optimization_level": 1 if method == "prioritised_sweeping" else 0}
    return jax.jit(jax.vmap(lambda m: planners.plan(m, method, tolerance=tolerance)), compiler_options=effort)


@functools.cache
def solved(method: str, kind: str, dense: bool, wide: bool) -> planning.Solution:
    """All problems of a kind at once, to 1e-8 in float64 and 1e-3 in float32."""
    with jax.enable_x64(wide):
        return jax.device_get(compiled(method, 1e-8 if wide else 1e-3)(stacked(kind, dense, wide)))


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
@pytest.mark.parametrize("method", METHODS)
def test_the_chapters_mdp(method, dense):
    found = solved(method, "continuing", dense, True)
    for i, (q, policy) in zip((-2, -1), Q_STAR.values(), strict=True):
        assert bool(found.converged[i])
        assert found.policy[i, :3].tolist() == policy
        np.testing.assert_allclose(found.q[i, :3], q, atol=1e-6, rtol=0)
        np.testing.assert_allclose(found.v[i, :3], np.max(q, axis=1), atol=1e-6, rtol=0)


def test_the_bound_knows_that_the_printed_table_is_not_converged():
    """After 50 sweeps at gamma 0.95 the chapter's table says 21.73 where the fixed point is 21.90."""
    with jax.enable_x64(True):
        m = chapter(0.95)
        q = jnp.zeros((3, 3))
        backup = jax.jit(operators.q_bellman_optimality)
        for _ in range(50):
            q = backup(m, q)
        np.testing.assert_allclose(q[0], [21.73304188, 20.63807938, 16.70138772], atol=1e-6)
        v = jnp.max(q, axis=1)
        begin = lambda m, v: planning.begin(m, planners.value_iteration(), planning.facts(m), v)
        state = jax.jit(begin)(m, v)
        error = float(jnp.max(jnp.abs(v - jnp.array([21.8992500512, 1.1798202356, 53.8734949848]))))
        assert error > 0.16
        change = float(jnp.max(jnp.abs(state.value - v)))
        assert error - 1e-9 <= change / 0.05 < 0.17  # what the largest change proves of v, all too well
        # Every state lacks the same, so the two-sided bound finds the fixed point in this one backup.
        middle = jax.jit(lambda m, state: planning.conclude(m, planners.value_iteration(), state, 1e-6))(m, state)
        assert bool(middle.converged)
        np.testing.assert_allclose(middle.v, [21.8992500512, 1.1798202356, 53.8734949848], atol=1e-9)


@functools.cache
def optimal(kind: str) -> np.ndarray:
    return np.stack([mdp_oracle.optimal(model) for model in problems(kind)])


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
@pytest.mark.parametrize("method", METHODS)
def test_within_the_certified_bound_of_linear_solves(method, dense):
    """In float32 too, where the bound may stay above the tolerance; sparse, of the continuing ones."""
    for wide, kind in itertools.product((True, False), ("continuing", "episodic")):
        if not (wide or dense or kind == "continuing"):
            continue
        want, found = optimal(kind), solved(method, kind, dense, wide)
        error = np.abs(found.v.astype(np.float64) - want).max(axis=1)
        # float32 has rounded the problem itself, by some 1e-7 of it: its optimum is another one, as far off as that.
        other = 0.0 if wide else 1e-5 * (1 + np.abs(want).max(axis=1))
        assert (error <= found.bound + other).all()
        assert np.isfinite(found.bound).all()
        assert (found.converged == (found.bound <= (1e-8 if wide else 1e-3))).all()
        if wide:
            assert found.converged.all()
            greedy_q = np.take_along_axis(found.q, found.policy[:, :, None], axis=2)
            assert (np.abs(greedy_q[:, :, 0] - want).max(axis=1) <= 4 * found.bound + 1e-12).all()


@pytest.mark.parametrize("method", ["value_iteration", "modified_policy_iteration", "krylov_policy_iteration"])
def test_problems_that_are_never_stored_too(method):
    def solve(*model):
        return planners.plan(mdp_oracle.generated(mdp_oracle.Model(*model)), method, tolerance=1e-8)

    together = jax.jit(jax.vmap(solve))
    with jax.enable_x64(True):
        for kind in ("continuing", "episodic"):
            found = together(*mdp_oracle.stack(problems(kind)))
            assert found.converged.all()
            assert (np.abs(found.v - optimal(kind)).max(axis=1) <= found.bound).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_policy_is_certified_too_however_early_it_is(method):
    """Greedy in the middle of two bounds it would not be: of two actions alike, that middle likes to stay alive."""
    table = np.zeros((3, 2, 3))
    table[[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], [2, 2, 1, 2, 2, 2]] = 1.0
    reward = jnp.array([[1.0, 1.0], [-4.0, 0.0], [0.0, 0.0]])
    with jax.enable_x64(True):
        m = mdp.TabularMDP(
            jnp.asarray(table), reward.astype(float), gamma=0.9, terminal=jnp.array([False, False, True])
        )
        for rounds in (1, 2):
            found = plan(m, method, tolerance=5.0, max_iterations=rounds)
            worth = evaluation.evaluate(m, found.policy)
            assert (np.array([1.0, 0.0, 0.0]) - worth <= 2 * found.bound + 1e-12).all()


def test_rows_that_are_a_little_off_are_made_right():
    with jax.enable_x64(True):
        once = mdp.TabularMDP(jnp.array([[[1 - 9e-10]]]), jnp.array([1.0]), gamma=0.999)
        assert abs(float(plan(once, "policy_iteration").v[0]) - 1000.0) < 1e-9
    exact = jnp.array([[[1 / 3, 1 / 3, 1 / 3]]] * 3, jnp.float32)
    np.testing.assert_array_equal(mdp.TabularMDP(exact, jnp.zeros(3), gamma=0.9).transitions.probability, exact)


def test_episodes_too_long_to_bound_are_planned_without_a_bound():
    """Twenty times on with probability 1/2, or back to the start: a million steps on average, 0.9 ends it in 73."""
    n = 20
    table = np.zeros((n + 1, 2, n + 1))
    table[np.arange(n), 0, np.arange(n) + 1], table[np.arange(n), 1, np.arange(n) + 1] = 0.5, 0.9
    table[:n, 0, 0], table[:n, 1, 0], table[n, :, n] = table[:n, 0, 0] + 0.5, table[:n, 1, 0] + 0.1, 1.0
    with jax.enable_x64(True):
        end = jnp.arange(n + 1) == n
        m = mdp.TabularMDP(jnp.asarray(table), -jnp.ones(n + 1), gamma=1.0, terminal=end)
        for method in ("value_iteration", "policy_iteration", "krylov_policy_iteration", "gauss_seidel"):
            found = plan(m, method)
            assert not bool(found.converged) and np.isinf(found.bound)
            np.testing.assert_allclose(found.v[0], -sum(0.9**-i for i in range(1, n + 1)), rtol=1e-6)


def test_a_gamma_that_rounds_to_one_has_no_bound_and_no_nan():
    m = mdp.problems.river_swim(gamma=0.9)
    one = lambda gamma: planners.plan(m.with_parts(gamma=gamma), "value_iteration", max_iterations=50)
    found = jax.jit(one)(jnp.float32(1 - 1e-9))
    assert np.isinf(found.bound) and np.isfinite(found.v).all() and not bool(found.converged)


def test_rounding_is_counted_of_what_can_be_earned():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        table, arriving = rng.dirichlet(np.ones(8), size=(8, 1)), rng.normal(size=(8, 1, 8)) * 1e12
        arriving -= (table * arriving).sum(
            axis=2, keepdims=True
        )  # cancels: a mean of nothing, of terms that are rounded
        found = plan(mdp.TabularMDP(jnp.asarray(table), jnp.asarray(arriving), gamma=0.9), "policy_iteration")
        assert found.bound > 1e-4
        mask, reward = jnp.array([[True, False], [True, True]]), jnp.array([[1.0, -1e12], [0.0, 2.0]])
        stay = jnp.eye(2)[:, None, :].repeat(2, axis=1)
        found = plan(mdp.TabularMDP(stay, reward, gamma=0.5, mask=mask), "policy_iteration", tolerance=1e-12)
        assert bool(found.converged)


def test_gauss_seidel_stops_where_float32_ends():
    m = maze(1, 0.2)
    m = dataclasses.replace(m, gamma=0.999)
    found, other = (plan(m, method, max_iterations=500) for method in ("gauss_seidel", "krylov_policy_iteration"))
    assert found.iterations < 100 and found.bound < 3 * other.bound


@pytest.mark.parametrize(
    ("states", "gamma", "roundings", "methods"),
    [
        (9, 0.9999, 10, ("modified_policy_iteration", "policy_iteration")),
        (60, 0.999, 2, ("auto", "krylov_policy_iteration")),
    ],
)
def test_float32_goes_on_until_rounding_alone_moves_values_and_no_further(states, gamma, roundings, methods):
    """Long before, the worst that rounding can do is most of the bound; and values that flicker between two policies never
    come to rest: half of the problems are deterministic, where many policies are alike."""
    rng, models = np.random.default_rng(0), []
    for i in range(8):
        model = mdp_oracle.random(rng, "continuing", states)._replace(gamma=gamma, terminal=np.arange(states) == 0)
        if i % 2:
            certain = np.zeros_like(model.probability)
            certain[..., 0] = 1.0
            model = model._replace(probability=certain, arriving=-np.ones_like(certain))
        models.append(model)
    want = np.stack([mdp_oracle.optimal(model) for model in models])
    stack = mdp_oracle.stack([mdp_oracle.tabular(model, dense=True) for model in models])
    for method in methods:
        found = jax.device_get(jax.jit(jax.vmap(lambda m, method=method: planners.plan(m, method)))(stack))
        assert found.iterations.max() < 500, method
        off, largest = np.abs(found.v - want).max(axis=1), np.abs(want).max(axis=1)
        assert (off <= found.bound + 1e-5 * largest).all(), method
        if method != "policy_iteration":  # elimination makes errors of its own, and knows it
            assert (off <= roundings * np.finfo(np.float32).eps * largest / (1 - gamma)).all(), method


def test_rewards_at_the_ends_of_float32_are_planned_alike():
    rng = np.random.default_rng(3)
    model = mdp_oracle.random(rng, "continuing", 40)._replace(gamma=0.99)
    m = mdp_oracle.tabular(model, dense=False)
    alike = lambda unit: planners.plan(m.with_parts(reward=m.reward * unit), "krylov_policy_iteration", tolerance=1e-30)
    found = jax.jit(jax.vmap(alike))(2.0 ** jnp.array([-60.0, 0.0, 60.0]))
    for i, unit in ((0, 2.0**-60), (2, 2.0**60)):
        np.testing.assert_allclose(found.v[i] / unit, found.v[1], rtol=1e-4)
    assert found.iterations.max() < 100


def test_linear_programming_agrees():
    """min sum v  subject to  v(s) >= r(s, a) + gamma P v  for every available action."""
    found = solved("value_iteration", "continuing", True, True)
    for model, v in list(zip(problems("continuing"), found.v, strict=True))[:10]:
        table, (states, actions) = mdp_oracle.full(model), model.reward.shape
        rows, limits = [], []
        for s, a in np.ndindex(states, actions):
            if model.mask[s, a] and not model.terminal[s]:
                rows.append(model.gamma * table[s, a] - np.eye(states)[s])
                limits.append(-model.reward[s, a])
        bounds = [(0, 0) if end else (None, None) for end in model.terminal]
        lp = scipy.optimize.linprog(np.ones(states), np.array(rows), np.array(limits), bounds=bounds)
        np.testing.assert_allclose(v, lp.x, atol=1e-7)


def test_a_tolerance_beyond_the_precision_ends_and_says_so():
    found = plan(chapter(0.95), "value_iteration", tolerance=1e-12)
    assert not bool(found.converged)
    assert 1e-12 < float(found.bound) < 0.1
    assert int(found.iterations) < 1000


def test_the_cap_is_never_silent():
    found = plan(chapter(0.95), "value_iteration", tolerance=1e-3, max_iterations=3)
    assert int(found.iterations) == 3
    assert not bool(found.converged)
    assert float(found.bound) > 1e-3


@pytest.mark.parametrize("kind", ["continuing", "episodic"])
def test_value_iteration_comes_first_where_there_are_few_states(kind):
    model = mdp_oracle.random(np.random.default_rng(3), kind, states=40)._replace(
        gamma={"continuing": 0.99}.get(kind, 1.0)
    )
    with jax.enable_x64(True):
        for dense, after in ((True, "modified policy iteration"), (False, "Krylov policy iteration")):
            m = mdp_oracle.tabular(model, dense)
            run = jax.jit(lambda m, most: planners.plan(m, tolerance=1e-8, max_iterations=most))
            found = run(m, 1000)
            assert found.method == f"value iteration, then {after}"
            assert bool(found.converged)
            assert np.abs(found.v - mdp_oracle.optimal(model)).max() <= found.bound <= 1e-8
            assert 16 < int(found.iterations) < int(plan(m, "value_iteration", tolerance=1e-8).iterations)
            assert bool(run(m, 17).converged)  # a small allowance is the better planner's
            for most in (2, 3):
                stopped = run(m, most)
                assert int(stopped.iterations) == most
                assert not bool(stopped.converged)
                assert np.abs(stopped.v - mdp_oracle.optimal(model)).max() <= stopped.bound
            assert int(plan(m, tolerance=1e3).iterations) == 2
    with pytest.raises(ValueError, match="max_iterations is 0"):
        planners.plan(m, max_iterations=0)


def test_gamma_may_be_traced_and_batched():
    with jax.enable_x64(True):
        m, gammas = chapter(0.9), jnp.array([0.0, 0.5, 0.9, 0.95])
        solve = lambda gamma: planners.plan(dataclasses.replace(m, gamma=gamma), tolerance=1e-8)
        together = jax.jit(jax.vmap(solve))(gammas)
        for i, gamma in enumerate(gammas):
            alone = plan(dataclasses.replace(m, gamma=gamma), tolerance=1e-8)
            np.testing.assert_allclose(together.v[i], alone.v, atol=2e-8)


def test_generated_transitions_need_no_table():
    with jax.enable_x64(True):
        ring = lambda s, a: (jnp.array([(s + 2 * a - 1) % 50]), jnp.ones(1), jnp.where(s == 7, 1.0, 0.0)[None])
        generated = mdp.Generated(ring, 50, 2, block_size=16)
        reward = jnp.zeros(50).at[7].set(1.0)
        found = plan(mdp.TabularMDP(generated, reward, gamma=0.9), tolerance=1e-8)
        stored = plan(mdp.TabularMDP(jax.jit(generated.stored)(), reward, gamma=0.9), tolerance=1e-8)
        assert found.method == "value iteration, then modified policy iteration"
        assert stored.method == "value iteration, then Krylov policy iteration"
        np.testing.assert_allclose(found.v, stored.v, atol=2e-8)
        with pytest.raises(TypeError, match="Store them"):
            planners.plan(mdp.TabularMDP(generated, reward, gamma=0.9), "gauss_seidel")


def test_bad_options_are_refused():
    m = chapter(0.9)
    with pytest.raises(ValueError, match="method is 'magic'; expected one of 'auto'"):
        planners.plan(m, "magic")
    with pytest.raises(ValueError, match="tolerance is 0"):
        planners.plan(m, tolerance=0.0)
    for method in ("auto", "value_iteration"):
        with pytest.raises(TypeError, match=r"max_iterations is 1\.5; expected a whole number"):
            planners.plan(m, method, max_iterations=1.5)
    with pytest.raises(ValueError, match=r"start has shape \(2,\)"):
        planners.plan(m, start=jnp.zeros(2))
    with pytest.raises(TypeError, match="expected what mdp"):
        planners.gauss_seidel(jnp.arange(3))
    with pytest.raises(TypeError, match="with its brackets"):
        planning.solve(m, planners.value_iteration)
    with pytest.raises(ValueError, match="fraction is 2"):
        planners.modified_policy_iteration(2.0)


def maze(seed: int, slip: float) -> mdp.TabularMDP:
    """Of 13 x 21 cells, with a second goal on the way and a hole."""
    text = mdp.gridworld.maze(seed, 13, 21, loops=0.2).replace("..", "G.", 1)
    return mdp.gridworld.gridworld(text.replace(".\n", "H\n", 1), gamma=0.97, slip=slip, step_reward=-1.0)[0]


@pytest.mark.parametrize("slip", [0.0, 0.3])
def test_levels_are_distances_and_sweeps_in_their_order_find_the_same_values(slip):
    with jax.enable_x64(True):
        m = maze(1, slip)
        levels = mdp.outwards(m)
        states, place, first = np.array(levels.states), np.array(levels.place), np.array(levels.first)
        np.testing.assert_array_equal(states[place], np.arange(m.num_states))
        ends, distance = np.flatnonzero(m.terminal), np.full(m.num_states, np.inf)
        distance[ends] = 0
        lists = np.asarray(m.transitions.successor).T.reshape(m.num_states, -1)
        likely = np.asarray(m.transitions.probability).T.reshape(m.num_states, -1) > 0
        for _ in range(m.num_states):  # Bellman and Ford
            nearest = np.min(np.where(likely, distance[lists], np.inf), axis=1) + 1
            distance = np.minimum(distance, np.where(m.terminal, 0, nearest))
        assert np.isfinite(distance).all()
        live = len(states) - len(ends)
        assert (np.diff(distance[states[:live]]) >= 0).all()
        assert set(states[live:]) == set(ends)
        sizes = np.unique(distance[distance > 0], return_counts=True)[1]
        assert levels.width == sizes.max()
        np.testing.assert_array_equal(first, np.minimum(np.cumsum(sizes) - sizes, len(states) - levels.width))

        solve = jax.jit(lambda m, levels: planning.solve(m, planners.gauss_seidel(levels), tolerance=1e-9))
        found, want = solve(m, levels), plan(m, "policy_iteration", tolerance=1e-9)
        assert bool(found.converged)
        np.testing.assert_allclose(found.v, want.v, atol=2e-9)
        in_own_order = solve(m, None)
        np.testing.assert_allclose(in_own_order.v, want.v, atol=2e-9)
        once = jax.jit(
            lambda m, levels: planning.solve(m, planners.gauss_seidel(levels, max_sweeps=1), max_iterations=2)
        )
        if slip == 0:  # two sweeps of one round each: the first carries the values of the goals all the way
            np.testing.assert_allclose(once(m, levels).v, want.v, atol=1e-9)
            assert np.abs(np.asarray(once(m, None).v) - want.v).max() > 1
        with pytest.raises(ValueError, match="levels has shape"):
            planning.solve(chapter(0.9), planners.gauss_seidel(levels))


def test_a_renumbered_world_is_the_same_world():
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        for model, dense in itertools.product(problems("episodic")[:2], (True, False)):
            m = mdp_oracle.tabular(model, dense)
            m = m.with_parts(reward=m.expected_reward.T)
            states = rng.permutation(m.num_states)
            v = jnp.asarray(rng.normal(size=m.num_states))
            other = m.renumbered(jnp.asarray(states, jnp.int32), jnp.asarray(np.argsort(states), jnp.int32))
            want = mdp.q_values(m, v)[states]
            np.testing.assert_allclose(mdp.q_values(other, v[states]), want, atol=1e-12)
            np.testing.assert_array_equal(other.initial, m.initial[states])


def test_an_order_needs_ends_and_stored_transitions():
    with pytest.raises(ValueError, match="no state is terminal"):
        mdp.outwards(chapter(0.9))
    ring = lambda s, a: (jnp.array([(s + 1) % 5]), jnp.ones(1), jnp.zeros(1))
    with pytest.raises(TypeError, match="made on the host"):
        mdp.outwards(mdp.TabularMDP.generated(ring, 5, 1, gamma=0.9))
    with pytest.raises(TypeError, match="made on the host"):
        jax.jit(mdp.outwards)(maze(0, 0.0))
    lost = mdp.TabularMDP.sparse(
        [[[1]], [[0]], [[2]], [[2]]], jnp.ones((4, 1, 1)), jnp.zeros(4), gamma=0.9, terminal=jnp.arange(4) == 2
    )
    levels = mdp.outwards(lost)  # 0 and 1 lead to each other alone
    assert (levels.states.tolist(), levels.first.tolist(), levels.width) == ([3, 0, 1, 2], [0, 1, 2], 1)


def test_gradients_of_the_optimal_values_are_those_of_finite_differences():
    with jax.enable_x64(True):
        m = chapter(0.9)
        weights = jnp.array([1.0, -2.0, 0.5])
        f = jax.jit(
            lambda m: jnp.vdot(weights, planning.optimal_values(m, planners.policy_iteration(), tolerance=1e-9))
        )
        gradient = jax.jit(jax.grad(f, allow_int=True))(m)
        h = 1e-6
        by_gamma = lambda gamma: f(dataclasses.replace(m, gamma=gamma))
        np.testing.assert_allclose(gradient.gamma, (by_gamma(0.9 + h) - by_gamma(0.9 - h)) / (2 * h), rtol=1e-5)
        for where in ((0, 0, 0), (1, 2, 2), (2, 1, 0)):
            there = np.zeros((3, 3, 3))
            there[where] = 1.0
            by_reward = lambda x, there=there: f(m.with_parts(reward=m.reward + x * there))
            np.testing.assert_allclose(gradient.reward[where], (by_reward(h) - by_reward(-h)) / (2 * h), atol=1e-5)

        def by_transition(x):  # from state 0 under action 0: more of state 1, less of state 0
            table = TRANSITIONS.copy()
            table[0, 0] += [-x, x, 0.0]
            return f(dataclasses.replace(m, transitions=mdp.Dense(jnp.asarray(table))))

        slope = gradient.transitions.probability[0, 0, 1] - gradient.transitions.probability[0, 0, 0]
        np.testing.assert_allclose(slope, (by_transition(h) - by_transition(-h)) / (2 * h), rtol=1e-5)


def test_evaluation_and_occupancy():
    @jax.jit
    def everything(m, policy):
        v = evaluation.evaluate(m, policy)
        reward = operators.reward_under(m, policy)
        again = operators.policy_operator(m, policy, v), reward + evaluation.one_step_ahead(m, policy)(v)
        found = planning.solve(evaluation.under(m, policy), planners.krylov_policy_iteration(), tolerance=1e-10)
        return v, *again, found.v, evaluation.occupancy(m, policy), reward

    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        model = mdp_oracle.random(rng, "continuing")._replace(gamma=0.9)
        m = mdp_oracle.tabular(model, dense=False)
        stochastic = rng.dirichlet(np.ones(3), size=12) * model.mask
        stochastic = jnp.asarray(stochastic / stochastic.sum(axis=1, keepdims=True))
        for policy in (jnp.asarray(model.mask.argmax(axis=1), jnp.int32), stochastic):
            v, *again, visits, reward = everything(m, policy)
            for v_again in again:
                np.testing.assert_allclose(v_again, v, atol=1e-9)
            np.testing.assert_allclose(np.vdot(visits, reward), np.vdot(m.initial, v), rtol=1e-9)


def test_backward_induction_is_the_best_of_all_plans():
    with jax.enable_x64(True):
        m = chapter(0.9)
        found = horizons.backward_induction(m, 4)
        v = jnp.zeros(3)
        for t in reversed(range(4)):
            v = operators.bellman_optimality(m, v)
            np.testing.assert_allclose(found.v[t], v)
        assert found.policy.shape == (4, 3)
        # The rounds of value iteration, as an algorithm, are its steps.
        algorithm = agents.planner(m, planners.value_iteration())
        state = algorithm.init(jax.random.key(0))
        for t in reversed(range(4)):
            np.testing.assert_allclose(state.value, found.v[t])
            np.testing.assert_array_equal(state.policy, found.policy[t])
            state, _ = algorithm.step(jax.random.key(0), state)
        # Its own policy, played out, earns what it promises.
        v = jnp.zeros(3)
        for t in reversed(range(4)):
            v = operators.policy_operator(m, found.policy[t], v)
        np.testing.assert_allclose(found.v[0], v)
        for wrong, error, said in (
            ("much", TypeError, "is 'much'; expected an array of numbers"),
            (1.0, ValueError, r"has shape \(\) and states \(3,\)"),
        ):
            with pytest.raises(error, match=f"final_value {said}"):
                horizons.backward_induction(m, 1, wrong)
            with pytest.raises(error, match=f"v {said}"):
                operators.bellman_optimality(m, wrong)
        ends = horizons.backward_induction(m, 1, jnp.array([100.0, 0.0, 0.0]))
        np.testing.assert_allclose(ends.v[0], operators.bellman_optimality(m, jnp.array([100.0, 0.0, 0.0])))


def test_average_reward_is_the_best_of_all_deterministic_policies():
    with jax.enable_x64(True):
        rng = np.random.default_rng(11)
        table = rng.dirichlet(np.ones(4), size=(4, 2))
        reward = rng.normal(size=(4, 2))
        m = mdp.TabularMDP(mdp.Dense(jnp.asarray(table)), jnp.asarray(reward), gamma=0.5)
        gains = []
        for policy in np.ndindex(2, 2, 2, 2):
            chain = table[np.arange(4), policy]
            law = np.linalg.lstsq(np.vstack([chain.T - np.eye(4), np.ones(4)]), np.r_[np.zeros(4), 1], rcond=None)[0]
            gains.append(law @ reward[np.arange(4), policy])
        found = jax.jit(lambda m: horizons.relative_value_iteration(m, tolerance=1e-8))(m)
        assert bool(found.converged)
        assert abs(float(found.gain) - max(gains)) <= float(found.bound)
        best = np.ndindex(2, 2, 2, 2)
        assert tuple(found.policy.tolist()) == list(best)[int(np.argmax(gains))]

        result = train.train(agents.average_planner(m), jax.random.key(0)[None], 60, eval_every=1, target=-1e-8)
        steps = int(result.members.steps[0])
        gain, bound = (result.metrics[name][:steps, 0] for name in ("gain", "bound"))
        assert (np.abs(gain - max(gains)) <= bound).all() and bound[-1] <= 1e-8 < bound[-2]
        assert int(found.iterations) == steps + 1  # as of every planner, the first backup is where the algorithm starts
        np.testing.assert_array_equal(result.parameters.policy[0], found.policy)
        act = lambda s: agents.average_planner(m).act(found, jax.random.key(0), s)
        np.testing.assert_array_equal(jax.vmap(act)(jnp.arange(4)), found.policy)
    narrow = mdp.TabularMDP(table.astype(np.float32), reward.astype(np.float32), gamma=0.5)
    beyond = jax.jit(lambda m: horizons.relative_value_iteration(m, tolerance=1e-12))(narrow)
    assert beyond.iterations < 1000 and not beyond.converged
    assert (
        abs(float(beyond.gain) - max(gains))
        <= 3 * np.finfo(np.float32).eps * np.abs(reward).max()
        < beyond.bound
        < 1e-4
    )


def test_a_periodic_chain_has_an_average_too():
    swap = mdp.TabularMDP(mdp.Dense(jnp.array([[[0.0, 1.0]], [[1.0, 0.0]]])), jnp.array([1.0, 0.0]), gamma=0.5)
    found = jax.jit(lambda m: horizons.relative_value_iteration(m, tolerance=1e-4))(swap)
    np.testing.assert_allclose(found.gain, 0.5, atol=1e-4)


def test_an_episode_that_is_over_earns_nothing_for_ever():
    """Half a reward of 1, and then nothing: on average nothing, marked as terminal or not."""
    for terminal in ([False, True], None):
        ends = mdp.TabularMDP(
            jnp.array([[[0.5, 0.5]], [[0.0, 1.0]]]), jnp.array([[1.0], [0.0]]), gamma=0.9, terminal=terminal
        )
        found = horizons.relative_value_iteration(ends, tolerance=1e-5)
        assert abs(float(found.gain)) <= float(found.bound) <= 1e-5


def test_mixtures_never_do_worse_than_half_of_value_iteration():
    """Small problems that mix slowly, where mixtures unchecked grew without end."""
    with jax.enable_x64(True):

        def problem(seed: int) -> mdp.TabularMDP:
            rng, p = np.random.default_rng(seed), np.zeros((9, 3, 9))
            for s, a in np.ndindex(9, 3):
                p[s, a, rng.choice(9, 2, replace=False)] = rng.dirichlet(np.ones(2))
            return mdp.TabularMDP(p, rng.normal(size=(9, 3)), gamma=0.99, terminal=np.arange(9) == 0)

        each = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(problem, range(100)))
        solved = lambda planner: jax.jit(jax.vmap(lambda m: planning.solve(m, planner, max_iterations=5000)))(each)
        mixed, plain = solved(planners.anderson()), solved(planners.value_iteration())
        assert mixed.converged.all() and plain.converged.all()
        assert (np.abs(mixed.v - plain.v).max(axis=1) <= mixed.bound + plain.bound).all()
        assert (mixed.iterations <= 2 * plain.iterations + 10).all()


def test_few_states_that_hardly_mix_are_planned_too():
    with jax.enable_x64(True):
        rare = 1e-5
        p = jnp.array([[[1 - rare, rare]], [[rare, 1 - rare]]])
        found = plan(mdp.TabularMDP(p, jnp.array([1.0, 0.0]), gamma=0.9999))
        exact = np.linalg.solve(np.eye(2) - 0.9999 * np.asarray(p[:, 0]), [1.0, 0.0])
        assert found.converged and found.iterations < 2000
        assert np.abs(found.v - exact).max() <= found.bound <= 1e-6


def test_q_value_iteration_is_a_planner_by_its_own_name():
    q, v = (plan(chapter(0.9), method, tolerance=1e-3) for method in ("q_value_iteration", "value_iteration"))
    assert q.method == "Q-value iteration"
    np.testing.assert_array_equal(q.q, v.q)


def test_what_is_no_problem_and_what_is_many_are_refused():
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), chapter(0.9))
    planner = planners.value_iteration()
    for run in (
        plan,
        lambda m: planning.solve(m, planner),
        lambda m: agents.planner(m, planner),
        agents.average_planner,
        horizons.relative_value_iteration,
        lambda m: horizons.backward_induction(m, 3),
    ):
        with pytest.raises(ValueError, match=r"a stack of problems, terminal of shape \(2, 3\).*jax\.vmap"):
            run(many)
        with pytest.raises(TypeError, match=r"mdp is a list; expected a mdp\.TabularMDP"):
            run([[0.5, 0.5]])
    with pytest.raises(TypeError, match="with its brackets"):
        agents.planner(chapter(0.9), planners.value_iteration)
    with pytest.raises(ValueError, match=r"v_star has shape \(3, 1\)"):
        agents.planner(chapter(0.9), planner, v_star=jnp.zeros((3, 1)))


def test_the_one_loop_plans_as_well():
    with jax.enable_x64(True):
        m = chapter(0.9)
        v_star = plan(m, "value_iteration", tolerance=1e-11).v
        algorithm = agents.planner(m, planners.value_iteration(), v_star=v_star)
        result = train.train(algorithm, jax.random.split(jax.random.key(0), 1), 60, eval_every=1, target=-1e-6)
        steps = int(result.members.steps[0])
        bound, error = (result.metrics[name][:steps, 0] for name in ("bound", "error"))
        assert (error <= bound).all()
        assert bound[-1] <= 1e-6 < bound[-2]
        alone = plan(m, "value_iteration", tolerance=1e-6)
        assert int(alone.iterations) == steps + 1  # the loop counts rounds, `solve` the first backup too
        np.testing.assert_array_equal(result.parameters.policy[0], alone.policy)
