"""Function approximators as pairs of pure functions. Any other `(init, apply)` pair of the same shape serves as well.

    params = network.init(key)
    output = network.apply(params, observation)        one observation; batches are the caller's `vmap`

Weights start Glorot-uniform and biases at zero, as in Keras and so in the chapter.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from rljax import checks


class Network(NamedTuple):
    """A function with parameters."""

    init: Callable[[Array], Any]  # key -> params
    apply: Callable[[Any, Array], Array]  # (params, observation) -> output


def from_flax(module: Any, observation: Any) -> Network:
    """A Flax (linen) module as a `Network`; an nnx module takes five lines more, see tests/test_networks.py.

    Args:
      module: with `init(key, observation)` and `apply(variables, observation)`.
      observation: one example.

    Example:
      >>> import flax.linen as nn
      >>> network = from_flax(nn.Sequential([nn.Dense(8), nn.tanh, nn.Dense(2)]), jnp.zeros(4))
      >>> network.apply(network.init(jax.random.key(0)), jnp.zeros(4)).shape
      (2,)
    """
    return Network(lambda key: module.init(key, observation), module.apply)


def elu(x: Array) -> Array:
    """Exponential linear unit, as Keras computes it: x where x > 0, else exp(x) - 1.

    `jax.nn.elu` takes expm1: more exact within 1e-7 of zero, where nobody looks, and twice the cost of the exponential.

    Example:
      >>> [round(float(elu(jnp.float32(x))), 3) for x in (-1, 0, 2)]
      [-0.632, 0.0, 2.0]
    """
    return jnp.where(x > 0, x, jnp.exp(jnp.where(x > 0, 0, x)) - 1)  # inside too, so that no overflow meets a gradient


def mlp(sizes: Sequence[int], activation: Callable[[Array], Array] = elu) -> Network:
    """Multi-layer perceptron.

        h_0 = o,    h_k = activation(h_{k-1} W_k + b_k),    output = h_{K-1} W_K + b_K

    Args:
      sizes: inputs, hidden widths, outputs; a last size of 1 gives a scalar output [], not [1].
      activation: of the hidden layers, element by element; `elu` is the chapter's.

    Returns:
      `Network` from [sizes[0]] to [sizes[-1]] or [].

    Errors:
      ValueError: fewer than two sizes or one below 1; an observation of another size than `sizes[0]`; parameters of
        another network.

    Example:
      >>> network = mlp((4, 64, 64, 2))
      >>> network.apply(network.init(jax.random.key(0)), jnp.zeros(4)).shape
      (2,)
    """
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes is {sizes}; expected at least two: inputs and outputs.")
    for i, size in enumerate(sizes):
        checks.integer(f"sizes[{i}]", size, 1)
    shapes = tuple(itertools.pairwise(sizes))

    def init(key: Array) -> Any:
        checks.key(key)
        keys = jax.random.split(key, len(shapes))
        glorot = jax.nn.initializers.glorot_uniform()
        return [
            {"kernel": glorot(k, shape), "bias": jnp.zeros(shape[1])} for k, shape in zip(keys, shapes, strict=True)
        ]

    def apply(params: Any, observation: Array) -> Array:
        if observation.shape != sizes[:1]:
            raise ValueError(
                f"an observation of shape {observation.shape} was given to a network of {sizes[0]} inputs; "
                f"expected ({sizes[0]},). For a batch, wrap apply in jax.vmap; else change sizes[0]."
            )
        given = tuple(layer["kernel"].shape for layer in params)
        if given != shapes:  # a narrow layer would take the corner of a larger kernel
            raise ValueError(
                f"parameters with kernels of shapes {given} were given to a network with {shapes}; "
                "expected those of its own init. Load them with the sizes that they were trained with."
            )
        x = _affine(observation, params[0])
        for layer in params[1:]:
            x = _affine(jax.tree.map(activation, x), layer)
        return x[0] if sizes[-1] == 1 else jnp.stack(x) if isinstance(x, list) else x

    return Network(init, apply)


def chapter_policy() -> Network:
    """The chapter's policy network for CartPole: 4 inputs, 5 elu units, 1 unit whose sigmoid is a probability.

    The output is the logit of that probability, for `policies.bernoulli`; 31 parameters.

    Geron (2022), ch. 18, "Neural network policies".
    """
    return mlp((4, 5, 1))


def _affine(x: Array | list[Array], layer: Any) -> Array | list[Array]:
    """x W + b. A narrow layer goes through a list of scalars: sums that XLA fuses with what stands around them, such as
    the physics of a rollout; a call of the matrix library would cost more than the whole step."""
    kernel, bias = layer["kernel"], layer["bias"]
    inputs, outputs = kernel.shape
    if inputs * outputs > 32:
        return (jnp.stack(x) if isinstance(x, list) else x) @ kernel + bias
    return [
        functools.reduce(operator.add, (x[i] * kernel[i, j] for i in range(inputs)), bias[j]) for j in range(outputs)
    ]
