"""Gymnasium's own worlds: planned exactly, and played in Gymnasium itself for what the plan says they are worth."""

from __future__ import annotations

import gymnasium
import jax
import numpy as np
import pytest

from rljax import mdp, rollout
from rljax.envs import TabularEnv
from rljax.mdp import planners

WORLDS = {
    "FrozenLake": {"map_name": "4x4"},
    "FrozenLake8x8": {},
    "CliffWalking": {},
    "Taxi": {},
}


def optimal(env: gymnasium.Env, gamma: float) -> np.ndarray:
    """V* of Gymnasium's table, float64 value iteration until nothing moves: terminated transitions are worth their reward."""
    table = env.unwrapped.P
    v = np.zeros(len(table))
    for _ in range(20_000):
        new = np.array(
            [
                max(sum(p * (r + gamma * v[t] * (not end)) for p, t, r, end in table[s][a]) for a in table[s])
                for s in range(len(v))
            ]
        )
        if np.abs(new - v).max() < 1e-13:
            return new
        v = new
    raise AssertionError("has not settled")


def padded(model: mdp.TabularMDP) -> mdp.TabularMDP:
    """The size of the largest world, Taxi's, for which all planners are compiled once: more states, all ends, and actions,
    none available."""
    fan_out, actions, states = model.transitions.successor.shape
    more = (0, 501 - states), (0, 6 - actions), (0, 3 - fan_out)
    lists = [np.asarray(x).T for x in (model.transitions.successor, model.transitions.probability)]
    return mdp.TabularMDP.sparse(
        *(np.pad(x, more) for x in (*lists, np.asarray(model.reward))),
        gamma=model.gamma,
        mask=np.pad(model.mask, more[:2]),
        terminal=np.pad(model.terminal, more[0], constant_values=True),
        initial=np.pad(model.initial, more[0]),
    )


plan = jax.jit(planners.plan, static_argnames="method")


@pytest.mark.parametrize("name", WORLDS)
def test_plans_are_as_good_as_they_say(name):
    newest = max(known for known in gymnasium.registry if known.startswith(f"{name}-v"))
    env, gamma = gymnasium.make(newest, **WORLDS[name]), 0.95
    want = optimal(env, gamma)
    with jax.enable_x64(True):
        model = padded(mdp.from_gymnasium(env, gamma=gamma))
        live = ~np.asarray(model.terminal)[: len(want)]
        for method in ("auto", *planners.METHODS):
            found = plan(model, method, tolerance=1e-8)
            assert bool(found.converged)
            error = np.abs(np.asarray(found.v)[: len(want)] - want)[live].max()
            assert error <= float(found.bound) + 1e-11
        value, policy = float(model.initial @ found.v), np.asarray(found.policy)
    # Played in Gymnasium: discounted returns, mean within five standard errors. 200 steps leave 0.95^200 = 4e-5 of the future.
    rng, returns = np.random.default_rng(0), []
    for _ in range(400):
        state, _ = env.reset(seed=int(rng.integers(2**31)))
        total, discount = 0.0, 1.0
        for _ in range(200):
            state, reward, terminated, _, _ = env.unwrapped.step(int(policy[state]))
            total, discount = total + discount * reward, discount * gamma
            if terminated:
                break
        returns.append(total)
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - value) <= 5 * error + 1e-2 * (error == 0) + 1e-4 * abs(want).max()


@jax.jit
def wander(key, env, num_actions):
    """How 2000 episodes of at most 100 steps go under random actions."""
    policy = lambda key, state: jax.random.randint(key, (), 0, num_actions)
    return rollout.episodes(key, env, policy, 2000, 100)


@pytest.mark.parametrize("name", ["FrozenLake", "CliffWalking", "Taxi"])
def test_a_fixed_policy_earns_there_what_it_earns_here(name):
    newest = max(known for known in gymnasium.registry if known.startswith(f"{name}-v"))
    env, rng, theirs = gymnasium.make(newest, **WORLDS[name]).unwrapped, np.random.default_rng(0), []
    for episode in range(500):
        env.reset(seed=episode)
        total, length, terminated = 0.0, 0, False
        while length < 100 and not terminated:
            _, reward, terminated, _, _ = env.step(int(rng.integers(env.action_space.n)))
            total, length = total + reward, length + 1
        theirs.append((total, length))
    ours = wander(jax.random.key(0), TabularEnv(padded(mdp.from_gymnasium(env, gamma=0.9))), int(env.action_space.n))
    for mine, own in zip(ours, np.array(theirs, float).T, strict=True):
        error = np.hypot(np.std(mine) / np.sqrt(len(mine)), np.std(own) / np.sqrt(len(own)))
        assert abs(np.mean(mine) - np.mean(own)) <= 5 * error, name
