"""Function approximators as pairs of pure functions. Any other `(init, apply)` pair of the same shape serves as well.

params = network.init(key)
output = network.apply(params, observation)        one observation; batches are the caller's `vmap`
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from rljax import checks


class Network(NamedTuple):
    """A function with parameters."""

    init: Callable[[Array], Any]  # key -> params
    apply: Callable[[Any, Array], Array]  # (params, observation) -> output


Initialiser = Callable[[Array, tuple[int, int]], tuple[Array, Array]]  # (key, (inputs, outputs)) -> kernel, bias


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


def glorot_uniform(key: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """The kernel of a layer in U(-l, l), l = sqrt(6 / (inputs + outputs)), its bias 0: as Keras and so the chapter.

    Example:
      >>> kernel, bias = glorot_uniform(jax.random.key(0), (4, 2))
      >>> bool((abs(kernel) <= 1).all()), bias.tolist()
      (True, [0.0, 0.0])

    Glorot & Bengio (2010), eq. 16.
    """
    checks.key(key)
    return jax.nn.initializers.glorot_uniform()(key, shape), jnp.zeros(shape[1])


def fan_in_uniform(key: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """The kernel and the bias of a layer in U(-l, l), l = 1 / sqrt(inputs): as PyTorch and so most of deep Q-learning.

    Example:
      >>> kernel, bias = fan_in_uniform(jax.random.key(0), (4, 2))
      >>> bool((abs(kernel) <= 0.5).all()), bool((abs(bias) <= 0.5).all()), bool(bias.any())
      (True, True, True)

    LeCun et al. (1998), Efficient backprop, sec. 4.6; `torch.nn.Linear.reset_parameters`.
    """
    checks.key(key)
    limit = shape[0] ** -0.5
    # The bias is one more row of the same draw: one cipher to compile for each layer, not two.
    rows = jax.random.uniform(key, (shape[0] + 1, shape[1]), minval=-limit, maxval=limit)
    return rows[:-1], rows[-1]


def mlp(
    sizes: Sequence[int],
    activation: Callable[[Array], Array] = elu,
    *,
    layer_norm: bool = False,
    initialiser: Initialiser = glorot_uniform,
) -> Network:
    """Multi-layer perceptron.

        h_0 = o,    h_k = activation(norm(h_{k-1} W_k + b_k)),    output = h_{K-1} W_K + b_K

        norm(x) = x, or with `layer_norm` scale_k (x - mean x) / sqrt(var x + 1e-6) + shift_k

    The observation, integers too, counts in the precision of the parameters.

    Args:
      sizes: inputs, hidden widths, outputs; a last size of 1 gives a scalar output [], not [1].
      activation: of the hidden layers, element by element; `elu` is the chapter's.
      layer_norm: normalise what goes into each activation; scales start at 1 and shifts at 0.
      initialiser: makes W_k [inputs, outputs] and b_k [outputs].

    Returns:
      `Network` from [sizes[0]] to [sizes[-1]] or [].

    Errors:
      ValueError: fewer than two sizes or one below 1; an observation of another size than `sizes[0]`; parameters of
        another network; an initialiser of other shapes.
      TypeError: what is no function or no bool.

    Example:
      >>> network = mlp((4, 64, 64, 2))
      >>> network.apply(network.init(jax.random.key(0)), jnp.zeros(4)).shape
      (2,)

    Ba, Kiros & Hinton (2016), Layer normalization.
    """
    sizes = tuple(sizes)
    if len(sizes) < 2:
        raise ValueError(f"sizes is {sizes}; expected at least two: inputs and outputs.")
    for i, size in enumerate(sizes):
        checks.integer(f"sizes[{i}]", size, 1)
    checks.function("activation", activation, "networks.elu or jax.nn.relu")
    checks.flags(layer_norm=layer_norm)
    checks.function("initialiser", initialiser, "networks.glorot_uniform or networks.fan_in_uniform")
    shapes = tuple(itertools.pairwise(sizes))

    def init(key: Array) -> Any:
        checks.key(key)
        layers = [
            _layer(initialiser, k, shape) for k, shape in zip(jax.random.split(key, len(shapes)), shapes, strict=True)
        ]
        if layer_norm:
            for layer, width in zip(layers[:-1], sizes[1:-1], strict=True):
                layer |= {"scale": jnp.ones(width), "shift": jnp.zeros(width)}
        return layers

    def apply(params: Any, observation: Array) -> Array:
        _check_observation(observation, sizes[0])
        given = tuple(layer["kernel"].shape for layer in params)
        if given != shapes:  # a narrow layer would take the corner of a larger kernel
            raise ValueError(
                f"parameters with kernels of shapes {given} were given to a network with {shapes}; "
                "expected those of its own init. Load them with the sizes that they were trained with."
            )
        if any(("scale" in layer) != layer_norm for layer in params[:-1]):
            raise ValueError(
                f"parameters {'without' if layer_norm else 'with'} layer normalisation were given to a network "
                f"{'with' if layer_norm else 'without'} it; expected those of its own init. Set layer_norm={not layer_norm}."
            )
        x = _affine(observation.astype(params[0]["kernel"].dtype), params[0])
        for before, layer in itertools.pairwise(params):
            x = _affine(jax.tree.map(activation, _normalised(x, before) if layer_norm else x), layer)
        return x[0] if sizes[-1] == 1 else _vector(x)

    return Network(init, apply)


def q_network(
    sizes: Sequence[int],
    activation: Callable[[Array], Array] = jax.nn.relu,
    *,
    dueling: bool = False,
    atoms: int = 0,
    layer_norm: bool = False,
    initialiser: Initialiser = fan_in_uniform,
) -> Network:
    """Action values, or a distribution of each, from an `mlp`.

        q(o, a) = f_a(o), or with `dueling` v(o) + f_a(o) - mean_b f_b(o)        one last layer for v and f; atom by atom

    Args:
      sizes: inputs, hidden widths, actions A.
      activation, layer_norm, initialiser: as in `mlp`.
      dueling: what all actions have in common is learned apart from what tells them apart.
      atoms: numbers for each action, such as the logits of `losses.categorical_loss` or the quantiles of
        `losses.quantile_loss`; 0 is one value without an axis.

    Returns:
      `Network` from [sizes[0]] to [A] or [A, atoms].

    Errors:
      ValueError, TypeError: as `mlp`; atoms below 0 or not whole.

    Example:
      >>> network = q_network((4, 64, 2), dueling=True, atoms=51)
      >>> network.apply(network.init(jax.random.key(0)), jnp.zeros(4)).shape
      (2, 51)

    Mnih et al. (2015); Wang et al. (2016), eq. 9; Bellemare, Dabney & Munos (2017).
    """
    checks.flags(dueling=dueling)
    checks.integer("atoms", atoms, 0)
    *others, actions = tuple(sizes) or (0,)
    checks.integer("the number of actions, the last of sizes,", actions, 1)
    shape = (actions + dueling, atoms) if atoms else (actions + dueling,)
    body = mlp((*others, math.prod(shape)), activation, layer_norm=layer_norm, initialiser=initialiser)

    def apply(params: Any, observation: Array) -> Array:
        output = body.apply(params, observation).reshape(shape)
        if not dueling:
            return output
        value, advantage = output[:1], output[1:]
        return value + advantage - advantage.mean(axis=0, keepdims=True)

    return Network(body.init, apply)


def linear(inputs: int, outputs: int) -> Network:
    """x W without a bias, W zero at first: of features, or of `one_hot` states, which makes it a table.

    Example:
      >>> network = linear(3, 2)
      >>> network.apply(network.init(jax.random.key(0)) + 1, jnp.arange(3.0)).tolist()
      [3.0, 3.0]

    Sutton & Barto (2018), sec. 9.4.
    """
    checks.integer("inputs", inputs, 1)
    checks.integer("outputs", outputs, 1)

    def init(key: Array) -> Array:
        checks.key(key)
        return jnp.zeros((inputs, outputs))

    def apply(params: Array, observation: Array) -> Array:
        _check_observation(observation, inputs)
        return observation.astype(params.dtype) @ params

    return Network(init, apply)


def one_hot(num_states: int, network: Network) -> Network:
    """A network of `num_states` inputs for tasks whose observation is the number of a state: input s is 1, all others 0.

    A number that is no state leaves all inputs at 0.

    Errors:
      TypeError: what is no network; on use, an observation that is not one integer.

    Example:
      >>> table = one_hot(3, linear(3, 2))
      >>> table.apply(jnp.array([[0., 1.], [2., 3.], [4., 5.]]), jnp.int32(1)).tolist()
      [2.0, 3.0]
    """
    checks.integer("num_states", num_states, 1)
    checks.functions("network", network, *Network._fields)

    def apply(params: Any, state: Array) -> Array:
        if jnp.shape(state) != () or not jnp.issubdtype(jnp.result_type(state), jnp.integer):
            raise TypeError(
                f"an observation of type {jnp.result_type(state)} and shape {jnp.shape(state)} was given to a one-hot "
                "network; expected one integer, a state. For a batch, wrap apply in jax.vmap."
            )
        return network[1](params, jax.nn.one_hot(state, num_states))

    return Network(network[0], apply)


def chapter_policy() -> Network:
    """The chapter's policy network for CartPole: 4 inputs, 5 elu units, 1 unit whose sigmoid is a probability.

    The output is the logit of that probability, for `policies.bernoulli`; 31 parameters.

    Geron (2022), ch. 18, "Neural network policies".
    """
    return mlp((4, 5, 1))


def linear_policy(inputs: int) -> Network:
    """w . o, a logit []: one number for each of the observation's; w ~ N(0, I) at first.

    Four numbers balance CartPole's pole.

    Example:
      >>> network = linear_policy(4)
      >>> float(network.apply(jnp.arange(4.0), jnp.ones(4)))
      6.0
    """
    checks.integer("inputs", inputs, 1)

    def init(key: Array) -> Array:
        checks.key(key)
        return jax.random.normal(key, (inputs,))

    def apply(params: Array, observation: Array) -> Array:
        _check_observation(observation, inputs)
        return observation.astype(params.dtype) @ params

    return Network(init, apply)


def chapter_q_network() -> Network:
    """The chapter's action values for CartPole: 4 inputs, twice 32 elu units, 2 values; 1282 parameters.

    Geron (2022), ch. 18, "Implementing deep Q-learning".
    """
    return q_network((4, 32, 32, 2), elu, initialiser=glorot_uniform)


def _check_observation(observation: Array, inputs: int) -> None:
    checks.numbers(observation=observation)
    if not hasattr(observation, "shape"):
        raise TypeError(f"observation is {observation!r}; expected an array. Take jnp.asarray of it.")
    if observation.shape != (inputs,):
        raise ValueError(
            f"an observation of shape {observation.shape} was given to a network of {inputs} inputs; "
            f"expected ({inputs},). For a batch, wrap apply in jax.vmap; else change the number of inputs, sizes[0]."
        )


def _layer(initialiser: Initialiser, key: Array, shape: tuple[int, int]) -> dict[str, Array]:
    made = initialiser(key, shape)
    if jax.tree.map(jnp.shape, made) != (shape, shape[1:]):
        raise ValueError(
            f"the initialiser makes {jax.tree.map(jnp.shape, made)}; expected a kernel and a bias, {(shape, shape[1:])}. "
            "With one of jax.nn.initializers: lambda key, shape: (that(key, shape), jnp.zeros(shape[1]))."
        )
    return dict(zip(("kernel", "bias"), made, strict=True))


def _affine(x: Array | list[Array], layer: Any) -> Array | list[Array]:
    """x W + b. A narrow layer goes through a list of scalars: sums that XLA fuses with what stands around them, such as
    the physics of a rollout; a call of the matrix library would cost more than the whole step."""
    kernel, bias = layer["kernel"], layer["bias"]
    inputs, outputs = kernel.shape
    if inputs * outputs > 32:
        return _vector(x) @ kernel + bias
    units = x if isinstance(x, list) else jnp.unstack(x)
    columns = [jnp.unstack(column) for column in jnp.unstack(kernel, axis=1)]
    return [
        functools.reduce(operator.add, map(operator.mul, units, column), start)
        for column, start in zip(columns, jnp.unstack(bias), strict=True)
    ]


def _vector(x: Array | list[Array]) -> Array:
    return jnp.stack(x) if isinstance(x, list) else x


def _normalised(x: Array | list[Array], layer: Any) -> Array:
    """Layer normalisation: mean 0 and variance 1 over the units, then the layer's own scale and shift."""
    x = _vector(x)
    centred = x - x.mean()
    return centred * lax.rsqrt(jnp.square(centred).mean() + 1e-6) * layer["scale"] + layer["shift"]
