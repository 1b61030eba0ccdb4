"""Deep Q-learning on tasks whose values are known."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces

from rljax import envs, losses, mdp, networks, replay, structs
from rljax.agents import dqn
from rljax.agents.dqn import Munchausen, categorical, objective, quantile, scalar

TABLE = networks.Network(lambda key: jnp.zeros((1, 2)), lambda params, observation: params[observation])


def endless(limit: int) -> envs.TimeLimit:
    """One state, two actions, reward 1 for ever; only the clock ends an episode."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5)
    return envs.TimeLimit(envs.TabularEnv(world), limit)


@pytest.mark.parametrize("options", [{}, {"double": True}, {"n": 3}, {"memory": replay.prioritised(64)}])
def test_a_time_limit_is_no_death(options: dict[str, Any]) -> None:
    """The value is 1 / (1 - gamma) = 2; taking the limit of 2 steps for an end would give 1.5 at most."""
    options = {"warmup": 30, "memory": replay.uniform(64)} | options
    algorithm = dqn(endless(2), TABLE, gamma=0.5, learning_rate=0.5, optimiser=optax.sgd, epsilon=1.0, **options)
    state = jax.jit(algorithm.init)(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 300)
    state, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, k: algorithm.step(k, s), state, keys))(state)
    np.testing.assert_allclose(algorithm.parameters(state), [[2.0, 2.0]], atol=0.01)
    assert metrics["mean_return"][-1] == 2.0
    assert int(state.learner.steps) == 330 and int(state.learner.updates) == 300


def learned(env: Any, first: Any, **options: Any) -> np.ndarray:
    """The table [A] of a world of one state that begins as `first`, after 300 steps of gradient descent; gamma is 0.5."""
    network = networks.Network(lambda key: jnp.array([first]), TABLE.apply)
    options = {"memory": replay.uniform(200), "batch_size": 64, "warmup": 100} | options
    algorithm = dqn(env, network, gamma=0.5, learning_rate=0.5, optimiser=optax.sgd, epsilon=1.0, **options)
    keys = jax.random.split(jax.random.key(1), 300)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    return np.asarray(algorithm.parameters(run(jax.random.key(0))))[0]


