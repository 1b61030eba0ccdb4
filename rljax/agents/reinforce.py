"""REINFORCE (Williams, 1992): play whole episodes, then make the actions that turned out well more likely.

One step of the algorithm, for a policy pi with parameters theta:

    play E episodes of at most T steps under pi
    G_t   = r_t + gamma G_{t+1}                               `returns.discounted_returns`
    w_t   = (G_t - mean G) / std G over all their steps       `returns.normalise`
    theta <- theta + Adam(mean_t w_t grad log pi(a_t | o_t))  `losses.policy_gradient_loss`

With a learned baseline b, w is made from G_t - b(o_t), and b regresses on G.

Departures from the chapter (Geron, 2022, ch. 18):

1. The sigmoid unit gives the probability of pushing right, not left: the same family of policies, mirrored.
2. Equal returns (gamma = 0) give weights of zero, not 0 / 0.
3. Episodes are played side by side, and those that end early are masked, not concatenated: the same numbers.
4. As in the chapter, a return ends with the play, at the cap as at a fall: nothing is bootstrapped, with a baseline neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from rljax import checks, losses, policies, returns, rollout
from rljax.agents import common
from rljax.envs.base import Environment
from rljax.networks import Network
from rljax.policies import Distribution
from rljax.shaping import Shaping
from rljax.structs import Algorithm, Learner, Transition


class ReinforceParams(NamedTuple):
    """What is learned."""

    policy: Any
    baseline: Any  # () if there is none


class ReinforceState(NamedTuple):
    """Everything the next step needs."""

    params: ReinforceParams
    optimiser: optax.OptState


def reinforce(
    env: Environment,
    network: Network,
    *,
    distribution: Distribution = policies.bernoulli,
    episodes_per_update: int = 10,
    max_steps: int = 200,
    gamma: ArrayLike = 0.95,
    learning_rate: ArrayLike = 0.01,
    optimiser: Callable[..., optax.GradientTransformation] = common.adam,
    shaping: Shaping | None = None,
    baseline: Network | None = None,
    entropy_bonus: ArrayLike | None = None,
    score_episodes: int = 20,
) -> Algorithm:
    """The algorithm of this file.

    Args:
      env: the task; with or without a time limit of its own.
      network: `(init, apply)` from an observation to the parameter of `distribution`.
      distribution: `policies.bernoulli` (two actions, one logit) or `policies.categorical` (logits).
      episodes_per_update: E.
      max_steps: T, the most steps of an episode that are played.
      gamma: discount in [0, 1]; may be traced.
      learning_rate: of the optimiser; may be traced.
      optimiser: makes the gradient transformation from the learning rate: `optax.nadam`, ...; default: `optax.adam`, over one
        vector.
      shaping: from a transition to the reward to learn from (`rljax.shaping`); metrics and score stay unshaped.
      baseline: `(init, apply)` from an observation to a value [], or None.
      entropy_bonus: weight of the policy's entropy in the loss, or None; may be traced.
      score_episodes: fresh episodes of the greedy policy that make one score.

    Returns:
      `Algorithm`; its metrics are `mean_length` [steps], `mean_return` (unshaped, undiscounted), `loss`, `entropy` [nat].

    Errors:
      ValueError: a size below 1, gamma outside [0, 1], a learning rate that is not positive and finite, a network whose
        output does not fit the distribution and the environment's actions.
      TypeError: what is no environment, pair of functions, distribution or maker of an optimiser.

    Example:
      >>> from rljax import envs, networks
      >>> algorithm = reinforce(envs.CartPole(), networks.chapter_policy())
      >>> state = algorithm.init(jax.random.key(0))
      >>> state, metrics = jax.jit(algorithm.step)(jax.random.key(1), state)
      >>> 10 < float(metrics["mean_length"]) < 60
      True
    """
    checks.integer("episodes_per_update", episodes_per_update, 1)
    checks.integer("max_steps", max_steps, 1)
    checks.integer("score_episodes", score_episodes, 1)
    checks.real("gamma", gamma, 0, 1)
    if entropy_bonus is not None:
        checks.real("entropy_bonus", entropy_bonus, 0, below=True)
    checks.environment("env", env)
    checks.functions("network", network, *Network._fields)
    checks.functions("distribution", distribution, *Distribution._fields)
    transform = common.transform(optimiser, learning_rate)
    if shaping is not None:
        checks.function("shaping", shaping, "shaping.angle_penalty")
    if baseline is not None:
        checks.functions("baseline", baseline, *Network._fields)
        baseline = Network(*baseline)
        common.fit_baseline(env, baseline)
    network, distribution = Network(*network), Distribution(*distribution)
    common.fit_distribution(env, network, distribution)

    def begin(key: Array, example: Transition | None = None) -> ReinforceState:
        del example
        key_policy, key_baseline = jax.random.split(key)
        params = ReinforceParams(network.init(key_policy), () if baseline is None else baseline.init(key_baseline))
        return ReinforceState(params, transform.init(params))

    def init(key: Array) -> ReinforceState:
        checks.key(key)
        return begin(key)

    def explore(state: ReinforceState, key: Array, observation: Any) -> Array:
        return distribution.sample(key, network.apply(state.params.policy, observation))

    def step(key: Array, state: ReinforceState) -> tuple[ReinforceState, dict[str, Array]]:
        checks.key(key)
        key_start, key_play = jax.random.split(key)
        cursor = rollout.start(key_start, env, episodes_per_update)
        policy = functools.partial(explore, state)
        _, played = rollout.unroll(key_play, env, policy, cursor, max_steps, autoreset="none")
        return learn(key, state, played)

    def learn(key: Array, state: ReinforceState, played: Transition) -> tuple[ReinforceState, dict[str, Array]]:
        del key  # nothing random in it
        params, optimiser_state, metrics = update(state.params, state.optimiser, played)
        length = played.valid.astype(played.reward.dtype).sum() / episodes_per_update
        metrics = {"mean_length": length, "mean_return": played.reward.sum() / episodes_per_update, **metrics}
        return ReinforceState(params, optimiser_state), metrics

    def update(
        params: ReinforceParams, optimiser_state: optax.OptState, played: Transition
    ) -> tuple[ReinforceParams, optax.OptState, dict[str, Array]]:
        (loss, entropy), gradient = jax.value_and_grad(objective, has_aux=True)(params, played)
        with jax.numpy_dtype_promotion("standard"):  # adam raises a float to an integer power: refused under "strict"
            change, optimiser_state = transform.update(gradient, optimiser_state, params)
        params = jax.tree.map(jnp.add, params, change)
        return params, optimiser_state, {"loss": loss, "entropy": entropy}

    def objective(params: ReinforceParams, played: Transition) -> tuple[Array, Array]:
        """Loss and entropy of played episodes [T, E]."""
        reward = played.reward if shaping is None else jax.vmap(jax.vmap(shaping))(played)
        checks.same_shape(shaped_reward=reward, reward=played.reward)
        g_t = jax.vmap(lambda r_t: returns.discounted_returns(r_t, gamma), 1, 1)(jnp.where(played.valid, reward, 0.0))
        # From here on steps are rows [T E], in one long axis: three times as fast as in two short ones.
        o_tm1, a_tm1, g_t, valid = jax.tree.map(
            lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (played.observation, played.action, g_t, played.valid)
        )
        parameter = jax.vmap(functools.partial(network.apply, params.policy))(o_tm1)
        log_prob = jax.vmap(distribution.log_prob)(parameter, a_tm1)
        entropy = jax.vmap(distribution.entropy)(parameter)
        advantage, value_loss = g_t, 0.0
        if baseline is not None:
            v_tm1 = jax.vmap(functools.partial(baseline.apply, params.baseline))(o_tm1)
            advantage, value_loss = g_t - v_tm1, losses.value_loss(v_tm1, g_t, valid)
        bonus = {} if entropy_bonus is None else {"entropy_tm1": entropy, "entropy_bonus": entropy_bonus}
        weight = returns.normalise(advantage, valid)
        policy_loss = losses.policy_gradient_loss(log_prob, weight, valid, **bonus)
        return policy_loss + value_loss, losses.masked_mean(entropy, valid)

    def act(params: ReinforceParams, key: Array, observation: Any) -> Array:
        del key
        return distribution.mode(network.apply(params.policy, observation))

    def score(key: Array, params: ReinforceParams) -> Array:
        policy = lambda key, observation: act(params, key, observation)
        return rollout.episodes(key, env, policy, score_episodes, max_steps).returns.mean()

    learner = Learner(begin, explore, learn, lambda state: state.params, episodes_per_update, max_steps, whole=True)
    return Algorithm(init, step, learner.parameters, act, score, learner)
