"""Fused random numbers: the cipher, the keys, and whether the streams deserve to be called random.

The statistical half draws what a rollout draws, the words of key `(seed, lane, 3 t + role)`, and asks of them eight
questions. A sound source answers within five sigma; for each question there is a broken source that must not.
"""

from itertools import permutations

import chex
import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rljax import noise

pytestmark = pytest.mark.usefixtures("optimised")

# The cipher ----------------------------------------------------------------------------------------------------------

ONES = (0xFFFFFFFF, 0xFFFFFFFF)
PI_KEY, PI_COUNTER = (0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)


def threefry_by_hand(key, counter, rounds):
    """Salmon et al. (2011), sec. 3.3, in Python integers: a key is added before round 0 and after every fourth one."""
    mask, keys = 0xFFFFFFFF, (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + keys[0]) & mask, (counter[1] + keys[1]) & mask
    for i in range(rounds):
        turn = [[13, 15, 26, 6], [17, 29, 16, 24]][i // 4 % 2][i % 4]
        x = (x + y) & mask
        y = ((y << turn | y >> (32 - turn)) & mask) ^ x
        if (i + 1) % 4 == 0:
            j = (i + 1) // 4
            x, y = (x + keys[j % 3]) & mask, (y + keys[(j + 1) % 3] + j) & mask
    return x, y


def threefry(key, counter, *rounds):
    key, counter = (tuple(jnp.asarray(w, jnp.uint32) for w in pair) for pair in (key, counter))
    return tuple(np.asarray(w).tolist() for w in noise.threefry(key, counter, *rounds))


@pytest.mark.parametrize(
    ("rounds", "key", "counter", "answer"),
    [
        (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
        (13, ONES, ONES, (0xFD36D048, 0x2D17272C)),
        (13, PI_KEY, PI_COUNTER, (0xBA3E4725, 0xF27D669E)),
        (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        (20, ONES, ONES, (0x1CB996FC, 0xBB002BE7)),
        (20, PI_KEY, PI_COUNTER, (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_random123(rounds, key, counter, answer):
    assert threefry(key, counter, rounds) == answer


def test_threefry_has_thirteen_rounds_unless_told_otherwise():
    assert threefry((0, 0), (0, 0)) == (0x9D1C5EC6, 0x8BD50731)


@pytest.mark.parametrize("rounds", [1, 4, 7, 13, 20])
def test_threefry_is_the_cipher_of_the_paper_on_random_words(rounds):
    words = np.random.default_rng(0).integers(2**32, size=(4, 20), dtype=np.uint32)
    expected = [threefry_by_hand((a, b), (c, d), rounds) for a, b, c, d in words.T.tolist()]
    chex.assert_trees_all_equal(np.array(threefry(words[:2], words[2:], rounds)).T, np.array(expected))


def test_twenty_rounds_are_the_generator_of_jax():
    keys, counters = np.random.default_rng(1).integers(2**32, size=(2, 50, 2), dtype=np.uint32)
    theirs = [
        jax.extend.random.threefry_2x32(jnp.asarray(k), jnp.asarray(c)) for k, c in zip(keys, counters, strict=True)
    ]
    chex.assert_trees_all_equal(np.array(threefry(keys.T, counters.T, 20)).T, np.array(theirs, np.int64))


# The keys ------------------------------------------------------------------------------------------------------------


def data(key):
    return np.asarray(jax.random.key_data(key))


def test_a_fused_key_stays_itself():
    key = noise.fused(jax.random.key(0))
    assert noise.fused(key) is key
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert key.shape == ()


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_a_batch_of_keys_is_fused_key_by_key(impl):
    keys = jax.random.split(jax.random.key(0, impl=impl), 4)
    one_by_one = np.stack([data(noise.fused(key)) for key in keys])
    chex.assert_trees_all_equal(data(noise.fused(keys)), one_by_one)
    chex.assert_trees_all_equal(data(noise.fused(keys.reshape(2, 2))), one_by_one.reshape(2, 2, -1))
    chex.assert_trees_all_equal(data(jax.vmap(noise.fused)(keys)), one_by_one)
    assert len(np.unique(one_by_one, axis=0)) == 4


def test_every_word_of_a_wide_key_matters():
    four = np.array([1, 2, 3, 4], np.uint32)
    others = [four, *(four + np.eye(4, dtype=np.uint32)), four[::-1]]
    fused = [data(noise.fused(jax.random.wrap_key_data(jnp.asarray(words), impl="rbg"))) for words in others]
    assert len(np.unique(fused, axis=0)) == len(others)


@pytest.mark.parametrize("key", [jax.random.PRNGKey(0), np.zeros(2, np.uint32), 0, None])
def test_a_raw_key_is_refused_and_told_how_to_become_typed(key):
    for function in (noise.fused, lambda k: noise.uniforms(k, 2)):
        with pytest.raises(TypeError, match=r"jax\.random\.wrap_key_data"):
            function(key)


@pytest.mark.parametrize("count", [-1, True, 1.5])
def test_a_number_of_scalars_that_is_none_is_refused(count):
    with pytest.raises((TypeError, ValueError), match=f"count is {count}; expected a whole number"):
        noise.uniforms(jax.random.key(0), count)


def test_bits_and_folds_are_the_equations_of_the_module():
    key = noise.fused(jax.random.key(5))
    k, c = tuple(data(key)[:2].tolist()), data(key)[2].item()
    assert c == 0
    child = (threefry_by_hand(k, (c, 2**32 - 1), 13), 7)
    grandchild = (threefry_by_hand(child[0], (child[1], 2**32 - 1), 13), 2**32 - 1)
    key = jax.random.fold_in(jax.random.fold_in(key, 7), jnp.uint32(2**32 - 1))
    expected = [threefry_by_hand(grandchild[0], (grandchild[1], j), 13)[0] for j in range(5)]
    chex.assert_trees_all_equal(np.asarray(jax.random.bits(key, (5,))), np.array(expected, np.uint32))


def test_other_seeds_folds_and_splits_have_other_streams():
    each = jnp.arange(64)
    fold_in = jax.vmap(jax.random.fold_in, (None, 0))
    root = noise.fused(jax.random.key(0))
    streams = [
        jax.vmap(lambda seed: noise.fused(jax.random.key(seed)))(each),
        jax.random.split(jax.random.fold_in(root, 1000), 64),
        fold_in(root, each),
        fold_in(jax.random.fold_in(root, 1), each),
        jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(root, i), 1))(each[2:]),
    ]
    words = np.concatenate([jax.vmap(lambda k: jax.random.bits(k, (4,)))(keys) for keys in streams])
    assert len(np.unique(words[:, :2], axis=0)) == len(np.unique(words[:, 2:], axis=0)) == len(words)
    assert np.isin(words, words[0]).sum() == 4, "a word of the first stream is in another one"


def test_more_words_than_one_key_holds_are_refused():
    draw = jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16)))
    with pytest.raises(ValueError, match=r"4294967296 random words .* Split the key"):
        draw.lower(noise.fused(jax.random.key(0)))


DRAWS = {
    "uniform": lambda k: jax.random.uniform(k, (3,)),
    "normal": lambda k: jax.random.normal(k, (3,)),
    "gumbel": lambda k: jax.random.gumbel(k, (3,)),
    "bits 8": lambda k: jax.random.bits(k, (3,), jnp.uint8),
    "bits 16": lambda k: jax.random.bits(k, (3,), jnp.uint16),
    "bits 32": lambda k: jax.random.bits(k, (2, 3), jnp.uint32),
    "randint": lambda k: jax.random.randint(k, (), 0, 10**6),
    "bernoulli": lambda k: jax.random.bernoulli(k, 0.3, (30,)),
    "categorical": lambda k: jax.random.categorical(k, jnp.zeros(500)),
    "permutation": lambda k: jax.random.permutation(k, 9),
    "split": lambda k: jax.random.key_data(jax.random.split(k, (2, 3))),
    "fold_in": lambda k: jax.random.key_data(jax.random.fold_in(k, 3)),
    "uniforms": lambda k: noise.uniforms(k, 5),
}
WIDE_DRAWS = {
    "bits 64": lambda k: jax.random.bits(k, (3,), jnp.uint64),
    "uniform 64": lambda k: jax.random.uniform(k, (3,), jnp.float64),
    "normal 64": lambda k: jax.random.normal(k, (3,), jnp.float64),
    "randint 64": lambda k: jax.random.randint(k, (), 0, 10**12, jnp.int64),
}


@pytest.mark.parametrize("draws", [DRAWS, WIDE_DRAWS], ids=["32 bits", "64 bits"])
def test_draws_are_the_same_eager_jitted_vmapped_and_scanned_and_traced_once(draws):
    def everything(key):
        return {name: draw(k) for (name, draw), k in zip(draws.items(), jax.random.split(key, len(draws)), strict=True)}

    with jax.enable_x64(draws is WIDE_DRAWS):
        chex.clear_trace_counter()
        keys = lambda: jax.random.split(noise.fused(jax.random.key(0)), 3)
        jitted = jax.jit(chex.assert_max_traces(everything, n=1))
        eager, *others = (
            jax.tree.map(lambda *x: np.stack(x), *(everything(key) for key in keys())),
            jax.tree.map(lambda *x: np.stack(x), *(jitted(key) for key in keys())),
            jax.jit(jax.vmap(everything))(keys()),
            jax.lax.scan(lambda carry, key: (carry, everything(key)), None, keys())[1],
        )
        for other in others:
            chex.assert_trees_all_equal_shapes_and_dtypes(eager, other)
            chex.assert_trees_all_close(eager, other, rtol=1e-6)
    for name in draws:
        first, second, third = (
            np.concatenate([np.ravel(leaf[i]) for leaf in jax.tree.leaves(eager[name])]) for i in range(3)
        )
        assert (first != second).any(), name
        assert (second != third).any(), name


# The laws ------------------------------------------------------------------------------------------------------------


def deviation(cells, expected):
    """How many sigmas the counts of cells lie from what is expected, too even a spread being negative."""
    cells = np.asarray(cells, np.float64)
    dof = cells.shape[-1] - 1
    chi2 = (np.square(cells - expected) / expected).sum(-1)
    return (np.cbrt(chi2 / dof) - (1 - 2 / (9 * dof))) / np.sqrt(2 / (9 * dof))  # Wilson & Hilferty


def count_ones(words):
    """How many sigmas the number of ones at each bit lies from one half, lowest bit first."""
    octets = words.view(np.uint8).reshape(-1, words.dtype.itemsize)  # little-endian
    table = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
    ones = np.concatenate([np.bincount(octet, minlength=256) @ table for octet in octets.T])
    return (ones - words.size / 2) / np.sqrt(words.size / 4)


@pytest.mark.parametrize(
    ("name", "draw", "law"),
    [
        ("uniform", lambda k, n: jax.random.uniform(k, (n,)), stats.uniform),
        ("uniform64", lambda k, n: jax.random.uniform(k, (n,), jnp.float64), stats.uniform),
        ("uniforms", lambda k, n: jnp.stack(noise.uniforms(k, 128)), stats.uniform),
        ("normal", lambda k, n: jax.random.normal(k, (n,)), stats.norm),
        ("normal64", lambda k, n: jax.random.normal(k, (n,), jnp.float64), stats.norm),
        ("gumbel", lambda k, n: jax.random.gumbel(k, (n,)), stats.gumbel_r),
        ("exponential", lambda k, n: jax.random.exponential(k, (n,)), stats.expon),
    ],
)
def test_real_numbers_have_their_law(name, draw, law):
    with jax.enable_x64("64" in name):
        x = np.asarray(draw(noise.fused(jax.random.key(1)), 2**18), np.float64)
    cells = np.bincount((law.cdf(x) * 256).astype(int), minlength=256)
    assert abs(deviation(cells, x.size / 256)) < 5


def order(key):
    return jax.random.permutation(key, 4) @ jnp.array([64, 16, 4, 1])


@pytest.mark.parametrize(
    ("draw", "probabilities"),
    [
        (lambda k: jax.random.randint(k, (2**17,), -3, 4) + 3, np.full(7, 1 / 7)),
        (lambda k: jax.random.bernoulli(k, 0.3, (2**17,)).astype(jnp.int32), [0.7, 0.3]),
        (lambda k: jax.random.categorical(k, jnp.log(jnp.arange(1.0, 5.0)), shape=(2**17,)), np.arange(1, 5) / 10),
        (  # the 24 orders of four things, read as numbers of base four
            lambda k: jax.vmap(order)(jax.random.split(k, 2**15)),
            np.isin(np.arange(256), [64 * a + 16 * b + 4 * c + d for a, b, c, d in permutations(range(4))]) / 24,
        ),
    ],
    ids=["randint", "bernoulli", "categorical", "permutation"],
)
def test_whole_numbers_have_their_law(draw, probabilities):
    x = np.asarray(draw(noise.fused(jax.random.key(2))))
    cells, expected = np.bincount(x, minlength=len(probabilities)), x.size * np.asarray(probabilities)
    assert not cells[expected == 0].any()
    assert abs(deviation(cells[expected > 0], expected[expected > 0])) < 5


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.uint16, jnp.uint32, jnp.uint64])
def test_every_bit_of_every_width_is_fair(dtype):
    with jax.enable_x64(True):
        words = np.asarray(jax.random.bits(noise.fused(jax.random.key(3)), (2**18,), dtype))
    assert words.dtype == dtype
    assert np.abs(count_ones(words)).max() < 5
    assert np.abs(count_ones(words[::2] ^ words[1::2])).max() < 5  # from one word to the next
    signs = 2 * np.unpackbits(words.view(np.uint8).reshape(words.size, -1), axis=1).astype(np.float32) - 1
    among = signs.T @ signs / np.sqrt(words.size) - np.sqrt(words.size) * np.eye(signs.shape[1])
    assert np.abs(among).max() < 5  # from any bit of a word to any other


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_uniforms_are_that_many_different_scalars_in_the_unit_interval(count):
    u = noise.uniforms(jax.random.key(0), count)
    chex.assert_shape(u, ())
    assert len(u) == len({float(x) for x in u}) == count
    assert all(0 <= float(x) < 1 for x in u)
    chex.assert_trees_all_equal(u, noise.uniforms(noise.fused(jax.random.key(0)), count))


