"""Deep Q-learning (Mnih et al., 2015) and the variants that compose with it: one file, each option one line of an equation.

One step of the algorithm, for action values q with parameters theta and older parameters theta':

    play K steps in each of N environments, epsilon-greedily, into the replay buffer
    M times:
      draw B windows of n transitions                                   `replay`, uniform or by priority
      R, gamma_n, o_n = discounted rewards up to a boundary, what follows counts for, and where it led
      pi  = the first best action at o_n by theta'                      `double`: by theta; Munchausen: soft
      y   = R + gamma_n sum_a pi(a) q(o_n, a; theta')
      theta <- theta - Adam(grad mean_B w loss(q(o, a; theta), y))
      theta' <- theta, once in `target_every` updates                   or a little in each: `target_rate`

| variant                    | option                                                     | source                    |
|----------------------------|------------------------------------------------------------|---------------------------|
| no target network          | `target_every=1`                                           | Mnih et al. (2013)        |
| Huber or squared loss      | `head=scalar(losses.huber)`, `scalar(losses.squared)`      | Mnih et al. (2015)        |
| double                     | `double=True`                                              | van Hasselt et al. (2016) |
| prioritised replay         | `memory=replay.prioritised(100_000)`                       | Schaul et al. (2016)      |
| n-step                     | `n=3`                                                      | Hessel et al. (2018)      |
| dueling                    | `networks.q_network(sizes, dueling=True)`                  | Wang et al. (2016)        |
| categorical, C51           | `head=categorical(0, 200)`, a network with 51 atoms        | Bellemare et al. (2017)   |
| quantile regression        | `head=quantile(51)`, a network with 51 atoms               | Dabney et al. (2018)      |
| Munchausen                 | `munchausen=Munchausen()`                                  | Vieillard et al. (2020)   |

Departures from the papers:

1. Environment steps and updates alternate in blocks, K N steps and then M updates; epsilon is constant within a block.
2. `target_every` counts updates, as Mnih et al. say. (Stable-Baselines3 counts environment steps; with its tuned CartPole
   settings, 128 updates in one go after every 256 steps, that is one copy for 128 updates, whatever else is written.) The
   default copies nothing: no older parameters are kept unless asked for.
3. Rewards are not clipped, and errors only by the Huber loss; gradients are clipped where the optimiser says so.
4. A time limit is not a death: the value of the true successor counts on. The papers have no time limits.
5. Prioritised replay corrects with a constant exponent beta, where Schaul et al. anneal it to 1, and draws independently, where
   they take one of each stratum.
6. n-step targets are not corrected for exploration in between; as in Rainbow.
7. Priorities of distributions are their losses, cross entropies for C51; Rainbow takes the relative entropy.
8. The optimiser is Adam; Mnih et al. take RMSProp.
9. The dueling head shares all hidden layers, and scales no gradients; Wang et al. have two streams from the last convolution
   on, and gradients times 1 / sqrt(2) below.
10. Munchausen rewards with distributions (C51, QR) are of no paper; they are the same equation under the same head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax
from jax.typing import ArrayLike

from rljax import backups, checks, losses, policies, replay, returns
from rljax.agents import acting, common, dqn_checks
from rljax.agents.common import Schedule, at
from rljax.envs.base import Environment
from rljax.networks import Network
from rljax.structs import Algorithm, Learner, Transition


class Head(NamedTuple):
    """What the output of a network says of each action: `scalar`, `categorical`, `quantile` below.

    `loss(output_tm1 [A, ...], a_tm1, r_t, discount_t, output_t [A, ...], pi_t [A])` is that of one transition: its value,
    whose gradient reaches `output_tm1` alone, and a priority, how wrong the prediction was.
    """

    values: Callable[[Array], Array]  # output -> [A] expected returns
    loss: Callable[..., tuple[Array, Array]]
    shape: tuple[int, ...]  # of the output for one action


class Munchausen(NamedTuple):
    """Reward the log-probability of one's own action, and bootstrap softly (Vieillard et al., 2020)."""

    temperature: ArrayLike = 0.03
    alpha: ArrayLike = 0.9
    clip: ArrayLike = -1.0


