"""What learners have in common: numbers that may be schedules, optimisers over one vector, and what all of them refuse on the
host, before anything is compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from rljax import checks
from rljax.envs.base import Environment
from rljax.networks import Network
from rljax.policies import Distribution
from rljax.structs import Transition

Schedule = Callable[[Array], ArrayLike]  # of the number of steps made, [] int32; optax's schedules are such


def at(value: ArrayLike | Schedule, steps: Array, dtype: Any) -> Array:
    """A number, or a schedule's number by now."""
    if not callable(value):
        return jnp.asarray(value, dtype)
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix integers and floats
        return jnp.asarray(value(steps), dtype)


def epsilon(value: Any) -> None:
    """A share of random actions, or a schedule of it."""
    if callable(value):
        schedule("epsilon", value, "optax.linear_schedule(1.0, 0.05, 10_000)")
    else:
        checks.real("epsilon", value, 0, 1)


def schedule(name: str, value: Callable[..., Any], example: str) -> None:
    """A function of the steps so far, to a number. Traced: nothing is computed."""
    number(f"{name}(steps)", value, jnp.int32, f"one of optax's schedules, such as {example}")


def number(name: str, function: Callable[..., Any], kind: Any, example: str) -> None:
    """A function of one number, to a number. Traced: nothing is computed."""
    try:
        with jax.numpy_dtype_promotion("standard"):  # optax's schedules mix integers and floats
            result = jax.eval_shape(lambda x: function(x), jax.ShapeDtypeStruct((), kind))
    except (TypeError, ValueError) as error:
        result = f"no function of one number ({error})"
    if getattr(result, "shape", None) != ():
        raise ValueError(f"{name} is {result}; expected a number, []. Take {example}.")


