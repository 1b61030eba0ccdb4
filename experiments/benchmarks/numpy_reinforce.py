"""The chapter's REINFORCE in NumPy and Gymnasium, as fast as one can honestly write it: the baseline of our own.

4-5-1 network, 150 updates of 10 episodes of at most 200 steps, gamma 0.95, returns normalised, Adam at 0.01.
The strongest reasonable form: environments without wrappers, the ten episodes of an update played in step so that they
share each pass of the network, and one hand-written backward pass over all their steps at once.
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
    folder.write_config(path, "benchmarks.numpy_reinforce", options, locals())
    runs = []
    for s in range(seed, seed + seeds):
        begin = time.perf_counter()
        lengths = train(s, iterations)
        seconds = time.perf_counter() - begin
        runs.append({"seed": s, "seconds": seconds, "last_10": statistics.mean(lengths[-10:]), "lengths": lengths})
    rows = [
        {"seed": str(r["seed"]), "seconds": f"{r['seconds']:.2f}", "steps, last 10 updates": f"{r['last_10']:.1f}"}
        for r in runs
    ]
    _console.table(f"REINFORCE in NumPy, {iterations} updates of 10 episodes", rows)
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
    # Unwrapped: the wrappers check and limit what this loop knows anyway.
    envs = [gymnasium.make("CartPole-v1").unwrapped for _ in range(episodes)]
    for i, env in enumerate(envs):
        env.reset(seed=seed * episodes + i)
    glorot = lambda inputs, outputs: rng.uniform(-1, 1, (inputs, outputs)) * np.sqrt(6 / (inputs + outputs))
    w1, b1, w2, b2 = params = [glorot(4, 5), np.zeros(5), glorot(5, 1)[:, 0], np.zeros(1)]
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]

    def forward(o: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of [B, 4]: elu and its derivative, [B, 5], and the logit, [B]."""
        a = o @ w1 + b1
        slope = np.exp(np.minimum(a, 0.0))
        hidden = slope - 1.0 + np.maximum(a, 0.0)
        return hidden, slope, hidden @ w2 + b2

    mean_lengths = []
    for update in range(1, iterations + 1):
        alive, observation, played = np.arange(episodes), np.array([env.reset()[0] for env in envs]), []
        lengths = np.full(episodes, max_steps)
        for t in range(max_steps):
            # In step with each other, so that one pass of the network serves all episodes that still live.
            action = (rng.random(len(alive)) * (1.0 + np.exp(-forward(observation)[2])) < 1.0).astype(int)
            played.append((observation, action, alive, np.full(len(alive), t)))
            arrived = [envs[i].step(a) for i, a in zip(alive.tolist(), action.tolist(), strict=True)]
            lives = np.array([not terminated for _, _, terminated, _, _ in arrived])
            lengths[alive[~lives]] = t + 1
            alive, observation = alive[lives], np.array([o for o, *_ in arrived])[lives]
            if not len(alive):
                break
        mean_lengths.append(float(lengths.mean()))
        o, action, who, t = map(np.concatenate, zip(*played, strict=True))
        # Every reward is 1: the return of a step depends only on how many are left.
        returns = (1.0 - gamma ** (lengths[who] - t)) / (1.0 - gamma)
        weights = (returns - returns.mean()) / (returns.std() + 1e-8)
        # Backward pass of mean(-log pi(a|o) * weight): the derivative of -log pi(a|o) by the logit is sigmoid - a.
        hidden, slope, logit = forward(o)
        d_logit = (1.0 / (1.0 + np.exp(-logit)) - action) * weights / len(o)
        d_a = d_logit[:, None] * w2 * slope
        gradients = [o.T @ d_a, d_a.sum(0), hidden.T @ d_logit, d_logit.sum(keepdims=True)]
        for p, g, m, v in zip(params, gradients, first, second, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            # In place, so that w1, b1, w2 and b2 stay the parameters.
            p -= learning_rate * (m / (1.0 - 0.9**update)) / (np.sqrt(v / (1.0 - 0.999**update)) + 1e-8)
    return mean_lengths
