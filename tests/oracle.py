"""Dense truths in float64, against which the engine's answers are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from specscale.features import base
from specscale.features.base import FeatureMap
from specscale.features.registry import restored_map
from specscale.kernels.base import load_kernels
from specscale.method.result import Result

Array = NDArray[np.float64]

SEPARATE = 1e-2  # of the largest |λ|: eigenvalues further apart than this are compared vector by vector


def gaussian_kernel(x: Array, sigma: float) -> Array:
    """exp(−‖u−v‖² / 2σ²) of all pairs of rows, by direct differences."""
    x = np.asarray(x, dtype=np.float64)
    squares = np.stack([((x - row) ** 2).sum(axis=1) for row in x])
    return np.exp(-squares / (2 * sigma**2))


def cosine_kernel(x: Array) -> Array:
    """u·v / ‖u‖‖v‖ of all pairs of rows."""
    x = np.asarray(x, dtype=np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def difference(kernel_a: Array, kernel_b: Array, eta: float) -> Array:
    """Λη = (K_A − η K_B) / n."""
    return (kernel_a - eta * kernel_b) / len(kernel_a)


def mapped(one: FeatureMap, x: NDArray[Any]) -> Array:
    """φ of the rows of x in float64, by the reference kernels."""
    # A float64 embedding is compared as float32.
    x = np.asarray(x, dtype=np.float32 if np.asarray(x).dtype == np.float64 else None)
    out, bad = base.mapped(one, load_kernels("reference"), x)
    assert bad == -1
    return out


def features_of(result: Result, *arrays: NDArray[Any]) -> list[Array]:
    """The float64 features of the arrays under the maps of a result."""
    return [
        mapped(restored_map(parameters, result.map_arrays(which)), x)
        for which, (parameters, x) in enumerate(zip(result.maps, arrays, strict=True))
    ]


@dataclass(frozen=True)
class Truth:
    """Eigenpairs of Λη: values (m,) ascending, unit vectors (n, m); all others are zero."""

    values: Array
    vectors: Array

    @classmethod
    def of_matrix(cls, matrix: Array) -> Truth:
        """All eigenpairs of an n × n matrix."""
        return cls(*scipy.linalg.eigh(matrix))

    @classmethod
    def of_features(cls, features: Sequence[Array], eta: float) -> Truth:
        """All non-zero eigenpairs, through the d × d problem, for n too large for the square matrix."""
        phi = np.concatenate(features, axis=1)
        signs = np.concatenate([np.ones(features[0].shape[1]), np.full(features[1].shape[1], -eta)])
        e, q = scipy.linalg.eigh(phi.T @ phi / len(phi))
        keep = e > 1e-10 * e[-1]
        root = q[:, keep] * np.sqrt(e[keep])
        values, y = scipy.linalg.eigh(root.T @ (signs[:, None] * root))
        return cls(values, phi @ ((q[:, keep] / np.sqrt(e[keep])) @ y) / np.sqrt(len(phi)))

    def leading(self, n_modes: int, least: float = 1e-5) -> Array:
        """The eigenvalues a comparison returns, in its order."""
        ends = self.values[::-1][:n_modes], self.values[:n_modes]
        return np.concatenate([ends[0][ends[0] > least], ends[1][ends[1] < -least]])

    def check(self, eigenvalues: Array, scores: NDArray[Any], n_modes: int, tolerance: float = 1e-4) -> None:
        """Assert that eigenvalues and unit scores (n, k) are the leading ones.

        Where other eigenvalues are close, the vector has to lie in the space that they span together; where none is,
        it is the vector itself, up to its sign.
        """
        expected = self.leading(n_modes)
        scale = np.abs(self.values).max()
        assert len(eigenvalues) == len(expected)
        np.testing.assert_allclose(eigenvalues, expected, rtol=tolerance, atol=tolerance * 1e-2 * scale)
        scores = np.asarray(scores, dtype=np.float64)
        np.testing.assert_allclose(np.linalg.norm(scores, axis=0), 1, atol=1e-4)
        for value, u in zip(eigenvalues, scores.T, strict=True):
            near = np.abs(self.values - value) < SEPARATE * scale
            assert near.any()
            inside = self.vectors[:, near] @ (self.vectors[:, near].T @ u)
            assert np.linalg.norm(u - inside) < 5 * tolerance / SEPARATE * 0.1, f"λ = {value}: not an eigenvector"
            if near.sum() == 1:
                np.testing.assert_allclose(u, inside, atol=tolerance * np.abs(u).max())


def check_result(result: Result, a: NDArray[Any], b: NDArray[Any], n_modes: int, tolerance: float = 1e-4) -> None:
    """Assert that a result holds the leading modes of its own feature maps, computed densely in float64."""
    features = features_of(result, a, b)
    eta = result.summary["options"]["eta"]
    if len(a) <= 2500:
        truth = Truth.of_matrix(difference(features[0] @ features[0].T, features[1] @ features[1].T, eta))
    else:
        truth = Truth.of_features(features, eta)
    truth.check(result.eigenvalues, result.scores[:], n_modes, tolerance)
