"""The chapter's DQN as written, with the early stopping it left as an exercise, and with the bug that is easily made.

The chapter's set-up: CartPole-v0 (200 steps), 4-32-32-2 elu network, the last 2000 transitions in memory, batches of 50,
gamma 0.95, Adam 0.001, squared loss, no target network; 500 episodes, played with epsilon = max(1 - episode / 500, 0.01); one
update after each episode whose number, from 0, is above 50.

The bug: targets [B] against predictions [B, 1]. Nothing complains: the difference is [B, B], every prediction is drawn to
every target of the batch, and what is learned is their mean. The library refuses such shapes; here it is spelled out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import jax

    from rljax import structs


class ChapterState(NamedTuple):
    """Everything the next episode needs."""

    params: Any
    optimiser: Any
    memory: Any
    episode: Any  # [] int32


def chapter_loss(
    params: Any, apply: Callable[..., Any], batch: structs.Transition, gamma: float, bug: bool
) -> jax.Array:
    """Keras's mean squared error, without a half. As in the chapter, the clock's end counts as an end."""
    import jax
    import jax.numpy as jnp

    from rljax import backups, losses

    q_t = jax.vmap(apply, (None, 0))(params, batch.next_observation)
    discount_t = jnp.where(batch.terminated | batch.truncated, 0.0, gamma)
    target = jax.lax.stop_gradient(jax.vmap(backups.q_learning_target)(batch.reward, discount_t, q_t))
    q_tm1 = jax.vmap(lambda o, a: apply(params, o)[a])(batch.observation, batch.action)
    if bug:
        return jnp.mean(jnp.square(target[None, :] - q_tm1[:, None]))  # [B, B]
    return losses.td_loss(q_tm1, target, penalty=jnp.square)


def chapter_dqn(*, episodes: int, gamma: float, learning_rate: float, max_steps: int, bug: bool) -> structs.Algorithm:
    """One step is one episode and, from number 51 on, one update."""
    import jax
    import jax.numpy as jnp
    import optax

    from rljax import envs, networks, policies, replay, rollout, structs

    env = envs.TimeLimit(envs.CartPole(), max_steps)
    network = networks.chapter_q_network()
    memory = replay.uniform(2000)
    transform = optax.adam(learning_rate, eps=1e-7)  # Keras's epsilon

    def init(key: jax.Array) -> ChapterState:
        params = network.init(key)
        truth = jnp.bool_(False)
        example = structs.Transition(
            jnp.zeros(4), jnp.int32(0), jnp.float32(0), jnp.zeros(4), truth, truth, truth, (), ()
        )
        return ChapterState(params, transform.init(params), memory.init(example, 1, 1), jnp.int32(0))

    def step(key: jax.Array, state: ChapterState) -> tuple[ChapterState, dict[str, jax.Array]]:
        key_reset, key_play, key_learn = jax.random.split(key, 3)
        epsilon = jnp.maximum(1.0 - state.episode.astype(jnp.float32) / episodes, 0.01)
        policy = lambda key, o: policies.epsilon_greedy(key, network.apply(state.params, o), epsilon)
        cursor = rollout.start(key_reset, env, 1)
        _, played = rollout.unroll(key_play, env, policy, cursor, max_steps, autoreset="none")
        length = played.valid.sum(dtype=jnp.int32)
        ring = memory.add(state.memory, played._replace(state=(), next_state=()), played.valid)
        batch = jax.tree.map(lambda leaf: leaf[:, 0], memory.sample(key_learn, ring, 50).transition)
        loss, gradient = jax.value_and_grad(chapter_loss)(state.params, network.apply, batch, gamma, bug)
        change, optimiser = transform.update(gradient, state.optimiser, state.params)
        learned = (jax.tree.map(jnp.add, state.params, change), optimiser)
        params, optimiser = jax.tree.map(
            lambda new, old: jnp.where(state.episode > 50, new, old), learned, (state.params, state.optimiser)
        )
        state = ChapterState(params, optimiser, ring, state.episode + 1)
        return state, {"length": length.astype(jnp.float32), "loss": loss, "epsilon": epsilon}

    def act(params: Any, key: jax.Array, observation: jax.Array) -> jax.Array:
        del key
        return policies.greedy(network.apply(params, observation))

    def score(key: jax.Array, params: Any) -> jax.Array:
        return rollout.episodes(key, env, lambda k, o: act(params, k, o), 20, max_steps).returns.mean()

    return structs.Algorithm(init, step, lambda state: state.params, act, score)


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    seeds: int = 16,
    episodes: int = 500,
    gamma: float = 0.95,
    learning_rate: float = 0.001,
    max_steps: int = 200,
    patience: int = 40,
    test_episodes: int = 100,
) -> None:
    """Train the three over several seeds at once; save the chapter's figure, the best network and GIFs of it.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: at most 2 seeds, 70 episodes of 50 steps, 10 test episodes.
      seeds: independent runs of each.
      episodes: of each run, a multiple of 5; epsilon falls to 0.01 by the last.
      gamma: discount in [0, 1].
      learning_rate: of Adam.
      max_steps: most steps of an episode.
      patience: evaluations (every 5 episodes, 20 greedy episodes) without a new best that end a run of the second kind.
      test_episodes: fresh episodes that judge each trained network.
    """
    import jax
    import numpy as np

    from experiments import _console, _play, _results, _train, _world
    from rljax import checks, envs
    from rljax.runs import checkpoint, folder, plots
    from rljax.runs.statistics import bootstrap_interval, interquartile_mean, share_interval

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.together(seeds=seeds, test_episodes=test_episodes)
    for name in ("episodes", "max_steps", "patience"):
        checks.integer(name, options[name], 1)
    checks.real("gamma", gamma, 0, 1)
    checks.real("learning_rate", learning_rate, 0, above=True, below=True)
    every = 5
    if episodes % every:
        raise ValueError(
            f"episodes is {episodes}; expected a multiple of {every}, since the greedy policy is evaluated once in "
            f"{every}. Take {-(-episodes // every) * every}."
        )
    if quick:
        seeds, episodes, max_steps = min(seeds, 2), min(episodes, 70), min(max_steps, 50)
        test_episodes = min(test_episodes, 10)
    target = 0.975 * max_steps  # what counts as solved: 195 of 200
    env = envs.TimeLimit(envs.CartPole(), max_steps)
    right, wrong = (
        chapter_dqn(episodes=episodes, gamma=gamma, learning_rate=learning_rate, max_steps=max_steps, bug=bug)
        for bug in (False, True)
    )
    variants = {
        "as written": (right, {}),
        "early stopping": (right, {"give_up": patience}),
        "with the shape bug": (wrong, {}),
    }
    path = folder.create(out, "dqn_chapter")
    folder.write_config(path, "dqn_chapter", options, locals())

    key_train, key_test, key_film = jax.random.split(jax.random.key(seed), 3)
    keys, keys_test = jax.random.split(key_train, seeds), jax.random.split(key_test, seeds)
    results, failures = _train.each(variants, keys, episodes, eval_every=every, chunk=4, watched="length")
    lengths = {
        name: _play.judge(keys_test, env, algorithm.act, results[name].parameters, test_episodes, max_steps).mean(
            axis=1
        )
        for name, (algorithm, _) in variants.items()
    }

    folder.write_csv(
        path / "episodes.csv",
        (
            {
                "variant": name,
                "seed": member,
                "episode": int(episode) + 1,
                **{metric: float(values[episode, member]) for metric, values in result.metrics.items()},
            }
            for name, result in results.items()
            for member in range(seeds)
            for episode in np.flatnonzero(np.isfinite(result.metrics["length"][:, member]))
        ),
    )
    _results.write_tests(path, lengths)
    plots.learning_curves(
        path / "learning_curve.png",
        {name: result.metrics["length"] for name, result in results.items()},
        title="The chapter's DQN on CartPole: length of each episode, exploration included",
        xlabel="episode",
        ylabel="episode length (steps)",
        best_possible=max_steps,
        tests={name: interquartile_mean(found) for name, found in lengths.items()},
    )
    summary = {
        name: {
            "seeds": seeds,
            "episodes_iqm": interquartile_mean(result.members.steps),
            "last_lengths_iqm": interquartile_mean(plots.last(result.metrics["length"])),
            "test_mean_length_iqm": interquartile_mean(lengths[name]),
            "test_mean_length_iqm_interval": bootstrap_interval(lengths[name]),
            "test_share_of_seeds_at_target": float((lengths[name] >= target).mean()),
            "test_share_of_seeds_at_target_interval": share_interval(lengths[name] >= target),
            "compile_seconds": result.compile_seconds,
            "run_seconds": result.run_seconds,
            **({"failure": failures[name]} if name in failures else {}),
        }
        for name, result in results.items()
    }
    folder.write_json(path / "summary.json", summary)

    name, (algorithm, _) = list(variants.items())[1]
    best = int(np.argmax(lengths[name]))
    last = jax.tree.map(lambda leaf: leaf[best], results[name].parameters)
    about = {"experiment": "dqn_chapter", "env": "CartPole", "max_steps": max_steps}
    checkpoint.save(path / "policy.npz", last, about)
    _train.before_and_after(path, key_film, _world.cartpole(max_steps), algorithm, keys[best], last)

    _console.table(
        f"The chapter's DQN on CartPole, {_console.many(seeds, 'seed')} "
        f"(interquartile means; test: {test_episodes} fresh greedy episodes)",
        [
            {
                "variant": name,
                "episodes": f"{row['episodes_iqm']:.0f}",
                "last length": f"{row['last_lengths_iqm']:.1f}",
                "greedy test": f"{row['test_mean_length_iqm']:.1f}",
                f">= {target:g}": f"{row['test_share_of_seeds_at_target']:.0%}",
                "compile": f"{row['compile_seconds']:.1f} s",
                "run": f"{row['run_seconds']:.2f} s",
            }
            for name, row in summary.items()
        ],
    )
    _console.console.print(
        "greedy test: of the last network; with early stopping, of the best evaluated on the way. "
        f"{_train.kept(path)} the best seed of that test ({best}) of {name!r}."
    )
    _console.files(path)
    _train.complain(failures, len(variants))
    _console.console.print(f"watch it again: python -m experiments play {path}", markup=False)