# The streams ---------------------------------------------------------------------------------------------------------

T = N = 1024  # steps and lanes: a million keys of each seed and role


def fold(draw):
    """Keys as a rollout folds them, lane, then 3 t + role: two words of one key, and one of the next role's."""

    def words(lane, t):
        one, other = (jax.random.fold_in(lane, 3 * t + role) for role in range(2))
        return jnp.stack([*draw(one), draw(other)[0]])

    @jax.jit
    def source(seed):
        lanes = jax.vmap(jax.random.fold_in, (None, 0))(noise.fused(jax.random.key(seed)), jnp.arange(N))
        return jax.vmap(jax.vmap(words, (0, None), 1), (None, 0), 1)(lanes, jnp.arange(T))

    return source


@jax.jit
def split(seed):
    """Keys as most programs split them: one for each (t, lane)."""
    keys = jax.random.split(noise.fused(jax.random.key(seed)), (T, N))
    return jnp.moveaxis(jax.vmap(jax.vmap(lambda k: jax.random.bits(k, (3,))))(keys), -1, 0)


def whole_words(key):
    """Each of two words from two uniforms, which have 23 bits."""
    a, b, c, d = ((u * 2**23).astype(jnp.uint32) for u in noise.uniforms(key, 4))
    return a << np.uint32(9) | b >> np.uint32(14), c << np.uint32(9) | d >> np.uint32(14)


