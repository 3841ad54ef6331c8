"""The records that a result is described by: summary.json and maps.json, read and written as these.

docs/result.md says what each field means. What a file may hold follows from the types: whoever reads one relies on
them, and anybody may have written it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from specscale.places.records import Count, Lenient, NotNegative, Number, Positive, Rare, Said, Seed, fault, read_record

__all__ = [
    "MATRIX_SCHEMA",
    "MATRIX_SCHEMAS",
    "SCHEMA",
    "SCHEMAS",
    "BandwidthRecord",
    "ComparisonRecord",
    "ConstraintRecord",
    "DeviceRecord",
    "DuplicatesRecord",
    "GroupRecord",
    "HowItWent",
    "InputRecord",
    "MapRecord",
    "MapsRecord",
    "MatrixRecord",
    "MeasuredRecord",
    "ModeRecord",
    "OptionsRecord",
    "PairRecord",
    "RoundingRecord",
    "RowsRecord",
    "WhatWasCompared",
    "check_map",
]

SCHEMA = 3
SCHEMAS = (2, SCHEMA)  # that are read; 2 had no groups
MATRIX_SCHEMA = "matrix 2"
MATRIX_SCHEMAS = ("matrix 1", MATRIX_SCHEMA)  # that are read; 1 had no groups


@dataclass(frozen=True, kw_only=True)
class OptionsRecord:
    """What the options can be; others than these are let pass, and the method refuses what it does not know."""

    kernel: Literal["gaussian", "cosine"]
    sigma: list[str | Number] = field(default_factory=list)
    eta: NotNegative = 1.0
    normalize: str = "none"
    on_bad: str = "error"
    sample: Count | None = None
    features: str
    size: Count | None = None
    n_modes: Count = 0
    top: Count = 0
    seed: Seed = 0
    match: str | None = None
    certify: Count = 0
    refine: Count = 0
    rounds: Count = 0
    least_group: Count = 0
    rotate: str = "none"
    landmarks: str = "uniform"
    min_matched: NotNegative = 0.0
    precision: str = "float32"


@dataclass(frozen=True, kw_only=True)
class InputRecord:
    """An embedding that was compared."""

    name: str
    source: str
    rows: Count
    dimension: Count
    dtype: Lenient[str] = None
    digest: str
    ids_column: str | None = None
    ids_digest: str | None = None
    columns: Said[list[str]] = None
    dropped: Count = 0


@dataclass(frozen=True, kw_only=True)
class RowsRecord:
    """How rows were paired and how many there were."""

    total: Count
    compared: Count
    matched_by: str | None
    matched: Count | None
    only_a: Count | None
    only_b: Count | None
    dropped: Count | None
    sampled: bool
    ids_digest: str | None
    kept_digest: str | None = None
    column: str | None = None
    confirmed_by: str | None = None
    unlike: list[str] = field(default_factory=list)
    id_of: list[str] = field(default_factory=list)
    left_out: Said[dict[str, dict[str, Count]]] = None


@dataclass(frozen=True, kw_only=True)
class MapsRecord:
    """The feature maps of all embeddings together."""

    features: str
    size: Count | None
    dimension: Count


@dataclass(frozen=True, kw_only=True)
class BandwidthRecord:
    """A bandwidth and where it came from."""

    sigma: Positive
    rule: str = ""
    top_eigenvalue: Number | None = None
    warning: str | None = None


@dataclass(frozen=True, kw_only=True)
class DuplicatesRecord:
    """Rows of an embedding that repeat others."""

    rows: Count
    groups: Count
    largest: Count
    example: list[Count]
    zeros: Count = 0


@dataclass(frozen=True, kw_only=True)
class _Version:
    schema_version: int | str


@dataclass(frozen=True, kw_only=True)
class WhatWasCompared:
    """The fields of every summary that say what was compared, with a key for each embedding."""

    options: Annotated[dict[str, Any], OptionsRecord]
    inputs: dict[str, InputRecord]
    rows: RowsRecord
    maps: MapsRecord
    choice: str
    bandwidths: dict[str, BandwidthRecord | None]
    duplicates: list[DuplicatesRecord] = field(default_factory=list)


@dataclass(frozen=True)
class ModeRecord:
    """A mode."""

    mode: Count
    grouped_by: Literal["A", "B"]
    eigenvalue: Number
    eta: NotNegative
    a: Number
    b: Number
    se: Number
    effective_size: Positive
    rayleigh: Number | None
    rayleigh_se: Number | None
    residual: Number | None
    exact_a: Number | None
    exact_b: Number | None
    certified: bool | None


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """A group of rows, counted and checked."""

    group: Count
    grouped_by: Literal["A", "B"]
    verdict: Literal["group", "theme", "noise"]
    certified: bool
    found_in: list[str]
    size: Count
    share: NotNegative
    core: list[Count]
    background: Number
    level: Number
    threshold: Number
    similarity_a: Number
    similarity_a_se: NotNegative
    similarity_b: Number
    similarity_b_se: NotNegative
    estimate_error: NotNegative
    background_a: Number
    background_b: Number
    contrast: Number
    contrast_se: NotNegative
    auc_a: NotNegative | None
    auc_b: NotNegative | None
    held_out_size: Count
    held_out_contrast: Number | None
    held_out_se: NotNegative | None
    null_contrast: Number | None
    distinct: NotNegative
    edge: Number | None
    merged: list[str]


@dataclass(frozen=True, kw_only=True)
class ConstraintRecord:
    """The constraint that groups were found under."""

    epsilon: Number
    mixed: list[Count]


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """Two of the embeddings of a matrix."""

    a: str
    b: str
    spec_diff: NotNegative
    groups: list[GroupRecord] | None = None
    modes: list[ModeRecord]


@dataclass(frozen=True, kw_only=True)
class RoundingRecord:
    """How far products by tensor cores move the modes, measured on some rows."""

    rows: Count
    eigenvalues: NotNegative
    scores: NotNegative


@dataclass(frozen=True, kw_only=True)
class DeviceRecord:
    """What the passes ran on, where that was not this machine's cores."""

    name: str
    card: str
    rounding: Rare[RoundingRecord] = None


