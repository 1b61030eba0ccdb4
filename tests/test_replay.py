"""Replay: what is drawn was written, is not stale, and is drawn as often as it should be."""

from __future__ import annotations

import itertools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import replay


def block(start: int, steps: int, num_envs: int) -> dict[str, jax.Array]:
    """Transitions that say where they come from."""
    time = jnp.arange(start, start + steps, dtype=jnp.int32)[:, None] + jnp.zeros((1, num_envs), jnp.int32)
    env = jnp.arange(num_envs, dtype=jnp.int32)[None, :] + jnp.zeros((steps, 1), jnp.int32)
    return {"time": time, "env": env}


EXAMPLE = {"time": jnp.int32(0), "env": jnp.int32(0)}


@pytest.mark.parametrize("make", [replay.uniform, replay.prioritised])
@pytest.mark.parametrize(("num_envs", "steps", "n"), [(1, 1, 1), (1, 5, 3), (4, 2, 3)])
def test_windows_are_consecutive_written_and_not_stale(make, num_envs, steps, n):
    rows = 20
    memory = make(rows * num_envs)
    state = memory.init(EXAMPLE, num_envs, n)
    add, sample = jax.jit(memory.add), jax.jit(memory.sample, static_argnums=2)
    for i in range(17):
        state = add(state, block(i * steps, steps, num_envs))
        written = (i + 1) * steps
        if written < n:
            continue
        drawn = sample(jax.random.key(i), state, 2000)
        time, env = (np.asarray(drawn.transition[name]) for name in ("time", "env"))
        assert (np.diff(time, axis=1) == 1).all() and (env == env[:, :1]).all()
        starts = {(t, e) for t, e in zip(time[:, 0].tolist(), env[:, 0].tolist(), strict=True)}
        oldest = max(0, written - rows)
        assert starts == {(t, e) for t in range(oldest, written - n + 1) for e in range(num_envs)}


def test_valid_rows_alone_enter_as_into_a_deque():
    memory, oracle = replay.uniform(7), deque(maxlen=7)
    state = memory.init(jnp.int32(0), 1, 1)
    add, rng = jax.jit(memory.add), np.random.default_rng(0)
    for i in range(12):
        rows, valid = np.arange(5 * i, 5 * i + 5, dtype=np.int32), rng.random(5) < 0.6
        state = add(state, jnp.asarray(rows)[:, None], jnp.asarray(valid)[:, None])
        oracle.extend(rows[valid].tolist())
        if oracle:
            drawn = memory.sample(jax.random.key(i), state, 500)
            assert set(drawn.transition[:, 0].tolist()) == set(oracle)


def test_priorities_are_the_odds_and_weights_undo_them():
    memory = replay.prioritised(64, alpha=0.7, beta=0.5)
    state = memory.init(jnp.int32(0), 1, 1)
    state = memory.add(state, jnp.arange(40, dtype=jnp.int32)[:, None][:32])
    priority = np.abs(np.random.default_rng(0).normal(size=32)).astype(np.float32) * 10.0
    state = memory.update(state, jnp.arange(32, dtype=jnp.int32), jnp.asarray(priority))
    odds = (priority.astype(float) + 1e-6) ** 0.7
    odds /= odds.sum()
    drawn = jax.jit(memory.sample, static_argnums=2)(jax.random.key(0), state, 200_000)
    counts = np.bincount(np.asarray(drawn.index), minlength=64)
    assert counts[32:].sum() == 0, "never written"
    chi_square = ((counts[:32] - 200_000 * odds) ** 2 / (200_000 * odds)).sum()
    assert chi_square < 31 + 5 * np.sqrt(62)
    weight = (32 * odds[np.asarray(drawn.index)]) ** -0.5
    np.testing.assert_allclose(drawn.weight, weight / weight.max(), rtol=1e-4)


@pytest.mark.parametrize(("make", "most"), [(replay.uniform, 1.001), (replay.prioritised, 1.1)])
def test_a_ring_takes_little_more_than_its_data(make, most) -> None:
    ends = {"terminated": jnp.bool_(False), "truncated": jnp.bool_(False)}
    transition = {"x_tm1": jnp.zeros(4), "a_tm1": jnp.int32(0), "r_t": jnp.float32(0), "x_t": jnp.zeros(4)} | ends
    bare = sum(leaf.nbytes for leaf in jax.tree.leaves(transition))
    state = make(100_000).init(transition, 1, 1)
    assert bare == 42
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) < most * 100_000 * bare


