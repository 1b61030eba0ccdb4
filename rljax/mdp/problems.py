"""Small worlds that everybody knows, and random ones of any size.

| function             | states, actions | what it asks                                                                |
|----------------------|-----------------|-----------------------------------------------------------------------------|
| `chapter_mdp`        | 3, 3            | whether a fire now is worth a reward later                                  |
| `puterman_two_state` | 2, 2            | the smallest problem with something to choose                               |
| `chain`              | 5, 2            | to pass by small rewards for a large one far away, on slippery ground       |
| `river_swim`         | 6, 2            | the same against the current: hard to explore                               |
| `forest`             | 3, 2            | to cut now or to wait, while it may burn                                    |
| `garnet`             | any             | nothing in particular: averages over all problems of a size                 |

Mazes and grids: `rljax.mdp.gridworld`. Numbers such as gamma, slip or rewards may be traced: sweep them with `jax.vmap`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import checks, noise
from rljax.mdp.convert import from_nested
from rljax.mdp.model import TabularMDP
from rljax.mdp.transitions import Dense, Sparse, numpy_for

TRANSITION_PROBABILITIES = [  # [s][a][s']
    [[0.7, 0.3, 0.0], [1.0, 0.0, 0.0], [0.8, 0.2, 0.0]],
    [[0.0, 1.0, 0.0], None, [0.0, 0.0, 1.0]],
    [None, [0.8, 0.1, 0.1], None],
]
REWARDS = [  # [s][a][s']
    [[+10, 0, 0], [0, 0, 0], [0, 0, 0]],
    [[0, 0, 0], [0, 0, 0], [0, 0, -50]],
    [[0, 0, 0], [+40, 0, 0], [0, 0, 0]],
]
POSSIBLE_ACTIONS = [[0, 1, 2], [0, 2], [1]]


def chapter_mdp(gamma: ArrayLike = 0.9) -> TabularMDP:
    """The chapter's example: three states, up to three actions; from s0 a steady +10, behind the fire (-50) a rare +40.

    At gamma 0.90 the best policy stays at s0 and never walks through the fire; at 0.95 it does.

    Example:
      >>> chapter_mdp().mask.tolist()
      [[True, True, True], [True, False, True], [False, True, False]]

    Geron (2022), ch. 18, "Markov decision processes", figure 18-8.
    """
    return from_nested(TRANSITION_PROBABILITIES, REWARDS, POSSIBLE_ACTIONS, gamma=gamma)


def puterman_two_state(gamma: ArrayLike = 0.95) -> TabularMDP:
    """In s0: 5 and an even chance to stay, or 10 and on to s1, where each step costs 1 for ever.

    At gamma 0.95: v = [-60/7, -20], by action 0. Action 1 is better below gamma = 10/11.

    Example:
      >>> puterman_two_state().expected_reward[:, 0].tolist()
      [5.0, 10.0]

    Puterman (1994), section 3.1.
    """
    p = np.array([[[0.5, 0.5], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
    reward = np.array([[5.0, 10.0], [-1.0, 0.0]])
    return TabularMDP(p, reward, gamma=gamma, mask=np.array([[True, True], [True, False]]))


def chain(
    num_states: int = 5,
    *,
    slip: ArrayLike = 0.2,
    gamma: ArrayLike = 0.95,
    return_reward: ArrayLike = 2.0,
    end_reward: ArrayLike = 10.0,
) -> TabularMDP:
    """Action 0 goes one state on, and pays `end_reward` at the last one, where it stays; action 1 goes back to state 0 and
    pays `return_reward`. With probability `slip` the other action happens, with its reward.

    Starts in state 0.

    Errors:
      ValueError: num_states < 2; slip outside of [0, 1].

    Example:
      >>> chain(3).transitions.probability[:, 0].tolist()
      [[0.2, 0.8, 0.0], [0.2, 0.0, 0.8], [0.2, 0.0, 0.8]]

    Dearden, Friedman & Russell (1998), Bayesian Q-learning; Strens (2000).
    """
    checks.integer("num_states", num_states, 2)
    checks.real("slip", slip, 0, 1)
    _rewards(return_reward=return_reward, end_reward=end_reward)
    on, back = np.eye(num_states)[[*range(1, num_states), -1]], np.eye(num_states)[[0] * num_states]
    xp = numpy_for(slip, return_reward, end_reward)
    slip, return_reward, end_reward = (xp.asarray(x, float) for x in (slip, return_reward, end_reward))
    intended = xp.asarray(np.stack([on, back], axis=1), float)
    last = np.arange(num_states) == num_states - 1
    reward = xp.stack([xp.where(last, end_reward, 0.0), xp.full(num_states, return_reward)], axis=1)
    mix = lambda x: (1.0 - slip) * x + slip * x[:, ::-1]
    return TabularMDP(mix(intended), mix(reward), gamma=gamma, initial=np.eye(num_states)[0])


def river_swim(
    num_states: int = 6, *, gamma: ArrayLike = 0.95, small: ArrayLike = 5.0, large: ArrayLike = 10_000.0
) -> TabularMDP:
    """Action 0 swims with the current, to the left, and never fails; action 1 swims against it, and rarely succeeds.

        action 1:  left 0.1, stay 0.6, right 0.3       first state: stay 0.7, right 0.3       last: left 0.7, stay 0.3

    Swimming left in the first state pays `small`, keeping one's place by swimming right in the last one `large`.
    Starts in state 1 or 2. Undirected exploration hardly ever sees the large reward: it is the test of directed one.

    Errors:
      ValueError: num_states < 3.

    Example:
      >>> river_swim(3).transitions.probability[:, 1].tolist()
      [[0.7, 0.3, 0.0], [0.1, 0.6, 0.3], [0.0, 0.7, 0.3]]

    Strehl & Littman (2008), An analysis of model-based interval estimation for Markov decision processes.
    """
    checks.integer("num_states", num_states, 3)
    _rewards(small=small, large=large)
    p = np.zeros((num_states, 2, num_states))
    p[1:, 0] = np.eye(num_states)[:-1]
    p[0, 0, 0] = 1.0
    p[:, 1] = 0.1 * np.eye(num_states, k=-1) + 0.6 * np.eye(num_states) + 0.3 * np.eye(num_states, k=1)
    p[0, 1, 0], p[-1, 1, -2:] = 0.7, (0.7, 0.3)
    xp = numpy_for(small, large)
    left, right = np.zeros(p.shape, bool), np.zeros(p.shape, bool)
    left[0, 0, 0] = right[-1, 1, -1] = True
    reward = xp.where(left, xp.asarray(small, float), xp.where(right, xp.asarray(large, float), 0.0))
    initial = np.zeros(num_states)
    initial[1:3] = 0.5
    return TabularMDP(p, reward, gamma=gamma, initial=initial)


def forest(
    num_states: int = 3,
    *,
    gamma: ArrayLike = 0.96,
    wait_reward: ArrayLike = 4.0,
    cut_reward: ArrayLike = 2.0,
    fire: ArrayLike = 0.1,
) -> TabularMDP:
    """A forest of some age: action 0 waits, a year passes; action 1 cuts and sells it, age 0 follows.

    Each year that it is left alone it burns with probability `fire`, age 0 follows. Waiting pays `wait_reward` at the oldest
    age, for the animals; cutting pays 0 at age 0, `cut_reward` at the oldest, 1 between.

    Errors:
      ValueError: num_states < 2; fire outside of [0, 1].

    Example:
      >>> forest().expected_reward.tolist()
      [[0.0, 0.0, 4.0], [0.0, 1.0, 2.0]]

    The example of MDPtoolbox: Chades et al. (2014).
    """
    checks.integer("num_states", num_states, 2)
    checks.real("fire", fire, 0, 1)
    _rewards(wait_reward=wait_reward, cut_reward=cut_reward)
    xp = numpy_for(wait_reward, cut_reward, fire)
    wait_reward, cut_reward, fire = (xp.asarray(x, float) for x in (wait_reward, cut_reward, fire))
    burnt = xp.asarray(np.eye(num_states)[[0] * num_states], float)
    older = xp.asarray(np.eye(num_states)[[*range(1, num_states), -1]], float)
    p = xp.stack([fire * burnt + (1.0 - fire) * older, burnt], axis=1)
    age = np.arange(num_states)
    oldest, some = age == num_states - 1, xp.asarray(age > 0, float)
    reward = xp.stack([xp.where(oldest, wait_reward, 0.0), xp.where(oldest, cut_reward, some)], axis=1)
    return TabularMDP(p, reward, gamma=gamma)


def garnet(
    key: Array, num_states: int, num_actions: int, branching: int, gamma: ArrayLike, *, sparse: bool = False
) -> TabularMDP:
    """A random problem: each action in each state leads to `branching` states, any as likely as any other.

        successors ~ a uniform subset,    probabilities ~ uniform on the simplex,    r(s, a) ~ Normal(0, 1)

    The same key makes the same problem, dense or sparse. `jax.vmap` over keys makes many; a million states of 4 actions and
    5 successors take seconds.

    Args:
      key: consumed.
      num_states, num_actions: S, A.
      branching: B of 1 ... S, the successors of each state and action.
      gamma: discount.
      sparse: lists [S, A, B] instead of a matrix [S, A, S].

    Errors:
      ValueError: a size below 1; branching above num_states.

    Example:
      >>> garnet(jax.random.key(0), 10, 2, 3, 0.9, sparse=True).transitions.probability.shape
      (3, 2, 10)

    Archibald, McKinnon & Thomas (1995), On the generation of Markov decision processes; rewards as in Bhatnagar et al. (2009).
    """
    for name, size in (("num_states", num_states), ("num_actions", num_actions), ("branching", branching)):
        checks.integer(name, size, 1)
    if branching > num_states:
        raise ValueError(f"branching is {branching}; expected at most num_states, which is {num_states}.")
    subset_key, weight_key, reward_key = jax.random.split(noise.fused(key), 3)
    successor = _subsets(subset_key, branching, (num_actions, num_states), num_states)
    # What uniform cuts of the unit interval leave has the law of normalised exponentials, which need no sorting.
    weight = -jnp.log(jax.random.uniform(weight_key, successor.shape, minval=jnp.finfo(float).eps))  # finite, never 0
    lists = Sparse(successor, weight / weight.sum(axis=0, keepdims=True))
    reward = jax.random.normal(reward_key, (num_states, num_actions))
    return TabularMDP(lists if sparse else Dense(lists.matrix()), reward, gamma=gamma)


def _rewards(**rewards: Any) -> None:
    for name, value in rewards.items():
        checks.real(name, value, above=True, below=True)


def _subsets(key: Array, size: int, shape: tuple[int, ...], number: int) -> Array:
    """[size, *shape] int32: in each place a uniform subset of 0 ... number - 1, in some order."""
    if size**2 > 20 * number:  # sorting all is cheaper than comparing all pairs
        ranks = jax.random.uniform(key, (*shape, number))
        return jnp.moveaxis(lax.top_k(ranks, size)[1], -1, 0).astype(jnp.int32)

    def add(i: Array, chosen: Array) -> Array:
        """Floyd: any of 0 ... newest, or the newest itself if that one has been chosen already."""
        newest = (number - size + i).astype(jnp.int32)
        drawn = jax.random.randint(jax.random.fold_in(key, i), shape, 0, newest + 1, jnp.int32)
        return chosen.at[i].set(jnp.where(jnp.any(chosen == drawn[None], axis=0), newest, drawn))

    return lax.fori_loop(0, size, add, jnp.full((size, *shape), -1, jnp.int32))
