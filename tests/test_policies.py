"""Action choice: what is available is chosen with the probability that is claimed, and nothing else ever is."""

from itertools import product
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rljax import noise, policies
from rljax.policies import angle_policy, bernoulli, categorical, epsilon_greedy, greedy

in_both_precisions = pytest.mark.usefixtures("precision")
DRAWS = 100_000
jitted = SimpleNamespace(
    bernoulli=policies.Distribution(*map(jax.jit, bernoulli)),
    categorical=policies.Distribution(*map(jax.jit, categorical)),
)
INF = float("inf")


def keys(number=DRAWS, seed=0):
    return jax.random.split(noise.fused(jax.random.key(seed)), number)


slope_of_two, slope_of_many = jax.jit(jax.grad(bernoulli.log_prob)), jax.jit(jax.grad(categorical.log_prob))


def softmax(logits, mask=None):
    """Probabilities in float64."""
    logits = np.asarray(logits, np.float64)
    mask = np.ones(logits.shape, bool) if mask is None else np.asarray(mask)
    weights = np.exp(np.where(mask, logits, -INF) - np.max(logits[mask]))
    return weights / weights.sum()


def softmax_of_one(logit, mask=(True, True)):
    """The two probabilities of a Bernoulli policy: its logit against zero."""
    return softmax([0.0, logit], np.array(mask))


def assert_law(actions, probabilities):
    """Chi-square within five sigmas, and nothing that is impossible."""
    counts, p = np.bincount(np.asarray(actions), minlength=len(probabilities)), np.asarray(probabilities)
    assert counts.size == p.size
    assert not counts[p == 0].any()
    if (p > 0).sum() > 1:
        expected = counts.sum() * p[p > 0]
        assert stats.chisquare(counts[p > 0], expected).pvalue > 2 * stats.norm.sf(5)


# Golden --------------------------------------------------------------------------------------------------------------


@in_both_precisions
@pytest.mark.parametrize(("angle", "action"), [(-0.1, 0), (-1e-6, 0), (0.0, 1), (0.1, 1)])
def test_angle_policy_pushes_towards_the_lean(angle, action):
    """The chapter: 0 if angle < 0 else 1, whatever the other three observations are."""
    for others in ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)):
        observation = jnp.array([others[0], others[1], angle, others[2]])
        chex.assert_trees_all_equal(angle_policy(observation), jnp.int32(action))


def test_angle_policy_pushes_the_other_way_where_it_must():
    for angle, mask in product((-0.1, 0.1), ((True, False), (False, True))):
        chex.assert_trees_all_equal(angle_policy(jnp.array([0, 0, angle, 0]), np.array(mask)), jnp.int32(mask[1]))


@in_both_precisions
@pytest.mark.parametrize(
    ("q", "mask", "action"),
    [
        ([1.0, 3.0, 2.0], None, 1),
        ([1.0, 3.0, 2.0], [1, 0, 1], 2),
        ([3.0, 1.0, 3.0], None, 0),  # the first of equals
        ([3.0, 1.0, 1.0], [0, 1, 1], 1),
        ([0.0, 0.0, 0.0], [0, 0, 1], 2),
        ([-INF, -INF, -INF], None, 0),
        ([-INF, -INF, -INF], [0, 1, 1], 1),
        ([0.0, -INF, -INF], [0, 0, 1], 2),
        ([1e30, -1e30, -2e30], [0, 1, 1], 1),
        ([INF, -3e38, -2e38], [0, 1, 1], 2),
        ([float("nan"), 1.0, 2.0], [0, 1, 1], 2),
    ],
)
def test_greedy_is_the_first_of_the_best_available(q, mask, action):
    mask = None if mask is None else jnp.array(mask, bool)
    chex.assert_trees_all_equal(greedy(jnp.array(q), mask), jnp.int32(action))
    chex.assert_trees_all_equal(categorical.mode(jnp.array(q), mask), jnp.int32(action))


@in_both_precisions
def test_bernoulli_mode_is_the_likelier_available_action():
    for logit, action in ((2.0, 1), (-2.0, 0), (1e30, 1), (-1e30, 0), (0.0, 0)):
        chex.assert_trees_all_equal(jitted.bernoulli.mode(jnp.asarray(logit)), jnp.int32(action))
        for mask, only in (((True, True), action), ((True, False), 0), ((False, True), 1)):
            chex.assert_trees_all_equal(jitted.bernoulli.mode(jnp.asarray(logit), jnp.array(mask)), jnp.int32(only))


