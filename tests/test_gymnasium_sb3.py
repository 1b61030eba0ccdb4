"""Stable-Baselines3, where it is installed: its checker has nothing to say, and its learners learn."""

import warnings

import gymnasium
import pytest

import rljax.envs.gymnasium  # noqa: F401 (registers)

sb3 = pytest.importorskip("stable_baselines3")
checker = pytest.importorskip("stable_baselines3.common.env_checker")
evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
torch = pytest.importorskip("torch")
NAMES = ["CartPole-v1", "rljax/CartPole-v1"]


@pytest.fixture(autouse=True)
def one_thread():
    """Workers of pytest-xdist share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["CartPole-v1", "Chapter-v0", "RiverSwim-v0", "FrozenLake-v1"])
def test_its_checker_has_nothing_to_say(name):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        checker.check_env(gymnasium.make(f"rljax/{name}").unwrapped)
    assert said == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("default")
def test_ppo_learns_ours_as_it_learns_the_classic_one(name):
    """From 22 steps, by chance, to more than a hundred, from the same seed in the same time."""
    model = sb3.PPO("MlpPolicy", name, seed=0, device="cpu", n_steps=512).learn(10_240)
    mean, _ = evaluation.evaluate_policy(model, gymnasium.make(name), n_eval_episodes=10, warn=False)
    assert mean > 100.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("default")
def test_dqn_stores_what_happened(name):
    """What its replay holds is one stream: each observation follows from the one before, but where episodes end."""
    model = sb3.DQN("MlpPolicy", name, seed=0, device="cpu", learning_starts=200).learn(600)
    buffer = model.replay_buffer
    ended = buffer.dones[:600, 0] > 0
    follows = (buffer.next_observations[:599, 0] == buffer.observations[1:600, 0]).all(axis=1)
    assert (follows == ~ended[:599]).all() and 10 < ended.sum() < 60
