"""What commands are killed at, and on which files: the same command again must leave what an undisturbed one does."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import structured
from zygote import KILLED

Files = dict[str, bytes | None]  # the bytes of files, and None of folders, by their path

ROWS, MORE = 150, 50
_COMPARED = ["--size", "12", "--top", "5", "--threads", "1", "--quiet"]
_COMPARE = ["compare", "a.zarr", "b.zarr", *_COMPARED, "--modes", "2", "--certify", "20"]
_COMPARE += ["--sigma-a", "3", "--sigma-b", "3"]
_MATRIX = ["matrix", "a.zarr", "b.zarr", *_COMPARED, "--modes", "2", "--sigma", "3"]
_UPDATE = ["compare", "a.zarr", "b.zarr", "--update", "out", "--threads", "1", "--quiet"]
# What a run measures, and no other run finds again.
_MEASURED = ("memory", "machine", "seconds", "peak_memory", "measured")


def _ingest(source: str, store: str, *options: str) -> list[str]:
    return [
        "ingest",
        source,
        store,
        "--metadata",
        source.replace(".npy", ".parquet"),
        "--id",
        "key",
        "--quiet",
        *options,
    ]


@dataclass(frozen=True)
class Scenario:
    """
    A command, and the ones before it.

    Attributes
    ----------
    before
        Commands that make what it begins with.
    command
        The command; names of stores and results are those in the folder.
    """

    before: tuple[list[str], ...]
    command: list[str]


_STORES = (_ingest("a.npy", "a.zarr"), _ingest("b.npy", "b.zarr"))
_GROWN = tuple(_ingest(f"{name}-more.npy", f"{name}.zarr", "--append") for name in "ab")

SCENARIOS = {
    "ingest": Scenario((), _ingest("a.npy", "a.zarr")),
    "append": Scenario(_STORES[:1], _ingest("a-more.npy", "a.zarr", "--append")),
    "overwrite": Scenario(_STORES[:1], _ingest("b.npy", "a.zarr", "--overwrite")),
    "compare": Scenario(_STORES, [*_COMPARE, "-o", "out", "--resume"]),
    "overwrite a result": Scenario(
        (*_STORES, [*_COMPARE, "-o", "out"]), [*_COMPARE, "-o", "out", "--rounds", "0", "--overwrite"]
    ),
    "refine": Scenario(_STORES, [*_COMPARE, "-o", "out", "--refine", "1", "--rounds", "0", "--resume"]),
    "matrix": Scenario(_STORES, [*_MATRIX, "-o", "out", "--resume"]),
    "update": Scenario((*_STORES, [*_COMPARE, "-o", "out"], *_GROWN), [*_UPDATE, "--overwrite", "--resume"]),
}


# What a command says of work that was done, and its traces gone, before it could say so.
_DONE = re.compile("exists[:;] choose another|ids must be distinct|they were appended before")
# How a command fails at an operation.
FAILURES: dict[str, dict[str, Any]] = {
    "killed": {},
    "killed after opening": {"torn": True},
    "full disk": {"error": errno.ENOSPC},
}


class Place(Protocol):
    """A folder that is emptied and filled again for every crash."""

    def at(self, name: str) -> str:
        """What a command calls a store or a result in it."""
        ...

    def restore(self, files: Files) -> None:
        """Make the folder hold these files and no others."""
        ...

    def files(self) -> Files:
        """All that it holds, without what a run measures."""
        ...


class LocalPlace:
    """A local folder, which is the working directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, name: str) -> str:
        """The name itself."""
        return name

    def restore(self, files: Files) -> None:
        """Make the folder hold these files and no others."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        for name, content in files.items():
            if content is None:
                (self._folder / name).mkdir(parents=True, exist_ok=True)
            else:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / name).write_bytes(content)

    def files(self) -> Files:
        """All that it holds, empty folders too."""
        found = {path.relative_to(self._folder).as_posix(): path for path in self._folder.rglob("*")}
        return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


class S3Place:
    """A folder of a bucket."""

    def __init__(self, url: str) -> None:
        import boto3

        self._url = url
        bucket, _, self._prefix = url.removeprefix("s3://").partition("/")
        self._bucket = boto3.resource("s3").Bucket(bucket)

    def at(self, name: str) -> str:
        """The URL of a store or a result."""
        return f"{self._url}/{name}"

    def restore(self, files: Files) -> None:
        """Make the folder hold these objects and no others."""
        self._bucket.objects.filter(Prefix=f"{self._prefix}/").delete()
        for name, content in files.items():
            self._bucket.put_object(Key=f"{self._prefix}/{name}", Body=content)

    def files(self) -> Files:
        """All objects in it."""
        found = self._bucket.objects.filter(Prefix=f"{self._prefix}/")
        return {one.key.removeprefix(f"{self._prefix}/"): one.get()["Body"].read() for one in found}


class Zygote:
    """
    The process that forks for each command.

    Parameters
    ----------
    folder
        The working directory of commands; operations on files in it are counted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._output = folder.with_name("output")
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def run(self, arguments: list[str], **how: Any) -> dict[str, Any]:
        """Run a command; its status, what it said, and how many operations it did."""
        job = {"folder": str(self.folder), "output": str(self._output), "arguments": arguments, **how}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@dataclass
