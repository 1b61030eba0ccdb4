"""Approximate Q-learning on CartPole-v1: is a linear function enough, given tiles, cosines or polynomials to be linear in?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rljax.features import Features

STEP_SIZES = {"tiles": 1.0, "fourier": 0.02, "polynomial": 0.02}
UNROLL_STEPS, EVAL_EVERY = 125, 2  # of each environment in a step of the algorithm; such steps between evaluations


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    features: Literal["tiles", "fourier", "polynomial"] = "fourier",
    order: int = 3,
    tilings: int = 16,
    tiles: int = 5,
    seeds: int = 8,
    steps: int = 100_000,
    num_envs: int = 8,
    gamma: float = 0.99,
    learning_rate: float | None = None,
    epsilon: float = 0.1,
    max_steps: int = 500,
    target: float | None = None,
    patience: int = 1,
    test_episodes: int = 100,
) -> None:
    """Train; save the curves of the greedy policy, the best weights and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds of 3 evaluations, episodes of at most 50, 10 test episodes.
      features: what action values are linear in.
      order: of cosines and polynomials, along each of the four numbers.
      tilings: grids of tiles.
      tiles: of each grid along each number.
      seeds: independent runs.
      steps: most steps of the environment; whole evaluations, each after 250 steps of every environment.
      num_envs: environments side by side, whose corrections are averaged.
      gamma: discount in [0, 1].
      learning_rate: step size; default: 1 for tiles (of their sum), 0.02 for each cosine or product.
      epsilon: share of random actions.
      max_steps: most steps of an episode.
      target: mean return of 20 greedy episodes that stops a seed early; default: none does ...
      patience: ... once so many evaluations in a row have reached it.
      test_episodes: fresh episodes that judge the weights of each seed.
    """
    from experiments import _train, _world
    from rljax import agents, checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    for name in ("order", "tilings", "tiles", "steps", "num_envs", "max_steps"):
        checks.integer(name, options[name], 1)
    round_steps = EVAL_EVERY * UNROLL_STEPS * num_envs
    if steps < round_steps:
        raise ValueError(
            f"steps is {steps}; expected at least one evaluation, {round_steps} ({EVAL_EVERY * UNROLL_STEPS} of each of "
            f"{num_envs} environments). Take more steps or fewer environments."
        )
    early = _train.stopping(target, patience, max_steps)
    if quick:
        seeds, steps, max_steps = min(seeds, 2), min(steps, 3 * round_steps), min(max_steps, 50)
        test_episodes = min(test_episodes, 10)
        target, early = (target, early) if (target or 0) <= max_steps else (None, {})
    learning_rate = STEP_SIZES[features] if learning_rate is None else learning_rate
    sizes = [tilings, tiles] if features == "tiles" else [order]
    made = basis(features, sizes)
    at_once = seeds * max(num_envs, 20)  # 20 episodes are evaluated side by side
    needed = (
        0 if features == "tiles" else 16 * at_once * made.size
    )  # bytes: some vectors of float32 for each environment
    if needed > 4 * 2**30:
        raise ValueError(
            f"{made.size} features of {at_once} environments at once take about {needed / 2**30:.1f} GiB; expected at most 4. "
            "Take a smaller order or fewer seeds."
        )
    world = _world.cartpole(max_steps)
    algorithm = agents.linear_q(
        world.env,
        made,
        num_envs=num_envs,
        unroll_steps=UNROLL_STEPS,
        gamma=gamma,
        learning_rate=learning_rate,
        epsilon=epsilon,
        max_steps=max_steps,
    )
    path = folder.create(out, "approximate_q")
    folder.write_config(path, "approximate_q", options, locals())
    _train.solve(
        path,
        f"approximate_q, {features}",
        algorithm,
        world,
        seed=seed,
        seeds=seeds,
        rounds=steps // round_steps,
        round_steps=round_steps,
        eval_every=EVAL_EVERY,
        test_episodes=test_episodes,
        about={"experiment": "approximate_q", "features": features, "sizes": sizes},
        **early,
    )


def basis(kind: str, sizes: Sequence[int]) -> Features:
    """Features of CartPole's observation: tilings and tiles, or an order. Velocities beyond the bounds are rare."""
    from rljax import envs, features

    limits = envs.CartPole()
    high = [float(limits.position_threshold), 3.0, float(limits.angle_threshold), 3.5]
    make = {"tiles": features.tile_coding, "fourier": features.fourier, "polynomial": features.polynomial}[kind]
    return make(*sizes, [-x for x in high], high)
