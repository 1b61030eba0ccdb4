"""An immutable pytree is checked when a person makes it, and never when JAX rebuilds it."""

import copy
import dataclasses
import pickle
from dataclasses import field

import chex
import jax
import jax.numpy as jnp
import pytest

from rljax.structs import floats, pytree_dataclass


@pytree_dataclass
class Ring:
    """Its fields stand in another order than the tree holds them: what is static comes in between."""

    weight: float | jax.Array
    name: str = field(default="ring", metadata={"static": True, "unit": "none"})
    inner: object = field(default=None, metadata={"unit": "kg"})  # other metadata makes nothing static

    def __post_init__(self):
        if not isinstance(self.weight, jax.Array) and not self.weight > 0:
            raise ValueError(f"weight is {self.weight}")


def test_is_a_frozen_dataclass():
    ring = Ring(2.0, inner=3.0)
    assert ring == Ring(weight=2.0, name="ring", inner=3.0) and hash(ring) == hash(Ring(2.0, inner=3.0))
    assert repr(ring) == "Ring(weight=2.0, name='ring', inner=3.0)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        ring.weight = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        jax.tree.map(lambda leaf: leaf, ring).weight = 1.0


def test_what_a_person_makes_is_checked():
    for make in (lambda: Ring(-1.0), lambda: dataclasses.replace(Ring(1.0), weight=-1.0)):
        with pytest.raises(ValueError, match=r"weight is -1\.0"):
            make()


@pytest.mark.parametrize("value", [0, -1.0, None, "axis", jax.ShapeDtypeStruct((), jnp.float32), object()])
def test_what_is_rebuilt_is_not(value):
    rebuilt = jax.tree.map(lambda _: value, Ring(2.0, "one", Ring(3.0, "other")))
    assert type(rebuilt) is Ring and rebuilt.weight is value and rebuilt.inner.weight is value
    assert rebuilt.name == "one" and rebuilt.inner.name == "other"


def test_leaves_come_back_and_are_called_by_their_fields():
    ring = Ring(1.0, "one", {"a": Ring(2.0), "b": (3.0, None)})
    leaves, structure = jax.tree.flatten(ring)
    assert leaves == [1.0, 2.0, 3.0] and jax.tree.unflatten(structure, leaves) == ring
    named, again = jax.tree_util.tree_flatten_with_path(ring)
    names = [(jax.tree_util.keystr(path), leaf) for path, leaf in named]
    assert names == [(".weight", 1.0), (".inner['a'].weight", 2.0), (".inner['b'][0]", 3.0)]
    assert again == structure != jax.tree.structure(dataclasses.replace(ring, name="two"))


def test_travels_through_every_transformation():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=2)  # one for each name
    def doubled(ring):
        return jax.tree.map(lambda leaf: 2 * leaf, ring)

    for ring in (Ring(1.0), Ring(2.0), Ring(1.0, "two")):
        assert float(doubled(ring).weight) == 2 * ring.weight and doubled(ring).name == ring.name
    slope = jax.grad(lambda ring: -jnp.square(ring.weight))(Ring(3.0))
    assert float(slope.weight) == -6.0  # a gradient is a Ring, though no ring weighs so little
    stack, axes = Ring(jnp.arange(3.0), inner=jnp.float32(5.0)), Ring(1.0, inner=1.0)
    axes = jax.tree_util.tree_map_with_path(lambda path, _: 0 if path[0].name == "weight" else None, axes)
    assert jax.vmap(lambda ring: ring.weight + ring.inner, in_axes=(axes,))(stack).tolist() == [5.0, 6.0, 7.0]
    twice = lambda ring, _: (jax.tree.map(lambda leaf: 2 * leaf, ring), None)
    carried = jax.lax.scan(twice, Ring(jnp.float32(1.0)), None, 3)[0]
    assert float(carried.weight) == 8.0
    assert jax.eval_shape(lambda ring: ring, Ring(1.0)).weight.shape == ()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda ring: pickle.loads(pickle.dumps(ring))])
def test_copies_are_equal(again):
    ring = Ring(1.0, "one", Ring(2.0))
    assert again(ring) == ring


@pytest.mark.parametrize("value", [["one"], "one", None, [1.0, None], [[1.0], [1.0, 2.0]]], ids=repr)
def test_what_is_no_array_of_numbers_is_told_so(value):
    with pytest.raises(TypeError, match=r"^an array of numbers is expected, or a list of them; got "):
        floats(value)
