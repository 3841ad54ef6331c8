"""What makes a kernel another one."""

from __future__ import annotations

import cProfile
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import fresh

from specscale.kernels.compiler import compiled
from specscale.kernels.identity import identity

SOURCE = """
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from specscale.kernels.compiler import compiled

SHIFT = np.float32(1)

@intrinsic
def same(context, x):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())
    return types.float32(types.float32), generate

@compiled
def inner(x):
    return same(x) + SHIFT

@compiled
def kernel(x, y=2):
    return inner(x) * np.float32(3) if y else inner(-x)
"""


def made(source: str = SOURCE, file: str = "kernels.py") -> Any:
    module = types.ModuleType("kernels")
    exec(compile(source, file, "exec"), vars(module))
    return module.kernel  # type: ignore[attr-defined]


def test_the_same_code_is_the_same_kernel_wherever_it_stands() -> None:
    assert identity(made()) == identity(made("\n\n" + SOURCE + "\nunrelated = 1\n", "elsewhere.py"))


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("np.float32(3)", "np.float32(4)"),
        ("np.float32(3)", "np.float64(3)"),
        ("SHIFT = np.float32(1)", "SHIFT = np.float32(1.0000001)"),
        ("SHIFT = np.float32(1)", "SHIFT = np.float64(1)"),
        ("same(x) + SHIFT", "same(x) - SHIFT"),
        ("builder.bitcast(", "builder.bitcast(*"),
        ("ir.FloatType()", "ir.DoubleType()"),
        ("y=2", "y=3"),
        ("inner(-x)", "inner(+x)"),
        ("@compiled\ndef inner", "from functools import partial\n@partial(compiled, reorder=True)\ndef inner"),
        ("@compiled\ndef kernel", "from functools import partial\n@partial(compiled, finite=True)\ndef kernel"),
    ],
)
def test_whatever_is_compiled_into_it_makes_it_another(part: str, other: str) -> None:
    assert part in SOURCE
    assert identity(made(SOURCE.replace(part, other))) != identity(made())


@pytest.mark.process
def test_it_is_the_same_in_every_process() -> None:
    code = "from tiny import fresh; from specscale.kernels.identity import identity; print(identity(fresh()))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "17"},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == identity(fresh())


def test_a_profiler_changes_nothing() -> None:
    kernel = made()
    before = identity(kernel)
    profiler = cProfile.Profile()
    profiler.runcall(lambda: kernel(np.float32(1)))
    assert identity(kernel) == before


@pytest.mark.parametrize("read", [object(), np.random.default_rng(0), types.ModuleType("ours")])
def test_what_cannot_be_described_is_refused(read: Any) -> None:
    def kernel() -> Any:
        return read

    with pytest.raises(TypeError, match="cannot be said"):
        identity(compiled(kernel))


def test_kernels_that_call_themselves_are_described() -> None:
    head, body = "from specscale.kernels.compiler import compiled\n@compiled\n", "kernel(n):\n    return kernel(n - 1)"
    assert identity(made(head + "def " + body)) == identity(made(head + "def " + body))
    assert identity(made(head + "def " + body)) != identity(made(head + "def " + body + " + 1"))
