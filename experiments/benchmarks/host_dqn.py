"""DQN in Gymnasium's own CartPole, 50 000 steps with CleanRL's settings: our loop on the host against CleanRL's script."""

from __future__ import annotations

import os
from pathlib import Path

from experiments.benchmarks.dqn import BLOCK, PEERS, STEPS, WARMUP, cleanrls
from experiments.benchmarks.interleave import Prepared


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    cleanrl: Path | None = None,
    peer_python: Path | None = None,
) -> None:
    """Measure whole trainings of one seed, in turn.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round of 11 000 steps.
      rounds: interleaved measurements of each contender.
      cleanrl: checkout of CleanRL; default: the environment variable RLJAX_CLEANRL.
      peer_python: interpreter that has what it needs; default: the environment variable RLJAX_PEER_PYTHON.
    """
    import contextlib

    from experiments import _console
    from experiments.benchmarks import interleave
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.integer("rounds", rounds, 1)
    rounds, steps = (1, 11_000) if quick else (rounds, STEPS)
    python, checkout = peer_python or os.environ.get("RLJAX_PEER_PYTHON"), cleanrl or os.environ.get("RLJAX_CLEANRL")
    file, source, packages = PEERS["CleanRL"]
    if checkout and not (Path(checkout) / file).is_file():
        raise ValueError(f"cleanrl is {checkout}; expected a checkout with {file}. git clone {source}")
    path = folder.create(out, "benchmarks.host_dqn")
    folder.write_config(path, "benchmarks.host_dqn", options, locals())
    case = {"seed": seed, "steps": steps}
    with contextlib.ExitStack() as stack:
        start = lambda *what: stack.enter_context(contextlib.closing(interleave.Worker(*what)))
        contenders = {"rljax": interleave.Contender(start("experiments.benchmarks.host_dqn"), "host", case)}
        if checkout and python:
            peer = start("experiments.benchmarks.dqn_peers", Path(python).absolute())
            theirs = {**case, "checkout": str(Path(checkout).absolute())}
            contenders["CleanRL"] = interleave.Contender(peer, "cleanrl", theirs)
        rows = interleave.summarise(
            interleave.race(contenders, rounds, 0.0 if quick else 0.5), "rljax", {"CleanRL": 2.0}
        )
    folder.write_json(path / "summary.json", {"steps": steps, "contenders": rows})
    _console.table(
        f"DQN, {steps} steps of Gymnasium's CartPole-v1, one environment",
        [
            {
                "contender": row["contender"],
                "k steps/s": f"{1e-3 * row['steps_per_second']:.3g}",
                "ours faster": f"{row['ours_faster']:.3g}x",
                "rounds": "-".join(f"{ratio:.3g}" for ratio in row["ours_faster_range"]),
                "bar": "" if row["bar"] is None else f">={row['bar']:g}x {'reached' if row['reached'] else 'MISSED'}",
                "compile": f"{row['compile_seconds']:.1f} s",
            }
            for row in rows
        ],
    )
    _console.console.print(f"of rljax, a second of one core makes {rows[0]['steps_per_cpu_second']:.0f} steps")
    if len(rows) == 1:
        told = f"CleanRL not measured: git clone {source} && python -m venv peers && peers/bin/pip install {packages}"
        _console.console.print(f"{told}, then --cleanrl cleanrl --peer-python peers/bin/python", soft_wrap=True)
    _console.files(path)


def host(seed: int, steps: int) -> Prepared:
    """`rljax.host`, its programs compiled before."""
    import time

    import gymnasium
    import jax

    from rljax.envs.host import HostEnvironment
    from rljax.host import task, training
    from rljax.train import loop

    env = HostEnvironment(gymnasium.make("CartPole-v1"))
    algorithm = cleanrls(task(env), steps)
    blocks = (steps - WARMUP) // BLOCK
    plan = loop.planned(blocks, 100 if blocks % 100 == 0 else 1, None, 1, None, False, False)
    assert algorithm.learner is not None
    begin = time.perf_counter()
    programs = training.compiled(algorithm, algorithm.learner, env, plan)
    seconds = time.perf_counter() - begin

    def run() -> None:
        member = training.Run(programs, env, jax.random.key(seed))
        while int(member.member.steps) < blocks:
            member.round(None, 1)
        jax.block_until_ready(member.params)

    return Prepared(run, steps, seconds)


CONTENDERS = {"host": host}
