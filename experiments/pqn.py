"""Parallelised Q-learning solves CartPole-v1 without replay or target network: many environments, layer normalisation."""

from __future__ import annotations

from pathlib import Path


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    env: str = "CartPole",
    seeds: int = 8,
    steps: int = 500_000,
    hidden: tuple[int, ...] = (128, 128),
    num_envs: int = 32,
    unroll_steps: int = 64,
    epochs: int = 4,
    minibatches: int = 16,
    lambda_: float = 0.95,
    gamma: float = 0.99,
    learning_rate: float = 2.5e-4,
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
      quick: at most 2 seeds of 10 blocks, episodes of at most 50, 10 test episodes.
      env: CartPole, on the device, or gymnasium:ID, any of Gymnasium's with actions that can be numbered.
      seeds: independent runs.
      steps: most steps of the environment; whole evaluations, each after 10 blocks of num_envs x unroll_steps.
      hidden: widths of the network's layers, such as 64 64.
      num_envs: environments side by side.
      unroll_steps: steps of each before each block of updates.
      epochs: how often each step is learned from.
      minibatches: updates of an epoch.
      lambda_: how far targets look: 0 one step, 1 to the end.
      gamma: discount in [0, 1].
      learning_rate: at the start; falls to zero.
      max_steps: most steps of an episode; default: 500 on CartPole, Gymnasium's own elsewhere.
      bounds: in Gymnasium, stop at an observation outside the bounds that the environment declares; LunarLander leaves its own.
      target: mean return of 20 greedy episodes that stops a seed early; default: none does ...
      patience: ... once so many evaluations in a row have reached it.
      test_episodes: fresh episodes that judge the parameters of each seed.
    """
    import optax

    from experiments import _train, _world
    from rljax import agents, checks, networks
    from rljax.agents.pqn import clipped_radam
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    for name in ("steps", "num_envs", "unroll_steps", "epochs", "minibatches"):
        checks.integer(name, options[name], 1)
    round_steps = 10 * num_envs * unroll_steps
    if steps < round_steps:
        raise ValueError(
            f"steps is {steps}; expected at least one evaluation, {round_steps} (10 blocks of {num_envs} x {unroll_steps}). "
            "Take more steps or smaller blocks."
        )
    world = _world.of(env, num_envs, max_steps, bounds)
    early = _train.stopping(target, patience, world.best)
    if quick:
        seeds, steps, test_episodes = min(seeds, 2), round_steps, min(test_episodes, 10)
        max_steps = min(world.max_steps, 50)
        world = _world.of(env, num_envs, max_steps, bounds)
        target, early = (target, early) if (target or 0) <= max_steps else (None, {})
    rounds = steps // round_steps
    updates = 10 * rounds * epochs * minibatches
    sizes = world.sizes(hidden)
    algorithm = agents.pqn(
        world.env,
        networks.q_network(sizes, layer_norm=True),
        num_envs=num_envs,
        unroll_steps=unroll_steps,
        epochs=epochs,
        minibatches=minibatches,
        lambda_=lambda_,
        gamma=gamma,
        learning_rate=learning_rate,
        optimiser=lambda rate: clipped_radam(optax.linear_schedule(rate, 0.0, updates)),
        epsilon=optax.linear_schedule(1.0, 0.2, rounds * round_steps // 5),
        max_steps=world.max_steps,
    )
    path = folder.create(out, "pqn")
    folder.write_config(path, "pqn", options, {**locals(), "max_steps": world.max_steps})
    _train.solve(
        path,
        "pqn",
        algorithm,
        world,
        seed=seed,
        seeds=seeds,
        rounds=rounds,
        round_steps=round_steps,
        eval_every=10,
        test_episodes=test_episodes,
        about={"experiment": "pqn", "sizes": sizes},
        **early,
    )
