"""A covariance that is there is not made again: other modes, another η and what else comes after it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pair, Run

from specscale import compare, compare_many
from specscale.errors import ChangedError, SpecscaleError
from specscale.method.result import Result
from specscale.runtime.events import Event, PassStarted, Warned
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
from specscale.spectral import difference, krylov

KILLED = """
import os, signal, sys
import numpy as np, specscale as ss
from specscale.runtime.events import Stage
from specscale.runtime.local import LocalExecutor
from specscale.runtime.threads import Threads
def progress(event):
    if isinstance(event, Stage) and event.name == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
executor = LocalExecutor(Threads(1), patience=0)
a, b = np.load(sys.argv[1]), np.load(sys.argv[2])
ss.compare(a, b, out=sys.argv[3], progress=progress, executor=executor, n_modes=2, eta=0.5)
"""


def passes(events: list[Event]) -> dict[str, int]:
    """The rows that each pass found done."""
    return {event.name: event.done for event in events if isinstance(event, PassStarted)}


def same(found: Result, expected: Result) -> None:
    np.testing.assert_array_equal(found.eigenvalues, expected.eigenvalues)
    np.testing.assert_array_equal(found.scores[:], expected.scores[:])
    assert [vars(one) | {"_result": None} for one in found.modes] == [
        vars(one) | {"_result": None} for one in expected.modes
    ]


@pytest.mark.parametrize("stage", ["solve", "certificate"])
def test_a_killed_run_goes_on_with_other_modes_from_its_covariance(
    pair: Pair, tmp_path: Path, run_python: Run, stage: str
) -> None:
    names = [str(tmp_path / f"{name}.npy") for name in "ab"]
    for name, x in zip(names, pair, strict=True):
        np.save(name, x)
    out = tmp_path / "out"
    done = run_python(KILLED, *names, str(out), stage)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(ChangedError, match=r"begun with seed 0, now it is 1.*but for eta, n_modes, top"):
        compare(*pair, out=out, resume=True, seed=1)
    other: dict[str, Any] = {"n_modes": 4, "eta": 2.0, "rotate": "varimax", "certify": 50, "top": 7, "refine": 1}
    events: list[Event] = []
    result = compare(*pair, out=out, resume=True, progress=events.append, **other)
    assert passes(events)["covariance"] == len(pair[0])
    assert passes(events)["scores"] == 0
    same(result, compare(*pair, size=result.summary["maps"]["size"], **other))
    assert not out.with_name("out.work").exists()


@pytest.mark.slow
def test_the_size_of_the_maps_is_that_of_the_interrupted_run(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specscale.method.sizing.SIZES", (30, 60, 120))
    monkeypatch.setattr("specscale.method.sizing.TARGET", 0.9)
    sizes = [compare(*pair, n_modes=k, certify=0).summary["maps"]["size"] for k in (1, 20)]
    assert sizes[0] < sizes[1]

    def fail(*_: Any) -> None:
        raise SpecscaleError("as if")

    with monkeypatch.context() as broken:
        broken.setattr("specscale.method.comparison.solve_difference", fail)
        with pytest.raises(SpecscaleError, match="as if"):
            compare(*pair, out=tmp_path / "out", n_modes=1, executor=LocalExecutor(Threads(1), patience=0))
    for stop in (True, False):  # and once more, when it is interrupted again
        events: list[Event] = []
        with monkeypatch.context() as broken:
            if stop:
                broken.setattr("specscale.method.comparison.solve_difference", fail)
                with pytest.raises(SpecscaleError, match="as if"):
                    compare(*pair, out=tmp_path / "out", n_modes=20, resume=True)
            else:
                result = compare(*pair, out=tmp_path / "out", n_modes=20, resume=True, progress=events.append)
    assert passes(events)["covariance"] == len(pair[0])
    assert result.summary["maps"]["size"] == sizes[0]
    same(result, compare(*pair, n_modes=20, size=sizes[0]))


@pytest.mark.slow
def test_a_matrix_goes_on_with_another_eta(make_pair: Callable[..., Pair], tmp_path: Path) -> None:
    arrays = [*make_pair(300), make_pair(300, seed=1)[0]]

    def stop(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "scores":
            raise KeyboardInterrupt

    executor = LocalExecutor(Threads(1), patience=0)
    with pytest.raises(KeyboardInterrupt):
        compare_many(arrays, out=tmp_path / "out", executor=executor, progress=stop, size=50)
    events: list[Event] = []
    found = compare_many(arrays, out=tmp_path / "out", resume=True, progress=events.append, size=50, eta=2.0, n_modes=3)
    assert passes(events)["covariance"] == 300
    np.testing.assert_array_equal(found.spec_diff, compare_many(arrays, size=50, eta=2.0, n_modes=3).spec_diff)


@pytest.mark.slow
def test_exact_modes_have_no_covariance_to_go_on_from(pair: Pair, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, PassStarted) and event.name == "scores":
            raise KeyboardInterrupt

    options: dict[str, Any] = {"features": "exact", "sample": 200, "out": tmp_path / "out"}
    with pytest.raises(KeyboardInterrupt):
        compare(*pair, progress=stop, **options)
    with pytest.raises(ChangedError, match="eta") as caught:
        compare(*pair, resume=True, eta=2.0, **options)
    assert "but for" not in str(caught.value)


@pytest.mark.parametrize("rounding", [difference.ROUNDING, 0.0])
@pytest.mark.slow
def test_a_solve_that_stops_early_has_a_result_and_a_word(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rounding: float
) -> None:
    # Modes of noise that all but tie, as those of a random baseline beside a structured embedding.
    generator = np.random.default_rng(0)
    label = generator.integers(0, 8, 700)
    structured = (1.2 * generator.normal(size=(8, 24)))[label] + generator.normal(size=(700, 24))
    random = generator.normal(size=(700, 4096))
    monkeypatch.setattr(krylov, "MAX_BLOCKS", 24)
    monkeypatch.setattr(krylov, "TOLERANCE", 1e-14)
    monkeypatch.setattr(difference, "ROUNDING", rounding)
    said: list[str] = []
    result = compare(
        random.astype(np.float32),
        structured.astype(np.float32),
        size=400,
        out=tmp_path / "out",
        progress=lambda event: said.append(event.message) if isinstance(event, Warned) else None,
    )
    assert len(result.modes) == 20
    told = [one for one in said if "before these modes had converged" in one]
    assert bool(told) is not bool(rounding)
    assert told == [one for one in result.summary["warnings"] if "converged" in one]
    if told:
        assert "residual" in told[0]
        assert "λ = " in told[0]


@pytest.mark.slow
def test_modes_that_tie_with_noise_do_not_alarm() -> None:
    generator = np.random.default_rng(5)
    label = generator.integers(0, 6, 2600)
    structured = (1.5 * generator.normal(size=(6, 24)))[label] + generator.normal(size=(2600, 24))
    random = generator.normal(size=(2600, 200))
    options: dict[str, Any] = {"certify": 0, "n_modes": 8, "memory": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.method.sizing.SIZES", (250,))
        choice = compare(random.astype(np.float32), structured.astype(np.float32), **options).summary["choice"]
    assert "that stand out" in choice
    assert "less than the target" not in choice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("specscale.method.sizing.SIZES", (8,))  # too few for the groups too
        choice = compare(random.astype(np.float32), structured.astype(np.float32), **options).summary["choice"]
    assert "less than the target 0.99: a larger --size" in choice
