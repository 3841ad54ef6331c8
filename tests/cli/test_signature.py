"""What is given on a command line reaches the Python function as the option that it is."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from specscale.cli.app import app
from specscale.method.execution import Execution
from specscale.method.option_field import Flag, options_of
from specscale.method.options import Options


class Reached(Exception):
    """The Python function was called."""


def value_of(flag: Flag) -> Any:
    """A value that is no default."""
    if flag.choices:
        return next(one for one in reversed(flag.choices) if one != flag.default)
    return {int: 7, float: 0.25, bool: True, str: "1.5"}[flag.type]


def words_of(flag: Flag) -> list[str]:
    return [flag.written] if flag.type is bool else [flag.written, str(value_of(flag))]


HOMES = {
    "compare": "specscale.method.compare.compare",
    "plan": "specscale.method.compare.plan",
    "matrix": "specscale.method.matrix.compare_many",
    "bandwidth": "specscale.method.bandwidths.bandwidth",
}


def reached(monkeypatch: pytest.MonkeyPatch, command: str, *words: str) -> dict[str, Any]:
    """The keywords with which a command calls its function."""
    got: dict[str, Any] = {}

    def call(*inputs: Any, **given: Any) -> None:
        got.update(given)
        raise Reached

    monkeypatch.setattr(HOMES[command], call)
    out = () if command in ("plan", "bandwidth") else ("-o", "out")
    done = CliRunner().invoke(app, [command, "a.zarr", "b.zarr", *out, *words])
    assert isinstance(done.exception, Reached), done.output
    return got


@pytest.mark.parametrize("command", HOMES)
def test_every_option_of_a_command_reaches_its_function(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    words, expected = [], {}
    for kind in (Options, Execution):
        for one in options_of(kind, command):
            if not one.flags or one.name == "executor":  # which would be started
                continue
            words += [word for flag in one.flags for word in words_of(flag)]
            values = [value_of(flag) for flag in one.flags]
            expected[one.name] = tuple(values) if one.parts else values if one.many else values[0]
    got = reached(monkeypatch, command, *words)
    assert {name: got[name] for name in expected} == expected


@pytest.mark.parametrize("command", HOMES)
def test_what_is_not_given_is_the_default_of_the_function(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    got = reached(monkeypatch, command)
    for kind in (Options, Execution):
        for one in options_of(kind, command):
            if one.flags and one.name != "executor":
                assert got[one.name] == one.default, one.name


def test_plain_values_reach_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    got = reached(monkeypatch, "compare", "--kernel", "cosine", "--match", "id")
    assert type(got["kernel"]) is type(got["match"]) is str


def test_a_wrong_choice_is_told_with_the_right_ones() -> None:
    done = CliRunner().invoke(app, ["compare", "a", "b", "-o", "out", "--rotate", "promax"])
    assert done.exit_code == 2
    assert "--rotate" in done.output
    assert "varimax" in done.output