@in_both_precisions
def test_entropies_by_hand():
    log = np.log
    close = lambda a, b: chex.assert_trees_all_close(np.float64(a), np.float64(b), atol=1e-6)
    close(jitted.bernoulli.entropy(jnp.asarray(0.0)), log(2))
    close(jitted.bernoulli.entropy(jnp.asarray(log(3.0))), 0.75 * log(4 / 3) + 0.25 * log(4))
    close(jitted.bernoulli.entropy(jnp.asarray(-log(3.0))), 0.75 * log(4 / 3) + 0.25 * log(4))
    close(jitted.bernoulli.entropy(jnp.asarray(0.0), jnp.array([True, False])), 0)
    close(jitted.categorical.entropy(jnp.zeros(4)), log(4))
    close(jitted.categorical.entropy(jnp.log(jnp.array([0.5, 0.25, 0.25]))), 1.5 * log(2))
    close(jitted.categorical.entropy(jnp.zeros(4), jnp.array([True, False, True, False])), log(2))
    close(jitted.categorical.entropy(jnp.zeros(4), jnp.array([False, False, True, False])), 0)


@in_both_precisions
def test_log_probabilities_by_hand():
    log = np.log
    close = lambda a, b: chex.assert_trees_all_close(np.asarray(a, np.float64), np.asarray(b, np.float64), atol=1e-6)
    for action, p in ((0, 0.25), (1, 0.75)):
        close(jitted.bernoulli.log_prob(jnp.asarray(log(3.0)), jnp.int32(action)), log(p))
        close(slope_of_two(jnp.asarray(log(3.0)), jnp.int32(action)), action - 0.75)
    logits = jnp.log(jnp.array([0.5, 0.25, 0.25])) + 7
    close(jitted.categorical.log_prob(logits, jnp.int32(1)), log(0.25))
    close(slope_of_many(logits, jnp.int32(1)), [-0.5, 0.75, -0.25])
    mask = jnp.array([True, True, False])
    close(jitted.categorical.log_prob(logits, jnp.int32(1), mask), log(1 / 3))
    close(slope_of_many(logits, jnp.int32(1), mask), [-2 / 3, 2 / 3, 0])
    only = jnp.array([False, True])
    close(jitted.bernoulli.log_prob(jnp.asarray(-5.0), jnp.int32(1), only), 0)
    close(slope_of_two(jnp.asarray(-5.0), jnp.int32(1), only), 0)


# Statistical ----------------------------------------------------------------------------------------------------------


@in_both_precisions
@pytest.mark.parametrize("logit", [0.0, 1.2, -4.0, 30.0])
def test_bernoulli_samples_its_law(logit):
    actions = jax.vmap(jitted.bernoulli.sample, (0, None))(keys(), jnp.asarray(logit, float))
    chex.assert_type(actions, jnp.int32)
    p = softmax_of_one(logit)
    assert_law(actions, np.where(p < 1e-9, 0, p))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_logits_of_half_a_word_are_sampled_with_the_noise_of_a_whole_one(dtype):
    """Noise of 8 bits has ties, which the first action wins, and an end at which the odds are infinite."""
    draws = jnp.full(DRAWS, 0.3, dtype), jnp.zeros((DRAWS, 64), dtype)
    actions = jax.vmap(jitted.bernoulli.sample)(keys(), draws[0])
    assert_law(actions, softmax_of_one(float(draws[0][0])))
    assert_law(jax.vmap(jitted.categorical.sample)(keys(), draws[1]), np.full(64, 1 / 64))


@in_both_precisions
def test_neither_end_of_the_noise_chooses_what_is_impossible(monkeypatch):
    """Of two to the 23 draws one is the first, whose odds would be zero: less than any probability but that of zero."""
    for u, logit, action in ((0.0, -100.0, 0), (1 - 2**-23, 100.0, 1), (0.0, -10.0, 1), (1 - 2**-23, 10.0, 0)):
        monkeypatch.setattr(noise, "uniforms", lambda key, count, u=u: (jnp.float32(u),))
        assert int(bernoulli.sample(jax.random.key(0), jnp.asarray(logit))) == action


