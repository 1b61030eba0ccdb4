"""Policies from files: what an experiment said when it saved one, and the policy that this makes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax import Array

from experiments import _deep_q, _world, approximate_q, policy_search
from rljax import networks, policies
from rljax.agents.linear_q import values

Policy = tuple[networks.Network, Callable[[Array], Array]]  # the network, and the action that its output means


def _reinforce(about: Mapping[str, Any]) -> Policy:
    return networks.mlp(about["sizes"]), (policies.bernoulli if about["sizes"][-1] == 1 else policies.categorical).mode


def _policy_search(about: Mapping[str, Any]) -> Policy:
    return policy_search.network(about["policy"]), policies.bernoulli.mode


def _dqn(about: Mapping[str, Any]) -> Policy:
    variants = _deep_q.chosen(about["variant"])
    head = _deep_q.head(variants)
    return _deep_q.network(about["sizes"], variants), lambda output: policies.greedy(head.values(output))


def _pqn(about: Mapping[str, Any]) -> Policy:
    return networks.q_network(about["sizes"], layer_norm=True), policies.greedy


def _dqn_chapter(about: Mapping[str, Any]) -> Policy:
    return networks.chapter_q_network(), policies.greedy


def _approximate_q(about: Mapping[str, Any]) -> Policy:
    basis = approximate_q.basis(about["features"], about["sizes"])
    init = lambda key: jnp.zeros((2, basis.size))
    return networks.Network(init, functools.partial(values, basis)), policies.greedy


MADE_BY = {
    "reinforce": _reinforce,
    "policy_search": _policy_search,
    "dqn": _dqn,
    "dqn_ablation": _dqn,
    "dqn_chapter": _dqn_chapter,
    "pqn": _pqn,
    "approximate_q": _approximate_q,
}


def file(run_folder: Path) -> Path:
    """The policy in a run folder, which may be named itself.

    Errors:
      ValueError: no folder, or one in which no experiment has left a policy.
    """
    if run_folder.is_file() and run_folder.suffix == ".npz":
        return run_folder
    found = run_folder / "policy.npz"
    if not found.is_file():
        what = "holds no policy.npz" if run_folder.is_dir() else "is no folder"
        raise ValueError(f"{run_folder} {what}; expected the folder of a run of one of: {', '.join(MADE_BY)}.")
    return found


def policy(about: Mapping[str, Any]) -> Policy:
    """What `about` describes.

    Errors:
      ValueError: it describes no policy that an experiment saves.
    """
    env = about.get("env")
    known = isinstance(env, str) and (env == "CartPole" or env.startswith(_world.PREFIX))
    if not known or about.get("experiment") not in tuple(MADE_BY):
        raise ValueError(
            f"it is for the environment {env!r} and by {about.get('experiment')!r}; expected a policy of CartPole or of "
            f"{_world.PREFIX}ID, as one of these saves it: {', '.join(MADE_BY)}."
        )
    try:
        return MADE_BY[about["experiment"]](about)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"it does not say what it is for: {error}") from error
