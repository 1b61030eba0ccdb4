"""Returns: numbers by hand, float64 loops, and the laws that hold for every stream of experience."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rljax import backups
from rljax.returns import (
    discounted_returns,
    gae,
    lambda_returns,
    n_step_returns,
    n_step_reward,
    normalise,
    peng_q_lambda,
    watkins_q_lambda,
)

pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")
T = 7
random_laws = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Stream(NamedTuple):
    r_t: np.ndarray
    discount_t: np.ndarray
    v_tm1: np.ndarray
    v_t: np.ndarray
    lambda_t: np.ndarray


def close(a, b, scale=1.0):
    """To a few roundings of whichever precision is on; `scale` is the size of what was added up."""
    tolerance = scale * (1e-12 if jax.config.jax_enable_x64 else 4e-6)
    chex.assert_trees_all_close(
        np.asarray(a, np.float64), np.asarray(b, np.float64), rtol=tolerance, atol=20 * tolerance
    )


def floats(stream):
    return jax.tree.map(lambda x: jnp.asarray(x, float), stream)


def random_stream(size, seed=0, ends=0.2):
    """Steps go on, terminate (discount 0) or are truncated (lambda 0)."""
    rng = np.random.default_rng(seed)
    r_t, v_tm1, v_t = rng.normal(size=(3, size))
    discount_t = np.where(rng.random(size) < ends, 0.0, 0.99)
    lambda_t = np.where(rng.random(size) < ends, 0.0, 0.9)
    return Stream(r_t, discount_t, v_tm1, v_t, lambda_t)


def on(stream, parallel):
    """Every function of the module, on one stream."""
    r_t, discount_t, v_tm1, v_t, lambda_t = stream
    whole = jnp.ceil(lambda_t)  # n-step returns ask for cuts alone: 0 or 1
    return {
        "discounted": discounted_returns(r_t, discount_t, parallel=parallel),
        "lambda": lambda_returns(r_t, discount_t, v_t, lambda_t, parallel=parallel),
        "n step": n_step_returns(r_t, discount_t, v_t, 3, lambda_t=whole),
        "gae": gae(r_t, discount_t, v_tm1, v_t, lambda_t, parallel=parallel),
    }


def every(stream):
    return on(stream, parallel=False)


every_jitted = jax.jit(every)
every_parallel = jax.jit(lambda stream: on(stream, parallel=True))

values = arrays(np.float64, T, elements=st.floats(-10, 10, width=32))
fractions = arrays(np.float64, T, elements=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
streams = st.builds(Stream, values, fractions, values, values, fractions)


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_the_chapters_rewards_are_worth_what_the_chapter_says():
    close(discounted_returns(jnp.array([10.0, 0.0, -50.0]), 0.8), [-22, -40, -50])
    close(discounted_returns(jnp.array([10.0, 20.0]), 0.8), [26, 20])


def test_whole_rewards_are_not_truncated():
    for rewards in (jnp.array([10, 0, -5], jnp.int32), np.array([10, 0, -5], np.int32)):
        g_t = discounted_returns(rewards, 0.7)  # -5, -3.5, 10 - 2.45
        assert jnp.issubdtype(g_t.dtype, jnp.floating)
        close(g_t, [7.55, -3.5, -5])
    ones = np.ones(2, np.int32)
    close(lambda_returns(ones, jnp.full(2, 0.5), ones, 0.5), [1 + 0.25 + 0.25 * 1.5, 1.5])
    close(n_step_returns(ones, jnp.full(2, 0.5), ones, 2), [1.75, 1.5])
    close(gae(ones, jnp.full(2, 0.5), ones, ones, 0.5), [0.5 + 0.25 * 0.5, 0.5])
    close(normalise(np.array([0, 1], np.int32)), [-1, 1])


@in_both_precisions
def test_the_chapters_normalised_returns():
    x = jnp.array([[-22.0, -40.0, -50.0], [26.0, 20.0, 1e9]])
    y = normalise(x, jnp.array([[True, True, True], [True, True, False]]))
    expected = np.array([[-0.28435071, -0.86597718, -1.18910299], [1.26665318, 1.0727777, 0.0]])
    chex.assert_trees_all_close(np.asarray(y, np.float64), expected, atol=2e-7 if y.dtype == jnp.float32 else 5e-9)


# One trajectory, gamma 1/2: step 1 terminates, step 3 is truncated where the successor is worth 8, the stream goes on
# beyond step 4 to a state worth 40.
BOTH_ENDS = Stream(
    r_t=np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
    discount_t=np.array([0.5, 0.0, 0.5, 0.5, 0.5]),
    v_tm1=np.array([1.0, 10.0, 7.0, 30.0, 2.0]),
    v_t=np.array([10.0, 20.0, 30.0, 8.0, 40.0]),
    lambda_t=np.array([1.0, 1.0, 1.0, 0.0, 1.0]),
)


@in_both_precisions
def test_termination_has_no_future_and_truncation_has_its_value():
    r_t, discount_t, v_tm1, v_t, cuts = floats(BOTH_ENDS)
    whole = [1 + 0.5 * 2, 2, 3 + 0.5 * 8, 4 + 0.5 * 8, 5 + 0.5 * 40]
    one_step = [1 + 0.5 * 10, 2, 3 + 0.5 * 30, 4 + 0.5 * 8, 5 + 0.5 * 40]
    half = [1 + 0.5 * (10 + 2) / 2, 2, 3 + 0.5 * (30 + 8) / 2, 8, 25]
    close(lambda_returns(r_t, discount_t, v_t, cuts), whole)
    close(lambda_returns(r_t, discount_t, v_t, 0.0), one_step)
    close(lambda_returns(r_t, discount_t, v_t, 0.5 * cuts), half)
    close(n_step_returns(r_t, discount_t, v_t, 1, lambda_t=cuts), one_step)
    close(n_step_returns(r_t, discount_t, v_t, 2, lambda_t=cuts), whole)
    close(gae(r_t, discount_t, v_tm1, v_t, cuts), [2 - 1, 2 - 10, 7 - 7, 8 - 30, 25 - 2])
    # delta = 5, -8, 11, -22, 23, and each but the ends adds a quarter of the next one's sum
    close(gae(r_t, discount_t, v_tm1, v_t, 0.5 * cuts), [5 - 8 / 4, -8, 11 - 22 / 4, -22, 23])


def test_fewer_than_n_rewards_are_used_where_fewer_are_left():
    r_t, discount_t, v_t = jnp.ones(4), jnp.full(4, 0.5), jnp.array([100.0, 200.0, 400.0, 800.0])
    close(n_step_returns(r_t, discount_t, v_t, 2), [1.5 + 200 / 4, 1.5 + 400 / 4, 1.5 + 800 / 4, 1 + 800 / 2])
    close(n_step_returns(r_t, discount_t, v_t, 3), [1.75 + 400 / 8, 1.75 + 800 / 8, 1.5 + 800 / 4, 1 + 800 / 2])


# Oracle: forward views, each step on its own --------------------------------------------------------------------------


def look_ahead(stream, t, n):
    """n rewards from step t on and then the value, or fewer if an end comes first."""
    r_t, discount_t, _, v_t, lambda_t = stream
    total, weight = 0.0, 1.0
    for k in range(t, min(t + n, len(r_t))):
        total += weight * r_t[k]
        weight *= discount_t[k]
        if lambda_t[k] == 0:
            break
    return total + weight * v_t[k]


def forward_view(stream):
    r_t, discount_t, v_tm1, v_t, lambda_t = (np.asarray(x, np.float64) for x in stream)
    size = len(r_t)
    out = {name: np.zeros(size) for name in ("discounted", "lambda", "n step", "gae")}
    for t in range(size):
        weight = 1.0
        for k in range(t, size):
            out["discounted"][t] += weight * r_t[k]
            weight *= discount_t[k]
        # Lambda is the probability of going on at each step; where one stops, the value stands for the rest.
        rewards, weight, going = 0.0, 1.0, 1.0
        for k in range(t, size):
            rewards += weight * r_t[k]
            weight *= discount_t[k]
            stop = 1 - lambda_t[k] if k < size - 1 else 1.0
            out["lambda"][t] += going * stop * (rewards + weight * v_t[k])
            going *= lambda_t[k]
        weight = 1.0
        for k in range(t, size):
            out["gae"][t] += weight * (r_t[k] + discount_t[k] * v_t[k] - v_tm1[k])
            weight *= discount_t[k] * lambda_t[k]
        out["n step"][t] = look_ahead(stream, t, 3)
    return out


@in_both_precisions
@random_laws
@given(streams)
def test_every_return_is_its_forward_view(stream):
    ours, expected = every_jitted(floats(stream)), forward_view(stream)
    for name in expected:
        close(ours[name], expected[name], scale=10)


@in_both_precisions
@pytest.mark.parametrize("size", [1, 2, T])
def test_the_parallel_scan_finds_the_forward_view_too(size):
    for seed in range(5):
        stream = random_stream(size, seed)
        ours, expected = every_parallel(floats(stream)), forward_view(stream)
        for name in expected:
            close(ours[name], expected[name], scale=10)


@in_both_precisions
def test_the_parallel_scan_finds_what_the_loop_finds_on_a_long_stream():
    stream = floats(random_stream(1000, ends=0.005))
    one, other = (
        jax.jit(lambda s, p=parallel: gae(*s, parallel=p))(stream._replace(lambda_t=stream.lambda_t * 0 + 1))
        for parallel in (False, True)
    )
    assert np.abs(one).max() > 10  # long sums, not short ones
    close(other, one, scale=10)


# Laws ----------------------------------------------------------------------------------------------------------------


@jax.jit
def special_cases(stream):
    r_t, discount_t, _, v_t, _ = stream
    return {
        "lambda 0": lambda_returns(r_t, discount_t, v_t, 0.0),
        "lambda 1": lambda_returns(r_t, discount_t, v_t, 1.0),
        "1 step": n_step_returns(r_t, discount_t, v_t, 1),
        "T steps": n_step_returns(r_t, discount_t, v_t, T),
        "more than T steps": n_step_returns(r_t, discount_t, v_t, T + 5),
        "bootstrapped": discounted_returns(r_t.at[-1].add(discount_t[-1] * v_t[-1]), discount_t),
        "mixture": 0.25 * sum(0.75 ** (n - 1) * n_step_returns(r_t, discount_t, v_t, n) for n in range(1, T))
        + 0.75 ** (T - 1) * n_step_returns(r_t, discount_t, v_t, T),
        "lambda 3/4": lambda_returns(r_t, discount_t, v_t, 0.75),
    }


@in_both_precisions
@random_laws
@given(streams)
def test_lambda_and_n_meet_at_their_ends(stream):
    stream = floats(stream)
    found = special_cases(stream)
    td = stream.r_t + stream.discount_t * stream.v_t
    close(found["lambda 0"], td)
    close(found["1 step"], td)
    close(found["lambda 1"], found["bootstrapped"], scale=10)
    close(found["T steps"], found["bootstrapped"], scale=10)
    close(found["more than T steps"], found["bootstrapped"], scale=10)
    close(found["lambda 3/4"], found["mixture"], scale=10)


@in_both_precisions
@random_laws
@given(streams)
def test_an_advantage_is_a_lambda_return_less_the_value_where_values_continue(stream):
    v_tm1 = np.concatenate([stream.v_tm1[:1], stream.v_t[:-1]])
    found = every_jitted(floats(stream._replace(v_tm1=v_tm1)))
    close(found["gae"], found["lambda"] - jnp.asarray(v_tm1, float), scale=10)


def end_at(stream, last, terminated):
    """The stream with an episode that ends at step `last`."""
    name = "discount_t" if terminated else "lambda_t"
    return stream._replace(**{name: np.where(np.arange(len(stream.r_t)) == last, 0.0, getattr(stream, name))})


@in_both_precisions
@random_laws
@given(streams, streams, st.integers(0, T - 2), st.booleans())
def test_nothing_leaks_across_the_end_of_an_episode(stream, other, last, terminated):
    """Bit for bit: what comes after an end does not change what is before, nor the other way round."""
    first = np.arange(T) <= last
    after = jax.tree.map(lambda x, y: np.where(first, x, y), stream, other)
    before = jax.tree.map(lambda x, y: np.where(first, y, x), stream, other)
    names = ("discounted", "lambda", "n step", "gae") if terminated else ("lambda", "n step", "gae")
    for compute in (every_jitted, every_parallel):
        base, after_, before_ = (compute(floats(end_at(s, last, terminated))) for s in (stream, after, before))
        for name in names:
            if compute is every_jitted:
                chex.assert_trees_all_equal(base[name][: last + 1], after_[name][: last + 1])
                chex.assert_trees_all_equal(base[name][last + 1 :], before_[name][last + 1 :])
            else:
                close(base[name][: last + 1], after_[name][: last + 1], scale=10)
                close(base[name][last + 1 :], before_[name][last + 1 :], scale=10)


@pytest.mark.parametrize(("last", "terminated"), [(0, False), (2, True), (5, True), (5, False)])
def test_a_stream_cut_at_an_end_is_two_streams(last, terminated):
    stream = floats(end_at(random_stream(T, seed=last, ends=0.0), last, terminated))
    pieces = [jax.tree.map(lambda x, s=s: x[s], stream) for s in (slice(last + 1), slice(last + 1, T))]
    whole, apart = every_jitted(stream), [every_jitted(piece) for piece in pieces]
    for name in whole:
        if terminated or name != "discounted":  # discounted returns know no truncation
            close(whole[name], jnp.concatenate([piece[name] for piece in apart]))


def test_termination_forgets_the_value_of_what_comes_next():
    stream = end_at(random_stream(T, ends=0.0), 3, terminated=True)
    changed = stream._replace(v_t=np.where(np.arange(T) == 3, 1e6, stream.v_t))
    chex.assert_trees_all_equal(every_jitted(floats(stream)), every_jitted(floats(changed)))


# Q(lambda) ------------------------------------------------------------------------------------------------------------


class Played(NamedTuple):
    r_t: np.ndarray
    discount_t: np.ndarray
    q_t: np.ndarray
    a_t: np.ndarray
    lambda_t: np.ndarray
    mask_t: np.ndarray


def played(seed, mixture=0.9):
    """Steps go on, terminate (discount 0) or are truncated (lambda 0); half of the actions are greedy, a tenth of the
    states have no action at all, and values are whole, so that many are equal."""
    rng = np.random.default_rng(seed)
    q_t, mask_t = rng.integers(-3, 4, (T, 3)).astype(float), rng.random((T, 3)) < 0.7 * (rng.random((T, 1)) < 0.9)
    best = np.where(mask_t, q_t, -np.inf).argmax(axis=1)
    a_t = np.where(rng.random(T) < 0.5, best, rng.integers(0, 3, T)).astype(np.int32)
    discount_t = np.where(rng.random(T) < 0.2, 0.0, 0.95)
    lambda_t = np.where(rng.random(T) < 0.2, 0.0, mixture)
    return Played(rng.normal(size=T), discount_t, q_t, a_t, lambda_t, mask_t)


def of_floats(stream):
    floats = {name: jnp.asarray(getattr(stream, name), float) for name in ("r_t", "discount_t", "q_t", "lambda_t")}
    return stream._replace(**floats, a_t=jnp.asarray(stream.a_t), mask_t=jnp.asarray(stream.mask_t))


@jax.jit
def q_lambdas(s):
    peng, watkins = s[:3] + (s.lambda_t, s.mask_t), s[:5] + (s.mask_t,)
    return {
        "peng": peng_q_lambda(*peng),
        "peng, parallel": peng_q_lambda(*peng, parallel=True),
        "watkins": watkins_q_lambda(*watkins),
        "watkins, parallel": watkins_q_lambda(*watkins, parallel=True),
    }


def q_forward_view(s, t, watkins):
    """From step t on: at each arrival go on with probability lambda, unless something forbids it; then take the best."""
    total, weight, going = 0.0, 1.0, 1.0
    for k in range(t, T):
        available = [s.q_t[k, a] for a in range(3) if s.mask_t[k, a]]
        best = max(available, default=0.0)
        total += going * weight * s.r_t[k]
        weight *= s.discount_t[k]
        on = s.lambda_t[k] if available and k < T - 1 else 0.0
        if watkins and not (s.mask_t[k, s.a_t[k]] and s.q_t[k, s.a_t[k]] == best):
            on = 0.0
        total += going * (1 - on) * weight * best
        going *= on
    return total


@in_both_precisions
def test_q_lambdas_by_hand():
    # Step 1 terminates, step 3 is truncated; the action after step 0 is greedy, the one after step 2 is not.
    r_t, discount_t = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0]), jnp.array([0.5, 0.0, 0.5, 0.5, 0.5])
    q_t, a_t = jnp.array([[4.0, 0], [9, 9], [2, 6], [8, 0], [0, 40]]), jnp.array([0, 0, 0, 0, 0])
    cuts = jnp.array([1.0, 1.0, 1.0, 0.0, 1.0])
    close(peng_q_lambda(r_t, discount_t, q_t, cuts), [1 + 2 / 2, 2, 3 + 8 / 2, 4 + 8 / 2, 5 + 40 / 2])
    close(watkins_q_lambda(r_t, discount_t, q_t, a_t, cuts), [1 + 2 / 2, 2, 3 + 6 / 2, 4 + 8 / 2, 5 + 40 / 2])
    close(peng_q_lambda(r_t, discount_t, q_t, cuts / 2), [1 + (4 + 2) / 4, 2, 3 + (6 + 8) / 4, 8, 25])
    close(watkins_q_lambda(r_t, discount_t, q_t, a_t, cuts / 2), [1 + (4 + 2) / 4, 2, 6, 8, 25])
    first = jnp.array([[True, False]] * 5)  # the second action is not there: what is done is always the best
    close(watkins_q_lambda(r_t, discount_t, q_t, a_t, cuts, first), [2, 2, 3 + 8 / 2, 8, 5])


@in_both_precisions
def test_q_lambdas_are_their_forward_views():
    for seed in range(30):
        stream = played(seed)
        found = q_lambdas(of_floats(stream))
        for name, values in found.items():
            close(values, [q_forward_view(stream, t, "watkins" in name) for t in range(T)], scale=10)


@in_both_precisions
def test_q_lambdas_meet_q_learning_and_the_return():
    for seed in range(5):
        stream = played(seed)
        s = of_floats(stream._replace(lambda_t=np.zeros(T)))
        one_step = jax.vmap(backups.q_learning_target)(s.r_t, s.discount_t, s.q_t, s.mask_t)
        for values in q_lambdas(s).values():
            close(values, one_step)
        everything = np.ones((T, 3), bool)
        greedy = stream._replace(lambda_t=np.ones(T), mask_t=everything, a_t=stream.q_t.argmax(axis=1).astype(np.int32))
        s = of_floats(greedy)
        whole = discounted_returns(s.r_t.at[-1].add(s.discount_t[-1] * s.q_t[-1].max()), s.discount_t)
        for values in q_lambdas(s).values():
            close(values, whole, scale=10)


def test_nothing_foul_enters_a_q_lambda_through_a_mask_and_nothing_foul_is_hidden():
    stream = of_floats(played(0))
    stream = stream._replace(mask_t=stream.mask_t.at[2].set(False))
    want = q_lambdas(stream)
    for foul in (np.nan, np.inf, 1e30):
        dirty = stream._replace(q_t=jnp.where(stream.mask_t, stream.q_t, foul))
        chex.assert_trees_all_equal(q_lambdas(dirty), want)
    slope = jax.grad(lambda q: q_lambdas(stream._replace(q_t=q))["watkins"].sum())(stream.q_t)
    assert np.isfinite(slope).all() and not slope[~stream.mask_t].any() and slope.any()
    for values in q_lambdas(stream._replace(q_t=jnp.full((T, 3), jnp.nan), mask_t=jnp.ones((T, 3), bool))).values():
        assert np.isnan(values).all()


def test_q_lambdas_refuse_what_does_not_fit():
    row, q = np.ones(5, np.float32), np.ones((5, 2), np.float32)
    whole, yes = np.zeros(5, np.int32), np.ones((5, 2), bool)
    for wrong, message in (
        (row, "q_t has shape"),
        (q[:3], r"q_t\[:, 0\] \(3,\)"),
        (q[:, :0], "number of actions is 0"),
    ):
        for call in (lambda q: peng_q_lambda(row, row, q, 0.5), lambda q: watkins_q_lambda(row, row, q, whole, 0.5)):
            with pytest.raises(ValueError, match=message):
                call(wrong)
    with pytest.raises(ValueError, match=r"q_t has shape \(5, 2\) and mask_t \(5, 1\)"):
        peng_q_lambda(row, row, q, 0.5, yes[:, :1])
    with pytest.raises(TypeError, match="mask_t has type float32; expected bool"):
        peng_q_lambda(row, row, q, 0.5, q)
    with pytest.raises(ValueError, match="lambda_t"):
        peng_q_lambda(row, row, q, row[:2])
    with pytest.raises(ValueError, match=r"r_t has shape \(5,\) and a_t \(4,\)"):
        watkins_q_lambda(row, row, q, whole[:4], 0.5)
    with pytest.raises(TypeError, match="a_t has type float32; expected integers"):
        watkins_q_lambda(row, row, q, row, 0.5)


# Normalisation --------------------------------------------------------------------------------------------------------

batches = arrays(np.float64, (3, 4), elements=st.floats(-100, 100, width=16))
masks = arrays(np.bool_, (3, 4))
normalised = jax.jit(normalise)


@in_both_precisions
@random_laws
@given(batches, masks)
def test_valid_entries_come_out_with_mean_0_and_deviation_1_and_padding_with_0(x, valid):
    y = np.asarray(normalised(jnp.asarray(x, float), valid), np.float64)
    assert not y[~valid].any()
    if valid.any() and np.ptp(x[valid]) > 1e-2:
        expected = (x[valid] - x[valid].mean()) / x[valid].std()
        close(y[valid], expected, scale=1000)
    chex.assert_tree_all_finite(y)


@in_both_precisions
@random_laws
@given(batches, masks)
def test_padding_has_no_influence(x, valid):
    chex.assert_trees_all_equal(
        normalised(jnp.asarray(np.where(valid, x, np.nan), float), valid),
        normalised(jnp.asarray(np.where(valid, x, 1e30), float), valid),
    )


def test_all_valid_is_the_default():
    x = jnp.arange(6.0).reshape(2, 3)
    chex.assert_trees_all_equal(normalise(x), normalise(x, jnp.ones((2, 3), bool)))


@in_both_precisions
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -0.3, 3.3, 1e-3, 12345.678])
def test_equal_returns_are_neither_better_nor_worse(value):
    """Also where the mean of equal numbers is rounded, and is not quite that number."""
    for count in range(1, 13):
        valid = np.arange(12).reshape(3, 4) < count
        x = jnp.asarray(np.where(valid, value, 5.0), float)
        chex.assert_trees_all_equal(normalised(x, valid), jnp.zeros((3, 4)))


@in_both_precisions
@pytest.mark.parametrize("size", [1000, 20_000])
def test_a_long_batch_of_equal_returns_is_neither_better_nor_worse(size):
    for value in (0.1, 0.3, 19.99):
        chex.assert_trees_all_equal(normalised(jnp.full(size, value)), jnp.zeros(size))


@in_both_precisions
def test_small_differences_between_large_returns_are_not_rounding():
    """Exact in float32, whose neighbours are 1/16 apart there."""
    close(normalise(jnp.array([1e6, 1e6 + 0.5])), [-1, 1])
    close(normalise(jnp.array([-1e6, -1e6 + 0.25, -1e6 + 0.5])), [-np.sqrt(1.5), 0, np.sqrt(1.5)])
    close(normalise(jnp.array([1e-10, 3e-10])), [-1, 1])


@in_both_precisions
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_returns_of_any_size_are_normalised(scale):
    """Their squares are beyond float32."""
    close(normalised(jnp.array([1.0, 2.0, 3.0]) * scale), [-np.sqrt(1.5), 0, np.sqrt(1.5)])


@in_both_precisions
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_normalised_away(poison):
    """Weights of zero would hide the fault: nothing is learned and nothing is reported."""
    x, valid = jnp.array([1.0, poison, 3.0, 4.0]), jnp.array([True, True, True, False])
    y = np.asarray(normalised(x, valid))
    assert np.isnan(y[:3]).all() and y[3] == 0
    assert np.isfinite(np.asarray(normalised(x, jnp.array([True, False, True, True])))).all()


# Refusals -------------------------------------------------------------------------------------------------------------

ROW, COLUMN, SHORT = np.ones(5, np.float32), np.ones((5, 1), np.float32), np.ones(1, np.float32)
GOOD = dict.fromkeys(Stream._fields, ROW)


@pytest.mark.parametrize("wrong", [COLUMN, COLUMN.T, SHORT], ids=["column", "row", "single"])
@pytest.mark.parametrize(
    ("function", "names"),
    [
        (discounted_returns, ("r_t", "discount_t")),
        (lambda_returns, ("r_t", "discount_t", "v_t", "lambda_t")),
        (
            lambda r_t, discount_t, v_t, lambda_t: n_step_returns(r_t, discount_t, v_t, 2, lambda_t=lambda_t),
            ("r_t", "discount_t", "v_t", "lambda_t"),
        ),
        (gae, ("r_t", "discount_t", "v_tm1", "v_t", "lambda_t")),
    ],
    ids=["discounted", "lambda", "n step", "gae"],
)
def test_an_argument_of_another_shape_is_refused_by_name(function, names, wrong):
    for name in names:
        with pytest.raises(ValueError, match=rf"{name}.* has shape|{name} \("):
            function(*({**GOOD, name: wrong}[n] for n in names))


def test_a_batch_is_refused_and_sent_to_vmap():
    for function, count in ((discounted_returns, 2), (lambda_returns, 4), (gae, 5)):
        with pytest.raises(ValueError, match=r"r_t has shape \(5, 1\); expected 1 axis.*jax\.vmap"):
            function(*[COLUMN] * count)
    with pytest.raises(ValueError, match=r"r_t has shape \(\); expected 1 axis"):
        discounted_returns(1.0, 0.9)


def test_normalise_refuses_a_mask_of_another_shape_or_type():
    with pytest.raises(ValueError, match=r"x has shape \(5,\) and valid \(5, 1\)"):
        normalise(ROW, COLUMN.astype(bool))
    with pytest.raises(TypeError, match="valid has type float32; expected bool"):
        normalise(ROW, ROW)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_n_below_one_or_not_whole_is_refused(n, error):
    with pytest.raises(error, match=f"n is {n}"):
        n_step_returns(ROW, ROW, ROW, n)


@pytest.mark.parametrize("name", ["discount_t", "lambda_t"])
@pytest.mark.parametrize("wrong", [-0.1, 1.5, np.nan])
def test_a_discount_or_a_mixture_outside_of_0_and_1_is_refused(name, wrong):
    message = rf"{name}(\[2\])? is .*; expected a number in \[0, 1\]"
    for value in (wrong, ROW * np.where(np.arange(5) == 2, wrong, 1).astype(np.float32)):
        given = {**GOOD, name: value}
        with pytest.raises(ValueError, match=message):
            lambda_returns(*(given[n] for n in ("r_t", "discount_t", "v_t", "lambda_t")))
        with pytest.raises(ValueError, match=r"discount_t(\[2\])? is"):
            discounted_returns(ROW, value)


def test_what_is_no_array_of_numbers_is_refused():
    r_t = jnp.zeros(3)
    for wrong in (None, "abc", np.array(["a", "b", "c"]), np.ones(3, complex)):
        with pytest.raises(TypeError, match=r"discount_t is (?s:.*); expected an array of numbers"):
            discounted_returns(r_t, wrong)
        with pytest.raises(TypeError, match="an array of numbers is expected"):
            discounted_returns(wrong, 0.9)
        if wrong is not None:
            with pytest.raises(TypeError, match=r"valid is (?s:.*); expected an array of numbers"):
                normalise(r_t, wrong)
        with pytest.raises(TypeError, match=r"terminated is (?s:.*); expected an array of numbers"):
            n_step_reward(r_t, wrong, wrong, 0.9)


def test_an_empty_stream_is_refused_by_all():
    empty = np.zeros(0, np.float32)
    for function, count in ((discounted_returns, 2), (lambda_returns, 4), (gae, 5)):
        with pytest.raises(ValueError, match="the length of the stream is 0"):
            function(*[empty] * count)
    with pytest.raises(ValueError, match="the length of the stream is 0"):
        n_step_returns(empty, empty, empty, 2)


# Transformations ------------------------------------------------------------------------------------------------------


def test_eager_jitted_vmapped_and_scanned_returns_are_equal_and_traced_once():
    batch = [floats(random_stream(T, seed)) for seed in range(3)]
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(every, n=1))
    columns = jax.tree.map(lambda *x: jnp.stack(x, 1), *batch)  # time-major [T, B]
    mapped = jax.vmap(every, in_axes=1, out_axes=1)(columns)
    rows = jax.tree.map(lambda *x: jnp.stack(x), *batch)
    scanned = jax.lax.scan(lambda carry, stream: (carry, every(stream)), None, rows)[1]
    for i, stream in enumerate(batch):
        eager = every(stream)
        for name in eager:
            close(traced(stream)[name], eager[name])
            close(mapped[name][:, i], eager[name])
            close(scanned[name][i], eager[name])


def test_one_discount_for_all_may_be_traced():
    r_t = jnp.array([10.0, 0.0, -50.0])
    found = jax.vmap(lambda gamma: discounted_returns(r_t, gamma))(jnp.array([0.0, 0.8, 1.0]))
    close(found, [[10, 0, -50], [-22, -40, -50], [-40, -50, -50]])


def test_gradients_reach_every_argument_and_are_those_of_finite_differences():
    def function(stream):
        r_t, discount_t, _, v_t, _ = stream
        of_both = [{k: v for k, v in on(stream, p).items() if k != "n step"} for p in (False, True)]
        return of_both, n_step_returns(r_t, discount_t, v_t, 3)

    with jax.enable_x64(True):
        stream = floats(random_stream(4, ends=0.0))
        jax.test_util.check_grads(jax.jit(function), (stream,), 1, ["rev"], 1e-6, 1e-6, 1e-6)


def test_gradients_by_hand():
    # G_0 = r_0 + d_0 (r_1 + d_1 r_2)
    r_t, discount_t = jnp.array([1.0, 2.0, 3.0]), jnp.array([0.5, 0.25, 0.9])
    d_r, d_d = jax.grad(lambda r, d: discounted_returns(r, d)[0], (0, 1))(r_t, discount_t)
    close(d_r, [1, 0.5, 0.125])
    close(d_d, [2.75, 1.5, 0])
    # A_0 = delta_0 + d_0 l_0 delta_1 by v_{t-1}: -1 and -d_0 l_0
    close(jax.grad(lambda v: gae(r_t, discount_t, v, r_t, 0.5)[0])(r_t), [-1, -0.25, -0.03125])


@pytest.mark.parametrize("x", [[1.0, 2.0, 4.0], [2.0, 2.0, 2.0]], ids=["different", "equal"])
@pytest.mark.parametrize("count", [3, 1, 0])
def test_gradients_of_normalised_returns_are_finite(x, count):
    gradient = jax.jit(jax.grad(lambda x, valid: normalise(x, valid) @ jnp.array([1.0, 5.0, 2.0])))
    chex.assert_tree_all_finite(gradient(jnp.array(x), jnp.arange(3) < count))


@pytest.mark.parametrize("n", [1, 4])
def test_n_step_reward_is_a_loop_that_stops_at_the_first_boundary(n) -> None:
    rng = np.random.default_rng(0)
    r_t, gamma = rng.normal(size=(200, n)).astype(np.float32), 0.9
    terminated, truncated = rng.random((2, 200, n)) < 0.2
    given = jax.vmap(lambda *window: n_step_reward(*window, gamma))(r_t, terminated, truncated)
    for i in range(200):
        reward = 0.0
        for k in range(n):
            reward += gamma**k * float(r_t[i, k])
            if terminated[i, k] or truncated[i, k]:
                break
        discount = 0.0 if terminated[i, k] else gamma ** (k + 1)  # that of an end which is both is an end
        np.testing.assert_allclose([float(x[i]) for x in given], [reward, discount, k], rtol=1e-5, atol=1e-6)


def test_n_step_reward_refuses_what_does_not_fit() -> None:
    no = np.zeros(3, bool)
    with pytest.raises(ValueError, match="expected equal shapes"):
        n_step_reward(np.zeros(3, np.float32), no, no[:2], 0.9)
    with pytest.raises(TypeError, match="expected bool"):
        n_step_reward(np.zeros(3, np.float32), np.zeros(3), no, 0.9)
