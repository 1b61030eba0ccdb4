"""Policy search: the chapter's numbers of survivors and offspring, laws of selection, searches that succeed."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from rljax import agents, envs, networks, policies, rollout, train
from rljax.agents.search_methods import Method, centred_ranks
from rljax.structs import Algorithm

METHODS = {
    "random_search": lambda: agents.random_search(12),
    "hill_climbing": lambda: agents.hill_climbing(12),
    "genetic": lambda: agents.genetic(20, 4),
    "evolution_strategy": lambda: agents.evolution_strategy(13),
}


def draw(key: jax.Array) -> jax.Array:
    return jax.random.normal(key, (3,))


def asked(method: Method, generations: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray], Any]:
    """Candidates and fitness of some generations on f(theta) = -|theta - (1, 2, 3)|^2, and the last state."""
    goal = jnp.array([1.0, 2.0, 3.0])
    fitness = lambda theta: -jnp.sum((theta - goal[None]) ** 2, axis=1)

    @jax.jit
    def one(key: jax.Array, state: Any) -> tuple[Any, jax.Array, jax.Array]:
        candidates = method.ask(key, state, draw)
        return method.tell(state, candidates, fitness(candidates)), candidates, fitness(candidates)

    state, rows = method.init(jax.random.key(seed), draw), []
    for t in range(generations):
        state, *row = one(jax.random.fold_in(jax.random.key(seed + 1), t), state)
        rows.append(tuple(map(np.asarray, row)))
    return [row[0] for row in rows], [row[1] for row in rows], state


def small(method: Method, **options: Any) -> Algorithm:
    options = {"episodes": 2, "finalists": 3, "final_episodes": 4, "max_steps": 60, "score_episodes": 8, **options}
    return agents.policy_search(envs.CartPole(), networks.linear_policy(4), method, **options)


def test_the_chapters_hundred_twenty_and_four() -> None:
    method = agents.genetic()
    candidates, fitness, _ = asked(method, 2)
    assert candidates[0].shape == candidates[1].shape == (100, 3)
    best = candidates[0][np.argsort(-fitness[0], kind="stable")[:20]]
    np.testing.assert_array_equal(candidates[1][:20], best, "the 20 best are kept as they are")
    offspring = candidates[1][20:].reshape(20, 4, 3) - best[:, None]
    assert (offspring != 0).all(), "each of the 20 has four that differ from it"
    _, p = scipy.stats.kstest(offspring.ravel() / 0.5, "norm")
    assert p > 1e-4, "by Gaussian noise of the stated size"


def test_without_mutation_and_crossover_offspring_are_copies() -> None:
    candidates, fitness, _ = asked(agents.genetic(10, 2, mutation=0.0), 2)
    best = candidates[0][np.argsort(-fitness[0], kind="stable")[:2]]
    np.testing.assert_array_equal(candidates[1][2:], np.repeat(best, 4, axis=0))


def test_crossover_takes_each_number_from_some_survivor() -> None:
    candidates, fitness, _ = asked(agents.genetic(1000, 5, mutation=0.0, crossover=0.5), 2)
    best = candidates[0][np.argsort(-fitness[0], kind="stable")[:5]]
    parents = np.repeat(best, 199, axis=0)
    own = candidates[1][5:] == parents
    assert np.isin(candidates[1][5:], best).all()
    # Foreign with probability 1/2, and then by chance the parent's own in 1 of 5: five sigma around 0.6.
    assert abs(own.mean() - 0.6) < 5 * np.sqrt(0.24 / own.size)


def test_mutation_is_annealed_by_a_schedule_of_the_generation() -> None:
    method = agents.genetic(1000, 5, mutation=optax.piecewise_constant_schedule(1.0, {2: 0.1}))
    candidates, _, _ = asked(method, 3)
    with jax.numpy_dtype_promotion("standard"):
        spread = [np.std(rows[5:].reshape(5, 199, 3) - rows[:5, None]) for rows in candidates[1:]]
    assert 0.9 < spread[0] < 1.1 and 0.09 < spread[1] < 0.11


@pytest.mark.parametrize("name", METHODS)
def test_the_size_of_a_population_is_constant_and_the_same_key_asks_the_same(name: str) -> None:
    method = METHODS[name]()
    first, _, _ = asked(method, 3)
    again, _, _ = asked(method, 3)
    other, _, _ = asked(method, 3, seed=7)
    assert all(rows.shape == (method.size, 3) for rows in first)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[-1], other[-1])


@pytest.mark.parametrize("name", METHODS)
def test_all_but_random_search_come_closer_to_the_goal(name: str) -> None:
    _, fitness, _ = asked(METHODS[name](), 60)
    near = max(rows.max() for rows in fitness[-5:])
    assert near > -0.3 if name != "random_search" else near < -0.05


def test_survivors_never_get_worse_where_fitness_is_fixed() -> None:
    _, fitness, _ = asked(agents.genetic(20, 4), 20)
    elite = np.sort(fitness, axis=1)[:, -4:]
    assert (np.diff(elite, axis=0) >= 0).all()


def test_hill_climbing_widens_after_a_success_and_narrows_after_a_failure() -> None:
    method = agents.hill_climbing(3, sigma=1.0, smallest=0.3, largest=1.5)
    state = method.init(jax.random.key(0), draw)
    candidates = jnp.arange(9.0).reshape(3, 3)
    succeed, fail = jnp.array([1.0, 0.0, 2.0]), jnp.array([1.0, 0.0, 0.5])
    sigmas = []
    for fitness in (succeed, succeed, fail, fail, fail, succeed):
        state = method.tell(state, candidates, fitness)
        sigmas.append(float(state.sigma))
    np.testing.assert_allclose(sigmas, [1.5, 1.5, 0.75, 0.375, 0.3, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(state.centre, candidates[2])


def test_one_step_of_the_evolution_strategy_by_hand() -> None:
    """By plain gradient ascent: theta + alpha / (2 n sigma) sum_i (u_i+ - u_i-) eps_i."""
    method = agents.evolution_strategy(5, sigma=0.5, learning_rate=0.1, optimiser=optax.sgd)
    state = method.init(jax.random.key(0), draw)
    candidates = np.asarray(method.ask(jax.random.key(1), state, draw))
    centre = np.asarray(state.centre)
    np.testing.assert_array_equal(candidates[0], centre)
    np.testing.assert_allclose(candidates[1:3] + candidates[3:], np.tile(2 * centre, (2, 1)), rtol=1e-5)
    fitness = np.array([9.0, 3.0, 1.0, 2.0, 4.0])  # the centre's is not ranked
    u = np.array([2, 0, 1, 3]) / 3 - 0.5
    eps = (candidates[1:] - centre) / 0.5
    expected = centre + 0.1 / (4 * 0.5) * (u @ eps)
    told = method.tell(state, jnp.asarray(candidates), jnp.asarray(fitness, jnp.float32))
    np.testing.assert_allclose(told.centre, expected, rtol=1e-5)


def test_ranks_against_scipy() -> None:
    x = np.random.default_rng(0).integers(0, 9, 40).astype(np.float32)
    expected = (scipy.stats.rankdata(x) - 1) / 39 - 0.5
    np.testing.assert_allclose(centred_ranks(jnp.asarray(x)), expected, atol=1e-6)


def test_a_generation_that_cannot_be_told_apart_moves_no_theta() -> None:
    method = agents.evolution_strategy(7)
    state = method.init(jax.random.key(0), draw)
    told = method.tell(state, method.ask(jax.random.key(1), state, draw), jnp.full(7, 500.0))
    np.testing.assert_array_equal(told.centre, state.centre)


@functools.cache
def searched(seed: int = 0) -> tuple[list[Any], list[dict[str, jax.Array]]]:
    """Six generations under one and the same key: all of them tried on the same episodes."""
    algorithm = small(agents.genetic(20, 4))
    step, key = jax.jit(algorithm.step), jax.random.key(5)
    state = algorithm.init(jax.random.key(seed))
    states, metrics = [state], []
    for _ in range(6):
        state, row = step(jax.random.clone(key), state)
        states.append(state)
        metrics.append(row)
    return states, metrics


def test_neither_elite_nor_champion_gets_worse_on_the_same_episodes() -> None:
    _, metrics = searched()
    for name in ("best", "champion"):
        assert (np.diff([float(row[name]) for row in metrics]) >= 0).all(), name
    assert float(metrics[-1]["champion"]) > float(metrics[0]["mean"])


def test_fitness_is_the_mean_return_of_episodes_that_all_candidates_share() -> None:
    method = agents.genetic(20, 4)
    algorithm, key = small(method), jax.random.key(5)
    states, metrics = searched()
    from rljax import noise

    lanes = [jax.random.fold_in(noise.fused(jax.random.clone(key)), role) for role in range(2)]
    candidates = method.ask(lanes[0], states[3].method, lambda key: jax.random.normal(key, (4,)))

    @jax.jit
    @jax.vmap
    def played(candidate: jax.Array) -> jax.Array:
        policy = lambda key, observation: policies.bernoulli.mode(observation @ candidate)
        return rollout.episodes(lanes[1], envs.CartPole(), policy, 2, 60).returns

    returns = np.asarray(played(candidates))
    np.testing.assert_allclose(metrics[3]["best"], returns.mean(axis=1).max(), rtol=1e-6)
    np.testing.assert_allclose(metrics[3]["mean"], returns.mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics[3]["worst"], returns.mean(axis=1).min(), rtol=1e-6)
    centre = np.asarray(candidates).mean(axis=0)
    distance = ((np.asarray(candidates) - centre) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(metrics[3]["spread"], np.sqrt(distance), rtol=1e-5)
    assert algorithm.parameters(states[3]).shape == (4,)


def test_searches_succeed_and_the_same_key_finds_the_same_champion(optimised) -> None:
    """Four numbers, from nothing to 500 of 500 in each of 64 fresh episodes."""
    algorithm = agents.policy_search(envs.CartPole(), networks.linear_policy(4))
    keys = jax.random.split(jax.random.key(0), 16)
    found, again = (train.train(algorithm, keys, 30, eval_every=1, target=500.0) for _ in range(2))
    assert (np.asarray(found.members.best_score) == 500).all()
    np.testing.assert_array_equal(found.parameters, again.parameters)
    assert len({row.tobytes() for row in np.asarray(found.parameters)}) == 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: agents.genetic(100, 30), r"population is 100 and survivors 30; .* Take 90"),
        (lambda: agents.genetic(20, 20), "at least twice as many.* Take 40"),
        (lambda: agents.genetic(mutation=-1.0), "mutation is -1; expected a number in"),
        (lambda: agents.genetic(crossover=1.5), r"crossover is 1\.5"),
        (lambda: agents.hill_climbing(1), "population is 1; expected a whole number of at least 2"),
        (lambda: agents.hill_climbing(sigma=0.0), "sigma is 0"),
        (lambda: agents.hill_climbing(sigma=5.0), r"sigma is 5.*\[0\.001, 2"),
        (lambda: agents.hill_climbing(smallest=3.0), r"largest is 2; expected a number in \[3, inf\)"),
        (lambda: agents.evolution_strategy(10), "population is 10; expected an odd number.* Take 11"),
        (lambda: agents.evolution_strategy(learning_rate=0.0), "learning_rate is 0"),
        (lambda: agents.random_search(0), "population is 0"),
        (lambda: small(agents.random_search(2)), "finalists is 3 and there are 2 candidates"),
        (lambda: small(agents.genetic(), episodes=0), "episodes is 0"),
        (
            lambda: agents.policy_search(envs.CartPole(), networks.mlp((4, 3))),
            r"the network's output has shape \(3,\)",
        ),
    ],
)
def test_bad_input_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="method is 'genetic'; expected a Method"):
        agents.policy_search(envs.CartPole(), networks.linear_policy(4), "genetic")  # type: ignore[arg-type]
