"""Parallelised Q-learning (Gallici et al., 2025): deep Q-learning without replay or target network.

One step of the algorithm, for action values q with parameters theta:

    play K steps in each of N environments, epsilon-greedily
    v_t = max_a q(o_t, a; theta)                                  at the true successor of every step
    y   = Peng's Q(lambda): lambda-returns of v                   within episodes; a time limit bootstraps from v
    for each of E epochs, for each of M minibatches of the K N steps, shuffled:
      theta <- theta - RAdam(grad mean loss(q(o, a; theta), y))

What replay and target network do elsewhere, many environments and layer normalisation do here: give it a network with
`networks.q_network(sizes, layer_norm=True)`.

Departures from the paper:

1. The true successor of every step is evaluated too: twice the forward passes at the start, and a time limit is not a death.
2. Epsilon is constant within the K N steps of a block.
3. Minibatches are drawn anew from all steps in each epoch, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks, losses, noise, policies, returns
from rljax.agents import acting, common
from rljax.agents.common import Schedule, at
from rljax.envs.base import Environment
from rljax.networks import Network
from rljax.structs import Algorithm, Learner, Transition


class PqnState(NamedTuple):
    """What the learner knows; `acting.Acting` has it beside where the environments stand."""

    params: Any
    optimiser: optax.OptState
    steps: Array  # [] int32, of all environments together
    largest: Array  # [] |r| met so far
    first: Array  # [] mean action value before anything was learned


@common.flattened
def clipped_radam(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Rectified Adam on gradients of norm 10 at most: the paper's.

    Liu et al. (2020), On the variance of the adaptive learning rate and beyond.
    """
    return optax.chain(optax.clip_by_global_norm(10.0), optax.radam(learning_rate))


