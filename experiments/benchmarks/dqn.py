"""Deep Q-learning, 50 000 steps of CartPole: one seed and 64 against PureJaxRL and CleanRL; sampling; compilation."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.benchmarks import interleave
from experiments.benchmarks.interleave import Prepared, compiled

if TYPE_CHECKING:
    from rljax.envs import Environment
    from rljax.structs import Algorithm

# CleanRL's: environment steps in all, before learning starts, between updates; updates between copies to the target network.
STEPS, WARMUP, BLOCK, COPY = 50_000, 10_000, 10, 50
SIZES, BATCH, CAPACITY = (4, 120, 84, 2), 128, 10_000
KINDS, DRAWS = ("uniform", "prioritised", "NumPy rows"), 1000
PEERS = {  # file of the checkout, where to get it, what it needs
    "PureJaxRL": ("purejaxrl/dqn.py", "https://github.com/luchris429/purejaxrl", "gymnax six flashbax"),
    "CleanRL": ("cleanrl/dqn_jax.py", "https://github.com/vwxyzjn/cleanrl", "jax flax optax gymnasium torch"),
}
NO_AFFINITY = "one core alone not measured: this system does not let a process choose its cores"


def main(
    *,
    seed: int = 0,
    out: Path | None = None,
    quick: bool = False,
    rounds: int = 5,
    seconds: float = 0.5,
    seeds: int = 64,
    purejaxrl: Path | None = None,
    cleanrl: Path | None = None,
    peer_python: Path | None = None,
) -> None:
    """Measure whole trainings with CleanRL's settings, in turn; then draws from replay, and compilation in fresh processes.

    Args:
      seed: of everything random.
      out: folder for the results; default: a fresh one under runs/.
      quick: 1 round, 4 seeds, 11 000 steps.
      rounds: interleaved measurements of each contender.
      seconds: shortest measurement; one call at least.
      seeds: trained at once by some of the contenders.
      purejaxrl: checkout of PureJaxRL; default: the environment variable RLJAX_PUREJAXRL.
      cleanrl: checkout of CleanRL; default: the environment variable RLJAX_CLEANRL.
      peer_python: interpreter that has what these need; default: the environment variable RLJAX_PEER_PYTHON.
    """
    import contextlib

    from experiments import _console
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    checks.seed(seed)
    checks.integer("rounds", rounds, 1)
    checks.integer("seeds", seeds, 2)
    checks.real("seconds", seconds, 0, above=True)
    steps = STEPS
    if quick:
        rounds, seconds, seeds, steps = 1, 0.05, 4, 11_000
    python = peer_python or os.environ.get("RLJAX_PEER_PYTHON")
    checkouts = _checkouts({"PureJaxRL": purejaxrl, "CleanRL": cleanrl}, python)
    pinning = hasattr(os, "sched_setaffinity")
    path = folder.create(out, "benchmarks.dqn")
    folder.write_config(path, "benchmarks.dqn", options, locals())

    ours, many = "experiments.benchmarks.dqn", f"{seeds} seeds"
    case = {"seed": seed, "steps": steps}
    with contextlib.ExitStack() as stack:
        start = lambda *what: stack.enter_context(contextlib.closing(interleave.Worker(*what)))
        mine = start(ours)
        contenders = {"one seed": interleave.Contender(mine, "rljax", {**case, "seeds": 1})}
        for name, checkout in checkouts.items():
            theirs = {**case, "checkout": str(checkout)}
            for where, more in (("", {}), (", one core", {"one_core": True}))[: 1 + pinning]:
                peer = start("experiments.benchmarks.dqn_peers", Path(str(python)).absolute())
                contenders[f"{name}{where}"] = interleave.Contender(peer, name.lower(), {**theirs, **more})
        contenders[many] = interleave.Contender(mine, "rljax", {**case, "seeds": seeds})
        contenders[f"products of {many}"] = interleave.Contender(mine, "products", {**case, "seeds": seeds})
        if pinning:
            alone = start(ours)
            for name, count in (("one seed", 1), (many, seeds)):
                pinned = {**case, "seeds": count, "one_core": True}
                contenders[f"{name}, one core"] = interleave.Contender(alone, "rljax", pinned)
                contenders[f"products of {name}, one core"] = interleave.Contender(alone, "products", pinned)
        drawing = {
            f"{kind}, {size}": interleave.Contender(mine, "sampling", {"kind": kind, "capacity": int(float(size))})
            for kind in KINDS
            for size in ("1e4", "1e6")
        }
        results = interleave.race(contenders, rounds, seconds)
        draws = interleave.race(drawing, rounds, seconds)
    compilations = []
    for _ in range(rounds):
        with contextlib.closing(interleave.Worker(ours)) as fresh:
            compilations.append(fresh.ask("compilation", 0.0, {"seed": seed}))

    trainings = {name: [steps / m.rate for m in measured] for name, measured in results.items()}
    summary: dict[str, Any] = judge(many, trainings, {name: [1e6 / m.rate for m in ms] for name, ms in draws.items()})
    for name, seconds_each in (
        ("compilation of the default program: seconds", [m.compile_seconds for m in compilations]),
        ("by XLA, without the tracing before it: seconds", [m.compile_seconds - m.trace_seconds for m in compilations]),
    ):
        summary[name] = record(seconds_each, "<=", 4.0)
    _console.table(
        f"DQN, {steps} steps of CartPole",
        [
            {
                "contender": name,
                "seconds for each seed": f"{statistics.median(times):.3g}",
                "spread": f"{min(times):.3g}-{max(times):.3g}",
                "k steps/s": f"{1e-3 * steps / statistics.median(times):.3g}",
                "compile": f"{results[name][0].compile_seconds:.1f} s",
            }
            for name, times in trainings.items()
        ],
    )
    _console.table(
        "medians over rounds",
        [
            {
                "what": name,
                "median": f"{row['median']:.3g}",
                "bar": row["bar"] or "",
                "": "" if row["bar"] is None else "reached" if row["reached"] else "MISSED",
            }
            for name, row in summary.items()
        ],
    )
    summary["seconds of each round, for each seed"] = trainings
    summary["compile seconds"] = {name: measured[0].compile_seconds for name, measured in results.items()}
    folder.write_json(path / "summary.json", summary)
    if "CleanRL" in checkouts:
        _console.console.print("compilation apart; what CleanRL traces anew in each run, some 0.1 s, is in its time")
    for name, (_, source, packages) in PEERS.items():
        if name not in checkouts:
            _console.console.print(
                f"{name} not measured: git clone {source} && python -m venv peers && peers/bin/pip install {packages}, "
                f"then --{name.lower()} {name.lower()} --peer-python peers/bin/python",
                soft_wrap=True,
            )
    if not pinning:
        _console.console.print(NO_AFFINITY)
    _console.files(path)


def judge(
    many: str, trainings: Mapping[str, Sequence[float]], draws: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    """The wanted ratios of the seconds for each seed and of the microseconds of a draw, beside their bars.

    A ratio is taken inside each round, where both met the same neighbours. What was not measured is left out.
    """
    alone = "one seed, one core"
    wanted = [
        ("PureJaxRL", "one seed", ">=", 1.7),
        ("CleanRL", "one seed", ">=", 10.0),
        ("PureJaxRL, one core", alone, ">=", 1.7),
        ("CleanRL, one core", alone, ">=", 10.0),
        (many, alone, "<=", 0.5),
        (f"{many}, one core", alone, "", None),
        # Whatever else a training does, it has these products to do.
        (f"products of {many}", alone, "", None),
        (f"products of {many}", many, "", None),
        (f"products of {many}, one core", f"{many}, one core", "", None),
        (f"products of {alone}", alone, "", None),
        ("uniform, 1e6", "uniform, 1e4", "<=", 1.5),
        ("prioritised, 1e6", "prioritised, 1e4", "<=", 1.5),
        ("NumPy rows, 1e6", "NumPy rows, 1e4", "", None),
    ]
    times = {**trainings, **draws}
    ratios = {
        f"{over} / {under}": record([a / b for a, b in zip(times[over], times[under], strict=True)], sign, bar)
        for over, under, sign, bar in wanted
        if over in times and under in times
    }
    return ratios | {f"{name}: microseconds": record(microseconds) for name, microseconds in draws.items()}


def record(rounds: Sequence[float], sign: str = "", bar: float | None = None) -> dict[str, Any]:
    """The median over rounds, beside its bar."""
    median = statistics.median(rounds)
    reached = None if bar is None else median <= bar if sign == "<=" else median >= bar
    return {"median": median, "rounds": list(rounds), "bar": bar and f"{sign} {bar:g}", "reached": reached}


def cleanrls(env: Environment, steps: int) -> Algorithm:
    """DQN with the settings of CleanRL's script."""
    import jax.numpy as jnp
    import optax

    from rljax import agents, networks, replay
    from rljax.agents.dqn import scalar

    return agents.dqn(
        env,
        networks.q_network(SIZES),
        unroll_steps=BLOCK,
        batch_size=BATCH,
        memory=replay.uniform(CAPACITY),
        warmup=WARMUP,
        learning_rate=2.5e-4,
        epsilon=optax.linear_schedule(1.0, 0.05, steps // 2),
        target_every=COPY,
        head=scalar(jnp.square),
    )


def rljax(seed: int, steps: int, seeds: int, one_core: bool = False) -> Prepared:
    """The loop's own pure functions under one `jit`: random play, then all updates of every seed; no look of the host."""
    interleave.pin(one_core)
    import jax

    from rljax import envs, train

    algorithm = cleanrls(envs.TimeLimit(envs.CartPole(), 500), steps)
    plan = train.Plan(eval_every=(steps - WARMUP) // BLOCK)

    def one(key: jax.Array) -> tuple[train.Member, dict[str, jax.Array]]:
        member, metrics, _ = train.advance(algorithm, key, train.begin(algorithm, key), plan)
        return member, metrics

    keys = jax.random.split(jax.random.key(seed), seeds)
    return compiled(jax.vmap(one) if seeds > 1 else lambda keys: one(keys[0]), keys, steps=seeds * steps)


def products(seed: int, steps: int, seeds: int, one_core: bool = False) -> Prepared:
    """The matrix products of all updates of such a training, and next to nothing else: 11 in each update.

    Forwards through the network and through the target network, backwards through all layers but the first.
    """
    interleave.pin(one_core)
    import jax
    import jax.numpy as jnp

    def update(weights: tuple[jax.Array, ...], o_tm1: jax.Array, o_t: jax.Array) -> tuple[jax.Array, ...]:
        w1, w2, w3 = weights
        h1 = o_tm1 @ w1
        h2 = h1 @ w2
        error = h2 @ w3 - o_t @ w1 @ w2 @ w3
        back2 = error @ w3.T
        gradients = o_tm1.T @ (back2 @ w2.T), h1.T @ back2, h2.T @ error
        return tuple(w - 1e-6 * g for w, g in zip(weights, gradients, strict=True))  # no update is like the last

    def one(key: jax.Array) -> Any:
        *of_weights, of_tm1, of_t = jax.random.split(key, 5)
        pairs = zip(of_weights, SIZES[:-1], SIZES[1:], strict=True)
        weights = tuple(jax.random.normal(k, (i, o)) / jnp.sqrt(i) for k, i, o in pairs)
        batches = [jax.random.normal(k, (BATCH, SIZES[0])) for k in (of_tm1, of_t)]
        return jax.lax.fori_loop(0, (steps - WARMUP) // BLOCK, lambda _, weights: update(weights, *batches), weights)

    keys = jax.random.split(jax.random.key(seed), seeds)
    return compiled(jax.vmap(one) if seeds > 1 else lambda keys: one(keys[0]), keys, steps=seeds * steps)


def sampling(kind: str, capacity: int) -> Prepared:
    """Draws of batches from a memory full of random play, one after the other.

    The kind "NumPy rows" is what any memory pays for its size, in misses of the cache: NumPy takes as many rows of arrays as
    large, their numbers drawn before.
    """
    import jax
    import jax.numpy as jnp

    from rljax import agents, envs, networks, replay

    if kind == "NumPy rows":
        return _rows(capacity)
    memory = getattr(replay, kind)(capacity)
    env = envs.TimeLimit(envs.CartPole(), 500)
    network = networks.q_network(SIZES)
    algorithm = agents.dqn(env, network, unroll_steps=1000, memory=memory, warmup=capacity)

    def fill(key: jax.Array) -> Any:
        errors = jax.random.uniform(jax.random.fold_in(key, 0), (capacity,))
        return memory.update(algorithm.init(key).learner.memory, jnp.arange(capacity, dtype=jnp.int32), errors)

    def draw(key: jax.Array, state: Any) -> Any:
        def body(total: Any, i: jax.Array) -> tuple[Any, None]:
            sample = memory.sample(jax.random.fold_in(key, i), state, BATCH)
            return jax.tree.map(lambda t, leaf: t + leaf.sum(dtype=t.dtype), total, sample), None

        zeros = jax.tree.map(lambda _: jnp.float32(0), jax.eval_shape(lambda: memory.sample(key, state, BATCH)))
        return jax.lax.scan(body, zeros, jnp.arange(DRAWS))[0]

    state = jax.jit(fill)(jax.random.key(0))
    return compiled(draw, jax.random.key(1), state, steps=DRAWS)


def _rows(capacity: int) -> Prepared:
    import numpy as np

    # Observation and what follows it, action, reward, terminated, truncated.
    kinds = [((4,), np.float32)] * 2 + [((), np.int32), ((), np.float32)] + [((), np.bool_)] * 2
    leaves = [np.ones((capacity, *shape), dtype) for shape, dtype in kinds]
    draws = np.random.default_rng(0).integers(0, capacity, (DRAWS, BATCH))
    return Prepared(lambda: [leaf[index] for index in draws for leaf in leaves], DRAWS)


def compilation(seed: int) -> Prepared:
    """`python -m experiments dqn` with one seed, up to its first chunk of two scores; asked of a fresh process.

    Two programs are compiled side by side: compilation is the longer one, of all updates; the rest of the time is tracing.
    """
    import jax

    from experiments import _deep_q
    from rljax import envs, train

    variants = _deep_q.chosen("n_step,layer_norm")
    env = envs.TimeLimit(envs.CartPole(), 500)
    network = _deep_q.network(SIZES, variants)
    algorithm = _deep_q.algorithm(env, network, variants, steps=STEPS, max_steps=500)
    every = 1000 // _deep_q.BLOCK
    keys = jax.random.split(jax.random.key(seed), 1)
    compiling = [0.0]

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiling.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    result = train.train(algorithm, keys, 2 * every, eval_every=every, chunk=2, score=True)
    return Prepared(lambda: None, 1, result.compile_seconds, result.compile_seconds - max(compiling))


CONTENDERS = {"rljax": rljax, "products": products, "sampling": sampling, "compilation": compilation}


def _checkouts(given: Mapping[str, Path | None], python: str | Path | None) -> dict[str, Path]:
    """Where the peers are that can be measured."""
    found = {}
    for name, directory in given.items():
        directory = directory or os.environ.get(f"RLJAX_{name.upper()}")
        file, source, _ = PEERS[name]
        if directory and not (Path(directory) / file).is_file():
            raise ValueError(f"{name.lower()} is {directory}; expected a checkout with {file}. git clone {source}")
        if directory and python:
            found[name] = Path(directory).absolute()
    return found
