"""Losses: gradients by hand, and the one that matters, the policy gradient, against the chapter's own procedure."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rljax import losses, networks, policies, returns
from rljax.losses import masked_mean, policy_gradient_loss, value_loss

of_policy, of_value, of_mean = (jax.jit(jax.value_and_grad(f)) for f in (policy_gradient_loss, value_loss, masked_mean))
pytestmark = pytest.mark.usefixtures("keyless")
in_both_precisions = pytest.mark.usefixtures("precision")


def close(a, b, atol=1e-6):
    chex.assert_trees_all_close(np.asarray(a, np.float64), np.asarray(b, np.float64), atol=atol)


def test_what_is_no_array_of_numbers_is_refused():
    for wrong in (None, "abc", np.array(["a"]), np.ones(2, complex)):
        for loss in (losses.squared, losses.huber, masked_mean):
            with pytest.raises(TypeError, match="an array of numbers is expected"):
                loss(wrong)
        with pytest.raises(TypeError, match="expected an array of numbers"):
            value_loss(wrong, jnp.zeros(2))


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
def test_policy_gradient_by_hand():
    log_prob, weight = jnp.array([-1.0, -2.0, -4.0]), jnp.array([3.0, -1.0, 0.5])
    loss, gradient = of_policy(log_prob, weight)
    close(loss, (3 - 2 + 2) / 3)
    close(gradient, [-1, 1 / 3, -1 / 6])  # -w / 3
    loss, gradient = of_policy(log_prob, weight, jnp.array([True, True, False]))
    close(loss, (3 - 2) / 2)
    close(gradient, [-1.5, 0.5, 0])


@in_both_precisions
def test_a_good_action_becomes_likelier_and_a_bad_one_less_likely():
    log_prob = lambda logit: policies.bernoulli.log_prob(logit, jnp.int32(1))[None]
    ascent = jax.jit(jax.grad(lambda logit, weight: -policy_gradient_loss(log_prob(logit), weight)))
    for weight, expected in ((2.0, 1.0), (-2.0, -1.0)):  # w (1 - p)
        close(ascent(jnp.asarray(0.0), jnp.array([weight])), expected)


@in_both_precisions
def test_a_baseline_and_an_entropy_bonus_by_hand():
    log_prob, weight = jnp.array([-1.0, -2.0, -4.0]), jnp.array([3.0, -1.0, 0.5])
    baseline, entropy = jnp.array([1.0, -2.0, 7.0]), jnp.array([0.5, 0.25, 0.6])

    @jax.jit
    def loss(log_prob, weight, baseline, entropy, bonus, valid):
        return policy_gradient_loss(
            log_prob, weight, valid, baseline_tm1=baseline, entropy_tm1=entropy, entropy_bonus=bonus
        )

    arguments = log_prob, weight, baseline, entropy, 0.1, jnp.array([True, True, False])
    close(loss(*arguments), -((3 - 1) * -1 + (-1 + 2) * -2 + 0.1 * (0.5 + 0.25)) / 2)
    slopes = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*arguments)
    for found, expected in zip(slopes, ([-1, -0.5, 0], [0] * 3, [0] * 3, [-0.05, -0.05, 0]), strict=True):
        close(found, expected)
    plain = policy_gradient_loss(log_prob, weight)
    close(policy_gradient_loss(log_prob, weight, baseline_tm1=jnp.zeros(3)), plain)
    close(policy_gradient_loss(log_prob, weight, entropy_tm1=entropy), plain)


@in_both_precisions
def test_a_baseline_leaves_the_mean_of_the_gradient_and_lowers_its_variance():
    """Exactly, summed over the four actions of a softmax policy; the baseline is the policy's mean return."""
    logits, q = jnp.array([0.3, -1.0, 0.0, 2.0]), jnp.array([10.0, 11.0, 12.0, 9.0])
    p = np.asarray(jax.nn.softmax(logits), np.float64)

    @jax.jit
    @jax.vmap
    def gradient(action, weight, baseline):
        log_prob = lambda x: policies.categorical.log_prob(x, action)[None]
        loss = lambda x: policy_gradient_loss(log_prob(x), weight[None], baseline_tm1=baseline[None])
        return jax.grad(loss)(logits)

    means, variances = [], []
    for baseline in (0.0, float(p @ np.asarray(q))):
        g = np.asarray(gradient(jnp.arange(4, dtype=jnp.int32), q, jnp.full(4, baseline)), np.float64)
        means.append(p @ g)
        variances.append(p @ np.square(g - p @ g).sum(1))
    close(means[0], means[1], atol=1e-5)
    assert np.abs(means[0]).max() > 0.1
    assert variances[1] < variances[0] / 10


