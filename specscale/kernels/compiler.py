"""How the CPU kernels are compiled: every flag in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., Any])

# No `reassoc` by default: the argument reduction of the sines depends on the order that is written down.
# No `nnan`/`ninf` by default: only where a kernel has looked at its input first.
_FLAGS = {"contract", "nsz", "arcp"}


def compiled(function: F, *, finite: bool = False, reorder: bool = False) -> F:
    """Compile a kernel: serial, without the GIL, never cached on disk.

    Parameters
    ----------
    function : a function in Numba's nopython subset
    finite : promise that no argument holds a NaN or an infinity
    reorder : let the compiler reorder sums, so that it can vectorise them; the order is then a matter of the CPU type
    """
    # Serial and nogil because the runtime feeds kernels from its own threads; uncached because Numba's cache races
    # between processes and keeps stale entries.
    flags = _FLAGS | ({"nnan", "ninf"} if finite else set()) | ({"reassoc"} if reorder else set())
    decorate = numba.njit(nogil=True, fastmath=flags, error_model="numpy")
    return cast(F, decorate(function))
