"""A comparison of two stores whose rows have texts and labels, with groups that tests choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import structured
from grouped import found_groups, record, write_groups
from numpy.typing import NDArray

from specscale import compare
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.store import EmbeddingStore
from specscale.method.result import Result
from specscale.results.schema import GroupRecord
from specscale.stores.ingest import ingest

ROWS = 400
TRUTH = {0: range(60), 1: range(80, 100), 2: range(150, 250)}
"""The members of each group: a group of A's, noise of A's, and a theme of B's."""
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def likeness() -> NDArray[np.float32]:
    """Of all rows to the cores; in the first half of each group it is above 1."""
    z = np.random.default_rng(1).uniform(-0.3, 0.49, (ROWS, len(TRUTH))).astype(np.float32)
    for group, rows in TRUTH.items():
        z[rows, group] = np.linspace(1.5, 0.6, len(rows), dtype=np.float32)
    return z


def text_of(row: int) -> str:
    """What a row says: members of the first group "relating to" something."""
    words = [WORDS[(row * step) % 10] for step in (1, 3, 7)]
    return " ".join([*words, "relating to", WORDS[row % 10]] if row in TRUTH[0] else words)


def label_of(row: int) -> str:
    """The label of a row: of the theme mostly one that others have too."""
    return "plant" if row in TRUTH[2] and row % 5 else ("animal", "plant", "other")[row % 3]


def compared(
    folder: Path, columns: dict[str, Sequence[Any]] | None = None, names: tuple[str, str] = ("lsa", "minilm")
) -> Result:
    """Compare two stores in a folder, and put the groups of TRUTH into the result, ``r.spec``."""
    if columns is None:
        columns = {"key": [f"k{row}" for row in range(ROWS)], "text": [*map(text_of, range(ROWS))]}
        columns["label"] = [*map(label_of, range(ROWS))]
    pq.write_table(pa.table(columns), folder / "m.parquet")
    stores = []
    for which, name, vectors in zip("ab", names, structured(ROWS, 6, 5), strict=True):
        place = folder / f"{which}.zarr"
        ingest(vectors, place, metadata=folder / "m.parquet", id_column="key" if "key" in columns else None, name=name)
        stores.append(place)
    how: dict[str, Any] = {"features": "landmarks", "size": 20, "n_modes": 2, "top": 5, "certify": 0, "rounds": 0}
    compare(*stores, out=folder / "r.spec", **how)
    rows = PairedRows(tuple(EmbeddingStore(str(one)) for one in stores), None, Match("position", ROWS, 0, 0))
    z, groups = likeness(), []
    for found in found_groups(z, [*TRUTH], top=30):
        number = found.record.group
        near = np.setdiff1d(np.arange(ROWS), TRUTH[number])
        samples = {**found.samples, "drawn": np.array(TRUTH[number]), "drawn near": near[:150]}
        groups.append(replace(found, record=records()[number], samples=samples))
    return write_groups(folder / "r.spec", rows, z, groups)


def records() -> list[GroupRecord]:
    """What the summary says of the groups."""
    of_noise: dict[str, Any] = {"verdict": "noise", "certified": False}
    of_theme: dict[str, Any] = {
        "grouped_by": "B", "verdict": "theme", "similarity_a": 0.15, "similarity_b": 0.21, "contrast": 0.06,
        "auc_a": 0.71, "auc_b": 0.93, "edge": None,
    }  # fmt: skip
    more = (dict[str, Any](), of_noise, of_theme)
    sizes = [len(rows) for rows in TRUTH.values()]
    return [
        record(group, size, share=size / ROWS, **fields)
        for group, (size, fields) in enumerate(zip(sizes, more, strict=True))
    ]