@in_both_precisions
def test_value_loss_by_hand():
    v, target = jnp.array([1.0, 2.0, 5.0]), jnp.array([3.0, 2.0, 4.0])
    loss, gradient = of_value(v, target)
    close(loss, (4 + 0 + 1) / 2 / 3)
    close(gradient, [-2 / 3, 0, 1 / 3])
    loss, gradient = of_value(v, target, jnp.array([True, False, False]))
    close(loss, 2)
    close(gradient, [-2, 0, 0])


@in_both_precisions
def test_weights_and_targets_are_constants():
    x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])
    for loss in (policy_gradient_loss, value_loss):
        chex.assert_trees_all_equal(jax.grad(loss, argnums=1)(x, y), jnp.zeros(2))


@in_both_precisions
def test_a_masked_mean_counts_what_is_valid():
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    close(masked_mean(x), 3)
    close(masked_mean(x, jnp.array([[True, False], [True, False]])), 2)
    close(masked_mean(x, jnp.zeros((2, 2), bool)), 0)
    close(of_mean(x, jnp.array([[True, False], [True, True]]))[1], [[1 / 3, 0], [1 / 3, 1 / 3]])
    close(of_mean(x, jnp.zeros((2, 2), bool))[1], np.zeros((2, 2)))


# Padding --------------------------------------------------------------------------------------------------------------

VALID = np.array([True, False, True, False])
TWO_ARGUMENTS = pytest.mark.parametrize("loss", [policy_gradient_loss, value_loss])


@TWO_ARGUMENTS
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf, 1e38])
@pytest.mark.parametrize("where", ["prediction", "constant", "both"])
def test_what_stands_at_padding_has_no_effect_on_value_or_gradient(loss, garbage, where):
    clean = np.array([[-1.0, -2.0, -3.0, -4.0], [1.0, 2.0, -1.0, 5.0]], np.float32)
    rows = np.array([[where != "constant"], [where != "prediction"]])
    dirty = np.where(rows & ~VALID, np.float32(garbage), clean)
    of = of_policy if loss is policy_gradient_loss else of_value
    chex.assert_trees_all_equal(of(*jnp.array(dirty), VALID), of(*jnp.array(clean), VALID))


def test_garbage_in_the_baseline_or_the_entropy_of_padding_has_no_effect():
    def loss(log_prob, baseline, entropy):
        others = {"baseline_tm1": baseline, "entropy_tm1": entropy, "entropy_bonus": 0.1}
        return policy_gradient_loss(log_prob, jnp.arange(4.0), VALID, **others)

    of, clean = jax.jit(jax.value_and_grad(loss, (0, 1, 2))), jnp.array([1.0, 2.0, 3.0, 4.0])
    dirty = jnp.where(VALID, clean, jnp.nan)
    chex.assert_trees_all_equal(of(dirty, dirty, dirty), of(clean, clean, clean))


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_a_masked_mean_ignores_padding(garbage):
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    chex.assert_trees_all_equal(of_mean(jnp.where(VALID, x, garbage), VALID), of_mean(x, VALID))


@TWO_ARGUMENTS
def test_a_batch_without_padding_is_the_ragged_batch_of_the_same_steps(loss):
    x, y = jnp.array([[-1.0, -2.0], [-3.0, 9.0]]), jnp.array([[1.0, -2.0], [0.5, 9.0]])
    valid = jnp.array([[True, True], [True, False]])
    close(loss(x, y, valid), loss(x[valid], y[valid]))


# Refusals -------------------------------------------------------------------------------------------------------------