@in_both_precisions
@pytest.mark.parametrize("kind", [int, bool, np.int32, jnp.int32, float], ids=repr)
def test_logits_and_values_of_any_number_type_are_numbers(kind):
    of_two, of_many = kind(0), jnp.asarray([kind(0), kind(1), kind(0)])
    ones = np.sum(jax.jit(jax.vmap(lambda key: bernoulli.sample(key, of_two)))(keys(1000)))
    assert 400 < ones < 600
    assert bernoulli.mode(kind(1)) == 1 and bernoulli.mode(of_two) == 0
    chex.assert_trees_all_close(bernoulli.entropy(of_two), jnp.log(2.0), atol=1e-6)
    chex.assert_trees_all_close(bernoulli.log_prob(of_two, jnp.int32(1)), jnp.log(0.5), atol=1e-6)
    assert epsilon_greedy(jax.random.key(0), of_many, 0.0) == greedy(of_many) == categorical.mode(of_many) == 1
    assert len(set(jax.jit(jax.vmap(categorical.sample, (0, None)))(keys(100), of_many).tolist())) == 3
    whole = categorical.log_prob(of_many, jnp.int32(1)), categorical.entropy(of_many)
    floats = jnp.asarray(of_many, float)
    chex.assert_trees_all_close(whole, (categorical.log_prob(floats, jnp.int32(1)), categorical.entropy(floats)))


@in_both_precisions
@pytest.mark.parametrize("mask", [None, (True, True, False, True, True)])
def test_categorical_samples_its_law(mask):
    logits = [0.0, 1.0, 3.0, -INF, -2.0]
    mask = None if mask is None else np.array(mask)
    actions = jax.vmap(jitted.categorical.sample, (0, None, None))(keys(), jnp.array(logits, float), mask)
    chex.assert_type(actions, jnp.int32)
    assert_law(actions, softmax(logits, mask))


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("mask", [(True, True, True, True), (True, False, True, True), (False, False, True, False)])
def test_epsilon_greedy_samples_its_law(epsilon, mask):
    """epsilon / |available| for each available action, and the rest for the greedy one; 0 is greedy, 1 is uniform."""
    q, mask = np.array([0.0, 9.0, 2.0, 1.0], np.float32), np.array(mask)
    actions = epsilon_draws(keys(), q, np.float32(epsilon), mask)
    chex.assert_type(actions, jnp.int32)
    best = np.arange(4) == np.where(mask, q, -1).argmax()
    assert_law(actions, epsilon * mask / mask.sum() + (1 - epsilon) * best)


epsilon_draws = jax.jit(jax.vmap(epsilon_greedy, (0, None, None, None)))


@pytest.fixture(scope="module")
def anything():
    """Logits of any size, some of them -inf, under masks that leave at least one action."""
    rng = np.random.default_rng(0)
    pool = np.array([0, 1, -1, 1e30, -1e30, 3e38, -3e38, -INF, 20, -20, 1e-30], np.float32)
    logits = rng.choice(pool, (DRAWS, 5)) + rng.normal(size=(DRAWS, 5)).astype(np.float32)
    mask = rng.random((DRAWS, 5)) < 0.5
    mask[np.arange(DRAWS), rng.integers(5, size=DRAWS)] = True
    return logits, mask


def test_a_masked_action_is_never_chosen_of_many(anything):
    logits, mask = anything
    explore = jax.vmap(epsilon_greedy, (0, 0, None, 0))
    choices = {
        "categorical": jax.vmap(jitted.categorical.sample)(keys(), logits, mask),
        "mode": jax.vmap(jitted.categorical.mode)(logits, mask),
        "greedy": jax.vmap(jax.jit(greedy))(logits, mask),
        **{f"epsilon {e}": jax.jit(explore)(keys(), logits, np.float32(e), mask) for e in (0.0, 0.5, 1.0)},
    }
    for name, actions in choices.items():
        assert mask[np.arange(DRAWS), actions].all(), name
    assert not mask[np.arange(DRAWS), jax.vmap(greedy)(logits)].all(), "the masks forbid nothing"


