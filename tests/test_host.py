"""The loop over Gymnasium's environments: what learners are given, and that they learn from it as on the device."""

from __future__ import annotations

import functools
from typing import Any

import chex
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from rljax import agents, features, host, losses, networks, train
from rljax.agents.acting import Acting
from rljax.agents.dqn import scalar
from rljax.envs.guard import BadEnvironment
from rljax.envs.host import HostEnvironment
from rljax.structs import Algorithm, Learner, Transition


class Count(gymnasium.Env):
    """Observes (which environment, which episode, which step of it); episodes of `length` steps, then truncated if `cut`."""

    observation_space = spaces.Box(-1e6, 1e6, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, number: int = 0, length: int = 3, cut: bool = False, poison_at: int = -1) -> None:
        self.number, self.length, self.cut, self.poison_at = number, length, cut, poison_at
        self.episode, self.t, self.steps = -1, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t, self.steps = self.t + 1, self.steps + 1
        over = self.t == self.length
        reward = np.nan if self.steps == self.poison_at else float(action)
        return self._see(), reward, over and not self.cut, over and self.cut, {}

    def _see(self) -> np.ndarray:
        return np.array([self.number, self.episode, self.t], np.float32)


def several(mode: AutoresetMode, lengths: tuple[int, ...] = (3, 5), **options: Any) -> HostEnvironment:
    makers = [functools.partial(Count, number, length, **options) for number, length in enumerate(lengths)]
    return HostEnvironment(gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=mode))


class Seen(list):
    """Blocks that a recording learner was given."""


def recorder(
    seen: Seen, num_envs: int, num_steps: int, *, whole: bool = False, warmup: int = 0, repeats: int = 1
) -> Algorithm:
    """Learns nothing, shows everything; always acts with 1, in the warm-up with 0."""

    def keep(block: Transition) -> jax.Array:
        jax.debug.callback(lambda block: seen.append(jax.tree.map(np.asarray, block)), block, ordered=True)
        return block.reward.sum()

    def learn(key: jax.Array, state: jax.Array, block: Transition) -> tuple[jax.Array, dict[str, jax.Array]]:
        del key
        return state + 1.0, {"total": keep(block), **({"mean_return": jnp.float32(0)} if whole else {})}

    def remember(state: jax.Array, block: Transition) -> jax.Array:
        return state + 0.0 * keep(block)

    learner = Learner(
        begin=lambda key, example: jnp.float32(0),
        explore=lambda state, key, observation: jnp.int32(1),
        learn=learn,
        parameters=lambda state: state,
        num_envs=num_envs,
        num_steps=num_steps,
        whole=whole,
        warmup=warmup,
        wander=lambda key, observation: jnp.int32(0),
        remember=remember,
        repeats=repeats,
    )
    act = lambda params, key, observation: jnp.int32(1)
    return Algorithm(lambda key: None, lambda key, state: (state, {}), lambda state: state, act, None, learner)  # type: ignore[arg-type]


def shown(make: Any, blocks: int, num_steps: int, **options: Any) -> list[Transition]:
    """The blocks of a run, without that of the compilation."""
    seen = Seen()
    env = make()
    num_envs = options.pop("num_envs", env.num_envs)
    algorithm = recorder(seen, num_envs, num_steps, **options)
    host.train(algorithm, make, jax.random.split(jax.random.key(0), 1), blocks)
    jax.effects_barrier()
    return seen[1:]


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("cut", [False, True], ids=["terminated", "truncated"])
def test_every_transition_is_one_of_the_environment_and_none_joins_two_episodes(mode: AutoresetMode, cut: bool) -> None:
    blocks = shown(functools.partial(several, mode, cut=cut), 5, 4)
    assert len(blocks) == 5
    for block in blocks:
        assert block.observation.shape == block.next_observation.shape == (4, 2, 3)
        np.testing.assert_array_equal(block.observation[..., :2], block.next_observation[..., :2], "one episode")
        np.testing.assert_array_equal(block.observation[..., 2] + 1, block.next_observation[..., 2], "one step")
        over = block.next_observation[..., 2] == np.array([3, 5])
        np.testing.assert_array_equal(block.terminated, over & (not cut))
        assert (block.truncated[over] == cut).all() and (block.action == 1).all() and (block.reward == 1).all()
    # In the order of time, and nothing left out but what an environment did while it waited for the others.
    everything = jax.tree.map(lambda *leaves: np.concatenate(leaves), *blocks)
    cuts = everything.truncated & (everything.next_observation[..., 2] != np.array([3, 5]))
    if mode is not AutoresetMode.NEXT_STEP:
        assert not cuts.any()
    for lane in range(2):
        rows = everything.observation[:, lane, 1:]
        ends = (everything.terminated | everything.truncated)[:-1, lane]
        goes_on = (rows[1:, 0] == rows[:-1, 0]) & (rows[1:, 1] == rows[:-1, 1] + 1)
        np.testing.assert_array_equal(
            goes_on | ends, np.ones(len(goes_on), bool), "a recursion is cut where time jumps"
        )


