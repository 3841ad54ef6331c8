"""Killed at any file operation, a command that is given again leaves what an undisturbed one does, and nothing else.

By default a few operations are drawn, always the same; ``--every-crash`` takes all.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3server import BUCKET
from torture import SCENARIOS, Files, LocalPlace, S3Place, Torture, Zygote, differences, warm, write_sources
from zygote import KILLED

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")]

DRAWN = {"local": 2, "s3": 1}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_sources(folder)
    return folder


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory, sources: Path) -> Iterator[Zygote]:
    folder = tmp_path_factory.mktemp("torture") / "here"
    folder.mkdir()
    zygote = Zygote(folder)
    warm(zygote, sources)
    yield zygote
    zygote.close()


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Files]]:
    """What commands have left at a place."""
    return {"local": {}, "s3": {}}


@pytest.mark.parametrize("where", ["local", "s3"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_same_command_again_ends_well(
    scenario: str,
    where: str,
    zygote: Zygote,
    sources: Path,
    made: dict[str, dict[str, Files]],
    request: pytest.FixtureRequest,
) -> None:
    environment: dict[str, str] = {}
    place: LocalPlace | S3Place = LocalPlace(zygote.folder)
    if where == "s3":
        place.restore({})
        request.getfixturevalue("s3")
        place = S3Place(f"s3://{BUCKET}/torture")
        environment = request.getfixturevalue("s3_environment")
    torture = Torture(zygote, place, SCENARIOS[scenario], sources, environment, made[where])
    points = torture.prepare()
    if not request.config.getoption("--every-crash"):
        points = random.Random(f"{scenario} {where}").sample(points, DRAWN[where])
    found = {f"{failure} at operation {at}": torture.fail(at, failure) for at, failure in points}
    assert {point: wrong for point, wrong in found.items() if wrong} == {}


def test_what_a_crash_leaves_is_seen(zygote: Zygote, sources: Path) -> None:
    place = LocalPlace(zygote.folder)
    torture = Torture(zygote, place, SCENARIOS["ingest"], sources, {})
    points = torture.prepare()
    place.restore({})
    done = zygote.run([*map(torture.called, SCENARIOS["ingest"].command)], at=len(points) // 4)
    assert done["status"] == KILLED
    found = differences(torture.expected, place.files())
    assert "missing" in found
    assert "a.zarr.partial" in found
