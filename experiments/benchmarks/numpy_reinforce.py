"""The chapter's REINFORCE in NumPy and Gymnasium, as fast as one can honestly write it: the baseline of our own.

4-5-1 network, 150 updates of 10 episodes of at most 200 steps, gamma 0.95, returns normalised over the batch, Adam 0.01.
The strongest reasonable form: no wrappers around the environment, one step costs four small array operations, and the
gradient is one hand-written backward pass over all steps of the ten episodes at once.
"""

from __future__ import annotations

from pathlib import Path


def main(*, seed: int = 0, out: Path | None = None, quick: bool = False, seeds: int = 3, iterations: int = 150) -> None:
    """Train over several seeds, one after the other; report time and what was learnt.

    Args:
      seed: of the first run; the others follow.
      out: folder for the results; default: a fresh one under runs/.
      quick: one seed, 5 updates.
      seeds: runs.
      iterations: updates of each.
    """
    import statistics
    import time

    from experiments import _console
    from rljax import checks
    from rljax.runs import folder

    options = {name: value for name, value in locals().items() if name in main.__annotations__}
    if quick:
        seeds, iterations = 1, 5
    checks.integer("seeds", seeds, 1)
    checks.integer("iterations", iterations, 1)
    path = folder.create(out, "benchmarks.numpy_reinforce")
    folder.write_config(path, "benchmarks.numpy_reinforce", options)
    runs = []
    for s in range(seed, seed + seeds):
        begin = time.perf_counter()
        lengths = train(s, iterations)
        seconds = time.perf_counter() - begin
        runs.append({"seed": s, "seconds": seconds, "last_10": statistics.mean(lengths[-10:]), "lengths": lengths})
    _console.table(
        f"REINFORCE in NumPy, {iterations} updates",
        [{"seed": str(r["seed"]), "seconds": f"{r['seconds']:.2f}", "last 10 updates": f"{r['last_10']:.1f}"} for r in runs],
    )
    folder.write_json(path / "summary.json", {"runs": runs, "seconds": statistics.median(r["seconds"] for r in runs)})
    _console.files(path)


def train(
    seed: int,
    iterations: int = 150,
    *,
    episodes: int = 10,
    max_steps: int = 200,
    gamma: float = 0.95,
    learning_rate: float = 0.01,
) -> list[float]:
    """REINFORCE from scratch; the mean episode length of every iteration."""
    import gymnasium
    import numpy as np

    rng = np.random.default_rng(seed)
    env = gymnasium.make("CartPole-v1").unwrapped  # the wrappers check and limit what this loop knows anyway
    env.reset(seed=seed)
    glorot = lambda inputs, outputs: rng.uniform(-1, 1, (inputs, outputs)) * np.sqrt(6 / (inputs + outputs))
    w1, b1, w2, b2 = params = [glorot(4, 5), np.zeros(5), glorot(5, 1)[:, 0], np.zeros(1)]
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    mean_lengths = []
    for t in range(1, iterations + 1):
        observations, actions, returns = [], [], []
        uniforms = rng.random((episodes, max_steps)).tolist()  # plain floats: cheaper to compare one by one
        for draws in uniforms:
            observation, length = env.reset()[0], 0
            for draw in draws:
                a = observation @ w1 + b1
                # -1 + e^min(a, 0) + max(a, 0) is the elu, in one line.
                logit = (np.exp(np.minimum(a, 0.0)) - 1.0 + np.maximum(a, 0.0)) @ w2 + b2[0]
                action = int(draw * (1.0 + np.exp(-logit)) < 1.0)
                observations.append(observation)
                actions.append(action)
                observation, _, terminated, _, _ = env.step(action)
                length += 1
                if terminated:
                    break
            # Every reward is 1: the return of a step depends only on how many are left.
            returns.append((1.0 - gamma ** np.arange(length, 0, -1)) / (1.0 - gamma))
        mean_lengths.append(len(actions) / episodes)
        o, weights = np.array(observations, np.float64), np.concatenate(returns)
        weights = (weights - weights.mean()) / (weights.std() + 1e-8)
        # Backward pass of mean(-log pi(a|o) * weight): d/d logit of -log pi(a|o) is sigmoid(logit) - a.
        a = o @ w1 + b1
        exponential = np.exp(np.minimum(a, 0.0))
        hidden = exponential - 1.0 + np.maximum(a, 0.0)
        d_logit = (1.0 / (1.0 + np.exp(-(hidden @ w2 + b2[0]))) - np.array(actions)) * weights / len(actions)
        d_a = d_logit[:, None] * w2 * exponential  # elu' is e^min(a, 0)
        gradients = [o.T @ d_a, d_a.sum(0), hidden.T @ d_logit, d_logit.sum(keepdims=True)]
        for p, g, m, v in zip(params, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            # In place, so that w1, b1, w2, b2 above stay the parameters.
            p -= learning_rate * (m / (1.0 - 0.9**t)) / (np.sqrt(v / (1.0 - 0.999**t)) + 1e-7)
    return mean_lengths