def test_a_masked_action_is_never_chosen_of_two(anything):
    logits, mask = anything[0][:, 0], anything[1][:, :2].copy()
    logits = np.nan_to_num(logits, neginf=-1e38)
    mask[~mask.any(1), 0] = True
    sample, mode = jax.vmap(jitted.bernoulli.sample), jax.vmap(jitted.bernoulli.mode)
    for actions in (sample(keys(), logits, mask), mode(logits, mask)):
        assert mask[np.arange(DRAWS), actions].all()
    assert not mask[np.arange(DRAWS), mode(logits)].all(), "the masks forbid nothing"


def test_an_action_of_probability_zero_is_not_chosen_though_it_is_available():
    logits = jnp.array([-INF, 0.0, -INF])
    assert not (np.asarray(jax.vmap(categorical.sample, (0, None))(keys(1000), logits)) != 1).any()


# Extremes -------------------------------------------------------------------------------------------------------------

EXTREMES = (-1e38, -1e30, -40.0, 0.0, 3.0, 1e38)
MASKS = [mask for mask in product([True, False], repeat=3) if any(mask)]


@in_both_precisions
def test_categorical_says_the_truth_about_extreme_logits_under_every_mask():
    """Probabilities to rounding; log-probabilities, entropies and their gradients finite."""
    cases = [(logits, mask) for logits in product(EXTREMES, repeat=3) for mask in MASKS]
    logits, mask = jnp.array([c[0] for c in cases], float), np.array([c[1] for c in cases])

    def of(logits, mask):
        log_p = lambda x: jnp.stack([categorical.log_prob(x, jnp.int32(a), mask) for a in range(3)])
        entropy = lambda x: categorical.entropy(x, mask)
        return log_p(logits), entropy(logits), jax.jacrev(log_p)(logits), jax.grad(entropy)(logits)

    log_p, entropy, slope, entropy_slope = jax.jit(jax.vmap(of))(logits, mask)
    chex.assert_tree_all_finite((log_p, entropy, slope, entropy_slope))
    expected = np.stack([softmax(*case) for case in cases])
    chex.assert_trees_all_close(np.exp(np.asarray(log_p, np.float64)), expected, atol=1e-6)
    terms = np.where(expected > 0, -expected * np.log(np.where(expected > 0, expected, 1)), 0)
    chex.assert_trees_all_close(np.asarray(entropy, np.float64), terms.sum(1), atol=1e-6)
    # d log p(a) / d logit(b) = [a = b] - p(b) wherever a is available at all
    available = np.where(mask[:, :, None] & mask[:, None, :] & (expected[:, :, None] > 0), slope, 0)
    rule = np.where(
        mask[:, :, None] & mask[:, None, :] & (expected[:, :, None] > 0), np.eye(3) - expected[:, None, :], 0
    )
    chex.assert_trees_all_close(np.asarray(available, np.float64), rule, atol=1e-6)
    # d H / d logit(b) = -p(b) (log p(b) + H)
    log = np.log(np.where(expected > 0, expected, 1))
    rule = -expected * (log + terms.sum(1)[:, None])
    chex.assert_trees_all_close(np.asarray(entropy_slope, np.float64), rule, atol=1e-5)


@in_both_precisions
def test_bernoulli_says_the_truth_about_extreme_logits_under_every_mask():
    cases = [
        (logit, mask) for logit in (*EXTREMES, 40.0, 1e30) for mask in product([True, False], repeat=2) if any(mask)
    ]
    logits, mask = jnp.array([c[0] for c in cases], float), np.array([c[1] for c in cases])

    def of(logit, mask):
        log_p = lambda x: jnp.stack([bernoulli.log_prob(x, jnp.int32(a), mask) for a in range(2)])
        entropy = lambda x: bernoulli.entropy(x, mask)
        return log_p(logit), entropy(logit), jax.jacrev(log_p)(logit), jax.grad(entropy)(logit)

    log_p, entropy, slope, entropy_slope = jax.jit(jax.vmap(of))(logits, mask)
    chex.assert_tree_all_finite((log_p, entropy, slope, entropy_slope))
    expected = np.stack([softmax_of_one(*case) for case in cases])
    chex.assert_trees_all_close(np.exp(np.asarray(log_p, np.float64)), expected, atol=1e-6)
    terms = np.where(expected > 0, -expected * np.log(np.where(expected > 0, expected, 1)), 0)
    chex.assert_trees_all_close(np.asarray(entropy, np.float64), terms.sum(1), atol=1e-5)
    # d log p(a) / d logit = a - p(1) and d H / d logit = -logit p(0) p(1), at zero too; under a mask there is no choice
    both = mask.all(1)
    rule = np.where(both[:, None], np.array([0, 1]) - expected[:, 1:], 0)
    chex.assert_trees_all_close(np.asarray(slope, np.float64), rule, atol=1e-6)
    rule = np.where(both, -np.asarray(logits, np.float64) * expected[:, 0] * expected[:, 1], 0)
    chex.assert_trees_all_close(np.asarray(entropy_slope, np.float64), rule, atol=1e-5)


