"""One-transition targets and errors: by hand, the laws that join them, masks, ends, gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import backups

pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")
Q = (4.0, 8.0, 6.0)
MASK = (True, False, True)


def close(a, b, atol=1e-6):
    chex.assert_trees_all_close(np.asarray(a, np.float64), np.asarray(b, np.float64), atol=atol)


def calls(q_t, mask_t=None, discount=0.5, r=1.0):
    """Every target of one transition; the other table is the same one."""
    q_t = jnp.asarray(q_t, float)
    pi = jnp.ones_like(q_t) / 3 if mask_t is None else mask_t.astype(q_t.dtype) / mask_t.astype(q_t.dtype).sum()
    return {
        "td": backups.td_target(r, discount, q_t[0]),
        "sarsa": backups.sarsa_target(r, discount, q_t, 2),
        "expected": backups.expected_sarsa_target(r, discount, q_t, pi),
        "q": backups.q_learning_target(r, discount, q_t, mask_t),
        "double": backups.double_q_learning_target(r, discount, q_t, q_t[::-1], mask_t),
        "count": backups.count_bonus_target(r, discount, q_t, jnp.array([0, 3, 1]), 8.0, mask_t),
        "soft": backups.soft_q_target(r, discount, q_t, 2.0, mask_t),
        "mellow": backups.mellowmax_target(r, discount, q_t, 2.0, mask_t),
        "munchausen": backups.munchausen_target(jnp.zeros(1), 0, r, discount, q_t, 2.0, 0.9, -1.0, None, mask_t),
    }


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_targets_by_hand():
    found = calls(Q)
    # counts: 4 + 8/1, 8 + 8/4, 6 + 8/2
    expected = {"td": 3.0, "sarsa": 4.0, "expected": 4.0, "q": 5.0, "double": 5.0, "count": 7.0}
    close([found[name] for name in expected], list(expected.values()))


@in_both_precisions
def test_masked_targets_by_hand():
    found = calls(Q, jnp.array(MASK))
    # double: the best available by q is 2, where the other table, reversed, says 4
    expected = {"expected": 3.5, "q": 4.0, "double": 3.0, "count": 7.0}
    close([found[name] for name in expected], list(expected.values()))


@in_both_precisions
def test_errors_are_targets_less_estimates():
    q, q_tm1 = jnp.array(Q), jnp.array([2.0, 10.0])
    n, pi, mask = jnp.array([0, 3, 1]), jnp.array([0.5, 0.0, 0.5]), jnp.array(MASK)
    close(backups.td_error(2.0, 1.0, 0.5, 4.0), 1.0)
    close(backups.sarsa_error(q_tm1, 1, 1.0, 0.5, q, 2), 4.0 - 10.0)
    close(backups.expected_sarsa_error(q_tm1, 0, 1.0, 0.5, q, pi), 3.5 - 2.0)
    close(backups.q_learning_error(q_tm1, 0, 1.0, 0.5, q), 5.0 - 2.0)
    close(backups.q_learning_error(q_tm1, 0, 1.0, 0.5, q, mask), 4.0 - 2.0)
    close(backups.double_q_learning_error(q_tm1, 1, 1.0, 0.5, q, q[::-1]), 5.0 - 10.0)
    close(backups.count_bonus_error(q_tm1, 0, 1.0, 0.5, q, n, 8.0), 7.0 - 2.0)


# Laws ----------------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_laws_join_the_targets():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        q, mask = jnp.asarray(rng.normal(size=5)), jnp.asarray(rng.random(5) < 0.6).at[seed % 5].set(True)
        r, discount, n = rng.normal(), rng.random(), jnp.asarray(rng.integers(0, 9, 5))
        best = int(jnp.argmax(jnp.where(mask, q, -jnp.inf)))
        greedy = jax.nn.one_hot(best, 5, dtype=q.dtype)
        target = backups.q_learning_target(r, discount, q, mask)
        close(backups.expected_sarsa_target(r, discount, q, greedy), target)  # greedy policy
        close(backups.double_q_learning_target(r, discount, q, q, mask), target)  # equal tables
        close(backups.sarsa_target(r, discount, q, best), target)  # the best action is next
        close(backups.count_bonus_target(r, discount, q, n, 0.0, mask), target)  # not curious
        close(backups.td_target(r, discount, q[best]), target)


@in_both_precisions
def test_nothing_follows_an_end():
    for mask in (None, jnp.array(MASK), jnp.zeros(3, bool)):
        for q in (Q, (jnp.inf, -jnp.inf, jnp.nan)):
            for target in calls(q, mask, discount=0.0).values():
                close(target, 1.0)


def test_where_nothing_is_available_nothing_follows():
    none = jnp.zeros(3, bool)
    for name in ("q", "double", "count", "soft", "mellow", "munchausen"):
        assert float(calls(Q, none)[name]) == 1.0


def test_what_is_masked_has_no_effect():
    mask = jnp.array(MASK)
    want = calls(Q, mask)
    for foul in (jnp.inf, -jnp.inf, jnp.nan, 1e30):
        found = calls((4.0, foul, 6.0), mask)
        for name in ("expected", "q", "count", "soft", "mellow", "munchausen"):
            assert float(found[name]) == float(want[name])


# Smooth maxima -------------------------------------------------------------------------------------------------------

WEIGHTS = np.array([1.0, 3.0, 4.0])  # q = 2 log of them: at temperature 2 the policy is 1/8, 3/8, 4/8


@jax.jit
def smooth(q_tm1, a_tm1, q_t, temperature, alpha, clip, mask_tm1, mask_t):
    """Targets of reward 1 and discount 1/2."""
    munchausen = (q_tm1, a_tm1, 1.0, 0.5, q_t, temperature, alpha, clip, mask_tm1, mask_t)
    return {
        "soft": backups.soft_q_target(1.0, 0.5, q_t, temperature, mask_t),
        "mellow": backups.mellowmax_target(1.0, 0.5, q_t, temperature, mask_t),
        "munchausen": backups.munchausen_target(*munchausen),
    }


slopes = jax.jit(jax.jacrev(smooth, (0, 2, 3)))


def given(q_tm1, a_tm1, q_t, temperature, alpha=0.5, clip=-9.0, mask_tm1=None, mask_t=None):
    masks = (np.ones(np.shape(q_t), bool) if mask is None else np.array(mask) for mask in (mask_tm1, mask_t))
    floats = (jnp.asarray(x, float) for x in (q_tm1, q_t, temperature, alpha, clip))
    q_tm1, q_t, temperature, alpha, clip = floats
    return q_tm1, jnp.int32(a_tm1), q_t, temperature, alpha, clip, *masks


@in_both_precisions
def test_smooth_targets_by_hand():
    q = 2 * np.log(WEIGHTS)
    found = smooth(*given(q, 1, q, 2.0))
    close(found["soft"], 1 + np.log(8))
    close(found["mellow"], 1 + np.log(8 / 3))
    close(found["munchausen"], 1 + np.log(3 / 8) + np.log(8))  # half of 2 log pi
    found = smooth(*given(q, 0, q, 2.0, 0.5, -1.0, mask_t=MASK))
    close(found["soft"], 1 + np.log(5))
    close(found["mellow"], 1 + np.log(5 / 2))
    close(found["munchausen"], 1 - 0.5 + np.log(5))  # 2 log(1/8) is clipped
    found = smooth(*given(q, 0, q, 2.0, mask_tm1=MASK))
    close(found["munchausen"], 1 + np.log(1 / 5) + np.log(8))
    found = smooth(*given(q, 1, q, 2.0, mask_tm1=MASK))
    close(found["munchausen"], 1 - 4.5 + np.log(8))  # what cannot be taken has probability 0


@in_both_precisions
def test_smooth_errors_are_targets_less_estimates():
    q, q_tm1 = jnp.asarray(2 * np.log(WEIGHTS), float), jnp.array([2.0, 10.0, 0.0])
    close(backups.soft_q_error(q_tm1, 1, 1.0, 0.5, q, 2.0), 1 + np.log(8) - 10)
    close(backups.mellowmax_error(q_tm1, 0, 1.0, 0.5, q, 2.0, jnp.array(MASK)), 1 + np.log(5 / 2) - 2)
    error = backups.munchausen_error(q_tm1, 1, 1.0, 0.5, q, q, 2.0, 0.5, -9.0, None, jnp.array(MASK))
    close(error, 1 + np.log(3 / 8) + np.log(5) - 10)


@in_both_precisions
def test_smooth_targets_are_loops_and_the_value_of_the_softmax_policy():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        q_tm1, q_t = rng.normal(size=(2, 4)) * 10.0 ** rng.integers(-1, 3)
        masks = rng.random((2, 4)) < 0.6
        a, temperature, alpha, clip = seed % 4, 10.0 ** rng.integers(-1, 3), rng.random(), -5 * rng.random()
        masks[:, a] = True
        found = smooth(*given(q_tm1, a, q_t, temperature, alpha, clip, *masks))
        pis = []
        for q, mask in ((q_tm1, masks[0]), (q_t, masks[1])):
            weights = [np.exp((q[b] - q[mask].max()) / temperature) if mask[b] else 0.0 for b in range(4)]
            pis.append(np.array(weights) / sum(weights))
        entropy = -sum(p * np.log(p) for p in pis[1] if p > 0)
        soft = pis[1] @ q_t + temperature * entropy
        sure = max(temperature * np.log(max(pis[0][a], 1e-300)), clip)
        close(found["soft"], 1 + 0.5 * soft, 1e-6 * max(1, temperature, np.abs(q_t).max()))
        close(
            found["mellow"], 1 + 0.5 * (soft - temperature * np.log(masks[1].sum())), 1e-6 * max(1, np.abs(q_t).max())
        )
        close(found["munchausen"], 1 + alpha * sure + 0.5 * soft, 1e-6 * max(5, temperature, np.abs(q_t).max()))


@in_both_precisions
def test_the_limits_of_the_temperature():
    for q in (np.array(Q), np.array([5.0, 5.0, 1.0]), np.array([-1e30, 1e30, 1e30]), np.array([1e6, 1e6 + 1, 1e6 - 3])):
        cold = smooth(*given(q, 0, q, 1e-6, 0.5, -3.0))
        highest = float(backups.q_learning_target(1.0, 0.5, jnp.asarray(q, float)))
        bonus = 0.5 * max(q[0] - q.max(), -3.0)  # T log pi is then what the action falls short of the best
        rtol = 1e-6 * max(1, abs(highest))
        close([cold["soft"], cold["mellow"], cold["munchausen"]], [highest, highest, highest + bonus], rtol)
    close(smooth(*given(Q, 0, Q, 1e7))["mellow"], 1 + 0.5 * 6)  # hot: the mean
    close(smooth(*given(Q, 0, Q, 1e7, mask_t=MASK))["mellow"], 1 + 0.5 * 5)
    close(smooth(*given(Q, 0, Q, 1.0, alpha=0.0))["munchausen"], smooth(*given(Q, 0, Q, 1.0))["soft"])


def test_mellowmax_contracts_and_lies_between_mean_and_maximum():
    mellow = jax.jit(jax.vmap(lambda q: backups.mellowmax_target(0.0, 1.0, q, 0.7)))
    q = np.random.default_rng(0).normal(size=(2, 500, 3)).astype(np.float32) * 3
    one, other = mellow(q[0]), mellow(q[1])
    assert (np.abs(one - other) <= np.abs(q[0] - q[1]).max(axis=1) + 1e-5).all()
    assert (one <= q[0].max(axis=1) + 1e-5).all() and (one >= q[0].mean(axis=1) - 1e-5).all()


@in_both_precisions
def test_gradients_of_smooth_targets_by_hand_and_finite_everywhere():
    q, pi = 2 * np.log(WEIGHTS), WEIGHTS / 8
    found = slopes(*given(q, 1, q, 2.0))
    for name in ("soft", "mellow", "munchausen"):
        close(found[name][1], 0.5 * pi)
    close(found["munchausen"][0], 0.5 * (np.eye(3)[1] - pi))
    entropy = -(pi @ np.log(pi))
    close(found["soft"][2], 0.5 * entropy)
    close(found["mellow"][2], 0.5 * (entropy - np.log(3)))
    sure = np.log(pi[1]) - (q[1] - pi @ q) / 2  # d/dT of T log pi(a), and pi moves too
    close(found["munchausen"][2], 0.5 * entropy + 0.5 * sure)
    for mask in (MASK, (False,) * 3):
        for a in (0, 1):
            chex.assert_tree_all_finite(slopes(*given(q, a, q, 2.0, mask_tm1=mask, mask_t=mask)))
            chex.assert_tree_all_finite(slopes(*given(q * 1e20, a, q * 1e20, 1e-3, mask_tm1=mask, mask_t=mask)))


# Gradients, transforms, refusals -----------------------------------------------------------------------------------------


def test_errors_stop_the_gradient_through_their_target():
    q = jnp.array(Q)
    error = lambda q: backups.q_learning_error(q, 0, 1.0, 0.5, q)
    close(jax.grad(error)(q), [-1, 0, 0])
    close(jax.grad(lambda q: backups.q_learning_target(1.0, 0.5, q))(q), [0, 0.5, 0])
    close(jax.grad(lambda v: backups.td_error(v, 1.0, 0.5, v))(2.0), -1.0)
    for error in (
        lambda q: backups.sarsa_error(q, 0, 1.0, 0.5, q, 2),
        lambda q: backups.expected_sarsa_error(q, 0, 1.0, 0.5, q, jnp.ones(3) / 3),
        lambda q: backups.double_q_learning_error(q, 0, 1.0, 0.5, q, q),
        lambda q: backups.count_bonus_error(q, 0, 1.0, 0.5, q, jnp.arange(3), 1.0),
        lambda q: backups.soft_q_error(q, 0, 1.0, 0.5, q, 1.0),
        lambda q: backups.mellowmax_error(q, 0, 1.0, 0.5, q, 1.0),
        lambda q: backups.munchausen_error(q, 0, 1.0, 0.5, q, q, 1.0, 0.9, -9.0),
    ):
        close(jax.grad(error)(q), [-1, 0, 0])


def test_gradients_at_masks_are_finite():
    mask = jnp.array(MASK)
    for target in (backups.q_learning_target, lambda r, d, q, m: backups.double_q_learning_target(r, d, q, q, m)):
        close(jax.grad(lambda q, target=target: target(1.0, 0.5, q, mask))(jnp.array(Q)), [0, 0, 0.5])


def test_batches_are_vmap():
    r, discount, q = jnp.ones(4), jnp.full(4, 0.5), jnp.arange(12.0).reshape(4, 3)
    one = [float(backups.q_learning_target(r[i], discount[i], q[i])) for i in range(4)]
    close(jax.jit(jax.vmap(backups.q_learning_target))(r, discount, q), one)


def test_wrong_ranks_and_masks_are_refused():
    q = jnp.array(Q)
    with pytest.raises(ValueError, match="vmap"):
        backups.td_target(jnp.ones(3), 0.5, jnp.ones(3))
    with pytest.raises(ValueError, match="vmap"):
        backups.q_learning_target(1.0, 0.5, q[None])
    with pytest.raises(ValueError, match="equal shapes"):
        backups.q_learning_target(1.0, 0.5, q, jnp.ones(2, bool))
    with pytest.raises(TypeError, match="bool"):
        backups.q_learning_target(1.0, 0.5, q, jnp.ones(3))
    with pytest.raises(ValueError, match="equal shapes"):
        backups.double_q_learning_target(1.0, 0.5, q, q[:2])
    with pytest.raises(ValueError, match="equal shapes"):
        backups.expected_sarsa_target(1.0, 0.5, q, q[:2])
    for target in (backups.soft_q_target, backups.mellowmax_target):
        with pytest.raises(ValueError, match="vmap"):
            target(1.0, 0.5, q[None], 1.0)
        with pytest.raises(ValueError, match="equal shapes"):
            target(1.0, 0.5, q, 1.0, jnp.ones(2, bool))
        for temperature in (0.0, -1.0, jnp.inf, jnp.nan):
            with pytest.raises(ValueError, match=r"temperature is .*; expected a number in \(0, inf\)"):
                target(1.0, 0.5, q, temperature)
    munchausen = lambda q_tm1=q, a=0, alpha=0.9, clip=-1.0, mask=None: backups.munchausen_target(
        q_tm1, a, 1.0, 0.5, q, 1.0, alpha, clip, mask
    )
    with pytest.raises(ValueError, match=r"q_tm1 has shape \(1, 3\).*vmap"):
        munchausen(q[None])
    with pytest.raises(ValueError, match=r"q_tm1 has shape \(3,\) and mask_tm1 \(2,\)"):
        munchausen(mask=jnp.ones(2, bool))
    with pytest.raises(TypeError, match="mask_tm1 has type float32; expected bool"):
        munchausen(mask=jnp.ones(3))
    with pytest.raises(ValueError, match="a_tm1 has shape"):
        munchausen(a=jnp.zeros(1, int))
    with pytest.raises(ValueError, match="alpha is 2"):
        munchausen(alpha=2.0)
    with pytest.raises(ValueError, match="clip is 1; expected"):
        munchausen(clip=1.0)


def test_whole_numbers_do_not_cut_off_temperatures():
    whole, n = jnp.array([1, 2]), jnp.array([0, 3])
    for target in (
        lambda q: backups.soft_q_target(1.0, 0.5, q, 0.5),
        lambda q: backups.mellowmax_target(1.0, 0.5, q, 0.5),
        lambda q: backups.munchausen_target(q, 0, 1.0, 0.5, q, 1.5, 0.9, -1.0),
        lambda q: backups.count_bonus_target(1.0, 0.5, q, n, 0.5),
    ):
        np.testing.assert_array_equal(target(whole), target(whole.astype(float)))
