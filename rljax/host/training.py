"""The same learners in environments that run on the host: Gymnasium's. The one loop, with the environments outside of it.

    for each block of each step of the algorithm:                     one block, or `Learner.repeats`
      experience [T, N]: actions by one compiled call for all N, transitions into arrays of the host
      one compiled call to learn from it                              the learner's own functions: `Algorithm.learner`

Rounds, scores, targets and patience, best parameters and faults are those of `rljax.train`, and so is the result. An action
costs one dispatch of a compiled program, some 30 to 100 microseconds, whatever N is: many environments at once pay it once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rljax import checks, noise
from rljax.envs.guard import BadEnvironment
from rljax.envs.host import HostEnvironment, HostStep
from rljax.envs.task import Task
from rljax.host.playing import Places, blank, episodes, record
from rljax.structs import Algorithm, Learner, Transition
from rljax.train import loop, running


class Broken(running.Diverged):
    """An environment failed, and a fault that it is; `result` holds all there was until then."""


def task(env: HostEnvironment) -> Task:
    """The outline of an environment, for the makers of `rljax.agents`.

    Errors:
      TypeError: what is no `HostEnvironment`.

    Example:
      >>> import gymnasium
      >>> task(HostEnvironment(gymnasium.make("Acrobot-v1")))
      Task(size=6, actions=3)
    """
    _check(env)
    return Task(env.observations.size, env.actions.number)


def first(algorithm: Algorithm, size: int, key: Array) -> Any:
    """The learner's state that a member of `train` with this key begins with; observations are of `size` numbers.

    Example:
      >>> import gymnasium
      >>> from rljax import agents, networks
      >>> outline = task(HostEnvironment(gymnasium.make("CartPole-v1")))
      >>> algorithm = agents.dqn(outline, networks.q_network((4, 16, 2)), unroll_steps=5, batch_size=8)
      >>> int(first(algorithm, outline.size, jax.random.key(0)).steps)
      0
    """
    learner = _learner(algorithm)
    example = blank(size, (), learner.whole)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), example)
    return learner.begin(jax.random.fold_in(key, 0), shapes)


def train(
    algorithm: Algorithm,
    make: Callable[[], HostEnvironment],
    keys: Array,
    num_steps: int,
    *,
    eval_every: int | None = None,
    target: float | None = None,
    patience: int = 1,
    give_up: int | None = None,
    score: bool | None = None,
    score_episodes: int = 20,
    keep_state: bool = False,
    on_chunk: Callable[[running.Progress], None] | None = None,
) -> running.Result:
    """`rljax.train.train` in environments of Gymnasium, one member after the other.

    Args:
      algorithm: made for `task(make())`, with as many environments as that has (REINFORCE: a multiple, its episodes).
      make: makes the environment; once for each member and, for scores, once more.
      keys: [B] typed keys, one for each member.
      num_steps, eval_every, target, patience, give_up, score, keep_state: of `rljax.train.train`.
      score_episodes: fresh episodes of the greedy policy that make one score, in whole rounds of the N environments.
      on_chunk: is shown a `Progress` after every round of a member.

    Returns:
      `rljax.train.Result`.

    Errors:
      ValueError, TypeError: before anything is run.
      rljax.train.Diverged: a member met a NaN or an infinity; carries the result, that of the members before it included.
      Broken: the same for an environment that failed. If it failed before the first round was over, the
        `rljax.envs.guard.BadEnvironment` itself.

    Example:
      >>> import gymnasium
      >>> from rljax import agents, networks
      >>> make = lambda: HostEnvironment(gymnasium.make("CartPole-v1"))
      >>> algorithm = agents.dqn(task(make()), networks.q_network((4, 16, 2)), unroll_steps=5, warmup=50, batch_size=8)
      >>> result = train(algorithm, make, jax.random.split(jax.random.key(0), 1), 4, eval_every=2)
      >>> result.metrics["steps"][:, 0].astype(int).tolist()
      [55, 60, 65, 70]
    """
    running.several(keys)
    checks.integer("num_steps", num_steps, 1)
    checks.integer("score_episodes", score_episodes, 1)
    learner = _learner(algorithm)
    checks.function("make", make, 'lambda: HostEnvironment(gymnasium.make("CartPole-v1"))')
    if on_chunk is not None:
        checks.function("on_chunk", on_chunk, "lambda progress: print(progress.steps), or None")
    plan = loop.planned(num_steps, eval_every, target, patience, give_up, score, keep_state)
    env, judge = make(), make() if plan.score else None
    _check(env)
    began = time.perf_counter()
    programs = compiled(algorithm, learner, env, plan)
    compile_seconds, began = time.perf_counter() - began, time.perf_counter()
    runs: list[Run] = []
    failure: BadEnvironment | None = None
    for key in keys:
        try:
            runs.append(run := Run(programs, env, key))
            while int(run.member.steps) < num_steps and not bool(run.member.stopped):
                run.round(judge, score_episodes)
                run.times += [time.perf_counter() - began] * (len(run.metrics) - len(run.times))
                if on_chunk:
                    on_chunk(run.progress(num_steps, len(runs), len(keys), compile_seconds))
        except BadEnvironment as error:  # what was learned in whole rounds is kept
            failure = error
            for run in runs[-1:]:
                del run.metrics[len(run.times) :]
            break
        if bool(run.member.fault > 0):
            break
    runs = [run for run in runs if run.metrics]
    if failure and not runs:
        raise failure
    if not failure:
        env.close()
        if judge is not None:
            judge.close()
    result = _result(runs, programs, compile_seconds, time.perf_counter() - began)
    if failure:
        raise Broken(str(failure), result) from failure
    if bool((result.members.fault > 0).any()):
        raise running.Diverged(running.diagnosis(result), result)
    return result


class Programs(NamedTuple):
    """What is compiled: a learner's functions, for N environments or for a block."""

    learner: Learner
    plan: loop.Plan
    names: tuple[str, ...]  # of what may cease to be finite
    size: int  # D
    begin: Callable[..., Any]  # key -> state
    wander: Callable[..., Array]  # (key, block, t, observations) -> actions
    remember: Callable[..., Any]  # (state, block) -> state
    explore: Callable[..., Array]  # (state, key, block, t, observations) -> actions
    learn: Callable[
        ..., tuple[Any, ...]
    ]  # (state, params, key, block, played) -> (state, params, metrics, what is not finite)
    act: Callable[..., Array]  # (params, key, t, observations) -> actions
    judged: Callable[..., loop.Member]  # (before, after, params, score) -> member


