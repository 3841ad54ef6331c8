"""Compiles kernels in CUDA C for the host, unchanged, and launches them from Python."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from specscale.kernels.sources import kernel_names

__all__ = ["COMPILER", "EmulatedKernel", "Violation", "emulated"]

COMPILER = shutil.which("g++") if sys.platform == "linux" else None  # shared memory is a section of an ELF file
_FLAGS = (
    *("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-U_FORTIFY_SOURCE"),
)
_FUSED = "-ffp-contract=fast", "-mfma"  # as on cards, where processors know such products
_HERE = Path(__file__).parent
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
            if address == isinstance(given, np.generic) or found != wanted:
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


def emulated(sources: Mapping[str, str]) -> dict[str, EmulatedKernel]:
    """The kernels of the texts of some files, each of which is a module of its own."""
    return _loaded(tuple(sources.items()))


@functools.cache
def _loaded(modules: tuple[tuple[str, str], ...]) -> dict[str, EmulatedKernel]:
    """The kernels of some modules, compiled unless some process has done so before."""
    if COMPILER is None:
        pytest.skip("there is no C++ compiler here")
    flags = (*_FLAGS, *_fused())
    own = [(_HERE / name).read_text() for name in ("cuda.hpp", "fibres.cpp", "building.py")]
    key = hashlib.sha256(repr((COMPILER, flags, own, modules)).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"specscale-emulation-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    listed = folder / f"{key}.txt"
    if not listed.exists():
        _build(modules, flags, folder, key)
    names = [line.split() for line in listed.read_text().splitlines()]
    library = ctypes.PyDLL(str(folder / f"{key}.so"))  # one launch at a time: what it keeps is static
    return {name: _kernel(library, name, meets == "meets") for name, meets in names}


def _kernel(library: ctypes.CDLL, name: str, meets: bool) -> EmulatedKernel:
    takes, launch = library[f"takes_{name}"], library[f"launch_{name}"]
    takes.restype = launch.restype = ctypes.c_char_p
    launch.argtypes = [ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint, ctypes.c_int]
    return EmulatedKernel(name, tuple(takes().decode().split()), meets, launch)


def _build(modules: tuple[tuple[str, str], ...], flags: Sequence[str], folder: Path, key: str) -> None:
    """Compile modules and list their kernels; whoever does the same at once makes the same files."""
    program, listed = ['#include "cuda.hpp"'], []
    for name, text in modules:
        kernels, meeting = kernel_names(text), _meeting(text)
        exports = "\n".join(f"EMULATED({kernel})" for kernel in kernels)
        program.append(f'namespace {Path(name).stem} {{\n#line 1 "{name}"\n{text}\n{exports}\n}}')
        listed += [f"{kernel} {'meets' if kernel in meeting else 'alone'}" for kernel in kernels]
    with tempfile.TemporaryDirectory(dir=folder) as made:
        whole, library, names = (Path(made, name) for name in ("whole.cpp", "library", "names"))
        whole.write_text("\n".join(program))
        names.write_text("\n".join(listed))
        command = [str(COMPILER), *flags, "-I", str(_HERE), str(whole), str(_HERE / "fibres.cpp"), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        os.replace(library, folder / f"{key}.so")
        os.replace(names, folder / f"{key}.txt")


def _fused() -> tuple[str, ...]:
    """The flags by which products and sums that follow them are rounded once."""
    known = Path("/proc/cpuinfo")
    return _FUSED if known.exists() and re.search(r"^flags\s.*\bfma\b", known.read_text(), re.M) else ()


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
