"""Work that is done later: in order, by one thread, and no more than one piece behind."""

from __future__ import annotations

import threading

import pytest

from specscale.runtime.later import Later


def fail() -> None:
    raise ZeroDivisionError


def names() -> set[str]:
    return {thread.name.partition("_")[0] for thread in threading.enumerate()}


def test_work_is_done_in_order_and_all_of_it() -> None:
    done: list[int] = []
    with Later("later") as later:
        for number in range(50):
            later.ask(lambda number=number: done.append(number))  # type: ignore[misc]
            assert len(done) >= number
    assert done == list(range(50))
    assert "later" not in names()


def test_who_asks_goes_on_and_waits_for_the_next_but_one() -> None:
    go, begun = threading.Event(), threading.Event()
    with Later("later") as later:

        def wait() -> None:
            begun.set()
            assert go.wait(20)

        first = later.ask(wait)
        assert begun.wait(20)
        assert not first.done()
        go.set()
        later.ask(lambda: None)
        assert first.done()


def test_an_error_is_raised_to_who_asks_next_and_nothing_comes_after_it() -> None:
    done: list[int] = []
    with Later("later") as later:
        later.ask(fail)
        with pytest.raises(ZeroDivisionError):
            later.ask(lambda: done.append(1))
    assert done == []


def test_an_error_of_the_last_work_is_raised_in_the_end() -> None:
    with pytest.raises(ZeroDivisionError), Later("later") as later:
        later.ask(fail)
    assert "later" not in names()


def test_an_error_of_who_asks_is_not_hidden_by_one_of_the_work() -> None:
    def ask_and_fail() -> None:
        with Later("later") as later:
            later.ask(fail)
            raise KeyError

    with pytest.raises(KeyError):
        ask_and_fail()
    assert "later" not in names()
