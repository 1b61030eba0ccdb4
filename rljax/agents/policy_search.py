"""Policy search: try policies, keep what works. No gradients: a policy is D numbers, and how its episodes went is one.

One step of the algorithm, a generation, whatever the method:

    theta_1 ... theta_P = candidates                                  `Method.ask`
    f_i = mean return of theta_i over E episodes                      the same E for all, fresh in every generation
    the method learns from (theta_i, f_i)                             `Method.tell`
    champion = the best, over E' more episodes, of the K candidates of highest f and the champion so far

| method                 | candidates                                                                        |
|------------------------|-----------------------------------------------------------------------------------|
| `random_search`        | new ones each time                                                                |
| `hill_climbing`        | the best so far, and it with noise: more after a success, less after a failure    |
| `genetic`              | the chapter's: of 100 the best 20 are kept, with 4 mutated offspring each         |
| `evolution_strategy`   | theta and theta +- sigma noise, in pairs; theta follows the ranks of their returns |

The best of many noisy returns is too good to be true. Hence the second trial: what counts for the champion is not what it was
chosen by. Both trials use the same episodes for all they compare, so a candidate is better, not luckier.

Departures from the chapter (Geron, 2022, ch. 18, "Policy search") and the papers:

1. All candidates meet the same initial states. The chapter says nothing of it; independent ones would add noise.
2. Actions are the policy's mode, not draws from it: one source of noise less.
3. The evolution strategy has no weight decay and no virtual batch normalisation.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from rljax import checks, noise, policies, rollout
from rljax.agents import common
from rljax.agents.search_methods import Method, genetic
from rljax.envs.base import Environment
from rljax.networks import Network
from rljax.policies import Distribution
from rljax.structs import Algorithm


class PolicySearchState(NamedTuple):
    """Everything the next step needs."""

    method: Any
    champion: Any  # parameters


def policy_search(
    env: Environment,
    network: Network,
    method: Method | None = None,
    *,
    distribution: Distribution = policies.bernoulli,
    episodes: int = 4,
    finalists: int = 10,
    final_episodes: int = 16,
    max_steps: int = 500,
    score_episodes: int = 64,
) -> Algorithm:
    """The algorithm of this file.

    Args:
      env: the task; with or without a time limit of its own.
      network: `(init, apply)` from an observation to the parameter of `distribution`.
      method: `random_search(...)`, `hill_climbing(...)`, `genetic(...)` or `evolution_strategy(...)`; default: `genetic()`.
      distribution: `policies.bernoulli` (two actions, one logit) or `policies.categorical` (logits); its mode is played.
      episodes: E, of each candidate.
      finalists: K, candidates that may become champion; at most P.
      final_episodes: E', of each of them and of the champion so far.
      max_steps: the most steps of an episode.
      score_episodes: fresh episodes of the champion that make one score.

    Returns:
      `Algorithm`; its metrics are `best`, `mean`, `worst` fitness of the candidates, their `spread` (the root of the mean
      squared distance of a candidate from their centre) and the `champion`'s return in its last trial.

    Errors:
      ValueError: a size below 1, more finalists than candidates, a network whose output does not fit the distribution and
        the environment's actions.
      TypeError: what is no environment, pair of functions, method or distribution.

    Example:
      >>> from rljax import envs, networks
      >>> algorithm = policy_search(envs.CartPole(), networks.mlp((4, 1)), genetic(20, 4), max_steps=100, finalists=4)
      >>> state = algorithm.init(jax.random.key(0))
      >>> state, metrics = jax.jit(algorithm.step)(jax.random.key(1), state)
      >>> float(metrics["worst"]) <= float(metrics["mean"]) <= float(metrics["best"]) <= 100
      True
    """
    method = genetic() if method is None else method
    if not isinstance(method, Method):
        raise TypeError(f"method is {method!r}; expected a Method, such as agents.genetic().")
    sizes = {"episodes": episodes, "finalists": finalists, "final_episodes": final_episodes, "max_steps": max_steps}
    for name, value in {**sizes, "score_episodes": score_episodes}.items():
        checks.integer(name, value, 1)
    if finalists > method.size:
        raise ValueError(
            f"finalists is {finalists} and there are {method.size} candidates; expected at most so many. Take fewer."
        )
    checks.environment("env", env)
    checks.functions("network", network, *Network._fields)
    checks.functions("distribution", distribution, *Distribution._fields)
    network, distribution = Network(*network), Distribution(*distribution)
    common.fit_distribution(env, network, distribution)
    unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), _shapes(network)))[1]
    draw = lambda key: ravel_pytree(network.init(key))[0]

    def init(key: Array) -> PolicySearchState:
        checks.key(key)
        key_method, key_champion = (jax.random.fold_in(noise.fused(key), role) for role in range(2))
        return PolicySearchState(method.init(key_method, draw), unravel(draw(key_champion)))

    def step(key: Array, state: PolicySearchState) -> tuple[PolicySearchState, dict[str, Array]]:
        key_ask, key_try, key_final = (jax.random.fold_in(noise.fused(key), role) for role in range(3))
        candidates = method.ask(key_ask, state.method, draw)
        fitness = trial(key_try, candidates, episodes)
        told = method.tell(state.method, candidates, fitness)
        # The champion stands last: of equals the newer one stays, or a lucky first could never be replaced.
        last = jnp.concatenate([candidates[lax.top_k(fitness, finalists)[1]], ravel_pytree(state.champion)[0][None]])
        final = trial(key_final, last, final_episodes)
        metrics = {
            "best": fitness.max(),
            "mean": fitness.mean(),
            "worst": fitness.min(),
            "spread": jnp.sqrt(jnp.sum(jnp.var(candidates, axis=0))),
            "champion": final.max(),
        }
        return PolicySearchState(told, unravel(last[jnp.argmax(final)])), metrics

    def trial(key: Array, candidates: Array, number: int) -> Array:
        """[P] mean returns over the same `number` episodes."""

        def one(candidate: Array) -> Array:
            params = unravel(candidate)
            policy = lambda key, observation: act(params, key, observation)
            return rollout.episodes(key, env, policy, number, max_steps).returns.mean()

        return jax.vmap(one)(candidates)

    def act(params: Any, key: Array, observation: Any) -> Array:
        del key
        return distribution.mode(network.apply(params, observation))

    def score(key: Array, params: Any) -> Array:
        policy = lambda key, observation: act(params, key, observation)
        return rollout.episodes(key, env, policy, score_episodes, max_steps).returns.mean()

    return Algorithm(init, step, lambda state: state.champion, act, score)


def _shapes(network: Network) -> Any:
    return jax.eval_shape(network.init, jax.random.key(0))
