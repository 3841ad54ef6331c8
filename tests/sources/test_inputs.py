"""Files given to ``compare`` as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import specscale as ss
from specscale.errors import InputError, PairingError

OPTIONS: dict[str, Any] = {"size": 20, "n_modes": 3, "sigma": (2.0, 2.0), "rounds": 0}


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 5, 400)
    return tuple(
        (3 * generator.normal(size=(5, p))[groups] + generator.normal(size=(400, p))).astype(np.float32) for p in (6, 4)
    )  # type: ignore[return-value]


def write(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, x=array)
    else:
        pq.write_table(pa.table({"v": pa.array(list(array), pa.list_(pa.float32()))}), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_files_compare_as_their_arrays(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray], suffix: str) -> None:
    paths = [write(tmp_path / f"{name}{suffix}", array) for name, array in zip("ab", arrays, strict=True)]
    result, expected = ss.compare(*paths, out=tmp_path / "out", **OPTIONS), ss.compare(*arrays, **OPTIONS)
    np.testing.assert_array_equal(result.scores[:], expected.scores[:])
    assert result.summary["inputs"]["a"]["source"] == str(paths[0])
    assert result.summary["inputs"]["a"]["digest"] == expected.summary["inputs"]["a"]["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in paths), "out"])
    again = ss.open_result(tmp_path / "out").with_eta(2.0)
    np.testing.assert_array_equal(again.eigenvalues, ss.compare(*arrays, eta=2.0, **OPTIONS).eigenvalues)


@pytest.mark.slow
def test_bad_rows_of_files_are_left_out_of_both(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = arrays
    a[7, 2], b[9, 0] = np.nan, np.inf
    paths = [write(tmp_path / f"{name}.npy", array) for name, array in zip("ab", arrays, strict=True)]
    with pytest.raises(InputError, match=r"a\.npy: row 7 .*--on-bad drop"):
        ss.compare(*paths, **OPTIONS)
    result = ss.compare(*paths, on_bad="drop", **OPTIONS)
    kept = np.delete(np.arange(400), [7, 9])
    expected = ss.compare(a[kept], b[kept], **OPTIONS)
    np.testing.assert_allclose(result.eigenvalues, expected.eigenvalues, rtol=1e-5)
    assert np.isnan(result.scores[:][[7, 9]]).all()
    assert result.summary["rows"]["dropped"] == 2


def test_a_missing_file_and_unequal_counts_leave_nothing(tmp_path: Path, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (write(tmp_path / f"{name}.npy", array) for name, array in zip("ab", arrays, strict=True))
    with pytest.raises(InputError, match="nothing"):
        ss.compare(a, tmp_path / "nothing.npy", out=tmp_path / "out", **OPTIONS)
    np.save(b, arrays[1][:-2])
    with pytest.raises(PairingError, match=r"400.*398"):
        ss.compare(a, b, out=tmp_path / "out", **OPTIONS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "b.npy"]


def test_shards_in_the_order_of_a_shell_are_taken_in_natural_order(tmp_path: Path) -> None:
    for i in range(12):
        np.save(tmp_path / f"part{i}.npy", np.full((2, 1), i, dtype=np.float32))
    paths = sorted(str(path) for path in tmp_path.glob("*.npy"))  # part0, part1, part10, …, as a shell expands *.npy
    ss.ingest(paths, tmp_path / "shell.zarr")
    np.testing.assert_array_equal(
        ss.EmbeddingStore(tmp_path / "shell.zarr").read(0, 24)[:, 0], np.repeat(np.arange(12), 2)
    )
    ss.ingest(paths[::-1], tmp_path / "chosen.zarr")
    assert ss.EmbeddingStore(tmp_path / "chosen.zarr").read(0, 1)[0, 0] == 9
