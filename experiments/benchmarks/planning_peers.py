"""QuantEcon, MDPSolver and pymdptoolbox on the planning benchmark's problems; runs under the peers' interpreter.

All are asked for values within 1e-6 of the best, in float64. QuantEcon calls a policy epsilon-optimal whose values are within
epsilon / 2. pymdptoolbox's value and modified policy iterations stop too early and are wrong; its policy iteration is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.benchmarks.interleave import Prepared
from experiments.benchmarks.planning_problems import Problem, make


def quantecon(problem: str, seed: int, method: str, gammas: list[float] | None = None, problems: int = 1) -> Prepared:
    """`DiscreteDP.solve`, one problem after the other; building it is not counted."""
    models = [
        _discrete_dp(made, made.gamma if gamma is None else gamma)
        for made in (make(problem, seed + i) for i in range(problems))
        for gamma in (gammas or [None])
    ]
    precise = {} if method == "policy_iteration" else {"epsilon": 2e-6}
    return Prepared(lambda: [model.solve(method=method, max_iter=10**6, **precise) for model in models], 1)


def quantecon_lists(problem: str, seed: int, method: str) -> Prepared:
    """`DiscreteDP.solve` of the sparse matrix that is made anew each time of a table that is mostly zeros."""
    made = make(problem, seed)
    states, actions = made.reward.shape
    pairs = np.divmod(np.arange(states * actions), actions)

    def run() -> Any:
        import scipy.sparse
        from quantecon.markov import DiscreteDP  # pyright: ignore[reportMissingImports]

        table = made.probability.reshape(states * actions, states)
        row, successor = np.divmod(found := np.flatnonzero(table > 0), states)
        matrix = scipy.sparse.csr_matrix((table.ravel()[found], (row, successor)), shape=table.shape)
        return DiscreteDP(made.reward.ravel(), matrix, made.gamma, *pairs).solve(method=method)

    return Prepared(run, 1)


def _discrete_dp(problem: Problem, gamma: float) -> Any:
    import scipy.sparse
    from quantecon.markov import DiscreteDP  # pyright: ignore[reportMissingImports]

    states, actions = problem.reward.shape
    if problem.successor is None:
        return DiscreteDP(problem.reward, problem.probability, gamma)
    branching = problem.successor.shape[2]
    rows = np.repeat(np.arange(states * actions), branching)
    table = scipy.sparse.csr_matrix(
        (problem.probability.ravel(), (rows, problem.successor.ravel())), shape=(states * actions, states)
    )
    table.eliminate_zeros()
    pairs = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
    return DiscreteDP(problem.reward.ravel(), table, gamma, *pairs)


def mdpsolver(problem: str, seed: int, method: str) -> Prepared:
    """`model.solve`, in parallel; building it is not counted."""
    import mdpsolver as package  # pyright: ignore[reportMissingImports]

    made = make(problem, seed)
    successor = made.successor
    if successor is None:
        successor = np.broadcast_to(np.arange(len(made.reward)), made.probability.shape)
    keep = made.probability > 0
    lists = lambda table: [
        [row[k].tolist() for row, k in zip(r, ks, strict=True)] for r, ks in zip(table, keep, strict=True)
    ]
    model = package.model()
    model.mdp(
        discount=made.gamma,
        rewards=made.reward.tolist(),
        tranMatProbs=lists(made.probability),
        tranMatColumns=lists(successor),
    )
    # It would start from what it found the last time.
    states = len(made.reward)
    start = {"initPolicy": [0] * states, "initValueVector": [0.0] * states}
    return Prepared(lambda: model.solve(algorithm=method, tolerance=1e-6, **start), 1)


def pymdptoolbox(problem: str, seed: int) -> Prepared:
    """Policy iteration."""
    from mdptoolbox.mdp import PolicyIteration  # pyright: ignore[reportMissingImports]

    made = make(problem, seed)
    probability = made.probability
    if made.successor is not None:
        probability = np.zeros((*made.reward.shape, len(made.reward)))
        states, actions = (np.arange(n) for n in made.reward.shape)
        np.add.at(probability, (states[:, None, None], actions[None, :, None], made.successor), made.probability)
    table = np.ascontiguousarray(probability.transpose(1, 0, 2))
    return Prepared(lambda: PolicyIteration(table, made.reward, made.gamma).run(), 1)


CONTENDERS = {
    "quantecon": quantecon,
    "quantecon_lists": quantecon_lists,
    "mdpsolver": mdpsolver,
    "pymdptoolbox": pymdptoolbox,
}
