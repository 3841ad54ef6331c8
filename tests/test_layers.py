"""Imports point one way, files stay short, and importing the package takes no time."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import specscale

PACKAGE = Path(specscale.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ["numpy", "scipy", "pandas", "zarr", "numba", "pyarrow", "torch", "sklearn", "dask", "distributed", "fsspec"]

# What the modules of each layer may import of the package, by prefix.
LAYERS = {
    "masking": [],
    "stopping": [],
    "errors": ["masking"],
    "cost": [],
    "patience": ["errors"],
    "patient_s3": ["errors"],
    "objects": [],
    "zarr_objects": [],
    "durable": [],
    "reach": ["masking", "errors"],
    "files": ["masking", "errors", "reach", "durable", "objects", "patient_s3", "zarr_objects"],
    "documents": ["files"],
    "sequential": ["errors", "files"],
    "kernels": ["errors", "kernels"],
    "stores": ["masking", "errors", "stopping", "cost", "durable", "files", "documents", "sequential", "stores"],
    "features": ["errors", "cost", "kernels", "features"],
    "spectral": ["errors", "cost", "spectral"],
    "passes": ["errors", "cost", "kernels", "stores", "features", "spectral.tiles", "passes"],
    "runtime": [
        "masking",
        "errors",
        "stopping",
        "cost",
        "durable",
        "patience",
        "files",
        "documents",
        "stores",
        "passes.record",
        "runtime",
    ],
}
TOP = ["cli", "demo", "comparison", "again", "insight"]


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


def inside(module: str, prefixes: list[str]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_imports_point_down(layer: str) -> None:
    files = [path for path in FILES if inside(module_of(path), [layer])]
    assert files
    wrong = [(module_of(path), name) for path in files for name in imported(path) if not inside(name, LAYERS[layer])]
    assert wrong == []


def test_only_the_command_line_imports_the_top() -> None:
    allowed = {"__init__": TOP, "__main__": TOP, "result": ["again"]}
    for path in FILES:
        module = module_of(path) or "__init__"
        if inside(module, TOP):
            continue
        assert [
            name for name in imported(path) if inside(name, TOP) and not inside(name, allowed.get(module, []))
        ] == []


def test_a_result_knows_the_method_only_when_asked_for_another_weight() -> None:
    assert not [
        name for name in imported(PACKAGE / "result.py", at_import=True) if inside(name, ["comparison", "again"])
    ]


def test_the_command_line_is_imported_by_nothing_else() -> None:
    importers = {module_of(path) for path in FILES for name in imported(path) if inside(name, ["cli"])}
    assert all(inside(one, ["cli", "__main__"]) for one in importers)


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
def test_what_is_not_needed_is_not_loaded(run_python: Callable[..., CompletedProcess[str]], statement: str) -> None:
    done = run_python(f"{statement}\n{REPORT}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_every_public_name_is_there() -> None:
    for name in specscale.__all__:
        assert getattr(specscale, name).__name__ == name
    assert set(specscale.__all__) <= set(dir(specscale))
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = specscale.nothing_of_the_kind  # type: ignore[attr-defined]


def test_the_module_runs_as_a_command(run_cli: Callable[..., CompletedProcess[str]]) -> None:
    done = run_cli("--help")
    assert done.returncode == 0
    assert "compare" in done.stdout
    assert run_cli("no-such-command").returncode == 2
