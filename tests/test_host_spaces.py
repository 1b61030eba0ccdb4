"""Spaces as rows and numbers: Gymnasium's own flattening is the oracle, row by row."""

from __future__ import annotations

import gymnasium
import hypothesis
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate
from hypothesis import strategies as st

from rljax.envs import host_spaces

SIZES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
BOXES = st.builds(
    lambda shape, dtype, high: spaces.Box(0 if dtype == "uint8" else -high, high, shape, dtype),
    SIZES,
    st.sampled_from(["float32", "float64", "int16", "uint8"]),
    st.integers(1, 100),
)
NUMBERED = st.one_of(
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 5), st.integers(-3, 3)),
    SIZES.filter(len).map(spaces.MultiBinary),
    st.builds(
        lambda counts, start: spaces.MultiDiscrete(counts, start=[start] * len(counts)),
        st.lists(st.integers(1, 4), min_size=1, max_size=4),
        st.integers(-3, 3),
    ),
    st.just(spaces.MultiDiscrete(np.array([[2, 3], [4, 1]]))),
)
SPACES = st.recursive(
    st.one_of(BOXES, NUMBERED),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3).map(spaces.Dict),
    ),
    max_leaves=5,
)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(SPACES, st.integers(0, 2**31), st.integers(1, 4))
def test_rows_are_what_gymnasium_flattens(space, seed, num_envs):
    space.seed(seed)
    flat = host_spaces.observations(space, num_envs)
    assert flat.size == spaces.flatdim(space) == len(flat.names) == len(set(flat.names))
    batch = batch_space(space, num_envs)
    batch.seed(seed)
    value = batch.sample()
    rows = flat.flatten(value)
    assert rows.shape == (num_envs, flat.size) and rows.dtype == np.float32
    want = [spaces.flatten(space, each) for each in iterate(batch, value)]
    np.testing.assert_array_equal(rows, np.asarray(want, np.float32))
    for lane in range(num_envs):
        mine = host_spaces.observations(space).flatten(host_spaces.row(value, lane))
        np.testing.assert_array_equal(mine, rows[lane : lane + 1])
    rows[:] = -1  # in memory of its own
    np.testing.assert_array_equal(flat.flatten(value), np.asarray(want, np.float32))


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(NUMBERED.filter(lambda space: space.shape is None or np.prod(space.shape) <= 10))
def test_each_action_has_one_number(space):
    one, three = host_spaces.actions(space), host_spaces.actions(space, num_envs=3)
    assert one.number == three.number
    every = [one.decode(np.array([a])) for a in range(one.number)]
    assert all(space.contains(action) for action in every)
    assert len({np.asarray(action).tobytes() for action in every}) == one.number
    if one.number >= 3:
        chosen = three.decode(np.array([0, 2, one.number - 1], np.int32))
        np.testing.assert_array_equal(chosen, np.stack([every[0], every[2], every[-1]]))
        assert batch_space(space, 3).contains(chosen)


def test_by_hand():
    space = spaces.Dict(
        {"eye": spaces.Box(0, 255, (1, 2), np.uint8), "key": spaces.MultiDiscrete([2, 3], start=[5, 0])}
    )
    flat = host_spaces.observations(space, 2)
    assert flat.names == (
        "observation['eye'][0, 0]",
        "observation['eye'][0, 1]",
        *(f"observation['key'][0] is {i}" for i in (5, 6)),
        *(f"observation['key'][1] is {i}" for i in range(3)),
    )
    seen = {"eye": np.array([[[7, 8]], [[9, 255]]], np.uint8), "key": np.array([[5, 2], [6, 0]])}
    want = [[7, 8, 1, 0, 0, 0, 1], [9, 255, 0, 1, 1, 0, 0]]
    assert flat.flatten(seen).tolist() == want
    actions = host_spaces.actions(spaces.MultiDiscrete([2, 3]))
    assert [actions.decode([a]).tolist() for a in range(6)] == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert host_spaces.actions(spaces.Discrete(2)).decode(np.int32([1])) == 1


def test_an_environment_may_write_into_its_action():
    actions = host_spaces.actions(spaces.MultiBinary(2))
    actions.decode([3])[:] = 7
    assert actions.decode([3]).tolist() == [1, 1]


@pytest.mark.parametrize("wrong", [[2], [-1], [0.0], [2**40]])
@pytest.mark.parametrize("num_envs", [None, 1])
def test_actions_outside_the_space_are_refused(wrong, num_envs):
    with pytest.raises(ValueError, match=r"the actions are \[.*\]; expected whole numbers in \[0, 1\]"):
        host_spaces.actions(spaces.Discrete(2), num_envs).decode(np.array(wrong))


def test_refusals():
    for space, name in [
        (spaces.Text(3), "observation"),
        (spaces.Dict({"a": spaces.Sequence(spaces.Discrete(2))}), r"observation\['a'\]"),
        (spaces.Tuple([spaces.Graph(spaces.Discrete(2), None)]), r"observation\[0\]"),
        (spaces.OneOf([spaces.Discrete(2)]), "observation"),
        (gymnasium.Space(), "observation"),
    ]:
        with pytest.raises(TypeError, match=f"the space of {name} is .*; expected Box, .*TransformObservation"):
            host_spaces.observations(space)
    with pytest.raises(ValueError, match="holds no numbers; expected at least one"):
        host_spaces.observations(spaces.Box(0, 1, (0,)))
    for space in (spaces.Box(-1, 1, (1,)), spaces.Tuple([spaces.Discrete(2)]), spaces.Text(3)):
        with pytest.raises(TypeError, match=r"the action space is .*; expected Discrete.*DiscretizeAction"):
            host_spaces.actions(space)
    host_spaces.actions(spaces.MultiBinary(10))
    with pytest.raises(ValueError, match="has 2048 combinations; expected at most 1024"):
        host_spaces.actions(spaces.MultiBinary(11))
    with pytest.raises(ValueError, match="num_envs is 0"):
        host_spaces.observations(spaces.Discrete(2), 0)
