"""What a card does: its own ceilings, then each pass against them. ``python -m bench gpu [--json FILE] [--rows N]``.

Needs NumPy, SciPy, Numba, CuPy, Zarr and what specscale needs to compare; PyTorch for the peer alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import gpu_ceilings, gpu_exact, gpu_passes, gpu_precision
from bench.common import RESULTS, show, workspace
from bench.gpu_card import Card, CudaLibraries
from bench.gpu_data import store_bytes
from bench.gpu_state import Bench, Row, Shape, Skipped
from specscale.errors import SpecscaleError
from specscale.places.files import free_space
from specscale.runtime.threads import Threads
from specscale.units import format_bytes

SECONDS = 285.0  # for all parts together


@dataclass(frozen=True)
class Part:
    """A part of the measurement.

    Attributes
    ----------
    measure : gives the rows of its table
    note : what the table shows
    """

    measure: Callable[[Bench], list[Row]]
    note: str


PARTS = {
    "card": Part(gpu_ceilings.card, "what is measured"),
    "products": Part(gpu_ceilings.products, "leftᵀ right and syrk, operations on random numbers"),
    "copies": Part(gpu_ceilings.copies, "pinned memory, one copy at a time"),
    "solves": Part(gpu_ceilings.solves, "symmetric eigenproblems in float64"),
    "reading": Part(gpu_passes.reading, "the planted pair, by the readers of the passes"),
    "landmarks": Part(
        gpu_passes.landmarks,
        "passes at ImageNet's shape; reading = once by the same readers, computing = its operations at 0.7 of gemm; "
        "wanted: at most 1.5 times the longer; what follows the passes is apart",
    ),
    "fourier": Part(
        gpu_passes.fourier, "the same; of gemm = n·d·(d+1) operations of the covariance, wanted: at least 0.7"
    ),
    "peer": Part(gpu_passes.peer, "bench/peers/torch_resident.py: the same maps and modes, float32 without TF32"),
    "exact": Part(gpu_exact.exact, "--features exact, to convergence"),
    "precision": Part(
        gpu_precision.precision,
        "each product apart; borne: null |λ| ≤ 1e-5 and λ moves by ≤ 1e-4; to be entered in "
        "specscale/kernels/precision.py",
    ),
    "agreement": Part(gpu_precision.agreement, "the card against the cores; wanted: ≤ 1e-4 and ≤ 1e-3"),
    "refine": Part(gpu_exact.refine, "landmarks, then one step of the exact operator; wanted at 10⁶ rows: < 180 s"),
}


def main(
    arguments: Sequence[str],
    card: Card | None = None,
    shape: Shape | None = None,
    seconds: float = SECONDS,
    **settings: Any,
) -> int:
    """Run the measurement as it is asked for.

    Parameters
    ----------
    arguments : of the command line
    card, shape : what is measured, by default this machine's card at full size
    seconds : that all parts may take together
    **settings : further attributes of the Bench

    Returns
    -------
    int
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m bench gpu", description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS / "gpu.json", metavar="FILE")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="fewer rows than ImageNet has; all sizes shrink with them"
    )
    parser.add_argument("--part", action="append", choices=list(PARTS), metavar="NAME", help="some parts alone")
    given = parser.parse_args(arguments)
    names = [name for name in PARTS if not given.part or name in given.part]
    sizes = (shape or Shape()).scaled(given.rows)
    ends = time.monotonic() + seconds
    if card is None:
        card = Card(CudaLibraries())
        try:
            card.kernels()
        except SpecscaleError as error:
            sys.exit(f"python -m bench gpu: {error}")
    with workspace() as folder, closing(Threads()) as threads:
        _check_disk(folder, sizes, names)
        bench = Bench(card, sizes, folder, threads, ends, **settings)
        return _measured(bench, names, given.json, ["python -m bench gpu", *arguments])


def _measured(bench: Bench, names: Sequence[str], path: Path, command: Sequence[str]) -> int:
    """Measure part after part; each is printed and kept as it ends."""
    parts: dict[str, Any] = {}
    content: dict[str, Any] = {"command": " ".join(command), "shape": vars(bench.shape), "parts": parts}
    with suppress(Exception):  # what is not told of the machine spoils no measurement; the part `card` says why
        content["machine"] = bench.facts()
    failed = 0
    for name in names:
        began = time.monotonic()
        part = PARTS[name]
        try:
            rows = bench.found[name] = part.measure(bench)
            parts[name] = {"note": part.note, "rows": rows}
            show(f"gpu {name}", rows, part.note)
        except Skipped as reason:
            parts[name] = {"skipped": str(reason)}
            print(f"\ngpu {name}: left out: {reason}")
        except Exception as error:  # the other parts are measured all the same
            failed += 1
            parts[name] = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            print(f"\ngpu {name}: failed: {type(error).__name__}: {error}")
        bench.card.release()
        content["gemm"] = vars(bench).get("rate")  # operations a second, where a part has measured it
        parts[name]["seconds"] = time.monotonic() - began
        print(f"({parts[name]['seconds']:.1f} s, {max(bench.left, 0):.0f} s left)", flush=True)
        _keep(path, content)
    print(f"\nkept in {path}")
    return 1 if failed else 0


def _keep(path: Path, content: dict[str, Any]) -> None:
    """Write what there is so far, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(draft, path)


def _check_disk(folder: Path, shape: Shape, names: Sequence[str]) -> None:
    """End where the files of the parts have no room."""
    planted = {"reading", "landmarks", "fourier", "peer"} & set(names)
    needed = store_bytes(shape.rows, shape.dimensions) if planted else 0
    if "fourier" in names:
        needed += 32 * (4 * shape.frequencies) ** 2  # its covariance, and the partial sums that a result keeps
    if "refine" in names:
        needed += 2 * store_bytes(shape.refined, shape.dimensions)
    free = free_space(folder)
    if free is not None and free < needed:
        sys.exit(
            f"{folder.parent}: {format_bytes(free)} are free, the measurement takes {format_bytes(needed)}: set TMPDIR "
            "to another place, or take fewer --rows"
        )
