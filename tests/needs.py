"""What a test needs besides this process is told by its marks, most of which are set by the fixtures it asks for.

A test that starts a process without a mark that allows for it fails: what is unmarked runs everywhere, at once and
beside anything.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FIXTURES = {
    "s3": "s3",
    "s3_environment": "s3",
    "run_cli": "process",
    "run_python": "process",
    "spawn_cli": "process",
    "spawn_python": "process",
    "wordnet": "data",
}
FOLDERS = {Path("runtime", "cluster"): "cluster"}
LONGEST = ("cluster", "process", "s3", "slow")
STARTING = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec"}
MAY_START = ("process", "cluster", "s3", "install", "gpu")
# Once in a process, whichever test comes first: by libraries, and by the emulation of a card's kernels.
ASKED_ONCE = {"lscpu", "/sbin/ldconfig", str(shutil.which("g++"))}


class Needs:
    """Sets marks when tests are collected, and holds tests to them when they run."""

    def __init__(self) -> None:
        self._started: list[str] = []
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTING and not ASKED_ONCE & {*map(str, arguments[:1])}:
            self._started.append(f"{event} {arguments[:2]}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in _needed(item):
                item.add_marker(mark)
        if hasattr(config, "workerinput"):  # what takes longest begins first, and no worker is left with it at the end
            items.sort(key=lambda item: [item.get_closest_marker(mark) is None for mark in LONGEST])
        else:  # a card is lent for minutes: of what takes longest there, all else has been heard before
            items.sort(key=lambda item: all(item.get_closest_marker(mark) for mark in ("gpu", "slow")))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker("gpu") and not _has_gpu():
            pytest.skip("there is no GPU here")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self._started.clear()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        result = yield
        if self._started and not any(map(item.get_closest_marker, MAY_START)):
            pytest.fail(f"a test that starts a process ({self._started[0]}) has the mark process", pytrace=False)
        return result


def _needed(item: pytest.Item) -> set[str]:
    """The marks of an item; one that takes S3 among other places asks for it by a parameter that begins with s3."""
    needed = {FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES}
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if any(isinstance(value, str) and value.split(" ")[0] == "s3" for value in parameters):
        needed.add("s3")
    folder = item.path.parent.relative_to(Path(__file__).parent)
    return needed | {mark for place, mark in FOLDERS.items() if folder.is_relative_to(place)}


def _has_gpu() -> bool:
    try:
        import cupy

        return bool(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # of a library that is not there, or not for this driver
        return False
