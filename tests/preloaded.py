"""What a server that workers are forked from imports once: all that they would, and the compiled kernels."""

from __future__ import annotations

import forking

forking.load_and_warm()
