"""Stable-Baselines3, where it is installed: its checker has nothing to say, and its learners learn."""

import warnings

import gymnasium
import pytest

import rljax.envs.gymnasium  # noqa: F401 (registers)

sb3 = pytest.importorskip("stable_baselines3")


@pytest.mark.parametrize("name", ["CartPole-v1", "Chapter-v0", "RiverSwim-v0", "FrozenLake-v1"])
def test_its_checker_has_nothing_to_say(name):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sb3.common.env_checker.check_env(gymnasium.make(f"rljax/{name}").unwrapped)
    assert said == []


@pytest.mark.parametrize("name", ["CartPole-v1", "rljax/CartPole-v1"])
@pytest.mark.filterwarnings("default")
def test_ppo_learns_ours_as_it_learns_the_classic_one(name):
    model = sb3.PPO("MlpPolicy", name, seed=0, device="cpu", n_steps=512).learn(12_288)
    mean, _ = sb3.common.evaluation.evaluate_policy(model, gymnasium.make(name), n_eval_episodes=10, warn=False)
    assert mean > 150.0
