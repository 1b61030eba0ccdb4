"""What gymnax 1.0 does with the same cases, written as its users write it; runs under the peers' interpreter.

Of the obvious forms the fastest measured here is taken: one `vmap(env.step)` inside one jitted `scan`, keys carried and
split once a step for all environments. The others, as fractions of its speed at N >= 64: one scan per environment and
`vmap` around it 0.5-0.8; keys split before and scanned over 0.8-0.9 (0.2 at N = 1); the observation carried where only
states are needed 0.9; `randint` or `env.action_space(params).sample` instead of one random bit 0.9.
"""

from __future__ import annotations

from typing import Any

import gymnax  # pyright: ignore[reportMissingImports]
import jax
import jax.numpy as jnp
from jax import Array

from experiments.benchmarks.interleave import Prepared, compiled


def stepping(seed: int, num_envs: int, num_steps: int, generator: str | None = None) -> Prepared:
    """Random actions, automatic resets, nothing kept but the last states."""
    step, _, key, state = _start(seed, num_envs, generator)

    def program(key: Array, state: Any) -> Any:
        def body(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], None]:
            key, state = carry
            key, key_act, key_step = jax.random.split(key, 3)
            action = (jax.random.bits(key_act, (num_envs,)) & jnp.uint32(1)).astype(jnp.int32)
            state = step(jax.random.split(key_step, num_envs), state, action)[1]
            return (key, state), None

        return jax.lax.scan(body, (key, state), None, num_steps)[0]

    return compiled(program, key, state, steps=num_envs * num_steps)


def rollouts(seed: int, num_envs: int, num_steps: int, generator: str | None = None) -> Prepared:
    """The 4-5-1 policy acts; observations, actions, rewards and ends are kept, [T, N].

    Summing the network input by input and taking the observation from the state each gain gymnax some per cent.
    """
    step, observe, key, state = _start(seed, num_envs, generator)
    # Which weights does not matter: nothing in either program branches on how long episodes are.
    network = [jax.random.normal(jax.random.key(seed), shape) for shape in ((4, 5), (5,), (5,), ())]

    def program(network: list[Array], key: Array, state: Any) -> Any:
        w1, b1, w2, b2 = network

        def body(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], tuple[Array, ...]]:
            key, state = carry
            key, key_act, key_step = jax.random.split(key, 3)
            observation = observe(state)
            units = [jax.nn.elu(sum(observation[:, i] * w1[i, j] for i in range(4)) + b1[j]) for j in range(5)]
            logit = sum(units[j] * w2[j] for j in range(5)) + b2
            action = (jax.random.uniform(key_act, (num_envs,)) < jax.nn.sigmoid(logit)).astype(jnp.int32)
            keys = jax.random.split(key_step, num_envs)
            _, state, reward, terminated, truncated, _ = step(keys, state, action)
            return (key, state), (observation, action, reward, terminated | truncated)

        return jax.lax.scan(body, (key, state), None, num_steps)

    return compiled(program, network, key, state, steps=num_envs * num_steps)


CONTENDERS = {"stepping": stepping, "rollouts": rollouts}


def _start(seed: int, num_envs: int, generator: str | None) -> tuple[Any, Any, Array, Any]:
    env, params = gymnax.make("CartPole-v1")
    key_start, key = jax.random.split(jax.random.key(seed, impl=generator))
    _, state = jax.vmap(env.reset, (0, None))(jax.random.split(key_start, num_envs), params)
    step = jax.vmap(lambda key, state, action: env.step(key, state, action, params))
    return step, jax.vmap(env.get_obs), key, state
