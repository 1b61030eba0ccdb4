"""What evosax's SimpleGA and gymnax's CartPole do with the same search, written as their users write it.

Runs under the peers' interpreter: a jitted generation, called from a Python loop that looks at the outcome.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import gymnax  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
import optax
from evosax.algorithms import SimpleGA  # pyright: ignore[reportMissingImports]
from jax import Array

from experiments.benchmarks.interleave import Prepared


def search(
    seed: int, population: int, episodes: int, final_episodes: int, max_steps: int, mutation: float, generations: int
) -> Prepared:
    """Until a policy of four numbers survives every one of the final episodes; another seed in every call."""
    env, params = gymnax.make("CartPole-v1")

    def returned(key: Array, weights: Array) -> Array:
        """The length of one episode."""
        key_reset, key_play = jax.random.split(key)
        observation, state = env.reset(key_reset, params)

        def body(carry: tuple[Any, ...], key: Array) -> tuple[tuple[Any, ...], None]:
            observation, state, alive, total = carry
            action = (observation @ weights > 0).astype(jnp.int32)
            observation, state, _, terminated, truncated, _ = env.step(key, state, action, params)
            return (observation, state, alive & ~(terminated | truncated), total + alive), None

        start = (observation, state, jnp.bool_(True), jnp.float32(0))
        return jax.lax.scan(body, start, jax.random.split(key_play, max_steps))[0][3]

    def mean_return(key: Array, weights: Array, number: int) -> Array:
        return jax.vmap(returned, (0, None))(jax.random.split(key, number), weights).mean()

    search = SimpleGA(population, jnp.zeros(4), std_schedule=optax.constant_schedule(mutation))
    options = search.default_params

    @jax.jit
    def begin(key: Array) -> Any:
        keys = jax.random.split(key, 3)
        first = jax.random.normal(keys[0], (population, 4))
        fitness = jax.vmap(lambda key, w: mean_return(key, w, episodes))(jax.random.split(keys[1], population), first)
        best = first[jnp.argmax(fitness)]
        state = search.init(keys[2], first, -fitness, options)
        return state, mean_return(jax.random.fold_in(key, 0), best, final_episodes)

    @functools.partial(jax.jit, donate_argnums=1)
    def generation(key: Array, state: Any) -> Any:
        keys = jax.random.split(key, 4)
        candidates, state = search.ask(keys[0], state, options)
        fitness = jax.vmap(lambda key, w: mean_return(key, w, episodes))(
            jax.random.split(keys[1], population), candidates
        )
        state, _ = search.tell(keys[2], candidates, -fitness, state, options)
        return state, mean_return(keys[3], candidates[jnp.argmax(fitness)], final_episodes)

    seeds = itertools.count(seed)

    def run() -> int:
        key = jax.random.key(next(seeds))
        state, final = begin(jax.random.fold_in(key, 0))
        for t in range(1, generations):
            if final >= max_steps:
                return t
            state, final = generation(jax.random.fold_in(key, t), state)
        return generations

    return Prepared(run, 1)


CONTENDERS = {"search": search}
