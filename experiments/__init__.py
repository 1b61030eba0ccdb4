"""Experiments: one question per file, each one command (`python -m experiments NAME`)."""

import sys

# `python -m experiments.NAME` would define a function, and end without a word.
_asked = sys.orig_argv[sys.orig_argv.index("-m") + 1] if sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv else ""
if _asked.startswith("experiments.") and _asked != "experiments.__main__":
    sys.exit(f"error: nothing runs by itself here. Take python -m experiments {_asked.removeprefix('experiments.')}")
