"""Products of matrices of rows by a library that takes columns: the order of what it is given."""

from __future__ import annotations

import ctypes
import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from specscale.kernels.cublas import Blas, rows_of

N, T = 0, 1
TYPES = {0: np.dtype(np.float32), 1: np.dtype(np.float64)}
COMPUTES = {68: "float32", 77: "tf32", 70: "float64"}


class Array(np.ndarray):  # type: ignore[type-arg]
    """Memory of a card, as CuPy tells of it."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


class Columns:
    """cublasGemmEx in NumPy, with what cuBLAS says of its arguments: all matrices are columns of some pitch."""

    CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F = COMPUTES
    CUBLAS_GEMM_DEFAULT = -1
    CUBLAS_DEFAULT_MATH = 0
    CUBLAS_FILL_MODE_LOWER, CUBLAS_FILL_MODE_UPPER = 0, 1

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.destroyed: list[int] = []

    def create(self) -> int:
        return 7

    def destroy(self, handle: int) -> None:
        self.destroyed.append(handle)

    def setMathMode(self, handle: int, mode: int) -> None:
        assert (handle, mode) == (7, 0)

    def gemmEx(
        self,
        handle: int,
        transa: int,
        transb: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        A: int,
        Atype: int,
        lda: int,
        B: int,
        Btype: int,
        ldb: int,
        beta: int,
        C: int,
        Ctype: int,
        ldc: int,
        computeType: int,
        algo: int,
    ) -> None:
        assert handle == 7
        assert min(m, n, k) > 0
        assert lda >= max(1, m if transa == N else k)
        assert ldb >= max(1, k if transb == N else n)
        assert ldc >= max(1, m)
        assert Atype == Btype == Ctype
        assert COMPUTES[computeType] == "float64" if TYPES[Atype] == np.float64 else COMPUTES[computeType] != "float64"
        one, zero = (columns(at, 1, 1, 1, TYPES[Ctype])[0, 0] for at in (alpha, beta))
        a = columns(A, *((m, k) if transa == N else (k, m)), lda, TYPES[Atype])
        b = columns(B, *((k, n) if transb == N else (n, k)), ldb, TYPES[Btype])
        c = columns(C, m, n, ldc, TYPES[Ctype])
        c[...] = one * ((a if transa == N else a.T) @ (b if transb == N else b.T)) + zero * np.nan_to_num(c)
        self.asked.append(COMPUTES[computeType])

    def ssyrk(self, *given: int) -> None:
        self._syrk(np.dtype(np.float32), *given)

    def dsyrk(self, *given: int) -> None:
        self._syrk(np.dtype(np.float64), *given)

    def _syrk(
        self,
        dtype: np.dtype[Any],
        handle: int,
        uplo: int,
        trans: int,
        n: int,
        k: int,
        alpha: int,
        A: int,
        lda: int,
        beta: int,
        C: int,
        ldc: int,
    ) -> None:
        """``C = alpha A Aᵀ + beta C``, or of Aᵀ A: one triangle of it, and the other stays as it is."""
        assert handle == 7
        assert min(n, k) > 0
        assert lda >= max(1, n if trans == N else k)
        assert ldc >= max(1, n)
        one, zero = (columns(at, 1, 1, 1, dtype)[0, 0] for at in (alpha, beta))
        a = columns(A, *((n, k) if trans == N else (k, n)), lda, dtype)
        c = columns(C, n, n, ldc, dtype)
        product = one * (a @ a.T if trans == N else a.T @ a) + zero * np.nan_to_num(c)
        triangle = np.tril if uplo == self.CUBLAS_FILL_MODE_LOWER else np.triu
        np.copyto(c, product, where=triangle(np.ones((n, n), dtype=bool)))
        self.asked.append(f"square in {dtype}")


def columns(address: int, rows: int, count: int, pitch: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A matrix at an address, of columns of some pitch."""
    numbers = (ctypes.c_byte * (dtype.itemsize * ((count - 1) * pitch + rows))).from_address(address)
    whole = np.frombuffer(numbers, dtype=dtype)
    return np.lib.stride_tricks.as_strided(whole, (rows, count), (dtype.itemsize, pitch * dtype.itemsize))


@pytest.fixture
def blas(monkeypatch: pytest.MonkeyPatch) -> Blas:
    return made(monkeypatch)


def made(monkeypatch: pytest.MonkeyPatch) -> Blas:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    runtime = SimpleNamespace(CUDA_R_32F=0, CUDA_R_64F=1)
    return Blas(SimpleNamespace(cuda=SimpleNamespace(cublas=Columns(), runtime=runtime)))


def placed(rows: int, columns: int, dtype: Any, layout: str, seed: int) -> Any:
    """A matrix as rows, as their transpose, or as some columns of a wider matrix of either."""
    turned, wider = layout.startswith("turned"), layout.endswith("wider")
    shape = (columns, rows) if turned else (rows, columns)
    whole = np.random.default_rng(seed).normal(size=(shape[0], shape[1] + 5 * wider)).astype(dtype).view(Array)
    part = whole[:, 3 : 3 + shape[1]] if wider else whole
    return part.T if turned else part


