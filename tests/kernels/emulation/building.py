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
_CALL = re.compile(r"\b(\w+)\s*(?:<[^;(){}]*>)?\(")
_MEETING = re.compile(r"__sync(?:threads|warp)|__\w+_sync")


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
    return _loaded(tuple((source.stem, source.read_text()) for source in sources))


@functools.cache
def _loaded(modules: tuple[tuple[str, str], ...]) -> dict[str, EmulatedKernel]:
    """The kernels of some modules, compiled unless some process has done so before."""
    own = [(_HERE / name).read_text() for name in ("cuda.hpp", "fibres.cpp", "building.py")]
    key = hashlib.sha256(repr((COMPILER, own, modules)).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"specscale-emulation-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    listed = folder / f"{key}.txt"
    if not listed.exists():
        _build(modules, folder, key)
    names = [line.split() for line in listed.read_text().splitlines()]
    library = ctypes.CDLL(str(folder / f"{key}.so"))
    return {name: _kernel(library, name, meets == "meets") for name, meets in names}


def _kernel(library: ctypes.CDLL, name: str, meets: bool) -> EmulatedKernel:
    takes, launch = library[f"takes_{name}"], library[f"launch_{name}"]
    takes.restype = launch.restype = ctypes.c_char_p
    launch.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
    return EmulatedKernel(name, tuple(takes().decode().split()), meets, launch)


def _build(modules: tuple[tuple[str, str], ...], folder: Path, key: str) -> None:
    """Compile modules and list their kernels; whoever does the same at once makes the same files."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        program, listed = ['#include "cuda.hpp"'], []
        for name, text in modules:
            source = Path(made, f"{name}.cpp")
            source.write_text(text)
            expanded = _ran("-E", "-P", source)
            kernels, meeting = _KERNEL.findall(expanded), _meeting(expanded)
            exports = "\n".join(f"EMULATED({kernel})" for kernel in kernels)
            program.append(f'namespace {name} {{\n#line 1 "{name}.cu"\n{text}\n{exports}\n}}')
            listed += [f"{kernel} {'meets' if kernel in meeting else 'alone'}" for kernel in kernels]
        whole = Path(made, "whole.cpp")
        whole.write_text("\n".join(program))
        _ran(*_FLAGS, "-I", _HERE, whole, _HERE / "fibres.cpp", "-o", Path(made, "library"))
        Path(made, "listed").write_text("\n".join(listed))
        os.replace(Path(made, "library"), folder / f"{key}.so")
        os.replace(Path(made, "listed"), folder / f"{key}.txt")


def _ran(*arguments: Any) -> str:
    done = subprocess.run([str(COMPILER), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _meeting(text: str) -> set[str]:
    """The functions whose threads wait for one another, in themselves or in what they call."""
    called: dict[str, set[str]] = {}
    for one in _FUNCTION.finditer(text):
        called.setdefault(one[1], set()).update(_CALL.findall(_body(text, one.end())))
    found = {name for name, calls in called.items() if any(map(_MEETING.fullmatch, calls))}
    while more := {name for name, calls in called.items() if name not in found and found & calls}:
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
