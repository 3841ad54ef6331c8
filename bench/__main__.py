"""``python -m bench [NAME...]``: print a table for each measurement and write it to bench/results/.

``python -m bench gpu [--json FILE] [--rows N] [--part NAME]...`` measures a card.
"""

from __future__ import annotations

import sys
from importlib import import_module

NAMES = (
    "covariance", "solver", "job", "memory", "reading", "fidelity", "certificates", "coverage", "wordnet", "many",
    "scaling", "distributed", "durability", "groups",
)  # fmt: skip

if __name__ == "__main__":
    if sys.argv[1:2] == ["gpu"]:
        sys.exit(import_module("bench.gpu").main(sys.argv[2:]))
    chosen = sys.argv[1:] or NAMES
    for name in chosen:
        if name not in NAMES:
            sys.exit(f"there is no measurement {name!r}: choose among {', '.join(NAMES)}")
    for name in chosen:
        import_module(f"bench.{name}").run()
