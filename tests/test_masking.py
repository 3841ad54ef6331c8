"""Secrets of addresses are nowhere but where they open something: not on a screen, in a message or in a file."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import Pair, command

import specscale as ss
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import ClusterError, InputError
from specscale.masking import is_masked, masked, masked_for
from specscale.places.files import located
from specscale.sources.naming import model_name

USER, WORD, TOKEN = "ada-lovelace", "hunter2-secret", "tok-3141592"
SECRETS = (USER, WORD, TOKEN, base64.b64encode(f"{USER}:{WORD}".encode()).decode())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@host:80/a.npy?token=x: cannot be reached", "http://***@host:80/a.npy?***: cannot be reached"),
        ("'https://host/a?X-Amz-Signature=1&b=2', url=URL('http://u@h/?q')", "'https://host/a?***', url=URL('http://***@h/?***')"),
        ("https://host/a#access_token=1", "https://host/a#***"),
        ("http://u:p/ss@host/x", "http://***@host/x"),
        ("simplecache::http://u:p@host/a", "simplecache::http://***@host/a"),
        ("tls://u:p@10.0.0.1:8786", "tls://***@10.0.0.1:8786"),
        ("HTTP://u:p@host/a", "HTTP://***@host/a"),
        ("http:/u:p@host/a", "http:/***@host/a"),
        ("s3://key:secret@bucket/a.zarr", "s3://***@bucket/a.zarr"),
        ("s3://bucket/a.npy?versionId=3", "s3://bucket/a.npy?***"),
        ("http://u:p@[::1]:80/a", "http://***@[::1]:80/a"),
    ],
)  # fmt: skip
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == masked(masked(text)) == shown
    assert str(InputError(text)) == shown


@pytest.mark.parametrize(
    "text",
    ["a.npy", "/data/a?b=c.npy", "C:/x?y=1", "row 3: a@b", "s3://bucket/part-?.npy", "s3://bucket/a@b#c.zarr", "file:///a?b=c",
     "http://[::1]:80/a@b", "http://host:80/a", "abfs://container@account.dfs.core.windows.net/a", "user@host: x", ""],
)  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text
    assert not is_masked(text)


@pytest.mark.parametrize(
    ("address", "text", "shown"),
    [
        ("s3://KEY:SEC@bkt/x", 'bad "KEY:SEC@bkt": SEC, secrets of KEY', 'bad "***@bkt": ***, secrets of ***'),
        ("tcp://u:p@127.0.0.1:9", "invalid address 'u:p@127.0.0.1:9'; up", "invalid address '***@127.0.0.1:9'; up"),
        ("u:p@h:9", "'u:p@h:9'", "'***@h:9'"),
        ("http://u:a%2Fb@h/x", "a/b and a%2Fb, not a/bc", "*** and ***, not a/bc"),
        ("s3://KEY%3ASEC%40bkt/x", "KEY:SEC and KEY%3ASEC%40bkt", "*** and ***%40bkt"),
        ("https://h/a?sig=a%2Bb&t=xyz", "a?sig=a%2Bb&t=xyz, a+b, xyz, xyzt", "a?***, ***, ***, xyzt"),
        ("simplecache::https://h/a?t=xyz", "no xyz", "no ***"),
        ("tcp://h:9?token=xyz", "int(): '9?token=xyz'", "int(): '9?***'"),
        ("s3://bucket/a.zarr", "bucket/a.zarr: 403", "bucket/a.zarr: 403"),
    ],
)  # fmt: skip
def test_what_libraries_make_of_an_address_is_masked(address: str, text: str, shown: str) -> None:
    assert masked_for(text, address) == shown


@pytest.mark.parametrize(
    "address",
    [f"s3://{USER}:{WORD}@bucket/x.zarr", f"s3://{USER}:{WORD}/{TOKEN}@bucket/x.zarr", f"gs://{USER}:{WORD}@b/x.zarr",
     f"s3://{USER}%3A{WORD}%40bucket/x.zarr", f"simplecache::s3://{USER}:{WORD}@bucket/x.npy"],
)  # fmt: skip
@pytest.mark.slow
def test_buckets_take_no_keys(address: str, run: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    run("ingest", address, "x.zarr", status=1)
    run("ingest", "x.npy", address, status=1)
    with pytest.raises(InputError, match=r"addresses of buckets hold no keys: .* in the environment") as caught:
        located(address)
    assert not [one for one in SECRETS if one in str(caught.value)]


@pytest.mark.parametrize(
    "address", [f"tcp://{USER}:{WORD}@127.0.0.1:9", f"{USER}:{WORD}@127.0.0.1:9", f"h:9?t={TOKEN}"]
)
def test_schedulers_take_no_passwords(address: str) -> None:
    pytest.importorskip("distributed")
    from specscale.runtime.cluster.connecting import connected

    with (
        pytest.raises(ClusterError, match=r"give it as tcp://|give an address as tcp://") as caught,
        connected(address),
    ):
        pass
    assert not [one for one in SECRETS if one in str(caught.value)]


def test_models_are_not_called_after_users() -> None:
    for address in (f"http://{USER}:{WORD}@host/data.npy?token={TOKEN}", f"s3://{USER}:{WORD}@bucket/data.npy"):
        assert not [one for one in SECRETS if one in model_name([address])]


class Handler(BaseHTTPRequestHandler):
    """Files to those who know the password or the token, whole or in part."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, body: bool) -> None:
        path, _, query = self.path.partition("?")
        file = self.server.folder / path.strip("/")  # type: ignore[attr-defined]
        known = self.headers.get("Authorization") == f"Basic {SECRETS[3]}" or query == f"token={TOKEN}"
        content = file.read_bytes() if known and file.is_file() else b""
        status = (200 if content else 404) if known else 403
        if status == 200 and (given := self.headers.get("Range")):
            first, _, last = given.removeprefix("bytes=").partition("-")
            self.send_response(206)
            end = min(int(last or len(content)), len(content) - 1)
            self.send_header("Content-Range", f"bytes {first}-{end}/{len(content)}")
            content = content[int(first) : end + 1]
        else:
            self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The host and port of a web server that has the files of a folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        one.folder = folder  # type: ignore[attr-defined]
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{one.server_port}"
        one.shutdown()


