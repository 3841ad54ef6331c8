"""Compiles kernels in CUDA C for the host, unchanged, and launches them from Python."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["COMPILER", "EmulatedKernel", "Violation", "emulated"]

COMPILER = shutil.which("g++") or shutil.which("c++")
_FLAGS = (
    *("-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-gnu-unique"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-U_FORTIFY_SOURCE"),
)
_HERE = Path(__file__).parent
_BOUNDS = r"(?:__launch_bounds__\s*\([^)]*\)\s*)?"
_KERNEL = re.compile(rf"__global__\s+{_BOUNDS}void\s+{_BOUNDS}(\w+)\s*\(")
_FUNCTION = re.compile(r"\b(?!(?:if|for|while|switch)\b)(\w+)\s*\([^;{}()]*\)\s*\{")
_MEETING = re.compile(r"\b__sync(?:threads|warp)\b|\b__\w+_sync\b")


class Violation(AssertionError):
    """Something was done to a device that no device allows."""


@dataclass(frozen=True)
class EmulatedKernel:
    """A kernel that runs on the host.

    Attributes
    ----------
    name : its name
    takes : the types of what it takes: as NumPy writes them, "*" before those it reads by address, "&" where it writes
    meets : whether its threads wait for one another
    """

    name: str
    takes: tuple[str, ...]
    meets: bool
    _launch: Any = field(repr=False)

    def check(self, arguments: Sequence[Any]) -> None:
        """Refuse arguments that are not of the types that it takes."""
        if len(arguments) != len(self.takes):
            raise TypeError(f"{self.name} takes {len(self.takes)} arguments, not {len(arguments)}")
        for number, (given, wanted) in enumerate(zip(arguments, self.takes, strict=True)):
            address, wanted = wanted[0] in "*&", wanted.lstrip("*&")
            found = given.dtype.str[1:].replace("f2", "u2") if hasattr(given, "dtype") else type(given).__name__
            if address == isinstance(given, np.generic) or (found != wanted and not (address and wanted == "any")):
                raise TypeError(f"argument {number} of {self.name} is {found}, where it takes {self.takes[number]}")

    def launch(self, blocks: int, threads: int, arguments: Sequence[int | np.generic], order: int = 0) -> None:
        """Run it, to its end, with addresses and NumPy scalars."""
        slots = np.zeros(len(arguments), dtype=np.uint64)
        for slot, given in zip(slots[:, None].view(np.uint8), arguments, strict=True):
            value = given if isinstance(given, np.generic) else np.uint64(given)
            slot[: value.nbytes] = np.frombuffer(value.tobytes(), dtype=np.uint8)
        addresses = slots.ctypes.data + 8 * np.arange(len(arguments), dtype=np.uint64)
        failed = self._launch(ctypes.c_void_p(addresses.ctypes.data), blocks, threads, order, int(self.meets))
        if failed:
            raise Violation(f"{self.name}: {failed.decode()}")


def emulated(sources: Iterable[Path]) -> dict[str, EmulatedKernel]:
    """The kernels of some files, each of which is a module of its own."""
    found: dict[str, EmulatedKernel] = {}
    for source in sources:
        found |= _loaded(source, source.read_text())
    return found


@functools.cache
def _loaded(source: Path, text: str) -> dict[str, EmulatedKernel]:
    """The kernels of a file, compiled unless some process has done so before."""
    own = [(_HERE / name).read_text() for name in ("cuda.hpp", "fibres.cpp", "building.py")]
    key = hashlib.sha256("\0".join([str(COMPILER), *_FLAGS, *own, source.name, text]).encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"specscale-emulation-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library, listed = (folder / f"{source.stem}-{key[:32]}.{ending}" for ending in ("so", "txt"))
    if not listed.exists():
        _build(source.name, text, folder, library, listed)
    names = [line.split() for line in listed.read_text().splitlines()]
    loaded = ctypes.CDLL(str(library))
    return {name: _kernel(loaded, name, meets == "meets") for name, meets in names}


def _kernel(loaded: ctypes.CDLL, name: str, meets: bool) -> EmulatedKernel:
    takes, launch = loaded[f"takes_{name}"], loaded[f"launch_{name}"]
    takes.restype = launch.restype = ctypes.c_char_p
    launch.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
    return EmulatedKernel(name, tuple(takes().decode().split()), meets, launch)


def _build(name: str, text: str, folder: Path, library: Path, listed: Path) -> None:
    """Compile a file and list its kernels; whoever does the same at once makes the same files."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        source = Path(made, f"{name}.cpp")
        source.write_text(text)
        expanded = _ran("-E", "-P", source)
        kernels = _KERNEL.findall(expanded)
        meeting = _meeting(expanded)
        exports = "\n".join(f"EMULATED({kernel})" for kernel in kernels)
        source.write_text(f'#include "cuda.hpp"\n#line 1 "{name}"\n{text}\n{exports}\n')
        _ran(*_FLAGS, "-I", _HERE, source, _HERE / "fibres.cpp", "-o", Path(made, "library"))
        lines = [f"{kernel} {'meets' if kernel in meeting else 'alone'}" for kernel in kernels]
        Path(made, "listed").write_text("\n".join(lines))
        os.replace(Path(made, "library"), library)
        os.replace(Path(made, "listed"), listed)


def _ran(*arguments: Any) -> str:
    done = subprocess.run([str(COMPILER), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _meeting(text: str) -> set[str]:
    """The functions whose threads wait for one another, in themselves or in what they call."""
    bodies = {one[1]: _body(text, one.end()) for one in _FUNCTION.finditer(text)}
    found = {name for name, body in bodies.items() if _MEETING.search(body)}
    while more := {name for name, body in bodies.items() if name not in found and found & {*re.findall(r"\w+", body)}}:
        found |= more
    return found


def _body(text: str, begin: int) -> str:
    """What is between a brace that ends before `begin` and the one that closes it."""
    depth = 1
    for brace in re.finditer(r"[{}]", text[begin:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return text[begin : begin + brace.start()]
    raise ValueError("a brace is not closed")
