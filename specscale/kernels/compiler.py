"""How the CPU kernels are compiled: every flag in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from specscale.kernels.cache import KernelCache

__all__ = ["compiled"]

F = TypeVar("F", bound=Callable[..., Any])

# No `reassoc` by default: the argument reduction of the sines depends on the order that is written down.
# No `nnan`/`ninf` by default: only where a kernel has looked at its input first.
_FLAGS = {"contract", "nsz", "arcp"}


def compiled(function: F, *, finite: bool = False, reorder: bool = False) -> F:
    """Compile a kernel: serial, without the GIL, once for all processes of this user.

    Parameters
    ----------
    function : a function in Numba's nopython subset
    finite : promise that no argument holds a NaN or an infinity
    reorder : let the compiler reorder sums, so that it can vectorise them; the order is then a matter of the CPU type
    """
    # Serial and nogil because the runtime feeds kernels from its own threads.
    flags = _FLAGS | ({"nnan", "ninf"} if finite else set()) | ({"reassoc"} if reorder else set())
    kernel: Any = numba.njit(nogil=True, fastmath=flags, error_model="numpy")(function)
    if hasattr(kernel, "py_func"):  # not where Numba is told to compile nothing
        kernel._cache = KernelCache(kernel)  # Numba's own races between processes and keeps stale entries
    return cast(F, kernel)
