"""Learners at work in an environment on the device: play a block, learn from it. What all of them share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks, noise, rollout
from rljax.envs.base import Environment
from rljax.envs.wrappers import EpisodeStatistics
from rljax.structs import Algorithm, Learner, Transition

Act = Callable[[Any, Array, Any], Array]  # (parameters, key, observation) -> action


class Acting(NamedTuple):
    """Everything the next step needs."""

    learner: Any  # the learner's own state
    cursor: rollout.Cursor
    last_return: Array  # [N] of the last episode that ended in each environment


def stream(env: Environment, learner: Learner, act: Act, score_episodes: int, max_steps: int) -> Algorithm:
    """An algorithm whose step is one block of an unending stream of experience, and what is learned from it; or, of a learner
    with `repeats`, so many blocks one after the other.

    Args:
      env: the task.
      learner: with `whole` False.
      act: the greedy policy.
      score_episodes: fresh episodes of it that make one score.
      max_steps: most steps of such an episode.

    Returns:
      `Algorithm`; its metrics are the learner's, means over the blocks of a step, and `mean_return`, of the last episode that
      ended in each environment, 0 before the first.
    """
    log = EpisodeStatistics(env)

    def init(key: Array) -> Acting:
        checks.key(key)
        key_learner, key_start, key_play = (jax.random.fold_in(noise.fused(key), role) for role in range(3))
        cursor = rollout.start(key_start, log, learner.num_envs)
        state = Acting(
            learner.begin(key_learner, example(env)), cursor, jnp.zeros(learner.num_envs, jnp.result_type(float))
        )
        wander, remember = learner.wander, learner.remember
        if wander is None or remember is None:
            return state

        def once(i: Array, state: Acting) -> Acting:
            state, played = play(jax.random.fold_in(key_play, i), wander, state)
            return state._replace(learner=remember(state.learner, played))

        return lax.fori_loop(0, learner.warmup, once, state)

    def play(key: Array, policy: rollout.Policy, state: Acting) -> tuple[Acting, Transition]:
        # Nothing waits for a reset. Said as a constant, it lets XLA leave out what `unroll` does for those that wait.
        cursor = state.cursor._replace(over=jnp.zeros(learner.num_envs, bool))
        cursor, played = rollout.unroll(key, log, policy, cursor, learner.num_steps)
        last_return = rollout.last_returns(played, state.last_return)
        # Every transition of a `same_step` rollout is valid.
        return Acting(state.learner, cursor, last_return), bare(played)

    def step(key: Array, state: Acting) -> tuple[Acting, dict[str, Array]]:
        checks.key(key)
        key_play, key_learn = jax.random.split(key)
        if learner.repeats == 1:
            state, metrics = block(key_play, key_learn, state)
        else:  # split outside of the loop: inside, XLA would work the split out again for every environment
            play_lane, learn_lane = noise.fused(key_play), noise.fused(key_learn)
            once = lambda state, i: block(jax.random.fold_in(play_lane, i), jax.random.fold_in(learn_lane, i), state)
            state, metrics = lax.scan(once, state, jnp.arange(learner.repeats, dtype=jnp.int32))
            metrics = {name: values.mean() for name, values in metrics.items()}
        return state, {**metrics, "mean_return": state.last_return.mean()}

    def block(key_play: Array, key_learn: Array, state: Acting) -> tuple[Acting, dict[str, Array]]:
        state, played = play(key_play, functools.partial(learner.explore, state.learner), state)
        learned, metrics = learner.learn(key_learn, state.learner, played)
        return state._replace(learner=learned), metrics

    def score(key: Array, params: Any) -> Array:
        policy = lambda key, observation: act(params, key, observation)
        return rollout.episodes(key, env, policy, score_episodes, max_steps).returns.mean()

    return Algorithm(init, step, lambda state: learner.parameters(state.learner), act, score, learner)


def example(env: Environment) -> Transition:
    """What one transition of `env` looks like, states left out: shapes and types. Traced: nothing is computed."""

    def one(key: Array) -> Transition:
        policy = lambda key, observation: jnp.int32(0)
        return rollout.unroll(key, env, policy, rollout.start(key, env, 1), 1, autoreset="none")[1]

    leaf = lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype)
    return jax.tree.map(leaf, bare(jax.eval_shape(one, jax.random.key(0))))


def bare(played: Transition) -> Transition:
    """Without the environment's states, which are of no use to a learner, and without `valid`, true everywhere."""
    return played._replace(valid=(), state=(), next_state=())
