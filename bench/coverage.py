"""How often the truth lies within what a certificate of few rows says, over many small problems of many kinds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import specscale as ss
from bench.common import exact_difference, report

KINDS = (
    "a line", "a line with heavy tails", "a line with outliers", "a plane with outliers", "clusters",
    "a far group of few rows", "repeated rows", "heavy tails", "noise", "a group moved", "a copy with noise",
)  # fmt: skip
ROWS = (300, 1500)
SIZES = (20, 200)
DRAWN = (32, 64, 128, 256)
MAPS = ("landmarks", "landmarks", "fourier", "orthogonal")
ROUNDING = 1e-7  # of λ, what the estimates of kernels in float32 may be off beside

Pair = tuple[NDArray[Any], NDArray[Any]]


def run(problems: int = 500) -> None:
    rows = [row for seed in range(problems) for row in looked_at(seed)]
    table = [_line(f"{name}, {label}", part) for name, label, part in _parts(rows) if part]
    report(
        "coverage",
        table,
        f"{problems} problems of {ROWS[0]} to {ROWS[1]} rows in float32, {len(KINDS)} kinds in turn, maps with "
        f"{SIZES[0]} to {SIZES[1]} landmarks or frequencies, {DRAWN[0]} to {DRAWN[-1]} rows drawn for the certificate, "
        "σ by auto, 5 + 5 modes; the truth is the n × n operator in float64",
    )


def looked_at(seed: int) -> list[dict[str, Any]]:
    """The modes of one problem: how far ρ is off, in its standard error, and the residual's share of the true one."""
    generator = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    n = int(np.exp(generator.uniform(*np.log(ROWS))))
    pair = _pair(kind, n, generator)
    features = MAPS[int(generator.integers(len(MAPS)))]
    size = int(np.exp(generator.uniform(*np.log(SIZES))))
    drawn = min(int(generator.choice(DRAWN)), n - 1)
    result = ss.compare(*pair, features=features, size=size, certify=drawn, n_modes=5, top=1, seed=seed)
    a, b = (one["sigma"] for one in result.summary["bandwidths"].values())
    u = np.asarray(result.scores[:], dtype=np.float64)
    acted = exact_difference(*pair, (a, b)) @ u
    rayleigh = np.einsum("ij,ij->j", u, acted)
    residuals = np.linalg.norm(acted - u * result.eigenvalues, axis=0)
    out = []
    for mode, right, residual in zip(result.modes, rayleigh, residuals, strict=True):
        assert mode.rayleigh is not None
        assert mode.rayleigh_se is not None
        assert mode.residual is not None
        noise = ROUNDING * abs(mode.eigenvalue)
        out.append(
            {
                "kind": kind,
                "map": "landmarks" if features == "landmarks" else "Fourier maps",
                "drawn": drawn,
                "off": abs(mode.rayleigh - right) / (mode.rayleigh_se + noise),
                "share": (mode.residual + noise) / (residual + noise),
                "wrong": bool(mode.certified) and (mode.eigenvalue * right <= 0 or residual > abs(mode.eigenvalue)),
                "certified": bool(mode.certified),
            }
        )
    return out


def _parts(rows: list[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """What the lines of the table are over: the maps, the rows drawn, and the kinds."""
    out = []
    for name in ("landmarks", "Fourier maps"):
        out.append((name, "all problems", [row for row in rows if row["map"] == name]))
        for count in DRAWN:
            out.append((name, f"{count} drawn", [row for row in rows if row["map"] == name and row["drawn"] == count]))
    for kind in KINDS:
        out.append(("landmarks", kind, [row for row in rows if row["map"] == "landmarks" and row["kind"] == kind]))
    return out


def _line(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    off, share = (np.array([row[key] for row in rows]) for key in ("off", "share"))
    return {
        "": name,
        "modes": len(rows),
        "ρ within 3 se %": 100 * float((off <= 3).mean()),
        "within 2 se %": 100 * float((off <= 2).mean()),
        "off by se, most": float(off.max()),
        "residual ≥ half the true %": 100 * float((share >= 0.5).mean()),
        "least share": float(share.min()),
        "certified": sum(row["certified"] for row in rows),
        "of these wrong": sum(bool(row["wrong"]) for row in rows),
    }


def _clusters(n: int, p: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Six groups of unequal sizes."""
    group = generator.choice(6, n, p=generator.dirichlet(np.ones(6)))
    return 3 * generator.normal(size=(6, p))[group] + generator.uniform(0.1, 1) * generator.normal(size=(n, p))


def _pair(kind: str, n: int, generator: np.random.Generator) -> Pair:
    """Two embeddings of n rows."""
    if kind in ("a line", "a line with outliers", "a plane with outliers"):
        p = 2 if "plane" in kind else 1
        a, b = generator.normal(size=(n, p)), generator.normal(size=(n, p))
        if "outliers" in kind:
            a[generator.choice(n, max(3, n // 100), replace=False)] *= 30
    elif kind == "a line with heavy tails":
        a, b = generator.standard_t(2, size=(n, 1)), generator.standard_t(2, size=(n, 1))
    elif kind == "heavy tails":
        a, b = generator.standard_t(3, size=(n, 12)), generator.standard_t(3, size=(n, 6))
    elif kind == "noise":
        a, b = generator.normal(size=(n, 16)), generator.normal(size=(n, 24))
    else:
        a, b = _clusters(n, 8, generator), _clusters(n, 6, generator)
        if kind == "a far group of few rows":
            few = generator.choice(n, int(generator.integers(3, 12)), replace=False)
            a[few] = 50 + 0.3 * generator.normal(size=(len(few), 8))
        elif kind == "repeated rows":
            a, b = a[generator.integers(0, n // 5, n)], b[generator.integers(0, n // 5, n)]
        elif kind == "a group moved":
            b = a.copy()
            b[generator.choice(n, n // 30, replace=False)] += 4 * generator.normal(size=8)
        elif kind == "a copy with noise":
            b = a + 0.1 * generator.normal(size=a.shape)
    return a.astype(np.float32), b.astype(np.float32)