def test_a_logit_of_minus_infinity_is_an_action_of_probability_zero():
    logits = jnp.array([-INF, 0.0, 0.0])
    log_p = np.stack([jitted.categorical.log_prob(logits, jnp.int32(a)) for a in range(3)])
    entropy = jitted.categorical.entropy(logits)
    chex.assert_tree_all_finite((log_p, entropy))
    chex.assert_trees_all_close(np.exp(log_p), np.array([0, 0.5, 0.5], np.float32), atol=1e-6)
    chex.assert_trees_all_close(entropy, np.log(np.float32(2)), atol=1e-6)
    learned = lambda x: categorical.entropy(x) + categorical.log_prob(x, jnp.int32(1))
    chex.assert_tree_all_finite(jax.jit(jax.grad(learned))(logits))


@in_both_precisions
def test_infinite_logits_are_certain_and_finite_in_all_that_is_learned_from():
    of_two = lambda x, a: (bernoulli.log_prob(x, a), bernoulli.entropy(x))
    of_many = lambda x, mask: (
        jnp.stack([categorical.log_prob(x, jnp.int32(a), mask) for a in range(3)]),
        categorical.entropy(x, mask),
    )
    learned = lambda of: jax.jit(lambda *x: (of(*x), jax.jacrev(of)(*x)))
    two, many = learned(of_two), learned(of_many)
    for logit, sure in ((INF, 1), (-INF, 0)):
        for action in range(2):
            chex.assert_tree_all_finite(two(jnp.asarray(logit), jnp.int32(action)))
        chex.assert_trees_all_close(two(jnp.asarray(logit), jnp.int32(sure))[0], (np.zeros(()), np.zeros(())))
    for logits, mask, expected in (
        ([INF, 0.0, 1.0], None, [1, 0, 0]),
        ([INF, INF, -INF], None, [0.5, 0.5, 0]),
        ([-INF, 0.0, -INF], (True, False, True), [0.5, 0, 0.5]),
        ([-INF, -INF, 3.0], (True, False, False), [1, 0, 0]),
    ):
        found = many(jnp.array(logits), None if mask is None else np.array(mask))
        chex.assert_tree_all_finite(found)
        chex.assert_trees_all_close(np.exp(np.asarray(found[0][0])), np.array(expected), atol=1e-6, rtol=1e-6)


def test_a_logit_that_is_no_number_stays_one():
    for value in (
        bernoulli.log_prob(jnp.nan, 1),
        bernoulli.entropy(jnp.nan),
        categorical.entropy(jnp.full(2, jnp.nan)),
    ):
        assert np.isnan(value)


# Laws and transformations ---------------------------------------------------------------------------------------------


def test_two_logits_of_which_one_is_zero_are_one_logit():
    for logit in (-2.0, 0.0, 0.7):
        pair, logit = jnp.array([0.0, logit]), jnp.asarray(logit)
        for mask in (None, *(np.array(m) for m in ((True, True), (True, False), (False, True)))):
            for action in np.flatnonzero([True, True] if mask is None else mask):
                action = jnp.int32(action)
                one, two = (
                    jitted.bernoulli.log_prob(logit, action, mask),
                    jitted.categorical.log_prob(pair, action, mask),
                )
                chex.assert_trees_all_close(one, two, atol=1e-6)
            chex.assert_trees_all_close(
                jitted.bernoulli.entropy(logit, mask), jitted.categorical.entropy(pair, mask), atol=1e-6
            )


