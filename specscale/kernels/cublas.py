"""Matrix products by cuBLAS, through CuPy."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.kernels.base import Array

__all__ = ["Blas", "rows_of"]


class Blas:
    """Products by cuBLAS, always of the same bits: one stream, one handle of its own and its workspace."""

    def __init__(self, cupy: Any) -> None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when a handle is made
        self._cublas = cublas = cupy.cuda.cublas
        self._handle = cublas.create()
        weakref.finalize(self, cublas.destroy, self._handle).atexit = False
        cublas.setMathMode(self._handle, cublas.CUBLAS_DEFAULT_MATH)
        self._lock = threading.Lock()
        self._kinds = {
            np.dtype(np.float32): (cupy.cuda.runtime.CUDA_R_32F, cublas.CUBLAS_COMPUTE_32F, *_one_and_zero(np.float32)),
            np.dtype(np.float64): (cupy.cuda.runtime.CUDA_R_64F, cublas.CUBLAS_COMPUTE_64F, *_one_and_zero(np.float64)),
        }
        self._squares = {np.dtype(np.float32): cublas.ssyrk, np.dtype(np.float64): cublas.dsyrk}

    def multiply(self, left: Array, right: Array, out: Array, tensor: bool) -> None:
        """Ask for ``out = left @ right``; to cuBLAS rows are columns, so that it multiplies the transposes."""
        if left.dtype != out.dtype or right.dtype != out.dtype:
            raise ValueError(f"a product of {left.dtype} and {right.dtype} is no {out.dtype}")
        if (left.shape[0], *right.shape) != (out.shape[0], left.shape[1], out.shape[1]):
            raise ValueError(f"a product of {left.shape} and {right.shape} is not {out.shape}")
        if not out.size:
            return
        if not left.size:
            out.fill(0)
            return
        transposed, out_pitch = rows_of(out)
        if transposed:
            self.multiply(right.T, left.T, out.T, tensor)
            return
        (turn_left, left_pitch), (turn_right, right_pitch) = rows_of(left), rows_of(right)
        kind, compute, one, zero = self._kinds[out.dtype]
        if tensor and out.dtype == np.float32:
            compute = self._cublas.CUBLAS_COMPUTE_32F_FAST_TF32
        with self._lock:  # it sets the handle's stream before it multiplies
            self._cublas.gemmEx(
                *(self._handle, int(turn_right), int(turn_left), right.shape[1], left.shape[0], left.shape[1]),
                *(one.ctypes.data, right.data.ptr, kind, right_pitch, left.data.ptr, kind, left_pitch),
                *(zero.ctypes.data, out.data.ptr, kind, out_pitch, compute, self._cublas.CUBLAS_GEMM_DEFAULT),
            )

    def square(self, columns: Array, out: Array) -> None:
        """Ask for the lower triangle of ``out = columns.T @ columns``, which to cuBLAS is the upper one."""
        (b, w), cublas = columns.shape, self._cublas
        if columns.dtype != out.dtype or out.shape != (w, w):
            raise ValueError(f"the square of {columns.dtype} {columns.shape} is no {out.dtype} {out.shape}")
        if not w:
            return
        if not b:
            out.fill(0)
            return
        (turn, pitch), (turn_out, out_pitch) = rows_of(columns), rows_of(out)
        _, _, one, zero = self._kinds[out.dtype]
        triangle = cublas.CUBLAS_FILL_MODE_LOWER if turn_out else cublas.CUBLAS_FILL_MODE_UPPER
        with self._lock:  # as above
            self._squares[out.dtype](
                *(self._handle, triangle, int(turn), w, b, one.ctypes.data, columns.data.ptr, pitch),
                *(zero.ctypes.data, out.data.ptr, out_pitch),
            )


def _one_and_zero(dtype: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    return np.ones(1, dtype), np.zeros(1, dtype)


def rows_of(array: Any) -> tuple[bool, int]:
    """Whether a matrix is the transpose of one of rows, and the numbers from one row to the next."""
    if array.ndim == 2:
        item = array.dtype.itemsize
        for transposed, (count, length), (step, inner) in (
            (False, array.shape, array.strides),
            (True, array.shape[::-1], array.strides[::-1]),
        ):
            if (inner == item or length == 1) and (count == 1 or (step >= length * item and step % item == 0)):
                return transposed, length if count == 1 else step // item
    raise ValueError(f"{array.shape} with strides of {array.strides} is no matrix of rows")
