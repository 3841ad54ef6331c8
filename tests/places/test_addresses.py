"""Addresses that cannot be reached, or only in part, end in one line with a remedy that fits them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import specscale as ss
from specscale.errors import InputError, SpecscaleError
from specscale.places.files import unchained
from specscale.places.reach import reaching

CHAINED = ["simplecache::http://127.0.0.1:9/x.npy", "simplecache::file:///x.zarr", "zip://x.npy::/x.zip", "a:://x"]


@pytest.mark.parametrize("address", CHAINED)
def test_chained_addresses_are_for_ingest(address: str, make_store: Callable[..., Path], here: Path) -> None:
    store = make_store("y", [[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]])
    opens: dict[str, Callable[[], object]] = {
        "compare": lambda: ss.compare(address, store, out="q.spec"),
        "out": lambda: ss.compare(store, store, out=address),
        "store": lambda: ss.EmbeddingStore(address),
        "target": lambda: ss.ingest(store, address),
        "result": lambda: ss.open_result(address),
        "matrix": lambda: ss.open_matrix(address),
        "name": lambda: ss.rename(address, "other"),
    }
    for name, call in opens.items():
        with pytest.raises(
            InputError, match="chained addresses are read by specscale ingest alone: ingest it"
        ) as caught:
            call()
        assert str(caught.value).startswith(address), name
    assert not [*here.glob("q.spec*")]


@pytest.mark.parametrize("address", ["http://[::1]:80/x/y", "s3://bucket/a::b.zarr", "a::b/c", "/x::/y", 3, None])
def test_other_places_are_not_chained(address: object) -> None:
    assert unchained(address) == address


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("s3://bucket/x", "AWS_ACCESS_KEY_ID"),
        ("simplecache::s3://bucket/x", "AWS_ACCESS_KEY_ID"),
        ("gcs://bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://c/x", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("hf://datasets/x", "HF_TOKEN"),
        ("https://host/x", "open to everybody"),
        ("simplecache::https://host/x", "open to everybody"),
        ("ftp://host/x", "open to you"),
        ("sftp://host/x", "open to you"),
    ],
)
def test_the_remedy_is_that_of_the_address(address: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught, reaching(address):
        raise PermissionError("no")
    assert remedy in str(caught.value)
    assert ("AWS" in str(caught.value)) is ("AWS" in remedy)


def test_what_a_library_says_is_short() -> None:
    with pytest.raises(SpecscaleError) as caught, reaching("ftp://u:secret@host/x"):
        raise PermissionError("u:secret@host must match\n" + "[a-z]{1,9}|" * 1000)
    assert "(***@host must match [a-z]" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 320
    assert "\n" not in str(caught.value)