@pytest.mark.parametrize("distribution", [bernoulli, categorical], ids=["bernoulli", "categorical"])
def test_a_policy_is_the_same_eager_jitted_vmapped_and_scanned_and_traced_once(distribution):
    shape, actions = ((3,), 2) if distribution is bernoulli else ((3, 4), 4)
    parameters = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    mask = np.ones((3, actions), bool)
    mask[1, 0] = False

    def everything(key, parameter, mask):
        action = distribution.sample(key, parameter, mask)
        measures = distribution.log_prob(parameter, action, mask), distribution.entropy(parameter, mask)
        return action, distribution.mode(parameter, mask), *measures

    chex.clear_trace_counter()
    jitted = jax.jit(chex.assert_max_traces(everything, n=1))
    cases = lambda: (keys(3), parameters, jnp.asarray(mask))
    rows = lambda function: jax.tree.map(
        lambda *x: jnp.stack(x), *(function(*row) for row in zip(*cases(), strict=True))
    )
    eager = rows(everything)
    chex.assert_trees_all_close(rows(jitted), eager, rtol=1e-6, atol=1e-7)
    chex.assert_trees_all_close(jax.vmap(everything)(*cases()), eager, rtol=1e-6, atol=1e-7)
    scanned = jax.lax.scan(lambda carry, row: (carry, everything(*row)), None, cases())[1]
    chex.assert_trees_all_close(scanned, eager, rtol=1e-6, atol=1e-7)


@in_both_precisions
def test_epsilon_may_be_traced():
    """One program for all, be it a schedule's scalar, a sweep's axis or a Python number."""
    chex.clear_trace_counter()
    q = jnp.array([0.0, 1.0, 0.0])
    act = jax.jit(chex.assert_max_traces(lambda key, epsilon: epsilon_greedy(key, q, epsilon), n=1))
    epsilons = jnp.linspace(0, 1, 5, dtype=q.dtype)
    alone = np.array([[int(act(jax.random.key(i), epsilon)) for epsilon in epsilons] for i in range(20)])
    sweep = jax.jit(jax.vmap(epsilon_greedy, (None, None, 0)))
    swept = [sweep(jax.random.key(i), q, epsilons) for i in range(20)]
    chex.assert_trees_all_equal(alone, np.array(swept))
    assert (alone[:, 0] == 1).all()
    assert (alone[:, -1] != 1).any()


def test_other_keys_choose_other_actions_and_the_same_key_the_same():
    for draw in (
        lambda key: categorical.sample(key, jnp.zeros(1000)),
        lambda key: epsilon_greedy(key, jnp.zeros(1000), 1.0),
    ):
        first, again, other = draw(jax.random.key(0)), draw(jax.random.key(0)), draw(jax.random.key(1))
        assert first == again != other


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [-0.1, 1.1, float("nan"), INF, np.float32(2)])
def test_epsilon_outside_of_0_and_1_is_refused(epsilon):
    with pytest.raises(ValueError, match=rf"epsilon is {epsilon:g}(\.0)?; expected a number in \[0, 1\]"):
        epsilon_greedy(jax.random.key(0), jnp.zeros(2), epsilon)
    with pytest.raises(TypeError, match=r"epsilon is '0\.1'; expected a number"):
        epsilon_greedy(jax.random.key(0), jnp.zeros(2), "0.1")


@pytest.mark.parametrize(
    "draw",
    [
        lambda key: policies.epsilon_greedy(key, jnp.zeros(3), 0.1),
        lambda key: policies.categorical.sample(key, jnp.zeros(3)),
        lambda key: policies.bernoulli.sample(key, jnp.zeros(())),
    ],
)
def test_what_is_no_key_is_refused(draw):
    for key in (jax.random.PRNGKey(0), 0, None):
        with pytest.raises(TypeError, match="a random key is expected, of the typed kind"):
            draw(key)
    with pytest.raises(ValueError, match=r"shape \(\)"):
        draw(jax.random.split(jax.random.key(0)))


def test_batches_are_refused_and_sent_to_vmap():
    batch, action = jnp.zeros((3, 4)), jnp.int32(0)
    for name, call in {
        "q": lambda: greedy(batch),
        "logits": lambda: categorical.log_prob(batch, action),
        "logit": lambda: bernoulli.log_prob(batch[0], action),
    }.items():
        with pytest.raises(ValueError, match=rf"{name} has shape .* jax\.vmap"):
            call()
    for call in (
        lambda: epsilon_greedy(jax.random.key(0), batch, 0.1),
        lambda: categorical.sample(jax.random.key(0), batch),
        lambda: categorical.entropy(batch),
        lambda: bernoulli.sample(jax.random.key(0), batch[0]),
        lambda: bernoulli.entropy(jnp.zeros(1)),
    ):
        with pytest.raises(ValueError, match=r"has shape .* jax\.vmap"):
            call()