def compiled(algorithm: Algorithm, learner: Learner, env: HostEnvironment, plan: loop.Plan) -> Programs:
    """All programs, each called or compiled once."""
    if learner.num_envs % env.num_envs if learner.whole else learner.num_envs != env.num_envs:
        what = "episodes_per_update" if learner.whole else "num_envs"
        expected = f"a multiple of {env.num_envs}" if learner.whole else str(env.num_envs)
        raise ValueError(
            f"the algorithm was made with {what}={learner.num_envs} and there are {env.num_envs} environments; expected "
            f"{expected}. Make it with {what}={env.num_envs}, or make other environments."
        )
    size, lanes = env.observations.size, jnp.arange(env.num_envs, dtype=jnp.uint32)

    def keys(key: Array, *path: Array) -> Array:
        return jax.vmap(jax.random.fold_in, (None, 0))(
            functools.reduce(jax.random.fold_in, path, noise.fused(key)), lanes
        )

    def wander(key: Array, block: Array, t: Array, observation: Array) -> Array:
        assert learner.wander is not None
        return jax.vmap(learner.wander)(keys(key, block, t), observation)

    def explore(state: Any, key: Array, block: Array, t: Array, observation: Array) -> Array:
        of_play = jax.random.split(jax.random.fold_in(key, block))[0]
        return jax.vmap(functools.partial(learner.explore, state))(keys(of_play, t), observation)

    def act(params: Any, key: Array, t: Array, observation: Array) -> Array:
        return jax.vmap(functools.partial(algorithm.act, params))(keys(key, t), observation)

    def learn(state: Any, params: Any, key: Array, block: Array, played: Transition) -> tuple[Any, ...]:
        of_learning = jax.random.split(jax.random.fold_in(key, block))[1]
        state, metrics = learner.learn(of_learning, state, played)
        now = learner.parameters(state)
        bad = jnp.stack([~loop.finite(x) for x in (*(metrics[name] for name in sorted(metrics)), now)])
        return state, loop.select(bad.any(), params, now), metrics, bad

    begin = jax.jit(functools.partial(first, algorithm, size))
    state = jax.eval_shape(begin, jax.random.key(0))
    params = jax.eval_shape(learner.parameters, state)
    played = blank(size, (learner.num_steps, learner.num_envs), learner.whole)
    learning = jax.jit(learn, donate_argnums=0)
    metrics = jax.eval_shape(learning, state, params, jax.random.key(0), jnp.int32(0), played)[2]
    names = (*sorted({*metrics} | ({"mean_return"})), "parameters", "score")
    programs = Programs(
        learner,
        plan,
        names,
        size,
        begin,
        jax.jit(wander),
        jax.jit(learner.remember, donate_argnums=0) if learner.remember else (lambda state, played: state),
        jax.jit(explore),
        learning,
        jax.jit(act),
        jax.jit(lambda before, after, params, score: loop.judged(before, after, params, score, plan, len(names))),
    )
    key, zero, observation = jax.random.key(0), jnp.int32(0), np.zeros((env.num_envs, size), np.float32)
    state = begin(key)
    params = jax.tree.map(jnp.copy, learner.parameters(state))
    programs.explore(state, jax.random.clone(key), zero, zero, observation)
    programs.act(params, jax.random.clone(key), zero, observation)
    jax.block_until_ready(learning(state, params, jax.random.clone(key), zero, played))
    return programs


