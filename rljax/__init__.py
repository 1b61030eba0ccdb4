"""Functional reinforcement learning in JAX: each equation a pure function, each algorithm one compiled program."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rljax import agents as agents
    from rljax import backups as backups
    from rljax import checks as checks
    from rljax import envs as envs
    from rljax import features as features
    from rljax import host as host
    from rljax import losses as losses
    from rljax import mdp as mdp
    from rljax import networks as networks
    from rljax import noise as noise
    from rljax import packing as packing
    from rljax import policies as policies
    from rljax import replay as replay
    from rljax import returns as returns
    from rljax import rollout as rollout
    from rljax import runs as runs
    from rljax import shaping as shaping
    from rljax import structs as structs
    from rljax import train as train

_NAMESPACES = frozenset(
    "agents backups checks envs features host losses mdp networks noise packing policies replay returns rollout runs shaping "
    "structs train".split()
)


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:  # imported on first use, so that `import rljax` costs nothing
        return importlib.import_module(f"rljax.{name}")
    raise AttributeError(f"module 'rljax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_NAMESPACES, "__version__"])
