"""One environment as Gymnasium's: its checker, our rollouts to the bit, seeds, limits, pictures, refusals; pure functions."""

import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.functional_jax_env import FunctionalJaxEnv
from gymnasium.utils.env_checker import check_env
from gymnasium_world import Compass, lake, played

from rljax import mdp
from rljax.envs import CartPole, EpisodeStatistics, TabularEnv, TimeLimit
from rljax.envs.gymnasium import RljaxEnv, RljaxFuncEnv
from rljax.runs import drawing

pytestmark = pytest.mark.usefixtures("optimised")

OURS = [spec.id for spec in gymnasium.registry.values() if spec.namespace == "rljax"]
LATEST = ["CartPole-v1", "Chapter-v0", "RiverSwim-v0", "FrozenLake-v1", "FrozenLake8x8-v1"]


# The interface


@pytest.mark.parametrize("name", LATEST)
def test_check_env_has_nothing_to_say(name):
    """Beyond what it says of the classic environment: that velocities have no bounds."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(gymnasium.make(f"rljax/{name}").unwrapped)
    assert [w for w in said if "infinity" not in str(w.message)] == []
    assert len(said) == (2 if name.startswith("CartPole") else 0)


def test_check_env_takes_worlds_of_any_space():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(RljaxEnv(Compass()), skip_render_check=True)
    assert said == []


def test_every_id_makes_an_environment():
    assert {"rljax/CartPole-v0", "rljax/CartPole-v1", "rljax/RiverSwim-v0", "rljax/FrozenLake-v1"} < set(OURS)
    for name in OURS:
        spec = gymnasium.spec(name)
        env = RljaxEnv(spec.make(disable_env_checker=True).unwrapped.world)
        assert env.action_space.n >= 2
        assert gymnasium.envs.registration.EnvSpec.from_json(spec.to_json()) == spec
        if name.removeprefix("rljax/") in gymnasium.registry:
            theirs = gymnasium.spec(name.removeprefix("rljax/"))
            assert (spec.max_episode_steps, spec.reward_threshold) == (
                theirs.max_episode_steps,
                theirs.reward_threshold,
            )


def test_no_import_is_needed_and_none_is_paid_for():
    code = """
