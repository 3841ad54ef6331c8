"""Stages of a sweep: each in a thread of its own, in order, and ended with what they were made for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from specscale.runtime.stages import Stages


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_items_pass_through_every_stage_in_order() -> None:
    with Stages() as stages:
        numbers = stages.ahead("first", range(50))
        assert list(stages.ahead("second", map(str, numbers))) == [str(i) for i in range(50)]
    assert not names() & {"first", "second"}


def test_a_stage_works_while_the_next_one_does() -> None:
    made = [threading.Event() for _ in range(4)]

    def make() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with Stages() as stages:
        items = stages.ahead("maker", make())
        assert next(items) == 0
        assert made[1].wait(20)
        assert made[2].wait(20)  # made, and waiting for its place
        assert list(items) == [1, 2, 3]


def test_as_many_items_wait_as_are_to() -> None:
    made = [threading.Event() for _ in range(6)]

    def make() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with Stages() as stages:
        items = stages.ahead("maker", make(), ready=3)
        assert next(items) == 0
        assert made[4].wait(20)  # three wait, and one is made
        assert not made[5].wait(0.05)
        assert list(items) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("stage", ["first", "second"])
def test_an_error_of_a_stage_is_raised_to_who_takes_its_items(stage: str) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError(str(number))
        return number

    steps = {name: fail if name == stage else int for name in ("first", "second")}
    taken = []
    with Stages() as stages:
        items = stages.ahead("second", map(steps["second"], stages.ahead("first", map(steps["first"], range(9)))))
        with pytest.raises(ValueError, match="3"):
            taken.extend(items)
    assert not names() & {"first", "second"}


def test_nothing_waits_for_stages_that_nobody_takes_from() -> None:
    with Stages() as stages:
        items = stages.ahead("second", map(int, stages.ahead("first", range(1000))))
        assert next(items) == 0
    assert not names() & {"first", "second"}


@pytest.mark.slow
def test_a_stage_that_waits_for_another_is_ended_while_that_one_stands_still() -> None:
    release = threading.Event()

    def stand_still() -> Iterator[int]:
        yield 0
        release.wait(60)

    with Stages() as stages:
        items = stages.ahead("second", map(int, stages.ahead("still", stand_still())))
        assert next(items) == 0
    assert "second" not in names()
    release.set()
