"""What the summary of a result says of a run: what was compared, how it went, and each mode."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.reordered import origin_of
from specscale.embeddings.rows import kept_digest
from specscale.masking import masked
from specscale.method.plan import Plan
from specscale.method.problem import Problem
from specscale.method.run import Run
from specscale.passes.scores import ScoreSummary
from specscale.places.files import size_of_tree
from specscale.results.described import sample_columns
from specscale.results.schema import (
    BandwidthRecord,
    DeviceRecord,
    DuplicatesRecord,
    HowItWent,
    InputRecord,
    MapsRecord,
    MeasuredRecord,
    ModeRecord,
    RoundingRecord,
    RowsRecord,
    WhatWasCompared,
)
from specscale.runtime.machine import Machine
from specscale.runtime.memory import peak_memory
from specscale.spectral.certificate import Certificate
from specscale.spectral.difference import Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["how_it_went", "mode_records", "standard_errors", "what_was_compared"]


def what_was_compared(problem: Problem, keys: Sequence[str]) -> WhatWasCompared:
    """Return the fields of a summary that say what was compared, with a key for each embedding."""
    options, rows, match = problem.options, problem.rows, problem.rows.match
    left_out = match.left_out or ({},) * len(rows.embeddings)
    bandwidths = [None if one is None else BandwidthRecord(**vars(one)) for one in problem.bandwidths]
    return WhatWasCompared(
        options=options.to_json(),
        inputs=dict(zip(keys, map(_input, rows.embeddings), strict=True)),
        rows=RowsRecord(
            total=rows.n,
            compared=rows.n_kept,
            matched_by=match.by,
            matched=match.matched,
            only_a=match.only_a,
            only_b=match.only_b,
            dropped=match.dropped,
            sampled=match.sampled,
            ids_digest=match.ids_digest,
            kept_digest=kept_digest(rows.kept, rows.n),
            column=match.column,
            confirmed_by=match.confirmed_by,
            unlike=list(match.unlike),
            id_of=list(match.id_of),
            left_out=dict(zip(keys, left_out, strict=True)),
        ),
        maps=MapsRecord(features=options.features, size=problem.size, dimension=sum(one.dim for one in problem.maps)),
        choice=masked(problem.choice),
        bandwidths=dict(zip(keys, bandwidths, strict=True)),
        duplicates=[DuplicatesRecord(**{**vars(one), "example": list(one.example)}) for one in problem.duplicates],
    )


def _input(one: Embedding) -> InputRecord:
    return InputRecord(
        name=one.name,
        source=os.path.abspath(one.source) if os.path.exists(one.source) else masked(one.source),
        rows=origin_of(one).n,
        dimension=one.p,
        dtype=one.dtype.name,
        digest=one.digest,
        ids_column=None if one.ids is None else one.ids.column,
        ids_digest=None if one.ids is None else one.ids.digest,
        columns=sample_columns(one),
        dropped=getattr(origin_of(one), "dropped", 0),
    )


def how_it_went(run: Run, plan: Plan, machine: Machine, rounding: RoundingRecord | None) -> HowItWent:
    """Return the fields of a summary that say what was planned and what was measured."""
    card = run.kernels.card
    return HowItWent(
        warnings=list(map(masked, run.warnings)),
        device=DeviceRecord(name=run.kernels.name, card=card, rounding=rounding) if card else None,
        plan=plan.to_json(machine),
        measured=MeasuredRecord(
            seconds=run.seconds,
            moved=run.moved,
            peak_memory=peak_memory(),
            disk=size_of_tree(run.place.work),
            threads=run.pool.count,
            peak_device_memory=run.executor.device_memory,
        ),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("specscale", "numpy", "scipy", "numba", "zarr")},
        },
    )


def standard_errors(modes: Modes | VectorModes, tails: ScoreSummary, n: int) -> NDArray[np.float64]:
    """Standard errors of λ over samples of n rows.

    A unit vector u with Λu = v has dλ/dweight_i = n (2 u_i v_i − λ u_i²) − λ, so se² = Σ (2uv − λu²)² − λ²/n: for
    eigenvectors |λ| √(Σu⁴ − 1/n).
    """
    value, squares = modes.eigenvalues, tails.squares
    sums = 4 * tails.mixed - 4 * value * tails.skewed + value**2 * tails.fourths
    return np.asarray(np.sqrt(np.maximum(sums / squares**2 - value**2 / n, 0)))


def mode_records(
    modes: Modes | VectorModes, tails: ScoreSummary, se: NDArray[np.float64], checks: Certificate | None
) -> list[ModeRecord]:
    """Return the fields of every mode; the effective size is 1 / Σu⁴."""
    etas = np.broadcast_to(modes.eta, modes.eigenvalues.shape)
    return [
        ModeRecord(
            mode=i,
            grouped_by="A" if value > 0 else "B",
            eigenvalue=float(value),
            eta=float(etas[i]),
            a=float(modes.a[i]),
            b=float(modes.b[i]),
            se=float(se[i]),
            effective_size=float(tails.squares[i] ** 2 / tails.fourths[i]),
            rayleigh=None if checks is None else float(checks.rayleigh[i]),
            rayleigh_se=None if checks is None else float(checks.rayleigh_se[i]),
            residual=None if checks is None else float(checks.residual[i]),
            exact_a=None if checks is None else float(checks.a[i]),
            exact_b=None if checks is None else float(checks.b[i]),
            certified=None if checks is None else bool(checks.certified[i]),
        )
        for i, value in enumerate(modes.eigenvalues)
    ]
