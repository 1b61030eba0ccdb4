"""Approximate Q-learning: action values that are linear in features of the observation, corrected after every step.

One step of each of N environments, for weights w [A, K], features x(o) [K] and step size alpha:

    q(o, a) = w_a . x(o)
    a_{t-1}   drawn epsilon-greedily from q(o_{t-1}, .)
    delta_t = r_t + gamma_t max_a q(o_t, a) - q(o_{t-1}, a_{t-1})        `backups.q_learning_error`
    w_a    <- w_a + alpha rate delta_t x(o_{t-1}),    a = a_{t-1}        the mean of the N environments

with gamma_t = 0 at a termination and gamma otherwise: a semi-gradient step on delta^2 / 2, whose target counts as a number
although it moves with w.

Departures from the chapter (Geron, 2022, ch. 18, "Approximate Q-learning and deep Q-learning"):

1. Its features are made by hand for one game; those of `rljax.features` are generic.
2. Features may have step sizes of their own (`Features.rate`), as Konidaris et al. (2011) propose for cosines.
3. N environments share the weights and their corrections are averaged: less noise in each. The chapter has one, N = 1.
4. A time limit is not a death: the value of the true successor counts on. The chapter takes the limit for an end.
5. Bootstrapping from a linear function off-policy may diverge (Sutton & Barto, 2018, sec. 11.3), and nothing here prevents it:
   `train` stops such a run, says so, and keeps its last finite weights. The chapter's cure, the deep one, is `agents.dqn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import backups, checks, policies
from rljax.agents import acting, common
from rljax.agents.common import Schedule, at
from rljax.envs.base import Environment
from rljax.features import Features
from rljax.structs import Algorithm, Learner, Transition


class LinearQState(NamedTuple):
    """What the learner knows; `acting.Acting` has it beside where the environments stand."""

    weights: Array  # [A, K]
    steps: Array  # [] int32, of all environments together


def linear_q(
    env: Environment,
    features: Features,
    *,
    num_envs: int = 1,
    unroll_steps: int = 100,
    gamma: ArrayLike = 0.99,
    learning_rate: ArrayLike | Schedule = 0.1,
    epsilon: ArrayLike | Schedule = 0.1,
    available: Callable[[Any], Array] | None = None,
    score_episodes: int = 20,
    max_steps: int = 500,
) -> Algorithm:
    """The algorithm of this file.

    Args:
      env: the task, with discrete actions; time limits are wrappers of it.
      features: of one observation: `features.tile_coding`, `fourier`, `polynomial`, `one_hot`, or your own.
      num_envs: N, played side by side.
      unroll_steps: steps of each environment, every one with its correction, in one step of the algorithm.
      gamma: discount in [0, 1]; may be traced.
      learning_rate: alpha, a number (may be traced) or a schedule of environment steps, such as optax's.
      epsilon: of epsilon-greedy, likewise a number or a schedule.
      available: the mask [A] of an observation, for tasks whose actions are not always all available.
      score_episodes: fresh episodes of the greedy policy that make one score.
      max_steps: most steps of such an episode; the environment may end it before.

    Returns:
      `Algorithm`; its parameters are the weights [A, K], zero at first; its metrics are `mean_return` (of the last episode
      that ended in each environment, 0 before the first) and, means over the steps, `td_error`, |delta|, and `epsilon`.

    Errors:
      ValueError: numbers out of range; features that do not fit the observation, or whose output is not [K]; a task with
        continuous actions.
      TypeError: what is no environment, no features or no function.

    Example:
      >>> from rljax import envs
      >>> from rljax.features import tile_coding
      >>> grid = tile_coding(8, 4, [-2.4, -3.0, -0.21, -3.5], [2.4, 3.0, 0.21, 3.5])
      >>> algorithm = linear_q(envs.TimeLimit(envs.CartPole(), 500), grid)
      >>> state, metrics = jax.jit(algorithm.step)(jax.random.key(0), algorithm.init(jax.random.key(1)))
      >>> state.learner.weights.shape, int(state.learner.steps)
      ((2, 5000), 100)

    Watkins (1989); Sutton & Barto (2018), ch. 9-11; Geron (2022), ch. 18, "Approximate Q-learning and deep Q-learning".
    """
    checks.environment("env", env)
    sizes = {"num_envs": num_envs, "unroll_steps": unroll_steps, "score_episodes": score_episodes}
    for name, value in {**sizes, "max_steps": max_steps}.items():
        checks.integer(name, value, 1)
    checks.real("gamma", gamma, 0, 1)
    if callable(learning_rate):
        common.schedule("learning_rate", learning_rate, "optax.exponential_decay(0.1, 10_000, 0.5)")
    else:
        checks.real("learning_rate", learning_rate, 0, above=True, below=True)
    common.epsilon(epsilon)
    num_actions = _check_fit(env, features, available)

    def mask(observation: Any) -> Array | None:
        return None if available is None else available(observation)

    def begin(key: Array, example: Transition) -> LinearQState:
        del key, example
        return LinearQState(jnp.zeros((num_actions, features.size)), jnp.int32(0))

    def share(state: LinearQState) -> Array:
        return at(epsilon, state.steps, state.weights.dtype)

    def explore(state: LinearQState, key: Array, observation: Any) -> Array:
        q = values(features, state.weights, observation)
        return policies.epsilon_greedy(key, q, share(state), mask(observation))

    def learn(key: Array, state: LinearQState, played: Transition) -> tuple[LinearQState, dict[str, Array]]:
        """From one step of every environment, [1, N, ...]."""
        del key  # nothing random in it
        played, dtype = jax.tree.map(lambda leaf: leaf[0], played), state.weights.dtype
        weights, delta = update(
            features,
            state.weights,
            played.observation,
            played.action,
            played.reward.astype(dtype),
            jnp.where(played.terminated, 0.0, jnp.asarray(gamma, dtype)),
            played.next_observation,
            None if available is None else jax.vmap(available)(played.next_observation),
            learning_rate=at(learning_rate, state.steps, dtype),
        )
        metrics = {"td_error": jnp.abs(delta).mean(), "epsilon": share(state)}
        return LinearQState(weights, state.steps + num_envs), metrics

    def act(weights: Array, key: Array, observation: Any) -> Array:
        del key
        return policies.greedy(values(features, weights, observation), mask(observation))

    learner = Learner(begin, explore, learn, lambda state: state.weights, num_envs, num_steps=1, repeats=unroll_steps)
    return acting.stream(env, learner, act, score_episodes, max_steps)


def values(features: Features, weights: Array, observation: Any) -> Array:
    """Action values of one observation.

        q(o, a) = w_a . x(o)

    Args:
      features: K of them.
      weights: [A, K].
      observation: one, as `features` takes it.

    Returns:
      [A].

    Errors:
      ValueError: weights of another number of features.

    Example:
      >>> from rljax.features import one_hot
      >>> values(one_hot(3), jnp.arange(6.0).reshape(2, 3), jnp.int32(1)).tolist()
      [1.0, 4.0]

    Sutton & Barto (2018), eq. 9.8.
    """
    _check_weights(features, weights)
    if features.active is not None:
        active = features.active(observation)
        return jnp.stack([w[active].sum() for w in weights])  # row by row, which XLA fuses: twice as fast
    # An accelerator would otherwise round both factors to ten bits, and so the errors that are learned from.
    return jnp.matmul(weights, features.apply(observation).astype(weights.dtype), precision="highest")


def update(
    features: Features,
    weights: Array,
    o_tm1: Any,
    a_tm1: Array,
    r_t: Array,
    discount_t: Array,
    o_t: Any,
    mask_t: Array | None = None,
    *,
    learning_rate: ArrayLike,
) -> tuple[Array, Array]:
    """One semi-gradient step of Q-learning on N transitions, all judged by the same weights.

        w_a <- w_a + alpha rate (1 / N) sum_i [a_i = a] delta_i x(o_i)

    Args:
      features: K of them.
      weights: [A, K].
      o_tm1: [N, ...] observations at the source.
      a_tm1: [N] the actions taken.
      r_t: [N] rewards.
      discount_t: [N] gamma, or 0 where the episode terminated.
      o_t: [N, ...] the true successors, before any reset.
      mask_t: [N, A] bool, the actions available there; None: all.
      learning_rate: [] alpha; may be traced.

    Returns:
      The new weights [A, K], and the errors delta [N].

    Errors:
      ValueError: weights of another number of features; unequal shapes.

    Example:
      >>> from rljax.features import one_hot
      >>> s_tm1, a_tm1, s_t = (jnp.array([i]) for i in (0, 1, 2))
      >>> reward, discount = jnp.array([3.0]), jnp.array([0.5])
      >>> weights, delta = update(
      ...     one_hot(3), jnp.ones((2, 3)), s_tm1, a_tm1, reward, discount, s_t, learning_rate=0.1
      ... )
      >>> weights.tolist(), delta.tolist()
      ([[1.0, 1.0, 1.0], [1.25, 1.0, 1.0]], [2.5])

    Sutton & Barto (2018), sec. 11.1; Geron (2022), ch. 18, "Approximate Q-learning and deep Q-learning".
    """
    _check_weights(features, weights)
    checks.rank(1, a_tm1=a_tm1)
    checks.same_shape(a_tm1=a_tm1, r_t=r_t, discount_t=discount_t)
    q = jax.vmap(lambda observation: values(features, weights, observation))
    delta = jax.vmap(backups.q_learning_error)(q(o_tm1), a_tm1, r_t, discount_t, q(o_t), mask_t)
    amount = jnp.asarray(learning_rate, weights.dtype) / len(a_tm1) * delta
    rate = jnp.broadcast_to(jnp.asarray(features.rate, weights.dtype), features.size)
    if features.active is not None:
        active = jax.vmap(features.active)(o_tm1)  # [N, M]
        return weights.at[a_tm1[:, None], active].add(amount[:, None] * rate[active]), delta
    x = jax.vmap(features.apply)(o_tm1).astype(weights.dtype)  # [N, K]
    chosen = jnp.where(a_tm1[:, None] == jnp.arange(len(weights))[None], amount[:, None], 0.0)  # [N, A]
    return weights + rate[None] * jnp.matmul(chosen.T, x, precision="highest"), delta


def _check_weights(features: Features, weights: Array) -> None:
    if jnp.ndim(weights) != 2 or jnp.shape(weights)[1] != features.size:
        raise ValueError(
            f"weights has shape {jnp.shape(weights)}; expected (A, {features.size}), a row for each action and as many "
            "numbers in it as there are features. Take the weights that were learned with these features."
        )


def _check_fit(env: Environment, features: Features, available: Callable[[Any], Any] | None) -> int:
    """The number of actions, once the features are known to be of the observations of `env`. Traced: nothing is computed."""
    if not isinstance(features, Features):
        raise TypeError(f"features is {features!r}; expected Features, such as features.fourier(3, low, high).")
    actions = common.discrete(env)
    checks.integer("features.size", features.size, 1)
    checks.real("features.rate", features.rate, 0, below=True, batch=True)
    if np.shape(features.rate) not in ((), (features.size,)):
        raise ValueError(
            f"features.rate has shape {np.shape(features.rate)}; expected () or ({features.size},), one for each feature."
        )
    observation = jax.eval_shape(lambda key: env.reset(key)[1], jax.random.key(0))
    x = jax.eval_shape(features.apply, observation)
    if getattr(x, "shape", None) != (features.size,):
        raise ValueError(
            f"the features of an observation have shape {getattr(x, 'shape', x)}; expected ({features.size},), their size. "
            "Correct the size, or the function."
        )
    common.mask(available, observation, actions)
    return actions
