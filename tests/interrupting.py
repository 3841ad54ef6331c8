"""Commands that are sent a signal at moments drawn at random: ``python tests/interrupting.py [SEED [TRIES]]``.

Each must end in time with the status of the signal and one line, and the same command again must end well. Not a test:
it takes minutes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from conftest import structured

LINE = "specscale: interrupted: the same command goes on from here (compare and matrix with --resume added)\n"
COMPARE = [
    "a.npy",
    "b.npy",
    "-o",
    "out",
    "--size",
    "400",
    "--modes",
    "3",
    "--sigma-a",
    "2",
    "--sigma-b",
    "2",
    "--quiet",
]
COMMANDS = {
    "compare": ["compare", *COMPARE],
    "workers": ["compare", *COMPARE, "--workers", "2"],
    "ingest": ["ingest", "a.npy", "out"],
}


def attempt(folder: Path, name: str, number: int, delay: float) -> str:
    """Interrupt a command, and give it again; how it ended."""
    command = [sys.executable, "-m", "specscale", *COMMANDS[name]]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        try:
            return f"had ended with {child.wait(delay)}"
        except subprocess.TimeoutExpired:
            began = time.monotonic()
            os.killpg(child.pid, number)  # as a terminal and a batch system do
            errors = child.communicate()[1]
    took = time.monotonic() - began
    if (child.returncode, errors) != (128 + number, LINE):
        return f"WRONG: {child.returncode}, {errors!r}"
    if not (folder / "out").exists():
        subprocess.run([*command, *(["--resume"] if name != "ingest" else [])], cwd=folder, check=True)
    return f"ended after {took:.1f} s"


def main(seed: int = 0, tries: int = 20) -> None:
    """Interrupt commands of all kinds."""
    draw = random.Random(seed)
    for _ in range(tries):
        name, number = draw.choice(list(COMMANDS)), draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        delay = 1 + 12 * draw.random()  # before that the command is not loaded yet
        with tempfile.TemporaryDirectory() as folder:
            for one, array in zip("ab", structured(200_000), strict=True):
                np.save(Path(folder, f"{one}.npy"), array)
            print(
                f"{name}, {number.name} after {delay:.2f} s: {attempt(Path(folder), name, number, delay)}", flush=True
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
