"""How long one waits before anything happens: imports, help and mistakes on the command line, in fresh processes."""

from __future__ import annotations

from pathlib import Path

BARS = {
    "import rljax": ("after jax", 0.15),
    "import all of rljax": ("after jax", 0.15),
    "experiments --help": ("seconds", 0.3),
    "experiments reinforce --help": ("seconds", 0.3),
    "a wrong flag": ("seconds", 0.3),
}


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 9,
    peer_python: Path | None = None,
) -> None:
    """Start every command afresh, in turn, several times.

    Args:
      seed: unused, nothing here is random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 2 rounds.
      rounds: starts of each command, after one that fills the file cache.
      peer_python: interpreter that has gymnax; default: the environment variable RLJAX_PEER_PYTHON.
    """
    import os
    import statistics
    import subprocess
    import sys
    import time

    from experiments import _console
    from experiments.benchmarks.interleave import PEERS, ROOT
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    rounds = 2 if quick else rounds
    path = folder.create(out, "benchmarks.startup")
    folder.write_config(path, "benchmarks.startup", options, locals())
    # `import rljax` is lazy, so the honest comparison is with all of it.
    everything = "import rljax\nfor name in dir(rljax): getattr(rljax, name)"
    commands = {
        "python, nothing": [sys.executable, "-c", ""],
        "import jax": [sys.executable, "-c", "import jax"],
        "import rljax": [sys.executable, "-c", "import rljax"],
        "import all of rljax": [sys.executable, "-c", everything],
        "experiments --help": [sys.executable, "-m", "experiments", "--help"],
        "experiments reinforce --help": [sys.executable, "-m", "experiments", "reinforce", "--help"],
        "a wrong flag": [sys.executable, "-m", "experiments", "reinforce", "--sede", "1"],
    }
    if python := peer_python or os.environ.get("RLJAX_PEER_PYTHON"):
        commands["import gymnax"] = [str(Path(python).absolute()), "-c", "import gymnax"]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
            if (ended.returncode != 0) != (name == "a wrong flag"):
                raise ChildProcessError(f"{' '.join(command)!r} ended with {ended.returncode}:\n{ended.stderr[-1000:]}")
    summary, rows = {}, []
    for name, times in seconds.items():
        # The difference is taken within each round, where both met the same neighbours.
        more = statistics.median(t - jax for t, jax in zip(times, seconds["import jax"], strict=True))
        measured = {"seconds": statistics.median(times), "after jax": more}
        which, bar = BARS.get(name, ("seconds", None))
        reached = None if bar is None else measured[which] <= bar
        summary[name] = {**measured, "range": [min(times), max(times)], "bar": bar, "reached": reached}
        rows.append(
            {
                "command": name,
                "seconds": f"{measured['seconds']:.2f}",
                "spread": f"{min(times):.2f}-{max(times):.2f}",
                "after jax": f"{more:+.2f}",
                "bar": "" if bar is None else f"{which} <= {bar} " + ("reached" if reached else "MISSED"),
            }
        )
    _console.table("seconds from the start of the process", rows)
    if not python:
        _console.console.print(f"gymnax {PEERS}")
    folder.write_json(path / "summary.json", summary)
    _console.files(path)