def two_multiplies(seed):
    """The cheap hash that noise.py is not."""
    word, t, lane = np.ogrid[3 * seed : 3 * seed + 3, :T, :N]
    x = (t * 0x9E3779B9 ^ lane * 0x85EBCA6B ^ word * 0xC2B2AE35).astype(np.uint32)
    return x ^ x >> np.uint32(16)


@jax.jit
def eight_rounds(seed):
    """Our own cipher, stopped five rounds too early."""
    word, t, lane = (jax.lax.broadcasted_iota(jnp.uint32, (3, T, N), axis) for axis in range(3))
    return noise.threefry((jnp.full_like(lane, seed), lane), (t, word), 8)[0]


def words_of(source):
    """[seed, word, t, lane] uint32."""
    return np.stack([np.asarray(source(seed)) for seed in (0, 1)])


def together(a, b):
    """Do these words and those go together? Correlation, pairs of leading bits, and every bit of their difference."""
    middle = (2**32 - 1) / 2
    correlation = np.mean((a - middle) * (b - middle)) * 12 / 2**64
    pairs = np.bincount((a >> 27 << 5 | b >> 27).ravel(), minlength=1024)
    return [np.sqrt(a.size) * correlation, deviation(pairs, a.size / 1024), *count_ones(a ^ b)]