class Run:
    """One member, round by round."""

    def __init__(self, programs: Programs, env: HostEnvironment, key: Array) -> None:
        of_state, self.key, self.of_score, of_seed = (jax.random.fold_in(key, stream) for stream in range(4))
        self.programs, self.env = programs, env
        self.state = programs.begin(key)  # `first` folds the key as of_state
        params = jax.tree.map(jnp.copy, programs.learner.parameters(self.state))  # the state itself is donated
        zero, lowest = jnp.int32(0), jnp.asarray(-jnp.inf, jnp.result_type(float))
        self.member = loop.Member((), zero, params, lowest, zero, zero, jnp.bool_(False), zero)
        self.params = params
        self.observation = env.reset(_seed(of_seed))
        self.total, self.last_return = np.zeros(env.num_envs), np.zeros(env.num_envs)
        self.metrics: list[dict[str, float]] = []
        self.scores: list[float] = []
        self.times: list[float] = []
        of_warmup = jax.random.fold_in(of_state, 1)
        for block in range(programs.learner.warmup):
            played = self.block(functools.partial(programs.wander, of_warmup, np.int32(block)))
            self.state = programs.remember(self.state, played)

    def round(self, judge: HostEnvironment | None, score_episodes: int) -> None:
        """Steps until the next look, and a score."""
        programs, fault = self.programs, 0
        for _ in range(programs.plan.eval_every):
            if fault := self.step():
                break
        steps, fault_ = jnp.int32(len(self.metrics) - bool(fault)), jnp.int32(fault)
        after = self.member._replace(steps=steps, best=self.params, fault=fault_, stopped=fault_ > 0)
        if judge is not None:
            of_score = jax.random.fold_in(self.of_score, steps)
            choose = lambda t, o: np.asarray(programs.act(self.params, of_score, np.int32(t), o))
            score = float(episodes(judge, choose, score_episodes, seed=_seed(of_score)).mean())
            self.scores.append(score)
            after = programs.judged(self.member, after, self.params, jnp.asarray(score, self.member.best_score.dtype))
        self.member = after

    def step(self) -> int:
        """One step of the algorithm: its blocks, up to a fault, and the means of their metrics. Returns the fault, or 0."""
        programs, rows, fault = self.programs, [], 0
        first = len(self.metrics) * programs.learner.repeats
        while len(rows) < programs.learner.repeats and not fault:
            block = np.int32(first + len(rows))
            played = self.block(functools.partial(programs.explore, self.state, self.key, block))
            self.state, self.params, metrics, bad = programs.learn(self.state, self.params, self.key, block, played)
            metrics, bad = jax.device_get((metrics, bad))
            rows.append({name: float(x) for name, x in metrics.items()})
            if bad.any():
                fault = 1 + programs.names.index([*sorted(metrics), "parameters"][int(bad.argmax())])
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        self.metrics.append({"mean_return": float(self.last_return.mean()), **means})
        return fault

    def progress(self, num_steps: int, begun: int, everyone: int, compile_seconds: float) -> running.Progress:
        """What the host is shown after a round of the member that was begun last."""
        every, steps = self.programs.plan.eval_every, len(self.metrics)
        metrics = {name: np.array([[row[name]] for row in self.metrics[-every:]]) for name in self.metrics[-1]}
        scores, stopped = np.array([self.scores[-1:] or [np.nan]]), bool(self.member.stopped)
        finished = begun - (not stopped and steps < num_steps)
        return running.Progress(
            steps, metrics, scores, everyone - begun + (not stopped), finished, compile_seconds, self.times[-1]
        )

    def block(self, choose: Callable[..., Array]) -> Transition:
        """Experience as the learner wants it; `choose(t, observations)`."""
        chosen = lambda t, observation: np.asarray(choose(np.int32(t), observation))
        return self._episodes(chosen) if self.programs.learner.whole else self._stream(chosen)

    def _stream(self, choose: Callable[[int, np.ndarray], np.ndarray]) -> Transition:
        """T transitions of each environment.

        A vector that resets in a step of its own has steps that are none: environments that had none play on until the others
        have T as well. What they do then is not recorded, so their recursions are cut there, as by a clock.
        """
        enough, seen = self.programs.learner.num_steps, []
        valid = np.zeros(self.env.num_envs, int)
        while (valid < enough).any():
            action = choose(len(seen), self.observation)
            step = self.env.step(action)
            seen.append((self.observation, action.astype(np.int32), *step[1:]))
            valid += step.valid
            self.total += np.where(step.valid, step.reward, 0.0)
            ended = step.terminated | step.truncated
            if ended.any():
                self.last_return[ended], self.total[ended] = self.total[ended], 0.0
            self.observation = step.observation
        columns: Any = map(np.stack, zip(*seen, strict=True))
        observation, action, reward, terminated, truncated, successor, counts = columns
        nothing: Any = ()
        played = Transition(observation, action, reward, successor, terminated, truncated, nothing, nothing, nothing)
        if len(seen) > enough:
            rows = np.argsort(~counts, axis=0, kind="stable")[:enough]  # the first valid ones of each environment
            played = jax.tree.map(lambda leaf: leaf[rows, np.arange(self.env.num_envs)], played)
            played.truncated[-1] |= (valid > enough) & ~played.terminated[-1]
        return played

    def _episodes(self, choose: Callable[[int, np.ndarray], np.ndarray]) -> Transition:
        """Whole episodes, [T, E]."""
        learner, env = self.programs.learner, self.env
        played = blank(self.programs.size, (learner.num_steps, learner.num_envs), True)
        each = learner.num_envs // env.num_envs

        def write(places: Places, observation: np.ndarray, action: np.ndarray, step: HostStep) -> None:
            if (places.time >= learner.num_steps).any():
                raise ValueError(
                    f"an episode has more than {learner.num_steps} steps; expected that the environment ends it by then. "
                    "Give the algorithm a larger max_steps, or the environment a smaller limit: "
                    f"gymnasium.make(..., max_episode_steps={learner.num_steps})."
                )
            columns = places.lanes * each + places.episode
            record(played, places.time, columns, places.lanes, observation, action, step)
            played.valid[places.time, columns] = True

        returns = episodes(env, choose, learner.num_envs, on_step=write)
        self.last_return = returns
        return played


