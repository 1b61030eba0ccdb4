"""The strictest JAX there is, for every test; `precision` runs the mathematics in float32 and in float64."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

# One device, one core for each worker: workers of pytest-xdist share the machine.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compilation is most of what tests cost. XLA's older way from fusions to machine code takes half the time, in one piece;
# jaxlib 0.11 has it no more, and dies of a flag that it does not know.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    os.environ["XLA_FLAGS"] = " ".join(
        [
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
        ]
    )

# Most of it runs once, so it is compiled without optimising the machine code, in processes that tests start too: what a
# program means is tested here. Where the bits or the speed of what users get matter, `optimised` turns it on again.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax
from jax._src.interpreters import mlir

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_debug_key_reuse", True)

# Every `jax.jit` compiles anew. What this process has compiled before, down to the same HLO, it loads: the same machine code,
# however little it is, for most are single operations. Of one process and one run, so that nothing stale or half-written is
# read.
COMPILED = tempfile.TemporaryDirectory(prefix="rljax-tests-")
atexit.register(COMPILED.cleanup)
jax.config.update("jax_compilation_cache_dir", COMPILED.name)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# For every program that it lowers JAX makes a new MLIR context with all its dialects: a fifth of a small one's time. One will
# do; private to JAX, so let alone where it is called otherwise.
if hasattr(mlir, "make_ir_context"):
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)


# Traces are many small objects that live on: looking through them for garbage again and again took a fifth of the time.
gc.freeze()
gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True, scope="module")
def nothing_kept() -> Iterator[None]:
    """Forgets after each file what JAX keeps of it: gigabytes in the end, which the garbage collector walks ever again."""
    yield
    jax.clear_caches()
    getattr(mlir.make_ir_context, "cache_clear", int)()


@pytest.fixture
def optimised() -> Iterator[None]:
    """Compiles as users do."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Runs the test twice; the value says whether 64-bit floats are on."""
    with jax.enable_x64(request.param):
        yield request.param


@pytest.fixture
def float64() -> Iterator[None]:
    """With 64-bit floats on."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def keyless() -> Iterator[None]:
    """For mathematics that draws nothing: to look for keys used twice bars the fast way into compiled functions."""
    with jax.debug_key_reuse(False):
        yield


@pytest.fixture
def standard_promotion() -> Iterator[None]:
    """optax's adam raises a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made but not painted, for tests of numbers: each file is a picture of two points."""
    picture = Image.frombytes("L", (2, 1), b"\x00\xff")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, file, **__: picture.save(file, "png"))


@pytest.fixture
def as_users_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """JAX as it comes, in an empty folder: for commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLJAX_TRACEBACK", raising=False)
    with jax.numpy_dtype_promotion("standard"), jax.debug_key_reuse(False):
        yield