def spread(words):
    return [deviation(np.bincount((w >> 22).ravel(), minlength=1024), w.size / 1024) for w in words.reshape(-1, T, N)]


def levels(words):
    """Mean over time of every lane, and over lanes of every step: as far from one half as chance has it?"""
    u = words / 2**32 - 0.5
    squares = [np.square(np.sqrt(12 * u.shape[axis]) * u.mean(axis)) for axis in (2, 3)]
    return np.stack([(s.sum(-1) - s.shape[-1]) / np.sqrt(2 * s.shape[-1]) for s in squares])


def repeats(words):
    """Two words of one key are 64 bits; of these 2^21 chance repeats one in ten million such samples."""
    pairs = (words[:, 0].astype(np.uint64) << np.uint64(32) | words[:, 1]).ravel()
    return np.inf if (np.diff(np.sort(pairs)) == 0).any() else 0.0


QUESTIONS = {
    "values": spread,
    "bits": lambda w: [count_ones(x) for x in w.reshape(-1, T, N)],
    "next step": lambda w: together(w[:, 0, ::2], w[:, 0, 1::2]),
    "next lane": lambda w: together(w[:, 0, :, ::2], w[:, 0, :, 1::2]),
    "next seed": lambda w: together(w[0], w[1]),
    "next word": lambda w: together(w[:, 0], w[:, 1]),
    "next role": lambda w: together(w[:, 0], w[:, 2]),
    "levels": levels,
    "repeats": repeats,
}