def check_kept(folder: Path) -> None:
    """No file, and no name of one, has a secret."""
    for file in folder.rglob("*"):
        assert not [one for one in SECRETS if one in str(file)]
        content = file.read_bytes() if file.is_file() else b""
        assert not [one for one in SECRETS if one.encode() in content], file


@pytest.fixture
def run(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in the folder ``work`` and return its output; no byte that it says or writes is of a secret."""
    work = here / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def one(*arguments: str, status: int = 0) -> str:
        capfd.readouterr()
        ended = command(monkeypatch, *arguments)
        out, err = capfd.readouterr()
        assert ended == status, (arguments, err)
        assert not [one for one in SECRETS if one in out + err], arguments
        check_kept(work)
        return out

    return one


@pytest.mark.slow
def test_web_addresses(server: str, run: Callable[..., str], here: Path, make_pair: Callable[..., Pair]) -> None:
    for name, array in zip("ab", make_pair(200), strict=True):
        np.save(here / "served" / f"{name}.npy", array)
    bad = make_pair(200)[0]
    bad[3] = np.nan
    np.save(here / "served" / "bad.npy", bad)
    by_word, by_token = f"http://{USER}:{WORD}@{server}", f"http://{server}"
    small = ("--size", "20", "--modes", "2", "--certify", "0", "--features", "landmarks")
    token = f"?token={TOKEN}"

    assert json.loads(run("ingest", f"{by_token}/a.npy{token}", "a.zarr", "--json"))["store"] == "a.zarr"
    assert json.loads(run("info", "a.zarr", "--json"))["source"] == [f"{by_token}/a.npy?***"]
    run("info", "a.zarr")
    run("ingest", f"{by_token}/bad.npy{token}", "bad.zarr", status=1)
    run("ingest", f"{by_token}/bad.npy{token}", "bad.zarr", "--on-bad", "drop")
    run("ingest", f"{by_token}/none.npy{token}", "x.zarr", status=1)
    run("ingest", f"{by_token}/a.npy?token={TOKEN}wrong", "x.zarr", status=1)
    run("ingest", f"{by_word}/a.npy", "by_word.zarr")
    run("ingest", f"http://{USER}:{WORD}@127.0.0.1:1/a.npy{token}", "x.zarr", status=1)
    both = f"{by_token}/a.npy{token}", f"{by_token}/b.npy{token}"
    run("compare", *both, "-o", "r.spec", *small)
    summary = json.loads(run("compare", *both, "-o", "j.spec", *small, "--json"))
    assert summary["inputs"]["a"]["source"] == f"{by_token}/a.npy?***"
    run("modes", "r.spec")
    run("modes", "r.spec", "--json")
    run("modes", "r.spec", "--measures", status=1)
    run("explain", "r.spec", "--labels", "x", status=1)
    run("bandwidth", both[0], "--sigma", "2", "--json")
    run("matrix", *both, "-o", "m.spec", "--size", "20", "--modes", "1", "--json")
    run("compare", *both, "-o", "r.spec", *small, status=1)
    result = ss.open_result(here / "work" / "r.spec")
    assert not [one for one in SECRETS if one in repr(result) + result._repr_html_()]
    with pytest.raises(InputError, match=r"was kept without its password and query: give the embeddings anew"):
        result.with_eta(0.5)


def test_object_stores(s3: str, run: Callable[..., str], here: Path, make_pair: Callable[..., Pair]) -> None:
    for name, array in zip("ab", make_pair(200), strict=True):
        np.save(here / f"{name}.npy", array)
        run("ingest", f"../{name}.npy", f"{s3}/{name}.zarr")
    query = f"?versionId={TOKEN}"
    run("ingest", f"{s3}/a.npy{query}", "x.zarr", status=1)
    run("info", f"{s3}/a.zarr{query}", status=1)
    run("compare", f"{s3}/a.zarr{query}", f"{s3}/b.zarr", "-o", "r.spec", status=1)
    opened = EmbeddingStore(f"{s3}/a.zarr")
    opened.path = f"s3://{USER}:{WORD}@bucket/a.zarr"
    assert WORD not in repr(opened)


def test_what_libraries_say_is_masked_too(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    secret = f"http://{USER}:{WORD}@host/a?token={TOKEN}"
    code = (
        "import logging, sys, warnings\n"
        "import specscale.embeddings.store as module\nfrom specscale.cli import main\n"
        "def fail(store):\n"
        f"    warnings.warn({secret!r})\n    logging.getLogger('x').error('at %s', {secret!r})\n"
        f"    raise KeyError({secret!r} + chr(27))\n"
        "module.EmbeddingStore = fail\nsys.argv = ['specscale', 'info', 'x']\nmain()\n"
    )
    done = run_python(code)
    assert done.returncode == 1
    assert done.stderr.count("http://***@host/a?***") == 3 + done.stderr.count("raise KeyError")
    assert "\x1b" not in done.stderr
    assert not [one for one in SECRETS if one in done.stdout + done.stderr.replace(f"{secret!r}", "")]


@pytest.mark.slow
def test_what_is_written_follows_the_umask(here: Path, make_pair: Callable[..., Pair]) -> None:
    before = os.umask(0o027)
    try:
        for name, array in zip("ab", make_pair(200), strict=True):
            ss.ingest(array, f"{name}.zarr")
        ss.compare("a.zarr", "b.zarr", out="r.spec", size=20, n_modes=1)
        ss.compare_many(["a.zarr", "b.zarr"], out="m.spec", size=20, n_modes=1)
    finally:
        os.umask(before)
    made = [one for root in ("a.zarr", "r.spec", "m.spec") for one in (Path(root), *Path(root).rglob("*"))]
    assert {(one.is_dir(), one.stat().st_mode & 0o777) for one in made} == {(True, 0o750), (False, 0o640)}
