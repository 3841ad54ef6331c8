"""specscale: which groups of samples one embedding model holds together and another does not.

The public names are loaded when they are first used, so that importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specscale.bandwidths import bandwidth
    from specscale.comparison import compare, plan
    from specscale.errors import SpecscaleError
    from specscale.insight.enrichment import explain
    from specscale.matrix import compare_many
    from specscale.matrix_result import MatrixResult, open_matrix
    from specscale.result import Mode, Result, open_result
    from specscale.stores.embedding import EmbeddingStore, open_embedding
    from specscale.stores.ingest import ingest
    from specscale.stores.renaming import rename

__all__ = [
    "EmbeddingStore",
    "MatrixResult",
    "Mode",
    "Result",
    "SpecscaleError",
    "bandwidth",
    "compare",
    "compare_many",
    "explain",
    "ingest",
    "open_embedding",
    "open_matrix",
    "open_result",
    "plan",
    "rename",
]

_HOMES = {
    "EmbeddingStore": "specscale.stores.embedding",
    "MatrixResult": "specscale.matrix_result",
    "Mode": "specscale.result",
    "Result": "specscale.result",
    "SpecscaleError": "specscale.errors",
    "bandwidth": "specscale.bandwidths",
    "compare": "specscale.comparison",
    "compare_many": "specscale.matrix",
    "explain": "specscale.insight.enrichment",
    "ingest": "specscale.stores.ingest",
    "open_embedding": "specscale.stores.embedding",
    "open_matrix": "specscale.matrix_result",
    "open_result": "specscale.result",
    "plan": "specscale.comparison",
    "rename": "specscale.stores.renaming",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'specscale' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
