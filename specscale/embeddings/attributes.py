"""What ingest writes of an embedding store into the attributes of its group, as anybody may have written it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from specscale.places.records import Count

__all__ = ["IdsRecord", "StoreRecord"]


@dataclass(frozen=True, kw_only=True)
class IdsRecord:
    """The column that identifies rows, and the digest of what it holds."""

    column: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """An embedding store."""

    name: str
    n: Count
    p: Count
    dtype: Literal["float16", "float32"]
    source: list[str] = field(default_factory=list)
    digest: str
    chunk_digests: list[str] = field(default_factory=list)
    zero_norm: Count
    dropped: Count
    dropped_rows: list[Count] = field(default_factory=list)
    ids: IdsRecord | None
    columns: list[str]
    vectors: list[str] = field(default_factory=list)
