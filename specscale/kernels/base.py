"""What a backend is: the operations of a sweep, and the memory that they work in.

``reference`` is NumPy in float64 and defines what each operation means; ``cpu`` is Numba and BLAS in float32, ``cuda``
a card. A backend is loaded by name when it is first needed, so that importing the package compiles nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from specscale.errors import OptionError

__all__ = ["BACKENDS", "Array", "Kernels", "Product", "RunTasks", "Task", "load_kernels"]

BACKENDS = {
    "reference": "specscale.kernels.reference:ReferenceKernels",
    "cpu": "specscale.kernels.cpu:CpuKernels",
    "cuda": "specscale.kernels.card:CardKernels",
    "cuda-tf32": "specscale.kernels.card:TensorKernels",
    "cuda-3xtf32": "specscale.kernels.card:SplitKernels",
}

Array = Any
"""An array in the memory of a backend. Beside the backend's operations it knows its shape and dtype, slices and their
assignment from arrays of the backend, ``T``, ``reshape``, ``fill``, ``+=`` and ``*=``, and is nothing else for sure."""

Product = Literal["landmarks", "map", "covariance", "scores", "exact"]
"""What a large product is for: Gram products with landmarks, whitening or angles, the covariance, scores, and the exact
kernels of refinement and of the exact operator."""

Task = Callable[[], None]
RunTasks = Callable[[Sequence[Task]], None]


class Kernels(ABC):
    """A backend. Its state is scratch alone: it travels to other processes as its name.

    Arrays are C-contiguous in their last axis; outputs are written in place. Operations take arrays of the backend,
    and on a device may still be under way when they return: `get` waits for them.

    Attributes
    ----------
    name : what `load_kernels` knows it by
    real : the floating type of features, tiles and scores
    slice_rows : rows of a block that one task maps to features
    anchor_tile : anchors whose exact kernel with a slice of rows is held at once
    apart : whether its memory is not the host's, so that blocks have to be put there
    """

    name: ClassVar[str]
    real: ClassVar[type[np.floating[Any]]]
    slice_rows: ClassVar[int]
    anchor_tile: ClassVar[int]
    apart: ClassVar[bool]

    def __reduce__(self) -> tuple[Callable[[str], Kernels], tuple[str]]:
        return load_kernels, (self.name,)

    # Memory

    @property
    @abstractmethod
    def host(self) -> Kernels:
        """The backend for what stays in host memory: this one where it is not apart."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of undefined contents."""

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Make an array of zeros."""

    @abstractmethod
    def pinned(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Make an array in host memory that `feed` reads fast; its contents are undefined."""

    @abstractmethod
    def feed(self, array: NDArray[Any]) -> Array:
        """Bring rows into the backend's memory beside the work that is under way, and wait until they are there.

        Where the backend is not apart it is the same array.

        Parameters
        ----------
        array : in memory that `pinned` made; when this returns it may be overwritten
        """

    @abstractmethod
    def spent(self, array: Array) -> None:
        """Take back what `feed` brought, now that all that reads it has been asked for: other rows may be fed there."""

    @abstractmethod
    def put(self, array: NDArray[Any]) -> Array:
        """Bring an array of the host into the backend's memory, before what is asked for next.

        When this returns, the host's may be overwritten. Where the backend is not apart it is the same array.
        """

    @abstractmethod
    def fetch(self, array: Array, *, last: bool = False) -> Callable[[], NDArray[Any]]:
        """Begin to bring an array into host memory, as it is after all that has been asked for so far.

        Parameters
        ----------
        array : whose numbers lie one behind the other
        last : whether nothing is written there any more, so that it may come beside what is asked for next

        Returns
        -------
        Callable
            Waits for the copy and returns it, which nobody else holds.
        """

    @abstractmethod
    def get(self, array: Array) -> NDArray[Any]:
        """Bring an array into host memory, once all that writes it is done; one that is there already stays."""

    @abstractmethod
    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return this thread's scratch of some name: undefined contents, and the same memory at each call."""

    @abstractmethod
    def release(self) -> None:
        """Free the scratch of all threads, none of which is at work."""

    @abstractmethod
    def free_memory(self) -> int | None:
        """Bytes that are free of the backend's memory; None where it is the host's."""

    def peak_memory(self) -> int | None:
        """The most bytes of its memory that arrays took at once so far; None where it is the host's."""
        return None

    @property
    def card(self) -> str | None:
        """What the card is called whose memory it is; None where it is the host's."""
        return None

    # Work

    @abstractmethod
    def bearing(self, product: Product) -> Kernels:
        """The same backend with products in the precision that this one bears; itself where there is one alone."""

    @property
    def unrounded(self) -> Kernels:
        """The same backend with no product by tensor cores; itself where none is."""
        return self

    @abstractmethod
    def warm_up(self) -> None:
        """Compile every kernel, so that no pass waits for the compiler."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], run: RunTasks) -> None:
        """Run tasks that touch disjoint memory; a backend that is apart is asked for them in their order.

        Parameters
        ----------
        tasks : the tasks
        run : runs tasks on the threads of this process
        """

    @abstractmethod
    def calibrate(self, threads: int, run: RunTasks) -> float:
        """Measure operations a second of large matrix products, for a tenth of a second.

        Parameters
        ----------
        threads : threads that `run` has
        run : as in :meth:`run`
        """

    # Operations

    @abstractmethod
    def affine(self, raw: Array, shift: Array, factor: Array, out: Array, bad: Array) -> None:
        """Write ``(raw − shift) · factor`` row by row.

        Parameters
        ----------
        raw : (b, p) float16, float32 or float64
        shift, factor : (p,) float64
        out : (b, p) real or float64
        bad : (1,) int64, the first row that holds a NaN or an infinity, here or there; left alone where there is none,
            or where it is not negative before
        """

    @abstractmethod
    def standardise(self, raw: Array, centre: Array, unit: bool, out: Array, bad: Array) -> None:
        """Write ``raw / ‖raw‖ − centre`` (or ``raw − centre``) row by row, and zeros for bad rows.

        Parameters
        ----------
        raw : (b, p) float16, float32 or float64
        centre : (p,) as `out`
        unit : divide each row by its norm first
        out : (b, p) real, or float64 for rows of which float32 does not hold what counts; may be `raw`
        bad : (1,) int64, the first row that holds a NaN or an infinity, or that has no direction though `unit` asks
            for one; left alone where there is none, or where it is not negative before
        """

    @abstractmethod
    def fourier(self, x: Array, frequencies: Array, out: Array) -> None:
        """Write ``[cos xW, sin xW] / √m`` for x (b, p), W (p, m) into out (b, 2m).

        x and W are real or, where float32 does not hold the angles, both float64; out is real.
        """

    @abstractmethod
    def gaussian(self, x: Array, points: Array, halves: Array, rate: float, out: Array) -> None:
        """Write the Gaussian kernel exp(−rate ‖x_i − z_j‖²) of rows x_i and points z_j, from their Gram products.

        Parameters
        ----------
        x : (b, p) real, or float64 with the points and halves, where float32 does not hold the distances
        points : (p, r) as x, 2 rate z_j in column j
        halves : (r,) as x, rate ‖z_j‖²
        rate : 1 / 2σ²
        out : (b, r) real, between 0 and 1; 0 where lengths are beyond the floating type
        """

    @abstractmethod
    def gram_tile(self, left: Array, right: Array, product: Array, total: Array) -> None:
        """Add ``leftᵀ right`` to the float64 `total` (w, v), by way of `product` (w, v) real, which is overwritten.

        left is (b, w) and right (b, v), columns of one feature block; where both are the same columns only the lower
        triangle of `total` is defined.
        """

    @abstractmethod
    def project(self, features: Array, coefficients: Array, out: Array) -> None:
        """Write the scores ``features @ coefficients``: (b, d) by (d, k) into (b, k)."""

    @abstractmethod
    def remains(self, values: Array, out: Array) -> None:
        """Write what the largest of kernel values (b, r) leaves, (1 − max_j |v_ij|²)², into out (b,) float64."""

    @abstractmethod
    def moments(self, scores: Array, acted: Array, sums: Array) -> None:
        """Write Σu², Σu⁴, Σu³v and Σu²v² of the columns u of scores and v of acted (b, k) into sums (4, k) float64."""

    @abstractmethod
    def keep_tails(self, scores: Array, numbers: Array, strengths: Array, rows: Array) -> None:
        """Update the top members of both tails of each mode.

        Parameters
        ----------
        scores : (b, k) real
        numbers : (b,) int64, the row numbers of these scores, ascending and above those that are in `rows` already
        strengths : (2, k, top) float64, the largest scores so far, and the largest negated scores, descending; of
            equals the lower row stays first. Only positive strengths count; an empty place is 0
        rows : (2, k, top) int64, their row numbers, −1 in an empty place
        """


def load_kernels(backend: str = "cpu") -> Kernels:
    """Return the kernels of a backend, as ``"cpu"``, ``"cuda"`` or ``"reference"``.

    Raises
    ------
    OptionError
        When there is no backend of that name.
    DeviceError
        When it is that of a card, and there is none or nothing that can use it.
    """
    if backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    return cast(Kernels, resolve_name(BACKENDS[backend])())
