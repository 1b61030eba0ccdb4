"""Learning in tables from single steps of experience: temporal differences, SARSA, Q-learning and their relatives.

One mechanism. After every step of the environment, from S_{t-1} by A_{t-1} to R_t, S_t, with step size alpha,

    delta     = target_t - Q(S_{t-1}, A_{t-1})                 target: the `Rule`, from `rljax.backups`
    Q(s, a)  <- Q(s, a) + alpha delta E(s, a)                  E: 1 at (S_{t-1}, A_{t-1}), or traces
    E        <- gamma lambda E

and options that compose:

| algorithm                      | call                                                                |
|--------------------------------|---------------------------------------------------------------------|
| TD(0), n-step TD, TD(lambda)   | `predict(env, policy)`, with `n=`, with `trace_decay=`              |
| SARSA, SARSA(lambda)           | `control(env, sarsa)`, with `trace_decay=`                          |
| expected SARSA                 | `control(env, expected_sarsa)`                                      |
| Q-learning, Watkins' Q(lambda) | `control(env, q_learning)`, with `trace_decay=`                     |
| double Q-learning              | `control(env, double_q_learning)`                                   |
| Dyna-Q                         | `control(env, q_learning, planning_steps=10)`                       |
| curious Q-learning             | `control(env, curious(kappa))`, `exploration=by_counts(kappa)`      |

Departures from the books (Sutton & Barto, 2018; Geron, 2022, ch. 18):

1. Unavailable actions hold 0 in the tables, not -inf, and masks keep them out of every choice and every maximum.
2. Learners that do not need the next action for their target draw it after the update (as in the books); those that do
   (SARSA, Watkins' traces) before it. After a reset it is drawn in the new state.
3. n-step updates are made n - 1 steps late, in the next episode if need be; the book makes up for them when one ends.
4. n-step targets of Q-learning are not corrected for exploratory actions in between.
5. Dyna's model remembers the last outcome of each state and action; the pairs it replays are drawn uniformly from those
   met so far, not a state first and then an action.
6. Double Q-learning explores by the mean of its two tables, the book by their sum: the same, but for softmax and counts.
7. A truncated episode cuts traces and n-step targets, and keeps the bootstrap; the books have no time limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from rljax import backups, checks, noise, policies
from rljax.agents import tabular_core as core
from rljax.agents.common import Schedule, at
from rljax.agents.tabular_core import Arrival as Arrival
from rljax.agents.tabular_core import Rule
from rljax.agents.tabular_core import TabularState as TabularState
from rljax.agents.tabular_core import recorded as recorded
from rljax.envs.base import Environment
from rljax.envs.tabular import mdp_from_env
from rljax.mdp import evaluation, operators
from rljax.mdp.model import TabularMDP
from rljax.structs import Algorithm

Exploration = Callable[[Array, Array, Array, Array], Array]  # (q [A], n [A], mask [A], steps []) -> probabilities [A]


sarsa = Rule(lambda x: backups.sarsa_target(x.r_t, x.discount_t, x.q_t, x.a_t), ahead=True)
"""Worth what the next action is worth."""

expected_sarsa = Rule(lambda x: backups.expected_sarsa_target(x.r_t, x.discount_t, x.q_t, x.pi_t))
"""Worth what the next action is worth on average, as one explores."""

q_learning = Rule(lambda x: backups.q_learning_target(x.r_t, x.discount_t, x.q_t, x.mask_t), greedy=True)
"""Worth what the best next action is worth."""

double_q_learning = Rule(
    lambda x: backups.double_q_learning_target(x.r_t, x.discount_t, x.q_t, x.other_t, x.mask_t),
    greedy=True,
    double=True,
)
"""Worth what the best next action by one table is worth by the other."""


def curious(kappa: ArrayLike) -> Rule:
    """Q-learning in which what was seldom tried counts as better than it seems, by kappa / (1 + N)."""
    return Rule(lambda x: backups.count_bonus_target(x.r_t, x.discount_t, x.q_t, x.n_t, kappa, x.mask_t), greedy=True)


_value = Rule(lambda x: backups.td_target(x.r_t, x.discount_t, x.q_t[0]))


def harmonic(initial: ArrayLike, decay: ArrayLike) -> Schedule:
    """The chapter's step sizes: alpha_k = initial / (1 + k decay), k = 0, 1, ...; both may be traced.

    Example:
      >>> float(harmonic(0.05, 0.005)(jnp.int32(200)))
      0.025
    """
    checks.real("initial", initial, 0)
    checks.real("decay", decay, 0)
    return lambda count: jnp.asarray(initial / (1.0 + decay * count.astype(jnp.result_type(float))))


def uniform() -> Exploration:
    """All available actions alike: the chapter's exploration policy for Q-learning."""
    return lambda q, n, mask, steps: _normalised(mask.astype(q.dtype))