def test_a_single_environment_and_its_warmup() -> None:
    first, second, third = shown(lambda: HostEnvironment(Count(7)), 1, 4, warmup=2)
    np.testing.assert_array_equal(first.observation[:, 0, 1:], [[0, 0], [0, 1], [0, 2], [1, 0]])
    assert (first.action == 0).all() and (second.action == 0).all() and (third.action == 1).all()
    np.testing.assert_array_equal(third.observation[:, 0, 1:], [[2, 2], [3, 0], [3, 1], [3, 2]])
    assert first.valid == first.state == ()


def test_a_step_of_several_blocks() -> None:
    blocks = shown(lambda: HostEnvironment(Count(length=7)), 2, 2, repeats=3)
    assert [block.observation.shape for block in blocks] == [(2, 1, 3)] * 6
    t = np.concatenate([block.observation[:, 0, 1] * 7 + block.observation[:, 0, 2] for block in blocks])
    np.testing.assert_array_equal(t, range(12), "in the order of time, nothing left out")


def test_whole_episodes_as_many_of_each_environment() -> None:
    """Whoever took the first to end would take the short ones."""
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        first, second = shown(functools.partial(several, mode), 2, 6, whole=True, num_envs=4)
        for block in (first, second):
            np.testing.assert_array_equal(block.valid.sum(axis=0), [3, 3, 5, 5])
            np.testing.assert_array_equal(block.observation[0, :, 0], [0, 0, 1, 1])
            np.testing.assert_array_equal(block.reward.sum(axis=0), [3, 3, 5, 5])
            for episode, length in enumerate((3, 3, 5, 5)):
                np.testing.assert_array_equal(block.observation[:length, episode, 2], range(length))
                assert block.terminated[length - 1, episode] and block.terminated[:, episode].sum() == 1
                assert len(set(block.observation[:length, episode, 1])) == 1
        assert len({*first.observation[0, :2, 1], *second.observation[0, :2, 1]}) == 4


def test_returns_of_episodes() -> None:
    env = several(AutoresetMode.NEXT_STEP)
    returns = host.episodes(env, lambda t, observation: np.array([1, t % 2]), 5, seed=0)
    np.testing.assert_array_equal(returns.reshape(3, 2)[:, 0], [3, 3, 3])
    assert returns.shape == (6,) and set(returns.reshape(3, 2)[:, 1]) <= {2.0, 3.0}
    with pytest.raises(ValueError, match="number is 0"):
        host.episodes(env, lambda t, observation: np.array([1, 0]), 0)


def acting_matters() -> HostEnvironment:
    """One step: action 1 pays 1, the other nothing."""
    return HostEnvironment(Count(length=1))


@functools.cache
def small_dqn() -> tuple[Algorithm, train.Result]:
    options = {"unroll_steps": 4, "warmup": 40, "batch_size": 16, "learning_rate": 0.05, "head": scalar(), "gamma": 0.9}
    network = networks.mlp((3, 2))
    algorithm = agents.dqn(host.task(acting_matters()), network, optimiser=optax.sgd, **options)
    # Observations grow without bound (which episode); what matters is the difference of the values.
    make = lambda: HostEnvironment(
        gymnasium.wrappers.TransformObservation(Count(length=1), np.sign, Count.observation_space)
    )
    keys = jax.random.split(jax.random.key(0), 2)
    return algorithm, host.train(algorithm, make, keys, 60, eval_every=20, target=1.0, patience=2, keep_state=True)


