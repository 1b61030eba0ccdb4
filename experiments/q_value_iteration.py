"""Q-value iteration on the chapter's MDP: the printed table after 50 sweeps, and the one that is right.

At gamma 0.95 the two differ: 50 sweeps are not enough, and nothing in the table tells.
"""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    gammas: tuple[float, ...] = (0.90, 0.95),
    sweeps: int = 50,
    most: int = 300,
) -> None:
    """Apply the Bellman optimality operator for action values again and again, from zeros.

    Args:
      seed: of nothing: planning is not random; every seed gives the same numbers.
      out: folder for the results; default: a fresh one under runs/.
      quick: nothing is shortened: all of it takes seconds.
      gammas: discounts, each in (0, 1).
      sweeps: after which the chapter prints the table.
      most: sweeps in the figure; at least `sweeps`.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import checks, mdp
    from rljax.mdp import evaluation, planners
    from rljax.runs import folder, mdp_plots

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    gammas = tuple(dict.fromkeys(gammas))
    checks.seed(seed)
    checks.integer("sweeps", sweeps, 1)
    checks.integer("most", most, sweeps)
    checks.integer("the number of gammas", len(gammas), 1)
    checks.together(2**20, most=most, gammas=len(gammas))
    for gamma in gammas:
        checks.real("gamma", gamma, 0, 1, above=True, below=True)
    path = folder.create(out, "q_value_iteration")
    folder.write_config(path, "q_value_iteration", options, locals())

    @jax.jit
    @jax.vmap
    def plan(gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[most, S, A] the iterates, and [S, A] their fixed point, exact values of a policy proven best."""
        model = mdp.problems.chapter_mdp(gamma)

        def backup(q: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            q = mdp.q_bellman_optimality(model, q)
            return q, q

        policy = planners.plan(model, "policy_iteration", tolerance=1e-9).policy
        start = jnp.where(model.mask, 0.0, -jnp.inf)
        return jax.lax.scan(backup, start, None, most)[1], mdp.q_values(model, evaluation.evaluate(model, policy))

    with jax.enable_x64(True):
        iterates, fixed = map(np.asarray, plan(jnp.array(gammas)))

    available = np.isfinite(fixed[0])
    shown = lambda q: np.where(available, q, None)
    filled = np.where(available, iterates, 0)
    distance = np.abs(filled - np.where(available, fixed, 0)[:, None]).max(axis=(2, 3))
    change = np.abs(np.diff(filled, axis=1, prepend=0)).max(axis=(2, 3))
    horizon = np.array([gamma / (1 - gamma) for gamma in gammas])
    proven = change * horizon[:, None]  # |Q_k - Q*| is at most that, rounding apart
    summary = {
        f"{gamma:g}": {
            "q_after_sweeps": shown(iterates[i, sweeps - 1]),
            "q_star": shown(fixed[i]),
            "policy": fixed[i].argmax(axis=1),
            "policy_after_sweeps": iterates[i, sweeps - 1].argmax(axis=1),
            "error_after_sweeps": distance[i, sweeps - 1],
            "bound_after_sweeps": proven[i, sweeps - 1],
        }
        for i, gamma in enumerate(gammas)
    }
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(
        path / "errors.csv",
        (
            {"gamma": gamma, "sweep": n + 1, "error": float(distance[i, n]), "bound": float(proven[i, n])}
            for i, gamma in enumerate(gammas)
            for n in range(most)
        ),
    )
    mdp_plots.errors(
        path / "errors.png",
        {
            f"gamma {gamma:g}: {what}": (np.arange(1, most + 1), errors[i])
            for i, gamma in enumerate(gammas)
            for what, errors in (
                ("error", distance),
                (r"bound, $\frac{\gamma}{1 - \gamma}$ max |Q$_k$ - Q$_{k-1}$|", proven),
            )
        },
        title="Q-value iteration on the chapter's MDP",
        xlabel="sweeps over all states and actions",
        ylabel="largest error of a Q-value (in units of reward)",
        pairs=2,
        mark=(sweeps, f"the chapter's {sweeps} sweeps" if sweeps == 50 else f"{sweeps} sweeps"),
    )
    number = lambda x: f"{x:.8f}" if np.isfinite(x) else "-"
    for i, gamma in enumerate(gammas):
        _console.table(
            f"gamma {gamma:g}: error after {sweeps} sweeps {distance[i, sweeps - 1]:.2g}",
            [
                {
                    "state": str(s),
                    "action": str(a),
                    f"Q after {sweeps} sweeps": number(iterates[i, sweeps - 1, s, a]),
                    "Q*": number(fixed[i, s, a]),
                    "best": "*" if a == fixed[i, s].argmax() else "",
                }
                for s, a in np.argwhere(available)
            ],
        )
    _console.files(path)
