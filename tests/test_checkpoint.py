"""Checkpoints: what was saved comes back, and nothing else ever does."""

import io
import json
import os
import pickle
import random
import zipfile
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rljax import networks
from rljax.runs import checkpoint
from rljax.runs.checkpoint import BadCheckpoint


class Pair(NamedTuple):
    first: object
    second: object


SMALL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": (np.int8(3), np.array([True, False]))}
ABOUT = {"experiment": "test", "sizes": [4, 5, 1], "x": None}
TYPES = [
    np.bool_,
    *(np.dtype(f"{kind}{size}") for kind, sizes in (("i", "1248"), ("u", "1248"), ("f", "248")) for size in sizes),
]


@pytest.fixture
def small(tmp_path):
    return checkpoint.save(tmp_path / "small.npz", SMALL, ABOUT)


def same(a, b):
    """Equal in structure, shapes, types and bits."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        np.asarray(x).dtype == np.asarray(y).dtype
        and np.asarray(x).shape == np.asarray(y).shape
        and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in leaves
    )


# There and back


def test_nested_pytrees_come_back(tmp_path):
    params = {
        "layers": [Pair(np.ones((2, 3), np.float32), {"deep": jnp.arange(4)}), (np.float64(0.1), np.zeros((0, 5)))],
        "none": None,
        "3": np.array(7, np.uint8),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "special": np.array([np.nan, -0.0, np.inf, 5e-324]),
    }
    path = checkpoint.save(str(tmp_path / "p.npz"), params, ABOUT)
    back = checkpoint.load(path, params)
    assert same(back, params)
    assert isinstance(back["layers"][0], Pair) and all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(back))
    assert checkpoint.about(path) == ABOUT and [p.name for p in tmp_path.iterdir()] == ["p.npz"]


def test_the_pattern_may_be_shapes_alone(tmp_path):
    network = networks.mlp((4, 5, 1))
    params = network.init(jax.random.key(0))
    path = checkpoint.save(tmp_path / "p.npz", params)
    like = jax.eval_shape(network.init, jax.random.key(0))
    assert same(checkpoint.load(path, like), params) and checkpoint.about(path) == {}
    chex.assert_trees_all_equal(
        network.apply(checkpoint.load(path, like), jnp.ones(4)), network.apply(params, jnp.ones(4))
    )


def test_no_leaves_and_a_lone_leaf(tmp_path):
    assert checkpoint.load(checkpoint.save(tmp_path / "none.npz", {}), {}) == {}
    lone = np.float32([1, 2])
    assert same(checkpoint.load(checkpoint.save(tmp_path / "lone.npz", lone), lone), lone)


@settings(deadline=None, max_examples=60)
@given(
    leaves=st.lists(
        st.sampled_from(TYPES).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4))
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back_to_the_bit(tmp_path_factory, leaves):
    path = checkpoint.save(tmp_path_factory.getbasetemp() / "any.npz", leaves)
    assert same(checkpoint.load(path, leaves), leaves)


@pytest.mark.parametrize(
    "leaf",
    [
        object(),
        "text",
        1 + 2j,
        np.datetime64("2020-01-01"),
        np.array([None]),
        jnp.zeros(2, jnp.bfloat16),
        jax.random.key(0),
    ],
    ids=["object", "text", "complex", "date", "object array", "bfloat16", "key"],
)
def test_what_is_no_number_is_not_saved(tmp_path, leaf):
    with pytest.raises(ValueError, match=r"\['odd'\] has type .*; expected numbers"):
        checkpoint.save(tmp_path / "p.npz", {"fine": np.ones(2), "odd": leaf})
    assert not any(tmp_path.iterdir())


def test_saving_replaces_whole_or_not_at_all(small, monkeypatch):
    checkpoint.save(small, {"other": np.ones(1)})
    assert checkpoint.load(small, {"other": np.ones(1)})["other"] == 1
    before = small.read_bytes()

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoint.np, "savez", fails)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(small, SMALL)
    assert small.read_bytes() == before and [p.name for p in small.parent.iterdir()] == ["small.npz"]


# Another network's parameters


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            {**SMALL, "w": np.zeros((3, 2), np.float32)},
            r"\['w'\] as float32\[2, 3\]; this network expects float32\[3, 2\]",
        ),
        ({**SMALL, "w": np.zeros(6, np.float32)}, r"\['w'\] as float32\[2, 3\]; this network expects float32\[6\]"),
        ({**SMALL, "w": np.zeros((2, 3))}, r"\['w'\] as float32\[2, 3\]; this network expects float64\[2, 3\]"),
        ({**SMALL, "w": np.zeros((2, 3), np.int32)}, r"\['w'\] as float32\[2, 3\]; this network expects int32"),
        (
            {**SMALL, "b": (np.int8(3), np.array([1, 0], np.uint8))},
            r"\['b'\]\[1\] as bool\[2\]; this network expects uint8\[2\]",
        ),
        ({**SMALL, "extra": np.ones(1)}, r"has no \['extra'\]; it holds \['b'\]\[0\], \['b'\]\[1\], \['w'\]"),
        ({"v": SMALL["w"], "b": SMALL["b"]}, r"has no \['v'\]"),
        ({"b": SMALL["b"]}, r"also holds \['w'\], which this network lacks"),
        ({}, r"also holds \['b'\]\[0\], \['b'\]\[1\], \['w'\]"),
        ({**SMALL, "b": (np.int8(3),)}, r"also holds \['b'\]\[1\]"),
        ([SMALL["b"], SMALL["w"]], r"has no \[0\]\[0\]"),
    ],
)
def test_other_leaves_shapes_and_types_are_refused_by_name(small, like, message):
    with pytest.raises(BadCheckpoint, match=message):
        checkpoint.load(small, like)


# Damaged and foreign files


def verdict(path, like=SMALL):
    """ "same", "refused", or what should never be: other content, or another error."""
    try:
        loaded, about = checkpoint.load(path, like), checkpoint.about(path)
    except BadCheckpoint as error:
        return "refused" if str(path) in str(error) else f"refused without its name: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if same(loaded, like) and about == ABOUT else "silently other"


def test_every_truncation_is_refused(small):
    whole = small.read_bytes()
    assert verdict(small) == "same" and len(whole) < 2500
    for length in range(len(whole)):
        small.write_bytes(whole[:length])
        assert verdict(small) == "refused", length


def test_no_flipped_bit_is_ever_silently_wrong(small):
    """Two of each byte. A flip in a date or a comment of the archive may pass; every other is refused."""
    whole, found = small.read_bytes(), {}
    for place in range(len(whole)):
        for bit in (place % 8, (place + 5) % 8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            small.write_bytes(damaged)
            found.setdefault(verdict(small), []).append((place, bit))
    assert set(found) == {"same", "refused"}, {k: v[:3] for k, v in found.items() if k not in ("same", "refused")}
    assert len(found["refused"]) > 2 * len(found["same"])


def test_a_wrong_size_in_the_directory_hides_no_wrong_number(small):
    """NumPy reads no further than its array, and never comes to the checksum of an archive that claims to go on."""
    data = bytearray(small.read_bytes())
    data[data.index(b"PK\x01\x02") - 4] ^= 1  # the last number of the last array, right before the directory
    entry = data.rindex(b"PK\x01\x02")  # of that array
    for place in (20, 24):  # its compressed size and its size
        data[entry + place + 2] += 64
    small.write_bytes(data)
    assert verdict(small) == "refused"


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 12),
    kind=st.sampled_from(["bytes", "cut out", "put in", "swap"]),
)
def test_no_damage_is_ever_silently_wrong(tmp_path_factory, seed, count, kind):
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    dice, data = random.Random(seed), bytearray(checkpoint.save(path, SMALL, ABOUT).read_bytes())
    for _ in range(count):
        a, b = sorted(dice.randrange(len(data)) for _ in range(2))
        if kind == "bytes":
            data[a] = dice.randrange(256)
        elif kind == "cut out":
            del data[a : min(b, a + 20)]
        elif kind == "put in":
            data[a:a] = dice.randbytes(dice.randrange(20))
        else:
            data[a : a + 8], data[b : b + 8] = data[b : b + 8], data[a : a + 8]
    path.write_bytes(data)
    assert verdict(path) in ("same", "refused")


@settings(deadline=None, max_examples=100)
@given(
    data=st.binary(max_size=400),
    start=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY\x01\x00", b"\x80\x04"]),
)
def test_noise_is_refused(tmp_path_factory, data, start):
    path = tmp_path_factory.getbasetemp() / "noise.npz"
    path.write_bytes(start + data)
    assert verdict(path) == "refused"


class Bomb:
    """A pickle that would run code."""

    def __reduce__(self):
        return exec, ("import os; os.environ['RLJAX_BOMB'] = 'went off'",)


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


def bombs():
    array = np.array([Bomb()], object)
    yield "pickle", pickle.dumps(Bomb())
    yield "npy of objects", npy(array, allow_pickle=True)
    for name in ("manifest", "leaf_2"):
        yield f"{name} of objects", archive({f"{name}.npy": npy(array, allow_pickle=True)})
        yield f"{name} a pickle", archive({f"{name}.npy": pickle.dumps(Bomb())})


def archive(members=(), manifest=None):
    """A whole archive of SMALL, with some members or the manifest replaced: its checksums are right."""
    file = io.BytesIO()
    content = {f"leaf_{i}.npy": npy(leaf) for i, leaf in enumerate(jax.tree.leaves(SMALL))}
    text = (
        json.dumps(MANIFEST if manifest is None else manifest).encode() if not isinstance(manifest, bytes) else manifest
    )
    content["manifest.npy"] = npy(np.frombuffer(text, np.uint8))
    with zipfile.ZipFile(file, "w") as members_of:
        for name, data in {**content, **dict(members)}.items():
            if data is not None:
                members_of.writestr(name, data)
    return file.getvalue()


LEAVES = [
    {"path": "['b'][0]", "shape": [], "dtype": "|i1"},
    {"path": "['b'][1]", "shape": [2], "dtype": "|b1"},
    {"path": "['w']", "shape": [2, 3], "dtype": "<f4"},
]
MANIFEST = {"format": checkpoint.FORMAT, "about": ABOUT, "leaves": LEAVES}


@pytest.mark.parametrize("data", dict(bombs()).values(), ids=dict(bombs()))
def test_no_code_is_run(tmp_path, monkeypatch, data):
    monkeypatch.delenv("RLJAX_BOMB", raising=False)
    path = tmp_path / "bomb.npz"
    path.write_bytes(data)
    assert verdict(path) == "refused"
    assert "RLJAX_BOMB" not in os.environ
    pickle.loads(pickle.dumps(Bomb()))  # it is live
    assert os.environ.pop("RLJAX_BOMB") == "went off"


def foreign():
    numbers = io.BytesIO()
    np.savez(numbers, w=np.ones(3))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    yield "empty", b""
    yield "text", b"these are not parameters\n"
    yield "json", json.dumps(MANIFEST).encode()
    yield "npy", npy(np.ones(3))
    yield "another npz", numbers.getvalue()
    yield "empty zip", empty.getvalue()
    yield "zip of text", archive({"manifest.npy": b"hello"})
    yield "another format", archive(manifest={**MANIFEST, "format": "rljax-parameters-99"})


@pytest.mark.parametrize("data", dict(foreign()).values(), ids=dict(foreign()))
def test_foreign_files_are_refused(tmp_path, data):
    path = tmp_path / "foreign.npz"
    path.write_bytes(data)
    assert verdict(path) == "refused"
    with pytest.raises(BadCheckpoint):
        checkpoint.about(path)


def test_what_is_no_file_is_refused(tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "folder.npz", tmp_path / "absent.npz", tmp_path / "absent" / "p.npz"):
        with pytest.raises(BadCheckpoint, match=r"is not there; expected a file that .* wrote"):
            checkpoint.load(path, SMALL)


def headers():
    """Members whose checksum is right and whose header is not."""
    whole = npy(SMALL["w"])
    field = b"(2, 3), }" + b" " * 20
    assert field in whole
    for name, text in {
        "unclosed": b"(2, 3),",
        "open brackets": b"(((((((((",
        "negative": b"(-2, -3), }",
        "vast": b"(99999999999, 9999), }",
        "beyond counting": b"(9999999999999999999, 3), }",
        "fewer": b"(2, 2), }",
        "more": b"(2, 4), }",
        "turned": b"(3, 2), }",
        "no numbers": b"('2', '3'), }",
        "code": b"__import__('os'), }",
    }.items():
        yield f"shape {name}", whole.replace(field, text.ljust(len(field)))
    yield "another type", whole.replace(b"<f4", b"<i4")
    yield "another order of bytes", whole.replace(b"<f4", b">f4")
    yield "no array", b"hello"
    yield "nothing", b""
    yield "cut", whole[:-4]
    yield "an array of objects", npy(np.array([1, None], object), allow_pickle=True)
    yield "no member", None


@pytest.mark.parametrize("data", dict(headers()).values(), ids=dict(headers()))
def test_altered_members_are_refused(tmp_path, data):
    path = tmp_path / "altered.npz"
    path.write_bytes(archive())
    assert verdict(path) == "same"
    path.write_bytes(archive({"leaf_2.npy": data}))
    found = verdict(path)
    assert found == "refused", found


def manifests():
    """What a member called manifest may say, and must not be believed."""
    yield "null", None
    yield "a list", [1]
    yield "a text", "x"
    for name in MANIFEST:
        yield f"without {name}", {key: value for key, value in MANIFEST.items() if key != name}
    for name, leaves in {
        "a number": 3,
        "a text": "abc",
        "a dict": {"a": 1, "b": 2, "c": 3},
        "numbers": [1, 2, 3],
        "nulls": [None] * 3,
        "one fewer": LEAVES[:-1],
        "one more": [*LEAVES, LEAVES[0]],
        "one twice": [LEAVES[0], LEAVES[1], {**LEAVES[2], "path": "['b'][1]"}],
        "a path list": [*LEAVES[:-1], {**LEAVES[2], "path": ["w"]}],
        "a path number": [*LEAVES[:-1], {**LEAVES[2], "path": 3}],
        "another shape": [*LEAVES[:-1], {**LEAVES[2], "shape": [3, 2]}],
        "a shape number": [*LEAVES[:-1], {**LEAVES[2], "shape": 6}],
        "another type": [*LEAVES[:-1], {**LEAVES[2], "dtype": "<i4"}],
        **{f"no {key}": [*LEAVES[:-1], {k: v for k, v in LEAVES[2].items() if k != key}] for key in LEAVES[2]},
    }.items():
        yield f"leaves {name}", {**MANIFEST, "leaves": leaves}
    yield "about a list", {**MANIFEST, "about": [1]}
    yield "broken text", b"{"
    yield "no text", b"\xff\xff"
    yield "a bottomless text", b"[" * 100_000


@pytest.mark.parametrize("manifest", dict(manifests()).values(), ids=dict(manifests()))
def test_a_manifest_that_lies_is_refused(tmp_path, manifest):
    path = tmp_path / "lies.npz"
    path.write_bytes(archive(manifest=json.dumps(manifest).encode() if not isinstance(manifest, bytes) else manifest))
    found = verdict(path)
    assert found == "refused", found


def test_pickles_are_never_asked_for(small, monkeypatch):
    seen, load = [], np.load
    monkeypatch.setattr(checkpoint.np, "load", lambda *a, **k: (seen.append(k), load(*a, **k))[1])
    assert verdict(small) == "same"
    assert seen and all(options == {"allow_pickle": False} for options in seen)


def test_messages_say_what_to_do(small, tmp_path):
    small.write_bytes(small.read_bytes()[:100])
    with pytest.raises(BadCheckpoint, match=r"is not a whole file of rljax parameters .* train again, or take a copy"):
        checkpoint.load(small, SMALL)
    assert issubclass(BadCheckpoint, ValueError)
