"""One-transition targets and errors: by hand, the laws that join them, masks, ends, gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import backups

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
    for name in ("q", "double", "count"):
        assert float(calls(Q, none)[name]) == 1.0


def test_what_is_masked_has_no_effect():
    mask = jnp.array(MASK)
    want = calls(Q, mask)
    for foul in (jnp.inf, -jnp.inf, jnp.nan, 1e30):
        found = calls((4.0, foul, 6.0), mask)
        for name in ("expected", "q", "count"):
            assert float(found[name]) == float(want[name])


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
