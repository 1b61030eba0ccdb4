"""The benchmark of deep Q-learning: its contenders do what they say, its ratios stand the right way up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments.benchmarks import dqn as contenders
from experiments.benchmarks import dqn_peers, interleave

STEPS = contenders.WARMUP + 3 * contenders.BLOCK


@pytest.fixture(autouse=True)
def as_users_run_it(tmp_path, monkeypatch):
    """JAX as it comes, in an empty folder, without peers."""
    monkeypatch.chdir(tmp_path)
    for name in ("RLJAX_TRACEBACK", "RLJAX_PEER_PYTHON", "RLJAX_PUREJAXRL", "RLJAX_CLEANRL"):
        monkeypatch.delenv(name, raising=False)
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def asked(monkeypatch):
    """What workers are asked, (module, case, arguments); each answers at once, the peers ten times as slow as we are."""
    asked = []

    class Worker:
        def __init__(self, module, python=""):
            self.module = module.split(".")[-1]

        def ask(self, case, seconds, arguments):
            asked.append((self.module, case, arguments))
            spent = 10.0 if self.module == "dqn_peers" else 1.0
            return interleave.Measurement(spent, spent, 3.0, 1000 * arguments.get("seeds", 1))

        def close(self):
            asked.append("closed")

    monkeypatch.setattr(interleave, "Worker", Worker)
    return asked


@pytest.fixture
def checkouts(tmp_path):
    """Two that look like the peers', the options that name them."""
    for file, _, _ in contenders.PEERS.values():
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).touch()
    return ["--purejaxrl", str(tmp_path), "--cleanrl", str(tmp_path), "--peer-python", "python"]


def test_ratios_by_hand():
    """Slower than us is above 1, medians over rounds, what was not measured left out."""
    trainings = {"one seed": [1.0, 2.0, 1.0], "PureJaxRL": [2.0, 3.0, 1.0], "one seed, one core": [2.0, 2.0, 2.0]}
    trainings |= {"8 seeds": [0.5, 1.5, 0.75], "products of 8 seeds": [0.25, 0.75, 0.5]}
    draws = {"uniform, 1e4": [4.0, 2.0, 4.0], "uniform, 1e6": [8.0, 8.0, 4.0]}
    found = contenders.judge("8 seeds", trainings, draws)
    assert {name: (row["median"], row["bar"], row["reached"]) for name, row in found.items()} == {
        "PureJaxRL / one seed": (1.5, ">= 1.7", False),
        "8 seeds / one seed, one core": (0.375, "<= 0.5", True),
        "products of 8 seeds / one seed, one core": (0.25, None, None),
        "products of 8 seeds / 8 seeds": (0.5, None, None),
        "uniform, 1e6 / uniform, 1e4": (2.0, "<= 1.5", False),
        "uniform, 1e4: microseconds": (4.0, None, None),
        "uniform, 1e6: microseconds": (8.0, None, None),
    }


def test_the_command(asked, checkouts, tmp_path):
    command_line.run(["benchmarks.dqn", "--rounds", "2", "--seeds", "8", "--out", "one", *checkouts])
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    bars = {name: (row["median"], row["bar"]) for name, row in summary.items() if row.get("bar")}
    assert bars == {
        "PureJaxRL / one seed": (10.0, ">= 1.7"),
        "CleanRL / one seed": (10.0, ">= 10"),
        "PureJaxRL, one core / one seed, one core": (10.0, ">= 1.7"),
        "CleanRL, one core / one seed, one core": (10.0, ">= 10"),
        "8 seeds / one seed, one core": (0.125, "<= 0.5"),
        "uniform, 1e6 / uniform, 1e4": (1.0, "<= 1.5"),
        "prioritised, 1e6 / prioritised, 1e4": (1.0, "<= 1.5"),
        "compilation of the default program: seconds": (3.0, "<= 4"),
        "by XLA, without the tracing before it: seconds": (3.0, "<= 4"),
    }
    # A thousand steps a second: fifty seconds a seed.
    assert summary["seconds of each round, for each seed"]["one seed"] == [50.0, 50.0]
    assert summary["seconds of each round, for each seed"]["8 seeds"] == [6.25, 6.25]
    questions = [question for question in asked if question != "closed"]
    assert {question[2]["checkout"] for question in questions if question[0] == "dqn_peers"} == {str(tmp_path)}
    assert (
        asked.count("closed") == 6 + 2
    )  # us and two peers, each on one core too; a fresh process for each compilation
    for module, case, arguments in questions:
        maker = (dqn_peers if module == "dqn_peers" else contenders).CONTENDERS[case]
        assert set(arguments) <= set(maker.__annotations__)


