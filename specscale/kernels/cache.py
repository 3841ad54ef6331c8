"""Compiled kernels kept on disk between processes.

An entry is machine code with the key that it was compiled under: what the kernel is, the types of its arguments, the
versions and settings of the compiler, the name and features of the CPU. It begins with a digest of all the rest. One
that is torn, damaged, another's, or of anything else is as if it were not there, and the kernel is compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import numpy as np
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from specscale.kernels.identity import identity
from specscale.kernels.private import PrivateFolder

__all__ = ["KernelCache", "cache_folder", "sealed", "unsealed"]

_PLACE = "SPECSCALE_CACHE_DIR"
_OFF = "off"
_MOST_FILES = 256  # some ten times what one version of the kernels has

_DIGEST = hashlib.sha256
_LENGTH = 8  # bytes that hold the length of a key


class KernelCache(NullCache):
    """
    Where Numba asks for the compiled forms of one kernel before it compiles, and leaves them after.

    Numba calls it within its own lock. Whatever fails here costs time only: the kernel is compiled.

    Parameters
    ----------
    kernel : what Numba made of a function
    """

    def __init__(self, kernel: Dispatcher) -> None:
        self._kernel = kernel

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return a kernel for some types of arguments as an earlier process compiled it, or None."""
        folder = cache_folder()
        if folder is None:
            return None
        with contextlib.suppress(Exception):  # any at all: Numba promises nothing of its internals
            key = self._key(sig, target_context.codegen())
            entry = unsealed(folder.read(_name(key)), key)
            if entry is not None:
                called, reduced = pickle.loads(entry)
                if _at_hand(called, target_context):
                    return CompileResult._rebuild(target_context, *reduced)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel for some types of arguments that was compiled."""
        folder = cache_folder()
        if folder is None:
            return
        with contextlib.suppress(Exception):
            if not (data.lifted or data.library.has_dynamic_globals):  # which would have addresses of this process
                key = self._key(sig, data.codegen)
                entry = dumps((_called(data.library), data._reduce()))  # type: ignore[no-untyped-call]
                folder.write(_name(key), sealed(entry, key))

    def _key(self, sig: Any, codegen: Any) -> bytes:
        lines = {
            "kernel": f"{self._kernel.py_func.__module__}.{self._kernel.py_func.__qualname__}",
            "code": identity(self._kernel),
            "arguments": sig,
            "numba": numba.__version__,
            "llvmlite": llvmlite.__version__,
            "llvm": llvmlite.binding.llvm_version_info,
            "numpy": np.__version__,
            "python": (sys.implementation.name, sys.version),
            "cpu": codegen.magic_tuple(),
            "settings": _settings(),
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items()).encode()


def cache_folder() -> PrivateFolder | None:
    """Return where compiled kernels are kept; None where they are not to be, or no place is the user's own."""
    place = os.environ.get(_PLACE)
    if place == _OFF or not hasattr(os, "geteuid"):
        return None
    if place:
        return PrivateFolder(Path(place, "kernels"), _MOST_FILES)
    if os.path.isabs(base := os.environ.get("XDG_CACHE_HOME", "")):
        return PrivateFolder(Path(base, "specscale", "kernels"), _MOST_FILES)
    if os.path.isabs(base := os.environ.get("HOME", "")) and os.path.isdir(base):
        return PrivateFolder(Path(base, ".cache", "specscale", "kernels"), _MOST_FILES)
    return None


def sealed(data: bytes, key: bytes) -> bytes:
    """Return an entry that holds some data under a key."""
    rest = len(key).to_bytes(_LENGTH, "little") + key + data
    return _DIGEST(rest).digest() + rest


def unsealed(entry: bytes | None, key: bytes) -> bytes | None:
    """Return what an entry holds under a key; None where it is another's, or not as it was written."""
    if entry is None:
        return None
    size = _DIGEST().digest_size
    seal, rest = entry[:size], entry[size:]
    begin = len(key).to_bytes(_LENGTH, "little") + key
    return rest[len(begin) :] if _DIGEST(rest).digest() == seal and rest.startswith(begin) else None


def _called(library: Any) -> list[str]:
    """What the machine code of a kernel calls or reads of the process that it runs in."""
    module = library._final_module
    names = {one.name for one in (*module.functions, *module.global_variables) if one.is_declaration}
    return sorted(name for name in names if not name.startswith("llvm."))


def _at_hand(called: list[str], target_context: Any) -> bool:
    """Whether this process has all of it: machine code that lacks something ends the process."""
    address = llvmlite.binding.address_of_symbol
    rtsys.initialize(target_context)
    if not all(map(address, called)):
        target_context.refresh()  # loads all that Numba has, which takes longer than all kernels do
    return all(map(address, called))


def _name(key: bytes) -> str:
    return _DIGEST(key).hexdigest()


def _settings() -> list[tuple[str, str]]:
    """What Numba was told by the environment and its file, but for what differs between runs that compile alike."""
    told = vars(numba.config).items()
    return sorted(
        (name, repr(value))
        for name, value in told
        if name.isupper() and "THREADS" not in name and name != "GDB_BINARY" and isinstance(value, (int, str))
    )
