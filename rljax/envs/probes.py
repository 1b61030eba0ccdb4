"""Probes: worlds so small that what is to be learned in them is known by hand. Where a learner fails tells what is broken.

| probe                   | a learner that fails it, and none above ...                   | v                |
|-------------------------|---------------------------------------------------------------|------------------|
| `constant_reward`       | cannot regress on a number                                    | 1                |
| `reward_by_observation` | does not see, or mixes up the observations of a batch         | -1, 1            |
| `delayed_reward`        | does not discount, or looks for what follows in a wrong place | gamma, 1         |
| `reward_by_action`      | mixes up actions, or tries one only                           | 1, by q = -1, 1  |
| `reward_by_both`        | has no policy that depends on what it sees                    | 1, by q = +-1    |
| `time_limit`            | takes the end of the clock for the end of the world           | 1 / (1 - gamma)  |
| `stochastic_chain`      | does not average over what may happen                         | a linear solve   |

All have 4 states, the last one terminal, of which some only 1 or 2 are ever met, and 2 actions: stacked,
`jax.tree.map(lambda *x: jnp.stack(x), *probes)`, one program under `vmap` learns all of them at once. An observation is the
number of a state; `networks.one_hot` and `features.one_hot` make networks and linear functions of it. Tabular learners take
the probes as they are.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from rljax import checks
from rljax.envs.base import Environment
from rljax.envs.tabular import TabularEnv
from rljax.envs.wrappers import TimeLimit
from rljax.mdp import evaluation, operators
from rljax.mdp.model import TabularMDP
from rljax.structs import Step, pytree_dataclass

NUM_STATES, NUM_ACTIONS, END = 4, 2, 3
NEVER = 100  # a time limit that no probe but `time_limit` comes to under a policy that is any good


@pytree_dataclass
class Probe:
    """A world and the answer. The functions of this file make them; one of your own is as good.

    Args:
      inner: the world: a `TabularEnv`, possibly in wrappers.
      optimal_q: [S, A] what each action is worth, 0 in terminal states and in those that are never met.
      met: [S] bool, the states in which an action is ever taken: where the answer is asked for.

    Example:
      >>> import jax
      >>> probe = reward_by_action()
      >>> state, observation = probe.reset(jax.random.key(0))
      >>> state, step = probe.step(jax.random.key(1), state, jnp.int32(1))
      >>> int(observation), float(step.reward), bool(step.terminated), probe.optimal_q[0].tolist()
      (0, 1.0, True, [-1.0, 1.0])
    """

    inner: Environment
    optimal_q: Array
    met: Array

    @property
    def observation_space(self) -> Any:
        """That of the world."""
        return self.inner.observation_space

    @property
    def action_space(self) -> Any:
        """That of the world."""
        return self.inner.action_space

    @property
    def optimal_value(self) -> Array:
        """[S] what each state is worth: v(s) = max_a q(s, a)."""
        return self.optimal_q.max(axis=-1)

    @property
    def optimal_action(self) -> Array:
        """[S, A] bool: True for the actions that are as good as any; in states that are not met, all."""
        return self.optimal_q >= self.optimal_value[..., None] - 1e-6

    def reset(self, key: Array) -> tuple[Any, Any]:
        """A first state of the world."""
        return self.inner.reset(key)

    def observe(self, state: Any) -> Any:
        """[] int32: the number of the state."""
        return self.inner.observe(state)

    def step(self, key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        """A step of the world."""
        return self.inner.step(key, state, action)


def constant_reward(gamma: ArrayLike = 0.5) -> Probe:
    """One state, one step, a reward of 1 whatever is done.

        q(0, .) = 1

    Example:
      >>> constant_reward().optimal_value.tolist()
      [1.0, 0.0, 0.0, 0.0]
    """
    return _probe([[END, END]], [[1.0, 1.0]], [1.0], gamma, q=[[1.0, 1.0]])


def reward_by_observation(gamma: ArrayLike = 0.5) -> Probe:
    """One of two states, one step, a reward of -1 from state 0 and of 1 from state 1, whatever is done.

        q(0, .) = -1,    q(1, .) = 1

    Example:
      >>> reward_by_observation().optimal_value.tolist()
      [-1.0, 1.0, 0.0, 0.0]
    """
    reward = [[-1.0, -1.0], [1.0, 1.0]]
    return _probe([[END, END]] * 2, reward, [0.5, 0.5], gamma, q=reward)


def delayed_reward(gamma: ArrayLike = 0.5) -> Probe:
    """Two steps, from state 0 to state 1 and to the end, the second one with a reward of 1, whatever is done.

        q(0, .) = gamma,    q(1, .) = 1

    Example:
      >>> delayed_reward(0.9).optimal_value.round(2).tolist()
      [0.9, 1.0, 0.0, 0.0]
    """
    q = [[gamma, gamma], [1.0, 1.0]]
    return _probe([[1, 1], [END, END]], [[0.0, 0.0], [1.0, 1.0]], [1.0, 0.0], gamma, q=q)


def reward_by_action(gamma: ArrayLike = 0.5) -> Probe:
    """One state, one step, a reward of -1 for action 0 and of 1 for action 1.

        q(0, 0) = -1,    q(0, 1) = 1

    Example:
      >>> reward_by_action().optimal_q[0].tolist()
      [-1.0, 1.0]
    """
    return _probe([[END, END]], [[-1.0, 1.0]], [1.0], gamma, q=[[-1.0, 1.0]])


def reward_by_both(gamma: ArrayLike = 0.5) -> Probe:
    """One of two states, one step, a reward of 1 for the action that has the state's number, and of -1 for the other.

        q(s, a) = 1 if a = s, else -1

    Example:
      >>> reward_by_both().optimal_q[:2].tolist()
      [[1.0, -1.0], [-1.0, 1.0]]
    """
    reward = [[1.0, -1.0], [-1.0, 1.0]]
    return _probe([[END, END]] * 2, reward, [0.5, 0.5], gamma, q=reward)


def time_limit(gamma: ArrayLike = 0.5, max_steps: int | Array = 2) -> Probe:
    """One state and no end, a reward of 1 for every step, whatever is done; the clock stops each episode after a few.

        q(0, .) = 1 / (1 - gamma)

    What the clock cuts off is worth what it is worth. A learner of one step that takes the limit of N steps for a death
    bootstraps from N - 1 steps of N and comes to 1 / (1 - gamma (1 - 1 / N)): for gamma 0.5 and N = 2 to 4/3, not to 2.

    Errors:
      ValueError: gamma is 1, at which nothing is finite; a time limit below 1.

    Example:
      >>> time_limit(0.75).optimal_value.tolist()
      [4.0, 0.0, 0.0, 0.0]
    """
    checks.real("gamma", gamma, 0, 1, below=True)
    endless = 1.0 / (1.0 - jnp.asarray(gamma, float))
    return _probe([[0, 0]], [[1.0, 1.0]], [1.0], gamma, q=[[endless, endless]], max_steps=max_steps)


def stochastic_chain(gamma: ArrayLike = 0.5, slip: ArrayLike = 0.2) -> Probe:
    """Three states in a row: action 1 goes on, and at the end of the row pays 1; action 0 goes back to state 0 for nothing.
    With probability `slip` the other of the two happens.

        v = r + gamma P v under "always on", by elimination (`mdp.evaluation.evaluate`);    q = r + gamma P v

    For gamma 0.5 and slip 0.2: v = 0.152, 0.341, 0.815. Going on is best as long as slip < 1/2.

    Errors:
      ValueError: slip outside of [0, 1/2).

    Example:
      >>> stochastic_chain().optimal_value.round(3).tolist()
      [0.152, 0.341, 0.815, 0.0]
    """
    checks.real("slip", slip, 0, 0.5, below=True)
    slip = jnp.asarray(slip, float)
    on, back = np.eye(NUM_STATES)[[1, 2, END, END]], np.eye(NUM_STATES)[[0, 0, 0, END]]
    intended = jnp.asarray(np.stack([back, on], axis=1), float)
    arrival = np.zeros((NUM_STATES, NUM_ACTIONS, NUM_STATES))
    arrival[:END, :, END] = 1.0
    mdp = TabularMDP(
        (1.0 - slip) * intended + slip * intended[:, ::-1],
        jnp.asarray(arrival, float),
        gamma=gamma,
        terminal=jnp.arange(NUM_STATES) == END,
        initial=jnp.eye(NUM_STATES)[0],
    )
    v = evaluation.evaluate(mdp, jnp.ones(NUM_STATES, jnp.int32))
    return Probe(TimeLimit(TabularEnv(mdp), jnp.int32(NEVER)), operators.q_values(mdp, v), ~mdp.terminal)


def every(gamma: ArrayLike = 0.5) -> dict[str, Probe]:
    """All of them, by name.

    Example:
      >>> list(every())[-2:]
      ['time_limit', 'stochastic_chain']
    """
    makers = (
        constant_reward,
        reward_by_observation,
        delayed_reward,
        reward_by_action,
        reward_by_both,
        time_limit,
        stochastic_chain,
    )
    return {make.__name__: make(gamma) for make in makers}


def _probe(
    successor: list[list[int]],
    reward: list[list[float]],
    initial: list[float],
    gamma: ArrayLike,
    *,
    q: Any,
    max_steps: int | Array = NEVER,
) -> Probe:
    """Each live state's successors, rewards and values, for either action; all others are terminal."""
    live = len(successor)
    rest = NUM_STATES - live
    p = np.eye(NUM_STATES)[np.array([*successor, *([END] * NUM_ACTIONS for _ in range(rest))])]
    met = jnp.arange(NUM_STATES) < live

    def fill(rows: Any) -> Array:
        given = jnp.asarray(rows, float)
        return jnp.concatenate([given, jnp.zeros((rest, *given.shape[1:]))])

    mdp = TabularMDP(
        # Rewards of the transition as in `stochastic_chain`, so that all probes are of one shape.
        jnp.asarray(p, float),
        jnp.broadcast_to(fill(reward)[:, :, None], p.shape),
        gamma=gamma,
        terminal=~met,
        initial=fill(initial),
    )
    checks.integer("max_steps", max_steps, 1, batch=True)
    return Probe(TimeLimit(TabularEnv(mdp), jnp.asarray(max_steps, jnp.int32)), fill(q), met)