def test_a_learner_learns_on_the_host() -> None:
    _, result = small_dqn()
    assert (np.asarray(result.members.best_score) == 1).all()
    assert (np.asarray(result.members.steps) <= 60).all() and np.asarray(result.members.stopped).all()
    assert result.scores.shape[1] == 2 and np.isfinite(result.metrics["loss"][0]).all()
    assert result.metrics["steps"][0, 0] == 44


def test_a_learner_that_corrects_every_step_learns_and_counts_as_on_the_device() -> None:
    """Two steps that pay their action, 0 or 1: q of the last is (0, 1), of the one before (0.5, 1.5) with gamma = 0.5."""
    make, steps = functools.partial(several, AutoresetMode.SAME_STEP, (2, 2)), 50
    algorithm = agents.linear_q(
        host.task(make()),
        features.Features(lambda o: jax.nn.one_hot(o[2].astype(jnp.int32), 2), 2),
        num_envs=2,
        unroll_steps=steps,
        gamma=0.5,
        learning_rate=0.5,
        epsilon=lambda steps: 1.0 / (1.0 + steps // 100),
    )
    keys = jax.random.split(jax.random.key(0), 1)
    result = host.train(algorithm, make, keys, 4, eval_every=2, score=True, keep_state=True)
    np.testing.assert_allclose(result.parameters, [[[0.5, 0.0], [1.5, 1.0]]], atol=1e-3)
    assert result.scores.shape == (2, 1) and result.scores[-1, 0] == 2.0
    assert result.metrics["td_error"][0, 0] > 0.01 > result.metrics["td_error"][-1, 0]
    np.testing.assert_allclose(result.metrics["epsilon"][:, 0], [1.0, 1 / 2, 1 / 3, 1 / 4], rtol=1e-6)
    state, step = (
        algorithm.init(jax.random.key(0)),
        jax.jit(algorithm.step),
    )  # of the outline: it learns NaN, but it counts
    for t in range(4):
        state, metrics = step(jax.random.key(t), state)
        np.testing.assert_allclose(metrics["epsilon"], result.metrics["epsilon"][t, 0], rtol=1e-6)
    assert int(state.learner.steps) == int(result.members.state.steps[0]) == 4 * steps * 2


def test_different_keys_different_weights() -> None:
    _, result = small_dqn()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(result.parameters)]
    assert any((leaf[0] != leaf[1]).any() for leaf in leaves)


def test_the_same_key_gives_the_same_bits() -> None:
    make = lambda: HostEnvironment(gymnasium.make("CartPole-v1"))
    algorithm = agents.dqn(host.task(make()), networks.mlp((4, 8, 2)), unroll_steps=8, warmup=16, batch_size=8)
    one, two = (host.train(algorithm, make, jax.random.split(jax.random.key(3), 1), 6, eval_every=3) for _ in range(2))
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), one.parameters, two.parameters))
    np.testing.assert_array_equal(one.metrics["mean_return"], two.metrics["mean_return"])


@pytest.mark.usefixtures("standard_promotion")
def test_what_was_learned_on_the_host_goes_on_learning_on_the_device() -> None:
    """The learner's state is one and the same."""
    algorithm, result = small_dqn()
    learned = jax.tree.map(lambda leaf: leaf[0], result.members.state)
    device = algorithm.init(jax.random.key(1))
    assert isinstance(device, Acting)
    alike = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), device.learner, learned)
    assert jax.tree.all(alike)
    jax.eval_shape(algorithm.step, jax.random.key(2), device._replace(learner=learned))


@pytest.mark.usefixtures("standard_promotion")
def test_the_outline_of_a_task_played_on_the_device_is_told_at_once() -> None:
    algorithm = agents.dqn(host.task(acting_matters()), networks.mlp((3, 2)), warmup=10, batch_size=4)
    with pytest.raises(train.Diverged, match="ceased to be finite, or credible, in step 1"):
        train.train(algorithm, jax.random.split(jax.random.key(0), 1), 4)


