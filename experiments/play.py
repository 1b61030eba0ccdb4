"""Load a saved policy, judge it over fresh episodes and film it: `python -m experiments play RUN_FOLDER`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def main(
    run_folder: Positional[Path],
    *,
    seed: int = 1000,
    out: Path | None = None,
    quick: bool = False,
    episodes: int = 100,
    max_steps: int | None = None,
) -> None:
    """Play the policy that an experiment left in its folder.

    Args:
      run_folder: what `reinforce`, `policy_search`, `approximate_q`, `dqn_chapter`, `dqn` or `pqn` made.
      seed: of the fresh episodes.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 10 episodes.
      episodes: number of episodes.
      max_steps: most steps of an episode; default: as in training. A film shows at most 1000.
    """
    import jax
    import numpy as np

    from experiments import _console, _play, _saved
    from rljax import checks, envs
    from rljax.runs import checkpoint, folder

    options = {"run_folder": run_folder, "seed": seed, "quick": quick, "episodes": episodes, "max_steps": max_steps}
    checks.integer("episodes", episodes, 1)
    checks.seed(seed)
    file = run_folder / "policy.npz"
    about = checkpoint.about(file)
    try:
        network, choose = _saved.policy(about)
        limit: int = about.get("max_steps", 0)
        checks.integer("max_steps", limit, 1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} cannot be played: {error}") from error
    steps = limit if max_steps is None else max_steps
    checks.integer("max_steps", steps, 1)
    parameters = checkpoint.load(file, jax.eval_shape(network.init, jax.random.key(0)))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)):
        raise ValueError(f"{file} holds parameters that are not finite; expected numbers. Train again.")
    episodes = min(episodes, 10) if quick else episodes
    path = folder.create(out, "play")
    folder.write_config(path, "play", options, {"episodes": episodes, "max_steps": steps})

    def act(parameters: object, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return choose(network.apply(parameters, observation))

    # Of one seed the first three are those of the training: fresh episodes are none that were trained on.
    key_judge, key_film = jax.random.split(jax.random.key(seed), 5)[3:]
    env, one = envs.CartPole(), jax.tree.map(lambda leaf: leaf[None], parameters)
    lengths = _play.judge(key_judge[None], env, act, one, episodes, steps)[0]
    (played,) = _play.record(key_film, env, act, one, steps)
    _play.film(path / "play.gif", env, played, run_folder.resolve().name)
    summary = {
        "episodes": episodes,
        "mean_length": float(lengths.mean()),
        "min": int(lengths.min()),
        "median": float(np.median(lengths)),
        "max": int(lengths.max()),
    }
    folder.write_json(path / "summary.json", summary)
    _console.table(f"{file}", [{name.replace("_", " "): f"{value:g}" for name, value in summary.items()}])
    _console.files(path)
