"""TD(0) on the chapter's MDP against exact values; TD(lambda) on a random walk: which lambda, which step size.

First the chapter's world under a policy that takes all available actions alike, with the chapter's step sizes. Then Sutton &
Barto's walk of 19 states (figure 12.6): root mean square error at the ends of the first ten episodes.
"""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 1000,
    steps: int = 10_000,
    gamma: float = 0.9,
    initial_step_size: float = 0.05,
    decay: float = 0.005,
    walks: int = 100,
    episodes: int = 10,
    trace_decays: tuple[float, ...] = (0.0, 0.4, 0.8, 0.9, 0.95, 0.975, 0.99, 1.0),
    num_step_sizes: int = 40,
) -> None:
    """Evaluate a fixed policy; then compare lambdas and step sizes, all at once.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 20 seeds of 1000 steps, 5 walks, 3 lambdas, 5 step sizes.
      seeds: independent runs of TD(0).
      steps: of each of them.
      gamma: discount in [0, 1), of the chapter's MDP.
      initial_step_size: alpha_0 of ...
      decay: ... alpha_k = alpha_0 / (1 + k decay).
      walks: independent runs of TD(lambda), the same ones for each setting.
      episodes: of each walk.
      trace_decays: the lambdas, each in [0, 1].
      num_step_sizes: alphas compared, up to 1.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments import _console, _worlds
    from rljax import agents, checks, train
    from rljax.agents import tabular
    from rljax.envs.tabular import TabularEnv
    from rljax.mdp import evaluation, problems
    from rljax.runs import folder, tabular_plots
    from rljax.structs import Algorithm

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    trace_decays = tuple(dict.fromkeys(trace_decays))
    if quick:
        seeds, steps, walks = min(seeds, 20), min(steps, 1000), min(walks, 5)
        trace_decays, num_step_sizes = trace_decays[:: -(-len(trace_decays) // 3)], min(num_step_sizes, 5)
    checks.seed(seed)
    for name, value in (("steps", steps), ("episodes", episodes), ("the number of trace_decays", len(trace_decays))):
        checks.integer(name, value, 1)
    checks.together(seeds=seeds)
    checks.together(walks=walks, num_step_sizes=num_step_sizes, trace_decays=len(trace_decays))
    checks.real("gamma", gamma, 0, 1, below=True)
    for value in trace_decays:
        checks.real("trace_decay", value, 0, 1)
    every = max(n for n in range(1, min(25, steps) + 1) if steps % n == 0)
    kept = min(steps // every, 400)
    model = _worlds.starting_in(problems.chapter_mdp(gamma), 0)
    alike = model.mask / model.mask.sum(axis=1, keepdims=True)
    algorithm = agents.predict(
        TabularEnv(model),
        alike,
        step_size=tabular.harmonic(initial_step_size, decay),
        steps_per_update=every,
        history=kept,
    )
    with jax.enable_x64(True):
        precise = problems.chapter_mdp(gamma)
        exact = np.asarray(evaluation.evaluate(precise, precise.mask / precise.mask.sum(axis=1, keepdims=True)))
    path = folder.create(out, "td_learning")
    folder.write_config(path, "td_learning", options, locals())

    # TD(0)
    with _console.bar(f"TD(0), {_console.many(seeds, 'seed')}", steps) as bar:

        def show(progress: train.Progress) -> None:
            bar.update(progress.steps * every, f"{progress.run_seconds:.1f} s of computing")

        keys = jax.random.split(jax.random.key(seed), seeds)
        result = train.train(algorithm, keys, steps // every, keep_state=True, on_chunk=show)
    history = np.asarray(jax.vmap(tabular.recorded)(result.members.state))  # [seeds, kept, S]
    times = every * (steps // every - kept + 1 + np.arange(kept))
    if kept == steps // every:
        times, history = np.append(0, times), np.pad(history, ((0, 0), (1, 0), (0, 0)))
    last = history[:, -1].astype(float)
    values = [
        {
            "state": s,
            "exact": float(exact[s]),
            "mean": float(last[:, s].mean()),
            "percentile_5": float(np.quantile(last[:, s], 0.05)),
            "percentile_95": float(np.quantile(last[:, s], 0.95)),
            "share_of_seeds_below_exact": float((last[:, s] < exact[s]).mean()),
        }
        for s in range(len(exact))
    ]
    tabular_plots.learned_values(
        path / "values.png",
        times,
        history,
        exact,
        [f"V({s})" for s in range(len(exact))],
        title="TD(0) on the chapter's MDP, all available actions alike",
        ylabel="value V(s) (in units of reward)",
    )

    # TD(lambda)
    walk = _worlds.random_walk()
    true = evaluation.evaluate(walk, jnp.zeros(walk.num_states, jnp.int32))
    inside = np.flatnonzero(~np.asarray(walk.terminal))

    def learner(step_size: jax.Array, trace_decay: jax.Array) -> Algorithm:
        """One step of it is one episode; the metric is the error at its end."""
        one = agents.predict(
            TabularEnv(walk),
            jnp.zeros(walk.num_states, jnp.int32),
            step_size=step_size,
            trace_decay=trace_decay,
            steps_per_update=1,
        )

        def step(key: jax.Array, state: tabular.TabularState) -> tuple[tabular.TabularState, dict[str, jax.Array]]:
            def onward(carry: tuple[jax.Array, tabular.TabularState]) -> tuple[jax.Array, tabular.TabularState]:
                state, _ = one.step(key, carry[1])
                jump = jnp.abs(state.observation - carry[1].observation) > 1  # from an end back to the middle
                return jump, state

            start = (jnp.bool_(False), state)
            _, state = jax.lax.while_loop(lambda carry: ~carry[0], onward, start)
            # Large steps along long traces diverge: then the figure's margin is passed, and the size is of no interest.
            sane = (jnp.abs(state.q) <= 1e3).all()  # False for NaN too
            state = state._replace(q=jnp.where(sane, state.q, 1e3))
            error = jnp.sqrt(jnp.mean((one.parameters(state)[inside] - true[inside]) ** 2))
            return state, {"error": jnp.minimum(error, 1e3)}

        return one._replace(step=step)

    sizes = np.linspace(0, 1, num_step_sizes + 1)[1:] ** 1.5  # closer where it matters
    alphas, lambdas, number = (
        x.ravel() for x in np.meshgrid(sizes, np.array(trace_decays), np.arange(walks), indexing="ij")
    )
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1), walks)[number]
    with _console.bar("TD(lambda)", episodes) as bar:

        def show_walks(progress: train.Progress) -> None:
            bar.update(progress.steps, f"{progress.run_seconds:.1f} s of computing")

        swept = train.train(
            learner,
            keys,
            episodes,
            settings={"step_size": alphas.astype(np.float32), "trace_decay": lambdas.astype(np.float32)},
            eval_every=1,
            chunk=1,
            on_chunk=show_walks,
        )
    shape = (len(sizes), len(trace_decays), walks)
    errors = swept.metrics["error"].mean(axis=0).reshape(shape).mean(axis=2)  # [alphas, lambdas]
    at_first = float(np.sqrt(np.mean(np.asarray(true)[inside] ** 2)))
    best = errors.argmin(axis=0)
    sweep = [
        {
            "lambda": value,
            "best_step_size": float(sizes[best[i]]),
            "error": float(errors[best[i], i]),
        }
        for i, value in enumerate(trace_decays)
    ]
    tabular_plots.step_sizes(
        path / "trace_decay.png",
        sizes,
        {f"lambda {value:g}": errors[:, i] for i, value in enumerate(trace_decays)},
        title=f"TD(lambda) on a random walk of {len(inside)} states",
        ylabel=f"RMS error, mean of the first {episodes} episodes and {walks} walks",
        ceiling=at_first,
    )
    folder.write_csv(
        path / "errors.csv",
        (
            {"lambda": value, "step_size": float(size), "error": float(errors[j, i])}
            for i, value in enumerate(trace_decays)
            for j, size in enumerate(sizes)
        ),
    )
    folder.write_json(
        path / "summary.json",
        {
            "seeds": seeds,
            "steps": steps,
            "values": values,
            "walks": walks,
            "episodes": episodes,
            "error_before": at_first,
            "trace_decays": sweep,
            "compile_seconds": result.compile_seconds + swept.compile_seconds,
            "run_seconds": result.run_seconds + swept.run_seconds,
        },
    )
    _console.table(
        f"TD(0) on the chapter's MDP, {steps} steps, {_console.many(seeds, 'seed')}",
        [
            {
                "": f"V({row['state']})",
                "exact": f"{row['exact']:.3f}",
                "mean": f"{row['mean']:.3f}",
                "5 %": f"{row['percentile_5']:.2f}",
                "95 %": f"{row['percentile_95']:.2f}",
                "seeds below exact": f"{row['share_of_seeds_below_exact']:.1%}",
            }
            for row in values
        ],
    )
    _console.table(
        f"TD(lambda) on a random walk, {episodes} episodes, {walks} walks; error before: {at_first:.3f}",
        [
            {
                "lambda": f"{row['lambda']:g}",
                "best step size": f"{row['best_step_size']:.3f}",
                "RMS error": f"{row['error']:.3f}",
            }
            for row in sweep
        ],
    )
    _console.files(path)
