"""Networks: the chapter's 31 parameters, the stock perceptron by hand, and any other pair of functions in its place."""

import chex
import flax.linen as nn
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rljax import agents, envs, networks, policies
from rljax.networks import Network, chapter_policy, fan_in_uniform, mlp, q_network

in_both_precisions = pytest.mark.usefixtures("precision")


def by_hand(params, x, activation):
    """float64, one layer after the other; the last is not activated."""
    layers = [(np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)) for layer in params]
    for i, (kernel, bias) in enumerate(layers):
        x = np.array([sum(x[j] * kernel[j, k] for j in range(len(x))) + bias[k] for k in range(len(bias))])
        if i < len(layers) - 1:
            x = activation(normalised(x, params[i]) if "scale" in params[i] else x)
    return x


def normalised(x, layer):
    return layer["scale"] * (x - x.mean()) / np.sqrt(np.square(x - x.mean()).mean() + 1e-6) + layer["shift"]


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def shaken(params, seed=0):
    """With biases that are not zero, as after some training."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: p + jnp.asarray(rng.normal(size=p.shape), p.dtype), params)


@in_both_precisions
def test_the_chapters_policy_has_31_parameters_and_a_scalar_output():
    params = chapter_policy().init(jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4 * 5 + 5 + 5 + 1 == 31
    chex.assert_type(jax.tree.leaves(params), float)
    output = chapter_policy().apply(params, jnp.ones(4))
    chex.assert_shape(output, ())
    chex.assert_type(output, float)


@in_both_precisions
@pytest.mark.parametrize("sizes", [(4, 5, 1), (3, 2), (1, 40, 3, 1)])
def test_the_forward_pass_by_hand(sizes):
    """Narrow layers and wide ones, which take different roads, with elu between them."""
    network = mlp(sizes)
    params = shaken(jax.jit(network.init)(jax.random.key(0)))
    apply = jax.jit(network.apply)
    for observation in np.random.default_rng(1).normal(size=(3, sizes[0])) * 2:
        expected = by_hand(params, observation, elu)
        expected = expected[0] if sizes[-1] == 1 else expected
        output = apply(params, jnp.asarray(observation, float))
        chex.assert_shape(output, np.shape(expected))
        rtol = 1e-12 if output.dtype == jnp.float64 else 2e-5
        chex.assert_trees_all_close(np.asarray(output, np.float64), expected, rtol=rtol, atol=10 * rtol)


def test_hidden_units_are_elu_unless_told_otherwise():
    """One unit, weights of one: the network is its activation."""
    ones = [{"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)}] * 2
    for network, at_minus_one in ((mlp((1, 1, 1)), np.exp(-1) - 1), (mlp((1, 1, 1), nn.tanh), np.tanh(-1))):
        chex.assert_trees_all_close(np.float64(network.apply(ones, jnp.array([-1.0]))), at_minus_one, atol=1e-6)
    chex.assert_trees_all_close(mlp((1, 1, 1)).apply(ones, jnp.array([2.0])), jnp.asarray(2.0))


@in_both_precisions
def test_elu_and_its_slope_by_hand():
    """Also at zero, where the two halves meet smoothly, and far out, where an exponential would overflow."""
    value_and_slope = jax.jit(jax.value_and_grad(networks.elu))
    for x, y, slope in (
        (0.0, 0, 1),
        (2.0, 2, 1),
        (-1.0, np.exp(-1) - 1, np.exp(-1)),
        (-1e4, -1, 0),
        (1e4, 1e4, 1),
        (1e30, 1e30, 1),
    ):
        found = value_and_slope(jnp.asarray(x))
        chex.assert_trees_all_close(np.array(found, np.float64), np.array([y, slope], np.float64), rtol=1e-6)


def test_weights_start_glorot_uniform_and_biases_at_zero():
    params = jax.jit(mlp((30, 70, 2)).init)(jax.random.key(0))
    for layer, (inputs, outputs) in zip(params, ((30, 70), (70, 2)), strict=True):
        assert not layer["bias"].any()
        limit = np.sqrt(6 / (inputs + outputs))
        kernel = np.asarray(layer["kernel"], np.float64)
        assert kernel.shape == (inputs, outputs)
        assert 0.9 * limit < np.abs(kernel).max() <= limit * (1 + 1e-6)
        sigma = np.sqrt(kernel.size)
        assert abs(kernel.mean() / (limit / np.sqrt(3))) < 5 / sigma
        assert abs(np.square(kernel / limit).mean() - 1 / 3) < 5 * np.sqrt(4 / 45) / sigma


def test_other_keys_start_elsewhere_and_the_same_key_at_the_same_place():
    network = mlp((3, 3, 3))
    first, again, other = (jax.tree.leaves(network.init(jax.random.key(seed))) for seed in (0, 0, 1))
    chex.assert_trees_all_equal(first, again)
    kernels = [x for x in (*first, *other) if x.ndim == 2]
    assert len({np.asarray(kernel).tobytes() for kernel in kernels}) == 4, "two layers or two keys start alike"


@jax.default_matmul_precision("highest")  # on a GPU a product of matrices is rounded more than one of vectors
def test_eager_jitted_vmapped_and_scanned_networks_are_equal_and_traced_once():
    network = mlp((4, 3, 20, 2))  # both narrow and wide
    params = shaken(network.init(jax.random.key(0)))
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    chex.clear_trace_counter()
    jitted = jax.jit(chex.assert_max_traces(network.apply, n=1))
    eager = jnp.stack([network.apply(params, row) for row in rows])
    chex.assert_trees_all_close(jnp.stack([jitted(params, row) for row in rows]), eager, rtol=1e-5, atol=1e-6)
    mapped = jax.jit(jax.vmap(network.apply, (None, 0)))(params, rows)
    chex.assert_trees_all_close(mapped, eager, rtol=1e-5, atol=1e-6)
    scanned = jax.lax.scan(lambda c, row: (c, network.apply(params, row)), None, rows)[1]
    chex.assert_trees_all_close(scanned, eager, rtol=1e-5, atol=1e-6)
    many = jax.jit(jax.vmap(network.init))(jax.random.split(jax.random.key(1), 2))  # seeds under vmap
    chex.assert_shape(jax.jit(jax.vmap(network.apply, (0, None)))(many, rows[0]), (2, *eager.shape[1:]))


def test_gradients_are_finite_for_observations_of_any_size():
    network = chapter_policy()
    params = network.init(jax.random.key(0))
    slope = jax.jit(jax.value_and_grad(network.apply))
    for size in (0.0, 1e3, -1e3, 1e30, -1e30):
        chex.assert_tree_all_finite(slope(params, jnp.full(4, size)))


# Action values --------------------------------------------------------------------------------------------------------


def relu(x):
    return np.maximum(x, 0)


@in_both_precisions
@pytest.mark.parametrize(
    ("dueling", "atoms", "layer_norm", "shape"),
    [(False, 0, False, (3,)), (True, 0, True, (3,)), (False, 5, True, (3, 5)), (True, 5, False, (3, 5))],
)
def test_action_values_by_hand(precision, dueling, atoms, layer_norm, shape):
    """A wide layer, a narrow one, and the last; value and advantages atom by atom, in loops."""
    network = q_network((4, 20, 2, 3), dueling=dueling, atoms=atoms, layer_norm=layer_norm)
    params = shaken(jax.jit(network.init)(jax.random.key(0)))
    observation = np.random.default_rng(1).normal(size=4)
    output = jax.jit(network.apply)(params, jnp.asarray(observation, float))
    expected = by_hand(jax.tree.map(lambda x: np.asarray(x, np.float64), params), observation, relu)
    if dueling:
        v, f = np.split(expected.reshape(4, -1), [1])
        expected = np.array([[v[0, i] + f[a, i] - sum(f[:, i]) / 3 for i in range(f.shape[1])] for a in range(3)])
    chex.assert_shape(output, shape)
    rtol = 1e-11 if precision else 5e-5
    chex.assert_trees_all_close(np.asarray(output, np.float64), expected.reshape(shape), rtol=rtol, atol=rtol)


def test_dueling_advantages_average_to_nothing_and_one_action_is_all_value():
    params = [{"kernel": jnp.array([[2.0, 1.0, -5.0]]), "bias": jnp.array([1.0, 0.0, 3.0])}]
    output = q_network((1, 2), dueling=True).apply(params, jnp.array([1.0]))  # v = 3, f = 1 and -2
    np.testing.assert_allclose(output, [3 + 1.5, 3 - 1.5])
    alone = q_network((1, 1), dueling=True)
    np.testing.assert_allclose(alone.apply([{k: v[..., :2] for k, v in params[0].items()}], jnp.array([1.0])), [3.0])
    assert q_network((1, 1)).apply([{k: v[..., :1] for k, v in params[0].items()}], jnp.array([1.0])).shape == (1,)


def test_the_chapters_action_values_are_its_perceptron():
    network, same = networks.chapter_q_network(), mlp((4, 32, 32, 2))
    params = jax.jit(network.init)(jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4 * 32 + 32 + 32 * 32 + 32 + 32 * 2 + 2 == 1282
    chex.assert_trees_all_equal(params, jax.jit(same.init)(jax.random.key(0)))
    values = (jax.jit(n.apply)(params, jnp.ones(4)) for n in (network, same))
    chex.assert_trees_all_equal(*values)


def test_layer_normalisation_is_flaxs():
    network = mlp((3, 6, 2), lambda x: x, layer_norm=True)
    first, last = shaken(network.init(jax.random.key(0)))
    before = jnp.array([1.0, -2.0, 0.5]) @ first["kernel"] + first["bias"]
    norm = nn.LayerNorm(use_fast_variance=False)
    middle = norm.apply({"params": {"scale": first["scale"], "bias": first["shift"]}}, before)
    output = network.apply([first, last], jnp.array([1.0, -2.0, 0.5]))
    chex.assert_trees_all_close(output, middle @ last["kernel"] + last["bias"], rtol=1e-5, atol=1e-6)


def test_normalised_units_start_at_mean_0_and_variance_1_whatever_the_scale_of_the_input():
    params = mlp((3, 50, 50), layer_norm=True, initialiser=fan_in_uniform).init(jax.random.key(0))
    assert [sorted(layer) for layer in params] == [["bias", "kernel", "scale", "shift"], ["bias", "kernel"]]
    identity = [params[0], {"kernel": jnp.eye(50), "bias": jnp.zeros(50)}]
    for size in (1.0, 1e3, 0.0):  # at 0 the biases are left
        units = mlp((3, 50, 50), lambda x: x, layer_norm=True).apply(identity, jnp.arange(3.0) * size)
        np.testing.assert_allclose([units.mean(), units.std()], [0, 1], atol=1e-4)


def test_weights_and_biases_of_torch_start_within_one_over_the_root_of_the_inputs():
    for layer in q_network((30, 400, 2)).init(jax.random.key(0)):
        limit = layer["kernel"].shape[0] ** -0.5
        for x in (np.asarray(layer["kernel"], np.float64), np.asarray(layer["bias"], np.float64)):
            assert np.abs(x).max() <= limit * (1 + 1e-6)
            if x.size > 100:
                assert np.abs(x).max() > 0.9 * limit
                assert abs(x.mean() / (limit / np.sqrt(3))) < 5 / np.sqrt(x.size)
                assert abs(np.square(x / limit).mean() - 1 / 3) < 5 * np.sqrt(4 / 45) / np.sqrt(x.size)


def test_kernels_and_biases_are_drawn_apart():
    kernel, bias = fan_in_uniform(jax.random.key(0), (1, 5))
    assert not np.isin(kernel, bias).any()


def test_a_linear_network_of_one_hot_states_is_a_table():
    table = networks.one_hot(3, networks.linear(3, 2))
    params = table.init(jax.random.key(0))
    chex.assert_trees_all_equal(params, jnp.zeros((3, 2)))
    params += jnp.arange(6.0).reshape(3, 2)
    value = jax.jit(jax.vmap(lambda s: jax.value_and_grad(lambda p: table.apply(p, s)[1])(params)))
    values, slopes = value(jnp.array([2, 0, 7]))  # 7 is no state
    np.testing.assert_array_equal(values, [5, 1, 0])
    np.testing.assert_array_equal(slopes[:, :, 1], [[0, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert not slopes[:, :, 0].any()


# Refusals -------------------------------------------------------------------------------------------------------------


def test_options_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="layer_norm is 1; expected True or False"):
        mlp((4, 2), layer_norm=1)
    with pytest.raises(TypeError, match="activation is 'relu'; expected a function such as"):
        q_network((4, 2), "relu")
    with pytest.raises(TypeError, match="initialiser is None; expected a function such as"):
        mlp((4, 2), initialiser=None)
    with pytest.raises(ValueError, match=r"makes \(4, 2\); expected a kernel and a bias, \(\(4, 2\), \(2,\)\)"):
        mlp((4, 2), initialiser=nn.initializers.orthogonal()).init(jax.random.key(0))
    with pytest.raises(ValueError, match="atoms is -1"):
        q_network((4, 2), atoms=-1)
    for sizes in ((), (4, 0)):
        with pytest.raises(ValueError, match="the number of actions, the last of sizes, is 0"):
            q_network(sizes)
    with pytest.raises(ValueError, match="expected at least two"):
        q_network((4,))


def test_a_network_with_layer_normalisation_and_parameters_without_are_refused():
    for has in (True, False):
        params = mlp((4, 5, 2), layer_norm=has).init(jax.random.key(0))
        word = ("without", "with")[has]
        with pytest.raises(ValueError, match=f"parameters {word} layer normalisation.*Set layer_norm={has}"):
            mlp((4, 5, 2), layer_norm=not has).apply(params, jnp.zeros(4))


def test_what_is_no_state_or_no_feature_vector_is_refused():
    table = networks.one_hot(3, networks.linear(3, 2))
    params = table.init(jax.random.key(0))
    for wrong in (jnp.float32(1), jnp.arange(3)):
        with pytest.raises(TypeError, match=r"expected one integer, a state.*jax\.vmap"):
            table.apply(params, wrong)
    with pytest.raises(ValueError, match=r"observation of shape \(4,\) was given to a network of 3 inputs"):
        networks.linear(3, 2).apply(params, jnp.zeros(4))
    with pytest.raises(TypeError, match="typed kind"):
        table.init(jax.random.PRNGKey(0))
    with pytest.raises(TypeError, match="network is 3; expected a tuple of functions"):
        networks.one_hot(3, 3)


def test_an_observation_of_another_shape_is_refused():
    network = chapter_policy()
    params = network.init(jax.random.key(0))
    for shape in ((), (3,), (5,), (4, 1), (1, 4), (10, 4)):
        with pytest.raises(ValueError, match=r"observation of shape \(.*4 inputs; expected \(4,\).*jax\.vmap"):
            network.apply(params, jnp.zeros(shape))
    for wrong in (None, "four", [0.0] * 4):
        with pytest.raises(TypeError, match=r"observation is .*; expected an array"):
            network.apply(params, wrong)


@pytest.mark.parametrize(("mine", "other"), [((4, 5, 1), (4, 6, 1)), ((4, 5, 1), (4, 5, 2)), ((4, 5, 1), (4, 5, 5, 1))])
def test_parameters_of_another_network_are_refused(mine, other):
    """Else a narrow layer takes a corner of the larger kernel, and nobody is told."""
    for ours, theirs in ((mine, other), (other, mine)):
        params = mlp(theirs).init(jax.random.key(0))
        with pytest.raises(ValueError, match=r"kernels of shapes .* were given to a network with .* expected those"):
            mlp(ours).apply(params, jnp.zeros(4))


def test_raw_keys_are_refused():
    with pytest.raises(TypeError, match="typed kind"):
        chapter_policy().init(jax.random.PRNGKey(0))
    for initialiser in (networks.glorot_uniform, networks.fan_in_uniform):
        with pytest.raises(TypeError, match="typed kind"):
            initialiser(jax.random.PRNGKey(0), (4, 2))


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ((), ValueError, r"sizes is \(\); expected at least two"),
        ((4,), ValueError, r"sizes is \(4,\); expected at least two"),
        ((4, 0, 1), ValueError, r"sizes\[1\] is 0; expected a whole number of at least 1"),
        ((4, 5, -1), ValueError, r"sizes\[2\] is -1"),
        ((4.0, 5, 1), TypeError, r"sizes\[0\] is 4\.0; expected a whole number"),
    ],
)
def test_impossible_sizes_are_refused(sizes, error, message):
    with pytest.raises(error, match=message):
        mlp(sizes)


# Any other pair -------------------------------------------------------------------------------------------------------


def plain_pytree():
    """A linear policy whose parameters are a tuple."""
    return Network(
        lambda key: (jax.random.normal(key, (4,)), jnp.zeros(())), lambda params, o: o @ params[0] + params[1]
    )


def linen_module():
    """Two logits, as from_flax leaves them."""
    return networks.from_flax(nn.Sequential([nn.Dense(3), nn.tanh, nn.Dense(2)]), jnp.zeros(4))


def nnx_module():
    """Stateful on the outside: split into what is static and what is learned, merged again to be applied."""
    make = lambda key: nnx.split(nnx.Linear(4, 1, rngs=nnx.Rngs(params=key)), nnx.Param)
    structure = nnx.graphdef(nnx.eval_shape(lambda: nnx.Linear(4, 1, rngs=nnx.Rngs(0))))
    return Network(lambda key: make(key)[1], lambda params, o: nnx.merge(structure, params)(o)[0])


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("make", [plain_pytree, linen_module, nnx_module])
def test_any_pair_of_init_and_apply_learns(make):
    distribution = policies.categorical if make is linen_module else policies.bernoulli
    algorithm = agents.reinforce(envs.CartPole(), make(), distribution=distribution, episodes_per_update=2, max_steps=5)
    before = jax.jit(algorithm.init)(jax.random.key(0))
    after, metrics = jax.jit(algorithm.step)(jax.random.key(1), before)
    chex.assert_tree_all_finite((after.params, metrics))
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params.policy, after.params.policy)
    assert all(jax.tree.leaves(moved))
    action = algorithm.act(after.params, jax.random.key(2), jnp.ones(4))
    assert int(action) in (0, 1)


def test_from_flax_is_the_module():
    module = nn.Dense(3)
    network = networks.from_flax(module, jnp.zeros(2))
    params = network.init(jax.random.key(0))
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    observation = jnp.array([1.0, -2.0])
    chex.assert_trees_all_close(network.apply(params, observation), observation @ kernel + bias, rtol=1e-6)
    chex.assert_trees_all_equal(params, module.init(jax.random.key(0), jnp.zeros(2)))


def test_a_network_is_a_pair():
    assert networks.Network._fields == ("init", "apply")
    assert isinstance(chapter_policy(), Network)
