"""Whose lease was taken over touches nothing any more: it is checked right before every step of publishing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from specscale.errors import ChangedError
from specscale.places.files import Location, exists, located, read_whole, write_whole
from specscale.results.workplace import Workplace
from specscale.stores.journal import Journal
from specscale.stores.publishing import MARK, Partial, finish_publishing

Contents = dict[str, bytes]


class Claim:
    """Held until the check of some number; it keeps what was there at each check."""

    def __init__(self, place: Location, lost_at: int) -> None:
        self.place = place
        self.lost_at = lost_at
        self.seen: list[Contents] = []

    def check(self) -> None:
        self.seen.append(contents(self.place))
        if len(self.seen) > self.lost_at:
            raise ChangedError("another process took the work over")

    def close(self) -> None:
        """Do nothing."""


def contents(place: Location) -> Contents:
    return {str(path): read_whole(path) for path in place.rglob("*") if path.is_file() and path.name != "lock"}


def fill(folder: Location, **files: bytes) -> None:
    for name, content in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".json")
        if isinstance(path, Path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)


def publish_store(place: Location, claim: Claim) -> None:
    partial = Partial(place / "a.zarr")
    fill(partial.target, zarr=b"old", features__zarr=b"old", norms__zarr=b"old")
    fill(partial.draft, zarr=b"new", features__zarr=b"new")
    journal = Journal({}, None)
    journal.result, journal.replacing = "digest", not isinstance(place, Path)
    write_whole(partial.folder / MARK, b"{}")
    finish_publishing(partial, journal, claim)
    assert read_whole(partial.target / "zarr.json") == b"new"


def publish_result(place: Location, claim: Claim) -> None:
    fill(place / "out", summary=b"old", maps=b"old")
    workplace = Workplace(place / "out", overwrite=True)
    workplace._lock.close()
    workplace._lock = claim
    fill(workplace.result, summary=b"new")
    workplace.publish(workplace.result)
    assert read_whole(place / "out" / "summary.json") == b"new"
    assert not exists(place / "out" / "maps.json")


@pytest.fixture(params=["local", "memory"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """Folders, each empty."""

    def fresh() -> Iterator[Location]:
        for number in itertools.count():
            if request.param == "memory":
                yield located(f"memory://{tmp_path.name}/{number}")
            else:
                (tmp_path / str(number)).mkdir()
                yield tmp_path / str(number)

    return fresh()


@pytest.mark.parametrize(
    ("publish", "last"), [(publish_store, "a.zarr/zarr.json"), (publish_result, "out/summary.json")]
)
def test_a_lease_that_is_lost_stops_every_step(
    publish: Callable[[Location, Claim], None], last: str, places: Iterator[Location]
) -> None:
    kept = Claim(place := next(places), lost_at=100)
    publish(place, kept)
    published = [found.get(str(place / last)) for found in kept.seen]
    # It is checked before the old one goes, and when it is gone, before the new one comes.
    assert published[0] == b"old"
    assert None in published
    for number in range(len(kept.seen)):
        lost = Claim(place := next(places), lost_at=number)
        with pytest.raises(ChangedError):
            publish(place, lost)
        assert contents(place) == lost.seen[-1]
