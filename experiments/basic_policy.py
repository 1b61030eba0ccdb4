"""The chapter's hard-coded CartPole policy: 500 episodes in Gymnasium and in the JAX rollout, the same to the digit.

Both start from the 500 states that Gymnasium draws for seeds 0 ... 499, and integrate in float64.
"""

from __future__ import annotations

from pathlib import Path


def main(
    *, seed: int = 0, out: Path | None = None, quick: bool = False, episodes: int = 500, max_steps: int = 200
) -> None:
    """Push towards the side the pole leans to, and count the steps it survives.

    Args:
      seed: Gymnasium seed of the first episode; the following ones count up.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 20 episodes.
      episodes: number of episodes.
      max_steps: most steps of an episode.
    """
    import gymnasium
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import checks, envs, policies, rollout
    from rljax.runs import folder, plots

    options = {"seed": seed, "quick": quick, "episodes": episodes, "max_steps": max_steps}
    checks.together(episodes=episodes, max_steps=max_steps)
    checks.seed(seed)
    episodes = min(episodes, 20) if quick else episodes
    path = folder.create(out, "basic_policy")
    folder.write_config(path, "basic_policy", options, {"episodes": episodes})

    env = gymnasium.make("CartPole-v1", max_episode_steps=max_steps)
    starts, host = [], []
    for episode in range(episodes):
        observation, _ = env.reset(seed=seed + episode)
        starts.append(env.unwrapped.state)  # pyright: ignore[reportAttributeAccessIssue] # of CartPole
        ended, length = False, 0
        while not ended:
            observation, _, terminated, truncated, _ = env.step(0 if observation[2] < 0 else 1)
            ended, length = terminated or truncated, length + 1
        host.append(length)

    with jax.enable_x64(True):
        state = envs.CartPoleState(*jnp.asarray(np.array(starts)).T)
        cursor = rollout.Cursor(state, jnp.zeros(episodes, bool))

        @jax.jit
        def play(key: jax.Array) -> jax.Array:
            policy = lambda key, observation: policies.angle_policy(observation)
            _, played = rollout.unroll(key, envs.CartPole(), policy, cursor, max_steps, autoreset="none")
            return played.reward.sum(axis=0)

        device = np.asarray(play(jax.random.key(seed)))

    def describe(lengths: np.ndarray) -> dict[str, float]:
        return {
            "mean": float(lengths.mean()),
            "standard_deviation": float(lengths.std()),
            "min": float(lengths.min()),
            "max": float(lengths.max()),
            "median": float(np.median(lengths)),
        }

    summary = {
        "gymnasium": describe(np.array(host)),
        "jax": describe(device),
        "episodes_that_differ": int((np.array(host) != device).sum()),
    }
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(
        path / "episodes.csv",
        [{"episode": i + 1, "gymnasium": a, "jax": int(b)} for i, (a, b) in enumerate(zip(host, device, strict=True))],
    )
    plots.episode_returns(path / "returns.png", device, title="Hard-coded policy: push where the pole leans")
    _console.table(
        f"{episodes} episodes of at most {max_steps} steps",
        [
            {"through": name, **{k.replace("_", " "): f"{v:.10g}" for k, v in summary[name].items()}}
            for name in ("gymnasium", "jax")
        ],
    )
    _console.files(path)
