"""Function approximators as pairs of pure functions. Any other `(init, apply)` pair of the same shape serves as well.

    params = network.init(key)
    output = network.apply(params, observation)        one observation; batches are the caller's `vmap`

The only file that knows flax. Weights start Glorot-uniform and biases at zero, as in Keras and so in the chapter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from rljax import checks


class Network(NamedTuple):
    init: Callable[[Array], Any]  # key -> params
    apply: Callable[[Any, Array], Array]  # (params, observation) -> output


def mlp(sizes: Sequence[int], activation: Callable[[Array], Array] = nn.elu) -> Network:
    """Multi-layer perceptron.

        h_0 = o,    h_k = activation(h_{k-1} W_k + b_k),    output = h_{K-1} W_K + b_K

    Args:
      sizes: inputs, hidden widths, outputs; a last size of 1 gives a scalar output [], not [1].
      activation: of the hidden layers.

    Returns:
      `Network` from [sizes[0]] to [sizes[-1]] or [].

    Errors:
      ValueError: fewer than two sizes or one below 1; an observation of another size than `sizes[0]`.

    Example:
      >>> import jax
      >>> network = mlp((4, 64, 64, 2))
      >>> network.apply(network.init(jax.random.key(0)), jnp.zeros(4)).shape
      (2,)
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes is {tuple(sizes)}; expected at least two: inputs and outputs.")
    for i, size in enumerate(sizes):
        checks.integer(f"sizes[{i}]", size, 1)
    inputs, outputs = sizes[0], sizes[-1]
    module = _Mlp(tuple(sizes[1:]), activation)

    def init(key: Array) -> Any:
        return module.init(key, jnp.zeros(inputs))["params"]

    def apply(params: Any, observation: Array) -> Array:
        if observation.shape != (inputs,):
            raise ValueError(
                f"an observation of shape {observation.shape} was given to a network of {inputs} inputs; "
                f"expected ({inputs},). For a batch, wrap apply in jax.vmap; else change sizes[0]."
            )
        output = module.apply({"params": params}, observation)
        return output[0] if outputs == 1 else output

    return Network(init, apply)


def chapter_policy() -> Network:
    """The chapter's policy network for CartPole: 4 inputs, 5 elu units, 1 unit whose sigmoid is a probability.

    The output is the logit of that probability, for `policies.bernoulli`; 31 parameters.

    Geron (2022), ch. 18, "Neural network policies".
    """
    return mlp((4, 5, 1))


class _Mlp(nn.Module):
    sizes: tuple[int, ...]
    activation: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for i, size in enumerate(self.sizes):
            x = nn.Dense(size, kernel_init=nn.initializers.glorot_uniform())(x)
            if i < len(self.sizes) - 1:
                x = self.activation(x)
        return x