def epsilon_greedy(epsilon: ArrayLike | Schedule) -> Exploration:
    """With probability epsilon uniform, else the best, any of equals; epsilon by a number or a schedule of steps."""
    _number("epsilon", epsilon, 0, 1)

    def explore(q: Array, n: Array, mask: Array, steps: Array) -> Array:
        share = at(epsilon, steps, q.dtype)
        return share * _normalised(mask.astype(q.dtype)) + (1.0 - share) * _best(q, mask)

    return explore


def softmax(temperature: ArrayLike | Schedule) -> Exploration:
    """In proportion to exp(q / temperature); the temperature by a number or a schedule of steps."""
    if not callable(temperature):
        checks.real("temperature", temperature, 0, above=True)
    return lambda q, n, mask, steps: policies.softmax(q, at(temperature, steps, q.dtype), mask)


def by_counts(kappa: ArrayLike | Schedule) -> Exploration:
    """The best by f(q, n) = q + kappa / (1 + n), any of equals: what was seldom tried is tried."""
    _number("kappa", kappa, 0, jnp.inf)

    def explore(q: Array, n: Array, mask: Array, steps: Array) -> Array:
        return _best(backups.with_count_bonus(q, n, at(kappa, steps, q.dtype)), mask)

    return explore


def control(
    env: Environment,
    rule: Rule = q_learning,
    *,
    exploration: Exploration | None = None,
    step_size: ArrayLike | Schedule | Literal["visits"] = 0.05,
    gamma: ArrayLike | None = None,
    n: int = 1,
    trace_decay: ArrayLike | None = None,
    traces: Literal["accumulating", "replacing"] = "accumulating",
    planning_steps: int = 0,
    initial_value: ArrayLike = 0.0,
    steps_per_update: int = 100,
    history: int = 0,
    q_star: Array | None = None,
    regret: bool = False,
) -> Algorithm:
    """Learn action values, and by them what to do.

    Args:
      env: a `TabularEnv`, or one in wrappers.
      rule: `sarsa`, `expected_sarsa`, `q_learning`, `double_q_learning`, `curious(kappa)`, or one of your own.
      exploration: `uniform()` (default), `epsilon_greedy`, `softmax`, `by_counts`, or one of your own.
      step_size: alpha, a number or a schedule of the number of steps: `harmonic`, optax's; or "visits": 1 / N(s, a).
      gamma: discount in [0, 1]; default: the model's.
      n: rewards in a target.
      trace_decay: lambda in [0, 1]; None: no traces.
      traces: "accumulating" visits, or "replacing" them by the last.
      planning_steps: updates from Dyna's model after each step.
      initial_value: of every available action; above what is possible, it makes for exploration.
      steps_per_update: environment steps in one step of the algorithm.
      history: H, how many tables to keep, one for each step of the algorithm, the last ones.
      q_star: [S, A] the optimal action values (planners give them); then `error` is among the metrics.
      regret: also how much worse than optimal the greedy policy is; solves S linear equations, S^3 a step. Needs `q_star`.

    Every number but the sizes may be traced.

    Returns:
      `Algorithm`; parameters are Q [S, A]; metrics are `mean_reward` of the steps, `error` = max |Q - Q*| over available
      actions of states that are not terminal, `regret` = sum_s initial(s) (V*(s) - V_greedy(s)). The score of parameters
      is the exact value of their greedy policy, sum_s initial(s) V_greedy(s); [S, S] numbers must fit in memory.

    Errors:
      ValueError, TypeError: numbers out of range, options that do not go together.

    Example:
      >>> from rljax import mdp
      >>> from rljax.envs import TabularEnv
      >>> world = mdp.TabularMDP(jnp.array([[[1.0], [1.0]]]), jnp.array([[1.0, 2.0]]), gamma=0.5)
      >>> algorithm = control(TabularEnv(world), step_size=0.5)
      >>> state, metrics = algorithm.step(jax.random.key(0), algorithm.init(jax.random.key(1)))
      >>> algorithm.parameters(state).round(2).tolist()
      [[3.0, 4.0]]

    Watkins (1989); Sutton & Barto (2018), ch. 6-8, 12; Geron (2022), ch. 18, "Q-learning".
    """
    model = mdp_from_env(env)
    if not isinstance(rule, Rule):
        raise TypeError(
            f"rule is {rule!r}; expected a Rule: tabular.q_learning, tabular.sarsa and so on, or tabular.curious(kappa), with "
            "its brackets."
        )
    if rule.double and (n > 1 or trace_decay is not None or planning_steps):
        raise ValueError("two tables go with one-step targets alone; expected n=1, no trace_decay, no planning_steps.")
    if rule.ahead and planning_steps:
        raise ValueError(
            "the rule looks at the next action, and a model has none; expected expected_sarsa or q_learning."
        )
    if regret and q_star is None:
        raise ValueError("regret is asked for and q_star is None; expected the optimal values to compare with.")
    if q_star is not None:
        checks.same_shape(q_star=q_star, mask=model.mask)
    explore = uniform() if exploration is None else exploration
    _explores(explore, model)
    options = core.Options(
        rule=rule,
        behaviour=lambda q, n, s, steps: explore(q, n, model.mask[s], steps),
        mask=model.mask,
        **_checked(step_size, model.gamma if gamma is None else gamma, n, trace_decay, traces, planning_steps),
    )
    checks.real("initial_value", initial_value, above=True, below=True, batch=True)
    table = jnp.where(model.mask, jnp.asarray(initial_value, model.dtype), 0.0)

    def worth(q: Array) -> Array:
        return jnp.vdot(model.initial, evaluation.evaluate(model, jax.vmap(policies.greedy)(q, model.mask)))

    def report(q: Array) -> dict[str, Array]:
        if q_star is None:
            return {}
        looked_at = model.mask & ~model.terminal[:, None]
        metrics = {"error": jnp.max(jnp.abs(q - jnp.asarray(q_star)), where=looked_at, initial=0.0)}
        if regret:
            best = jnp.where(
                model.terminal, 0.0, jnp.max(jnp.asarray(q_star), axis=1, where=model.mask, initial=-jnp.inf)
            )
            metrics["regret"] = jnp.vdot(model.initial, best) - worth(q)
        return metrics

    def act(q: Array, key: Array, observation: Array) -> Array:
        del key
        return policies.greedy(q[observation], model.mask[observation])

    init, step, parameters = _functions(env, options, table, steps_per_update, history, report)
    return Algorithm(init, step, parameters, act, lambda key, q: worth(q))


