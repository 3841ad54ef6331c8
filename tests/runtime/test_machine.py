"""What a short calibration finds of the machine, and of a card."""

from __future__ import annotations

import threading
from contextlib import closing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cards import NAME, CardKernels, card
from numpy.typing import NDArray

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.kernels.base import load_kernels
from specscale.runtime.machine import calibrate
from specscale.runtime.threads import Threads

__all__ = ["card"]

N = 1000


class Watched(ArrayEmbedding):
    """An embedding that knows which of its rows were read, and by whom."""

    def __init__(self, array: NDArray[Any], name: str) -> None:
        super().__init__(array, name)
        self.seen: list[tuple[int, int]] = []
        self.threads: set[str] = set()

    def read(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        self.seen.append((start, stop))
        self.threads.add(threading.current_thread().name)
        return super().read(start, stop, out)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> PairedRows:
    monkeypatch.setattr("specscale.kernels.host._CALIBRATED", 16)
    monkeypatch.setattr("specscale.kernels.host._SECONDS", 0.001)
    monkeypatch.setattr("specscale.runtime.machine._COPIED_BYTES", 1 << 10)
    both = (Watched(np.ones((N, p), np.float16), name) for p, name in ((3, "a"), (5, "b")))
    return PairedRows(tuple(both), None, Match("position", N, 0, 0))


def test_the_cores_read_with_one_thread_and_have_no_card(rows: PairedRows) -> None:
    with closing(Threads(3)) as threads:
        found = calibrate(rows, threads, load_kernels())
    assert found.card is None
    assert found.gemm_rate > 0 < found.read_rate
    for one in rows.embeddings:
        assert isinstance(one, Watched)
        assert one.seen == [(0, N)]
        assert one.threads == {threading.current_thread().name}


def test_for_a_card_several_threads_read_and_its_rates_are_its_own(rows: PairedRows, card: type[CardKernels]) -> None:
    before = card.taken
    with closing(Threads(3)) as threads:
        found = calibrate(rows, threads, load_kernels("cuda"))
    assert found.card is not None
    assert (found.card.name, found.card.memory) == (NAME, card.memory - before)
    assert found.card.gemm_rate > 0 < found.card.copy_rate
    assert card.taken == before
    for one in rows.embeddings:
        assert isinstance(one, Watched)
        edges = [0, *(high for _, high in sorted(one.seen))]
        assert sorted(one.seen) == [*pairwise(edges)]
        assert edges[-1] == N
        assert len(edges) > 3
