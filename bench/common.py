"""What the measurements share: inputs, the machine's own rates, tables."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import scipy.sparse.linalg
from numpy.typing import NDArray

from specscale.cost import Cost
from specscale.embeddings.layout import CHUNK_ROWS
from specscale.embeddings.rows import PairedRows
from specscale.kernels.base import Kernels, load_kernels
from specscale.method.execution import Execution
from specscale.method.options import Options
from specscale.method.preparation import Preparation
from specscale.method.problem import Problem
from specscale.method.run import running
from specscale.method.steps import Step
from specscale.passes.base import Pass
from specscale.runtime.events import silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.spans import cut_spans
from specscale.runtime.threads import Threads, single_threaded_blas
from specscale.stores.ingest import ingest
from specscale.stores.writer import StoreWriter

R = TypeVar("R")

RESULTS = Path(__file__).parent / "results"
WORDNET = Path(__file__).resolve().parents[2] / "shared" / "data" / "wordnet"

# Of the passes alone: the maps of the earlier engine, with its bandwidths.
ORTHOGONAL = Options(features="orthogonal", normalize="unit", on_bad="drop", sigma=(0.68, 0.67), certify=0)

# What the system counts as the peak of a process begins with that of the one that started it, so a small one does.
_LAUNCHER = """
import os, sys, time
began = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
os.write(int(sys.argv[1]), f"{time.perf_counter() - began} {usage.ru_maxrss} {usage.ru_inblock}".encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""
_BAND = 1000  # rows of the exact matrix made at once


@contextmanager
def workspace(place: Path | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="specscale-bench-", dir=place) as folder:
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


def text_sample(folder: Path, n: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], str]:
    """Unit rows of the pair that have a direction in both, drawn with a seed, with their numbers and what they are."""
    a, b, what = text_arrays(folder)
    pair = [np.load(path, mmap_mode="r") for path in (a, b)]
    usable = np.flatnonzero(np.all([np.abs(one).max(axis=1) > 0 for one in pair], axis=0))
    numbers = np.sort(np.random.default_rng(seed).choice(usable, n, replace=False))
    x, y = (unit(one[numbers]) for one in pair)
    return x, y, numbers, what


def unit(x: NDArray[Any]) -> NDArray[np.float32]:
    """The rows of x at unit length."""
    wide = np.asarray(x, dtype=np.float64)
    return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), dtype=np.float32)


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


def planted_store(path: Path, n: int, p: int) -> Path:
    """A store of n float16 rows, in groups that stores of other dimensions share only in part."""
    centres = np.random.default_rng([p, 0]).standard_normal((64, p), dtype=np.float32)
    writer = StoreWriter(path, {}, n, p, np.dtype(np.float16), None)
    for number, start in enumerate(range(0, n, CHUNK_ROWS)):
        count = min(CHUNK_ROWS, n - start)
        group = np.random.default_rng([1, number]).integers(0, 64, count)
        own = group < 8 if p > 200 else group >= 56  # held together here and spread over the others elsewhere
        generator = np.random.default_rng([p, number])
        seen = np.where(own | ((group >= 8) & (group < 56)), group, generator.integers(8, 56, count))
        noise = generator.standard_normal((count, p), dtype=np.float32)
        noise *= np.float32(0.6)
        noise += centres[seen]
        writer.add(start, noise.astype(np.float16), None, np.ones(count, dtype=np.bool_))
    writer.finish(n, path.stem, (str(path),), None)
    return path


def exact_difference(x: NDArray[Any], y: NDArray[Any], sigmas: tuple[float, float]) -> NDArray[np.float64]:
    """Λ = (K_A − K_B) / n of Gaussian kernels in float64, one n × n matrix, made a band at a time."""
    n = len(x)
    out = np.zeros((n, n))
    for sign, rows, sigma in zip((1, -1), (x, y), sigmas, strict=True):
        wide = np.asarray(rows, dtype=np.float64)
        squares = np.einsum("ij,ij->i", wide, wide)
        for low in range(0, n, _BAND):
            band = slice(low, low + _BAND)
            distances = np.maximum(squares[band, None] + squares - 2 * wide[band] @ wide.T, 0)
            out[band] += sign / n * np.exp(distances / (-2 * sigma**2))
    return out


def leading(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `count` outermost eigenpairs at each end of a symmetric matrix, as a comparison orders them."""
    start = np.random.default_rng(0).standard_normal(len(matrix))
    values, vectors = scipy.sparse.linalg.eigsh(matrix, k=2 * count, which="BE", ncv=8 * count, tol=1e-10, v0=start)
    order = np.argsort(values)
    order = np.r_[order[::-1][:count], order[:count]]
    return values[order], vectors[:, order]


@dataclass(frozen=True)
class Rig:
    """What single passes are measured with: compiled kernels, a pool of threads and a folder."""

    kernels: Kernels
    pool: Threads
    folder: Path

    def pose(self, rows: PairedRows, options: Options, size: int) -> Problem:
        """The kernels and maps of paired rows."""
        with running(Execution()) as run:
            problem = Preparation(run, rows, options, size).choose(
                [Step(Cost("bandwidth", 0), Preparation.choose_bandwidths)]
            )
            run.place.leave()
            return problem

    def sweep(self, work: Pass[R], problem: Problem) -> tuple[R, float]:
        """The result of a pass and its wall seconds."""
        rows, d = problem.rows, sum(one.dim for one in problem.maps)
        spans = cut_spans(rows.n, d, CHUNK_ROWS)
        place = Path(tempfile.mkdtemp(dir=self.folder))
        with single_threaded_blas():
            began = time.perf_counter()
            result = LocalExecutor(self.pool, kernels=self.kernels).run(work, rows, spans, place, silent)
            return result, time.perf_counter() - began


@contextmanager
def rig() -> Iterator[Rig]:
    kernels = load_kernels("cpu")
    kernels.warm_up()
    with workspace() as folder, closing(Threads()) as pool:
        yield Rig(kernels, pool, folder)


def gemm_rate(size: int = 4096, rounds: int = 4) -> float:
    """Single-precision operations a second of one large product on all cores of this process."""
    left = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    out = left @ left
    began = time.perf_counter()
    for _ in range(rounds):
        np.matmul(left, left, out=out)
    return rounds * 2 * size**3 / (time.perf_counter() - began)


class Measured(NamedTuple):
    """What a process took: wall seconds, peak resident bytes, bytes that came from a disk; and what it printed."""

    seconds: float
    peak: int
    from_disk: int
    output: str


def measured(command: list[str]) -> Measured:
    """Run a command and measure its process."""
    reading, writing = os.pipe()
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), *command]
    done = subprocess.run(launcher, stdout=subprocess.PIPE, text=True, pass_fds=[writing])
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        told = pipe.read().split()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}")
    return Measured(float(told[0]), int(told[1]) * 1024, int(told[2]) * 512, done.stdout)


def specscale(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "specscale", *map(str, arguments)]


def report(name: str, rows: list[dict[str, Any]], note: str) -> None:
    """Print a table and write it as JSON, with the machine and the command that made it.

    A measurement of several tables names each after itself, ``NAME_PART``.
    """
    show(name, rows, note)
    RESULTS.mkdir(exist_ok=True)
    machine = {"cpu": _cpu(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    content = {"command": f"python -m bench {name.partition('_')[0]}", "note": note, "machine": machine, "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def show(name: str, rows: list[dict[str, Any]], note: str) -> None:
    """Print a table; what a row does not tell stays empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[_cell(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    print(f"\n{name}: {note}")
    for line in [columns, *cells]:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
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