class DqnState(NamedTuple):
    """What the learner knows; `acting.Acting` has it beside where the environments stand."""

    params: Any
    target: Any  # theta'
    optimiser: optax.OptState
    memory: Any
    steps: Array  # [] int32, of all environments together
    updates: Array  # [] int32
    largest: Array  # [] |r| met so far
    first: Array  # [] mean action value before anything was learned


def scalar(penalty: Callable[[Array], Array] = losses.huber) -> Head:
    """One number, the expected return: loss = penalty(y - q(a)), y = r + discount sum_a pi(a) q'(a)."""
    checks.function("penalty", penalty, "losses.huber or losses.squared")
    common.number("penalty(error)", penalty, jnp.result_type(float), "losses.huber or losses.squared")

    def loss(q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array, pi_t: Array) -> tuple[Array, Array]:
        error = backups.expected_sarsa_error(q_tm1, a_tm1, r_t, discount_t, q_t, pi_t)
        return penalty(error), jnp.abs(error)

    return Head(lambda q: q, loss, ())


def categorical(low: float | Array, high: float | Array, atoms: int = 51) -> Head:
    """C51: the probabilities of `atoms` equally spaced returns z from `low` to `high`, which may be traced;
    the network gives their logits.

    loss = cross-entropy(p, softmax(logits(a))),    p: that of r + discount z, moved back onto z; z as sum_a pi(a) p'(a)
    """
    checks.integer("atoms", atoms, 2)
    for name, value in (("low", low), ("high", high)):
        checks.real(name, value, above=True, below=True)
    checks.real("high - low", high - low, 0, above=True)
    support = low + (high - low) * np.linspace(0.0, 1.0, atoms)

    def loss(
        logits_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, logits_t: Array, pi_t: Array
    ) -> tuple[Array, Array]:
        z = jnp.asarray(support, logits_t.dtype)
        p = losses.categorical_projection(r_t + discount_t * z, pi_t @ jax.nn.softmax(logits_t), z)
        value = losses.categorical_loss(logits_tm1[a_tm1], p)
        return value, value

    return Head(lambda logits: jax.nn.softmax(logits) @ jnp.asarray(support, logits.dtype), loss, (atoms,))


def quantile(atoms: int = 51, delta: ArrayLike = 1.0) -> Head:
    """QR-DQN: `atoms` quantiles of the return, those at (2i + 1) / (2 atoms).

    loss = sum_a pi(a) quantile_loss(theta(a_tm1), r + discount theta'(a), delta)
    """
    checks.integer("atoms", atoms, 1)
    checks.real("delta", delta, 0, below=True)

    def loss(z_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, z_t: Array, pi_t: Array) -> tuple[Array, Array]:
        each = jax.vmap(lambda z: losses.quantile_loss(z_tm1[a_tm1], r_t + discount_t * z, delta))(z_t)
        value = pi_t @ each
        return value, value

    return Head(lambda z: z.mean(axis=-1), loss, (atoms,))