def pqn(
    env: Environment,
    network: Network,
    *,
    num_envs: int = 32,
    unroll_steps: int = 64,
    epochs: int = 4,
    minibatches: int = 16,
    lambda_: ArrayLike = 0.95,
    gamma: ArrayLike = 0.99,
    learning_rate: ArrayLike = 2.5e-4,
    optimiser: Callable[..., optax.GradientTransformation] = clipped_radam,
    epsilon: ArrayLike | Schedule = 0.05,
    available: Callable[[Any], Array] | None = None,
    score_episodes: int = 20,
    max_steps: int = 500,
) -> Algorithm:
    """The algorithm of this file.

    Args:
      env: the task, with discrete actions; time limits are wrappers of it.
      network: `(init, apply)` from an observation to action values [A].
      num_envs: N, played side by side.
      unroll_steps: K, steps of each environment before each block of updates.
      epochs: E, how often each of the K N steps is learned from.
      minibatches: M, updates of an epoch; divides K N.
      lambda_: in [0, 1], how far a target looks before it trusts q: 0 one step, 1 to the end of the episode or block;
        may be traced.
      gamma: discount in [0, 1]; may be traced.
      learning_rate: of the optimiser; may be traced.
      optimiser: makes the gradient transformation from the learning rate.
      epsilon: of epsilon-greedy, a number (may be traced) or a schedule of environment steps.
      available: the mask [A] of an observation, for tasks whose actions are not always all available.
      score_episodes: fresh episodes of the greedy policy that make one score.
      max_steps: most steps of such an episode; the environment may end it before.

    Returns:
      `Algorithm`; its metrics are `mean_return` (of the last episode that ended in each environment, 0 before the first),
      `loss` and `q` (the chosen actions' mean estimate, infinite once it is far beyond any return: `common.credible`), over
      the block's updates, `epsilon` and `steps`.

    Errors:
      ValueError: numbers out of range; minibatches that do not divide the steps; a network whose output is not one number
        for each action; a task with continuous actions.
      TypeError: what is no environment, network or maker of an optimiser.

    Example:
      >>> from rljax import envs, networks
      >>> env = envs.TimeLimit(envs.CartPole(), 500)
      >>> network = networks.q_network((4, 32, 2), layer_norm=True)
      >>> algorithm = pqn(env, network, num_envs=4, unroll_steps=8, minibatches=2)
      >>> state = jax.jit(algorithm.init)(jax.random.key(0))
      >>> state, metrics = jax.jit(algorithm.step)(jax.random.key(1), state)
      >>> int(state.learner.steps)
      32
    """
    checks.environment("env", env)
    checks.functions("network", network, *Network._fields)
    sizes = {"num_envs": num_envs, "unroll_steps": unroll_steps, "epochs": epochs, "minibatches": minibatches}
    for name, value in {**sizes, "score_episodes": score_episodes, "max_steps": max_steps}.items():
        checks.integer(name, value, 1)
    for name, value in {"lambda_": lambda_, "gamma": gamma}.items():
        checks.real(name, value, 0, 1)
    common.epsilon(epsilon)
    transform = common.transform(optimiser, learning_rate)
    block = unroll_steps * num_envs
    if block % minibatches:
        raise ValueError(
            f"minibatches is {minibatches} and a block has {block} steps; expected a divisor. Take "
            f"{max(m for m in range(1, minibatches) if block % m == 0)}, or other num_envs and unroll_steps."
        )
    network = Network(*network)
    common.fit(env, network, (), available)

    def mask(observation: Any) -> Array | None:
        return None if available is None else available(observation)

    def begin(key: Array, example: Transition) -> PqnState:
        del example
        params = network.init(key)
        nothing = jnp.zeros((), jnp.result_type(float))
        return PqnState(params, transform.init(params), jnp.int32(0), nothing, nothing)

    def share(state: PqnState) -> Array:
        return at(epsilon, state.steps, jnp.result_type(float))

    def explore(state: PqnState, key: Array, observation: Any) -> Array:
        return policies.epsilon_greedy(key, network.apply(state.params, observation), share(state), mask(observation))

    def learn(key: Array, state: PqnState, played: Transition) -> tuple[PqnState, dict[str, Array]]:
        data = jax.tree.map(
            lambda leaf: leaf.reshape(block, *leaf.shape[2:]),
            (played.observation, played.action, targets(state.params, played)),
        )

        def epoch(
            carry: tuple[Any, optax.OptState], key: Array
        ) -> tuple[tuple[Any, optax.OptState], tuple[Array, Array]]:
            rows = jnp.argsort(jax.random.bits(noise.fused(key), (block,))).reshape(minibatches, -1)  # a permutation
            return lax.scan(
                lambda carry, rows: update(*carry, jax.tree.map(lambda leaf: leaf[rows], data)), carry, rows
            )

        (params, optimiser_state), (loss, q) = lax.scan(
            epoch, (state.params, state.optimiser), jax.random.split(key, epochs)
        )
        steps, largest = state.steps + block, common.largest(state.largest, played)
        first = jnp.where(state.steps == 0, q[0, 0].astype(state.first.dtype), state.first)
        q = common.credible(q.mean(), first, largest, gamma)
        metrics = {"loss": loss.mean(), "q": q, "epsilon": share(state), "steps": steps}
        return PqnState(params, optimiser_state, steps, largest, first), metrics

    def targets(params: Any, played: Transition) -> Array:
        """y [K, N]."""
        everywhere = lambda f: jax.vmap(jax.vmap(f))
        q_t = everywhere(lambda observation: network.apply(params, observation))(played.next_observation)
        mask_t = None if available is None else everywhere(available)(played.next_observation)
        discount_t = jnp.where(played.terminated, 0.0, jnp.asarray(gamma, q_t.dtype))
        lambda_t = jnp.where(played.truncated, 0.0, jnp.asarray(lambda_, q_t.dtype))
        reward = played.reward.astype(q_t.dtype)
        return jax.vmap(returns.peng_q_lambda, 1, 1)(reward, discount_t, q_t, lambda_t, mask_t)

    def update(
        params: Any, optimiser_state: optax.OptState, batch: tuple[Any, Array, Array]
    ) -> tuple[tuple[Any, optax.OptState], tuple[Array, Array]]:
        """One gradient step on one minibatch of (o, a, y)."""

        def objective(params: Any) -> tuple[Array, Array]:
            observation, action, target = batch
            q = jax.vmap(lambda o, a: network.apply(params, o)[a])(observation, action)
            return losses.td_loss(q, target), q.mean()

        (loss, q), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power: refused under "strict"
            change, optimiser_state = transform.update(gradient, optimiser_state, params)
        return (jax.tree.map(jnp.add, params, change), optimiser_state), (loss, q)

    def act(params: Any, key: Array, observation: Any) -> Array:
        del key
        return policies.greedy(network.apply(params, observation), mask(observation))

    learner = Learner(begin, explore, learn, lambda state: state.params, num_envs, unroll_steps)
    return acting.stream(env, learner, act, score_episodes, max_steps)
