"""The command line: parse, call one function of the engine, print."""

from __future__ import annotations

from specscale.cli.app import main

__all__ = ["main"]