LAYOUTS = st.sampled_from(["rows", "turned", "rows wider", "turned wider"])
SIZES = st.integers(1, 7)


@pytest.mark.slow
@given(st.tuples(SIZES, SIZES, SIZES), st.tuples(LAYOUTS, LAYOUTS, LAYOUTS), st.sampled_from(["float32", "float64"]))
def test_matrices_of_rows_and_their_transposes_are_multiplied(
    sizes: tuple[int, int, int], layouts: tuple[str, str, str], dtype: str
) -> None:
    m, k, n = sizes
    with pytest.MonkeyPatch.context() as patch:
        blas = made(patch)
    left, right = placed(m, k, dtype, layouts[0], 1), placed(k, n, dtype, layouts[1], 2)
    out = placed(m, n, dtype, layouts[2], 3)
    whole = out
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    around = whole.sum() - out.sum()
    blas.multiply(left, right, out, False)
    np.testing.assert_allclose(out, np.asarray(left) @ np.asarray(right), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole.sum() - out.sum(), around, atol=1e-4)


def test_tensor_cores_are_asked_only_where_they_are_wanted(blas: Blas) -> None:
    for dtype, tensor in (("float32", False), ("float32", True), ("float64", False), ("float64", True)):
        blas.multiply(*(placed(2, 2, dtype, "rows", seed) for seed in range(3)), tensor)
    assert blas._cublas.asked == ["float32", "tf32", "float64", "float64"]


@pytest.mark.slow
@given(st.tuples(SIZES, SIZES), st.tuples(LAYOUTS, LAYOUTS), st.sampled_from(["float32", "float64"]))
def test_of_a_square_the_lower_triangle_is_written(
    sizes: tuple[int, int], layouts: tuple[str, str], dtype: str
) -> None:
    b, w = sizes
    with pytest.MonkeyPatch.context() as patch:
        blas = made(patch)
    given, out = placed(b, w, dtype, layouts[0], 1), placed(w, w, dtype, layouts[1], 2)
    whole = out
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    before = whole.copy()
    blas.square(given, out)
    found = np.array(out)
    exact, lower = np.asarray(given).T @ np.asarray(given), np.tril(np.ones((w, w), dtype=bool))
    np.testing.assert_allclose(found[lower], exact[lower], rtol=1e-5, atol=1e-5)
    out[lower] = 0
    np.testing.assert_array_equal(np.count_nonzero(whole != before), np.count_nonzero(lower))


def test_squares_of_nothing(blas: Blas) -> None:
    out = placed(3, 3, "float32", "rows", 0)
    blas.square(placed(0, 3, "float32", "rows", 1), out)
    assert (out == 0).all()
    blas.square(placed(4, 0, "float32", "rows", 1), placed(0, 0, "float32", "rows", 0))
    assert blas._cublas.asked == []
    blas.square(placed(4, 3, "float32", "rows", 1), out)
    assert blas._cublas.asked == ["square in float32"]


@pytest.mark.parametrize(
    ("given", "out", "dtypes"), [((4, 3), (4, 4), "ff"), ((4, 3), (3, 2), "ff"), ((4, 3), (3, 3), "df")]
)
def test_a_square_that_does_not_fit_is_refused(blas: Blas, given: Any, out: Any, dtypes: str) -> None:
    with pytest.raises(ValueError, match="square"):
        blas.square(np.ones(given, dtypes[0]).view(Array), np.ones(out, dtypes[1]).view(Array))


def test_products_of_nothing(blas: Blas) -> None:
    out = placed(2, 3, "float32", "rows", 0)
    blas.multiply(out[:, :0], out[:0], out, False)
    assert (out == 0).all()
    blas.multiply(out[:0], placed(3, 4, "float32", "rows", 0), placed(0, 4, "float32", "rows", 0), False)
    assert blas._cublas.asked == []


@pytest.mark.parametrize(
    ("left", "right", "out", "dtypes"),
    [
        ((2, 3), (4, 5), (2, 5), "fff"),
        ((2, 3), (3, 5), (2, 4), "fff"),
        ((2, 3), (3, 5), (5, 2), "fff"),
        ((2, 3), (3, 5), (2, 5), "fdf"),
        ((2, 3), (3, 5), (2, 5), "ddf"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_writes_elsewhere(
    blas: Blas, left: Any, right: Any, out: Any, dtypes: str
) -> None:
    with pytest.raises(ValueError, match="product"):
        blas.multiply(*(np.ones(s, t).view(Array) for s, t in zip((left, right, out), dtypes, strict=True)), False)


@pytest.mark.parametrize("index", [np.s_[:, ::2], np.s_[::-1], np.s_[None, :, 0], np.s_[0]])
def test_what_is_no_matrix_of_rows_is_refused(index: Any) -> None:
    array = np.ones((4, 6), np.float32)[index]
    if array.ndim == 2 and array.shape[0] == 1:
        assert rows_of(array) == (True, 6)
    else:
        with pytest.raises(ValueError, match="matrix of rows"):
            rows_of(array)


def test_the_handle_is_made_deterministic_and_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    blas = made(monkeypatch)
    library = blas._cublas
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    del blas
    assert library.destroyed == [7]