def predict(
    env: Environment,
    policy: Array,
    *,
    step_size: ArrayLike | Schedule | Literal["visits"] = 0.05,
    gamma: ArrayLike | None = None,
    n: int = 1,
    trace_decay: ArrayLike | None = None,
    traces: Literal["accumulating", "replacing"] = "accumulating",
    initial_value: ArrayLike = 0.0,
    steps_per_update: int = 100,
    history: int = 0,
    v_star: Array | None = None,
    optimal: Array | None = None,
) -> Algorithm:
    """Learn what the states are worth under a policy.

        V(S_{t-1}) <- V(S_{t-1}) + alpha (R_t + gamma V(S_t) - V(S_{t-1}))

    Args:
      env: a `TabularEnv`, or one in wrappers.
      policy: [S] actions, or [S, A] probabilities; nothing on unavailable actions.
      step_size, gamma, n, trace_decay, traces, initial_value, steps_per_update, history: as in `control`, with N(s).
      v_star: [S] the policy's values (`mdp.evaluation.evaluate` gives them); then `error` is among the metrics.
      optimal: [S] the best policy's (planners give them); then `regret` is: of the policy that is greedy in V by the model.

    Returns:
      `Algorithm`; parameters are V [S]; metrics are `mean_reward`, `error` = max |V - v_star| over states that are not
      terminal and `regret`, as of `control`, by S linear equations a step; `act` is the policy. The score is minus the
      largest error against the exact values, by S linear equations as well.

    Errors:
      ValueError, TypeError: numbers out of range, shapes, a policy that takes unavailable actions.

    Example:
      >>> from rljax import mdp
      >>> from rljax.envs import TabularEnv
      >>> world = mdp.TabularMDP(jnp.array([[[1.0]]]), jnp.array([2.0]), gamma=0.5)
      >>> algorithm = predict(TabularEnv(world), jnp.array([0]), step_size=0.5)
      >>> state, metrics = algorithm.step(jax.random.key(0), algorithm.init(jax.random.key(1)))
      >>> algorithm.parameters(state).round(2).tolist()
      [4.0]

    Sutton (1988); Sutton & Barto (2018), ch. 6, 7, 12; Geron (2022), ch. 18, "Temporal difference learning".
    """
    model = mdp_from_env(env)
    probabilities = _probabilities(policy, model)
    options = core.Options(
        rule=_value,
        behaviour=lambda q, n, s, steps: probabilities[s],
        mask=jnp.ones((model.num_states, 1), bool),
        predict=True,
        **_checked(step_size, model.gamma if gamma is None else gamma, n, trace_decay, traces, 0),
    )
    checks.real("initial_value", initial_value, above=True, below=True, batch=True)
    table = jnp.full((model.num_states, 1), initial_value, model.dtype)

    def error(v: Array, true: Array) -> Array:
        return jnp.max(jnp.abs(v - true), where=~model.terminal, initial=0.0)

    def act(v: Array, key: Array, observation: Array) -> Array:
        del v
        return core.draw(noise.uniforms(key, 1)[0], probabilities[observation])

    def score(key: Array, v: Array) -> Array:
        del key
        return -error(v, evaluation.evaluate(model, probabilities))

    def report(v: Array) -> dict[str, Array]:
        metrics = {} if v_star is None else {"error": error(v, jnp.asarray(v_star))}
        if optimal is not None:
            worse = jnp.asarray(optimal) - evaluation.evaluate(model, operators.greedy(model, v))
            metrics["regret"] = jnp.vdot(model.initial, jnp.where(model.terminal, 0.0, worse))
        return metrics

    for name, values in (("v_star", v_star), ("optimal", optimal)):
        if values is not None:
            checks.same_shape(**{name: values}, states=model.terminal)
    init, step, parameters = _functions(env, options, table, steps_per_update, history, report)
    return Algorithm(init, step, parameters, act, score)


