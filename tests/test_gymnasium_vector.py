"""Many environments as Gymnasium's: rollouts to the bit in every mode of reset, its own vector as oracle, refusals."""

import json

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers
from gymnasium_world import Compass, lake, played, sample

from experiments import __main__ as command_line
from experiments.benchmarks import gymnasium_adapters, interleave
from rljax.envs import CartPole, EpisodeStatistics, TimeLimit
from rljax.envs.gymnasium import RljaxEnv, RljaxVectorEnv

pytestmark = pytest.mark.usefixtures("optimised")

NEXT, SAME, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
SHORT = TimeLimit(CartPole(), 25)


def pushes(num_steps, num_envs, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (num_steps, num_envs))


def equal(found, expected):
    """The same structure of the same types with the same bits."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert type(ours) is type(theirs)
        np.testing.assert_array_equal(ours, theirs, strict=True)


# Equal to ours


@pytest.mark.parametrize("mode", [NEXT, SAME])
@pytest.mark.parametrize("make", [lambda: EpisodeStatistics(SHORT), lambda: TimeLimit(lake(), 12)])
def test_ten_thousand_steps_are_one_rollout_to_the_bit(make, mode):
    world, name = make(), {NEXT: "next_step", SAME: "same_step"}[mode]
    ours = played(world, 7, 3_334, num_envs=3, autoreset=name)
    envs = RljaxVectorEnv(world, 3, autoreset_mode=mode)
    seen, (observation, infos) = [], envs.reset(seed=7)
    assert infos == {}
    for row in ours.action:
        before = observation
        observation, *rest, infos = envs.step(row)
        seen.append((before, *rest, infos))
    *mine, infos = zip(*seen, strict=True)
    for found, field in zip(mine, ("observation", "reward", "terminated", "truncated"), strict=True):
        np.testing.assert_array_equal(np.stack(found), getattr(ours, field))
    ended = ours.terminated | ours.truncated
    assert min(ours.terminated.sum(), ours.truncated.sum()) > 30
    assert [bool(info) for info in infos] == [mode == SAME and any(row) for row in ended]
    if mode == SAME:
        np.testing.assert_array_equal(
            np.stack([info["_final_obs"] for info in infos if info]), ended[ended.any(axis=1)]
        )
        finals = [final for info in infos if info for final in info["final_obs"] if final is not None]
        np.testing.assert_array_equal(np.stack(finals), ours.next_observation[ended])


def test_without_resets_each_is_one_environment_to_the_bit():
    """Mode DISABLED, reset by masks, against environments on their own: every one has its own clock."""
    seeds, actions = [11, 12, 13], pushes(700, 3)
    envs, alone = RljaxVectorEnv(SHORT, 3, autoreset_mode=DISABLED), [RljaxEnv(SHORT) for _ in seeds]
    observation, _ = envs.reset(seed=seeds)
    for i, env in enumerate(alone):
        np.testing.assert_array_equal(observation[i], env.reset(seed=seeds[i])[0])
    for row in actions:
        answer = envs.step(row)
        for i, env in enumerate(alone):
            np.testing.assert_equal(tuple(x[i] for x in answer[:4]), env.step(row[i])[:4])
        ended = answer[2] | answer[3]
        if ended.any():
            observation, infos = envs.reset(options={"reset_mask": ended})
            assert infos == {}
            for i, env in enumerate(alone):
                np.testing.assert_array_equal(observation[i], env.reset()[0] if ended[i] else answer[0][i])


def test_jax_arrays_are_the_same_numbers_and_stay_where_they_are():
    for mode in (NEXT, SAME, DISABLED):
        ours = RljaxVectorEnv(SHORT, 3, autoreset_mode=mode, arrays="jax")
        theirs = RljaxVectorEnv(SHORT, 3, autoreset_mode=mode)
        assert ours.metadata["jax"] and not theirs.metadata["jax"]
        found, expected = ours.reset(seed=1), theirs.reset(seed=1)
        equal(jax.tree.map(np.array, found), expected)
        assert isinstance(found[0], jax.Array)
        for row in pushes(60, 3):
            found, expected = ours.step(jnp.asarray(row)), theirs.step(row)
            assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
            equal(jax.tree.map(np.array, found[:4]), expected[:4])
            ended = expected[2] | expected[3]
            if mode == SAME:
                infos = found[4]
                assert infos["final_obs"].shape == (3, 4) and infos["_final_obs"].tolist() == ended.tolist()
                for i in np.flatnonzero(ended):
                    np.testing.assert_array_equal(infos["final_obs"][i], expected[4]["final_obs"][i])
            elif mode == DISABLED and ended.any():
                found = ours.reset(options={"reset_mask": found[2] | found[3]})
                equal(jax.tree.map(np.array, found), theirs.reset(options={"reset_mask": ended}))


def test_the_dead_rest_where_nobody_looks():
    """JAX arrays in mode DISABLED: no step is refused, and none is made."""
    envs = RljaxVectorEnv(TimeLimit(CartPole(), 2), 2, autoreset_mode=DISABLED, arrays="jax")
    envs.reset(seed=0)
    last = [envs.step(np.array([0, 1])) for _ in range(4)]
    assert [answer[1].tolist() for answer in last] == [[1.0, 1.0]] * 2 + [[0.0, 0.0]] * 2
    np.testing.assert_array_equal(last[1][0], last[3][0])


# Gymnasium's own vector as oracle


@pytest.mark.parametrize("world", [SHORT, TimeLimit(lake(), 12), Compass()], ids=["cartpole", "lake", "compass"])
def test_next_step_is_gymnasiums_own_loop_over_one_by_one(world):
    """Every number of it, for all seeds and steps, but that it makes rewards float64."""
    ours, theirs = RljaxVectorEnv(world, 3), SyncVectorEnv([lambda: RljaxEnv(world)] * 3)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == NEXT
    equal(ours.reset(seed=[5, 6, 7]), theirs.reset(seed=[5, 6, 7]))
    for t in range(80):
        action = sample(t, (3,)) if isinstance(world, Compass) else pushes(1, 3, t)[0]
        found, expected = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(found[1], expected[1])
        equal(found[:1] + found[2:], expected[:1] + expected[2:])


@pytest.mark.parametrize("world", [SHORT, TimeLimit(lake(), 12), Compass()], ids=["cartpole", "lake", "compass"])
def test_infos_of_same_step_have_gymnasiums_form(world):
    """Up to the first end; what follows it takes other keys there."""
    ours = RljaxVectorEnv(world, 3, autoreset_mode=SAME)
    theirs = SyncVectorEnv([lambda: RljaxEnv(world)] * 3, autoreset_mode=SAME)
    equal(ours.reset(seed=[5, 6, 7]), theirs.reset(seed=[5, 6, 7]))
    infos, t = {}, 0
    while not infos:
        action = sample(t, (3,)) if isinstance(world, Compass) else pushes(1, 3, t)[0]
        found, expected, t = ours.step(action), theirs.step(action), t + 1
        equal(found[2:4], expected[2:4])
        infos = found[4]
    theirs = expected[4]
    assert list(infos) == list(theirs) and infos["final_info"] == theirs["final_info"] == {}
    for name in ("_final_obs", "_final_info"):
        np.testing.assert_array_equal(infos[name], theirs[name], strict=True)
    assert infos["final_obs"].dtype == theirs["final_obs"].dtype == object
    for final, other in zip(infos["final_obs"], theirs["final_obs"], strict=True):
        equal(final, other)


# Seeds


def test_seeds_are_one_for_all_or_one_for_each():
    envs, other = RljaxVectorEnv(SHORT, 4), RljaxVectorEnv(SHORT, 4)
    first, second = envs.reset(seed=1)[0], envs.reset()[0]
    assert len({row.tobytes() for row in np.concatenate([first, second])}) == 8 and envs.np_random_seed == 1
    np.testing.assert_array_equal(first, other.reset(seed=1)[0])
    np.testing.assert_array_equal(second, other.reset()[0])
    assert not np.array_equal(first, envs.reset(seed=2)[0])
    assert not np.array_equal(RljaxVectorEnv(SHORT, 4).reset()[0], RljaxVectorEnv(SHORT, 4).reset()[0])
    third = other.reset()[0]
    envs.reset(seed=1), envs.reset()
    mixed, _ = envs.reset(seed=[9, None, 8, None])
    np.testing.assert_array_equal(mixed[1::2], third[1::2])  # these go on
    np.testing.assert_array_equal(mixed[::2], [RljaxEnv(SHORT).reset(seed=s)[0] for s in (9, 8)])


def test_a_mask_resets_a_part_and_seeds_a_part():
    envs, mask = RljaxVectorEnv(SHORT, 3), np.array([False, True, False])
    before, _ = envs.reset(seed=1)
    after, _ = envs.reset(seed=np.array([0, 5, 0]), options={"reset_mask": mask})
    np.testing.assert_array_equal(after[~mask], before[~mask])
    np.testing.assert_array_equal(after[1], RljaxEnv(SHORT).reset(seed=5)[0])
    waiting = RljaxVectorEnv(TimeLimit(CartPole(), 1), 2)
    waiting.reset(seed=0)
    waiting.step(np.array([0, 1]))
    waiting.reset(options={"reset_mask": np.array([True, False])})
    assert waiting.step(np.array([0, 1]))[1].tolist() == [1.0, 0.0]  # the second one resets in this step


# Types, wrappers, pictures


def test_arrays_are_the_callers_own():
    envs = RljaxVectorEnv(SHORT, 3, autoreset_mode=SAME)
    kept = [envs.reset(seed=0)[0]]
    for row in pushes(30, 3):
        observation, reward, terminated, truncated, infos = envs.step(row)
        kept.append(observation)
        for array in (reward, terminated, truncated, infos.get("_final_obs", reward)):
            assert array.flags.writeable
    copies = [array.copy() for array in kept]
    for array in kept:
        assert array.flags.writeable and array.dtype == np.float32
    envs.step(np.array([0, 1, 0]))
    np.testing.assert_array_equal(kept, copies)
    kept[-1][:] = 0.0
    assert (envs.step([0, 1, 0])[0] != 0.0).all()  # lists of actions are taken, as Gymnasium's spaces take them


@pytest.mark.parametrize("mode", [NEXT, SAME, DISABLED])
def test_gymnasiums_wrappers_work(mode):
    limit = {"max_episode_steps": 10}
    envs = gymnasium.make_vec("rljax/CartPole-v1", num_envs=3, autoreset_mode=mode, **limit)
    assert envs.spec.max_episode_steps == 500 and repr(envs) == "RljaxVectorEnv(rljax/CartPole-v1, num_envs=3)"
    envs = wrappers.RecordEpisodeStatistics(envs)
    envs = wrappers.NormalizeObservation(envs) if mode == NEXT else envs  # the only one that it takes
    envs.reset(seed=0)
    ended = 0
    for t in range(10):
        observation, _, terminated, truncated, infos = envs.step(np.full(3, t % 2))
        ended += (terminated | truncated).sum()
    assert ended == 3 and truncated.all() and np.isfinite(observation).all()
    assert infos["episode"]["l"].tolist() == [10] * 3 and infos["episode"]["r"].tolist() == [10.0] * 3


def test_make_vec_knows_them_all_ways():
    for options in ({}, {"vectorization_mode": "sync"}, {"arrays": "jax"}, {"autoreset_mode": "SameStep"}):
        envs = gymnasium.make_vec("rljax/RiverSwim-v0", num_envs=2, **options)
        assert envs.reset(seed=0)[0].shape == (2,) and envs.metadata["autoreset_mode"] in AutoresetMode
    with pytest.raises(TypeError, match="unexpected keyword argument 'gravety'"):
        gymnasium.make_vec("rljax/CartPole-v1", gravety=1)


def test_pictures_are_one_for_each():
    envs = gymnasium.make_vec("rljax/CartPole-v1", num_envs=2, render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded, match="render before reset"):
        envs.render()
    envs.reset(seed=[3, 4])
    alone = RljaxEnv(CartPole(), render_mode="rgb_array")
    alone.reset(seed=4)
    frames = envs.render()
    assert len(frames) == 2 and not np.array_equal(*frames)
    np.testing.assert_array_equal(frames[1], alone.render())
    with pytest.warns(UserWarning, match="shows nothing"):
        assert RljaxVectorEnv(SHORT).render() is None


# Refusals


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((None,), TypeError, "world is None; expected an environment"),
        ((SHORT, 0), ValueError, "num_envs is 0"),
        ((SHORT, 2.0), TypeError, "num_envs is 2.0"),
    ],
)
def test_bad_environments_and_numbers(arguments, error, says):
    with pytest.raises(error, match=says):
        RljaxVectorEnv(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"autoreset_mode": "sometimes"}, ValueError, "autoreset_mode is 'sometimes'; expected one of 'NextStep'"),
        ({"autoreset_mode": None}, ValueError, "autoreset_mode is None; expected one of"),
        ({"arrays": "torch"}, ValueError, "arrays is 'torch'; expected one of 'numpy', 'jax'"),
        ({"render_mode": "human"}, gymnasium.error.UnsupportedMode, "render_mode is 'human'"),
    ],
)
def test_bad_options(options, error, says):
    with pytest.raises(error, match=says):
        RljaxVectorEnv(SHORT, 2, **options)


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ([0, 2, 1], r"the action of environment 1 is np.int64\(2\); expected an element of Discrete\(2\)"),
        (np.array([0, 1, -1]), "the action of environment 2 is np.int64"),
        (np.zeros(3), "the action of environment 0 is np.float64"),
        (np.zeros((3, 1), int), "the action of environment 0 is array"),
        (np.zeros(2, int), r"an array of type int64 and shape \(2,\); expected 3 actions, an element of MultiDiscrete"),
        (1, "actions are 1; expected 3 actions"),
        (None, "actions are None; expected 3 actions"),
        ((0, 1, 0), r"actions are \(0, 1, 0\); expected 3 actions"),
        (["left"] * 3, "the action of environment 0 is np.str_"),
        (jnp.zeros(2, int), r"an array of type int32 and shape \(2,\); expected 3 actions"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(actions, says):
    envs, other = RljaxVectorEnv(SHORT, 3), RljaxVectorEnv(SHORT, 3)
    for env in (envs, other):
        with pytest.raises(gymnasium.error.ResetNeeded, match="step before reset"):
            env.step(np.zeros(3, int))
        env.reset(seed=0)
    with pytest.raises(gymnasium.error.InvalidAction, match=says):
        envs.step(actions)
    equal(envs.step([0, 1, 0]), other.step([0, 1, 0]))


def test_actions_of_parts_are_refused_by_their_parts():
    envs = RljaxVectorEnv(Compass(), 3)
    envs.reset(seed=0)
    good = sample(0, (3,))
    for actions in ({"far": good["far"]}, {**good, "how": good["way"]}, {**good, "far": good["way"]}):
        with pytest.raises(
            gymnasium.error.InvalidAction, match=r"(?s)actions are .*; expected 3 actions, an element of Dict"
        ):
            envs.step(actions)
    with pytest.raises(gymnasium.error.InvalidAction, match="expected 3 actions"):
        envs.step({**good, "way": np.array([0, 3, 1])})


def test_jax_arrays_are_refused_by_shape_and_type():
    envs = RljaxVectorEnv(SHORT, 3, arrays="jax")
    envs.reset(seed=0)
    for actions in (jnp.zeros(2, int), jnp.zeros(3), jnp.zeros((3, 1), int), (jnp.zeros(3, int),) * 2, None):
        with pytest.raises(gymnasium.error.InvalidAction, match="expected 3 actions"):
            envs.step(actions)


def test_bad_resets_are_refused_and_change_nothing():
    envs = RljaxVectorEnv(TimeLimit(CartPole(), 1), 2, autoreset_mode=DISABLED)
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset of a part before reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    for mask, error, says in (
        (np.array([True]), ValueError, r"reset_mask has shape \(1,\); expected \(2,\)"),
        (np.array([1, 0]), TypeError, "reset_mask has type int"),
        (np.array([False, False]), ValueError, "False everywhere"),
    ):
        with pytest.raises(error, match=says):
            envs.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="options has 'low'; expected 'reset_mask'"):
        envs.reset(options={"low": 0.1})
    with pytest.raises(ValueError, match="seed has 3 entries; expected 2"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(gymnasium.error.Error, match="Seed must be"):
        envs.reset(seed=[1, -2])
    envs.step([0, 1])
    with pytest.raises(
        gymnasium.error.ResetNeeded, match="the episode of environment 0 is over, and autoreset is disabled"
    ):
        envs.step([0, 1])
    envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(gymnasium.error.ResetNeeded, match="environment 1"):
        envs.step([0, 1])


# The benchmark


def test_the_benchmark_asks_for_what_there_is(monkeypatch, tmp_path):
    asked = []

    class Worker:
        def __init__(self, module):
            assert module == "experiments.benchmarks.gymnasium_adapters"

        def ask(self, case, seconds, arguments):
            asked.append((case, arguments))
            spent = 10.0 if arguments["name"].startswith("phys2d") else 1.0
            return interleave.Measurement(spent, spent, 3.0, 1000)

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(interleave, "Worker", Worker)
    monkeypatch.chdir(tmp_path)
    command_line.run(["benchmarks.gymnasium_adapters", "--quick", "--out", "one"])
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert list(summary) == ["one environment", "N = 1", "N = 64", "N = 1024", "N = 16384"]
    rows = {row["contender"]: row for row in summary["N = 1024"]}
    ours = rows[gymnasium_adapters.FUNCTIONAL]
    assert (ours["ours_faster"], ours["bar"], ours["reached"]) == (10.0, 50.0, False)
    assert rows[gymnasium_adapters.NUMPY]["reached"]
    assert asked[-2:] == ["closed"] * 2 and len(asked) == 2 * (3 + 4 * 6) + 2
    assert {case for case, _ in asked[:-2]} == set(gymnasium_adapters.CONTENDERS)


@pytest.mark.parametrize(
    ("maker", "arguments"),
    [
        ("single", {"name": "CartPole-v1"}),
        ("single", {"name": gymnasium_adapters.OURS}),
        ("vector", {"name": gymnasium_adapters.OURS, "num_envs": 2}),
        ("vector", {"name": gymnasium_adapters.OURS, "num_envs": 2, "arrays": "jax"}),
        ("vector", {"name": "CartPole-v1", "num_envs": 2}),
    ],
)
def test_contenders_run(maker, arguments):
    prepared = gymnasium_adapters.CONTENDERS[maker](seed=0, **arguments)
    prepared.run()
    assert prepared.steps == (1000 if maker == "single" else 64) and prepared.compile_seconds > 0.0


def test_bad_options_leave_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLJAX_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as caught:
        command_line.run(["benchmarks.gymnasium_adapters", "--rounds", "0"])
    assert "rounds is 0" in str(caught.value.code) and not any(tmp_path.iterdir())
