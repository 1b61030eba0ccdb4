"""Deep Q-learning solves CartPole-v1: many seeds at once, any mixture of variants, the best parameters kept."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    env: str = "CartPole",
    variant: str = "n_step,layer_norm",
    seeds: int = 8,
    steps: int = 50_000,
    hidden: tuple[int, ...] = (120, 84),
    gamma: float = 0.995,
    learning_rate: float = 1e-3,
    max_steps: int | None = None,
    bounds: bool = True,
    target: float | None = None,
    patience: int = 1,
    test_episodes: int = 100,
) -> None:
    """Train; save the curves of the greedy policy, the best network and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds of 4000 steps, episodes of at most 50, 10 test episodes.
      env: CartPole, on the device, or gymnasium:ID, any of Gymnasium's with actions that can be numbered.
      variant: what is changed about plain DQN, joined by commas: huber, squared, c51, qr, soft_target, hard_target, no_target,
        double, munchausen, n_step, per, dueling, layer_norm; or plain.
      seeds: independent runs.
      steps: of the environment, in all; a multiple of 1000, at least 2000: the first 1000 are random.
      hidden: widths of the network's layers, such as 64 64.
      gamma: discount in [0, 1].
      learning_rate: at the start; falls to zero.
      max_steps: most steps of an episode; default: 500 on CartPole, Gymnasium's own elsewhere.
      bounds: in Gymnasium, stop at an observation outside the bounds that the environment declares; LunarLander leaves its own.
      target: mean return of 20 greedy episodes that stops a seed early; default: none does ...
      patience: ... once so many evaluations in a row (every 1000 steps) have reached it.
      test_episodes: fresh episodes that judge the parameters of each seed.
    """
    from experiments import _deep_q, _train, _world
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    checks.integer("steps", steps, 1)
    _deep_q.check_steps(steps)
    world = _world.of(env, _deep_q.NUM_ENVS, max_steps, bounds)
    early = _train.stopping(target, patience, world.best)
    if quick:
        seeds, steps, test_episodes = min(seeds, 2), min(steps, 4000), min(test_episodes, 10)
        max_steps = min(world.max_steps, 50)
        world = _world.of(env, _deep_q.NUM_ENVS, max_steps, bounds)
        target, early = (target, early) if (target or 0) <= max_steps else (None, {})
    variants = _deep_q.chosen(variant)
    sizes = world.sizes(hidden)
    network = _deep_q.network(sizes, variants)
    algorithm = _deep_q.algorithm(
        world.env, network, variants, steps=steps, max_steps=world.max_steps, gamma=gamma, learning_rate=learning_rate
    )
    path = folder.create(out, "dqn")
    folder.write_config(path, "dqn", options, {**locals(), "max_steps": world.max_steps})
    _train.solve(
        path,
        f"dqn, {variant}",
        algorithm,
        world,
        seed=seed,
        seeds=seeds,
        rounds=steps // 1000 - 1,
        round_steps=1000,
        eval_every=1000 // _deep_q.BLOCK,
        before=_deep_q.WARMUP,
        test_episodes=test_episodes,
        about={"experiment": "dqn", "variant": variant, "sizes": sizes},
        **early,
    )