def _functions(
    env: Environment,
    options: core.Options,
    table: Array,
    steps_per_update: int,
    history: int,
    report: Callable[[Array], dict[str, Array]],
) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """`init`, `step` and `parameters` of an `Algorithm`."""
    checks.integer("steps_per_update", steps_per_update, 1)
    checks.integer("history", history, 0)

    def init(key: Array) -> TabularState:
        return core.start(key, env, options, table, history)

    def step(key: Array, state: TabularState) -> tuple[TabularState, dict[str, Array]]:
        state, reward = core.advance(key, env, options, state, steps_per_update)
        return state, {"mean_reward": reward, **report(parameters(state))}

    def parameters(state: TabularState) -> Array:
        return core.learned(options, state.q)

    return init, step, parameters


def _checked(
    step_size: Any, gamma: ArrayLike, n: int, trace_decay: ArrayLike | None, traces: str, planning_steps: int
) -> dict[str, Any]:
    if isinstance(step_size, str):
        checks.choice("step_size", step_size, ("visits",))
    else:
        _number("step_size", step_size, 0, jnp.inf)
    checks.real("gamma", gamma, 0, 1)
    checks.integer("n", n, 1)
    checks.integer("planning_steps", planning_steps, 0)
    checks.choice("traces", traces, ("accumulating", "replacing"))
    if trace_decay is not None:
        checks.real("trace_decay", trace_decay, 0, 1)
    if (n > 1) + (trace_decay is not None) + (planning_steps > 0) > 1:
        raise ValueError("n, trace_decay and planning_steps are three ways to look further; expected one at most.")
    return {
        "step_size": step_size,
        "gamma": gamma,
        "n": n,
        "trace_decay": trace_decay,
        "replacing": traces == "replacing",
        "planning_steps": planning_steps,
    }


def _explores(exploration: Any, model: TabularMDP) -> None:
    """A function from values, counts, mask and steps to probabilities. Traced: nothing is computed."""
    q, n, mask = (jax.ShapeDtypeStruct((model.num_actions,), kind) for kind in (model.dtype, jnp.int32, jnp.bool_))
    try:
        found = jax.eval_shape(exploration, q, n, mask, jax.ShapeDtypeStruct((), jnp.int32))
    except TypeError as error:
        found = f"no such function ({error})"
    if getattr(found, "shape", None) != q.shape:
        raise TypeError(
            f"exploration(q, n, mask, steps) is {found}; expected probabilities {list(q.shape)}. Take tabular.uniform() or "
            "tabular.epsilon_greedy(0.1), with its brackets."
        )


def _probabilities(policy: ArrayLike, model: TabularMDP) -> Array:
    """[S, A]."""
    policy = operators.checked(model, policy)
    return jax.nn.one_hot(policy, model.num_actions, dtype=model.dtype) if policy.ndim == 1 else policy


def _number(name: str, value: ArrayLike | Schedule, low: float, high: float) -> None:
    if not callable(value):
        checks.real(name, value, low, high, below=high == jnp.inf)


def _normalised(weight: Array) -> Array:
    return weight / jnp.maximum(weight.sum(), 1.0)


def _best(value: Array, mask: Array) -> Array:
    """[A] probabilities, even among equals: who always took the first would not explore at all before anything is learned."""
    highest = jnp.max(value, where=mask, initial=-jnp.inf)
    return _normalised(((value == highest) & mask).astype(value.dtype))
