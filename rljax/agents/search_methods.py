"""Where the candidates of `policy_search` come from: four methods, each three functions of a state of its own.

A policy is its D numbers, theta; f is what its episodes returned, the more the better. A generation has P candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks
from rljax.agents import common
from rljax.agents.common import Schedule, at

Draw = Callable[[Array], Array]  # key -> [D], a new policy as the network begins


class Method(NamedTuple):
    """Where candidates come from. `size` is P; `state` is any pytree."""

    size: int
    init: Callable[[Array, Draw], Any]  # (key, draw) -> state
    ask: Callable[[Array, Any, Draw], Array]  # (key, state, draw) -> candidates [P, D]
    tell: Callable[[Any, Array, Array], Any]  # (state, candidates [P, D], fitness [P]) -> state


def random_search(population: int = 100) -> Method:
    """Policies as the network begins, P new ones in every generation; only the champion is remembered.

    Errors:
      ValueError: a population below 1.

    Example:
      >>> random_search(10).ask(jax.random.key(0), (), lambda key: jax.random.normal(key, (4,))).shape
      (10, 4)
    """
    checks.integer("population", population, 1)
    return Method(
        population,
        lambda key, draw: (),
        lambda key, state, draw: jax.vmap(draw)(jax.random.split(key, population)),
        lambda state, candidates, fitness: state,
    )


class Hill(NamedTuple):
    """Where hill climbing stands."""

    centre: Array  # [D]
    sigma: Array  # []


def hill_climbing(
    population: int = 16,
    *,
    sigma: float = 0.5,
    smallest: float = 1e-3,
    largest: float = 2.0,
) -> Method:
    """A step to the best of P - 1 neighbours if it does as well as the centre, with noise that adapts.

        theta_1 = theta,    theta_i = theta + sigma N(0, I)
        theta <- theta_j and sigma <- min(2 sigma, largest)           if f_j >= f_1, j the best of i > 1
        sigma <- max(sigma / 2, smallest)                             otherwise

    The centre is tried again in every generation, beside its neighbours: its luck of the past does not count.

    Args:
      population: P, at least 2.
      sigma: noise at first.
      smallest, largest: limits of it.

    Errors:
      ValueError: a population below 2; limits that are not above 0, or do not hold sigma.

    Example:
      >>> method = hill_climbing(3)
      >>> told = method.tell(Hill(jnp.zeros(2), jnp.float32(0.5)), jnp.arange(6.0).reshape(3, 2), jnp.array([1.0, 0.0, 1.0]))
      >>> told.centre.tolist(), float(told.sigma)
      ([4.0, 5.0], 1.0)

    Rechenberg (1973), Evolutionsstrategie: steps grow while they succeed.
    """
    checks.integer("population", population, 2)
    checks.real("smallest", smallest, 0, above=True, below=True)
    checks.real("largest", largest, smallest, below=True)
    checks.real("sigma", sigma, smallest, largest)

    def init(key: Array, draw: Draw) -> Hill:
        centre = draw(key)
        return Hill(centre, jnp.asarray(sigma, centre.dtype))

    def ask(key: Array, state: Hill, draw: Draw) -> Array:
        del draw
        neighbours = state.centre[None] + state.sigma * _normal(
            key, (population - 1, state.centre.size), state.centre.dtype
        )
        return jnp.concatenate([state.centre[None], neighbours])

    def tell(state: Hill, candidates: Array, fitness: Array) -> Hill:
        best = 1 + jnp.argmax(fitness[1:])
        better = fitness[best] >= fitness[0]
        wider, narrower = jnp.minimum(2.0 * state.sigma, largest), jnp.maximum(state.sigma / 2.0, smallest)
        return Hill(
            jnp.where(better, candidates[best], state.centre),
            jnp.where(better, wider, narrower).astype(state.sigma.dtype),
        )

    return Method(population, init, ask, tell)


class Population(NamedTuple):
    """Where the genetic algorithm stands."""

    survivors: Array  # [S, D], the best first
    generation: Array  # [] int32, how many have been tried


def genetic(
    population: int = 100,
    survivors: int = 20,
    *,
    mutation: ArrayLike | Schedule = 0.5,
    crossover: ArrayLike = 0.0,
) -> Method:
    """The chapter's: of P policies the S best survive, and each has P / S - 1 offspring that differ from it a little.

        offspring = theta + sigma N(0, I),    theta a survivor; each number of it, with probability c, another survivor's

    The survivors themselves are tried again, with their offspring: the first S candidates of each generation.

    Args:
      population: P, a multiple of S.
      survivors: S.
      mutation: sigma, a number (may be traced) or a schedule of the generation: `optax.exponential_decay(0.5, 10, 0.5)`.
      crossover: c in [0, 1]; may be traced.

    Errors:
      ValueError: a population that is not a multiple of the survivors, or has no room for offspring.

    Example:
      >>> method, draw = genetic(4, 2), lambda key: jax.random.normal(key, (3,))
      >>> state = method.init(jax.random.key(0), draw)
      >>> first = method.ask(jax.random.key(1), state, draw)
      >>> state = method.tell(state, first, jnp.array([0.0, 2.0, 1.0, 3.0]))
      >>> then = method.ask(jax.random.key(2), state, draw)
      >>> bool((then[:2] == first[jnp.array([3, 1])]).all())
      True

    Geron (2022), ch. 18, "Policy search".
    """
    checks.integer("population", population, 2)
    checks.integer("survivors", survivors, 1)
    if population % survivors or population == survivors:
        raise ValueError(
            f"population is {population} and survivors {survivors}; expected a multiple of the survivors, at least twice as "
            f"many: each has the same number of offspring. Take {max(2, round(population / survivors)) * survivors}."
        )
    if not callable(mutation):
        checks.real("mutation", mutation, 0, below=True)
    checks.real("crossover", crossover, 0, 1)
    offspring = population // survivors - 1

    def init(key: Array, draw: Draw) -> Population:
        return Population(jax.vmap(draw)(jax.random.split(key, survivors)), jnp.int32(0))

    def ask(key: Array, state: Population, draw: Draw) -> Array:
        kept = state.survivors
        key_first, key_mate, key_gene, key_noise = (jax.random.fold_in(key, role) for role in range(4))
        first = jax.vmap(draw)(jax.random.split(key_first, population - survivors))
        parents = jnp.repeat(kept, offspring, axis=0)
        mates = kept[jax.random.randint(key_mate, (len(parents),), 0, survivors)]
        foreign = jax.random.uniform(key_gene, parents.shape) < crossover
        sigma = at(mutation, state.generation, kept.dtype)
        later = jnp.where(foreign, mates, parents) + sigma * _normal(key_noise, parents.shape, kept.dtype)
        return jnp.concatenate([kept, jnp.where(state.generation == 0, first, later)])

    def tell(state: Population, candidates: Array, fitness: Array) -> Population:
        return Population(candidates[lax.top_k(fitness, survivors)[1]], state.generation + 1)

    return Method(population, init, ask, tell)


class Gaussian(NamedTuple):
    """Where the evolution strategy stands."""

    centre: Array  # [D], theta
    optimiser: optax.OptState


def evolution_strategy(
    population: int = 101,
    *,
    sigma: ArrayLike = 0.5,
    learning_rate: ArrayLike = 0.5,
    optimiser: Callable[..., optax.GradientTransformation] = optax.adam,
) -> Method:
    """OpenAI's: noise in opposite pairs, returns only by their ranks.

        theta_1 = theta,    theta_2i, theta_2i+1 = theta +- sigma eps_i,    eps_i = N(0, I),    i = 1 ... n = (P - 1) / 2
        theta <- theta + Adam(1 / (2 n sigma) sum_i (u_2i - u_2i+1) eps_i)
        u = (average rank among the 2n) / (2n - 1) - 1/2

    Equal returns have equal ranks: a generation that cannot be told apart moves nothing.

    Args:
      population: P, odd, at least 3.
      sigma: may be traced.
      learning_rate: may be traced.
      optimiser: makes the gradient transformation from the learning rate.

    Errors:
      ValueError: a population that is not odd, or below 3; a sigma or learning rate out of range.
      TypeError: what makes no optimiser.

    Example:
      >>> method = evolution_strategy(3, sigma=1.0, learning_rate=1.0, optimiser=optax.sgd)
      >>> state = method.init(jax.random.key(0), lambda key: jnp.zeros(2))
      >>> pair = jnp.array([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0]])  # the centre, and one step to either side
      >>> method.tell(state, pair, jnp.array([0.0, 9.0, 3.0])).centre.tolist()
      [1.0, 0.0]

    Salimans et al. (2017), Evolution strategies as a scalable alternative to reinforcement learning, alg. 1 and sec. 2.1.
    """
    checks.integer("population", population, 3)
    if population % 2 == 0:
        raise ValueError(
            f"population is {population}; expected an odd number, the centre and pairs around it. Take {population + 1}."
        )
    checks.real("sigma", sigma, 0, above=True, below=True)
    transform = common.transform(optimiser, learning_rate)
    pairs = population // 2

    def init(key: Array, draw: Draw) -> Gaussian:
        centre = draw(key)
        return Gaussian(centre, transform.init(centre))

    def ask(key: Array, state: Gaussian, draw: Draw) -> Array:
        del draw
        step = jnp.asarray(sigma, state.centre.dtype) * _normal(key, (pairs, state.centre.size), state.centre.dtype)
        return state.centre[None] + jnp.concatenate([jnp.zeros_like(step[:1]), step, -step])

    def tell(state: Gaussian, candidates: Array, fitness: Array) -> Gaussian:
        above, below = jnp.split(centred_ranks(fitness[1:]).astype(candidates.dtype), 2)
        step = candidates[1 : pairs + 1] - state.centre[None]  # sigma eps
        gradient = (above - below) @ step / (2 * pairs * jnp.asarray(sigma, candidates.dtype) ** 2)
        with jax.numpy_dtype_promotion("standard"):  # adam raises a float to an integer power: refused under "strict"
            change, optimiser_state = transform.update(-gradient, state.optimiser, state.centre)
        return Gaussian(jax.tree.map(jnp.add, state.centre, change), optimiser_state)

    return Method(population, init, ask, tell)


def centred_ranks(x: Array) -> Array:
    """Ranks scaled to [-1/2, 1/2]; equals share the mean of theirs.

    Example:
      >>> centred_ranks(jnp.array([5.0, 7.0, 5.0])).tolist()
      [-0.25, 0.5, -0.25]
    """
    below = (x[None, :] < x[:, None]).sum(axis=1)
    equal = (x[None, :] == x[:, None]).sum(axis=1)
    rank = below.astype(x.dtype) + 0.5 * (equal - 1).astype(x.dtype)
    return rank / (len(x) - 1) - 0.5


def _normal(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return jax.random.normal(key, shape, dtype)
