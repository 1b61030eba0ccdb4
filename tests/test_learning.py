"""Every learner learns every probe that it can be asked to learn, in so many steps, with each of 16 seeds.

| learner                       | must know         | in steps | but not                                                  |
|-------------------------------|-------------------|----------|----------------------------------------------------------|
| random search, hill climbing, | best actions      | 50 880   | values: they have none                                   |
| genetic, evolution strategy   |                   |          |                                                          |
| REINFORCE                     | best actions      | 12 800   | values: it has none without a baseline                   |
| REINFORCE, baseline           | v*, best actions  | 12 800   | `time_limit`: returns end with the play, by clock or not |
| DQN                           | q*, best actions  | 4800     |                                                          |
| DQN, C51, three steps         | q*, best actions  | 4800     | q of `stochastic_chain`: it is of the actions taken      |
| DQN, QR, double, dueling      | q*, best actions  | 4800     |                                                          |
| DQN, Munchausen, prioritised  | v*, best actions  | 4800     | q of other actions: being sure of another one pays       |
| PQN, lambda 0                 | q*, best actions  | 6400     |                                                          |
| linear Q                      | q*, best actions  | 8000     |                                                          |
| Q-learning, double, curious   | q*, best actions  | 6000     |                                                          |
| Watkins' Q(lambda)            | q*, best actions  | 6000     |                                                          |
| Dyna-Q                        | q*, best actions  | 6000     | q of `stochastic_chain`: it knows the last outcome only  |
| SARSA, expected, n, lambda    | q of what it does | 6000     | best actions: it explores, and judges just that          |
| TD(0), n-step, TD(lambda)     | v of what it does | 6000     | actions: it only judges                                  |

Steps are of the environment, at most, with one seed in one probe; one program is all probes with all seeds. Planners do not
learn: test_planning.py holds them against linear solves.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax import agents, envs, features, losses, mdp, networks, policies, replay
from rljax.agents import tabular
from rljax.agents.dqn import Munchausen, categorical, quantile, scalar
from rljax.agents.search_methods import Method
from rljax.envs import probes
from rljax.mdp import evaluation
from rljax.structs import Algorithm, pytree_dataclass

GAMMA, SEEDS = 0.5, 16
STATES = jnp.arange(probes.NUM_STATES, dtype=jnp.int32)


@functools.cache
def every_probe() -> dict[str, probes.Probe]:
    return probes.every(GAMMA)


class Case(NamedTuple):
    """A learner, and what is asked of it."""

    make: Callable[[probes.Probe], Algorithm]
    updates: int  # steps of the algorithm
    values: Callable[[Any], jax.Array] | None = None  # parameters -> [S, A] or [S]
    of: str = "optimal"  # policy whose values they are: optimal, uniform; "best": max_a q alone
    acts: bool = True  # it knows what to do
    without: tuple[str, ...] = ()  # probes whose values are not asked for
    tolerance: float = 0.1  # of values; the mistakes that probes are there for make a difference of 0.3 at least
    effort: int = 0  # of XLA when it compiles: what then runs for a second or less is sooner done with little


def over_states(network: networks.Network) -> Callable[[Any], jax.Array]:
    return lambda params: jax.vmap(network.apply, (None, 0))(params, STATES)


def reinforce(baseline: bool = False) -> Case:
    updates = 100
    policy = networks.one_hot(4, networks.linear(4, 2))
    value = networks.one_hot(4, networks.mlp((4, 1)))
    make = lambda probe: agents.reinforce(
        probe,
        policy,
        distribution=policies.categorical,
        episodes_per_update=8,
        max_steps=16,
        gamma=GAMMA,
        learning_rate=0.1,
        optimiser=lambda rate: optax.adam(optax.linear_schedule(rate, 0.0, updates)),
        baseline=value if baseline else None,
    )
    if not baseline:
        return Case(make, updates)
    read = lambda params: over_states(value)(params.baseline)
    return Case(make, updates, read, without=("time_limit",), tolerance=0.15)


def search(method: Method) -> Case:
    """Returns are not discounted: in few steps only, it matters how soon one arrives."""
    policy = networks.one_hot(4, networks.mlp((4, 2)))
    make = lambda probe: agents.policy_search(
        probe,
        policy,
        method,
        distribution=policies.categorical,
        episodes=16,
        finalists=4,
        final_episodes=64,
        max_steps=6,
    )
    return Case(make, 10)


def deep(
    of: str = "optimal", without: tuple[str, ...] = (), network: Any = None, effort: int = 0, **options: Any
) -> Case:
    blocks = 300
    net = networks.one_hot(4, networks.q_network((4, 24, 2), **(network or {})))
    head = options.get("head", scalar())
    make = lambda probe: agents.dqn(
        probe,
        net,
        **{
            "num_envs": 4,
            "unroll_steps": 4,
            "batch_size": 32,
            "memory": replay.uniform(16 * blocks),
            "warmup": 0,
            "gamma": GAMMA,
            "learning_rate": 0.01,
            "optimiser": lambda rate: optax.adam(optax.linear_schedule(rate, 0.0, blocks)),
            "epsilon": 0.5,
            "target_every": 5,
            **options,
        },
    )
    values = lambda params: jax.vmap(head.values)(over_states(net)(params))
    return Case(make, blocks, values, of, without=without, tolerance=0.15, effort=effort)


def pqn() -> Case:
    blocks = 100
    net = networks.one_hot(4, networks.q_network((4, 24, 2), layer_norm=True))
    make = lambda probe: agents.pqn(
        probe,
        net,
        num_envs=8,
        unroll_steps=8,
        epochs=2,
        minibatches=2,
        lambda_=0.0,
        gamma=GAMMA,
        learning_rate=0.01,
        optimiser=lambda rate: optax.adam(optax.linear_schedule(rate, 0.0, 4 * blocks)),
        epsilon=0.5,
    )
    return Case(make, blocks, over_states(net), tolerance=0.15)


def linear() -> Case:
    make = lambda probe: agents.linear_q(
        probe,
        features.one_hot(4),
        num_envs=4,
        gamma=GAMMA,
        learning_rate=lambda steps: 1.0 / (1.0 + 0.005 * steps),
        epsilon=0.5,
    )
    return Case(make, 20, lambda weights: weights.T)


def table(rule: tabular.Rule, *, of: str = "optimal", without: tuple[str, ...] = (), **options: Any) -> Case:
    make = lambda probe: agents.control(probe, rule, **{"step_size": "visits", **options})
    return Case(make, 60, lambda q: q, of, acts=of == "optimal", without=without)


def prediction(**options: Any) -> Case:
    uniform = jnp.full((4, 2), 0.5)
    make = lambda probe: agents.predict(probe, uniform, **{"step_size": "visits", **options})
    return Case(make, 60, lambda v: v, "uniform", acts=False)


CASES = {
    "reinforce": reinforce(),
    "reinforce, baseline": reinforce(baseline=True),
    "random_search": search(agents.random_search(32)),
    "hill_climbing": search(agents.hill_climbing(32)),
    "genetic": search(agents.genetic(32, 8)),
    "evolution_strategy": search(agents.evolution_strategy(33)),
    "dqn": deep(head=scalar(losses.squared)),
    "dqn, c51, three steps": deep(
        effort=1, network={"atoms": 11}, head=categorical(-2.0, 3.0, 11), n=3, without=("stochastic_chain",)
    ),
    "dqn, quantiles, double, dueling": deep(
        effort=1, network={"atoms": 8, "dueling": True}, head=quantile(8, delta=0.1), double=True
    ),
    "dqn, munchausen, prioritised": deep(
        "best", effort=1, munchausen=Munchausen(), memory=replay.prioritised(800, beta=1.0)
    ),
    "pqn": pqn(),
    "linear_q": linear(),
    "q_learning": table(tabular.q_learning),
    "double_q_learning": table(tabular.double_q_learning, step_size=tabular.harmonic(0.5, 0.01)),
    "curious": table(tabular.curious(1.0)),
    "q_learning, traces": table(tabular.q_learning, trace_decay=0.8),
    "dyna_q": table(tabular.q_learning, planning_steps=3, without=("stochastic_chain",)),
    "sarsa": table(tabular.sarsa, of="uniform"),
    "expected_sarsa": table(tabular.expected_sarsa, of="uniform"),
    "sarsa, three steps": table(tabular.sarsa, n=3, of="uniform"),
    "sarsa, traces": table(tabular.sarsa, trace_decay=0.8, of="uniform"),
    "td": prediction(),
    "td, three steps": prediction(n=3),
    "td, traces": prediction(trace_decay=0.8),
}


def learned(case: Case, worlds: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """[P, 16, ...] values and [P, 16, S] actions after training in each of P worlds, all in one program."""

    def one(key: jax.Array, world: Any) -> tuple[jax.Array, jax.Array]:
        algorithm = case.make(world)
        key_init, key_learn, key_act = jax.random.split(key, 3)
        step = lambda state, t: (algorithm.step(jax.random.fold_in(key_learn, t), state)[0], None)
        state, _ = jax.lax.scan(step, algorithm.init(key_init), jnp.arange(case.updates))
        params = algorithm.parameters(state)
        keys = jax.random.split(key_act, len(STATES))
        actions = jax.vmap(algorithm.act, (None, 0, 0))(params, keys, STATES)
        return (jnp.zeros(0) if case.values is None else case.values(params)), actions

    members = jax.tree.map(lambda *leaves: jnp.repeat(jnp.stack(leaves), SEEDS, axis=0), *worlds)
    keys = jax.random.split(jax.random.key(0), len(worlds) * SEEDS)
    train = jax.jit(jax.vmap(one), compiler_options={"xla_backend_optimization_level": case.effort})
    return jax.tree.map(
        lambda leaf: np.asarray(leaf).reshape(len(worlds), SEEDS, *leaf.shape[1:]), train(keys, members)
    )


def answer(probe: probes.Probe, of: str) -> np.ndarray:
    """[S, A] the values of a policy."""
    if of != "uniform":
        return np.asarray(probe.optimal_q)
    model = envs.mdp_from_env(probe)
    v = evaluation.evaluate(model, jnp.full((4, 2), 0.5))
    return np.asarray(mdp.q_values(model, v))


@pytest.mark.parametrize("name", CASES)
def test_it_learns_the_probes(name: str) -> None:
    case = CASES[name]
    worlds = every_probe()
    values, actions = learned(case, list(worlds.values()))
    for (probe_name, probe), value, action in zip(worlds.items(), values, actions, strict=True):
        met = np.asarray(probe.met)
        if case.acts:
            best = np.asarray(probe.optimal_action)[np.arange(4), action]  # [16, S]
            assert best[:, met].all(), (
                f"{probe_name}: {(~best[:, met].all(axis=1)).sum()} of {SEEDS} seeds act otherwise"
            )
        if case.values is None or probe_name in case.without:
            continue
        q = answer(probe, case.of)
        if case.of == "best":
            value, q = value.max(axis=-1), q.max(axis=-1)
        elif value.ndim == 2:  # [16, S]
            q = q.mean(axis=-1) if case.of == "uniform" else q.max(axis=-1)
        error = np.abs(value - q)[:, met].reshape(SEEDS, -1).max(axis=1)
        assert error.max() < case.tolerance, (
            f"{probe_name}: {(error >= case.tolerance).sum()} of {SEEDS} seeds, by {error.max():.3f}"
        )


@pytree_dataclass
class Dead:
    """A world whose clock is said to kill: the mistake that `time_limit` is there to find."""

    inner: Any

    @property
    def action_space(self) -> Any:
        return self.inner.action_space

    def reset(self, key: jax.Array) -> Any:
        return self.inner.reset(key)

    def observe(self, state: Any) -> Any:
        return self.inner.observe(state)

    def step(self, key: jax.Array, state: Any, action: jax.Array) -> Any:
        state, step = self.inner.step(key, state, action)
        return state, step._replace(terminated=step.terminated | step.truncated)


def test_a_limit_taken_for_a_death_is_found_out() -> None:
    values, _ = learned(CASES["q_learning"], [Dead(every_probe()["time_limit"])])
    np.testing.assert_allclose(values[0, :, 0], 4 / 3, atol=0.1)


def test_every_learner_is_here() -> None:
    """What `agents` exports but planners."""
    makers = {name for name in vars(agents) if callable(getattr(agents, name))} - {
        "average_planner",
        "planner",
        "policy_search",
    }
    tables = {"control": "q_learning", "predict": "td"}
    assert {tables.get(name, name) for name in makers} <= set(CASES)
