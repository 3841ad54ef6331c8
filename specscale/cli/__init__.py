"""The command line: parse, call one public function, print."""

from __future__ import annotations

from specscale.cli.app import main

__all__ = ["main"]