@TWO_ARGUMENTS
def test_rows_against_a_column_are_refused(loss):
    """(B,) against (B, 1) would broadcast to a (B, B) loss that trains, badly."""
    names = {policy_gradient_loss: ("log_prob_tm1", "weight_t"), value_loss: ("v_tm1", "target_t")}[loss]
    for a, b in (((3,), (3, 1)), ((3, 1), (3,)), ((3,), (1,)), ((), (3,))):
        for call in (loss, jax.jit(loss)):
            with pytest.raises(ValueError, match=rf"{names[0]} has shape .* and {names[1]} .*expected equal shapes"):
                call(jnp.zeros(a), jnp.zeros(b))
    with pytest.raises(ValueError, match=r"has shape \(3,\) and valid \(3, 1\); expected equal shapes"):
        loss(jnp.zeros(3), jnp.zeros(3), jnp.ones((3, 1), bool))
    with pytest.raises(TypeError, match="valid has type float32; expected bool"):
        loss(jnp.zeros(3), jnp.zeros(3), jnp.ones(3))


def test_a_baseline_or_an_entropy_of_another_shape_is_refused():
    for name in ("baseline_tm1", "entropy_tm1"):
        with pytest.raises(ValueError, match=rf"log_prob_tm1 has shape \(3,\) and {name} \(3, 1\)"):
            policy_gradient_loss(jnp.zeros(3), jnp.zeros(3), **{name: jnp.zeros((3, 1))})


def test_a_mean_refuses_a_mask_of_another_shape_or_type():
    with pytest.raises(TypeError, match="valid has type int32; expected bool"):
        masked_mean(jnp.zeros(3), jnp.ones(3, jnp.int32))
    with pytest.raises(ValueError, match=r"x has shape \(3,\) and valid \(3, 1\)"):
        masked_mean(jnp.zeros(3), jnp.ones((3, 1), bool))


# TD losses, of numbers and of distributions ---------------------------------------------------------------------------

project = jax.jit(losses.categorical_projection)
of_logits = jax.jit(jax.value_and_grad(losses.categorical_loss, (0, 1)))
of_quantiles = jax.jit(jax.value_and_grad(losses.quantile_loss, (0, 1)))


@in_both_precisions
def test_td_loss_by_hand():
    prediction, target, weight = jnp.array([1.0, 2.0, 5.0]), jnp.array([3.0, 2.0, 4.5]), jnp.array([1.0, 7.0, 4.0])
    slopes = lambda *given: jax.value_and_grad(losses.td_loss, (0, 1))(*given)
    loss, (slope, constant) = slopes(prediction, target)
    close(loss, (2 + 0 + 0.125) / 3)
    close(slope, [-2 / 3, 0, 0.5 / 3])
    close(constant, [0, 0, 0])
    loss, (slope, constant) = slopes(prediction, target, weight, losses.huber)
    close(loss, (1.5 + 0 + 0.5) / 3)  # the mean, whatever the weights add up to
    close(slope, [-1 / 3, 0, 2 / 3])
    close(constant, [0, 0, 0])
    close(jax.grad(lambda w: losses.td_loss(prediction, target, w))(weight), [0, 0, 0])
    close(losses.td_loss(prediction, target, jnp.array([1, 0, 0])), 2 / 3)  # whole weights too


def test_a_td_loss_is_a_value_loss_unless_weighted():
    prediction, target = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3)), jnp.float32)
    close(losses.td_loss(prediction, target), value_loss(prediction, target))


@in_both_precisions
def test_a_projection_by_hand():
    z = jnp.array([0.0, 1.0, 2.0])
    close(project(jnp.array([0.5, 1.0, 1.5]), jnp.array([0.2, 0.3, 0.5]), z), [0.1, 0.3 + 0.1 + 0.25, 0.25])
    close(project(jnp.array([-7.0, 9.0]), jnp.array([0.2, 0.8]), z), [0.2, 0, 0.8])  # beyond the ends
    close(project(jnp.full(3, 1.75), jnp.array([0.2, 0.3, 0.5]), z), [0, 0.25, 0.75])  # an end: all at the reward


def projected_in_a_loop(y, probs, z):
    """Algorithm 1 of Bellemare et al.: each atom's mass to its two neighbours."""
    out, step = np.zeros(len(z)), z[1] - z[0]
    for j in range(len(y)):
        b = (min(max(y[j], z[0]), z[-1]) - z[0]) / step
        low, high = int(np.floor(b)), int(np.ceil(b))
        if low == high:
            out[low] += probs[j]
        else:
            out[low] += probs[j] * (high - b)
            out[high] += probs[j] * (b - low)
    return out


