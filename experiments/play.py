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
      run_folder: what `reinforce`, `policy_search`, `approximate_q`, `dqn_chapter`, `dqn`, `dqn_ablation` or `pqn` made.
      seed: of the fresh episodes.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 10 episodes.
      episodes: number of episodes.
      max_steps: most steps of an episode; default: as in training. A film shows at most 1000.
    """
    import jax
    import numpy as np

    from experiments import _console, _saved, _world
    from rljax import checks
    from rljax.runs import checkpoint, folder

    options = {"run_folder": run_folder, "seed": seed, "quick": quick, "episodes": episodes, "max_steps": max_steps}
    checks.together(episodes=episodes)
    checks.seed(seed)
    file = _saved.file(run_folder)
    about = checkpoint.about(file)
    try:
        network, choose = _saved.policy(about)
        limit: int = about.get("max_steps", 0)
        checks.integer("max_steps", limit, 1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} cannot be played: {error}") from error
    world = _world.again(about, max_steps)
    parameters = checkpoint.load(file, jax.eval_shape(network.init, jax.random.key(0)))
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parameters)):
        raise ValueError(f"{file} holds parameters that are not finite; expected numbers. Train again.")
    episodes = min(episodes, 10) if quick else episodes
    path = folder.create(out, "play")
    folder.write_config(path, "play", options, {"episodes": episodes, "max_steps": world.max_steps})

    def act(parameters: object, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return choose(network.apply(parameters, observation))

    # Of one seed the first three are those of the training: fresh episodes are none that were trained on.
    key_judge, key_film = jax.random.split(jax.random.key(seed), 5)[3:]
    one = jax.tree.map(lambda leaf: leaf[None], parameters)
    with _console.busy(f"playing {episodes} episodes"):
        returns = world.judge(key_judge[None], act, one, episodes)[0]
        world.film([path / "play.gif"], key_film, act, one, [file.resolve().parent.name])
    summary = {
        "episodes": episodes,
        "mean_return": float(returns.mean()),
        "min": float(returns.min()),
        "median": float(np.median(returns)),
        "max": float(returns.max()),
    }
    folder.write_json(path / "summary.json", summary)
    _console.table(f"{file}", [{name.replace("_", " "): f"{value:g}" for name, value in summary.items()}])
    _console.files(path)
