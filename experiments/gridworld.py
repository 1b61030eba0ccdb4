"""A maze seen from above: the optimal values as colours, the optimal policy as arrows, one walk to the goal as a line."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    height: int = 15,
    width: int = 27,
    loops: float = 0.1,
    slip: float = 0.2,
    gamma: float = 0.98,
    method: str = "auto",
) -> None:
    """Plan a random maze to a certified 1e-6 and walk through it.

    Args:
      seed: of the maze and of the walk.
      out: folder for the results; default: a fresh one under runs/.
      quick: a maze of 7 x 9 cells.
      height: of the maze in cells, walls included; odd.
      width: of the maze in cells, walls included; odd.
      loops: share of the walls that are taken down, so that there is more than one way.
      slip: probability of going astray, to the left or to the right of what was meant.
      gamma: discount in [0, 0.999999].
      method: of planning: "auto", "value_iteration", "policy_iteration", ...
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console
    from rljax import checks, envs, mdp, rollout
    from rljax.runs import folder, mdp_plots

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        height, width = 7, 9
    checks.seed(seed)
    checks.real("gamma", gamma, 0, 1 - 1e-6)
    checks.together(2**20, height=height, width=width)
    with jax.enable_x64(True):
        text = mdp.gridworld.maze(seed, height, width, loops=loops)
        model, layout = mdp.gridworld.gridworld(text, gamma=gamma, slip=slip)
        path = folder.create(out, "gridworld")
        folder.write_config(path, "gridworld", options, locals())
        found = jax.jit(lambda model: mdp.plan(model, method, tolerance=1e-6))(model)
        policy, values = np.asarray(found.policy), np.asarray(found.v)
        env = envs.TabularEnv(model)

        @jax.jit
        def walk(key: jax.Array) -> rollout.Transition:
            cursor = rollout.start(jax.random.fold_in(key, 0), env, 1)
            act = lambda key, observation: found.policy[observation]
            steps = 4 * model.num_states
            return rollout.unroll(jax.random.fold_in(key, 1), env, act, cursor, steps, autoreset="none")[1]

        played = walk(jax.random.key(seed))
        valid = np.asarray(played.valid)[:, 0]
        route = [*np.asarray(played.state)[valid, 0], np.asarray(played.next_state)[valid, 0][-1]]

    # Where each action heads: a step that does not slip, as the first successor of the deterministic maze says.
    straight, _ = mdp.gridworld.gridworld(text, gamma=gamma)
    assert isinstance(straight.transitions, mdp.Sparse)
    target = np.asarray(straight.transitions.successor)[0, policy, np.arange(len(policy))]
    heads = layout.cell[target] - layout.cell
    steps = np.zeros((*layout.state.shape, 2), int)
    steps[layout.cell[:, 0], layout.cell[:, 1]] = np.where(np.asarray(model.terminal)[:, None], 0, heads)
    symbols = {(int(r), int(c)): str(layout.symbols[r, c]) for r, c in layout.cell}
    start = int(np.argmax(np.asarray(model.initial)))
    mdp_plots.maze(
        path / "maze.png",
        layout.image(np.where(np.asarray(model.terminal), values.max(), values)),  # not as dark as the worst
        steps,
        [(int(r), int(c)) for r, c in layout.cell[route]],
        title=f"A maze: {100 * slip:.3g} % of steps go astray; orange: one walk",
        marks={cell: symbol for cell, symbol in symbols.items() if symbol in "SG"},
        label="value: expected discounted return\n(the goal's is 0: nothing follows)",
    )
    summary = {
        "states": model.num_states,
        "method": found.method,
        "bound": float(found.bound),
        "backups": int(found.iterations),
        "value_at_start": float(values[start]),
        "steps_walked": len(route) - 1,
        "reached": bool(jnp.asarray(model.terminal)[route[-1]]),
    }
    folder.write_json(path / "summary.json", summary)
    _console.console.print(layout.text(policy))
    said = lambda x: f"{x:.3g}" if isinstance(x, float) else ("no", "yes")[x] if isinstance(x, bool) else str(x)
    shown = {name.replace("_", " "): said(value) for name, value in summary.items()}
    _console.table(f"An optimal walk, planned by {found.method}", [{n: x for n, x in shown.items() if n != "method"}])
    _console.files(path)