def answers(words):
    """The largest deviation, in sigmas, that each question finds."""
    return {question: np.abs(ask(words)).max() for question, ask in QUESTIONS.items()}


@pytest.fixture(scope="module")
def sound():
    return words_of(fold(lambda key: jax.random.bits(key, (2,))))


@pytest.mark.parametrize("source", [fold(whole_words), split], ids=["uniforms", "split"])
def test_streams_answer_every_question(source):
    found = answers(words_of(source))
    assert max(found.values()) < 5, found


def test_streams_of_bits_answer_every_question(sound):
    found = answers(sound)
    assert max(found.values()) < 5, found


def assign(index, change):
    def broken(words):
        words = words.copy()
        words[index] = change(words)
        return words

    return broken


EVEN, ODD = slice(0, None, 2), slice(1, None, 2)


@pytest.mark.parametrize(
    ("question", "broken"),
    [
        ("values", lambda w: np.where(w >> 22 == 7, w ^ np.uint32(2**31), w)),  # one in a thousand values is missing
        ("bits", lambda w: np.where(w & 0x7F000000, w, w | np.uint32(1))),  # the last bit is set 1 % too often
        ("next step", assign(np.s_[:, :, ODD], lambda w: np.where(w[:, :, ODD] >> 25, w[:, :, ODD], w[:, :, EVEN]))),
        ("next lane", assign(np.s_[..., ODD], lambda w: w[..., EVEN] + np.uint32(0x9E3779B9))),
        ("next seed", assign(1, lambda w: w[0] + np.uint32(1))),
        ("next word", assign(np.s_[:, 1], lambda w: w[:, 0] ^ w[:1, 1, :1, :1])),
        ("next role", assign(np.s_[:, 2], lambda w: w[:, 0])),
        ("levels", assign(np.s_[..., 3], lambda w: w[:, :, :1, 3])),  # one lane of a thousand stands still
        ("repeats", lambda w: np.stack([w[0], np.roll(w[0], 5, -1)])),  # seeds are the same stream, lanes apart
    ],
)
def test_each_question_finds_the_fault_it_asks_for(sound, question, broken):
    assert np.abs(QUESTIONS[question](broken(sound))).max() > 5


@pytest.mark.parametrize("source", [two_multiplies, eight_rounds])
def test_a_source_that_is_not_random_is_found_out(source):
    found = answers(words_of(source))
    assert max(found.values()) > 50, found
