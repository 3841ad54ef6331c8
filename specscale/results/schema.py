"""What the fields of a result can be: whoever reads one relies on it, and anybody may have written it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["check_map", "faulty"]

_Check = Callable[[Any], str | None]
"""From a value to the way to what cannot be in it, as ``[0].eigenvalue``: "" for the value itself, None for nothing."""

_MOST_ROWS = 1 << 53


def _plain(test: Callable[[Any], bool]) -> _Check:
    return lambda value: None if test(value) else ""


def _or_null(check: _Check) -> _Check:
    return lambda value: None if value is None else check(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_ROWS


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _one_of(*values: str) -> _Check:
    return _plain(lambda value: isinstance(value, str) and value in values)


_COUNT = _plain(_is_count)
_SEED = _plain(lambda value: type(value) is int and 0 <= value < 1 << 63)
_NUMBER = _plain(_is_number)
_POSITIVE = _plain(lambda value: _is_number(value) and value > 0)
_NO_LESS_THAN_ZERO = _plain(lambda value: _is_number(value) and value >= 0)
_TEXT = _plain(lambda value: isinstance(value, str))
_BOOL = _plain(lambda value: isinstance(value, bool))
_ANY_OBJECT = _plain(lambda value: isinstance(value, dict))


def _each(check: _Check, kind: type[list[Any]] | type[dict[str, Any]] = list) -> _Check:
    """Check every member of a list or of an object."""

    def found(value: Any) -> str | None:
        if not isinstance(value, kind):
            return ""
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in members:
            if (way := check(one)) is not None:
                return f".{key}{way}" if isinstance(value, dict) else f"[{key}]{way}"
        return None

    return found


def _fields(needed: str = "", /, **checks: _Check) -> _Check:
    """Check an object by its fields, of which those that are `needed` must be there."""

    def found(value: Any) -> str | None:
        if not isinstance(value, dict):
            return ""
        for name in needed.split():
            if name not in value:
                return f".{name}"
        for name, check in checks.items():
            if name in value and (way := check(value[name])) is not None:
                return f".{name}{way}"
        return None

    return found


_INPUT = _fields(
    "name source digest rows dimension",
    **dict.fromkeys(("name", "source", "digest"), _TEXT),
    **dict.fromkeys(("rows", "dimension", "dropped"), _COUNT),
    **dict.fromkeys(("ids_column", "ids_digest"), _or_null(_TEXT)),
    columns=_each(_TEXT),
)
_MODE = _fields(
    "mode grouped_by eigenvalue eta a b se effective_size rayleigh rayleigh_se residual exact_a exact_b certified",
    mode=_COUNT,
    grouped_by=_one_of("A", "B"),
    eta=_NO_LESS_THAN_ZERO,
    effective_size=_POSITIVE,
    **dict.fromkeys(("eigenvalue", "a", "b", "se"), _NUMBER),
    **dict.fromkeys(("rayleigh", "rayleigh_se", "residual", "exact_a", "exact_b"), _or_null(_NUMBER)),
    certified=_or_null(_BOOL),
)
_OPTIONS = _fields(
    "kernel features",
    kernel=_one_of("gaussian", "cosine"),
    **dict.fromkeys(("features", "normalize", "on_bad", "rotate", "landmarks"), _TEXT),
    **dict.fromkeys(("sample", "size"), _or_null(_COUNT)),
    **dict.fromkeys(("n_modes", "top", "certify", "refine"), _COUNT),
    **dict.fromkeys(("eta", "min_matched"), _NO_LESS_THAN_ZERO),
    seed=_SEED,
    match=_or_null(_TEXT),
    sigma=_each(_plain(lambda value: isinstance(value, str) or _is_number(value))),
)
_ROWS = _fields(
    "total compared matched_by matched only_a only_b dropped sampled ids_digest",
    **dict.fromkeys(("total", "compared"), _COUNT),
    **dict.fromkeys(("matched", "only_a", "only_b", "dropped"), _or_null(_COUNT)),
    **dict.fromkeys(("matched_by", "ids_digest", "kept_digest", "column", "confirmed_by"), _or_null(_TEXT)),
    **dict.fromkeys(("unlike", "id_of"), _each(_TEXT)),
    sampled=_BOOL,
    left_out=_each(_each(_COUNT, dict), dict),
)
_BANDWIDTH = _fields(
    "sigma", sigma=_POSITIVE, rule=_TEXT, top_eigenvalue=_or_null(_NUMBER), warning=_or_null(_TEXT)
)  # fmt: skip
_DUPLICATES = _fields(
    "rows groups largest example",
    **dict.fromkeys(("rows", "groups", "largest", "zeros"), _COUNT),
    example=_each(_COUNT),
)

_SUMMARY: dict[str, _Check] = {
    "options": _OPTIONS,
    "inputs": _each(_INPUT, dict),
    "rows": _ROWS,
    "maps": _fields("features size dimension", features=_TEXT, size=_or_null(_COUNT), dimension=_COUNT),
    "choice": _TEXT,
    "duplicates": _each(_DUPLICATES),
    "constraint": _or_null(_fields("epsilon mixed", epsilon=_NUMBER, mixed=_each(_COUNT))),
    "bandwidths": _each(_or_null(_BANDWIDTH), dict),
    "spec_diff": _NO_LESS_THAN_ZERO,
    "modes": _each(_MODE),
    "order": _each(_TEXT),
    "pairs": _each(
        _fields("a b spec_diff modes", a=_TEXT, b=_TEXT, spec_diff=_NO_LESS_THAN_ZERO, modes=_each(_MODE))
    ),
    "warnings": _each(_TEXT),
    "checksums": _ANY_OBJECT,
}  # fmt: skip
"""What each field of summary.json is, those that earlier versions did not write among them."""

_NUMBERS = _each(_NUMBER)
_MAP = _fields(
    "map p",
    map=_one_of("landmarks", "orthogonal", "fourier", "linear", "exact"),
    **dict.fromkeys(("p", "size", "dimension"), _COUNT),
    sigma=_or_null(_POSITIVE),
    centre=_NUMBERS,
    **dict.fromkeys(("unit", "wide", "certain"), _BOOL),
    seed=_SEED,
    rows=_each(_COUNT),
    affine=_or_null(_fields("shift factor", shift=_NUMBERS, factor=_NUMBERS)),
)
"""The parameters of a feature map, whatever its kind."""


def faulty(summary: dict[str, Any]) -> str | None:
    """Return the first field of a summary that cannot be, as ``modes[0].eigenvalue``; None where all can."""
    found = _fields(**_SUMMARY)(summary)
    return None if found is None else found.removeprefix(".")


def check_map(parameters: Any, summary: dict[str, Any], which: str) -> str | None:
    """Say what of the parameters of a feature map cannot be, or is not what the summary of its result says.

    Parameters
    ----------
    parameters : what maps.json holds of it
    summary : the summary
    which : the key of its embedding there
    """
    way = _MAP(parameters)
    if way is not None:
        return way
    maps, p = summary["maps"], summary["inputs"][which]["dimension"]
    sigma = (summary["bandwidths"].get(which) or {}).get("sigma")
    affine = parameters.get("affine") or {}
    size, rows = parameters.get("size"), parameters.get("rows", [])
    agreeing = {
        "map": parameters["map"] == maps["features"],
        "p": parameters["p"] == p,
        "sigma": parameters.get("sigma") == sigma,
        "centre": sigma is None or len(parameters.get("centre", [])) == p,
        "affine": all(len(one) == p for one in affine.values()),
        "size": size == maps["size"],
        "dimension": parameters.get("dimension", 0) <= maps["dimension"],
        "rows": not rows or (len(rows) == size and max(rows) < summary["rows"]["compared"]),
    }
    return next((f".{name}" for name, agrees in agreeing.items() if not agrees), None)
