"""One step is one step, single or vector, whichever way a vector resets: by environments that show where they are."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from bad_environments import BadCartPole, Counter, counters
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from rljax.envs.guard import BadEnvironment
from rljax.envs.host import HostEnvironment

LENGTHS = (1, 4, 2)  # of the first episodes of the lanes; the following are longer, one by one


class Batched(gymnasium.vector.VectorWrapper):
    """Last observations as one array for all, the other lanes' rows left as they are."""

    def step(self, actions):
        *answer, info = self.env.step(actions)
        if "final_obs" in info:
            final = answer[0].copy()
            for lane in np.flatnonzero(info["_final_obs"]):
                final[lane] = info["final_obs"][lane]
            info = {**info, "final_obs": final}
        return *answer, info


def make(kind):
    if kind == "single":
        return Counter(LENGTHS[1])
    if kind == "batched":
        return Batched(counters(AutoresetMode.SAME_STEP, LENGTHS))
    return counters(kind, LENGTHS)


@pytest.mark.parametrize("kind", ["single", *AutoresetMode, "batched"])
def test_every_valid_step_is_a_transition_and_every_transition_a_step(kind):
    host = HostEnvironment(make(kind))
    lengths = LENGTHS[1:2] if kind == "single" else LENGTHS
    before, actions, lost = host.reset(seed=0), np.random.default_rng(0), np.zeros(host.num_envs, int)
    assert before.tolist() == [[0, 0]] * host.num_envs
    seen = [[] for _ in lengths]
    for _ in range(60):
        action = actions.integers(0, 2, host.num_envs)
        step = host.step(action)
        assert step.observation.dtype == step.successor.dtype == step.reward.dtype == np.float32
        assert step.terminated.dtype == step.truncated.dtype == step.valid.dtype == bool
        for lane, length in enumerate(lengths):
            (episode, clock), (to, then) = before[lane], step.successor[lane]
            if not step.valid[lane]:  # nothing but a reset
                assert kind is AutoresetMode.NEXT_STEP and not (step.terminated | step.truncated)[lane]
                assert step.observation[lane].tolist() == [episode + 1, 0]
                lost[lane] += 1
                continue
            assert (to, then) == (episode, clock + 1), "a transition leads from one episode into another"
            assert step.reward[lane] == then * (1 + action[lane])
            over = then == length + episode
            assert step.terminated[lane] == (over and episode % 2 == 1)
            assert step.truncated[lane] == (over and episode % 2 == 0)
            seen[lane].append((int(episode), int(then)))
            begins = over and kind is not AutoresetMode.NEXT_STEP
            assert step.observation[lane].tolist() == ([episode + 1, 0] if begins else [to, then])
        before = step.observation
    for lane, length in enumerate(lengths):  # all of them, in order, none twice
        every = [(e, t) for e in range(60) for t in range(1, length + e + 1)]
        assert seen[lane] == every[: len(seen[lane])] and len(seen[lane]) == 60 - lost[lane]


def test_what_was_returned_stays():
    """An environment that writes into what it returned before is refused; ours never does."""
    host = HostEnvironment(make(AutoresetMode.SAME_STEP))
    kept, copies = [host.reset(seed=0)], []
    for t in range(12):
        copies.append([part.copy() for part in kept[-1]] if t else kept[-1].copy())
        kept.append(host.step(np.full(3, t % 2)))
    for one, copy in zip(kept[1:], copies[1:], strict=False):
        for part, other in zip(one, copy, strict=True):
            np.testing.assert_array_equal(part, other)


def test_all_classic_environments_become_rows():
    for name, size, number in [
        ("CartPole-v1", 4, 2),
        ("Acrobot-v1", 6, 3),
        ("FrozenLake-v1", 16, 4),
        ("Blackjack-v1", 45, 2),
    ]:
        host = HostEnvironment(gymnasium.make(name))
        assert (host.observations.size, host.actions.number) == (size, number)
        observation = host.reset(seed=1)
        for t in range(30):
            assert observation.shape == (1, size)
            observation = host.step(np.array([t % number])).observation
        host.close()


def test_actions_reach_the_environment_as_it_wants_them():
    class Keys(gymnasium.Env):
        observation_space, action_space = spaces.Discrete(6, start=1), spaces.MultiDiscrete([2, 3])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return 1, {}

        def step(self, action):
            assert self.action_space.contains(action)
            return 1 + int(3 * action[0] + action[1]), 0.0, False, False, {}

    host = HostEnvironment(Keys())
    host.reset()
    rows = [host.step(np.array([a])).observation for a in range(6)]
    np.testing.assert_array_equal(np.concatenate(rows), np.eye(6))


def test_the_guard_is_there():
    host = HostEnvironment(BadCartPole("NaN"), env_id="Cart")
    host.reset(seed=0)
    for t in range(6):
        host.step(np.array([t % 2]))
    with pytest.raises(BadEnvironment, match=r"Cart, step 7: observation\[2\] is nan; expected a finite number"):
        host.step(np.array([0]))
    host = HostEnvironment(BadCartPole(where="for ever"), max_episode_steps=3)
    host.reset(seed=0)
    for _ in range(2):
        host.step(np.array([0]))
    with pytest.raises(BadEnvironment, match="3 steps old and not over"):
        host.step(np.array([0]))


def test_refusals():
    with pytest.raises(TypeError, match=r"the action space is Box.*this learner chooses among numbered actions"):
        HostEnvironment(gymnasium.make("Pendulum-v1"))
    with pytest.raises(TypeError, match="expected an environment of Gymnasium"):
        HostEnvironment(Counter)
    with pytest.raises(ValueError, match="seed is -1"):
        HostEnvironment(Counter(2)).reset(seed=-1)
