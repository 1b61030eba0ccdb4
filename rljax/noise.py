"""Random numbers that fuse: the same typed keys and the same `jax.random` calls, computed inside the kernel that uses them.

JAX's own generator is called out of line, one kernel per call; in a rollout of a small environment that costs more than the
physics. Here the block cipher is the same, Threefry-2x32, written as plain 32-bit arithmetic, which XLA melts into the loop
around it; with 13 rounds, Random123's reduced count (JAX takes 20): sound in every test of tests/test_noise.py, where 8
rounds fail. And keys are folded lazily:

    key = (k, c)                                     64-bit secret k, pending counter c
    fold_in((k, c), x) = (Threefry_k(c, 2^32 - 1), x)    what is folded in waits as a counter
    bits((k, c))[j]    = Threefry_k(c, j)                so `fold_in(key, i)` for a thousand i costs one block, not a thousand

Under one secret no two (x, j) share an input of the cipher; secrets meet as 64 random bits do. Nothing is carried or stored.

Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.random import define_prng_impl

from rljax import checks

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = np.uint32(0x1BD11BDA)
_FOLD = np.uint32(0xFFFFFFFF)


@functools.partial(jax.jit, static_argnames="rounds")  # traced and lowered once, however often a program draws
def threefry(key: tuple[Array, Array], counter: tuple[Array, Array], rounds: int = 13) -> tuple[Array, Array]:
    """One block of Threefry-2x32: a keyed permutation of 64 bits, here as a pair of uint32 words of any equal shape.

    With 20 rounds equal to `jax.extend.random.threefry_2x32`, but made of operations that fuse.
    """
    schedule = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = counter[0] + schedule[0], counter[1] + schedule[1]
    for r in range(rounds):
        rotation = _ROTATIONS[r % 8]
        x = x + y
        y = x ^ ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation)))
        if r % 4 == 3:
            group = r // 4 + 1
            x = x + schedule[group % 3]
            y = y + schedule[(group + 1) % 3] + np.uint32(group)
    return x, y


def _seed(seed: Array) -> Array:
    return jnp.append(jax.random.key_data(jax.random.key(seed, impl="threefry2x32")), np.uint32(0))


def _advance(key: Array) -> tuple[Array, Array]:
    return threefry((key[0], key[1]), (key[2], jnp.full_like(key[2], _FOLD)))


def _fold_in(key: Array, data: int | Array) -> Array:
    return jnp.stack([*_advance(key), jnp.asarray(data).astype(jnp.uint32)])


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    index = jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32).reshape(shape)
    return jnp.stack([*(jnp.broadcast_to(word, shape) for word in _advance(key)), index], axis=-1)


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    size = np.prod(shape, dtype=int)
    if size >= _FOLD:
        raise ValueError(f"{size} random words are asked from one key; at most 2**32 - 2 are to be had. Split the key.")
    index = lax.iota(jnp.uint32, size).reshape(shape)
    secret, pending = (
        (jnp.broadcast_to(key[0], shape), jnp.broadcast_to(key[1], shape)),
        jnp.broadcast_to(key[2], shape),
    )
    x, y = threefry(secret, (pending, index))
    if bit_width == 64:
        return (x.astype(jnp.uint64) << np.uint64(32)) | y.astype(jnp.uint64)
    return x.astype(f"uint{bit_width}")


_IMPL = define_prng_impl(
    key_shape=(3,), seed=_seed, split=_split, random_bits=_random_bits, fold_in=_fold_in, name="rljax_fused", tag="rlx"
)


def fused(key: Array) -> Array:
    """The fused key that continues a typed key: give it to any function of `jax.random`, with `vmap`, `scan` and all.

    Args:
      key: [...] typed keys, fused or of any other implementation.

    Returns:
      [...] fused keys, one for each.

    Errors:
      TypeError: a raw `PRNGKey` array, which JAX cannot check for reuse.

    Example:
      >>> key = fused(jax.random.key(0))
      >>> jax.random.uniform(key, (2,)).shape
      (2,)
    """
    checks.key(key, getattr(key, "shape", ()))
    if jax.random.key_impl(key) == _IMPL:
        return key
    words = jnp.moveaxis(jax.random.key_data(key), -1, 0)
    secret = (words[0], words[1])
    for i in range(2, len(words), 2):  # keys wider than 64 bits are hashed into as many
        secret = threefry(secret, (words[i], words[i + 1]))
    return jax.random.wrap_key_data(jnp.stack([*secret, jnp.zeros_like(words[0])], axis=-1), impl=_IMPL)


def uniforms(key: Array, count: int) -> tuple[Array, ...]:
    """`count` independent scalars, uniform in [0, 1): for records of scalars, such as the state of a small environment.

    The law of `jax.random.uniform(key, (count,))`, from half as many blocks of the cipher, and unstacked: an array would
    have to be filled by one kernel and taken apart by another.

    Errors:
      TypeError, ValueError: anything but one typed key, a count below 0.

    Example:
      >>> [x.shape for x in uniforms(jax.random.key(0), 3)]
      [(), (), ()]
    """
    checks.key(key)
    checks.integer("count", count, 0)
    data = jax.random.key_data(fused(key))
    words = [w for j in range(-(-count // 2)) for w in threefry((data[0], data[1]), (data[2], jnp.uint32(j)))]
    # 23 random bits are the mantissa of a float in [1, 2), in float64 mode too.
    return tuple(
        lax.bitcast_convert_type((w >> np.uint32(9)) | np.uint32(0x3F800000), jnp.float32) - 1.0 for w in words[:count]
    )
