"""CartPole under random actions with automatic resets: million steps per second against gymnax and Gymnasium."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarks.interleave import Prepared, compiled

BARS = {1: 20.0, 64: 20.0, 1024: 5.0, 65536: 5.0}  # times gymnax, default XLA flags


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 7,
    seconds: float = 0.5,
    num_envs: tuple[int, ...] = tuple(BARS),
    peer_python: Path | None = None,
) -> None:
    """Measure every contender at some numbers of environments.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 2 rounds of 0.1 s.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement.
      num_envs: the numbers of environments; an accelerator can do with a million.
      peer_python: interpreter that has gymnax; default: the environment variable RLJAX_PEER_PYTHON.
    """
    from experiments.benchmarks import interleave
    from rljax import checks

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        rounds, seconds = 2, 0.1
    if not num_envs:
        raise ValueError("num_envs is empty; expected at least one number of environments. Give --num-envs 64.")
    for n in num_envs:
        checks.integer("num_envs", n, 1)
    cases = {}
    for n in num_envs:
        # About a million steps a call, so that calling costs nothing; 64 at least, so that episodes end.
        case = {"seed": seed, "num_envs": n, "num_steps": max(64, min(2**17, 2**20 // n))}
        ours = {"rljax": ("rljax", case), "NumPy": ("gymnasium_vector", case)}
        if n == 1:
            ours["gym.make"] = ("gymnasium_single", case)
        # Other keys than gymnax's default, but one word buys its users this much.
        peers = {"gymnax": ("stepping", case), "gymnax, rbg": ("stepping", {**case, "generator": "unsafe_rbg"})}
        bars = {"gymnax": BARS[n]} if n in BARS else {}
        cases[f"random actions, N = {n}"] = interleave.Case(ours, peers, bars)
    interleave.versus_gymnax("benchmarks.stepping", out, options, cases, rounds, seconds)


def rljax(seed: int, num_envs: int, num_steps: int) -> Prepared:
    """One compiled `rollout.unroll`, nothing kept but the last cursor."""
    import jax
    import jax.numpy as jnp

    from rljax import envs, rollout

    env = envs.TimeLimit(envs.CartPole(), 500)
    policy = lambda key, observation: (jax.random.bits(key) & jnp.uint32(1)).astype(jnp.int32)
    key_start, key = jax.random.split(jax.random.key(seed))
    cursor = rollout.start(key_start, env, num_envs)
    program = lambda key, cursor: rollout.unroll(key, env, policy, cursor, num_steps)[0]
    return compiled(program, key, cursor, steps=num_envs * num_steps)


def gymnasium_vector(seed: int, num_envs: int, num_steps: int) -> Prepared:
    """`CartPoleVectorEnv`, float64; the steps that only reset are counted as steps, which flatters it by about 4 %."""
    import gymnasium
    import numpy as np

    env = gymnasium.make_vec("CartPole-v1", num_envs=num_envs, vectorization_mode="vector_entry_point")
    env.reset(seed=seed)
    generator = np.random.default_rng(seed)
    num_steps = min(num_steps, 1000)

    def run() -> None:
        for action in generator.integers(0, 2, (num_steps, num_envs)):
            env.step(action)

    return Prepared(run, num_envs * num_steps)


def gymnasium_single(seed: int, num_envs: int, num_steps: int) -> Prepared:
    """`gymnasium.make` with its usual wrappers."""
    import gymnasium
    import numpy as np

    env = gymnasium.make("CartPole-v1")
    env.reset(seed=seed)
    generator = np.random.default_rng(seed)

    def run() -> None:
        for action in generator.integers(0, 2, 1000):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Prepared(run, 1000)


CONTENDERS = {"rljax": rljax, "gymnasium_vector": gymnasium_vector, "gymnasium_single": gymnasium_single}