def dqn(
    env: Environment,
    network: Network,
    *,
    num_envs: int = 1,
    unroll_steps: int = 1,
    num_updates: int = 1,
    batch_size: int = 64,
    memory: replay.Replay | None = None,
    warmup: int = 1000,
    n: int = 1,
    gamma: ArrayLike = 0.99,
    learning_rate: ArrayLike = 1e-3,
    optimiser: Callable[..., optax.GradientTransformation] = common.adam,
    epsilon: ArrayLike | Schedule = 0.05,
    target_every: int | Array = 1,
    target_rate: ArrayLike = 1.0,
    double: bool = False,
    head: Head | None = None,
    munchausen: Munchausen | None = None,
    available: Callable[[Any], Array] | None = None,
    score_episodes: int = 20,
    max_steps: int = 500,
) -> Algorithm:
    """The algorithm of this file.

    Args:
      env: the task, with discrete actions; time limits are wrappers of it.
      network: `(init, apply)` from an observation to the `head`'s [A] or [A, atoms].
      num_envs: N, played side by side.
      unroll_steps: K, steps of each environment before each block of updates.
      num_updates: M.
      batch_size: B.
      memory: `replay.uniform(capacity)` (default: 10 000 transitions, or the next whole number of blocks) or
        `replay.prioritised(capacity)`.
      warmup: transitions of uniformly random play before the first step, rounded up to whole blocks of K N.
      n: steps of a target.
      gamma: discount in [0, 1]; may be traced.
      learning_rate: of the optimiser; may be traced.
      optimiser: makes the gradient transformation from the learning rate; default: `optax.adam`, over one vector.
      epsilon: of epsilon-greedy, a number (may be traced) or a schedule of environment steps, warm-up included.
      target_every: updates between two moves of the target parameters; may be traced.
      target_rate: how far they move then, theta' <- theta' + rate (theta - theta'); may be traced.
      double: the parameters that learn choose the next action, the target parameters judge it.
      head: what the network's output means; default: `scalar()`.
      munchausen: or None; needs n = 1 and goes without `double`.
      available: the mask [A] of an observation, for tasks whose actions are not always all available.
      score_episodes: fresh episodes of the greedy policy that make one score.
      max_steps: most steps of such an episode; the environment may end it before.

    Returns:
      `Algorithm`; its metrics are `mean_return` (of the last episode that ended in each environment, 0 before the first),
      `loss` and `q` (the chosen actions' mean estimate, infinite once it is far beyond any return: `common.credible`), over
      the block's updates, `epsilon` and `steps`.

    Errors:
      ValueError: numbers out of range; a memory that cannot hold a window of n steps, or blocks; options that contradict
        each other; a network whose output does not fit head and actions; a task with continuous actions.
      TypeError: what is no environment, network, memory, head or maker of an optimiser.

    Example:
      >>> from rljax import envs, networks
      >>> env = envs.TimeLimit(envs.CartPole(), 500)
      >>> algorithm = dqn(env, networks.mlp((4, 32, 2)), unroll_steps=10, warmup=100)
      >>> state = jax.jit(algorithm.init)(jax.random.key(0))
      >>> state, metrics = jax.jit(algorithm.step)(jax.random.key(1), state)
      >>> int(state.learner.steps), int(state.learner.updates)
      (110, 1)
    """
    checks.environment("env", env)
    checks.functions("network", network, *Network._fields)
    sizes = {"num_envs": num_envs, "unroll_steps": unroll_steps, "num_updates": num_updates, "batch_size": batch_size}
    for name, value in {**sizes, "n": n, "score_episodes": score_episodes, "max_steps": max_steps}.items():
        checks.integer(name, value, 1)
    checks.integer("warmup", warmup, 0)
    checks.real("gamma", gamma, 0, 1)
    common.epsilon(epsilon)
    transform = common.transform(optimiser, learning_rate)
    checks.integer("target_every", target_every, 1, batch=True)
    checks.rank(0, target_every=target_every)
    checks.real("target_rate", target_rate, 0, 1, above=True)
    checks.flags(double=double)
    head = scalar() if head is None else head
    block = unroll_steps * num_envs
    memory = replay.uniform(-(-10_000 // block) * block) if memory is None else memory
    network = Network(*network)
    dqn_checks.memory(memory, block, unroll_steps, warmup, n, batch_size)
    if not isinstance(head, Head):
        raise TypeError(f"head is {head!r}; expected a Head, such as dqn.scalar(losses.huber).")
    if munchausen is not None:
        if not isinstance(munchausen, Munchausen):
            raise TypeError(f"munchausen is {munchausen!r}; expected Munchausen() or None.")
        dqn_checks.munchausen(*munchausen, double, n)
    actions = common.fit(env, network, head.shape, available)
    bonus = 0.0 if munchausen is None else _largest_bonus(munchausen, actions)

    def q(params: Any, observation: Any) -> Array:
        return head.values(network.apply(params, observation))

    def mask(observation: Any) -> Array | None:
        return None if available is None else available(observation)

    def begin(key: Array, example: Transition) -> DqnState:
        params = network.init(key)
        memory_state = memory.init(example, num_envs, n)
        zero, nothing = jnp.int32(0), jnp.zeros((), jnp.result_type(float))
        return DqnState(params, params, transform.init(params), memory_state, zero, zero, nothing, nothing)

    def wander(key: Array, observation: Any) -> Array:
        return policies.categorical.sample(key, jnp.zeros(actions), mask(observation))

    def remember(state: DqnState, played: Transition) -> DqnState:
        largest = common.largest(state.largest, played)
        return state._replace(memory=memory.add(state.memory, played), steps=state.steps + block, largest=largest)

    def share(state: DqnState) -> Array:
        return at(epsilon, state.steps, jnp.result_type(float))

    def explore(state: DqnState, key: Array, observation: Any) -> Array:
        return policies.epsilon_greedy(key, q(state.params, observation), share(state), mask(observation))

    def learn(key: Array, state: DqnState, played: Transition) -> tuple[DqnState, dict[str, Array]]:
        def once(state: DqnState, i: Array) -> tuple[DqnState, dict[str, Array]]:
            sample = memory.sample(jax.random.fold_in(key, i), state.memory, batch_size)
            params, optimiser_state, priority, metrics = update(state.params, state.target, state.optimiser, sample)
            updates = state.updates + 1
            rate = jnp.where(updates % target_every == 0, target_rate, 0.0)
            state = state._replace(
                params=params,
                target=jax.tree.map(
                    lambda new, old: jnp.where(rate == 1, new, old + rate * (new - old)), params, state.target
                ),
                optimiser=optimiser_state,
                memory=memory.update(state.memory, sample.index, priority),
                updates=updates,
            )
            return state, metrics

        explored, new = share(state), state.updates == 0
        state, each = lax.scan(once, remember(state, played), jnp.arange(num_updates, dtype=jnp.int32))
        state = state._replace(first=jnp.where(new, each["q"][0].astype(state.first.dtype), state.first))
        metrics = {name: values.mean() for name, values in each.items()}
        largest = state.largest + jnp.asarray(bonus, state.largest.dtype)
        metrics["q"] = common.credible(metrics["q"], state.first, largest, gamma)
        return state, metrics | {"epsilon": explored, "steps": state.steps}

    def update(
        params: Any, target: Any, optimiser_state: optax.OptState, sample: replay.Sample
    ) -> tuple[Any, optax.OptState, Array, dict[str, Array]]:
        """One gradient step on one sample; also the priorities [B] of its windows."""
        (loss, (priority, chosen)), gradient = jax.value_and_grad(objective, has_aux=True)(
            params, target, sample, network, head, gamma, double=double, munchausen=munchausen, available=available
        )
        with jax.numpy_dtype_promotion("standard"):  # adam raises a float to an integer power: refused under "strict"
            change, optimiser_state = transform.update(gradient, optimiser_state, params)
        return jax.tree.map(jnp.add, params, change), optimiser_state, priority, {"loss": loss, "q": chosen}

    def act(params: Any, key: Array, observation: Any) -> Array:
        del key
        return policies.greedy(q(params, observation), mask(observation))

    blocks = -(-warmup // block)
    parameters = lambda state: state.params
    learner = Learner(begin, explore, learn, parameters, num_envs, unroll_steps, False, blocks, wander, remember)
    return acting.stream(env, learner, act, score_episodes, max_steps)


def objective(
    params: Any,
    target: Any,
    sample: replay.Sample,
    network: Network,
    head: Head,
    gamma: ArrayLike,
    *,
    double: bool = False,
    munchausen: Munchausen | None = None,
    available: Callable[[Any], Array] | None = None,
) -> tuple[Array, tuple[Array, Array]]:
    """Mean loss of a sample of windows [B, n], as a function of `params`; beside it the priorities [B], and the mean of
    what the chosen actions are thought to be worth. Arguments as of `dqn`."""
    window = sample.transition
    apply, values = jax.vmap(network.apply, (None, 0)), jax.vmap(head.values)
    first = jax.tree.map(lambda leaf: leaf[:, 0], window)
    output_tm1 = apply(params, first.observation)
    n_step = jax.vmap(lambda r_t, terminated, truncated: returns.n_step_reward(r_t, terminated, truncated, gamma))
    r_t, discount_t, last = n_step(window.reward.astype(output_tm1.dtype), window.terminated, window.truncated)
    o_t = jax.tree.map(lambda leaf: jax.vmap(lambda rows, i: rows[i])(leaf, last), window.next_observation)
    output_t = lax.stop_gradient(apply(target, o_t))
    q_t = values(output_t)
    mask_tm1 = mask_t = None
    if available is not None:
        mask_tm1, mask_t = jax.vmap(available)(first.observation), jax.vmap(available)(o_t)
        some = mask_t.any(axis=1)  # where none is, nothing follows, as in `backups`; no policy is made of nothing
        discount_t, mask_t = jnp.where(some, discount_t, 0.0), mask_t | ~some[:, None]
    if munchausen is None:
        # All of pi on one action: y = r + gamma max_a q(o_t, a), or with `double` the chooser's best.
        chooser = values(apply(lax.stop_gradient(params), o_t)) if double else q_t
        pi_t = jax.nn.one_hot(jax.vmap(policies.greedy)(chooser, mask_t), q_t.shape[-1], dtype=q_t.dtype)
    else:
        q_tm1 = values(apply(target, first.observation))
        soften = jax.vmap(functools.partial(_soften, munchausen))
        r_t, pi_t = soften(q_tm1, first.action, mask_tm1, r_t, discount_t, q_t, mask_t)
    loss, priority = jax.vmap(head.loss)(output_tm1, first.action, r_t, discount_t, output_t, lax.stop_gradient(pi_t))
    chosen = jax.vmap(lambda q, a: q[a])(values(output_tm1), first.action)
    return jnp.mean(sample.weight.astype(loss.dtype) * loss), (priority, chosen.mean())


def _largest_bonus(how: Munchausen, actions: int) -> ArrayLike:
    """What Munchausen may add to a reward, signs aside: for one's own action, and for entropy."""
    return how.alpha * abs(how.clip) + how.temperature * float(np.log(actions))


def _soften(
    how: Munchausen,
    q_tm1: Array,
    a_tm1: Array,
    mask_tm1: Array | None,
    r_t: Array,
    discount_t: Array,
    q_t: Array,
    mask_t: Array | None,
) -> tuple[Array, Array]:
    """The reward that Munchausen learns from, and its next policy [A].

        pi = softmax(q / T),    r + alpha max(T log pi(a_{t-1}), clip) + discount T H(pi(. | o_t))

    With the expectation of q under pi that the head adds, `backups.munchausen_target`: T log sum exp(q / T) = pi q + T H(pi).
    """
    nothing = jnp.zeros_like(discount_t)  # of what follows: the head adds it
    paid = backups.munchausen_target(
        q_tm1, a_tm1, r_t, nothing, q_t, how.temperature, how.alpha, how.clip, mask_tm1, mask_t
    )
    entropy = policies.categorical.entropy(q_t / how.temperature, mask_t)
    return paid + discount_t * how.temperature * entropy, policies.softmax(q_t, how.temperature, mask_t)
