"""The chapter's 4-5-1 policy plays CartPole and everything is recorded: million steps per second against gymnax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.benchmarks.interleave import Prepared, compiled

if TYPE_CHECKING:
    import jax

    from rljax import rollout

BARS: dict[int, dict[str, float]] = {1: {}, 64: {"gymnax": 4.0}, 1024: {"gymnax": 4.0}}  # default XLA flags


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 7,
    seconds: float = 0.5,
    num_envs: tuple[int, ...] = tuple(BARS),
    num_steps: int = 1000,
    peer_python: Path | None = None,
) -> None:
    """Measure every contender at some numbers of environments.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 2 rounds of 0.1 s.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement.
      num_envs: the numbers of environments.
      num_steps: length of one rollout.
      peer_python: interpreter that has gymnax; default: the environment variable RLJAX_PEER_PYTHON.
    """
    from experiments.benchmarks import interleave
    from rljax import checks

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds, seconds = 2, 0.1
    checks.integer("num_steps", num_steps, 1)
    if not num_envs:
        raise ValueError("num_envs is empty; expected at least one number of environments. Give --num-envs 64.")
    for n in num_envs:
        checks.integer("num_envs", n, 1)
    cases = {}
    for n in num_envs:
        case = {"seed": seed, "num_envs": n, "num_steps": num_steps}
        ours = {name: (name, case) for name in CONTENDERS}
        peers, bars = {"gymnax": ("rollouts", case)}, BARS.get(n, {})
        cases[f"4-5-1 policy, recorded, N = {n}"] = interleave.Case(ours, peers, bars)
    interleave.versus_gymnax("benchmarks.rollouts", out, options, cases, rounds, seconds)


def library(seed: int, num_envs: int, num_steps: int) -> Prepared:
    """`rollout.unroll` with the library's own network, whose narrow layers fuse with the physics."""
    from rljax import networks

    return _recorded(*networks.chapter_policy(), seed, num_envs, num_steps)


def matmul(seed: int, num_envs: int, num_steps: int) -> Prepared:
    """The same network as two matrix products: what a call of the matrix library in every step costs."""
    import jax

    init = lambda key: [jax.random.normal(key, shape) for shape in ((4, 5), (5,), (5,), ())]
    apply = lambda params, x: jax.nn.elu(x @ params[0] + params[1]) @ params[2] + params[3]
    return _recorded(init, apply, seed, num_envs, num_steps)


CONTENDERS = {"rljax": library, "by matmul": matmul}


def _recorded(init: Callable, apply: Callable, seed: int, num_envs: int, num_steps: int) -> Prepared:
    import jax

    from rljax import envs, policies, rollout

    env = envs.TimeLimit(envs.CartPole(), 500)
    key_start, key = jax.random.split(jax.random.key(seed))
    cursor = rollout.start(key_start, env, num_envs)

    def program(params: Any, key: jax.Array, cursor: rollout.Cursor) -> tuple[Any, ...]:
        policy = lambda key, observation: policies.bernoulli.sample(key, apply(params, observation))
        cursor, played = rollout.unroll(key, env, policy, cursor, num_steps)
        return cursor, played.observation, played.action, played.reward, played.terminated | played.truncated

    return compiled(program, init(jax.random.key(seed)), key, cursor, steps=num_envs * num_steps)
