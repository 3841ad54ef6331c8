from __future__ import annotations

import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import forking
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forking import WARNINGS, ForkServer, spawn
from hypothesis import settings
from needs import Needs
from numpy.typing import NDArray

from specscale.method.result import Result
from specscale.runtime.threads import single_threaded_blas

for name, examples in {"few": 8, "specscale": 30, "many": 1000}.items():
    settings.register_profile(name, deadline=None, max_examples=examples, derandomize=name != "many")
settings.load_profile("specscale")  # another one by --hypothesis-profile


BEGINNING = dict(os.environ)  # before any test has changed it
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Needs(), "needs")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m gpu`` only what may need a card is read: a machine that has one may lack what the others import."""
    folders = [Path(__file__).parent / name for name in ("gpu", "kernels")]
    elsewhere = not any(collection_path.is_relative_to(folder) for folder in folders)
    return True if config.option.markexpr == "gpu" and collection_path.suffix == ".py" and elsewhere else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-crash", action="store_true", help="crash at every file operation, not at a few")


DATA = Path(__file__).parents[2] / "shared" / "data"

Pair = tuple[NDArray[Any], NDArray[Any]]


def structured(n: int, p_a: int = 12, p_b: int = 9, seed: int = 0, dtype: str = "float32") -> Pair:
    """Two embeddings of the same n samples, in groups of unequal sizes of which each sees only some.

    Groups 0 to 2 are apart in A and lie on one another in B, groups 3 and 4 the other way round, the rest is spread
    in both.
    """
    generator = np.random.default_rng(seed)
    group = generator.choice(6, size=n, p=[0.22, 0.15, 0.09, 0.18, 0.11, 0.25])
    a = generator.normal(size=(n, p_a)) * np.where(group < 3, 0.15, 1.2)[:, None]
    b = generator.normal(size=(n, p_b)) * np.where((group == 3) | (group == 4), 0.15, 1.2)[:, None]
    a += 2 * generator.normal(size=(6, p_a))[group] * (group < 3)[:, None]
    b += 2 * generator.normal(size=(6, p_b))[group] * ((group == 3) | (group == 4))[:, None]
    return a.astype(dtype), b.astype(dtype)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit status of a command in this process."""
    from specscale.cli import main

    monkeypatch.setattr("sys.argv", ["specscale", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code if isinstance(end.value.code, int) else 0


def priced(*costs: Any) -> Any:
    """Steps that cost so much and do nothing."""
    from specscale.method.steps import Step, Steps

    return Steps(computing=tuple(Step(cost, lambda state: None) for cost in costs))


@pytest.fixture
def threads_left() -> Callable[[], list[threading.Thread]]:
    """Tells the threads that run and did not before the test."""
    before = set(threading.enumerate())

    def left() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one not in before]

    return left


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the test is in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored_pair(folder: Path, n: int) -> tuple[str, str]:
    """Two stores of the same n samples."""
    from specscale.stores.ingest import ingest

    for name, array in zip("ab", structured(n, 6, 5), strict=True):
        np.save(folder / f"{name}.npy", array)
        ingest(folder / f"{name}.npy", folder / f"{name}.zarr")
    return str(folder / "a.zarr"), str(folder / "b.zarr")


def compared_alone(stores: tuple[str, str], out: Path, settings: dict[str, Any]) -> Result:
    """The result of this process alone, with short spans and nothing in its way."""
    from specscale import compare

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.runtime.spans._MOST_CHUNKS", 1)
        return compare(*stores, out=out, **settings)


@pytest.fixture(scope="session", autouse=True)
def _soon_measured() -> Iterator[None]:
    """Runs in this process measure the machine too, but not for a quarter of a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.kernels.host._CALIBRATED", 64)
        patch.setattr("specscale.kernels.host._SECONDS", 0.002)
        patch.setattr("specscale.runtime.machine._COPIED_BYTES", 1 << 16)
        yield


@pytest.fixture
def pair() -> Pair:
    return structured(700)


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    return structured


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """The environment that reaches a real S3 server of this session."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from s3server import s3_server

    with s3_server() as environment:
        yield environment


@pytest.fixture
def s3(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A folder of its own on that server, as a URL; processes that the test starts reach it too."""
    from s3server import BUCKET

    assert request.node.get_closest_marker("s3"), "a test that asks for it on its way has the mark s3"

    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Write an embedding store from an array: ``make_store("a", array, ids=…, columns={…})``."""
    from specscale.stores.ingest import ingest

    def make(
        name: str,
        array: NDArray[Any],
        ids: Sequence[Any] | None = None,
        columns: dict[str, Sequence[Any]] | None = None,
        **options: Any,
    ) -> Path:
        source, store = tmp_path / f"{name}.npy", tmp_path / f"{name}.zarr"
        np.save(source, array)
        table = {**({} if ids is None else {"key": ids}), **(columns or {})}
        if table:
            pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
            options["metadata"] = str(tmp_path / f"{name}.parquet")
        if ids is not None:
            options["id_column"] = "key"
        ingest(str(source), str(store), **options)
        return store

    return make


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer | None]:
    """What runs of this session are forked from, where that can be."""
    server = ForkServer(BEGINNING) if forking.POSSIBLE else None
    yield server
    if server:
        server.close()


@pytest.fixture
def run_python(tmp_path: Path, fork_server: ForkServer | None) -> Run:
    """Run Python code in a process of its own, with the test's folder as its working directory."""
    return partial(_run_python, fork_server, tmp_path)


@pytest.fixture
def run_cli(tmp_path: Path, fork_server: ForkServer | None) -> Run:
    """Run the command line in a process of its own: ``run_cli("compare", "a.zarr", "b.zarr", "-o", "out")``."""
    return partial(_run_cli, fork_server, tmp_path)


@pytest.fixture
def spawn_python(tmp_path: Path) -> Run:
    """Do what run_python does, in a process that starts Python: for what is decided at its beginning."""
    return partial(_run_python, None, tmp_path)


@pytest.fixture
def spawn_cli(tmp_path: Path) -> Run:
    """Do what run_cli does, in a process that starts Python: for what is decided at its beginning."""
    return partial(_run_cli, None, tmp_path)


def _run_python(server: ForkServer | None, folder: Path, code: str, *arguments: str, timeout: float = 300) -> Done:
    environment = {**os.environ, "PYTHONWARNINGS": WARNINGS}
    if server and server.serves(environment):
        return server.run(code, arguments, folder, environment, timeout)
    return spawn(["-c", code, *arguments], folder, environment, timeout)


def _run_cli(
    server: ForkServer | None,
    folder: Path,
    *arguments: str | Path,
    timeout: float = 300,
    env: Mapping[str, str] = os.environ,
) -> Done:
    words = [*map(str, arguments)]
    if server and server.serves(env):
        return server.run("specscale", words, folder, env, timeout)
    return spawn(["-m", "specscale", *words], folder, env, timeout)


@pytest.fixture
def one_blas_thread() -> Any:
    """Keep BLAS to one thread, as a run does."""
    with single_threaded_blas():
        yield


@pytest.fixture
def wordnet() -> tuple[Path, ...]:
    """The vectors of WordNet's definitions under two models, where they are at hand."""
    found = tuple(sorted((DATA / "wordnet").glob("*.npy")))
    if len(found) < 2:
        pytest.skip("the WordNet vectors are not here")
    return found
