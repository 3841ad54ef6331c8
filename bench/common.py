"""What the measurements share: inputs, the machine's own rates, tables."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from specscale.stores.ingest import ingest

RESULTS = Path(__file__).parent / "results"
WORDNET = Path(__file__).resolve().parents[2] / "shared" / "data" / "wordnet"


@contextmanager
def workspace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="specscale-bench-") as folder:
        yield Path(folder)


def text_arrays(folder: Path) -> tuple[Path, Path, str]:
    """The WordNet pair where it is at hand, else a mixture of the same shapes: two npy files and what they are."""
    if (WORDNET / "minilm.npy").exists():
        return WORDNET / "minilm.npy", WORDNET / "lsa.npy", "WordNet"
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 60, 107_525)
    paths = []
    for name, p in (("a", 384), ("b", 128)):
        centres = generator.standard_normal((60, p))
        x = centres[groups] + 0.9 * generator.standard_normal((len(groups), p))
        np.save(folder / f"{name}.npy", (x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float16))
        paths.append(folder / f"{name}.npy")
    return paths[0], paths[1], "mixture"


def text_stores(folder: Path) -> tuple[Path, Path, str]:
    """The same pair as stores."""
    a, b, what = text_arrays(folder)
    ingest(a, folder / "a.zarr")
    ingest(b, folder / "b.zarr")
    return folder / "a.zarr", folder / "b.zarr", what


def mixture_store(path: Path, n: int, p: int, seed: int) -> Path:
    """A store of n rows of a Gaussian mixture, made a shard at a time."""
    shards = path.with_suffix(".shards")
    shards.mkdir()
    centres = np.random.default_rng(seed).standard_normal((40, p), dtype=np.float32)
    for i, start in enumerate(range(0, n, 100_000)):
        generator = np.random.default_rng([seed, i])
        groups = np.random.default_rng([1, i]).integers(0, 40, min(100_000, n - start))
        x = centres[groups] + generator.standard_normal((len(groups), p), dtype=np.float32)
        np.save(shards / f"{i}.npy", x.astype(np.float16))
    ingest(shards, path)
    for shard in shards.iterdir():
        shard.unlink()
    return path


def gemm_rate(size: int = 4096, rounds: int = 4) -> float:
    """Single-precision operations a second of one large product on all cores of this process."""
    left = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    out = left @ left
    began = time.perf_counter()
    for _ in range(rounds):
        np.matmul(left, left, out=out)
    return rounds * 2 * size**3 / (time.perf_counter() - began)


def measured(command: list[str]) -> tuple[float, int, str]:
    """Run a command: wall seconds, peak resident bytes of that process, standard output."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024, text


def specscale(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "specscale", *map(str, arguments)]


def report(name: str, rows: list[dict[str, Any]], note: str) -> None:
    """Print a table and write it as JSON, with the machine and the command that made it."""
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    print(f"\n{name}: {note}")
    for line in [columns, *cells]:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    RESULTS.mkdir(exist_ok=True)
    machine = {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    content = {"command": f"python -m bench {name}", "note": note, "machine": machine, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def own_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _cell(value: Any) -> str:
    return (
        f"{value:,.3g}"
        if isinstance(value, float) and value < 1000
        else f"{value:,.0f}"
        if isinstance(value, (int, float))
        else str(value)
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