def _result(runs: list[Run], programs: Programs, compile_seconds: float, run_seconds: float) -> running.Result:
    plan, steps = programs.plan, max(len(run.metrics) for run in runs)
    rounds = -(-steps // plan.eval_every)
    padded = lambda values, length: np.pad(np.array(values, float), (0, length - len(values)), constant_values=np.nan)
    members = [run.member._replace(state=run.state if plan.keep_state else ()) for run in runs]
    return running.Result(
        members=jax.tree.map(lambda *leaves: jnp.stack(leaves), *members),
        metrics={
            name: np.stack([padded([row[name] for row in run.metrics], steps) for run in runs], axis=1)
            for name in runs[0].metrics[0]
        },
        scores=np.stack([padded(run.scores, rounds) for run in runs], axis=1),
        elapsed=np.nanmax([padded(run.times, steps) for run in runs], axis=0),
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
        plan=plan,
        names=programs.names,
    )


def _learner(algorithm: Any) -> Learner:
    if not isinstance(algorithm, Algorithm) or algorithm.learner is None:
        raise TypeError(
            f"algorithm is {algorithm!r}; expected an Algorithm with a learner, as agents.dqn, agents.pqn, agents.linear_q "
            "and agents.reinforce make it."
        )
    return algorithm.learner


def _check(env: Any) -> None:
    if not isinstance(env, HostEnvironment):
        raise TypeError(f"the environment is {env!r}; expected a HostEnvironment. Wrap it: HostEnvironment(env).")


def _seed(key: Array) -> int:
    return int(jax.random.bits(key))
