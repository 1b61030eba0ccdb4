"""One tuned setting of DQN in Stable-Baselines3 and here: what the last parameters are worth, seed by seed.

The setting is that of RL Baselines3 Zoo for CartPole-v1, 50 000 steps: 256-256, Adam 2.3e-3, batches of 64, memory of
100 000, the first 1000 steps random, gamma 0.99, 128 updates after every 256 steps, epsilon to 0.04 over 16 % of the steps,
gradients of norm 10 at most, and "target_update_interval = 10". Stable-Baselines3 counts that interval in environment steps,
which come 256 at a time: the target is copied once for 128 updates. Whoever reads "every 10 updates" gets another algorithm,
which does not learn: both are run here. And so is, one at a time, whatever else ports are known to change.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

STEPS = 50_000
SETTING: dict[str, Any] = {"learning_rate": 2.3e-3, "batch_size": 64, "gamma": 0.99}


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 10,
    test_episodes: int = 100,
    sb3_python: Path | None = None,
) -> None:
    """Train with both; judge the last parameters over fresh greedy episodes.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 2 seeds of ours and their targets alone, 4096 steps, 10 episodes; no Stable-Baselines3.
      seeds: independent runs of each.
      test_episodes: that judge each.
      sb3_python: interpreter that has stable-baselines3; default: the environment variable RLJAX_SB3_PYTHON.
    """
    import jax
    import optax

    from experiments import _console, _play, _train
    from experiments.benchmarks import interleave
    from rljax import agents, checks, envs, networks, replay
    from rljax.runs import folder
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean
    from rljax.structs import Algorithm, Step, pytree_dataclass

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("seeds", "test_episodes"):
        checks.integer(name, options[name], 1)
    steps = STEPS
    if quick:
        seeds, steps, test_episodes = min(seeds, 2), 4096, min(test_episodes, 10)
    python = None if quick else sb3_python or os.environ.get("RLJAX_SB3_PYTHON")
    path = folder.create(out, "benchmarks.dqn_zoo")
    folder.write_config(path, "benchmarks.dqn_zoo", options, locals())
    env = envs.TimeLimit(envs.CartPole(), 500)
    key_train, key_test = jax.random.split(jax.random.key(seed))
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)

    @pytree_dataclass
    class Deadly(envs.TimeLimit):
        """Whoever is still on time's last step dies of it: what ignoring `truncated` comes to."""

        def step(self, key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Step]:
            after, step = super().step(key, state, action)
            return after, step._replace(terminated=step.terminated | step.truncated)

    def learner(
        target_every: int = 128,
        world: envs.Environment = env,
        weights: networks.Initialiser = networks.fan_in_uniform,
        adam: float = 1e-8,
        exploring: float = 0.16,
    ) -> Algorithm:
        return agents.dqn(
            world,
            networks.q_network((4, 256, 256, 2), initialiser=weights),
            unroll_steps=256,
            num_updates=128,
            memory=replay.uniform(391 * 256),
            warmup=1024,
            target_every=target_every,
            optimiser=lambda rate: optax.chain(optax.clip_by_global_norm(10.0), optax.adam(rate, eps=adam)),
            epsilon=optax.linear_schedule(1.0, 0.04, int(exploring * steps)),
            **SETTING,
        )

    contest = {
        "here, a copy every 128 updates": learner(),
        "here, a copy every 10 updates": learner(target_every=10),
        "here, time limits taken for deaths": learner(world=Deadly(envs.CartPole(), 500)),
        "here, weights as of Glorot": learner(weights=networks.glorot_uniform),
        "here, Adam's epsilon 1e-5": learner(adam=1e-5),
        "here, epsilon falling over half of the steps": learner(exploring=0.5),
    }
    if quick:
        contest = dict(list(contest.items())[:2])
    blocks = steps // 256 - 4
    every = {name: (algorithm, {}) for name, algorithm in contest.items()}
    results, failures = _train.each(every, keys, blocks, eval_every=blocks, chunk=16, watched="mean_return")
    scores: dict[str, list[float]] = {}
    for name, result in results.items():
        act = contest[name].act
        lengths = _play.judge(keys_test, env, act, result.parameters, test_episodes, 500)
        scores[name] = lengths.mean(axis=1).tolist()
    if python:
        name = "Stable-Baselines3"
        scores[name] = []
        with _console.bar(name, seeds) as bar:
            for member in range(seeds):
                code = f"from experiments.benchmarks.dqn_zoo import sb3; sb3({seed + member}, {test_episodes})"
                command = [str(Path(python).absolute()), "-c", code]
                done = subprocess.run(command, cwd=interleave.ROOT, capture_output=True, text=True)
                if done.returncode:
                    raise ChildProcessError(f"Stable-Baselines3 failed: {done.stderr.strip().splitlines()[-1]}")
                scores[name].append(json.loads(done.stdout.splitlines()[-1]))
                bar.update(member + 1, f"{scores[name][-1]:.0f}")
    elif not quick:
        _console.console.print(
            "not measured: python -m venv sb3 && sb3/bin/pip install stable-baselines3, then --sb3-python sb3/bin/python"
        )
    summary = {
        name: {
            "iqm": interquartile_mean(x),
            "interval": bootstrap_interval(x),
            "seeds": sorted(x),
            **({"failure": failures[name]} if name in failures else {}),
        }
        for name, x in scores.items()
    }
    folder.write_json(path / "summary.json", summary)
    _console.table(
        f"DQN, the zoo's setting, {seeds} seeds: {test_episodes} greedy episodes of the last parameters",
        [
            {
                "who": name,
                "interquartile mean": f"{row['iqm']:.0f} \\[{row['interval'][0]:.0f}, {row['interval'][1]:.0f}]",
                "seeds": " ".join(f"{x:.0f}" for x in row["seeds"]),
            }
            for name, row in summary.items()
        ],
    )
    _console.files(path)


def sb3(seed: int, test_episodes: int) -> None:
    """One seed of Stable-Baselines3: prints the mean return. Runs under the interpreter that has it."""
    import gymnasium
    from stable_baselines3 import DQN  # pyright: ignore[reportMissingImports]
    from stable_baselines3.common.evaluation import evaluate_policy  # pyright: ignore[reportMissingImports]

    model = DQN(
        "MlpPolicy",
        gymnasium.make("CartPole-v1"),
        buffer_size=100_000,
        learning_starts=1000,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
        **SETTING,
    ).learn(STEPS)
    mean, _ = evaluate_policy(model, gymnasium.make("CartPole-v1"), test_episodes, warn=False)
    print(json.dumps(float(mean)))
