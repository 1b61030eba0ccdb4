"""Worlds for adapters, one whose observations and actions have parts among them, and the rollouts that they must equal."""

import functools
from dataclasses import field
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from rljax import mdp, rollout
from rljax.envs import TabularEnv
from rljax.envs.gymnasium import common
from rljax.structs import Step, pytree_dataclass


class CompassState(NamedTuple):
    place: jax.Array  # [2]
    age: jax.Array  # [] int32


@pytree_dataclass
class Compass:
    """A walk from the origin: how far [2] and which way (of 3), until `steps` are done; the reward says how far one came."""

    steps: int = 3
    space: str = field(default="fine", metadata={"static": True})

    @property
    def observation_space(self):
        there = spaces.Box(-100.0, 100.0, (2,))
        return spaces.Dict({"place": there, "age": spaces.Tuple((spaces.Discrete(100), spaces.MultiBinary(2)))})

    @property
    def action_space(self):
        if self.space != "fine":
            return spaces.Text(3) if self.space == "Text" else spaces.Dict({"word": spaces.Text(3)})
        return spaces.Dict({"far": spaces.Box(0.0, 1.0, (2,)), "way": spaces.Discrete(3)})

    def reset(self, key):
        state = CompassState(jax.random.uniform(key, (2,)), jnp.int32(0))
        return state, self.observe(state)

    def observe(self, state):
        return {"place": state.place, "age": (state.age, (state.place > 1.0).astype(jnp.int8))}

    def step(self, key, state, action):
        way = jnp.where(action["way"] == 0, 0.0, jnp.where(action["way"] == 1, 1.0, -1.0))
        arrival = CompassState(state.place + way * action["far"] + 0.1 * jax.random.uniform(key, (2,)), state.age + 1)
        over = arrival.age >= self.steps
        return arrival, Step(self.observe(arrival), arrival.place.sum(), over, jnp.zeros_like(over))


def sample(seed, shape=()):
    """Actions of `Compass`, one or many."""
    random = np.random.default_rng(seed)
    way = random.integers(3, size=shape)
    return {"far": random.random((*shape, 2), np.float32), "way": way if shape else np.int64(way)}


def key_of(seed):
    """The key that `reset(seed=seed)` makes, as the documentation says."""
    return jax.random.wrap_key_data(common.words(seeding.np_random(seed)[0]), impl="threefry2x32")


@functools.cache
def lake():
    """The same arrays each time: then its programs are compiled once."""
    return TabularEnv(mdp.from_gymnasium(gymnasium.make("FrozenLake-v1"), gamma=0.99))


def played(world, seed, num_steps, num_envs=1, autoreset="next_step"):
    """A rollout under random actions from where `reset(seed=seed)` stands: tick -1."""
    key, policy = key_of(seed), lambda key, observation: jax.random.bernoulli(key).astype(jnp.int32)

    @jax.jit
    def program(key):
        first = jax.vmap(lambda lane: world.reset(jax.random.fold_in(lane, 2**32 - 1))[0])(
            rollout.lane_keys(key, num_envs)
        )
        cursor = rollout.Cursor(first, jnp.zeros(num_envs, bool))
        return rollout.unroll(key, world, policy, cursor, num_steps, autoreset=autoreset)[1]

    return jax.tree.map(np.asarray, program(key))