@pytest.mark.parametrize(("double", "values"), [(False, [10.0, 5.0]), (True, [5.0, 0.0])])
def test_targets_are_the_old_parameters_and_double_lets_the_new_ones_choose(double, values) -> None:
    """Rewards 5 and 0; the old values [0, 10] never move. Plain: r + 10 / 2. Double: the new values prefer action 0: r + 0."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.array([[5.0, 0.0]]), gamma=0.5)
    env = envs.TimeLimit(envs.TabularEnv(world), 7)
    np.testing.assert_allclose(learned(env, [0.0, 10.0], double=double, target_every=10**6), values, atol=1e-3)


def test_a_soft_target_follows_slowly_and_arrives() -> None:
    slow = learned(endless(7), [0.0, 0.0], target_rate=0.001)
    assert (slow > 1.0).all() and (slow < 1.5).all(), "1 by the target of zeros, a little more as it moves"
    np.testing.assert_allclose(learned(endless(7), [0.0, 0.0], target_rate=0.1), 2.0, atol=0.01)


@pytest.mark.parametrize(
    ("alpha", "clip", "bonus"), [(0.0, -1.0, 0.0), (0.9, -1.0, -0.9 * np.log(2)), (0.9, -0.1, -0.09)]
)
def test_munchausen_pays_for_entropy_and_for_being_sure(alpha, clip, bonus) -> None:
    """Two equal actions at temperature 1: q = 1 + alpha max(-ln 2, clip) + (q + ln 2) / 2."""
    options = Munchausen(temperature=1.0, alpha=alpha, clip=clip)
    value = 2 * (1 + bonus) + np.log(2)
    np.testing.assert_allclose(learned(endless(7), [0.0, 0.0], munchausen=options), value, atol=0.01)


def test_actions_that_are_not_available_are_never_played_nor_hoped_for() -> None:
    """Action 1 would be worth 100 at first sight."""
    world = mdp.TabularMDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), gamma=0.5, mask=np.array([[True, False]]))
    env = envs.TabularEnv(world)
    np.testing.assert_allclose(learned(env, [0.0, 100.0], available=env.available), [2.0, 100.0], atol=0.01)


def lottery() -> envs.TabularEnv:
    """Each step is an episode that pays 4, three times out of four, else 0, whatever is done."""
    to = np.zeros((3, 2, 3))
    to[0, :, 1:] = 0.75, 0.25
    to[1, :, 1] = to[2, :, 2] = 1
    rewards = np.zeros((3, 2, 3))
    rewards[0, :, 1] = 4
    ends, first = np.array([False, True, True]), np.array([1.0, 0.0, 0.0])
    return envs.TabularEnv(mdp.TabularMDP(jnp.array(to), jnp.array(rewards), gamma=0.5, terminal=ends, initial=first))


def distribution(env: Any, head: Any, steps: int = 1000, **options: Any) -> np.ndarray:
    """[A, atoms] of state 0, from zeros, after so many steps."""
    table = networks.Network(lambda key: jnp.zeros((3, 2, *head.shape)), TABLE.apply)
    options = {"memory": replay.uniform(4096), "num_envs": 16, "warmup": 4096, "batch_size": 256} | options
    algorithm = dqn(env, table, gamma=0.5, learning_rate=1.0, optimiser=optax.sgd, epsilon=1.0, head=head, **options)
    keys = jax.random.split(jax.random.key(1), steps)
    run = jax.jit(lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0])
    return np.asarray(algorithm.parameters(run(jax.random.key(0))))[0]


def test_c51_learns_how_likely_each_return_is() -> None:
    p = np.asarray(jax.nn.softmax(distribution(lottery(), categorical(0.0, 4.0, 5))))
    np.testing.assert_allclose(p, [[0.25, 0, 0, 0, 0.75]] * 2, atol=0.04)


def test_the_bounds_of_c51_may_be_traced_and_are_in_order() -> None:
    arguments = jnp.zeros((2, 5)), 0, 1.0, 0.5, jnp.zeros((2, 5)), jnp.array([1.0, 0.0])
    loss = lambda low, high: categorical(low, high, 5).loss(*arguments)[0]
    np.testing.assert_allclose(jax.jit(loss)(0.0, 4.0), loss(0.0, 4.0), rtol=1e-6)
    with pytest.raises(ValueError, match="high - low is -1"):
        categorical(1.0, 0.0)


def test_quantiles_are_those_of_the_return() -> None:
    """Of 0 and 4 with chances 1 : 3, those at 1/12, 3/12, ..., 11/12; that at 3/12 is not unique."""
    quantiles = distribution(lottery(), quantile(6, delta=0.1))
    np.testing.assert_allclose(quantiles[:, [0, 2, 3, 4, 5]], [[0, 4, 4, 4, 4]] * 2, atol=0.15)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("head", [categorical(0.0, 4.0, 5), quantile(3)], ids=["c51", "qr"])
def test_distributions_bootstrap(head: Any, double: bool) -> None:
    """Reward 1 for ever: every return is 1 / (1 - gamma) = 2."""
    output = distribution(endless(7), head, 300, double=double, warmup=160)
    np.testing.assert_allclose(head.values(output), 2.0, atol=0.05)


def test_the_squared_loss_learns_the_mean_and_an_absolute_one_the_median() -> None:
    squared, absolute = (distribution(lottery(), scalar(penalty)) for penalty in (losses.squared, jnp.abs))
    np.testing.assert_allclose(squared, 3.0, atol=0.3)
    np.testing.assert_allclose(absolute, 4.0, atol=0.6)


LAKE, _ = mdp.gridworld.gridworld(mdp.gridworld.FROZEN_LAKE_4X4, slip=2 / 3, gamma=0.95)


@pytest.mark.parametrize(
    ("world", "num_envs", "learning_rate", "batch"),
    [(mdp.problems.chapter_mdp(), 64, 1.0, 1024), (LAKE, 1024, 0.02, 2048)],
    ids=["the chapter's three states", "FrozenLake"],
)
def test_one_hot_and_linear_it_is_exact(world: mdp.TabularMDP, num_envs: int, learning_rate: float, batch: int) -> None:
    """From random play, within 2 % of the largest of the exact values."""
    exact, env = mdp.plan(world), envs.TabularEnv(world)
    states, actions = exact.q.shape
    algorithm = dqn(
        env,
        networks.one_hot(states, networks.linear(states, actions)),
        num_envs=num_envs,
        unroll_steps=16,
        num_updates=16,
        batch_size=batch,
        memory=replay.uniform(960 * num_envs),
        warmup=320 * num_envs,
        gamma=float(world.gamma),
        optimiser=lambda rate: optax.adam(optax.exponential_decay(rate, 320, 0.5)),
        learning_rate=learning_rate,
        epsilon=1.0,
        target_every=16,
        head=scalar(losses.squared),
        available=env.available,
    )
    keys = jax.random.split(jax.random.key(1), 200)
    run = jax.jit(
        lambda key: jax.lax.scan(lambda s, k: algorithm.step(k, s), algorithm.init(key), keys)[0],
        compiler_options={"xla_backend_optimization_level": 1},
    )
    known = np.asarray(world.mask & ~world.terminal[:, None])
    found, q = np.asarray(algorithm.parameters(run(jax.random.key(0)))), np.asarray(exact.q)
    np.testing.assert_allclose(found[known], q[known], atol=0.02 * abs(q[known]).max())


# One update, by hand and by loops --------------------------------------------------------------------------------------

MASKS = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)  # of five states; the last has none


def windows(n: int) -> replay.Sample:
    """16 windows; an end or a cut in one step of four each, both at once too."""
    rng = np.random.default_rng(n)
    terminated, truncated = rng.random((2, 16, n)) < 0.25
    observation, following = rng.integers(0, 4, (16, n)), rng.integers(0, 5, (16, n))
    action, reward = np.argmax(MASKS[observation] * rng.random((16, n, 3)), axis=2), rng.normal(size=(16, n))
    played = structs.Transition(observation, action, reward, following, terminated, truncated, (), (), ())
    return replay.Sample(played, np.arange(16), rng.uniform(0.2, 1.0, 16).astype(np.float32))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum()


def of_window(params, target, window, kind, z, gamma, double, soft):
    """Loss, priority and estimate of one window, step by step."""
    values = {
        "scalar": lambda x: x,
        "c51": lambda x: np.array([softmax(row) @ z for row in x]),
        "qr": lambda x: x.mean(1),
    }
    discounted, discount = 0.0, 1.0
    for i, (terminated, truncated) in enumerate(zip(window.terminated, window.truncated, strict=True)):
        discounted, discount = discounted + discount * window.reward[i], discount * gamma
        discount = 0.0 if terminated else discount
        if terminated or truncated:
            break
    o_t = window.next_observation[i]
    allowed = MASKS[o_t]
    if not allowed.any():
        discount, allowed = 0.0, ~allowed
    o_tm1, a_tm1, q_t, pi = window.observation[0], window.action[0], values[kind](target[o_t]), np.zeros(3)
    if soft:
        temperature, alpha, clip = soft
        here = MASKS[o_tm1]
        log_pi = np.full(3, -np.inf)
        log_pi[here] = np.log(softmax(values[kind](target[o_tm1])[here] / temperature))
        discounted += alpha * max(temperature * log_pi[a_tm1], clip)
        pi[allowed] = softmax(q_t[allowed] / temperature)
        discounted -= discount * temperature * (pi[allowed] * np.log(pi[allowed])).sum()
    else:
        chooser = values[kind](params[o_t]) if double else q_t
        pi[max(np.flatnonzero(allowed), key=lambda a: chooser[a])] = 1
    estimate, loss = params[o_tm1][a_tm1], 0.0
    if kind == "scalar":
        error = discounted + discount * (pi @ q_t) - estimate
        loss, priority = abs(error) - 0.5 if abs(error) > 1 else error**2 / 2, abs(error)
        return loss, priority, estimate
    if kind == "c51":
        p = np.zeros(len(z))
        for a in range(3):
            for mass, atom in zip(softmax(target[o_t][a]), z, strict=True):
                place = (np.clip(discounted + discount * atom, z[0], z[-1]) - z[0]) / (z[1] - z[0])
                low = min(int(place), len(z) - 2)
                p[low] += pi[a] * mass * (1 - place + low)
                p[low + 1] += pi[a] * mass * (place - low)
        loss = -p @ np.log(softmax(estimate))
    else:
        count = len(estimate)
        for a in range(3):
            for i, theta in enumerate(estimate):
                for y in discounted + discount * target[o_t][a]:
                    u, tau = y - theta, (i + 0.5) / count
                    loss += pi[a] * abs(tau - (u < 0)) * (abs(u) - 0.5 if abs(u) > 1 else u**2 / 2) / count
    return loss, loss, values[kind](params[o_tm1])[a_tm1]


@pytest.mark.parametrize("kind", ["scalar", "c51", "qr"])
@pytest.mark.parametrize(
    ("n", "options"),
    [(3, {}), (2, {"double": True}), (1, {"munchausen": Munchausen(0.7, 0.9, -0.8)})],
    ids=["plain", "double", "munchausen"],
)
def test_the_objective_is_a_loop_over_windows(kind: str, n: int, options: dict[str, Any]) -> None:
    """n steps up to an end or a cut, masks, weights, heads: strange states and actions would show."""
    z, sample = np.linspace(-2.0, 2.0, 5), windows(n)
    head = {"scalar": scalar(), "c51": categorical(-2.0, 2.0, 5), "qr": quantile(5)}[kind]
    params, target = np.random.default_rng(7).normal(size=(2, 5, 3, *head.shape))
    expected = [
        of_window(
            *(params, target, jax.tree.map(lambda leaf, b=b: leaf[b], sample.transition), kind, z, 0.9),
            options.get("double", False),
            options.get("munchausen"),
        )
        for b in range(16)
    ]
    with jax.enable_x64(True):
        available = lambda state: jnp.asarray(MASKS)[state]
        run = jax.jit(lambda *arrays: objective(*arrays, TABLE, head, jnp.float64(0.9), available=available, **options))
        loss, (priority, estimate) = run(*jax.tree.map(jnp.asarray, (params, target, sample)))
    losses_, priorities, estimates = (np.array(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(priority, priorities, rtol=1e-9)
    np.testing.assert_allclose(estimate, estimates.mean(), rtol=1e-9)
    np.testing.assert_allclose(loss, (sample.weight.astype(float) * losses_).mean(), rtol=1e-9)


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_updates_by_hand(rate: float) -> None:
    """One number p is the value of both actions; reward 1, gamma 0.5, weights 0.5, step size 1: p <- (p + 1 + t / 2) / 2, and
    t moves after updates 3 and 6. Two environments play 2 steps at a time: a warm-up of 10 is 12 steps."""
    ring = replay.uniform(16)
    memory = ring._replace(  # also remembers the priorities of its slots
        init=lambda *arguments: (ring.init(*arguments), jnp.zeros(16)),
        add=lambda state, block: (ring.add(state[0], block), state[1]),
        sample=lambda key, state, size: ring.sample(key, state[0], size)._replace(weight=jnp.full(size, 0.5)),
        update=lambda state, index, priority: (state[0], state[1].at[index].set(priority)),
    )
    algorithm = dqn(
        endless(7),
        networks.Network(lambda key: jnp.zeros(1), lambda params, observation: jnp.concatenate([params, params])),
        **{"num_envs": 2, "unroll_steps": 2, "num_updates": 4, "batch_size": 16, "warmup": 10, "memory": memory},
        **{"gamma": 0.5, "learning_rate": 1.0, "optimiser": optax.sgd, "head": scalar(losses.squared)},
        **{"target_every": 3, "target_rate": rate, "epsilon": optax.linear_schedule(0.0, 1.0, 100)},
    )
    state, step = jax.jit(algorithm.init)(jax.random.key(0)), jax.jit(algorithm.step)
    assert int(state.learner.steps) == 12
    p = t = 0.0
    errors = []
    for i in range(2):
        state, metrics = step(jax.random.key(i + 1), state)
        for update in range(4 * i + 1, 4 * i + 5):
            errors.append(1 + t / 2 - p)
            p += 0.5 * errors[-1]
            t += rate * (p - t) if update % 3 == 0 else 0.0
        np.testing.assert_allclose(state.learner.params, [p], rtol=1e-6)
        np.testing.assert_allclose(state.learner.target, [t], rtol=1e-6)
        np.testing.assert_allclose(metrics["epsilon"], 0.12 + 0.04 * i, rtol=1e-6)
        np.testing.assert_allclose(metrics["loss"], np.mean(np.square(errors[-4:])) / 4, rtol=1e-5)
    seen = np.asarray(state.learner.memory[1])
    assert np.isclose(seen[:, None], np.abs(errors)).any(axis=1).all() and np.isclose(seen, abs(errors[-1])).any()


@pytest.mark.parametrize("head", [scalar(), categorical(0.0, 9.0, 5), quantile(5)], ids=["scalar", "c51", "qr"])
@pytest.mark.parametrize("options", [{"double": True, "n": 3}, {"munchausen": Munchausen()}], ids=["double", "soft"])
@pytest.mark.parametrize(
    "precision", [True], ids=["float64"], indirect=True
)  # the stricter: float32 would be a mixture
def test_all_variants_compose_under_the_strictest_promotion(
    head: Any, options: dict[str, Any], precision: bool
) -> None:
    """Traced only, with every number traced; the parameters keep their type, and the next state that of the last."""
    sizes = {"num_envs": 2, "unroll_steps": 3, "num_updates": 2, "batch_size": 8}
    network = networks.q_network((4, 9, 2), dueling=True, atoms=head.shape[0] if head.shape else 0, layer_norm=True)

    def step(epsilon, key, gamma, rate, every, blend):
        algorithm = dqn(
            *(envs.TimeLimit(envs.CartPole(), 5), network),
            **{
                "memory": replay.prioritised(60),
                "head": head,
                "gamma": gamma,
                "learning_rate": rate,
                **sizes,
                **options,
            },
            **{"epsilon": epsilon, "target_every": every, "target_rate": blend, "available": lambda o: o[:2] < 9},
        )
        before = algorithm.init(key)
        return before, algorithm.step(jax.random.key(1), before)[0]

    numbers = (jnp.asarray(0.9), jnp.asarray(0.1), jnp.int32(2), jnp.asarray(0.5))
    epsilon = optax.linear_schedule(1.0, 0.1, 9) if "double" in options else jnp.asarray(0.5)
    before, after = jax.eval_shape(functools.partial(step, epsilon), jax.random.key(0), *numbers)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), before, after)))
    assert {leaf.dtype for leaf in jax.tree.leaves(after.learner.params)} == {jnp.result_type(float)}


@pytest.mark.parametrize("memory", [replay.uniform(40), replay.prioritised(40)], ids=["uniform", "prioritised"])
def test_no_step_asks_whether_to_learn(memory: replay.Replay) -> None:
    """The rate of updates is structure, and so is the warm-up."""
    algorithm = dqn(endless(2), TABLE, memory=memory, batch_size=4, warmup=10, num_updates=3, target_every=2)
    program = str(jax.make_jaxpr(lambda key: algorithm.step(key, algorithm.init(key)))(jax.random.key(0)))
    assert "scan[" in program and "cond[" not in program


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": optax.adam}, "expected a Head"),
        ({"double": "yes"}, "double is 'yes'; expected True or False"),
        ({"optimiser": lambda rate: None}, r"optimiser\(learning_rate\) is None"),
        ({"optimiser": optax.adam(0.1)}, "the learning rate is given apart"),
    ],
)
def test_what_is_of_another_kind_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        dqn(endless(2), TABLE, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 5, "batch_size": 1, "memory": replay.uniform(4)}, "n is 5 and the memory holds 4 steps"),
        ({"n": 5, "warmup": 2}, "warmup of at least 4"),
        ({"unroll_steps": 4, "memory": replay.uniform(6)}, "capacity of 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"batch_size": 65, "memory": replay.uniform(64)}, "batch_size is 65 and the memory holds 64"),
        ({"target_every": np.array([1, 2])}, "target_every has shape"),
        ({"epsilon": lambda steps: jnp.ones(2)}, r"epsilon\(steps\) is .*expected a number"),
        ({"available": lambda state: jnp.ones(3, bool)}, r"expected bool\[2\]"),
        ({"available": lambda state: jnp.ones(2)}, r"expected bool\[2\]"),
        ({"munchausen": Munchausen(), "double": True}, "expected one"),
        ({"munchausen": Munchausen(), "n": 2}, "expected n=1"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dqn(endless(2), TABLE, **options)


@pytest.mark.parametrize("penalty", [lambda error: jnp.stack([error, error]), lambda value, target: value])
def test_a_penalty_is_of_one_error(penalty: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"penalty\(error\) is .*expected a number.*losses\.huber"):
        scalar(penalty)


def test_a_network_that_does_not_fit_and_continuous_actions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(2,\)"):
        dqn(envs.CartPole(), networks.mlp((4, 3)))

    class Continuous(envs.CartPole):
        action_space = property(lambda self: spaces.Box(-1.0, 1.0))  # pyright: ignore[reportAssignmentType]

    with pytest.raises(ValueError, match="Discrete"):
        dqn(Continuous(), networks.mlp((4, 2)))


def test_an_environment_need_not_be_a_pytree() -> None:
    class Plain:
        inner = endless(2)
        action_space = inner.action_space
        reset, observe, step = inner.reset, inner.observe, inner.step

    algorithm = dqn(Plain(), TABLE, memory=replay.uniform(16), batch_size=4, warmup=4)
    state = jax.eval_shape(algorithm.init, jax.random.key(0))
    assert state.learner.params.shape == (1, 2)
