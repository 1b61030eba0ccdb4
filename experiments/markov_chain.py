"""The chapter's Markov chain of four states: paths, the law after n steps, and the time until it is absorbed.

Every number twice: exactly, from the matrix, and as the mean of simulated paths, with its standard error.
"""

from __future__ import annotations

from pathlib import Path

TRANSITIONS = [
    [0.7, 0.2, 0.0, 0.1],
    [0.0, 0.0, 0.9, 0.1],
    [0.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 1.0],  # absorbs
]


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    paths: int = 10_000,
    shown: int = 10,
    start: int = 0,
    steps: int = 50,
) -> None:
    """Simulate the chain, print some paths, and compare what was counted with what is exact.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 500 paths.
      paths: simulated from each state.
      shown: paths printed and drawn, from the start.
      start: state in which these begin.
      steps: longest path shown, and the time up to which laws are drawn.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import checks
    from rljax.mdp import chain
    from rljax.runs import folder, mdp_plots

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    paths = min(paths, 500) if quick else paths
    checks.seed(seed)
    checks.integer("paths", paths, 2)
    checks.integer("shown", shown, 1)
    checks.together(paths=paths, steps=steps)
    checks.integer("start", start, 0)
    if start >= len(TRANSITIONS):
        raise ValueError(f"start is {start}; expected one of the states 0 ... {len(TRANSITIONS) - 1}.")
    with jax.enable_x64(True):
        p = jnp.array(TRANSITIONS)
        absorbs = chain.structure(p).recurrent
        expected = np.asarray(chain.absorption(p).time)
        later = np.asarray(chain.power(p, steps))
        laws = np.asarray(chain.laws(p, jnp.eye(len(p))[start], steps))
        # So long that not one of a million such experiments meets a path that is still on its way.
        longest = steps
        while float(jnp.where(absorbs, 0.0, chain.power(p, longest)).sum(axis=1).max()) * paths > 1e-6:
            longest *= 2
        checks.together(starts=len(p), paths=paths, longest=longest + 1)
        path = folder.create(out, "markov_chain")
        folder.write_config(path, "markov_chain", options, locals())

        @jax.jit
        def walk(key: jax.Array, state: jax.Array) -> jax.Array:
            return jax.vmap(lambda key: chain.simulate(key, p, state, longest))(jax.random.split(key, paths))

        keys = jax.random.split(jax.random.key(seed), len(p))
        walks = [np.asarray(walk(key, jnp.int32(state))) for state, key in enumerate(keys)]

    ends = np.asarray(absorbs)
    times = np.array([np.argmax(ends[walked], axis=1) for walked in walks])  # [S, paths]
    mean, error = times.mean(axis=1), times.std(axis=1, ddof=1) / np.sqrt(paths)
    visited = np.eye(len(ends))[walks[start][:, : steps + 1]].mean(axis=0)  # [steps + 1, S]
    examples = [walked[: 1 + min(time, steps)] for walked, time in zip(walks[start], times[start], strict=True)][:shown]

    for number, (example, time) in enumerate(zip(examples, times[start], strict=False)):
        states = " ".join(map(str, example)) + (" ..." if time > steps else "")
        _console.console.print(f"path {number + 1:>2}: {states}", soft_wrap=True)
    summary = {
        "paths": paths,
        "states": [
            {
                "start": state,
                "absorbs": bool(ends[state]),
                "expected_steps": float(expected[state]),
                "simulated_mean": float(mean[state]),
                "standard_error": float(error[state]),
            }
            for state in range(len(ends))
        ],
        "law_after_steps": {"steps": steps, "exact": laws[-1], "simulated": visited[-1]},
        "largest_difference_of_laws": float(np.abs(visited - laws).max()),
        "not_absorbed_when_simulation_ended": int((~ends[[w[:, -1] for w in walks]]).sum()),
    }
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(
        path / "laws.csv",
        (
            {"step": n, "state": state, "exact": float(laws[n, state]), "simulated": float(visited[n, state])}
            for n in range(steps + 1)
            for state in range(len(ends))
        ),
    )
    cut = f"; cut at {steps} steps" if (times[start][:shown] > steps).any() else ""
    mdp_plots.chain_paths(
        path / "paths.png", examples, title=f"{len(examples)} paths of the chain from state {start} until absorbed{cut}"
    )
    mdp_plots.chain_laws(
        path / "law.png", laws, ends, title=f"Where the chain is that starts in state {start}: exact law"
    )
    arrived = np.diff(laws[:, ends].sum(axis=1), prepend=0.0)
    mdp_plots.waiting_times(
        path / "absorption.png",
        times[start],
        arrived,
        float(expected[start]),
        title=f"How soon the chain that starts in state {start} is absorbed",
    )
    _console.table(
        f"steps until absorption, {paths} paths from each state",
        [
            {
                "start": str(state),
                "exact": f"{expected[state]:.6g}",
                "simulated": f"{mean[state]:.3f} +- {error[state]:.3f}",
                "difference / error": f"{(mean[state] - expected[state]) / error[state]:+.2f}" if error[state] else "-",
                f"P(at most {steps} steps)": f"{1 - after:.4f}",
            }
            for state, after in enumerate(np.where(ends, 0.0, later).sum(axis=1))
        ],
    )
    _console.files(path)
