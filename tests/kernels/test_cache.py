"""Compiled kernels that the next process finds: never torn, never stale, never another's."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import tiny

from specscale.kernels.cache import _called, cache_folder, sealed, unsealed

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users to tell apart, so nothing is kept")

HERE = Path(__file__).parent
X = np.arange(5, dtype=np.float32)
KEY, DATA = b"versions and types", bytes(range(40))

# Eight processes that begin together, each with kernels of its own that nobody compiled; then one that finds them.
RACE = """
import os, sys
import tiny
{load}
wait, go = os.pipe()
def child():
    os.read(wait, 1)
    {run}
    sys.stdout.flush()
children = []
for _ in range(8):
    if not (pid := os.fork()):
        try:
            child()
        except BaseException as error:
            print(error, file=sys.stderr)
            os._exit(1)
        os._exit(0)
    children.append(pid)
os.write(go, b"." * 8)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 8
"""

# Digests of what every kernel makes of some numbers, and how many were found compiled.
RUN = """
import hashlib, json
import numpy as np
from numba.core.dispatcher import Dispatcher
from specscale.kernels.base import load_kernels
kernels = load_kernels("cpu")
kernels.warm_up()
random = np.random.default_rng(0)
digest = hashlib.sha256()
wide, bad = random.normal(size=(37, 19)), np.full(1, -1)
for dtype in ("float16", "float32", "float64"):
    for out in (np.float32, np.float64):
        for unit in (False, True):
            rows = np.empty((37, 19), dtype=out)
            kernels.standardise(wide.astype(dtype), wide[0].astype(out), unit, rows, bad)
            digest.update(rows.tobytes())
        kernels.affine(wide.astype(dtype), wide[0], wide[1], rows, bad)
        digest.update(rows.tobytes())
x, points = wide.astype(np.float32), random.normal(size=(19, 23)).astype(np.float32)
features = np.empty((37, 46), dtype=np.float32)
for scale in (1, 1e7):
    kernels.fourier(x * np.float32(scale), points, features)
    digest.update(features.tobytes())
for kind in (np.float32, np.float64):
    z = points.astype(kind)
    out = np.empty((37, 23), dtype=np.float32)
    kernels.gaussian(x.astype(kind), z, ((z * z).sum(axis=0) * 0.1).astype(kind), 0.2, out)
    digest.update(out.tobytes())
total = np.zeros((46, 46))
kernels.gram_tile(features, features, np.empty((46, 46), dtype=np.float32), total)
sums = np.empty((4, 19))
kernels.moments(x, x * x, sums)
strengths, rows = np.zeros((2, 19, 3)), np.full((2, 19, 3), -1)
kernels.keep_tails(x, np.arange(37), strengths, rows)
for array in (total, sums, strengths, rows):
    digest.update(array.tobytes())
