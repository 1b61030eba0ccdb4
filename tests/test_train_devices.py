"""The loop on two devices: in a process of its own, since their number is fixed when JAX starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rljax import train
from rljax.train import memory
from rljax.structs import Algorithm

def step(key, state):
    noise = jax.random.normal(key)
    state = jax.tree.map(lambda x: x + noise, state)
    return state, {"x": state[0]}

# What is zero at first is laid out otherwise than what depends on the keys.
init = lambda key: (jax.random.normal(key), jnp.zeros(2))
walk = Algorithm(init, step, lambda state: state, lambda p, k, o: p, lambda key, p: p[0])
keys = jax.random.split(jax.random.key(0), 4)
mesh = Mesh(np.array(jax.devices()), ("members",))
both = jax.device_put(jax.random.clone(keys), NamedSharding(mesh, PartitionSpec("members")))
second = jax.device_put(jax.random.clone(keys), jax.devices()[1])
counted, refuse = [], memory.refuse
memory.refuse = lambda needed, *rest: (counted.append(needed), refuse(needed, *rest))
results = [train.train(walk, k, 6, eval_every=2, chunk=1, score=True) for k in (keys, both, second)]
print([len(result.parameters[0].sharding.device_set) for result in results], results[2].parameters[0].devices())
held = counted[::2]  # before the program is compiled; then what it needs
assert held[0] == 2 * held[1] == held[2] > 0 and len(counted) == 6, counted
swept = train.sweep(lambda size: walk, [{"size": 1.0}, {"size": 2.0}], second, 6, places=8, eval_every=2)
assert {d for leaf in jax.tree.leaves(swept.parameters) for d in leaf.devices()} == {jax.devices()[1]}
for result in results:
    for x, y in zip(result.parameters, results[0].parameters):
        np.testing.assert_allclose(x, y, rtol=1e-6)
"""


def test_members_on_two_devices_or_another_one_are_the_same() -> None:
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ended = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=env, cwd=Path(__file__).parent.parent
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "[1, 2, 1] {CpuDevice(id=1)}\n"