@pytest.mark.parametrize(
    "log_prob", [bernoulli.log_prob, lambda logit, *a: categorical.log_prob(jnp.full(2, logit), *a)]
)
def test_an_action_that_is_none_has_no_probability(log_prob):
    """Indexing would clamp it and comparison call it 0: both train on."""
    for action in (2, -1, jnp.int32(3)):
        with pytest.raises(ValueError, match=r"action is -?\d; expected one of 0 \.\.\. 1"):
            log_prob(jnp.float32(0), action)
    for action in (jnp.zeros(3, jnp.int32), jnp.float32(1), True):
        with pytest.raises(TypeError, match="expected one integer"):
            log_prob(jnp.float32(0), action)


@pytest.mark.parametrize("shape", [(), (3,), (5,), (4, 1), (10, 4)])
def test_the_angle_policy_refuses_what_is_no_observation_of_cartpole(shape):
    with pytest.raises(ValueError, match=r"observation has shape .* expected equal shapes"):
        angle_policy(jnp.zeros(shape))


def test_the_mode_of_a_batch_is_refused_too():
    with pytest.raises(ValueError, match=r"logit has shape \(1,\).* jax\.vmap"):
        bernoulli.mode(jnp.zeros(1))


EVERY_CALL_WITH_A_MASK = pytest.mark.parametrize(
    "call",
    [
        lambda logits, mask: greedy(logits, mask),
        lambda logits, mask: epsilon_greedy(jax.random.key(0), logits, 0.5, mask),
        lambda logits, mask: categorical.sample(jax.random.key(0), logits, mask),
        lambda logits, mask: categorical.log_prob(logits, jnp.int32(0), mask),
        lambda logits, mask: categorical.entropy(logits, mask),
        lambda logits, mask: bernoulli.sample(jax.random.key(0), logits[0], mask),
        lambda logits, mask: bernoulli.mode(logits[0], mask),
        lambda logits, mask: bernoulli.log_prob(logits[0], jnp.int32(0), mask),
        lambda logits, mask: bernoulli.entropy(logits[0], mask),
        lambda logits, mask: angle_policy(jnp.zeros(4), mask),
    ],
)


@EVERY_CALL_WITH_A_MASK
def test_a_mask_of_another_shape_is_refused(call):
    for mask in (jnp.ones((3, 1), bool), jnp.ones(4, bool)):
        with pytest.raises(ValueError, match=r"mask.* \((4,|3, 1)\)"):
            call(jnp.zeros(3), mask)


@EVERY_CALL_WITH_A_MASK
def test_a_mask_of_numbers_is_refused(call):
    """1 - mask and ~mask are different things of an integer, and a sum of floats is not a count."""
    for dtype in (jnp.int32, jnp.float32):
        with pytest.raises((TypeError, ValueError), match=r"mask"):
            call(jnp.zeros(2), jnp.ones(2, dtype))


def test_the_module_says_what_a_distribution_is():
    assert policies.Distribution._fields == ("sample", "mode", "log_prob", "entropy")
    assert isinstance(bernoulli, policies.Distribution)
    assert isinstance(categorical, policies.Distribution)


def test_softmax_is_finite_everywhere_and_cuts_no_temperature_off():
    inf = np.inf
    for q, temperature, expected in (
        ([0, 1, 0], 0.5, softmax(np.array([0.0, 2.0, 0.0]))),
        ([0, 1, 0], 1.9, softmax(np.array([0.0, 1 / 1.9, 0.0]))),
        ([inf, 0.0], 1.0, [1.0, 0.0]),
        ([-inf, -inf], 1.0, [0.5, 0.5]),
        ([0.0, 1.0], 1e-50, [0.0, 1.0]),
    ):
        np.testing.assert_allclose(policies.softmax(jnp.array(q), temperature), expected, atol=1e-6)
    assert np.isnan(policies.softmax(jnp.array([np.nan, 0.0]))).all()
