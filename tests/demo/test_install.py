"""What is published installs into an empty environment, and shows its demo there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.install

ROOT = Path(__file__).parents[2]


def run(*command: object, **options: object) -> str:
    """What a command says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, env=environment, timeout=500, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source distribution, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    names = ["pyproject.toml", "README.md", "LICENSE", "specscale"]
    for path in (ROOT / name for name in names):
        if path.is_dir():
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy2(path, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source, cwd=folder)
    return folder


def test_the_source_distribution_and_the_wheel_hold_every_module(built: Path) -> None:
    found = [path for kind in ("*.py", "*.cu") for path in (ROOT / "specscale").rglob(kind)]
    modules = {str(path.relative_to(ROOT)) for path in found} | {"specscale/py.typed"}
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    with tarfile.open(source) as archive:
        published = {name.partition("/")[2] for name in archive.getnames()}
    assert modules == {name for name in packed if ".dist-info/" not in name}
    assert modules <= published
    assert {"LICENSE", "README.md", "pyproject.toml"} <= published


def test_the_demo_runs_where_it_is_installed(built: Path, tmp_path: Path) -> None:
    """The libraries are those of this environment, seen from an empty one in which the wheel alone is installed."""
    (wheel,) = built.glob("*.whl")
    programs = tmp_path / "empty" / "bin"
    run(sys.executable, "-m", "venv", tmp_path / "empty")
    # Its own pip: that of this environment would take the package that is installed here for one to be replaced.
    run(programs / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    site = run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # Behind the wheel's own place, and without what is installed there for editing.
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run(programs / "python", "-c", "import specscale; print(specscale.__file__)", cwd=tmp_path).strip()
    assert Path(found).is_relative_to(site)
    assert "held together by gradients" in run(programs / "specscale", "demo", cwd=tmp_path)
