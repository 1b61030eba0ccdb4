"""Deep Q-learning solves CartPole-v1: many seeds at once, any mixture of variants, the best parameters kept."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    variant: str = "n_step",
    seeds: int = 8,
    steps: int = 50_000,
    hidden: tuple[int, ...] = (120, 84),
    gamma: float = 0.995,
    learning_rate: float = 1e-3,
    max_steps: int = 500,
    target: float | None = None,
    patience: int = 1,
    test_episodes: int = 100,
) -> None:
    """Train; save the curves of the greedy policy, the best network and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds of 4000 steps, episodes of at most 50, 10 test episodes.
      variant: what is changed about plain DQN, joined by commas: huber, squared, c51, qr, soft_target, hard_target, no_target,
        double, munchausen, n_step, per, dueling, layer_norm; or plain.
      seeds: independent runs.
      steps: of the environment, in all; a multiple of 1000, at least 2000: the first 1000 are random.
      hidden: widths of the network's layers.
      gamma: discount in [0, 1].
      learning_rate: at the start; falls to zero.
      max_steps: most steps of an episode.
      target: mean return of 20 greedy episodes that stops a seed early; default: none does ...
      patience: ... once so many evaluations in a row (every 1000 steps) have reached it.
      test_episodes: fresh episodes that judge the parameters of each seed.
    """
    from experiments import _deep_q, _train
    from rljax import checks, envs
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    for name in ("seeds", "steps", "max_steps", "test_episodes"):
        checks.integer(name, options[name], 1)
    _deep_q.check_steps(steps)
    early = _train.stopping(target, patience, max_steps)
    if quick:
        seeds, steps, max_steps = min(seeds, 2), min(steps, 4000), min(max_steps, 50)
        test_episodes = min(test_episodes, 10)
        target, early = (target, early) if (target or 0) <= max_steps else (None, {})
    used = {name: value for name, value in locals().items() if name in options}
    variants = _deep_q.chosen(variant)
    env = envs.TimeLimit(envs.CartPole(), max_steps)
    sizes = [4, *hidden, 2]
    network = _deep_q.network(sizes, variants)
    algorithm = _deep_q.algorithm(
        env, network, variants, steps=steps, max_steps=max_steps, gamma=gamma, learning_rate=learning_rate
    )
    path = folder.create(out, "dqn")
    folder.write_config(path, "dqn", options, used)
    _train.solve(
        path,
        f"dqn, {variant}",
        algorithm,
        env,
        seed=seed,
        seeds=seeds,
        rounds=steps // 1000 - 1,
        round_steps=1000,
        eval_every=1000 // _deep_q.BLOCK,
        before=_deep_q.WARMUP,
        max_steps=max_steps,
        test_episodes=test_episodes,
        about={"experiment": "dqn", "variant": variant, "sizes": sizes},
        **early,
    )