@pytest.mark.parametrize("make", [replay.uniform, replay.prioritised])
@pytest.mark.parametrize("members", [1, 16])
def test_rings_are_written_in_place(optimised, make, members) -> None:
    """One member alone, or several under `vmap`: no copy of the buffers in a loop of writes, draws and new priorities."""
    memory = make(20_000)
    state = jax.vmap(lambda _: memory.init(jnp.zeros(2), 1, 1))(jnp.arange(members))  # priorities weigh

    def both(key: jax.Array, state: replay.State) -> tuple[replay.State, jax.Array]:
        state = memory.add(state, jnp.ones((10, 1, 2)))
        drawn = memory.sample(key, state, 32)
        error = drawn.transition.mean(axis=(1, 2)) - 1.0
        return memory.update(state, drawn.index, error), jnp.vdot(drawn.weight, error)

    def many(state: replay.State, keys: jax.Array) -> tuple[replay.State, jax.Array]:
        return jax.lax.scan(lambda state, keys: jax.vmap(both)(keys, state), state, keys)

    keys = jax.random.split(jax.random.key(0), (50, members))
    used = jax.jit(many, donate_argnums=0).lower(state, keys).compile().memory_analysis()
    assert used is not None
    assert used.temp_size_in_bytes < 0.1 * sum(leaf.nbytes for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(("capacity", "num_envs", "n", "steps"), [(768, 1, 1, 384), (100, 1, 1, 50), (385, 5, 2, 7)])
def test_every_sum_is_that_of_its_children_wherever_a_block_begins(capacity, num_envs, n, steps):
    """Groups are renewed by one slot of each: blocks that end within one, and the ring's own end, leave none out."""
    memory = replay.prioritised(capacity)
    state, rng = memory.init(jnp.int32(0), num_envs, n), np.random.default_rng(0)
    add, update = jax.jit(memory.add), jax.jit(memory.update)
    for _ in range(2 * capacity // (steps * num_envs) + 2):
        state = add(state, jnp.zeros((steps, num_envs), jnp.int32))
        slots = jnp.asarray(rng.integers(capacity, size=20), jnp.int32)
        state = update(state, slots, jnp.asarray(rng.exponential(size=20), jnp.float32))
        for parents, children in itertools.pairwise(state.sums):
            sums = np.asarray(children, np.float64).sum(axis=1)
            np.testing.assert_allclose(np.ravel(parents)[: len(sums)], sums, rtol=1e-5)
    assert (np.ravel(state.sums[-1])[:capacity] > 0).sum() == capacity - (n - 1) * num_envs


def test_leaves_keep_their_types_and_trees_their_form() -> None:
    memory = replay.uniform(4)
    example = {"o": jnp.zeros((2, 2), jnp.uint8), "x": (jnp.float32(0), jnp.bool_(False))}
    state = memory.init(example, 1, 1)
    written = jax.tree.map(lambda leaf: jnp.ones((4, 1, *leaf.shape), leaf.dtype), example)
    drawn = memory.sample(jax.random.key(0), memory.add(state, written), 3).transition
    for leaf, like in zip(jax.tree.leaves(drawn), jax.tree.leaves(example), strict=True):
        assert leaf.dtype == like.dtype and leaf.shape == (3, 1, *like.shape) and bool(leaf.astype(bool).all())
    assert jax.tree.structure(drawn) == jax.tree.structure(example)


def test_ten_million_draws_never_meet_a_slot_of_zero_priority(optimised) -> None:
    """Odd slots of the written half have 10^6, even ones nothing but eps, 10^-12 as likely; the rest was never written."""
    memory = replay.prioritised(1000, alpha=1.0)
    state = memory.add(memory.init(jnp.int32(0), 1, 1), jnp.arange(500, dtype=jnp.int32)[:, None])
    slot = jnp.arange(500, dtype=jnp.int32)
    state = memory.update(state, slot, jnp.where(slot % 2 == 1, 1e6, 0.0))

    @jax.jit
    def wrong(state: replay.PrioritisedState, key: jax.Array) -> jax.Array:
        def count(total: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
            index = memory.sample(jax.random.fold_in(key, i), state, 10_000).index
            return total + ((index >= 500) | (index % 2 == 0)).sum(dtype=jnp.int32), None

        return jax.lax.scan(count, jnp.int32(0), jnp.arange(1000))[0]

    assert int(wrong(state, jax.random.key(0))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replay.uniform(0), "capacity is 0"),
        (lambda: replay.uniform(10).init(EXAMPLE, 3, 1), "multiple of 3"),
        (lambda: replay.uniform(10).init(EXAMPLE, 1, 11), "n <= 10"),
        (lambda: replay.prioritised(10, alpha=2.0), "alpha is 2"),
        (lambda: replay.uniform(10).add(replay.uniform(10).init(EXAMPLE, 1, 1), block(0, 3, 1)), "divides them"),
        (lambda: replay.uniform(10).sample(jax.random.key(0), replay.uniform(10).init(EXAMPLE, 1, 1), 2), "one window"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_negative_priorities_and_nan_are_refused():
    memory = replay.prioritised(4)
    state = memory.add(memory.init(jnp.int32(0), 1, 1), jnp.arange(4, dtype=jnp.int32)[:, None])
    for wrong in (-1.0, np.nan):
        with pytest.raises(ValueError, match="priority"):
            memory.update(state, jnp.array([0], jnp.int32), jnp.array([wrong], jnp.float32))
    with pytest.raises(TypeError, match="index is of float32; expected whole numbers"):
        memory.update(state, jnp.array([0.0]), jnp.ones(1))
    for wrong in (-1, 4):  # no slot: a leaf of nothing would be drawn
        with pytest.raises(ValueError, match=r"expected slots 0 \.\.\. 3"):
            memory.update(state, jnp.array([wrong], jnp.int32), jnp.array([1.0], jnp.float32))
