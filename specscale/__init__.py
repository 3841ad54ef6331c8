"""specscale: which groups of samples one embedding model holds together and another does not.

The public names are loaded when they are first used, so that importing the package takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specscale.embeddings.opening import open_embedding
    from specscale.embeddings.store import EmbeddingStore
    from specscale.errors import SpecscaleError
    from specscale.insight.enrichment import explain
    from specscale.method.bandwidths import bandwidth
    from specscale.method.compare import compare, plan
    from specscale.method.matrix import compare_many
    from specscale.method.result import Result, open_result
    from specscale.results.comparison import Mode
    from specscale.results.groups import Group
    from specscale.results.matrix import MatrixResult, open_matrix
    from specscale.stores.ingest import ingest
    from specscale.stores.renaming import rename

__all__ = [
    "EmbeddingStore",
    "Group",
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
    "EmbeddingStore": "specscale.embeddings.store",
    "Group": "specscale.results.groups",
    "MatrixResult": "specscale.results.matrix",
    "Mode": "specscale.results.comparison",
    "Result": "specscale.method.result",
    "SpecscaleError": "specscale.errors",
    "bandwidth": "specscale.method.bandwidths",
    "compare": "specscale.method.compare",
    "compare_many": "specscale.method.matrix",
    "explain": "specscale.insight.enrichment",
    "ingest": "specscale.stores.ingest",
    "open_embedding": "specscale.embeddings.opening",
    "open_matrix": "specscale.results.matrix",
    "open_result": "specscale.method.result",
    "plan": "specscale.method.compare",
    "rename": "specscale.stores.renaming",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'specscale' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
