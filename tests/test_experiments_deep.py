"""The commands of deep Q-learning: what they leave behind, and what they refuse before anything is lost."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments import _deep_q, _results, _saved, dqn_chapter
from rljax import structs
from rljax.runs import checkpoint

SMALL = ["--quick", "--seeds", "2"]
LEARNERS = {
    "dqn_chapter": ["--episodes", "60", "--max-steps", "20"],
    "dqn": ["--variant", "double,dueling,per,c51", "--hidden", "8", "--steps", "2000", "--max-steps", "20"],
    "pqn": ["--hidden", "8", "--num-envs", "4", "--unroll-steps", "8", "--minibatches", "2", "--max-steps", "20"],
}


pytestmark = pytest.mark.usefixtures("as_users_run_it")


def plays(run):
    """The saved policy chooses, as `play` lets it; what is known of it."""
    about = checkpoint.about(run / "policy.npz")
    network, choose = _saved.policy(about)
    parameters = checkpoint.load(run / "policy.npz", jax.eval_shape(network.init, jax.random.key(0)))
    assert int(choose(network.apply(parameters, np.zeros(4, np.float32)))) in (0, 1)
    return about


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_leaves_its_curves_its_policy_and_films(name, capsys):
    command_line.run([name, *SMALL, *LEARNERS[name], "--out", "run"])
    said = capsys.readouterr().out
    run = Path("run")
    table = {"dqn_chapter": "episodes.csv"}.get(name, "scores.csv")
    assert {path.name for path in run.iterdir()} == {
        *(
            "after.gif",
            "before.gif",
            "config.json",
            "learning_curve.png",
            "policy.npz",
            "summary.json",
            table,
            "tests.csv",
        )
    }
    assert "python -m experiments play run" in said
    rows = (run / table).read_text().splitlines()
    assert len(rows) > 2 and all(len(row.split(",")) == len(rows[0].split(",")) for row in rows)
    about = plays(run)
    assert about["experiment"] == name and about["max_steps"] == 20
    for learner in _results.read([run]):
        assert len(learner.curves) == len(learner.tests) == 2 and learner.best == 20
        assert all((np.diff(curve.steps) > 0).all() and (curve.scores <= 20).all() for curve in learner.curves)


def test_the_shape_bug_of_the_chapter_is_every_target_against_every_prediction():
    table = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 0.0]], np.float32)
    ends = np.array([False, True]), np.array([False, False])
    state, action, successor = np.array([0, 1]), np.array([1, 0]), np.array([2, 0])
    batch = structs.Transition(state, action, np.ones(2, np.float32), successor, *ends, (), (), ())
    y, q = np.array([1 + 0.5 * 4, 1.0]), np.array([2.0, 3.0])
    loss = lambda bug: dqn_chapter.chapter_loss(
        jnp.asarray(table), lambda table, s: table[s], jax.tree.map(jnp.asarray, batch), 0.5, bug
    )
    assert loss(False) == np.mean((y - q) ** 2) == 2.5
    assert loss(True) == np.mean((y[:, None] - q) ** 2) == 1.5


def test_the_chapters_episodes():
    """Nothing is learned before number 51, from 0; what was explored, and how long it may take."""
    algorithm = dqn_chapter.chapter_dqn(episodes=80, gamma=0.95, learning_rate=0.01, max_steps=20, bug=False)

    @jax.jit
    def run(key):
        def step(carry, key):
            carry, metrics = algorithm.step(key, carry)
            return carry, (metrics, carry.params[0]["kernel"])

        keys = jax.random.split(key, 81)
        return jax.lax.scan(step, algorithm.init(keys[0]), keys[1:])[1]

    metrics, kernel = jax.tree.map(np.asarray, run(jax.random.key(0)))
    np.testing.assert_allclose(metrics["epsilon"], np.maximum(1 - np.arange(80) / 80, 0.01), rtol=1e-5)
    assert metrics["length"].min() >= 8 and metrics["length"].max() == 20
    changed = (np.diff(kernel, axis=0) != 0).any(axis=(1, 2))
    assert np.argmax(changed) == 50 and changed[50:].all(), "`if episode > 50`"


def test_the_ablation_names_every_variant(capsys):
    options = ["--variants", "plain", "n_step", "--steps", "2000", "--hidden", "8", "--max-steps", "20"]
    command_line.run(["dqn_ablation", *SMALL, *options, "--out", "run"])
    summary = json.loads(Path("run/summary.json").read_text())
    assert list(summary["variants"]) == ["plain", "n_step"] and summary["seeds"] == 2
    for row in summary["variants"].values():
        low, high = row["mean_score_interval"]
        assert low <= row["mean_score_iqm"] <= high
    pictures = {"ablation.png", "learning_curves.png", "before.gif", "after.gif"}
    assert pictures | {"scores.csv"} <= {path.name for path in Path("run").iterdir()}
    winner = max(summary["variants"], key=lambda name: summary["variants"][name]["mean_score_iqm"])
    assert checkpoint.about(Path("run/policy.npz"))["variant"] == winner
    plays(Path("run"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dqn", "--variant", "c51,squared"], "two answers to one question (loss)"),
        (["dqn", "--variant", "doubel"], "Did you mean 'double'?"),
        (["dqn", "--variant", "munchausen,n_step"], "expected n=1"),
        (["dqn", "--steps", "1500"], "Take 2000"),
        (["dqn", "--target", "501"], "target is 501"),
        (["dqn", "--patience", "2"], "expected a target beside it"),
        (["dqn", "--variant", "c51", "--gamma", "0.999"], "whose atoms end at 200; expected at most 0.995"),
        (["dqn", "--variant", "plain,double"], "expected plain alone"),
        (["dqn_ablation", "--variants"], "expected at least one, each once"),
        (["dqn_ablation", "--variants", "per", "per"], "expected at least one, each once"),
        (["dqn_ablation", "--variants", "plain", "per,what"], "no variant 'what'"),
        (["dqn_chapter", "--episodes", "7"], "Take 10"),
        (["dqn_chapter", "--gamma", "1.5"], "gamma is 1.5"),
        (["pqn", "--minibatches", "3"], "minibatches is 3"),
        (["pqn", "--steps", "100"], "at least one evaluation"),
        (["dqn", "--hidden"], "hidden is given without a width"),
        *(([name, "--hidden", "8", "0"], "hidden is 0") for name in ("dqn", "pqn", "dqn_ablation")),
    ],
)
def test_refusals_leave_nothing_behind(arguments, message):
    with pytest.raises(SystemExit) as caught:
        command_line.run(arguments)
    assert message in str(caught.value.code)
    assert not list(Path().iterdir())


def test_every_variant_is_of_a_kind_and_composes():
    """One of each kind at once."""
    kinds = {variant.kind for variant in _deep_q.VARIANTS.values()}
    names = {variant.kind: name for name, variant in _deep_q.VARIANTS.items() if name != "munchausen"}
    assert set(_deep_q.chosen(",".join(names.values()))) == set(names.values()) and set(names) == kinds
    assert _deep_q.chosen("plain") == {} and list(_deep_q.chosen("n-step, per")) == ["n_step", "per"]
