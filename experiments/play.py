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
      run_folder: what `reinforce` made.
      seed: of the fresh episodes.
      out: folder for the results; default: a fresh one under runs/.
      quick: 10 episodes.
      episodes: number of episodes.
      max_steps: most steps of an episode; default: as in training.
    """
    import operator

    import jax
    import numpy as np

    from experiments import _console, _play
    from rljax import checks, envs, networks, policies
    from rljax.runs import checkpoint, folder

    options = {"run_folder": run_folder, "seed": seed, "quick": quick, "episodes": episodes, "max_steps": max_steps}
    episodes = min(episodes, 10) if quick else episodes
    checks.integer("episodes", episodes, 1)
    file = run_folder / "policy.npz"
    about = checkpoint.about(file)
    try:
        limit, sizes = operator.index(about["max_steps"]), [operator.index(size) for size in about["sizes"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file} does not say for which network and episode length it is ({error!r}); "
            "expected what an experiment saved, with max_steps and sizes."
        ) from error
    max_steps = limit if max_steps is None else max_steps
    checks.seed(seed)
    checks.integer("max_steps", max_steps, 1)
    network = networks.mlp(sizes)
    parameters = checkpoint.load(file, jax.eval_shape(network.init, jax.random.key(0)))
    path = folder.create(out, "play")
    folder.write_config(path, "play", options)

    def act(parameters: object, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return policies.bernoulli.mode(network.apply(parameters, observation))

    key = jax.random.key(seed)
    env, one = envs.CartPole(), jax.tree.map(lambda leaf: leaf[None], parameters)
    lengths = _play.judge(key[None], env, act, one, episodes, max_steps)[0]
    policy = lambda key, observation: act(parameters, key, observation)
    _play.film(path / "play.gif", jax.random.fold_in(key, 1), env, policy, max_steps, f"{run_folder.name}")
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