@dataclass(frozen=True, kw_only=True)
class MeasuredRecord:
    """What a run took."""

    seconds: dict[str, Number]
    moved: dict[str, Count]
    peak_memory: Count
    disk: Count
    threads: Count
    peak_device_memory: Rare[Count] = None


@dataclass(frozen=True, kw_only=True)
class HowItWent:
    """The fields of every summary that say what was planned and what was measured."""

    warnings: list[str] = field(default_factory=list)
    device: Rare[DeviceRecord] = None
    plan: Lenient[dict[str, Any]] = None
    measured: Lenient[MeasuredRecord] = None
    versions: Lenient[dict[str, str]] = None
    checksums: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Modes:
    """The fields of a comparison that say what was found."""

    spec_diff: NotNegative
    constraint: ConstraintRecord | None
    groups: list[GroupRecord] | None = None
    modes: list[ModeRecord]


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """The fields of a matrix that say what was found."""

    order: list[str]
    pairs: list[PairRecord]


# The fields of a dataclass are in the order of its bases from the last to the first.


@dataclass(frozen=True, kw_only=True)
class ComparisonRecord(HowItWent, _Modes, WhatWasCompared, _Version):
    """The summary of a comparison."""

    schema_version: int = SCHEMA
    duplicates: list[DuplicatesRecord]


@dataclass(frozen=True, kw_only=True)
class MatrixRecord(HowItWent, _Pairs, WhatWasCompared, _Version):
    """The summary of a matrix."""

    schema_version: str = MATRIX_SCHEMA


@dataclass(frozen=True, kw_only=True)
class _AffineRecord:
    """What is done to rows before all else."""

    shift: list[Number]
    factor: list[Number]


@dataclass(frozen=True, kw_only=True)
class MapRecord:
    """The parameters of a feature map, whatever its kind."""

    map: Literal["landmarks", "orthogonal", "fourier", "linear", "exact"]
    p: Count
    size: Said[Count] = None
    dimension: Said[Count] = None
    sigma: Positive | None = None
    centre: Said[list[Number]] = None
    unit: Said[bool] = None
    wide: Said[bool] = None
    certain: Said[bool] = None
    seed: Said[Seed] = None
    rows: Said[list[Count]] = None
    affine: _AffineRecord | None = None


def check_map(parameters: Any, summary: WhatWasCompared, which: str) -> str | None:
    """Say what of the parameters of a feature map cannot be, or is not what the summary of its result says.

    Parameters
    ----------
    parameters : what maps.json holds of it
    summary : the summary
    which : the key of its embedding there
    """
    way = fault(MapRecord, parameters)
    if way is not None:
        return way
    one, maps, p = read_record(MapRecord, parameters), summary.maps, summary.inputs[which].dimension
    bandwidth = summary.bandwidths.get(which)
    sigma = None if bandwidth is None else bandwidth.sigma
    agreeing = {
        "map": one.map == maps.features,
        "p": one.p == p,
        "sigma": one.sigma == sigma,
        "centre": sigma is None or len(one.centre or ()) == p,
        "affine": one.affine is None or len(one.affine.shift) == len(one.affine.factor) == p,
        "size": one.size == maps.size,
        "dimension": (one.dimension or 0) <= maps.dimension,
        "rows": not one.rows or (len(one.rows) == one.size and max(one.rows) < summary.rows.compared),
    }
    return next((f".{name}" for name, agrees in agreeing.items() if not agrees), None)
