"""The passes on a device: the numbers of the reference, and the same bits in every order that events allow."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from emulation.queues import Event, Order, at_once, drawn, shuffled
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from recording import RecordingDevice, recording_kernels

from specscale.embeddings.array import ArrayEmbedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.errors import InputError, OutOfMemory
from specscale.features.base import FeatureMap
from specscale.features.fourier import FourierMap
from specscale.features.kernel import ExactKernel
from specscale.features.landmarks import LandmarkMap
from specscale.features.linear import LinearMap
from specscale.kernels.base import Kernels, load_kernels
from specscale.kernels.device import Queue
from specscale.kernels.gpu import GpuKernels
from specscale.passes import base
from specscale.passes.base import Pass
from specscale.passes.covariance import covariance
from specscale.passes.membership import Core, membership
from specscale.passes.products import Held, products
from specscale.passes.remainders import Remainders, remainders
from specscale.passes.scores import MappedScores, score
from specscale.passes.stripes import Stripe
from specscale.runtime.events import Notify, Warned, silent
from specscale.runtime.local import LocalExecutor
from specscale.runtime.row_arrays import RowArray
from specscale.runtime.spans import Span
from specscale.runtime.threads import Threads

N, BLOCK, SPAN = 700, 90, 270
SPANS = [Span(i, low, min(low + SPAN, N)) for i, low in enumerate(range(0, N, SPAN))]
P, K, TOP = (6, 5), 3, 7
ORDERS = st.lists(st.integers(0, 5), min_size=1, max_size=12).map(drawn)
CERTAIN = np.arange(N) % 7 > 0

Found = dict[str, NDArray[Any]]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch, one_blas_thread: None) -> None:
    monkeypatch.setattr("specscale.runtime.sweeper.BLOCK_ROWS", BLOCK)


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


ARRAYS = normal(N, P[0]), normal(N, P[1], seed=1).astype(np.float16)
ROWS = PairedRows(tuple(map(ArrayEmbedding, ARRAYS, "ab")), CERTAIN, Match("position", N, int((~CERTAIN).sum()), 0))
EXACT = tuple(ExactKernel(np.full(p, 0.1), unit, 1.5) for p, unit in zip(P, (False, True), strict=True))
LANDMARKS = tuple(LandmarkMap.of(one, np.arange(0, N, 35), x[::35]) for one, x in zip(EXACT, ARRAYS, strict=True))
MAPS: dict[str, tuple[FeatureMap, ...]] = {
    "fourier": tuple(FourierMap(p, 20, 1.5, 0, False, np.full(p, 0.1), False) for p in P),
    "landmarks": LANDMARKS,
    "linear": tuple(map(LinearMap, P)),
}


class Case(NamedTuple):
    """A pass, and what there is to see when it has been run."""

    work: Pass[Any]
    found: Callable[[Any], Found]


def covariance_of(maps: str, folder: Path) -> Case:
    return Case(covariance(MAPS[maps]), lambda result: {"C": result.buffer})


def scores_of(maps: str, folder: Path) -> Case:
    d = sum(one.dim for one in MAPS[maps])
    written = np.full((N, K), 77, np.float32)

    def write(first: int, values: NDArray[np.float32]) -> None:
        written[first : first + len(values)] = values

    source = MappedScores(MAPS[maps], normal(d, K, seed=2).astype(np.float64), ROWS.n_kept, np.array([1, 2, 0.5]))
    action = normal(K, K, seed=3).astype(np.float64)
    work = score(source, action, n=N, top=TOP, chunk_rows=SPAN, write=write)
    return Case(work, lambda summary: {"written": written, **vars(summary)})


def certificate(maps: str, folder: Path) -> Case:
    anchors = Held(ROWS.take(np.arange(0, ROWS.n_kept, 9)))
    vectors = RowArray.written(folder / "vectors", normal(ROWS.n_kept, K, seed=4))
    return Case(
        products("certificate", EXACT, anchors, vectors.of, K, ROWS.n_kept), lambda result: {"products": result}
    )


def stripe(maps: str, folder: Path) -> Case:
    vectors = RowArray.written(folder / "vectors", normal(ROWS.n_kept, K, seed=4).astype(np.float64))
    edges = (*(ROWS.kept_before(span.start) for span in SPANS), ROWS.n_kept)
    (folder / "passing").mkdir()
    passing = RowArray(folder / "passing", edges, (len(EXACT), K), "float64")
    anchors = Stripe(ROWS, 0, 200, vectors.read)
    work = products("stripe", EXACT, anchors, vectors.of, K, ROWS.n_kept, passing)
    return Case(work, lambda result: {"products": result, "passing": passing.read(0, ROWS.n_kept)})


def remainders_of(maps: str, folder: Path) -> Case:
    return Case(remainders(Remainders.of(LANDMARKS), 12, 0), vars)


def membership_of(maps: str, folder: Path) -> Case:
    edges = (*(ROWS.kept_before(span.start) for span in SPANS), ROWS.n_kept)
    (folder / "likeness").mkdir()
    likeness = RowArray(folder / "likeness", edges, (2,), "float32")
    runs = (np.arange(0, 40), 1), (np.arange(30, ROWS.n_kept, 50), -1)
    cores = [Core(positions, ROWS.take(positions), direction, 0.01, 0.1) for positions, direction in runs]
    work = membership(EXACT, cores, eta=1.0, seed=0, top=TOP, sample=5, likeness=likeness)
    return Case(
        work, lambda found: {"likeness": likeness.read(0, ROWS.n_kept), "sizes": found.sizes, "drawn": found.drawn}
    )


def both(maps: str, folder: Path) -> Case:
    first, second = covariance_of(maps, folder), remainders_of(maps, folder)
    return Case(base.at_once(first.work, second.work), lambda both: {**first.found(both[0]), **second.found(both[1])})


Make = Callable[[str, Path], Case]
CASES = [
    pytest.param(covariance_of, "fourier", id="covariance, fourier"),
    pytest.param(covariance_of, "landmarks", id="covariance, landmarks"),
    pytest.param(covariance_of, "linear", id="covariance, linear"),
    pytest.param(scores_of, "fourier", id="scores, fourier"),
    pytest.param(scores_of, "landmarks", id="scores, landmarks"),
    pytest.param(certificate, "", id="certificate"),
    pytest.param(stripe, "", id="stripe"),
    pytest.param(remainders_of, "", id="remainders"),
    pytest.param(membership_of, "", id="membership"),
    pytest.param(both, "landmarks", id="covariance and remainders"),
]


def swept(make: Make, maps: str, kernels: Kernels, notify: Notify = silent) -> Found:
    """What a pass finds under a backend."""
    with tempfile.TemporaryDirectory() as place, closing(Threads(2)) as threads:
        case = make(maps, Path(place))
        result = LocalExecutor(threads, 1e9, kernels).run(case.work, ROWS, SPANS, Path(place, "work"), notify)
        return case.found(result)


@functools.cache
def as_late_as_may_be(make: Make, maps: str) -> dict[str, bytes]:
    return content(swept(make, maps, recording_kernels()))


def content(found: Found) -> dict[str, bytes]:
    return {name: np.asarray(one).tobytes() for name, one in found.items()}


@pytest.mark.parametrize(("make", "maps"), CASES)
@pytest.mark.slow
def test_the_numbers_are_those_of_the_reference(make: Make, maps: str) -> None:
    exact, found = (swept(make, maps, one) for one in (load_kernels("reference"), recording_kernels()))
    assert exact.keys() == found.keys()
    for name in exact.keys() - {"checksums"}:
        scale = np.nanmax(np.abs(exact[name]))
        np.testing.assert_allclose(found[name], exact[name], atol=1e-5 * scale, rtol=0, err_msg=name)


@pytest.mark.parametrize(("make", "maps"), CASES)
@settings(max_examples=6)
@given(order=ORDERS)
@pytest.mark.slow
def test_the_bits_are_the_same_in_every_order(make: Make, maps: str, order: Order) -> None:
    assert content(swept(make, maps, recording_kernels(order))) == as_late_as_may_be(make, maps)


class Forgetful(RecordingDevice):
    """A device whose users leave out something that events are for."""

    def __init__(self, forgotten: str) -> None:
        super().__init__()
        self._forgotten = forgotten

    def after(self, queue: Queue, event: Event) -> None:
        if self._forgotten != "that memory was another block's":
            super().after(queue, event)

    def wait(self, event: Event) -> None:
        if self._forgotten == "that rows must be there" and event.queue == "copy":
            return
        if self._forgotten == "that rows are read into the same host memory" and event.queue == "copy":
            super().after("compute", event)
            return
        if self._forgotten == "that the host waits for what it fetches" and event.queue == "compute":
            return
        super().wait(event)


@pytest.mark.parametrize(
    "forgotten",
    [
        "that memory was another block's",
        "that rows must be there",
        "that rows are read into the same host memory",
        "that the host waits for what it fetches",
    ],
)
@pytest.mark.parametrize(("make", "maps"), [CASES[0], CASES[4]])
@pytest.mark.slow
def test_an_event_that_is_left_out_gives_wrong_numbers(make: Make, maps: str, forgotten: str) -> None:
    try:
        found = content(swept(make, maps, GpuKernels(Forgetful(forgotten))))
    except (InputError, IndexError):
        return  # what was there was no row, or no note of one
    assert found != as_late_as_may_be(make, maps)


class Hasty(GpuKernels):
    """A backend that gives the memory of rows to other rows whatever is still to read it."""

    def spent(self, array: Any) -> None:
        before = {key: len(some) for key, some in self._spent.items()}
        super().spent(array)
        for key, some in self._spent.items():
            if len(some) > before.get(key, 0):
                some.append((some.pop()[0], Event("compute", 0)))


@pytest.mark.parametrize("backend", [GpuKernels, Hasty])
def test_rows_that_are_fed_too_early_give_wrong_numbers(backend: type[GpuKernels]) -> None:
    card = backend(RecordingDevice())
    weights, out = card.put(normal(5, 3)), card.empty((8, 3), np.float32)
    host = card.pinned((8, 5), np.float32)
    for seed in (1, 2):
        host[...] = normal(8, 5, seed=seed)
        rows = card.feed(host)
        if seed == 1:
            card.project(rows, weights, out)
        card.spent(rows)
    right = np.allclose(card.get(out), normal(8, 5, seed=1) @ normal(5, 3), atol=1e-5)
    assert right == (backend is GpuKernels)


class Measured(RecordingDevice):
    """A device that keeps the most that was ever in it."""

    most = 0

    def release(self) -> None:
        self.most = max(self.most, self.peak_memory())
        super().release()


@pytest.mark.parametrize(("make", "maps"), [CASES[1], CASES[3], CASES[5]])
@pytest.mark.slow
def test_a_device_of_little_memory_gives_the_same_bits_or_a_line(make: Make, maps: str) -> None:
    device, told = Measured(), list[str]()

    def notify(event: object) -> None:
        if isinstance(event, Warned):
            told.append(event.message)

    assert content(swept(make, maps, GpuKernels(device), notify)) == as_late_as_may_be(make, maps)
    assert told == []
    little = recording_kernels(memory=int(0.9 * device.most))
    assert content(swept(make, maps, little, notify)) == as_late_as_may_be(make, maps)
    assert [line for line in told if "the device has little memory left" in line] == told != []
    with pytest.raises(OutOfMemory, match=r"^the card has \d+ bytes left, and \d+ are needed"):
        swept(make, maps, recording_kernels(memory=device.most // 20))


def test_a_covariance_has_the_same_bits_at_once_and_as_late_as_may_be() -> None:
    for order in (at_once, shuffled(0)):
        found = content(swept(covariance_of, "linear", recording_kernels(order)))
        assert found == as_late_as_may_be(covariance_of, "linear")
