"""Value iteration on the chapter's MDP: values and policy for two discounts, and what is proven of them after each sweep.

Two errors fall: that of the values as they stand, and that of the middle of what the last sweep proves about V*.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Planner = Literal[
    "value_iteration",
    "modified_policy_iteration",
    "policy_iteration",
    "krylov_policy_iteration",
    "gauss_seidel",
    "prioritised_sweeping",
    "anderson",
]


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    gammas: tuple[float, ...] = (0.90, 0.95),
    planners: tuple[Planner, ...] = (
        "value_iteration",
        "modified_policy_iteration",
        "policy_iteration",
        "gauss_seidel",
        "anderson",
    ),
    sweeps: int = 500,
    tolerance: float = 1e-6,
) -> None:
    """Plan with each planner, all discounts at once, in the one loop that also trains; compare with exact values.

    Args:
      seed: of nothing: planning is not random; every seed gives the same numbers.
      out: folder for the results; default: a fresh one under runs/.
      quick: value iteration alone.
      gammas: discounts, each in [0, 1).
      planners: what chooses the next values after each full backup.
      sweeps: full backups to make.
      tolerance: the error whose proof is timed, in sweeps.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import agents, checks, mdp, train
    from rljax.mdp import evaluation
    from rljax.mdp import planners as methods
    from rljax.runs import folder, mdp_plots

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    names = ("value_iteration",) if quick else tuple(dict.fromkeys(("value_iteration", *planners)))
    gammas = tuple(dict.fromkeys(gammas))
    checks.seed(seed)
    checks.integer("sweeps", sweeps, 3)
    checks.real("tolerance", tolerance, 0, above=True, below=True)
    checks.integer("the number of gammas", len(gammas), 1)
    checks.together(2**20, sweeps=sweeps, gammas=len(gammas))
    for gamma in gammas:
        checks.real("gamma", gamma, 0, 1, above=True, below=True)
    path = folder.create(out, "value_iteration")
    folder.write_config(path, "value_iteration", options, {**locals(), "planners": names})

    with jax.enable_x64(True):
        discounts = jnp.array(gammas)

        @jax.jit
        @jax.vmap
        def solve(gamma: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            model = mdp.problems.chapter_mdp(gamma)
            policy = methods.plan(model, "policy_iteration", tolerance=1e-9).policy
            v = evaluation.evaluate(model, policy)
            return v, mdp.q_values(model, v), policy

        exact_v, exact_q, policy = solve(discounts)

        @jax.jit
        @jax.vmap
        def iterate(gamma: jax.Array) -> jax.Array:
            def backup(v: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
                v = mdp.bellman_optimality(mdp.problems.chapter_mdp(gamma), v)
                return v, v

            return jax.lax.scan(backup, jnp.zeros(3), None, sweeps)[1]

        iterates = np.asarray(iterate(discounts))  # [gammas, sweeps, S]
        results: dict[str, train.Result] = {}
        for name in names:
            make = lambda gamma, v_star, name=name: agents.planner(
                mdp.problems.chapter_mdp(gamma), methods.METHODS[name](), v_star=v_star
            )
            with _console.bar(methods.METHODS[name]().name, sweeps - 1) as bar:

                def show(progress: train.Progress, bar: _console.Bar = bar) -> None:
                    bar.update(progress.steps, f"proven error at most {progress.metrics['bound'][-1].max():.1e}")

                results[name] = train.train(
                    make,
                    jax.random.split(jax.random.key(seed), len(gammas)),
                    sweeps - 1,  # the first is made by `init`
                    settings={"gamma": discounts, "v_star": exact_v},
                    eval_every=1,
                    chunk=100,
                    on_chunk=show,
                )

    def sweeps_until(errors: np.ndarray) -> int | None:
        """The first sweep from which on the error stays within the tolerance."""
        above = np.flatnonzero(errors > tolerance)
        first = 2 + (above[-1] + 1 if len(above) else 0)
        return int(first) if first <= sweeps else None

    last = lambda counts: max(n or sweeps for n in counts.values())
    v_star, q_star = np.asarray(exact_v), np.asarray(exact_q)
    count = np.arange(2, sweeps + 1)
    plain = results["value_iteration"].metrics
    labels = {
        "true_error": "values as they stand: true error",
        "usual_bound": "... and the usual bound, from the largest change",
        "true_error_of_middle": "middle of what is certain: true error",
        "certified_bound": "... and the certified bound, from all changes",
    }
    summary, rows = {}, []
    for i, gamma in enumerate(gammas):
        curves = {
            "true_error": np.abs(iterates[i, 1:] - v_star[i]).max(axis=1),
            "usual_bound": gamma / (1 - gamma) * plain["residual"][:, i],
            "true_error_of_middle": plain["error"][:, i],
            "certified_bound": plain["bound"][:, i],
        }
        bounds = {name: result.metrics["bound"][:, i] for name, result in results.items()}
        summary[f"{gamma:g}"] = {
            "v": v_star[i],
            "q": np.where(np.isfinite(q_star[i]), q_star[i], None),
            "policy": np.asarray(policy[i]),
            "v_after_sweeps": iterates[i, -1],
            "sweeps_until_tolerance": {name: sweeps_until(errors) for name, errors in curves.items()},
            "sweeps_until_certified": {name: sweeps_until(errors) for name, errors in bounds.items()},
        }
        rows += [
            {"gamma": gamma, "sweep": int(n), **{name: float(errors[n - 2]) for name, errors in curves.items()}}
            for n in count
        ]
        mdp_plots.errors(
            path / f"errors_{gamma:g}.png",
            {labels[name]: (count, errors) for name, errors in curves.items()},
            title=f"Value iteration on the chapter's MDP, gamma {gamma:g}",
            xlabel="full backups of all states (sweeps)",
            ylabel="largest error of a value (in units of reward)",
            pairs=2,
            target=tolerance,
            until=min(sweeps, 1.25 * last(summary[f"{gamma:g}"]["sweeps_until_tolerance"])),
        )
        if len(names) > 1:
            mdp_plots.errors(
                path / f"planners_{gamma:g}.png",
                {methods.METHODS[name]().name: (count, errors) for name, errors in bounds.items()},
                title=f"Planners on the chapter's MDP, gamma {gamma:g}: certified errors",
                xlabel="full backups of all states (what a planner does in between is not counted)",
                ylabel="certified error, rounding included (in units of reward)",
                target=tolerance,
                until=min(sweeps, 1.25 * last(summary[f"{gamma:g}"]["sweeps_until_certified"])),
            )
    folder.write_json(path / "summary.json", summary)
    folder.write_csv(path / "errors.csv", rows)

    text = lambda n: f"> {sweeps}" if n is None else str(n)
    _console.table(
        "the chapter's MDP",
        [
            {
                "gamma": gamma,
                "V*": ", ".join(f"{x:.6f}" for x in row["v"]),
                "policy": ", ".join(map(str, row["policy"])),
                f"V after {sweeps} sweeps": ", ".join(f"{x:.6f}" for x in row["v_after_sweeps"]),
            }
            for gamma, row in summary.items()
        ],
    )
    _console.table(
        f"sweeps until an error of {tolerance:g}",
        [
            {
                "": labels[name],
                **{f"gamma {gamma}": text(row["sweeps_until_tolerance"][name]) for gamma, row in summary.items()},
            }
            for name in labels
        ]
        + [
            {
                "": f"certified by {methods.METHODS[name]().name}",
                **{f"gamma {gamma}": text(row["sweeps_until_certified"][name]) for gamma, row in summary.items()},
            }
            for name in names[1:]
        ],
    )
    _console.files(path)
