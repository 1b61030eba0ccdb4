"""Refusals: each says what was given, what was expected and what to do; what is right passes without a word."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import checks
from rljax.envs import CartPole


def refuses(error, message, check, *args, **kwargs):
    with pytest.raises(error) as caught:
        check(*args, **kwargs)
    assert re.fullmatch(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(0.5), np.array(0.5), jnp.asarray(0.25), np.int64(1)])
def test_a_number_in_its_range_passes(value):
    assert checks.real("gamma", value, 0, 1) is None


def test_a_number_without_a_range_may_be_any_number():
    for value in (-1e300, float("inf"), 0):
        checks.real("x", value)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (1.5, (0, 1), r"gamma is 1\.5; expected a number in \[0, 1\]\."),
        (-0.5, (0, 1), r"gamma is -0\.5; expected a number in \[0, 1\]\."),
        (-1, (0,), r"gamma is -1(\.0)?; expected a number in \[0, inf\]\."),
        (float("nan"), (0, 1), r"gamma is nan; expected a number in \[0, 1\]\."),
        (jnp.asarray(2.5), (0, 1), r"gamma is 2\.5; expected a number in \[0, 1\]\."),
        (np.float32(2.5), (0, 1), r"gamma is 2\.5; expected a number in \[0, 1\]\."),
    ],
)
def test_a_number_outside_of_its_range_is_refused(value, bounds, message):
    refuses(ValueError, message, checks.real, "gamma", value, *bounds)


@pytest.mark.parametrize("value", [1.0000001, 1 + 1e-12])
def test_a_number_just_outside_of_its_range_is_not_said_to_be_its_end(value):
    """'gamma is 1; expected a number in [0, 1]' would send the reader to look for another mistake."""
    refuses(
        ValueError,
        rf"gamma is {re.escape(repr(value))}; expected a number in \[0, 1\]\.",
        checks.real,
        "gamma",
        value,
        0,
        1,
    )


def test_a_strict_lower_end_is_not_reached():
    checks.real("learning_rate", 1e-30, 0, above=True)
    refuses(
        ValueError,
        r"learning_rate is 0(\.0)?; expected a number in \(0, inf\]\.",
        checks.real,
        "learning_rate",
        0,
        0,
        above=True,
    )
    checks.real("learning_rate", 0, 0)


@pytest.mark.parametrize("value", [None, "0.5", True, [0.5], np.zeros(1), 1j])
def test_what_is_not_a_number_is_refused_as_such(value):
    refuses(TypeError, rf"gamma is {re.escape(repr(value))}; expected a number\.", checks.real, "gamma", value, 0, 1)


@pytest.mark.parametrize(
    "value", [np.array("0.5"), np.bool_(True), jnp.asarray(True), np.complex64(1), jax.random.key(0)]
)
def test_a_scalar_array_of_something_else_is_no_number(value):
    for batch in (False, True):
        refuses(TypeError, r"(?s)gamma is .*; expected a number.*\.", checks.real, "gamma", value, batch=batch)


def test_a_strict_upper_end_is_not_reached_and_so_asks_for_what_is_finite():
    checks.real("x", 1e300, 0, below=True)
    message = r"x is inf; expected a number in \[0, inf\)\."
    refuses(ValueError, message, checks.real, "x", float("inf"), 0, below=True)
    message = r"x is 1; expected a number in \(0, 1\)\."
    refuses(ValueError, message, checks.real, "x", 1, 0, 1, above=True, below=True)


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_each_number_of_a_batch_is_checked(kind):
    """Only where a batch is allowed; the message says which one is wrong."""
    for value in (0.5, kind(0.5), kind([0.0, 1.0]), kind([[0, 1]]), kind(np.zeros((0, 3))), jnp.bfloat16(0.5)):
        checks.real("gamma", value, 0, 1, batch=True)
    ends = r"expected a number in \[0, 1\]\."
    for value, place, shown in (
        ([0.5, 1.5, 2.5], r"\[1\]", r"1\.5"),
        ([[0.0, 1.0], [0.5, np.nan]], r"\[1, 1\]", "nan"),
        (7, "", "7"),
    ):
        refuses(ValueError, rf"gamma{place} is {shown}; {ends}", checks.real, "gamma", kind(value), 0, 1, batch=True)
    refuses(TypeError, r"gamma is .*; expected a number\.", checks.real, "gamma", kind([0.5]), 0, 1)


@pytest.mark.parametrize("value", [None, "0.5", True, [0.5], 1j, np.array(["1"]), np.array([True]), np.array([None])])
def test_what_is_neither_number_nor_batch_is_refused_as_such(value):
    message = rf"gamma is {re.escape(repr(value))}; expected a number or an array of numbers\."
    refuses(TypeError, message, checks.real, "gamma", value, 0, 1, batch=True)


def test_a_traced_number_passes():
    """It carries no number yet; the run would be refused for what only the data can say."""
    traced = lambda gamma: checks.real("gamma", gamma, 0, 1) or gamma
    assert float(jax.jit(traced)(7.0)) == 7
    jax.vmap(traced)(jnp.arange(3.0))
    jax.jit(lambda gamma: checks.real("gamma", gamma, 0, 1, below=True, batch=True))(jnp.full(3, jnp.inf))
    jax.grad(traced)(7.0)


@pytest.mark.parametrize("value", [1, 7, np.int32(3), np.int64(3)])
def test_a_whole_number_that_is_large_enough_passes(value):
    assert checks.integer("num_envs", value, 1) is None


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, r"num_envs is 0; expected a whole number of at least 1\."),
        (-(10**30), ValueError, r"num_envs is -10{30}; expected a whole number of at least 1\."),
        (-3, ValueError, r"num_envs is -3; expected a whole number of at least 1\."),
        (2.0, TypeError, r"num_envs is 2\.0; expected a whole number \(int\)\."),
        (True, TypeError, r"num_envs is True; expected a whole number \(int\)\."),
        ("2", TypeError, r"num_envs is '2'; expected a whole number \(int\)\."),
        (None, TypeError, r"num_envs is None; expected a whole number \(int\)\."),
        (np.array(2), TypeError, r"num_envs is array\(2\); expected a whole number \(int\)\."),
        (np.array([2]), TypeError, r"num_envs is array\(\[2\]\); expected a whole number \(int\)\."),
    ],
)
def test_a_size_that_is_too_small_or_not_whole_is_refused(value, error, message):
    refuses(error, message, checks.integer, "num_envs", value, 1)


def test_a_whole_number_that_no_32_bit_counter_reaches_is_refused():
    """It would overflow inside JAX, at the first step or in the middle of a run."""
    checks.integer("num_envs", 2**31 - 1, 1)
    for value, batch in ((2**31, False), (10**30, False), (np.int64(2**40), False), (np.array([3, 2**40]), True)):
        message = r"num_envs(\[1\])? is \d+; expected a whole number of at least 1 and below 2\*\*31\."
        refuses(ValueError, message, checks.integer, "num_envs", value, 1, batch=batch)


def test_a_product_that_memory_may_not_hold_is_refused_by_the_names_of_its_factors():
    checks.together(seeds=2**13, test_episodes=2**13)
    message = re.escape("seeds * test_episodes is 67117056; expected at most 67108864") + ", for all .* Take fewer."
    refuses(ValueError, message, checks.together, seeds=2**13, test_episodes=2**13 + 1)
    refuses(ValueError, "paths is 0; expected a whole number of at least 1.", checks.together, paths=0, steps=10**9)
    refuses(TypeError, "paths is 1.5; expected a whole number.*", checks.together, paths=1.5)
    refuses(ValueError, "n is 11; expected at most 10, .*", checks.together, 10, n=11)


def test_a_traced_size_is_refused():
    with pytest.raises(TypeError, match=r"num_envs is .*; expected a whole number \(int\)"):
        jax.jit(lambda n: checks.integer("num_envs", n, 1))(3)


def test_whole_numbers_that_shape_nothing_may_be_traced_and_come_in_batches():
    for value in (1, np.int64(3), np.array(2), jnp.array([1, 5]), np.ones((2, 2), np.uint8), np.zeros(0, int)):
        checks.integer("limit", value, 1, batch=True)
    jax.jit(lambda n: checks.integer("limit", n, 1, batch=True))(0)
    check, least = lambda value: checks.integer("limit", value, 1, batch=True), "expected a whole number of at least 1"
    refuses(ValueError, rf"limit is 0; {least}\.", check, 0)
    refuses(ValueError, rf"limit is 0; {least}\.", check, np.array(0))
    refuses(ValueError, rf"limit\[0, 1\] is -2; {least}\.", check, jnp.array([[3, -2]]))
    for value in ("5", None, 2.0, True, [5], np.array(2.0), np.array([True])):
        message = rf"limit is {re.escape(repr(value))}; expected a whole number \(int\) or an array of them\."
        refuses(TypeError, message, check, value)


def test_one_of_the_options_passes_and_another_is_told_which_there_are():
    checks.choice("mode", "none", ("none", "all"))
    refuses(
        ValueError, r"mode is 'some'; expected one of 'none', 'all'\.", checks.choice, "mode", "some", ("none", "all")
    )
    refuses(ValueError, r"mode is None; expected one of 'none', 'all'\.", checks.choice, "mode", None, ("none", "all"))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys_of_the_shape_pass(impl):
    checks.key(jax.random.key(0, impl=impl))
    checks.key(jax.random.split(jax.random.key(0, impl=impl), 3), (3,))
    jax.jit(checks.key)(jax.random.key(0))


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (jax.random.PRNGKey(0), r"uint32\[2\]"),
        (np.zeros((3, 2), np.uint32), r"uint32\[3, 2\]"),
        (jnp.zeros(2), r"float32\[2\]"),
        (0, "0"),
        (None, "None"),
        ("key", "'key'"),
    ],
)
def test_what_is_not_a_typed_key_is_refused_and_told_how_to_become_one(value, given):
    message = (
        rf"a random key is expected, of the typed kind that jax\.random\.key\(seed\) makes; got {given}\. "
        r"If it is a raw PRNGKey, pass jax\.random\.wrap_key_data\(raw_key\)\."
    )
    refuses(TypeError, message, checks.key, value)
    jax.random.wrap_key_data(jax.random.PRNGKey(0))  # the advice is good


def test_keys_of_another_shape_are_refused():
    keys = jax.random.split(jax.random.key(0), 3)
    refuses(ValueError, r"random keys of shape \(\) are expected; got shape \(3,\)\.", checks.key, keys)
    refuses(ValueError, r"random keys of shape \(2,\) are expected; got shape \(3,\)\.", checks.key, keys, (2,))


def test_equal_shapes_pass_whatever_the_kind_of_array():
    checks.same_shape(a=jnp.zeros((2, 3)), b=np.zeros((2, 3), bool), c=jax.ShapeDtypeStruct((2, 3), jnp.int32))
    checks.same_shape(a=1.0, b=jnp.zeros(()))
    checks.same_shape(alone=jnp.zeros(3))


def test_unequal_shapes_are_refused_by_name_of_the_first_that_differs():
    message = r"r_t has shape \(3,\) and v_t \(3, 1\); expected equal shapes\. Reshape one of them\."
    refuses(ValueError, message, checks.same_shape, r_t=jnp.zeros(3), discount_t=jnp.zeros(3), v_t=jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match=message):
        jax.jit(lambda r, v: checks.same_shape(r_t=r, v_t=v))(jnp.zeros(3), jnp.zeros((3, 1)))


def test_the_right_number_of_axes_passes_and_another_is_sent_to_vmap():
    checks.rank(0, x=1.0, y=jnp.zeros(()))
    checks.rank(2, x=np.zeros((1, 1)))
    advice = r"For a batch, wrap the function in jax\.vmap\."
    refuses(ValueError, rf"r_t has shape \(5, 2\); expected 1 axis\. {advice}", checks.rank, 1, r_t=jnp.zeros((5, 2)))
    refuses(
        ValueError, rf"y has shape \(\); expected 1 axis\. {advice}", checks.rank, 1, x=jnp.zeros(2), y=jnp.zeros(())
    )
    refuses(ValueError, rf"q has shape \(3,\); expected 0 axes\. {advice}", checks.rank, 0, q=jnp.zeros(3))
    refuses(ValueError, rf"q has shape \(3,\); expected 2 axes\. {advice}", checks.rank, 2, q=jnp.zeros(3))


@pytest.mark.parametrize(
    "value",
    [["a", "b"], np.array(["a", "b"]), None, [None, 1.0], np.array([None]), np.ones(2, complex), [1j, 2]],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_told_so(value):
    """Not by an error from inside JAX, nor as an array of no axes."""
    message = r"v is (?s:.*); expected an array of numbers\."
    refuses(TypeError, message, checks.rank, 1, v=value)
    refuses(TypeError, message, checks.same_shape, states=jnp.zeros(2), v=value)
    refuses(TypeError, message, checks.boolean, v=value)


def test_lists_half_words_and_keys_are_arrays_of_numbers():
    checks.rank(
        1, v=[1.0, 2], w=jnp.ones(3, jnp.bfloat16), keys=jax.random.split(jax.random.key(0)), b=np.ones(2, bool)
    )
    checks.same_shape(v=[[1.0], [2]], w=np.ones((2, 1), bool))


def test_bools_pass_and_numbers_are_refused():
    checks.boolean(a=jnp.ones(3, bool), b=np.zeros((), bool), c=True)
    advice = "Compare it with something, or convert it: valid.astype(bool)."
    for value, kind in ((jnp.ones(3), "float32"), (np.ones(3, np.int32), "int32")):
        message = re.escape(f"valid has type {kind}; expected bool. {advice}")
        refuses(TypeError, message, checks.boolean, valid=value)
        refuses(TypeError, message, checks.boolean, fine=jnp.ones(3, bool), valid=value)
        with pytest.raises(TypeError, match=message):
            jax.jit(lambda v: checks.boolean(valid=v))(value)


def test_a_flag_is_true_or_false():
    checks.flags(a=True, b=np.bool_(False))
    for value in (1, None, "yes", np.array([True, False]), jnp.bool_(True)):
        with pytest.raises(TypeError, match=r"double is .*; expected True or False"):
            checks.flags(fine=True, double=value)


@pytest.mark.parametrize("value", [0, 1, np.int64(1), jnp.int32(0), np.uint8(1)])
def test_an_action_among_those_there_are_passes(value):
    assert checks.action(value, 2) is None


def test_an_action_out_of_range_is_refused_unless_it_is_traced():
    for value in (2, -1, jnp.int32(7), np.int64(-3)):
        refuses(ValueError, rf"action is {int(value)}; expected one of 0 \.\.\. 1\.", checks.action, value, 2)
    jax.jit(lambda a: checks.action(a, 2))(7)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        (jnp.zeros(3, jnp.int32), r"type int32 and shape \(3,\)"),
        (jnp.float32(1), r"type float32 and shape \(\)"),
        (True, r"type bool and shape \(\)"),
    ],
)
def test_what_is_not_one_integer_is_no_action(value, given):
    advice = r"For many environments, wrap the step in jax\.vmap\."
    refuses(TypeError, rf"an action of {given} is given; expected one integer\. {advice}", checks.action, value, 2)


def test_records_of_functions_are_tuples_of_as_many():
    checks.functions("network", (abs, max), "init", "apply")
    for value in (None, (), (abs,), (abs, None), [abs, max], abs):
        message = rf"network is {re.escape(repr(value))}; expected a tuple of functions, \(init, apply\)\."
        refuses(TypeError, message, checks.functions, "network", value, "init", "apply")


def test_what_cannot_be_called_is_no_function():
    checks.function("optimiser", abs, "optax.adam")
    for value in (None, 0.1, (abs, max)):
        message = rf"optimiser is {re.escape(repr(value))}; expected a function such as optax\.adam\."
        refuses(TypeError, message, checks.function, "optimiser", value, "optax.adam")


def test_an_environment_is_an_instance_that_resets_observes_and_steps():
    checks.environment("env", CartPole())
    for value in (None, CartPole, "CartPole-v1", jnp.zeros(3)):
        refuses(TypeError, r"(?s)env is .*; expected an environment, such as .*", checks.environment, "env", value)
