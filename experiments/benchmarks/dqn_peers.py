"""PureJaxRL's and CleanRL's DQN from the user's own checkouts, with CleanRL's settings; runs under the peers' interpreter.

Nothing of theirs is changed but what keeps them from running beside newer packages, and from writing logs.
"""

from __future__ import annotations

import atexit
import runpy
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.benchmarks.interleave import Prepared, compiled, pin


def purejaxrl(checkout: str, seed: int, steps: int, one_core: bool = False) -> Prepared:
    """`jax.jit(make_train(config))`: its whole run is one program, with one environment."""
    pin(one_core)
    import gymnax  # pyright: ignore[reportMissingImports]
    import jax
    from gymnax.wrappers import purerl  # pyright: ignore[reportMissingImports]

    if not hasattr(jax, "tree_map"):
        jax.tree_map = jax.tree.map  # pyright: ignore[reportAttributeAccessIssue]
    if hasattr(gymnax.wrappers, "LegacyStepAPIWrapper"):  # gymnax 1.0 tells ends from time limits, PureJaxRL does not
        newer = purerl.LogWrapper
        purerl.LogWrapper = lambda env: gymnax.wrappers.LegacyStepAPIWrapper(newer(env))
    sys.modules.setdefault("wandb", ModuleType("wandb"))
    make_train = runpy.run_path(str(Path(checkout) / "purejaxrl" / "dqn.py"))["make_train"]
    config = {
        "NUM_ENVS": 1,
        "BUFFER_SIZE": 10_000,
        "BUFFER_BATCH_SIZE": 128,
        "TOTAL_TIMESTEPS": steps,
        "EPSILON_START": 1.0,
        "EPSILON_FINISH": 0.05,
        "EPSILON_ANNEAL_TIME": steps // 2,
        "TARGET_UPDATE_INTERVAL": 500,
        "LR": 2.5e-4,
        "LEARNING_STARTS": 10_000,
        "TRAINING_INTERVAL": 10,
        "GAMMA": 0.99,
        "TAU": 1.0,
        "ENV_NAME": "CartPole-v1",
    }
    return compiled(make_train(config), jax.random.key(seed), steps=steps)


def cleanrl(checkout: str, seed: int, steps: int, one_core: bool = False) -> Prepared:
    """The script `dqn_jax.py`; its own defaults are the settings.

    It compiles within its run, anew each time, so its programs are put into JAX's cache of compiled programs before: what is
    left of compilation in a run is tracing and reading them, a fraction of a second.
    """
    pin(one_core)
    import gymnasium
    import jax

    cache = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, cache)
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    sys.path.insert(0, checkout)
    if hasattr(gymnasium.vector, "AutoresetMode"):
        gymnasium.vector.SyncVectorEnv = _as_before_gymnasium_1(gymnasium.vector)
    tensorboard, tyro = ModuleType("torch.utils.tensorboard"), ModuleType("tyro")
    nothing = lambda *_: None
    writer = {"__init__": nothing, "add_text": nothing, "add_scalar": nothing, "close": nothing}
    vars(tensorboard)["SummaryWriter"] = type("SummaryWriter", (), writer)
    sys.modules |= {"torch.utils.tensorboard": tensorboard, "tyro": tyro}
    script = Path(checkout) / "cleanrl" / "dqn_jax.py"

    def run(**options: Any) -> float:
        vars(tyro)["cli"] = lambda defaults: defaults(seed=seed, **options)
        begin = time.perf_counter()
        runpy.run_path(str(script), run_name="__main__")
        return time.perf_counter() - begin

    runpy.run_path(str(script))  # what it imports
    # 502 steps meet every program: acting, an update, a copy to the target network.
    cold, warm = (run(total_timesteps=502, learning_starts=0) for _ in range(2))
    return Prepared(lambda: run(total_timesteps=steps), steps, cold - warm)


def _as_before_gymnasium_1(vector: Any) -> Any:
    """`SyncVectorEnv` that resets in the step that ends an episode and says what it saw last under the older name."""

    class SyncVectorEnv(vector.SyncVectorEnv):
        def __init__(self, makers: Any) -> None:
            super().__init__(makers, autoreset_mode=vector.AutoresetMode.SAME_STEP)

        def step(self, actions: Any) -> tuple[Any, ...]:
            *seen, infos = super().step(actions)
            infos.pop("final_info", None)  # read for the log alone, in the older format
            if "final_obs" in infos:
                infos["final_observation"] = infos.pop("final_obs")
            return *seen, infos

    return SyncVectorEnv


CONTENDERS = {"purejaxrl": purejaxrl, "cleanrl": cleanrl}
