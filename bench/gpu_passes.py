"""The passes at ImageNet's shape against the ceilings of the machine, and against PyTorch with all rows on the card."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.gpu_state import Bench, Compared, Row, Skipped
from specscale.features.fourier import FourierMap
from specscale.features.registry import restored_map

PEER = Path(__file__).parent / "peers" / "torch_resident.py"
ATTAINED = 0.7  # of the rate of a large product: what operations are counted at
ALLOWED = 1.5  # times the longer of reading and computing
PASSES = ("covariance", "scores", "certificate")


def reading(bench: Bench) -> list[Row]:
    """A pair of few rows from the disk and from memory, all rows from memory, and these on to the card."""
    few, all_rows = bench.shape.exact, bench.shape.rows
    paired = bench.paired(few)
    for store in bench.pair(few):
        for file in filter(Path.is_file, (store / "features" / "c").rglob("*")):
            forget(file)
    cold = bench.read_once(paired)
    timings = [
        ("from the disk", few, cold),
        ("from memory", few, bench.reading(few)),
        ("from memory", all_rows, bench.reading(all_rows)),
        ("from memory to the card", all_rows, bench.reading(all_rows, fed=True)),
    ]
    width = 2 * sum(bench.shape.dimensions)
    return [
        {"what": what, "rows": rows, "seconds": seconds, "GB/s": 1e-9 * rows * width / seconds}
        for what, rows, seconds in timings
    ]


def forget(file: Path) -> None:
    """Let the system forget what it has of a file in memory."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def landmarks(bench: Bench) -> list[Row]:
    """All three passes with landmarks."""
    bench.needs(45)
    made = bench.compared(bench.shape.rows, features="landmarks", size=bench.shape.landmarks)
    return [*_passes(bench, made), *_apart(made), *_memory(made)]


def fourier(bench: Bench) -> list[Row]:
    """Covariance and scores with random Fourier features."""
    bench.needs(45)
    made = bench.compared(bench.shape.rows, features="fourier", size=bench.shape.frequencies, certify=0)
    bench.fourier = made
    return [*_passes(bench, made), *_apart(made), *_memory(made)]


def _passes(bench: Bench, made: Compared) -> list[Row]:
    """Each pass against one reading by the same readers, and against its operations at an attained rate."""
    n, d = made.summary["rows"]["compared"], made.summary["maps"]["dimension"]
    reading = bench.reading(bench.shape.rows)
    rows = []
    for name in PASSES:
        if name in made.passes:
            seconds, operations = made.passes[name], made.planned(name)["operations"]
            computing = operations / (ATTAINED * bench.rate)
            counted = n * d * (d + 1) if name == "covariance" else operations
            rows.append(
                {
                    "what": name,
                    "seconds": seconds,
                    "reading": reading,
                    "computing": computing,
                    "times the longer": seconds / max(reading, computing),
                    "TFLOP/s": 1e-12 * counted / seconds,
                    "of gemm": counted / seconds / bench.rate,
                    "with writing": made.seconds[name],
                }
            )
    return rows


def _apart(made: Compared) -> list[Row]:
    """The steps that are no passes."""
    return [{"what": name, "seconds": took} for name, took in made.seconds.items() if name not in PASSES]


def _memory(made: Compared) -> list[Row]:
    """What was held of the card's memory, and what the plan said."""
    planned, held = made.summary["plan"]["card"]["peak"], made.summary["measured"]["peak_device_memory"]
    return [{"what": "peak of the card's memory, of the plan's", "GB": held / 1e9, "share": held / planned}]


def peer(bench: Bench) -> list[Row]:
    """Covariance and scores in PyTorch with the same maps and modes, all rows on the card."""
    bench.needs(45)
    made = bench.fourier or bench.compared(
        bench.shape.rows, features="fourier", size=bench.shape.frequencies, certify=0
    )
    theirs = _resident(bench, made)
    ours = sum(made.passes[name] for name in ("covariance", "scores"))
    values = made.result.eigenvalues
    rows = [{"what": "ours: reading, covariance and scores", "seconds": ours}]
    for what, seconds in (
        ("PyTorch, rows on the card already", theirs["covariance"] + theirs["scores"]),
        ("PyTorch, with reading them there", theirs["load"] + theirs["covariance"] + theirs["scores"]),
    ):
        rows.append({"what": what, "seconds": seconds, "rows": theirs["rows"], "times ours": seconds / ours})
    moved = np.abs(np.array(theirs["eigenvalues"]) / values - 1).max()
    return [*rows, {"what": "largest relative difference of its λ, zᵀCDCz", "share": float(moved)}]


def _resident(bench: Bench, made: Compared) -> dict[str, float]:
    """What the script of the peer says of itself."""
    maps = [restored_map(one, made.result.map_arrays(which)) for which, one in enumerate(made.result.maps)]
    given = bench.fresh("maps").with_suffix(".npz")
    arrays = {"coefficients": np.asarray(made.result.coefficients[:], dtype=np.float64)}
    for letter, one in zip("ab", maps, strict=True):
        assert isinstance(one, FourierMap)
        arrays |= {
            f"w_{letter}": one.frequencies().astype(np.float32),
            f"centre_{letter}": one.centre.astype(np.float32),
        }
    np.savez(given, **arrays)
    a, b = bench.pair(bench.shape.rows)
    command = [sys.executable, str(PEER), str(a / "features"), str(b / "features"), str(given), *bench.peer_options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=max(bench.left, 60))
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        kind = Skipped if "No module named 'torch'" in last else RuntimeError
        raise kind(f"the script of the peer ended: {last}")
    found: dict[str, float] = json.loads(done.stdout)
    return found
