"""What the error bars are worth: certificates against the exact operator, and standard errors against re-runs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import specscale as ss
from bench.common import exact_difference, report, text_sample, unit, workspace
from specscale.method.result import Result
from specscale.results.comparison import Mode

MODES = 10
SPREADS = (0.03, 0.3)  # of the rows of a group that is moved, where the spread of the groups' centres is 1
LESS_IS_WORSE = ("modes", "residual within 15 %", "certified")
MAPS = (("landmarks", 500), ("fourier", 1000), ("orthogonal", 1000))

Pair = tuple[NDArray[Any], NDArray[Any]]


def run(
    n: int = 10_000, few: int = 3_000, resampled: int = 2_000, seeds: int = 10, draws: int = 50, moves: int = 20
) -> None:
    with workspace() as folder:
        x, y, _, what = text_sample(folder, n)
        population = text_sample(folder, 10 * n, seed=1)[:2]
    residuals((x, y), seeds, what)
    rotated(x, few, draws, what)
    moved(x[:few], moves, what)
    bootstrap((x[:resampled], y[:resampled]), population, draws, what)


def residuals(pair: Pair, seeds: int, what: str, size: int = 1000) -> None:
    """Residuals and Rayleigh quotients of the certificate against those of the exact operator in float64."""
    sigmas = chosen_sigmas(pair)
    matrix = exact_difference(*pair, sigmas)
    table: list[dict[str, Any]] = []
    for seed in range(seeds):
        result = ss.compare(*pair, sigma=sigmas, features="landmarks", size=size, n_modes=MODES, seed=seed)
        u = np.asarray(result.scores[:], dtype=np.float64)
        acted = matrix @ u
        rayleigh = np.einsum("ij,ij->j", u, acted) / np.einsum("ij,ij->j", u, u)
        truth = np.linalg.norm(acted - u * result.eigenvalues, axis=0)
        modes = result.to_pandas()
        off = np.abs(modes["residual"].to_numpy() / truth - 1)
        ses = np.abs(modes["rayleigh"].to_numpy() - rayleigh) / modes["rayleigh_se"].to_numpy()
        table.append(
            {
                "seed": str(seed),
                "modes": len(modes),
                "residual within 15 %": int((off <= 0.15).sum()),
                "furthest %": 100 * float(off.max()),
                "ρ off by se, rms": float(np.sqrt(np.mean(ses**2))),
                "ρ off by se, most": float(ses.max()),
                "certified": int(modes["certified"].sum()),
                "true residual / λ, most": float((truth / np.abs(result.eigenvalues)).max()),
            }
        )
    columns = [column for column in table[0] if column != "seed"]
    values = {column: [row[column] for row in table] for column in columns}
    table.append({"seed": "median", **{column: float(np.median(values[column])) for column in columns}})
    worst = {column: float((min if column in LESS_IS_WORSE else max)(values[column])) for column in columns}
    table.append({"seed": "worst", **worst})
    report(
        "certificates_residuals",
        table,
        f"{len(pair[0]):,} rows of the {what} pair, landmarks {size}, 256 rows drawn; the truth is the n × n operator "
        "in float64; each seed draws landmarks and rows anew",
    )


def rotated(x: NDArray[Any], few: int, draws: int, what: str) -> None:
    """An embedding against its own rotation: every mode found is the feature map's error, none may be certified."""
    sigma = chosen_sigmas((x[:few], x[:few]))[0]
    table = []
    for features, size in MAPS:
        for rows, seeds in ((len(x), range(draws // 10)), (few, range(draws // 10, draws))):
            found, certified, largest = [], 0, 0.0
            for seed in seeds:
                turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((x.shape[1], x.shape[1])))[0]
                result = ss.compare(
                    x[:rows], x[:rows] @ turn.astype(np.float32), sigma=(sigma, sigma), features=features,
                    size=min(size, rows), n_modes=MODES, seed=seed,
                )  # fmt: skip
                found.append(len(result.modes))
                certified += sum(bool(mode.certified) for mode in result.modes)
                largest = max(largest, result.spec_diff)
            table.append(
                {
                    "map": f"{features} {size}",
                    "n": rows,
                    "seeds": len(found),
                    "modes found": sum(found),
                    "largest λ": largest,
                    "certified": certified,
                }
            )
    report(
        "certificates_rotated",
        table,
        f"{what}, the first embedding against a random rotation of itself in float32, σ {sigma:.3f} for both, so that "
        f"Λ is zero; {MODES} + {MODES} modes asked for, summed over the seeds; most seeds at n = {few:,} for time",
    )


def moved(x: NDArray[Any], seeds: int, what: str) -> None:
    """An embedding against itself with 2 % of the rows moved onto another place: where the certified modes lie."""
    table = []
    plants = {f"50 groups of spread {spread:g}": partial(_moved_group, spread=spread) for spread in SPREADS}
    for name, plant in (plants | {f"{what} rows": _moved_neighbours}).items():
        for features, size in (("landmarks", min(1000, len(x))), ("exact", None)):
            for bandwidths in ("equal", "auto"):
                counts, shares, strong = [], [], []
                for seed in range(seeds):
                    before, after, group, place = plant(x, np.random.default_rng(seed))
                    sigma: tuple[Any, Any] = ("auto", "auto")
                    if bandwidths == "equal":
                        sigma = chosen_sigmas((before, before))
                    result = ss.compare(
                        before, after, sigma=sigma, features=features, size=size, n_modes=MODES, seed=seed
                    )
                    mass = np.square(np.asarray(result.scores[:], dtype=np.float64))[group | place].sum(axis=0)
                    certified = [mode for mode in result.modes if mode.certified]
                    counts.append(len(certified))
                    shares += [float(mass[mode.mode]) for mode in certified]
                    strong += [float(mass[mode.mode]) for mode in certified if _strong(mode, result)]
                table.append(
                    {
                        "rows": name,
                        "map": features if size is None else f"{features} {size}",
                        "σ": bandwidths,
                        "seeds": seeds,
                        "certified, least": min(counts),
                        "certified, median": float(np.median(counts)),
                        "mass, least": min(shares, default=None),
                        "mass, median": float(np.median(shares)) if shares else None,
                        "strong": len(strong),
                        "mass of the strong, least": min(strong, default=None),
                    }
                )
    report(
        "certificates_moved",
        table,
        f"{len(x):,} rows of unit norm against themselves with 2 % moved: one of 50 groups of a mixture onto another's "
        "place, or the nearest neighbours of a row onto another row's; mass = Σ u² of a certified mode over the moved "
        "rows and the place (the other group, or as many of the other row's neighbours); strong are certified modes "
        "with |λ| of a tenth of SPEC-diff or more. With equal σ, K_A − K_B couples moved rows with the others alone: "
        "half of the mass of a mode is on the moved rows, the other half where the two places look different to the "
        "others. Where σ is by auto those of the two embeddings differ a little, and with them the kernels of all rows",
    )


def bootstrap(pair: Pair, population: Pair, draws: int, what: str) -> None:
    """The standard error of λ against the spread of λ over re-runs of the same kernels without any map's error."""
    table = []
    n = len(pair[0])
    for kernel, features in (("cosine", "linear"), ("gaussian", "exact")):
        sigma = chosen_sigmas(pair) if kernel == "gaussian" else ("auto", "auto")
        options: dict[str, Any] = {"kernel": kernel, "features": features, "sigma": sigma, "certify": 0}
        base = ss.compare(*pair, n_modes=MODES + 1, **options)
        separate = _separate(base.modes)
        for name, source in (("the n rows", pair), (f"{len(population[0]):,} rows", population)):
            runs = []
            for seed in range(draws):
                drawn = np.sort(np.random.default_rng(seed).integers(0, len(source[0]), n))
                again = ss.compare(*(one[drawn] for one in source), n_modes=MODES + 1, **options)
                runs.append(again.eigenvalues)
            spread = np.std(runs, axis=0, ddof=1)
            ratios = [float(spread[mode.mode] / mode.se) for mode in separate]
            table.append(
                {
                    "kernel": kernel,
                    "drawn from": name,
                    "modes": len(ratios),
                    "spread / se, median": float(np.median(ratios)) if ratios else None,
                    "least": min(ratios, default=None),
                    "most": max(ratios, default=None),
                }
            )
    report(
        "certificates_bootstrap",
        table,
        f"n = {n:,} rows of the {what} pair, {draws} re-runs on n rows drawn with replacement, the same kernels "
        f"without a map's error; of the {MODES} + {MODES} modes those whose gaps to their neighbours exceed 3 se",
    )


def chosen_sigmas(pair: Pair) -> tuple[float, float]:
    """The bandwidths that ``auto`` takes."""
    size = min(100, len(pair[0]))
    result = ss.compare(*pair, features="landmarks", size=size, n_modes=1, certify=0)
    a, b = (result.summary["bandwidths"][which]["sigma"] for which in "ab")
    return a, b


def _strong(mode: Mode, result: Result) -> bool:
    return abs(mode.eigenvalue) >= result.spec_diff / 10


def _moved_group(x: NDArray[Any], generator: np.random.Generator, spread: float) -> tuple[NDArray[Any], ...]:
    """Fifty groups of a mixture, of the shape of x: before, after the first is moved, its rows, and the place."""
    n, p = x.shape
    centres = generator.standard_normal((50, p))
    groups = generator.permutation(np.arange(n) % 50)
    noise = spread * generator.standard_normal((n, p))
    before, after = centres[groups] + noise, centres[np.where(groups == 0, 1, groups)] + noise
    return unit(before), unit(after), groups == 0, groups == 1


def _moved_neighbours(x: NDArray[Any], generator: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """The same of the rows themselves: the nearest neighbours of one row, moved onto those of another."""
    n = len(x)
    here, there = generator.choice(n, 2, replace=False)
    group, place = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    group[np.argsort(-x @ x[here])[: n // 50]] = True
    near = np.argsort(-x @ x[there])
    place[near[~group[near]][: n // 50]] = True
    after = x.copy()
    after[group] = unit(x[group] - x[group].mean(axis=0) + x[place].mean(axis=0))
    return x, after, group, place


def _separate(modes: list[Mode]) -> list[Mode]:
    """The first modes of each direction that are further than 3 se from their neighbours, the last found left out."""
    out = []
    for direction in "AB":
        found = [mode for mode in modes if mode.grouped_by == direction]
        values = np.array([mode.eigenvalue for mode in found])
        gaps = np.abs(np.diff(values))
        for i, mode in enumerate(found[: MODES if len(found) > MODES else len(found) - 1]):
            if min(gaps[max(i - 1, 0) : i + 1]) > 3 * mode.se:
                out.append(mode)
    return out