@in_both_precisions
def test_a_projection_is_the_papers_loop_and_keeps_mass_and_mean(precision):
    z = np.linspace(-10, 10, 51)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probs, y = rng.dirichlet(np.full(51, 0.3)), rng.normal() + rng.random() * z
        found = np.asarray(project(*(jnp.asarray(x, float) for x in (y, probs, z))), np.float64)
        atol = 1e-12 if precision else 2e-6
        close(found, projected_in_a_loop(y, probs, z), atol)
        close(found.sum(), 1, atol)
        if np.abs(y).max() <= 10:
            close(found @ z, y @ probs, 10 * atol)
        same = project(*(jnp.asarray(x, float) for x in (z[::-1], probs, z)))  # the order of what is moved is nothing
        close(same, probs[::-1], 10 * atol)


@in_both_precisions
def test_cross_entropy_by_hand_and_its_slope():
    p = np.array([0.5, 0.25, 0.25])
    loss, (slope, constant) = of_logits(jnp.log(jnp.asarray(p)) + 3.0, jnp.array([0.0, 0.5, 0.5]))
    close(loss, np.log(4))
    close(slope, p - [0, 0.5, 0.5])
    close(constant, [0, 0, 0])
    loss, (slope, _) = of_logits(jnp.array([1e30, 0.0, -1e30]), jnp.array([1.0, 0.0, 0.0]))
    close(loss, 0)
    close(slope, [0, 0, 0])


@in_both_precisions
def test_quantile_loss_by_hand():
    theta, y = jnp.array([0.0, 2.0]), jnp.array([1.0, 5.0])
    loss, (slope, constant) = of_quantiles(theta, y, 0.0)
    close(loss, (0.25 * 1 + 0.25 * 5) / 2 + (0.25 * 1 + 0.75 * 3) / 2)
    close(slope, [-0.25, (0.25 - 0.75) / 2])
    close(constant, [0, 0])
    loss, (slope, _) = of_quantiles(theta, y, 2.0)  # u^2 / 4 up to 2, |u| - 1 beyond
    close(loss, (0.25 * 0.25 + 0.25 * 4) / 2 + (0.25 * 0.25 + 0.75 * 2) / 2)
    close(slope, [-(0.25 * 0.5 + 0.25) / 2, (0.25 * 0.5 - 0.75) / 2])


@in_both_precisions
def test_quantile_loss_is_a_loop(precision):
    for seed, delta in enumerate((0.0, 0.3, 1.0, 2.0)):
        rng = np.random.default_rng(seed)
        theta, y, expected = rng.normal(size=4), 2 * rng.normal(size=6), 0.0
        for i in range(4):
            for j in range(6):
                u, tau = y[j] - theta[i], (2 * i + 1) / 8
                size = abs(u) - delta / 2 if abs(u) > delta else u * u / 2 / delta
                expected += abs(tau - (u < 0)) * size / 6
        found, _ = of_quantiles(jnp.asarray(theta, float), jnp.asarray(y, float), delta)
        close(found, expected, 1e-12 if precision else 2e-6)


def test_one_quantile_is_the_median_and_a_small_delta_is_none():
    y = jnp.asarray(np.random.default_rng(0).normal(size=9), jnp.float32)
    theta = jnp.array([0.3])
    close(of_quantiles(theta, y, 0.0)[0], np.abs(y - theta).mean() / 2)
    close(of_quantiles(theta, y, 1e-6)[0], of_quantiles(theta, y, 0.0)[0])
    at_rest = of_quantiles(jnp.median(y)[None], y, 0.0)[1][0]
    close(at_rest, 0)  # four above and four below


def test_quantiles_settle_at_the_quantiles():
    y = jnp.arange(8.0)
    rate = lambda k: 0.5 / (1 + 0.1 * k)  # the slope of |u| does not vanish
    down = lambda k, theta: theta - rate(k) * jax.grad(losses.quantile_loss)(theta, y, 0.0)
    theta = jax.jit(lambda theta: jax.lax.fori_loop(0, 2000, down, theta))(jnp.zeros(4))
    assert (np.abs(theta - np.array([0.5, 2.5, 4.5, 6.5])) < 0.51).all()  # tau = 1/8: anywhere between the first two