def test_an_environment_that_fails_ends_the_run_and_what_was_learned_is_kept() -> None:
    make = lambda: HostEnvironment(Count(length=4, poison_at=30), env_id="Poisoned-v0")
    algorithm = agents.dqn(host.task(make()), networks.mlp((3, 2)), unroll_steps=4, warmup=8, batch_size=4)
    with pytest.raises(host.Broken, match=r"Poisoned-v0, .*reward is nan; expected") as caught:
        host.train(algorithm, make, jax.random.split(jax.random.key(0), 2), 10, eval_every=1)
    result = caught.value.result
    assert result.metrics["loss"].shape == (5, 1), "8 steps of warm-up, five blocks of 4, and the failure in the sixth"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.parameters))
    with pytest.raises(host.Broken, match="reward is nan") as caught:  # in the middle of the second round of four
        host.train(algorithm, make, jax.random.split(jax.random.key(0), 2), 12, eval_every=4)
    result = caught.value.result
    assert result.metrics["loss"].shape == (4, 1) and result.members.steps.tolist() == [4]
    assert np.isfinite(result.elapsed).all()
    for poison_at, every in ((2, 1), (30, 10)):  # in the warm-up; in the first round
        broken = lambda poison_at=poison_at: HostEnvironment(Count(length=4, poison_at=poison_at))
        with pytest.raises(BadEnvironment, match="reward is nan"):
            host.train(algorithm, broken, jax.random.split(jax.random.key(0), 1), 10, eval_every=every)


def test_what_a_member_begins_with_can_be_had_without_training() -> None:
    make = lambda: HostEnvironment(Count())
    algorithm = agents.pqn(
        host.task(make()), networks.mlp((3, 2)), num_envs=1, unroll_steps=4, minibatches=1, learning_rate=1e-30
    )
    key = jax.random.key(7)
    result = host.train(algorithm, make, key[None], 1)
    assert algorithm.learner is not None
    begun = algorithm.learner.parameters(host.first(algorithm, 3, key))
    chex.assert_trees_all_close(jax.tree.map(lambda leaf: leaf[0], result.parameters), begun, atol=1e-6)


def test_parameters_that_cease_to_be_finite_end_the_run_with_the_last_finite_ones() -> None:
    make = lambda: HostEnvironment(Count(length=4))
    algorithm = agents.dqn(
        host.task(make()),
        networks.mlp((3, 2)),
        unroll_steps=4,
        warmup=8,
        batch_size=4,
        learning_rate=1e30,
        head=scalar(losses.squared),
    )
    with pytest.raises(train.Diverged, match="ceased to be finite") as caught:
        host.train(algorithm, make, jax.random.split(jax.random.key(0), 1), 20, eval_every=5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(caught.value.result.parameters))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"algorithm": agents.genetic()}, TypeError, "expected an Algorithm with a learner"),
        ({"make": None}, TypeError, "make is None; expected a function such as"),
        ({"make": Count}, TypeError, r"Count.*; expected a HostEnvironment\. Wrap it"),
        ({"keys": jax.random.key(0)}, ValueError, r"keys of shape \(B,\)"),
        ({"num_steps": 0}, ValueError, "num_steps is 0"),
        ({"score_episodes": 0}, ValueError, "score_episodes is 0"),
        ({"on_chunk": 3}, TypeError, "on_chunk is 3; expected a function such as"),
        (
            {"make": functools.partial(several, AutoresetMode.SAME_STEP)},
            ValueError,
            "made with num_envs=1 and there are 2 environments; expected 2",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_played(wrong: dict[str, Any], error: Any, message: str) -> None:
    algorithm = recorder(Seen(), 1, 2)
    given = {
        "algorithm": algorithm,
        "make": lambda: HostEnvironment(Count()),
        "keys": jax.random.split(jax.random.key(0), 1),
    }
    with pytest.raises(error, match=message):
        host.train(**{**given, "num_steps": 2, **wrong})


def test_episodes_longer_than_the_learner_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="an episode has more than 2 steps; expected that the environment ends it"):
        shown(lambda: HostEnvironment(Count(length=3)), 1, 2, whole=True)