import sys, gymnasium
assert "jax" not in sys.modules
env = gymnasium.make("rljax.envs.gymnasium:rljax/CartPole-v1", gravity=3.0)
assert env.unwrapped.world.gravity == 3.0 and env.reset(seed=0)[0].shape == (4,)
"""
    lazy = "import sys, rljax.envs; assert not {'gymnasium', 'rljax.envs.gymnasium'} & set(sys.modules)"
    for program in (code, lazy):
        ended = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent
        )
        assert ended.returncode == 0, ended.stderr


# Equal to ours


@pytest.mark.parametrize("make", [lambda: EpisodeStatistics(TimeLimit(CartPole(), 25)), lambda: TimeLimit(lake(), 12)])
def test_ten_thousand_steps_are_one_rollout_to_the_bit(make):
    """Resets and steps both; the clock is one."""
    world = make()
    ours, env = played(world, 7, 10_000), RljaxEnv(world)
    seen, (observation, _) = [], env.reset(seed=7)
    for t in range(10_000):
        before, alive = observation, ours.valid[t, 0]
        if alive:
            observation, *rest, _ = env.step(ours.action[t, 0])  # refused, if its episode were over
        else:
            observation, rest = env.reset()[0], (0.0, False, False)
        seen.append((before, *rest, observation))
    before, reward, terminated, truncated, after = map(np.stack, zip(*seen, strict=True))
    np.testing.assert_array_equal(before, ours.observation[:, 0])
    np.testing.assert_array_equal(after[ours.valid[:, 0]], ours.next_observation[ours.valid][:])
    for mine, theirs in ((reward, ours.reward), (terminated, ours.terminated), (truncated, ours.truncated)):
        np.testing.assert_array_equal(mine, theirs[:, 0])
    assert min(terminated.sum(), truncated.sum()) > 30


def test_types_are_those_of_gymnasium():
    env = RljaxEnv(CartPole())
    observation, reward, terminated, truncated, info = (env.reset(seed=0), env.step(1))[1]
    assert observation.dtype == np.float32 and observation.flags.writeable and observation.base is None
    assert [type(x) for x in (reward, terminated, truncated, info)] == [float, bool, bool, dict]
    env = RljaxEnv(lake())
    assert type(env.reset(seed=0)[0]) is type(env.step(np.int32(1))[0]) is np.int64
    assert type(env.step(2)[1]) is float


# Seeds


def stream(env, steps=6, **reset):
    found = [env.reset(**reset)[0]]
    found += [env.step(t % 2)[0] for t in range(steps)]
    return np.stack(found)


def test_a_seed_is_a_stream_and_resets_go_on_in_it():
    env, other = RljaxEnv(CartPole()), RljaxEnv(CartPole())
    first, second, third = stream(env, seed=3), stream(env), stream(env)
    assert not np.array_equal(first[0], second[0]) and not np.array_equal(second[0], third[0])
    for again in (env, other):
        np.testing.assert_array_equal([stream(again, seed=3), stream(again), stream(again)], [first, second, third])
    assert env.np_random_seed == 3
    assert not np.array_equal(stream(env, seed=4), first)


def test_without_a_seed_no_two_are_alike_and_a_generator_can_be_given():
    first, second = RljaxEnv(CartPole()), RljaxEnv(CartPole())
    assert not np.array_equal(stream(first), stream(second))
    for env in (first, second):
        env.np_random = np.random.default_rng(5)
    np.testing.assert_array_equal(stream(first), stream(second))


# Limits


def test_the_limit_of_an_id_is_the_wrapper_that_make_puts_around():
    """Once, and as short as asked."""
    env = gymnasium.make("rljax/CartPole-v1")
    assert env.spec.max_episode_steps == 500 and type(env.unwrapped.world) is CartPole
    env = gymnasium.make("rljax/CartPole-v1", max_episode_steps=3)
    assert env.spec.max_episode_steps == 3
    env.reset(seed=0)
    assert [env.step(t % 2)[3] for t in range(3)] == [False, False, True]


def test_a_limit_of_ours_truncates_by_itself():
    env = RljaxEnv(TimeLimit(CartPole(), 2))
    env.reset(seed=0)
    assert [env.step(t)[2:4] for t in range(2)] == [(False, False), (False, True)]
    with pytest.raises(gymnasium.error.ResetNeeded, match="the episode has ended"):
        env.step(0)
    env.reset()
    assert env.step(0)[3] is False


# Wrappers and pictures


def test_gymnasiums_wrappers_work(tmp_path):
    env = gymnasium.make("rljax/CartPole-v1")
    env = wrappers.NormalizeObservation(wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(env, 8)))
    env.reset(seed=1)
    for t in range(8):
        observation, _, terminated, truncated, info = env.step(t % 2)
    assert (terminated, truncated) == (False, True) and (info["episode"]["l"], info["episode"]["r"]) == (8, 8.0)
    assert np.isfinite(observation).all()


def test_a_video_is_recorded(tmp_path):
    pytest.importorskip("moviepy")
    env = wrappers.RecordVideo(gymnasium.make("rljax/CartPole-v1", render_mode="rgb_array"), str(tmp_path / "video"))
    stream(env, seed=0)
    env.close()
    assert [path.suffix for path in (tmp_path / "video").iterdir()] == [".mp4"]


def test_pictures_are_our_own():
    env = gymnasium.make("rljax/CartPole-v1", render_mode="rgb_array", length=1.0)
    assert env.metadata["render_modes"] == ["rgb_array"] and env.metadata["render_fps"] == round(1 / CartPole().tau)
    observation, _ = env.reset(seed=0)
    frame = env.render()
    assert frame.dtype == np.uint8 and frame.shape == (400, 600, 3)
    np.testing.assert_array_equal(frame, drawing.cartpole_frame(observation, env=CartPole(length=1.0)))
    env.step(1)
    assert not np.array_equal(env.render(), frame)
    many = gymnasium.make("rljax/CartPole-v1", render_mode="rgb_array_list")
    stream(many, steps=3, seed=0)
    assert len(many.render()) == 4


def test_any_world_is_drawn_by_a_function_of_its_state():
    env = RljaxEnv(lake(), render_mode="rgb_array", draw=lambda state: np.full((2, 3, 3), state, np.uint8))
    env.reset(seed=0)
    observation = [env.step(1), env.step(1)][1][0]
    assert (env.render() == observation).all() and env.metadata["render_modes"] == ["rgb_array"]


# Refusals


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: RljaxEnv(CartPole), TypeError, "world is <class.*; expected an environment, such as envs.CartPole()"),
        (
            lambda: RljaxEnv(gymnasium.make("CartPole-v1")),
            TypeError,
            "expected an environment, such as envs.CartPole()",
        ),
        (lambda: RljaxEnv(None), TypeError, "world is None; expected an environment"),
        (
            lambda: RljaxEnv(CartPole(), render_mode="human"),
            gymnasium.error.UnsupportedMode,
            "is 'human'; expected None",
        ),
        (
            lambda: RljaxEnv(lake(), render_mode="rgb_array"),
            gymnasium.error.UnsupportedMode,
            "nothing is known that draws",
        ),
        (
            lambda: RljaxEnv(TimeLimit(TabularEnv(mdp.problems.chapter_mdp()), 5)),
            ValueError,
            "action 1 is not available in state 1; expected every action in every state",
        ),
        (lambda: RljaxEnv(Compass(space="Text")), TypeError, r"action_space is Text.*; expected one of Box, Discrete"),
        (lambda: RljaxEnv(Compass(space="in Dict")), TypeError, r"action_space, a part, is Text"),
        (lambda: gymnasium.make("rljax/CartPole-v1", gravety=1), TypeError, "unexpected keyword argument 'gravety'"),
        (lambda: gymnasium.make("rljax/RiverSwim-v0", num_states=1), ValueError, "num_states is 1"),
    ],
)
def test_what_cannot_be_one_is_refused_at_once(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_bad_calls_are_refused_and_change_nothing():
    env = RljaxEnv(CartPole(), render_mode="rgb_array")
    for call, what in ((lambda: env.step(0), "step"), (env.render, "render")):
        with pytest.raises(gymnasium.error.ResetNeeded, match=f"{what} before reset"):
            call()
    env.reset(seed=0)
    for action in (2, -1, 0.0, None, "left", np.array([0]), [0], np.float32(1)):
        with pytest.raises(gymnasium.error.InvalidAction, match=r"^action is .*; expected an element of Discrete\(2\)"):
            env.step(action)
    with pytest.raises(ValueError, match="options has 'low'; expected none"):
        env.reset(options={"low": -0.1})
    with pytest.raises(gymnasium.error.Error, match="Seed must be"):
        env.reset(seed=-1)
    expected = stream(RljaxEnv(CartPole()), seed=0)
    np.testing.assert_array_equal(np.stack([env.step(t % 2)[0] for t in range(6)]), expected[1:])


def test_rendering_that_was_not_asked_for_is_said_to_be_in_vain():
    env = gymnasium.make("rljax/CartPole-v1")
    env.reset(seed=0)
    with pytest.warns(UserWarning, match=r"gymnasium.make\('rljax/CartPole-v1', render_mode='rgb_array'\)"):
        assert env.render() is None


# Pure functions


def test_func_env_is_the_environment_under_other_names():
    world = TimeLimit(CartPole(), 9)
    func, keys = RljaxFuncEnv(world), jax.random.split(jax.random.key(0), 40)
    assert func.action_space == world.action_space and func.observation_space == world.observation_space

    @jax.jit
    def walk(actions, keys):
        state, inner = func.initial(jax.random.key(1)), world.reset(jax.random.key(1))[0]

        def body(carry, now):
            (state, inner), (action, key) = carry, now
            arrival = func.transition(state, action, key)
            inner, step = world.step(key, inner, action)
            theirs = (
                func.observation(arrival, key),
                func.reward(state, action, arrival, key),
                func.terminal(arrival, key),
                func.transition_info(state, action, arrival)["truncated"],
            )
            return (arrival, inner), (theirs, tuple(step))

        return jax.lax.scan(body, (state, inner), (actions, keys))[1]

    theirs, ours = walk(jnp.asarray(np.random.default_rng(0).integers(0, 2, 40), jnp.int32), keys)
    jax.tree.map(np.testing.assert_array_equal, theirs, ours)
    assert theirs[2].any() and theirs[3].any() and not theirs[3].all()


def test_func_env_takes_other_parameters_by_vmap():
    func, state = RljaxFuncEnv(CartPole()), RljaxFuncEnv(CartPole()).initial(jax.random.key(0))
    envs = jax.vmap(lambda gravity: CartPole(gravity=gravity))(jnp.array([1.0, 20.0]))
    move = lambda env: func.transition(state, jnp.int32(1), jax.random.key(0), env).inner.angular_velocity
    light, heavy = jax.jit(jax.vmap(move))(envs)
    assert light != heavy and func.default_params is func.world


def test_gymnasiums_own_adapter_runs_it():
    env = FunctionalJaxEnv(RljaxFuncEnv(TimeLimit(CartPole(), 2)), {"render_modes": ["rgb_array"]}, "rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (4,)
    _, reward, terminated, _, info = [env.step(jnp.int32(0)), env.step(jnp.int32(1))][1]
    assert (reward, terminated, bool(info["truncated"])) == (1.0, False, True)
    assert env.render().shape == (400, 600, 3)
    env.close()
    with pytest.raises(gymnasium.error.UnsupportedMode, match="nothing is known that draws"):
        RljaxFuncEnv(lake()).render_init()
