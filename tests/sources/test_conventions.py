"""Attributes that say what the numbers of a Zarr array mean, and groups of which not everything can be opened."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from conftest import command

from specscale.embeddings.store import EmbeddingStore
from specscale.errors import InputError
from specscale.stores.ingest import IngestReport, ingest

VALUES = np.random.default_rng(0).normal(size=(50, 4)).astype("f4")


def make(values: np.ndarray, attributes: dict[str, Any], **how: Any) -> None:
    zarr.create_array(
        "x.zarr", data=values, chunks=(10, 4), attributes=attributes, overwrite=True,
        config={"write_empty_chunks": True}, **how,
    )  # fmt: skip


def taken(**options: Any) -> tuple[IngestReport, np.ndarray]:
    report = ingest("x.zarr", "s.zarr", overwrite=True, **options)
    return report, EmbeddingStore("s.zarr").read(0, report.n)


XARRAYS = base64.b64encode(struct.pack("<d", 1e20)).decode()  # as xarray writes it into version 3


@pytest.mark.parametrize(
    ("attributes", "sentinel", "words"),
    [
        ({"_FillValue": -9999.0}, -9999, "_FillValue -9999"),
        ({"missing_value": 1e20}, 1e20, r"missing_value 1e\+20"),
        ({"missing_value": [-1, -999.0]}, -999, "missing_value -1, -999"),
        ({"_FillValue": "NaN", "missing_value": -5}, -5, "missing_value -5"),
        ({"_FillValue": XARRAYS}, 1e20, r"_FillValue 1e\+20"),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4"])
@pytest.mark.slow
def test_sentinels_are_missing(here: Path, attributes: dict[str, Any], sentinel: float, words: str, dtype: str) -> None:
    values = VALUES.astype(dtype)
    values[7, 3] = values[30] = sentinel
    make(values, attributes)
    with pytest.raises(InputError, match=rf"^x\.zarr, row 7, column 3: missing, as its {words} says; drop such rows"):
        taken()
    report, found = taken(on_bad="drop")
    assert (report.dropped, report.dropped_places) == (2, ("x.zarr, row 7", "x.zarr, row 30"))
    np.testing.assert_array_equal(found, np.delete(VALUES, [7, 30], axis=0))


def test_the_fill_value_of_xarray_in_version_2(here: Path) -> None:
    values = VALUES.copy()
    values[7, 3] = -9999
    make(values, {"_ARRAY_DIMENSIONS": ["row", "column"]}, zarr_format=2, fill_value=-9999)
    with pytest.raises(InputError, match=r"row 7, column 3: missing, as its fill_value -9999 says"):
        taken()
    values[7, 3] = 0  # which xarray would call missing, and vectors are full of
    make(values, {"_ARRAY_DIMENSIONS": ["row", "column"]}, zarr_format=2, fill_value=0)
    np.testing.assert_array_equal(taken()[1], values)


def test_rows_that_were_never_written_in_a_chunk_that_is_there(here: Path) -> None:
    array = zarr.create_array("x.zarr", shape=(50, 4), chunks=(50, 4), dtype="f4", fill_value=1e20)
    array[:42] = VALUES[:42]
    array[3, 2] = 1e20
    with pytest.raises(InputError, match=r"^x\.zarr, row 42, column 0: never written"):
        taken()
    report, found = taken(on_bad="drop")
    assert (report.n, report.dropped) == (42, 8)
    np.testing.assert_array_equal(found, array[:42])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "i8", "f2", "f4"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.slow
def test_packed_numbers_are_unpacked(here: Path, dtype: str, version: int) -> None:
    limits = np.iinfo(dtype) if dtype[0] in "iu" else np.iinfo("i1")
    low, high = max(limits.min, -30_000), min(limits.max, 30_000)
    packed = np.linspace(low + 1, high, 200).reshape(50, 4).round().astype(dtype)
    packed[7, 3] = low
    make(packed, {"scale_factor": 0.5, "add_offset": -3, "_FillValue": low}, zarr_format=version)
    report, found = taken(on_bad="drop")
    assert (report.dtype, report.dropped_places) == ("float32", ("x.zarr, row 7",))
    assert report.notes[0] == "x.zarr: scale_factor 0.5 and add_offset -3 applied, as its attributes say"
    np.testing.assert_array_equal(found, np.delete(packed.astype("f8") * 0.5 - 3, 7, axis=0).astype("f4"))


def test_every_value_of_a_byte_is_there_and_holes_are_found(here: Path) -> None:
    codes = np.resize(np.arange(256, dtype=np.uint8), (512, 4))
    make(codes, {"scale_factor": 1.0})
    np.testing.assert_array_equal(taken()[1], codes)
    make(codes.view("i1"), {"scale_factor": 1.0, "_Unsigned": "true", "_FillValue": 300})
    np.testing.assert_array_equal(taken()[1], codes)
    Path("x.zarr/c/3/0").unlink()
    with pytest.raises(InputError, match="rows 30 to 39 are in missing or unfinished chunks"):
        taken()


@pytest.mark.parametrize("attributes", [{"scale_factor": "half"}, {"add_offset": [1, 2]}, {"_FillValue": {}}])
def test_attributes_that_cannot_be_understood(here: Path, attributes: dict[str, Any]) -> None:
    make(VALUES, attributes)
    with pytest.raises(InputError, match=rf"^x\.zarr: its attribute {next(iter(attributes))} is .*, not "):
        taken()


def test_filters_are_the_business_of_zarr(here: Path) -> None:
    filters = [numcodecs.FixedScaleOffset(offset=0, scale=1000, dtype="f4", astype="i4")]
    make(VALUES, {}, zarr_format=2, filters=filters)
    np.testing.assert_allclose(taken()[1], VALUES, atol=6e-4)


def test_the_report_says_it(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make(np.ones((50, 4), "i2"), {"scale_factor": 0.01, "_FillValue": -32768})
    assert command(monkeypatch, "ingest", "x.zarr", "s.zarr") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "x.zarr: scale_factor 0.01 applied, as its attributes say" in lines
    assert "x.zarr: -32768 (_FillValue) counts as missing" in lines


# ---------------------------------------------------------------------------------------------------------------------
# Groups


def group(version: int) -> zarr.Group:
    made = zarr.open_group("g.zarr", mode="w", zarr_format=version)
    made.create_array("vectors", data=VALUES)
    made.create_array("counts", data=np.ones((50, 4), np.int32))
    made.create_array("row", data=np.arange(50.0))
    return made


def spoil(version: int, what: str) -> None:
    """An array of a type, or with a codec, that nobody knows."""
    folder = Path("g.zarr/odd")
    if version == 3:
        fields = json.loads((folder / "zarr.json").read_text())
        if what == "type":
            fields["data_type"] = {"name": "bfloat17", "configuration": {}}
        else:
            fields["codecs"].append({"name": "middle-out", "configuration": {}})
        (folder / "zarr.json").write_text(json.dumps(fields))
        return
    fields = json.loads((folder / ".zarray").read_text())
    if what == "type":
        fields |= {"dtype": "|O", "filters": None}
    else:
        fields["compressor"] = {"id": "middle-out"}
    (folder / ".zarray").write_text(json.dumps(fields))


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("what", ["type", "codec"])
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.slow
def test_an_array_that_cannot_be_opened_hides_no_other(here: Path, version: int, what: str, consolidated: bool) -> None:
    group(version).create_array("odd", data=VALUES)
    if consolidated:
        zarr.consolidate_metadata("g.zarr")
        path = Path("g.zarr/.zmetadata" if version == 2 else "g.zarr/zarr.json")
        whole = json.loads(path.read_text())
    spoil(version, what)
    if consolidated:
        if version == 2:
            whole["metadata"]["odd/.zarray"] = json.loads(Path("g.zarr/odd/.zarray").read_text())
        else:
            whole["consolidated_metadata"]["metadata"]["odd"] = json.loads(Path("g.zarr/odd/zarr.json").read_text())
        path.write_text(json.dumps(whole))
    ingest("g.zarr", "s.zarr")
    np.testing.assert_array_equal(EmbeddingStore("s.zarr").read(0, 50), VALUES)
    with pytest.raises(
        InputError, match=r"^g\.zarr/odd(: not a readable Zarr array|/\.zarray: it holds Python objects)"
    ):
        ingest("g.zarr/odd", "t.zarr")


def test_the_unopened_are_named_where_they_are_needed(here: Path) -> None:
    made = group(3)
    made.create_array("odd", data=VALUES)
    spoil(3, "codec")
    del made["vectors"], made["counts"]
    with pytest.raises(InputError, match=r"^g\.zarr: the group holds row \(50,\) float64, odd, which cannot be opened"):
        ingest("g.zarr", "s.zarr")


def test_several_arrays_are_listed(here: Path) -> None:
    group(3).create_array("others", data=VALUES[:, :3].astype("f2"))
    with pytest.raises(InputError, match=r"others \(50, 3\) float16.*vectors \(50, 4\) float32; name .* g\.zarr/NAME"):
        ingest("g.zarr", "s.zarr")
    ingest("g.zarr/others", "s.zarr")
    assert EmbeddingStore("s.zarr").p == 3