from specscale.kernels import cpu
made = [one.stats for one in vars(cpu).values() if isinstance(one, Dispatcher)]
found = sum(sum(one.cache_hits.values()) for one in made)
print(json.dumps([digest.hexdigest(), found, sum(sum(one.cache_misses.values()) for one in made)]))
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where kernels are kept in this test."""
    monkeypatch.setenv("SPECSCALE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


def hits(kernel: Any) -> int:
    return sum(kernel.stats.cache_hits.values())


def entry_of_total(place: Path) -> Path:
    (found,) = [path for path in place.iterdir() if b"kernel tiny.total\n" in path.read_bytes()]
    return found


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def everything(**environment: str) -> tuple[str, int, int]:
    digest, found, compiled = json.loads(run(RUN, **environment))
    return digest, found, compiled


# --- entries


def test_an_entry_is_found_under_its_key() -> None:
    assert unsealed(sealed(DATA, KEY), KEY) == DATA
    assert unsealed(sealed(b"", b""), b"") == b""
    assert unsealed(None, KEY) is None


def test_an_entry_of_another_key_is_not_taken() -> None:
    for other in (b"", KEY[:-1], KEY + b"s", KEY + DATA[:1]):
        assert unsealed(sealed(DATA, KEY), other) is None
        assert unsealed(sealed(DATA, other), KEY) is None


def test_no_damage_goes_unseen() -> None:
    entry = sealed(DATA, KEY)
    assert all(unsealed(entry[:end], KEY) is None for end in range(len(entry)))
    assert unsealed(entry + b"\0", KEY) is None
    for place in range(8 * len(entry)):
        flipped = bytearray(entry)
        flipped[place // 8] ^= 1 << place % 8
        assert unsealed(bytes(flipped), KEY) is None


# --- one kernel


@pytest.mark.slow
def test_a_kernel_is_compiled_once(place: Path) -> None:
    first, second = tiny.fresh(), tiny.fresh()
    assert first(X) == second(X) == 30
    assert (hits(first), hits(second)) == (0, 1)
    wide = X.astype(np.float64)[::2]
    assert first(wide) == 18
    assert hits(first) == 0


def cut(part: float) -> Callable[[bytes], bytes]:
    return lambda entry: entry[: int(part * len(entry))]


def flip(part: float) -> Callable[[bytes], bytes]:
    def damage(entry: bytes) -> bytes:
        damaged = bytearray(entry)
        damaged[int(part * (len(entry) - 1))] ^= 1
        return bytes(damaged)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        *(cut(part) for part in (0, 0.001, 0.3, 0.6, 0.999)),
        *(flip(part) for part in (0, 0.001, 0.1, 0.5, 0.9, 1)),
        lambda entry: entry + b"\0",
        lambda entry: bytes(len(entry)),
        lambda entry: sealed(b"no kernel", entry[40 : 40 + int.from_bytes(entry[32:40], "little")]),
        lambda entry: sealed(entry, b"another key"),
    ],
)
@pytest.mark.slow
def test_a_damaged_entry_is_compiled_anew(place: Path, damage: Callable[[bytes], bytes]) -> None:
    tiny.fresh()(X)
    entry = entry_of_total(place)
    entry.write_bytes(damage(entry.read_bytes()))
    kernel = tiny.fresh()
    assert kernel(X) == 30
    assert hits(kernel) == 0
    kernel = tiny.fresh()  # which finds it whole again
    assert kernel(X) == 30
    assert hits(kernel) == 1


def test_an_entry_that_others_may_have_written_is_compiled_anew(place: Path) -> None:
    tiny.fresh()(X)
    entry_of_total(place).chmod(0o666)
    kernel = tiny.fresh()
    assert kernel(X) == 30
    assert hits(kernel) == 0


def test_a_folder_in_the_way_of_an_entry(place: Path) -> None:
    tiny.fresh()(X)
    entry = entry_of_total(place)
    entry.unlink()
    entry.mkdir()
    for _ in range(2):
        kernel = tiny.fresh()
        assert kernel(X) == 30
        assert hits(kernel) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numba.__version__", "0.0"),
        ("llvmlite.__version__", "0.0"),
        ("llvmlite.binding.llvm_version_info", (0, 0, 0)),
        ("numpy.__version__", "0.0"),
        ("sys.version", "0.0"),
        ("numba.core.config.OPT", 1),
        ("numba.core.config.LOOP_VECTORIZE", 0),
        ("numba.core.codegen.CPUCodegen._get_host_cpu_name", lambda self: "another"),
        ("numba.core.codegen.CPUCodegen.magic_tuple", lambda self: ("triple", "cpu", "+another")),
    ],
)
@pytest.mark.slow
def test_what_another_machine_or_version_compiled_is_not_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    tiny.fresh()(X)
    monkeypatch.setattr(name, value)
    kernel = tiny.fresh()
    kernel(X)
    assert hits(kernel) == 0


def test_a_kernel_that_cannot_be_described_is_compiled(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specscale.kernels.cache.identity", lambda kernel: pickle.loads(b""))
    for _ in range(2):
        kernel = tiny.fresh()
        assert kernel(X) == 30
        assert hits(kernel) == 0
    assert not place.exists()


@pytest.mark.parametrize("missing", ["nothing", "all"])
def test_machine_code_that_calls_what_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    kernel = tiny.fresh()
    kernel(X)
    assert "NRT_adapt_ndarray_from_python" in _called(kernel.overloads[kernel.signatures[0]].library)
    if missing == "all":
        monkeypatch.setattr("llvmlite.binding.address_of_symbol", lambda name: None)
    kernel = tiny.fresh()
    assert kernel(X) == 30
    assert hits(kernel) == (missing == "nothing")


def test_threads_ask_for_one_kernel_at_once(place: Path) -> None:
    for found in (0, 1):
        kernel = tiny.fresh()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(kernel, [X] * 32)) == {30}
        assert hits(kernel) == found


@pytest.mark.process
def test_kernels_travel_to_other_processes(place: Path) -> None:
    kernel = tiny.fresh()
    kernel(X)
    assert pickle.loads(cloudpickle.dumps(kernel))(X) == 30
    code = f"import pickle, numpy as np; print(pickle.loads({cloudpickle.dumps(kernel)!r})(np.ones(2, np.float32)))"
    assert run(code).strip() == "6.0"


# --- places


def where() -> Path | None:
    folder = cache_folder()
    return None if folder is None else folder._path


def test_the_place_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("SPECSCALE_CACHE_DIR", str(tmp_path / "own"))
    assert where() == tmp_path / "own" / "kernels"
    monkeypatch.setenv("SPECSCALE_CACHE_DIR", "")
    assert where() == tmp_path / "xdg" / "specscale" / "kernels"
    monkeypatch.delenv("SPECSCALE_CACHE_DIR")
    assert where() == tmp_path / "xdg" / "specscale" / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard has ignored
    assert where() == tmp_path / ".cache" / "specscale" / "kernels"


def test_without_a_place_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SPECSCALE_CACHE_DIR", raising=False)
    for home in ("", "relative", str(tmp_path / "missing")):
        monkeypatch.setenv("HOME", home)
        assert where() is None
        assert tiny.fresh()(X) == 30
    monkeypatch.delenv("HOME")
    assert where() is None
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_turned_off(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.fresh()(X)
    monkeypatch.setenv("SPECSCALE_CACHE_DIR", "off")
    kernel = tiny.fresh()
    assert kernel(X) == 30
    assert hits(kernel) == 0
    assert os.listdir(tmp_path) == ["cache"]


@pytest.mark.process
def test_numba_told_to_compile_nothing(place: Path) -> None:
    assert run("import tiny; print(tiny.fresh()([]) if 0 else tiny.tripled(2))", NUMBA_DISABLE_JIT="1") == "6.0\n"


# --- processes


@pytest.mark.process
def test_eight_processes_at_once(place: Path) -> None:
    load = "from numba.core.registry import cpu_target\ncpu_target.target_context.refresh()"
    run(RACE.format(load=load, run="assert tiny.fresh()(tiny.np.arange(5, dtype='f4')) == 30"))
    assert len(os.listdir(place)) == 2  # and no drafts
    kernel = tiny.fresh()
    assert kernel(X) == 30
    assert hits(kernel) == 1


@pytest.mark.process
@pytest.mark.slow
def test_eight_processes_compile_all_kernels_at_once(place: Path, tmp_path: Path) -> None:
    said = run(RACE.format(load="", run=f"exec({RUN!r}, {{}})"))
    digest, _, _ = everything(SPECSCALE_CACHE_DIR=str(tmp_path / "alone"))
    assert [json.loads(line)[0] for line in said.splitlines()] == [digest] * 8
    assert sorted(os.listdir(place)) == sorted(os.listdir(tmp_path / "alone" / "kernels"))
    found = everything()
    assert (found[0], found[2]) == (digest, 0)


@pytest.mark.process
@pytest.mark.slow
def test_kernels_that_were_kept_give_the_same_bits(place: Path) -> None:
    alone = everything(SPECSCALE_CACHE_DIR="off")
    assert everything() == alone
    digest, found, compiled = everything()
    assert digest == alone[0]
    assert (found > 10, compiled) == (True, 0)
    for path in sorted(place.iterdir())[::3]:  # and where some are compiled and others not
        path.unlink()
    digest, found, compiled = everything()
    assert digest == alone[0]
    assert found > 0
    assert compiled > 0


@pytest.mark.cluster
def test_workers_find_what_was_compiled(place: Path, tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    said = tmp_path / "said"
    into = f"import contextlib\nwith open({str(said)!r}, 'a') as file, contextlib.redirect_stdout(file):\n "
    for _ in range(2):
        with (
            LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            client.submit(exec, f"{into}exec({RUN!r}, {{}})", {}).result()
    (digest, found, compiled), again = map(json.loads, said.read_text().splitlines())
    assert (found, compiled > 10) == (0, True)
    assert (again[0], again[1] > 10, again[2]) == (digest, True, 0)
