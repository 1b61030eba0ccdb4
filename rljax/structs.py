"""Records that travel between the floors, and how an immutable pytree with parameters of its own is declared.

A record of arrays is a NamedTuple; what has defaults, static fields or something to validate is a `pytree_dataclass`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar, cast, dataclass_transform

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def pytree_dataclass(cls: type[_T]) -> type[_T]:
    """A frozen dataclass that is a pytree: its fields are its children, by name, but for those that are marked static.

    What a person makes (the class called, `dataclasses.replace`) runs `__post_init__`, the place for checks. What JAX
    rebuilds does not: a tree of axes, gradients, shapes or tracers has the form of the class and none of its values.

    Static fields, `field(metadata={"static": True})`, are part of the tree's structure: hashable, compared, retraced.

    Example:
      >>> @pytree_dataclass
      ... class Spring:
      ...     stiffness: float | Array
      ...     def __post_init__(self):
      ...         assert isinstance(self.stiffness, jax.Array) or self.stiffness > 0
      >>> axes = jax.tree.map(lambda _: 0, Spring(2.0))
      >>> axes
      Spring(stiffness=0)
      >>> jax.vmap(lambda spring: spring.stiffness / 2, in_axes=(axes,))(Spring(jax.numpy.arange(3.0)))
      Array([0. , 0.5, 1. ], dtype=float32)
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cast(Any, cls))
    static = tuple(f.name for f in fields if f.metadata.get("static"))
    children = tuple(f.name for f in fields if f.name not in static)
    keys = tuple(map(jax.tree_util.GetAttrKey, children))

    def flatten(tree: _T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return tuple(getattr(tree, name) for name in children), tuple(getattr(tree, name) for name in static)

    def flatten_with_keys(tree: _T) -> tuple[tuple[tuple[Any, Any], ...], tuple[Any, ...]]:
        values, fixed = flatten(tree)
        return tuple(zip(keys, values, strict=True)), fixed

    def unflatten(fixed: tuple[Any, ...], values: Iterable[Any]) -> _T:
        tree = object.__new__(cls)
        for name, value in zip(children + static, (*values, *fixed), strict=True):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


class Step(NamedTuple):
    """What an environment answers to an action. It never resets itself: `observation` is that of the arrival state.

    Both ends of an episode may be reported at once; `terminated` (the task ended: the future is worth nothing) and
    `truncated` (the clock ended: the future is worth what it is worth) are different facts.
    """

    observation: Array  # [...] of the state that the action led to
    reward: Array  # [] for arriving there
    terminated: Array  # [] bool
    truncated: Array  # [] bool


class Transition(NamedTuple):
    """One step of interaction. In a rollout every leaf is time-major, [T, N, ...].

    `next_observation` and `next_state` are the true successors, before any reset: value estimates may bootstrap from them.
    """

    observation: Array  # o_{t-1}: what the policy saw
    action: Array  # a_{t-1}
    reward: Array  # r_t
    next_observation: Array  # o_t
    terminated: Array  # bool: no future after this step
    truncated: Array  # bool: the episode was cut here, the future goes on
    valid: Array  # bool: False where the environment did not act on the action (dead, or resetting)
    state: Any  # environment state at the source
    next_state: Any  # environment state on arrival


class Algorithm(NamedTuple):
    """A learner, a search or a planner as pure functions; the one loop (`rljax.train`) runs them all.

    `state` is one pytree with everything the next step needs; `metrics` is a dict of scalars for people to see.
    """

    init: Callable[[Array], Any]  # key -> state
    step: Callable[[Array, Any], tuple[Any, dict[str, Array]]]  # (key, state) -> (state, metrics)
    parameters: Callable[[Any], Any]  # state -> what is worth keeping of it
    act: Callable[[Any, Array, Any], Array]  # (parameters, key, observation) -> action, as it is used once learned
    score: Callable[[Array, Any], Array]  # (key, parameters) -> [] how good they are; more is better
    learner: Learner | None = None  # the part that does not play, if it can be told apart


class Learner(NamedTuple):
    """What an algorithm does with experience, wherever that is from: the loop on the device and the one over Gymnasium's
    environments (`rljax.host`) use the same functions.

    Experience comes in blocks, time-major [T, N, ...]: T consecutive steps of each of N environments, or, with `whole`, N
    whole episodes of at most T steps, the steps behind their ends not `valid`. States are () in it.
    """

    begin: Callable[[Array, Transition], Any]  # (key, what one transition looks like) -> state
    explore: Callable[[Any, Array, Any], Array]  # (state, key, observation) -> action
    learn: Callable[[Array, Any, Transition], tuple[Any, dict[str, Array]]]  # (key, state, block) -> (state, metrics)
    parameters: Callable[[Any], Any]  # state -> what is worth keeping of it
    num_envs: int  # N
    num_steps: int  # T
    whole: bool = False  # blocks are whole episodes
    warmup: int = 0  # blocks at the start that are played by `wander` and only remembered
    wander: Callable[[Array, Any], Array] | None = None  # (key, observation) -> action
    remember: Callable[[Any, Transition], Any] | None = None  # (state, block) -> state
    repeats: int = 1  # blocks in a step of the algorithm, each played by what was learned from those before


def floats(x: ArrayLike) -> Array:
    """Whole numbers as JAX's default floats, floats as they are: in the type of integers, 0.5 would be 0.

    Example:
      >>> floats(jnp.array([1, 2])).dtype.name, floats(jnp.bfloat16(1)).dtype.name
      ('float32', 'bfloat16')

    Errors:
      TypeError: what is no array of numbers, nor a list of them.
    """
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"an array of numbers is expected, or a list of them; got {x!r}.") from error
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"an array of numbers is expected, real ones; got {x!r}.")
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