def test_peers_that_are_not_there_are_named(asked, capsys):
    command_line.run(["benchmarks.dqn", "--quick", "--out", "one"])
    assert re.findall(r"(\w+) not measured: git clone", capsys.readouterr().out) == ["PureJaxRL", "CleanRL"]
    assert {question[2]["steps"] for question in asked if question[1:2] == ("rljax",)} == {11_000}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--seeds 1", "seeds is 1"),
        ("--rounds 0", "rounds is 0"),
        ("--seconds 0", "seconds is 0"),
        ("--seed -1", "seed is -1"),
        ("--cleanrl nowhere", "cleanrl is nowhere; expected a checkout with cleanrl/dqn_jax.py. git clone https"),
    ],
)
def test_bad_options_end_in_one_line_and_leave_nothing(tmp_path, arguments, says):
    with pytest.raises(SystemExit) as caught:
        command_line.run(["benchmarks.dqn", *arguments.split(), "--out", "refused"])
    assert says in str(caught.value.code).split("\n")[0]
    assert not any(tmp_path.iterdir())


def test_ours_is_the_whole_run():
    prepared = contenders.rljax(seed=0, steps=STEPS, seeds=2)
    assert prepared.steps == 2 * STEPS
    member, metrics = prepared.run()
    assert member.state.learner.steps.tolist() == [STEPS, STEPS] and member.state.learner.updates.tolist() == [3, 3]
    assert metrics["loss"].shape == (2, 3) and np.isfinite(metrics["loss"]).all()
    assert not np.array_equal(*metrics["loss"])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="GPUs call a library, which names no shapes")
def test_products_are_those_of_the_update(monkeypatch):
    """And the compiler leaves none out."""
    monkeypatch.setattr(contenders, "compiled", lambda program, *arguments, steps: (program, arguments))
    program, arguments = contenders.products(seed=0, steps=STEPS, seeds=2)
    text = jax.jit(program).lower(*arguments).compile().as_text()
    forwards, backwards = [(128, 120), (128, 84), (128, 2)], [(128, 84), (128, 120)]
    products = re.findall(r"f32\[2,(\d+),(\d+)\]\S* dot\(", str(text))
    shapes = sorted((int(rows), int(columns)) for rows, columns in products)
    assert shapes == sorted(2 * forwards + backwards + [(4, 120), (120, 84), (84, 2)])


def test_draws_are_batches_of_play():
    prepared = contenders.sampling("prioritised", 1000)
    total = prepared.run()
    assert prepared.steps == contenders.DRAWS
    assert float(total.transition.reward) == contenders.DRAWS * contenders.BATCH  # each step of CartPole pays 1
    assert 0 < float(total.transition.action) < contenders.DRAWS * contenders.BATCH
    assert 0 < float(total.weight) < contenders.DRAWS * contenders.BATCH  # priorities differ


def test_rows_are_as_many_bytes_as_a_draw():
    taken = contenders.sampling("NumPy rows", 1000).run()
    assert sum(rows.nbytes for rows in taken) == contenders.DRAWS * contenders.BATCH * (2 * 4 * 4 + 4 + 4 + 2)


def test_a_script_of_cleanrl_is_run_as_it_is(tmp_path):
    """In a process of its own, since the packages that it imports are changed there."""
    script = tmp_path / "cleanrl" / "dqn_jax.py"
    script.parent.mkdir()
    script.write_text(
        """
from dataclasses import dataclass
import sys
import gymnasium as gym
import tyro

@dataclass
class Args:
    seed: int = 1
    total_timesteps: int = 500_000
    learning_starts: int = 10_000

if __name__ == "__main__":
    args = tyro.cli(Args)
    assert args in (Args(3, 502, 0), Args(3, 600)), args
    writer = sys.modules["torch.utils.tensorboard"].SummaryWriter("runs/here")
    writer.add_text("a", "b")
    writer.add_scalar("a", 1.0, 2)
    make = lambda: gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1", max_episode_steps=3))
    envs = gym.vector.SyncVectorEnv([make])
    first, _ = envs.reset(seed=args.seed)
    for step in range(3):
        observation, _, _, truncated, infos = envs.step(envs.action_space.sample())
        assert truncated[0] == (step == 2) == ("final_observation" in infos) and "final_info" not in infos
    assert abs(observation).max() <= 0.05 < abs(infos["final_observation"][0]).max()
    writer.close()
"""
    )
    worker = interleave.Worker("experiments.benchmarks.dqn_peers")
    try:
        measured = worker.ask("cleanrl", 0.001, {"checkout": str(tmp_path), "seed": 3, "steps": 600})
    finally:
        worker.close()
    assert measured.steps >= 600 and measured.steps % 600 == 0
    assert [path.name for path in Path(tmp_path).iterdir()] == ["cleanrl"]  # no logs
