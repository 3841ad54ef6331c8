"""Groups planted in random vectors, to see whether a comparison finds what was put there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from specscale.demo.place import Demo
from specscale.errors import OptionError, SpecscaleError
from specscale.insight.found import found_groups
from specscale.method.result import Result

__all__ = ["GROUPS", "ROWS", "Batch", "Finding", "check", "draw_batches", "run_planted"]

ROWS = 100_000
LEAST_ROWS = 5_000
# The group's name says which embedding holds it together; its share of the rows is all that sets its eigenvalue, and
# shares differ so that no two groups share an eigenvalue, whose modes could be any mixture of them.
GROUPS = {"A1": 0.060, "A2": 0.048, "A3": 0.036, "B1": 0.054, "B2": 0.042}
_CLUSTERS = 24  # in both embeddings
_DIMENSIONS = {"A": 32, "B": 48}
_SPREAD = 0.25  # within a cluster, per dimension; centres have 1
_BATCH_ROWS = 65_536
# Less than the share of the largest group: a kernel that sees the groups and merges no two of them.
_SIGMA = "top=0.04"
_SIZE = 256
_JACCARD = 0.9


@dataclass(frozen=True)
class Batch:
    """Some rows of both embeddings.

    Attributes
    ----------
    a, b : (rows, 32) and (rows, 48) float16
    cluster : (rows,) the cluster of each row in the embedding that does not hold its group together
    group : (rows,) position in GROUPS of the planted group, -1 for none
    """

    a: NDArray[np.float16]
    b: NDArray[np.float16]
    cluster: NDArray[np.int64]
    group: NDArray[np.int64]


@dataclass(frozen=True)
class Finding:
    """What was found of one planted group.

    Attributes
    ----------
    planted : its name
    group : number of the group that matches best; None when its embedding has none
    size : members of that group
    jaccard : rows that are in both, over rows that are in either
    """

    planted: str
    group: int | None
    size: int
    jaccard: float

    @property
    def found(self) -> bool:
        """Whether nearly the same rows were found."""
        return self.jaccard >= _JACCARD


def draw_batches(rows: int, seed: int) -> Iterator[Batch]:
    """Draw the mixture, a batch at a time.

    Rows come from 24 clusters that both embeddings share, but for those of a planted group: in its own embedding these
    are one more cluster, in the other they are spread over the 24.

    Parameters
    ----------
    rows : rows in all
    seed : key of the counter-based generator; a full batch depends on it and on its own number alone

    Yields
    ------
    Batch
        Of 65,536 rows, the last of fewer.
    """
    names = list(GROUPS)
    shares = np.cumsum([*GROUPS.values(), 1.0])
    shares[-1] = 1.0
    generator = _generator(seed, 0)
    centres = {one: generator.standard_normal((_CLUSTERS + len(names), p)) for one, p in _DIMENSIONS.items()}
    for number, start in enumerate(range(0, rows, _BATCH_ROWS), start=1):
        count = min(_BATCH_ROWS, rows - start)
        generator = _generator(seed, number)
        cluster = generator.integers(_CLUSTERS, size=count)
        group = np.searchsorted(shares, generator.random(count), side="right")
        group[group == len(names)] = -1
        vectors = {}
        for one, p in _DIMENSIONS.items():
            own = np.array([name.startswith(one) for name in names] + [False])[group]
            noise = generator.standard_normal((count, p), dtype=np.float32)
            centre = centres[one].astype(np.float32)[np.where(own, _CLUSTERS + group, cluster)]
            vectors[one] = (centre + np.float32(_SPREAD) * noise).astype(np.float16)
        yield Batch(vectors["A"], vectors["B"], cluster, group)


def run_planted(demo: Demo, *, rows: int = ROWS, seed: int = 0) -> Result:
    """Plant three groups in A and two in B, compare, and check that they are found, row by row.

    Parameters
    ----------
    demo : where to write, and how to report
    rows : rows in all
    seed : seed of the vectors and of the comparison

    Returns
    -------
    Result
        In ``OUT/planted.spec``, beside the stores ``a.zarr`` and ``b.zarr``.

    Raises
    ------
    OptionError
        When `rows` is too small.
    SpecscaleError
        When a planted group is not found.
    """
    if rows < LEAST_ROWS:
        raise OptionError(f"--rows {rows}: the planted demo needs at least {LEAST_ROWS:,}")
    demo.begin()
    demo.say(f"drawing {rows:,} rows, {len(GROUPS)} planted groups among {_CLUSTERS} common clusters")
    vectors = {one: demo.out / f"{one.lower()}.npy" for one in _DIMENSIONS}
    metadata = demo.out / "planted.parquet"
    _write(draw_batches(rows, seed), rows, vectors, metadata)
    a, b = (demo.store(path, metadata, one.lower()) for one, path in vectors.items())
    result = demo.compare(a, b, "planted", sigma=(_SIGMA, _SIGMA), size=_SIZE, n_modes=6, seed=seed)
    import pyarrow.parquet as pq

    findings = check(result, pq.read_table(metadata).column("planted").to_numpy())
    demo.say(f"\n{'planted group':<15}{'share':>7}{'group':>7}{'rows':>12}{'Jaccard':>10}")
    for one in findings:
        demo.say(
            f"{one.planted:<15}{GROUPS[one.planted]:>7.1%}{'-' if one.group is None else one.group:>7}"
            f"{one.size:>12,}{one.jaccard:>10.3f}   {'found' if one.found else 'NOT FOUND'}"
        )
    missed = [one.planted for one in findings if not one.found]
    if missed:
        raise SpecscaleError(
            f"{result.path}: {len(missed)} of {len(findings)} planted groups not found ({', '.join(missed)}): "
            f"no group of their embedding has a Jaccard index of {_JACCARD} with them"
        )
    return result


def check(result: Result, planted: NDArray[Any]) -> list[Finding]:
    """Match every planted group with a group of its embedding.

    Parameters
    ----------
    result : a comparison of the planted vectors
    planted : (n,) the name of each row's planted group, empty for none

    Returns
    -------
    list of Finding
        In the order of GROUPS.
    """
    findings = []
    for name in GROUPS:
        truth = planted == name
        best = Finding(name, None, 0, 0.0)
        for group in found_groups(result, name[0]):
            both = int(np.count_nonzero(truth[group.rows()]))
            jaccard = both / (np.count_nonzero(truth) + group.size - both)
            if jaccard > best.jaccard:
                best = Finding(name, group.group, group.size, jaccard)
        findings.append(best)
    return findings


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, number]))


def _write(batches: Iterator[Batch], rows: int, vectors: dict[str, Path], metadata: Path) -> None:
    """Write the vectors as .npy and the truth as Parquet, holding one batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = np.array([*GROUPS, ""])  # the last is that of group -1
    schema = pa.schema([("planted", pa.string()), ("cluster", pa.int16())])
    with (
        vectors["A"].open("wb") as file_a,
        vectors["B"].open("wb") as file_b,
        pq.ParquetWriter(metadata, schema) as table,
    ):
        _header(file_a, (rows, _DIMENSIONS["A"]))
        _header(file_b, (rows, _DIMENSIONS["B"]))
        for batch in batches:
            batch.a.tofile(file_a)
            batch.b.tofile(file_b)
            columns: list[Any] = [pa.array(names[batch.group]), pa.array(batch.cluster.astype(np.int16))]
            table.write_table(pa.table(columns, schema=schema))


def _header(file: BinaryIO, shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
    )
