"""Results with groups that tests choose, whatever a comparison finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.rows import PairedRows
from specscale.method.result import Result, open_result
from specscale.places.files import located
from specscale.results.group_writer import FoundGroup
from specscale.results.schema import GroupRecord
from specscale.results.writing import ResultWriter


def record(group: int, size: int, **fields: Any) -> GroupRecord:
    """What a summary may say of a group."""
    values: dict[str, Any] = {
        "grouped_by": "A", "verdict": "group", "certified": True, "found_in": [f"A{group}+"], "share": 0.1,
        "core": [1, 3], "background": 0.1, "level": 0.5, "threshold": 0.35,
        "similarity_a": 0.8, "similarity_a_se": 0.01, "similarity_b": 0.2, "similarity_b_se": 0.02,
        "estimate_error": 0.0, "background_a": 0.1, "background_b": 0.15, "contrast": 0.65, "contrast_se": 0.03,
        "auc_a": 0.99, "auc_b": 0.6, "held_out_size": size // 2, "held_out_contrast": 0.6, "held_out_se": 0.04,
        "null_contrast": 0.01, "distinct": float(size), "edge": 0.1, "merged": [],
    }  # fmt: skip
    return GroupRecord(group=group, size=size, **{**values, **fields})


def found_groups(likeness: NDArray[np.float32], columns: Sequence[int], top: int = 5) -> list[FoundGroup]:
    """Groups of some columns of the likeness of all rows to candidates, the last of which is B's."""
    found = []
    for group, column in enumerate(columns):
        z = likeness[:, column].astype(np.float64)
        order = np.argsort(np.where(np.isnan(z), np.inf, -z), kind="stable")
        members, others = order[z[order] >= 0.5], order[z[order] < 0.5]
        drawn = np.sort(members)[::2][:top]
        samples = {"member": members[:top], "near": others[:top], "drawn": drawn, "drawn near": np.array([-1])}
        last = group == len(columns) - 1
        one = record(group, len(members), grouped_by="B" if last else "A", verdict="theme" if last else "group")
        found.append(FoundGroup(one, column, {kind: rows.astype(np.int64) for kind, rows in samples.items()}))
    return found


def write_groups(
    place: str | Path, rows: PairedRows, likeness: NDArray[np.float32], found: Sequence[FoundGroup] | None
) -> Result:
    """Put groups into a result: `likeness` is (n, candidates); None for a result that did not look for any."""
    result = open_result(place)
    writer = ResultWriter(located(place), rows.n, cast(Any, SimpleNamespace(eigenvalues=result.eigenvalues)))
    checksums = dict(result.record.checksums)
    if found is not None:
        writer.groups(found, rows, lambda start, stop: likeness[start:stop])
    writer._checksums = {**checksums, **writer._checksums}
    groups = None if found is None else [one.record for one in found]
    writer.summary(replace(result.record, schema_version=3, groups=groups))
    return open_result(place)
