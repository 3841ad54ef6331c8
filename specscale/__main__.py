"""``python -m specscale``."""

from __future__ import annotations

from specscale.cli import main

if __name__ == "__main__":
    main()