def transform(optimiser: Any, learning_rate: Any) -> optax.GradientTransformation:
    """What `optimiser` makes of the learning rate."""
    checks.real("learning_rate", learning_rate, 0, above=True, below=True)
    checks.function("optimiser", optimiser, "optax.adam (not optax.adam(0.01): the learning rate is given apart)")
    made = optimiser(learning_rate)
    checks.functions("optimiser(learning_rate)", made, *optax.GradientTransformation._fields)

    def update(updates: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        try:
            return made.update(updates, state, params)
        except TypeError as error:  # while it is traced: which parameters it is for, only the network knows
            if "keyword-only" not in str(error):
                raise
            raise TypeError(
                f"the optimiser cannot update the parameters ({error}); expected one that needs gradients, its state and "
                "parameters alone. Take optax.adam; a line search, as in optax.lbfgs, would need the loss as well."
            ) from error

    return optax.GradientTransformation(made.init, update)


def flattened(optimiser: Callable[..., optax.GradientTransformation]) -> Callable[..., optax.GradientTransformation]:
    """The same optimiser over all parameters as one vector: fewer kernels to compile and to call than one for each array.

    For optimisers that treat every number alike, or by the norm of all. As `optax.flatten`, but each array keeps its type.

    Example:
      >>> state = flattened(optax.adam)(0.1).init({"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)})
      >>> state[0].mu.shape
      (10,)
    """

    @functools.wraps(optimiser)
    def maker(learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        inner = optimiser(learning_rate)
        vector = lambda tree: ravel_pytree(tree)[0]

        def update(updates: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
            flat, back = ravel_pytree(updates)
            change, state = inner.update(flat, state, None if params is None else vector(params))
            return back(jnp.asarray(change)), state

        return optax.GradientTransformation(lambda params: inner.init(vector(params)), update)

    return maker


adam = flattened(optax.adam)


def largest(before: Array, played: Transition) -> Array:
    """[] the largest |r| met so far."""
    return jnp.maximum(before, jnp.abs(played.reward.astype(before.dtype)).max())


def credible(q: Array, first: Array, largest: Array, gamma: ArrayLike) -> Array:
    """A mean action value [], or infinity once it is a hundred times what it began with and what any return can be: the run
    has diverged, though Adam, whose steps have a fixed length, would keep it finite for ever.

        |q| <= 100 (1 + |q_0| + max |r| / (1 - gamma)),    without end where gamma = 1

    Values somewhat beyond any return are common, and pass: van Hasselt et al. (2018), Deep reinforcement learning and the
    deadly triad, "soft divergence".

    Args:
      q: [].
      first: [] q_0, of the network before it has learned; optimism may be larger than any reward that is met.
      largest: [] max |r| so far.
      gamma: discount.

    Example:
      >>> credible(jnp.array([99.0, -2e4]), jnp.float32(0.1), jnp.float32(1.0), 0.99)
      Array([99., inf], dtype=float32)
    """
    rest = 1 - jnp.asarray(gamma, q.dtype)
    scale = rest * (1 + jnp.abs(first).astype(q.dtype)) + largest.astype(q.dtype)
    return jnp.where(jnp.abs(q) * rest <= 100 * scale, q, jnp.inf)


def discrete(env: Environment) -> int:
    """The number of actions of `env`."""
    space = getattr(env, "action_space", None)
    actions = getattr(space, "n", None)
    if actions is None:
        raise ValueError(
            f"the actions of the task are {space}; expected a Discrete space: Q-learning compares all actions."
        )
    return int(actions)


def mask(available: Callable[[Any], Any] | None, observation: Any, actions: int) -> None:
    """A function from an observation to which actions are available, or None. Traced: nothing is computed."""
    if available is None:
        return
    checks.function("available", available, "TabularEnv(...).available")
    given = jax.eval_shape(available, observation)
    if getattr(given, "shape", None) != (actions,) or given.dtype != bool:
        raise ValueError(
            f"available(observation) is {given}; expected bool[{actions}], True where an action may be taken."
        )


def fit(env: Environment, network: Network, atoms: tuple[int, ...], available: Callable[[Any], Any] | None) -> int:
    """The number of actions of `env`, if the network's output is [actions, *atoms]. Traced: nothing is computed."""
    actions = discrete(env)
    key = jax.random.key(0)
    params, observation = jax.eval_shape(network.init, key), jax.eval_shape(lambda key: env.reset(key)[1], key)
    output = jax.eval_shape(network.apply, params, observation)
    expected = (actions, *atoms)
    if getattr(output, "shape", None) != expected:
        raise ValueError(
            f"the network's output has shape {getattr(output, 'shape', output)}; expected {expected}: one entry for each "
            "action, and as many numbers in each as the head has atoms. Take networks.q_network with such sizes."
        )
    mask(available, observation, actions)
    return actions


def fit_distribution(env: Environment, network: Network, distribution: Distribution) -> None:
    """The network's output is the parameter of a distribution over the actions of `env`. Traced: nothing is computed.

    Asked by way of a mask, which has one entry for each action: a third logit would be sampled, clamped and trained.
    """
    # All by arguments, so that JAX's cache of traces answers from the second time on: a sweep makes hundreds of algorithms.
    key = jax.random.key(0)
    parameters, observation = jax.eval_shape(network.init, key), jax.eval_shape(_first_observation, env, key)
    parameter = jax.eval_shape(network.apply, parameters, observation)
    actions = getattr(env.action_space, "n", None)  # a continuous space has no such number, and no mask
    mask = None if actions is None else jax.ShapeDtypeStruct((int(actions),), bool)
    try:
        jax.eval_shape(distribution.entropy, parameter, mask)
    except ValueError as error:
        raise ValueError(
            f"the network's output has shape {parameter.shape}; expected the parameter of a distribution over the actions "
            f"of {env.action_space} ({error}). Take policies.bernoulli and one logit for two actions, or "
            "policies.categorical and one for each."
        ) from error


def fit_baseline(env: Environment, baseline: Network) -> None:
    """The baseline's output is one value []. Traced: nothing is computed."""
    key = jax.random.key(0)
    parameters, observation = jax.eval_shape(baseline.init, key), jax.eval_shape(_first_observation, env, key)
    output = jax.eval_shape(baseline.apply, parameters, observation)
    if getattr(output, "shape", None) != ():
        raise ValueError(
            f"the baseline's output has shape {getattr(output, 'shape', output)}; expected one value, (). Take networks.mlp "
            "with a last size of 1."
        )


def _first_observation(env: Environment, key: Array) -> Any:
    return env.reset(key)[1]