@pytest.mark.parametrize("loss", [losses.td_loss, losses.categorical_loss, losses.quantile_loss])
def test_a_column_against_a_row_is_no_td_loss(loss):
    for shapes in (((3,), (3, 1)), ((3, 1), (3,))):
        with pytest.raises(ValueError, match=r"has shape \(3, 1\)|\(3, 1\); expected equal shapes"):
            loss(*map(jnp.zeros, shapes))


def test_impossible_weights_atoms_and_deltas_are_refused():
    x = jnp.zeros(3)
    with pytest.raises(ValueError, match=r"weight \(3, 1\); expected equal shapes"):
        losses.td_loss(x, x, jnp.ones((3, 1)))
    with pytest.raises(TypeError, match="penalty is 'huber'; expected a function such as"):
        losses.td_loss(x, x, None, "huber")
    with pytest.raises(ValueError, match=r"support_target has shape \(3,\) and probs \(2,\)"):
        losses.categorical_projection(x, x[:2], jnp.arange(3.0))
    with pytest.raises(ValueError, match="the number of atoms is 1"):
        losses.categorical_projection(x, x, jnp.zeros(1))
    for support, low, high in (
        ([0.0, 1.0, 3.0], 1, 2),
        ([2.0, 1.0, 0.0], -1, -1),
        ([0.0, 0.0, 0.0], 0, 0),
        ([0.0, np.nan, 2.0], "nan", "nan"),
    ):
        with pytest.raises(ValueError, match=f"support has steps between {low} and {high}; expected ascending"):
            losses.categorical_projection(x, x, jnp.array(support))
    with pytest.raises(ValueError, match="delta is -1"):
        losses.quantile_loss(x, x, -1.0)
    with pytest.raises(ValueError, match=r"delta is -1; expected a number in \(0, inf\]"):
        losses.huber(jnp.ones(2), -1.0)


# Transformations ------------------------------------------------------------------------------------------------------


@TWO_ARGUMENTS
def test_eager_jitted_vmapped_and_scanned_losses_are_equal_and_traced_once(loss):
    rng = np.random.default_rng(0)
    batch = (*jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32), jnp.asarray(rng.random((3, 4)) < 0.7))
    function = jax.value_and_grad(loss)
    chex.clear_trace_counter()
    jitted = jax.jit(chex.assert_max_traces(lambda *row: function(*row), n=1))
    rows = lambda f: jax.tree.map(lambda *x: jnp.stack(x), *(f(*row) for row in zip(*batch, strict=True)))
    eager = rows(function)
    chex.assert_tree_all_finite(eager)
    chex.assert_trees_all_close(rows(jitted), eager, rtol=1e-6)
    chex.assert_trees_all_close(jax.vmap(function)(*batch), eager, rtol=1e-6)
    chex.assert_trees_all_close(jax.lax.scan(lambda c, row: (c, function(*row)), None, batch)[1], eager, rtol=1e-6)


# The law --------------------------------------------------------------------------------------------------------------


def chapter_gradient(layers, episodes, gamma):
    """The chapter's procedure, word for word and number by number.

    Play episodes; at each step compute the gradient that would make the chosen action likelier: that of the
    cross-entropy between the probability and the action as a target. Discount and normalise the returns of all
    episodes together. Multiply each gradient by its step's return and average over all steps.
    """
    (w1, b1), (w2, b2) = layers
    gradients, all_returns = [], []
    for episode in episodes:
        discounted = [0.0] * len(episode)
        total = 0.0
        for t in range(len(episode) - 1, -1, -1):
            total = episode[t][2] + gamma * total
            discounted[t] = total
        all_returns += discounted
        for observation, action, _ in episode:
            before = [sum(observation[i] * w1[i, j] for i in range(4)) + b1[j] for j in range(5)]
            hidden = [z if z > 0 else np.exp(z) - 1 for z in before]
            p = 1 / (1 + np.exp(-(sum(hidden[j] * w2[j, 0] for j in range(5)) + b2[0])))
            # d/dz of -(y log p + (1 - y) log (1 - p)), by the chain rule through p = sigmoid(z)
            d_p = -(action / p - (1 - action) / (1 - p))
            d_logit = d_p * p * (1 - p)
            d_w2, d_b2 = np.array([[d_logit * h] for h in hidden]), np.array([d_logit])
            d_before = [d_logit * w2[j, 0] * (1.0 if before[j] > 0 else np.exp(before[j])) for j in range(5)]
            d_w1 = np.array([[observation[i] * d_before[j] for j in range(5)] for i in range(4)])
            gradients.append([(d_w1, np.array(d_before)), (d_w2, d_b2)])
    mean = sum(all_returns) / len(all_returns)
    deviation = np.sqrt(sum((g - mean) ** 2 for g in all_returns) / len(all_returns))
    weights = [(g - mean) / deviation for g in all_returns]
    return [
        [sum(w * g[layer][part] for w, g in zip(weights, gradients, strict=True)) / len(weights) for part in range(2)]
        for layer in range(2)
    ]


