"""The deep Q-learning that `dqn` and `dqn_ablation` run on CartPole: what they have in common, and the variants by name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import optax

from rljax import agents, checks, envs, losses, networks, replay, structs
from rljax.agents.common import flattened
from rljax.agents.dqn import Head, Munchausen, categorical, quantile, scalar

ATOMS, HIGHEST = 51, 200.0  # of distributions; discounted by 0.995, no return is above 200


class Variant(NamedTuple):
    """One change to the equation."""

    kind: str  # of two of one kind only one can be
    about: str
    options: dict[str, Any]  # of `agents.dqn`
    network: dict[str, Any]  # of `networks.q_network`


VARIANTS = {
    "huber": Variant("loss", "errors beyond 1 count linearly (the default)", {"head": scalar(losses.huber)}, {}),
    "squared": Variant("loss", "squared errors", {"head": scalar(losses.squared)}, {}),
    "c51": Variant("loss", f"{ATOMS} probabilities", {"head": categorical(0.0, HIGHEST, ATOMS)}, {"atoms": ATOMS}),
    "qr": Variant("loss", f"{ATOMS} quantiles", {"head": quantile(ATOMS)}, {"atoms": ATOMS}),
    "soft_target": Variant("target", "older parameters follow by 1 % (the default)", {"target_rate": 0.01}, {}),
    "hard_target": Variant("target", "older parameters are replaced once in 200 updates", {"target_every": 200}, {}),
    "no_target": Variant("target", "the parameters themselves judge what follows", {}, {}),
    "double": Variant("policy", "the newer parameters choose what the older ones judge", {"double": True}, {}),
    "munchausen": Variant("policy", "soft, and paid for being sure", {"munchausen": Munchausen()}, {}),
    "n_step": Variant("steps", "targets of three rewards", {"n": 3}, {}),
    "per": Variant("memory", "prioritised replay", {"memory": replay.prioritised}, {}),
    "dueling": Variant("network", "value and advantages apart", {}, {"dueling": True}),
    "layer_norm": Variant("norm", "normalised hidden layers", {}, {"layer_norm": True}),
}
NUM_ENVS, UNROLL_STEPS, NUM_UPDATES, WARMUP = 10, 2, 10, 1000
BLOCK = NUM_ENVS * UNROLL_STEPS  # environment steps of one step of the algorithm


def chosen(variant: str) -> dict[str, Variant]:
    """The variants of "double,per"; "plain" is none.

    Errors:
      ValueError: a name that there is not, or two that contradict each other.
    """
    names = [name.strip().replace("-", "_") for name in variant.split(",")]
    found: dict[str, Variant] = {}
    if "plain" in names and len(names) > 1:
        raise ValueError(f"the variants are {variant!r}; expected plain alone, or others without it. Leave plain out.")
    for name in names if names != ["plain"] else []:
        if name not in VARIANTS:
            close = difflib.get_close_matches(name, VARIANTS, 1)
            hint = f"Did you mean {close[0]!r}?" if close else "Several are joined by commas."
            raise ValueError(f"there is no variant {name!r}; expected some of {', '.join(VARIANTS)}, or plain. {hint}")
        for other in found:
            if VARIANTS[other].kind == VARIANTS[name].kind:
                raise ValueError(
                    f"the variants {other!r} and {name!r} are two answers to one question ({VARIANTS[name].kind}); "
                    "expected one of them. Leave the other out."
                )
        found[name] = VARIANTS[name]
    return found


def check_steps(steps: int) -> None:
    """A run is random play and then whole rounds of 1000 steps."""
    checks.integer("steps", steps, 1)
    if steps % 1000 or steps < 2000:
        raise ValueError(
            f"steps is {steps}; expected a multiple of 1000 from 2000 on: the first {WARMUP} are random play, and each "
            f"further 1000 end with an evaluation. Take {max(2000, -(-steps // 1000) * 1000)}."
        )


def network(sizes: Sequence[int], variants: dict[str, Variant]) -> networks.Network:
    """The network that the variants need."""
    options = {name: value for variant in variants.values() for name, value in variant.network.items()}
    return networks.q_network(sizes, **options)


def head(variants: dict[str, Variant]) -> Head:
    """What its output means."""
    return {**VARIANTS["huber"].options, **_options(variants)}["head"]


def _options(variants: dict[str, Variant]) -> dict[str, Any]:
    return {name: value for variant in variants.values() for name, value in variant.options.items()}


def algorithm(
    env: envs.Environment,
    net: networks.Network,
    variants: dict[str, Variant],
    *,
    steps: int,
    max_steps: int,
    gamma: float = 0.995,
    learning_rate: float = 1e-3,
) -> structs.Algorithm:
    """DQN for `steps` environment steps, its step size falling to zero by then, everything ever seen in its memory."""
    updates = (steps - WARMUP) // BLOCK * NUM_UPDATES
    capacity = -(-steps // BLOCK) * BLOCK
    if all(variant.kind != "target" for variant in variants.values()):
        variants = {"soft_target": VARIANTS["soft_target"], **variants}
    options: dict[str, Any] = {"memory": replay.uniform, **_options(variants)}
    checks.real("gamma", gamma, 0, 1)
    if "c51" in variants and gamma > 1 - 1 / HIGHEST:  # all returns beyond the last atom would look alike
        raise ValueError(
            f"gamma is {gamma} and c51 given, whose atoms end at {HIGHEST:g}; expected at most {1 - 1 / HIGHEST:g}, by which "
            "no return is above that. Take a smaller gamma, or qr."
        )
    return agents.dqn(
        env,
        net,
        num_envs=NUM_ENVS,
        unroll_steps=UNROLL_STEPS,
        num_updates=NUM_UPDATES,
        batch_size=64,
        warmup=WARMUP,
        gamma=gamma,
        learning_rate=learning_rate,
        optimiser=flattened(
            lambda rate: optax.chain(
                optax.clip_by_global_norm(10.0), optax.adam(optax.linear_schedule(rate, 0.0, updates))
            )
        ),
        epsilon=optax.linear_schedule(1.0, 0.05, 5000),
        max_steps=max_steps,
        **(options | {"memory": options["memory"](capacity)}),
    )
