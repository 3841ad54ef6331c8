"""Options as Python functions take them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import specscale as ss
from specscale.errors import OptionError
from specscale.features.registry import MAPS
from specscale.method.execution import Execution
from specscale.method.option_field import options_of
from specscale.method.options import Options

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "compare": ss.compare,
    "plan": ss.plan,
    "matrix": ss.compare_many,
    "bandwidth": ss.bandwidth,
}


@pytest.mark.parametrize("command", FUNCTIONS)
def test_every_option_is_a_keyword_that_the_docstring_tells(command: str) -> None:
    function = FUNCTIONS[command]
    parameters, text = inspect.signature(function).parameters, inspect.getdoc(function) or ""
    for kind in (Options, Execution):
        for one in options_of(kind, command):
            assert parameters[one.name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[one.name].default == one.default
            assert re.search(rf"^{one.name} : \S", text, re.MULTILINE)
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    assert "given" not in text
    assert max(map(len, text.splitlines())) <= 116


def test_a_comparison_takes_every_option() -> None:
    names = [one.name for kind in (Options, Execution) for one in options_of(kind)]
    assert list(inspect.signature(ss.compare).parameters) == ["a", "b", *names]


@pytest.mark.parametrize(
    ("command", "name"), [*((command, "sizes") for command in FUNCTIONS), ("matrix", "certify"), ("plan", "out")]
)
def test_a_keyword_that_is_no_option_is_a_type_error(command: str, name: str) -> None:
    rows = np.ones((4, 2))
    inputs = ([rows, rows],) if command == "matrix" else (rows, rows)
    with pytest.raises(TypeError, match=rf"^{FUNCTIONS[command].__name__}\(\) got an unexpected keyword .*'{name}'"):
        FUNCTIONS[command](*inputs, **{name: 3})


def test_the_feature_maps_that_can_be_asked_for_are_those_that_there_are() -> None:
    features = next(one for one in options_of(Options) if one.name == "features")
    assert set(features.choices) == {"auto"}.union(*MAPS.values())


def test_options_are_taken_by_name_alone() -> None:
    with pytest.raises(TypeError):
        Options("cosine")  # type: ignore[misc]
    with pytest.raises(TypeError):
        ss.compare(np.ones((4, 2)), np.ones((4, 2)), "cosine")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kernel": "laplace"}, "--kernel is gaussian or cosine, not 'laplace'"),
        ({"normalize": ["unit"]}, "--normalize is none, unit, centre or standardise, not ['unit']"),
        ({"on_bad": None}, "--on-bad is error or drop, not None"),
        ({"match": "name"}, "--match is id or position, not 'name'"),
        ({"features": "fast"}, "--features fast does not go with --kernel gaussian: take landmarks, "),
        ({"eta": "much"}, "eta is a number, not 'much'"),
        ({"eta": float("nan")}, "--eta must be zero or positive, and at most 1e+30, not nan"),
        ({"min_matched": 1.5}, "--min-matched is a share between 0 and 1, not 1.5"),
        ({"n_modes": 2.0}, "n_modes is a whole number, not 2.0"),
        ({"n_modes": 0}, "--modes must be at least 1, not 0"),
        ({"top": -1}, "--top must be zero or positive, not -1"),
        ({"seed": 1 << 63}, "--seed must be less than 2^63, not "),
        ({"certify": 1}, "--certify 1: a standard error needs at least 2 rows"),
        ({"sigma": ("auto",)}, "sigma is a pair, of A and of B, "),
    ],
)
def test_what_is_illegal_is_told(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(says)}"):
        Options(**wrong)


@pytest.mark.parametrize("function", [ss.compare, ss.plan])
@pytest.mark.parametrize("sigma", ["auto", 2.0, ("auto",), (1.0, 2.0, 3.0)])
def test_two_embeddings_take_two_bandwidths(function: Callable[..., Any], sigma: Any) -> None:
    with pytest.raises(OptionError, match=r"^sigma is a pair"):
        function(np.ones((4, 2)), np.ones((4, 2)), sigma=sigma)


def test_numbers_of_numpy_and_other_spellings_become_plain() -> None:
    options = Options(kernel="cosine", n_modes=np.int64(3), eta=np.float32(0.5), normalize="center", sample=None)
    assert (options.n_modes, options.eta, options.normalize, options.sample) == (3, 0.5, "centre", None)
    assert type(options.n_modes) is int
    assert type(options.eta) is float
    assert Options.from_json(options.to_json()) == options