def chapter_loss(params, observation, action, reward, valid, gamma):
    """The same from our parts: time-major [T, E], ragged episodes padded."""
    logits = jax.vmap(jax.vmap(lambda o: networks.chapter_policy().apply(params, o)))(observation)
    log_prob = jax.vmap(jax.vmap(policies.bernoulli.log_prob))(logits, action)
    g_t = jax.vmap(lambda r_t: returns.discounted_returns(r_t, gamma), 1, 1)(reward)
    return policy_gradient_loss(log_prob, returns.normalise(g_t, valid), valid)


chapter_loss_gradient = jax.jit(jax.grad(chapter_loss))


@in_both_precisions
def test_the_gradient_of_the_loss_is_the_chapters_procedure(precision):
    structure = jax.tree.structure(networks.chapter_policy().init(jax.random.key(0)))
    as_params = lambda layers: jax.tree.unflatten(structure, [x for kernel, bias in layers for x in (bias, kernel)])
    floats = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, float), tree)
    float64 = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    lengths, longest = (6, 1, 9, 4), 9
    shape, valid = (longest, len(lengths)), np.arange(longest)[:, None] < np.array(lengths)
    for seed, gamma in enumerate((0.95, 0.95, 0.5, 1.0)):
        rng = np.random.default_rng(seed)
        layers = [(rng.normal(size=(4, 5)), rng.normal(size=5)), (rng.normal(size=(5, 1)), rng.normal(size=1))]
        episodes = [[(rng.normal(size=4), rng.integers(2), rng.normal()) for _ in range(n)] for n in lengths]
        expected = as_params(chapter_gradient(layers, episodes, gamma))
        assert max(np.abs(x).max() for x in jax.tree.leaves(expected)) > 0.05, "nothing to compare"

        # The padding's rewards are zero; the rest of it is rubbish.
        observation, action, reward = rng.normal(size=(*shape, 4)), rng.integers(2, size=shape), np.zeros(shape)
        for e, episode in enumerate(episodes):
            for t, step in enumerate(episode):
                observation[t, e], action[t, e], reward[t, e] = step
        arguments = floats(observation), jnp.asarray(action, jnp.int32), floats(reward), valid, floats(gamma)
        gradient = chapter_loss_gradient(floats(as_params(layers)), *arguments)
        chex.assert_trees_all_close(float64(gradient), expected, rtol=0, atol=1e-12 if precision else 1e-6)


def test_huber_is_the_square_inside_and_optax_everywhere() -> None:
    error = jnp.linspace(-5.0, 5.0, 101)
    np.testing.assert_allclose(losses.huber(error, 1.5), optax.losses.huber_loss(error, delta=1.5), rtol=1e-6)
    np.testing.assert_allclose(losses.huber(error, 9.0), losses.squared(error), rtol=1e-6)
    np.testing.assert_allclose(losses.squared(error), optax.losses.l2_loss(error), rtol=1e-6)
    gradient = jax.vmap(jax.grad(losses.huber))(error)
    np.testing.assert_allclose(gradient, np.clip(error, -1, 1), rtol=1e-6)


def test_whole_numbers_do_not_cut_off_parameters():
    whole, half = jnp.array([1, 3]), jnp.array([0.5, 0.5])
    for loss in (
        lambda x: losses.huber(x, 0.5),
        lambda x: losses.quantile_loss(x, 2 * x, 0.5),
        lambda x: losses.td_loss(x, 2 * x, half),
    ):
        np.testing.assert_array_equal(loss(whole), loss(whole.astype(float)))


def test_a_bonus_without_entropies_is_refused():
    for bonus in (0.1, np.nan):
        with pytest.raises(ValueError, match="entropy_bonus is"):
            policy_gradient_loss(jnp.zeros(2), jnp.ones(2), entropy_bonus=bonus)
