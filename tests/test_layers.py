"""Imports point one way, files stay short, and importing the package takes no time."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import specscale

PACKAGE = Path(specscale.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ["numpy", "scipy", "pandas", "zarr", "numba", "pyarrow", "torch", "sklearn", "dask", "distributed", "fsspec"]

# From the ground up: a module imports what stands in lines above its own, and what stands in its own package.
LAYERS = [
    "masking stopping cost",
    "errors",
    "grid seeds wording units",
    "places",
    "tables",
    "kernels",
    "spectral",
    "features",
    "embeddings",
    "sources",
    "stores",
    "passes",
    "grouping",
    "pictures",
    "runtime",
    "results",
    "method",
    "insight",
    "demo",
    "cli",
    "__init__ __main__",
]
RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Modules of the package that a file imports; with `at_import`, only those of its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_import else ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.removeprefix("specscale.") for name in names if name.split(".")[0] == "specscale")


def room_of(module: str) -> str:
    """The package that a module stands in, or the module itself where it stands in none."""
    return module.partition(".")[0] or "__init__"


def resolved(name: str) -> str:
    """The module that ``from specscale.a import b`` reads: a, or b of it where that is a module."""
    return name if name in MODULES else name.rpartition(".")[0]


MODULES = {module_of(path) for path in FILES}
ARROWS = {module_of(path): {resolved(name) for name in imported(path)} for path in FILES}


def test_every_package_has_its_place() -> None:
    assert {room_of(module) for module in MODULES} == set(RANKS)


@pytest.mark.parametrize("room", RANKS)
def test_imports_point_down(room: str) -> None:
    wrong = [
        (module, other)
        for module, others in ARROWS.items()
        for other in others
        if room_of(module) == room != room_of(other) and RANKS[room_of(other)] >= RANKS[room]
    ]
    assert wrong == []


def test_no_modules_import_one_another() -> None:
    arrows = {module: {other for other in others if other != module} for module, others in ARROWS.items()}
    while free := {module for module, others in arrows.items() if not others & arrows.keys()}:
        arrows = {module: others for module, others in arrows.items() if module not in free}
    assert arrows == {}


def test_no_package_holds_most_of_the_lines() -> None:
    lines: Counter[str] = Counter()
    for path in FILES:
        lines[room_of(module_of(path))] += len(path.read_text(encoding="utf-8").splitlines())
    assert max(lines.values()) < 0.15 * lines.total()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


REPORT = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)"


@pytest.mark.parametrize(
    "statement",
    [
        "import specscale; dir(specscale); import specscale.errors",
        "import sys; sys.argv = ['specscale', '--help']\ntry:\n    import specscale.cli; specscale.cli.main()\n"
        "except SystemExit as end:\n    assert not end.code",
    ],
    ids=["import", "help"],
)
def test_what_is_not_needed_is_not_loaded(spawn_python: Callable[..., CompletedProcess[str]], statement: str) -> None:
    done = spawn_python(f"{statement}\n{REPORT}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_a_comparison_loads_what_it_needs(spawn_python: Callable[..., CompletedProcess[str]]) -> None:
    names = ["pandas", "sklearn", "dask", "distributed", "matplotlib", "s3fs"]
    code = (
        "import sys, numpy as np, specscale\na = np.random.default_rng(0).normal(size=(50, 3))\n"
        f"specscale.compare(a, a + a**2, size=4)\nprint([name for name in {names} if name in sys.modules])"
    )
    done = spawn_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_public_name_is_there() -> None:
    for name in specscale.__all__:
        assert getattr(specscale, name).__name__ == name
    assert set(specscale.__all__) <= set(dir(specscale))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = specscale.nothing_of_the_kind  # type: ignore[attr-defined]


def test_the_module_runs_as_a_command(spawn_cli: Callable[..., CompletedProcess[str]]) -> None:
    done = spawn_cli("--help")
    assert done.returncode == 0
    assert "compare" in done.stdout
    assert spawn_cli("no-such-command").returncode == 2
