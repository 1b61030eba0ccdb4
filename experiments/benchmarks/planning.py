"""Planning to a certified 1e-6 in float64: milliseconds against QuantEcon, MDPSolver and pymdptoolbox."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.benchmarks.interleave import Prepared, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from rljax import mdp

BARS = {  # times the best of the peers
    "dense 100 x 4": 2.0,
    "dense 1000 x 10": 1.1,
    "dense 3000 x 4": 1.1,
    "local 1000 x 10": 4.0,
    "local 1000 x 10, lists": 4.0,
    "FrozenLake 8 x 8": 5.0,
    "1000 gammas": 8.0,
    "1000 problems": 10.0,
    "Garnet 1e5 x 4 x 5": 1.5,
    "maze 1e5": 3.0,
    "maze 1e6": 3.0,
    "Garnet 1e6 x 4 x 5": 2.0,
}
ALSO = {"1000 problems": ("modified_policy_iteration",)}  # planners that may be faster than what `plan` picks
COPIED = 2**28  # bytes, more than any cache holds
PEERS = (
    "peers not measured: python -m venv peers && peers/bin/pip install quantecon mdpsolver pymdptoolbox, "
    "then --peer-python peers/bin/python"
)


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    seconds: float = 0.2,
    problem: str | None = None,
    all_planners: bool = False,
    cores: int | None = None,
    asynchronous: bool = False,
    peer_python: Path | None = None,
) -> None:
    """Solve every problem with every contender, in turn.

    Args:
      seed: of the random problems.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round of the three smallest problems.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement.
      problem: only those whose name contains this.
      all_planners: ours by every planner, not only what `plan` picks.
      cores: for each contender to run on; default: all there are.
      asynchronous: hand each call to another thread, as JAX does if it is not told otherwise: 50 us more, since all are
        waited for.
      peer_python: interpreter that has the peers; default: the environment variable RLJAX_PLANNING_PYTHON.
    """
    import functools
    import os
    import statistics

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    names = [name for name in BARS if problem is None or problem in name]
    if not names:
        raise ValueError(f"problem is {problem!r}; expected a part of one of {', '.join(BARS)}.")
    if quick:
        rounds, seconds, names = 1, 0.05, names[:1]
    if cores is not None:
        checks.integer("cores", cores, 1)
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # the workers inherit it
    path = folder.create(out, "benchmarks.planning")
    folder.write_config(path, "benchmarks.planning", options, locals())
    python = peer_python or os.environ.get("RLJAX_PLANNING_PYTHON")
    peer = python and interleave.Worker("experiments.benchmarks.planning_peers", Path(python).absolute())
    summary: dict[str, Any] = {}
    for name in names:
        case = _case(name, seed)
        mine = interleave.Worker("experiments.benchmarks.planning")  # one for each problem, whose memory it shows
        planners = ["auto", *PLANNERS] if all_planners else ["auto", *ALSO.get(name, ())]
        ask = lambda who, case_name, **more: interleave.Contender(who, case_name, {**case, **more})  # noqa: B023
        ours = functools.partial(ask, mine, asynchronous=asynchronous)
        contenders = {f"rljax {p}": ours("rljax", planner=p) for p in planners if _fits(p, name)}
        if "maze" in name:
            contenders["rljax gauss_seidel, outwards"] = ours("outwards")
        if name == "local 1000 x 10":
            contenders["rljax auto, as lists"] = ours("as_lists")
        if peer:
            for method in ("value_iteration", "modified_policy_iteration", "policy_iteration"):
                if _bearable(method, name):
                    contenders[f"QuantEcon {method.replace('_iteration', '').replace('_', ' ')}"] = ask(
                        peer, "quantecon", method=method
                    )
            if len(case) == 2 and "1e" not in name and "1000" not in name and "3000" not in name:
                contenders["MDPSolver mpi"] = ask(peer, "mdpsolver", method="mpi")
                contenders["pymdptoolbox policy"] = ask(peer, "pymdptoolbox")
            if name == "local 1000 x 10":
                contenders["QuantEcon policy, as lists"] = ask(peer, "quantecon_lists", method="policy_iteration")
            if "local" in name:
                contenders["MDPSolver mpi"] = ask(peer, "mdpsolver", method="mpi")
        results = interleave.race(contenders, rounds, seconds)
        milliseconds = {who: [1e3 / m.rate for m in rs] for who, rs in results.items()}
        medians = {who: statistics.median(times) for who, times in milliseconds.items()}
        own, others = (
            {who: t for who, t in medians.items() if who.startswith("rljax") is is_ours} for is_ours in (True, False)
        )
        fastest = min(own, key=own.__getitem__)
        record: dict[str, Any] = {"milliseconds": milliseconds, "bar": BARS[name], "fastest_of_ours": fastest}
        record["compile_seconds"] = results[fastest][0].compile_seconds
        record["peak_bytes"] = results[fastest][-1].peak_bytes
        moved = _moved(case["problem"], seed)
        sweeps = interleave.race({what: ours(what) for what in ("sweep", "copy")}, rounds, seconds)
        speeds = {what: statistics.median(m.rate for m in sweeps[what]) for what in sweeps}
        mine.close()
        record["sweep"] = {
            "bytes": moved,
            "bytes_per_second": moved * speeds["sweep"],
            "bytes_per_second_of_a_copy": 2 * COPIED * speeds["copy"],
        }
        if others:
            best = min(others, key=others.__getitem__)
            versus = lambda who: statistics.median(
                b / a
                for a, b in zip(milliseconds[who], milliseconds[best], strict=True)  # noqa: B023
            )
            record |= {"best_peer": best, "ours_faster": versus(fastest), "auto_faster": versus("rljax auto")}
            record["reached"] = record["ours_faster"] >= BARS[name]
        summary[name] = record
        _console.table(
            f"{name}: bar {BARS[name]:g}x"
            + (f", {record['ours_faster']:.3g}x {'reached' if record['reached'] else 'MISSED'}" if others else ""),
            [
                {
                    "contender": who,
                    "ms": f"{medians[who]:.4g}",
                    "spread": f"{min(times):.3g}-{max(times):.3g}",
                    "compile": f"{results[who][0].compile_seconds:.2f} s",
                }
                for who, times in milliseconds.items()
            ],
        )
        sweep = record["sweep"]
        share = sweep["bytes_per_second"] / sweep["bytes_per_second_of_a_copy"]
        _console.console.print(
            f"a sweep reads and writes {moved / 2**20:.3g} MiB, {sweep['bytes_per_second'] / 1e9:.3g} GB/s: {share:.0%} of the "
            f"speed of a copy of {COPIED / 2**20:.0f} MiB{', from caches' if share > 1 else ''}; at most "
            f"{record['peak_bytes'] / 2**30:.2f} GiB in memory, JAX and all."
        )
        folder.write_json(path / "summary.json", summary)
    if peer:
        peer.close()
    else:
        _console.console.print(PEERS)
    _console.files(path)


def _model(problem: str, seed: int) -> mdp.TabularMDP:
    import jax.numpy as jnp

    from experiments.benchmarks.planning_problems import make
    from rljax import mdp

    made = make(problem, seed)
    probability = jnp.asarray(made.probability)
    lists = made.successor is None
    transitions = mdp.Dense(probability) if lists else mdp.Sparse.of(jnp.asarray(made.successor), probability)
    return mdp.TabularMDP(transitions, jnp.asarray(made.reward), gamma=made.gamma, terminal=jnp.asarray(made.stop))


def _configure(asynchronous: bool) -> None:
    import jax

    jax.config.update("jax_enable_x64", True)
    # Whoever waits for every answer gains nothing from another thread that finds it, and loses the time to wake it up.
    jax.config.update("jax_cpu_enable_async_dispatch", asynchronous)


def rljax(
    problem: str, seed: int, planner: str, asynchronous: bool, gammas: list[float] | None = None, problems: int = 1
) -> Prepared:
    """One compiled plan; many gammas are one `vmap`, many problems a `map` of them, 250 at a time, which stay in the cache."""
    _configure(asynchronous)
    import dataclasses

    import jax
    import jax.numpy as jnp

    from rljax.mdp import planners

    def solve(given: mdp.TabularMDP) -> Any:
        solution = planners.plan(given, planner, tolerance=1e-6)
        return solution.v, solution.policy, solution.bound, solution.converged

    models = [_model(problem, seed + i) for i in range(problems)]
    given = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models) if problems > 1 else models[0]
    program = (lambda given: jax.lax.map(solve, given, batch_size=250)) if problems > 1 else solve
    if gammas is not None:
        program = lambda given, gammas: jax.vmap(lambda gamma: solve(dataclasses.replace(given, gamma=gamma)))(gammas)
    arguments = (given,) if gammas is None else (given, jnp.asarray(gammas))
    prepared = compiled(program, *arguments, steps=1)
    if not jnp.all(prepared.run()[3]):
        raise ArithmeticError(f"{planner} has not converged on {problem}.")
    return prepared


def outwards(problem: str, seed: int, asynchronous: bool) -> Prepared:
    """Gauss-Seidel in the order of distances, which the host finds anew each time."""
    _configure(asynchronous)
    from rljax import mdp

    solve = lambda given, levels: mdp.solve(given, mdp.planners.gauss_seidel(levels), tolerance=1e-6)
    return _prepared_on_the_host(problem, seed, lambda given: (given, mdp.outwards(given)), solve)


def as_lists(problem: str, seed: int, asynchronous: bool) -> Prepared:
    """What `plan` picks for the lists that the host makes anew each time of a table that is mostly zeros."""
    _configure(asynchronous)
    from rljax import mdp

    solve = lambda given: mdp.plan(given, tolerance=1e-6)
    return _prepared_on_the_host(problem, seed, lambda given: (mdp.to_sparse(given),), solve)


def _prepared_on_the_host(problem: str, seed: int, prepare: Callable[..., Any], solve: Callable[..., Any]) -> Prepared:
    import jax

    def found(*arguments: Any) -> Any:
        solution = solve(*arguments)
        return solution.v, solution.policy, solution.bound, solution.converged

    given = _model(problem, seed)
    begin = time.perf_counter()
    program = jax.jit(found).lower(*prepare(given)).compile()
    seconds = time.perf_counter() - begin
    prepared = Prepared(lambda: jax.block_until_ready(program(*prepare(given))), 1, seconds)
    if not prepared.run()[3]:
        raise ArithmeticError(f"the planner has not converged on {problem}.")
    return prepared


def sweep(problem: str, seed: int, asynchronous: bool, **_: Any) -> Prepared:
    """Sweeps of the Bellman optimality operator over one problem, nothing between them."""
    _configure(asynchronous)
    import jax
    import jax.numpy as jnp

    from rljax import mdp

    given, number = _model(problem, seed), 20
    sweeps = lambda given, v: jax.lax.fori_loop(0, number, lambda i, v: mdp.bellman_optimality(given, v), v)
    return compiled(sweeps, given, jnp.zeros(given.num_states), steps=number)


def copy(asynchronous: bool, **_: Any) -> Prepared:
    """What memory can do: as many numbers read as written, again and again in place, so that no page is new."""
    _configure(asynchronous)
    import jax
    import jax.numpy as jnp

    number = 20
    copies = lambda x: jax.lax.fori_loop(0, number, lambda i, x: x + 1.0, x)
    return compiled(copies, jnp.zeros(COPIED // 8), steps=number)


def _moved(problem: str, seed: int) -> int:
    """Bytes of a sweep: every number of the problem and of the values once, and the new values."""
    from experiments.benchmarks.planning_problems import make

    made = make(problem, seed)
    successor = 0 if made.successor is None else 4 * made.successor.size  # of 32 bits on our side
    return made.probability.nbytes + made.reward.nbytes + successor + made.stop.nbytes + 2 * 8 * len(made.stop)


PLANNERS = (
    "value_iteration",
    "modified_policy_iteration",
    "policy_iteration",
    "krylov_policy_iteration",
    "gauss_seidel",
)
CONTENDERS = {"rljax": rljax, "outwards": outwards, "as_lists": as_lists, "sweep": sweep, "copy": copy}


def _case(name: str, seed: int) -> dict[str, Any]:
    if name == "1000 gammas":
        return {"problem": "FrozenLake 8 x 8", "seed": seed, "gammas": [0.9 + 0.09 * i / 999 for i in range(1000)]}
    if name == "1000 problems":
        return {"problem": "20 states", "seed": seed, "problems": 1000}
    return {"problem": name, "seed": seed}


def _fits(planner: str, name: str) -> bool:
    return not (planner == "policy_iteration" and "1e" in name) and not (planner == "gauss_seidel" and "dense" in name)


def _bearable(method: str, name: str) -> bool:
    # QuantEcon's value iteration needs 1800 sweeps where others need ten; its policy iteration factorises sparse matrices.
    slow = {"value_iteration": ("1000 x", "3000", "1e", "1000 "), "policy_iteration": ("3000", "Garnet", "maze")}
    return not any(part in name for part in slow.get(method, ()))