class Torture:
    """
    A scenario at a place.

    Parameters
    ----------
    zygote
        What runs commands.
    place
        Where they work.
    scenario
        What they are.
    sources
        The folder of the files that are ingested.
    environment
        Of the commands.
    made
        What commands left at this place before, by these commands.
    """

    zygote: Zygote
    place: Place
    scenario: Scenario
    sources: Path
    environment: dict[str, str]
    made: dict[str, Files] = field(default_factory=dict)

    def prepare(self) -> list[tuple[int, str]]:
        """Do what comes before the command, and the command once; at what operations it can fail, and how."""
        self._begin = self._made(self.scenario.before)
        self.place.restore(self._begin)
        done = self._run_well(self.scenario.command)
        self.expected = comparable(self.place.files())
        points = {"killed": range(done["operations"]), "killed after opening": done["openings"]}
        if isinstance(self.place, LocalPlace):
            points["full disk"] = points["killed"]
        return [(at, failure) for failure in points for at in points[failure]]

    def _made(self, commands: tuple[list[str], ...]) -> Files:
        if not commands:
            return {}
        if (key := json.dumps(commands)) not in self.made:
            self.place.restore(self._made(commands[:-1]))
            self._run_well(commands[-1])
            self.made[key] = self.place.files()
        return self.made[key]

    def fail(self, at: int, failure: str) -> str | None:
        """What is wrong after a failure at an operation and the same command again; None where nothing is."""
        self.place.restore(self._begin)
        first = self._run(self.scenario.command, at=at, **FAILURES[failure])
        if first["status"] not in (0, 1, KILLED):
            return f"ended with {first['status']}: {first['said'][-500:]}"
        again = self._run(self.scenario.command)
        wrong = differences(self.expected, comparable(self.place.files()))
        if wrong or (again["status"] and not (again["status"] == 1 and _DONE.search(again["said"]))):
            return f"{wrong}, status {again['status']}: {again['said'][-500:]}"
        return None

    def _run(self, command: list[str], **how: Any) -> dict[str, Any]:
        return self.zygote.run([self.called(word) for word in command], environment=self.environment, **how)

    def _run_well(self, command: list[str]) -> dict[str, Any]:
        done = self._run(command)
        assert done["status"] == 0, done["said"]
        return done

    def called(self, word: str) -> str:
        """A word of a command, as it is at this place."""
        if word == "out" or word.endswith(".zarr"):
            return self.place.at(word)
        return str(self.sources / word) if word.endswith((".npy", ".parquet")) else word


def comparable(files: Files) -> Files:
    """Files without what a run measures."""
    return {
        name: json.dumps(_without_measured(json.loads(content)), indent=1).encode()
        if content and name.endswith("summary.json")
        else content
        for name, content in files.items()
    }


def _without_measured(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _without_measured(value) for name, value in found.items() if name not in _MEASURED}
    return [_without_measured(one) for one in found] if isinstance(found, list) else found


def differences(expected: Files, found: Files) -> str:
    """Which files are missing, or should not be there, or are others; empty where all is well."""
    said = {
        "missing": expected.keys() - found.keys(),
        "stray": found.keys() - expected.keys(),
        "other": {name for name in expected.keys() & found.keys() if expected[name] != found[name]},
    }
    return "; ".join(f"{what}: {', '.join(sorted(names)[:4])}" for what, names in said.items() if names)


def write_sources(folder: Path) -> None:
    """The files that are ingested."""
    for name, array in zip("ab", structured(ROWS + MORE, 6, 5), strict=True):
        for ending, rows in (("", range(ROWS)), ("-more", range(ROWS, ROWS + MORE))):
            np.save(folder / f"{name}{ending}.npy", array[rows.start : rows.stop])
            columns = {"key": [f"k{row}" for row in rows], "weight": list(rows)}
            pq.write_table(pa.table(columns), folder / f"{name}{ending}.parquet")


def warm(zygote: Zygote, sources: Path) -> None:
    """Compile and load what commands need, before it is forked."""
    place = LocalPlace(zygote.folder)
    for command in (*_STORES, [*_COMPARE, "-o", "out", "--refine", "1"], [*_MATRIX, "-o", "matrix.out"]):
        torture = Torture(zygote, place, Scenario((), command), sources, {})
        done = torture._run(command, warm=True)
        assert done["status"] == 0, done["said"]
