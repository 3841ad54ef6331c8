"""What the commands say of their options is the kept text.

``COLUMNS=80 specscale COMMAND --help > tests/cli/help/COMMAND.txt`` keeps another.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specscale.cli.app import app

KEPT = sorted((Path(__file__).parent / "help").glob("*.txt"))


@pytest.mark.skipif(
    [int(part) for part in version("typer").split(".")[:2]] < [0, 29], reason="older ones draw types in another way"
)
@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.stem)
def test_the_help_of_a_command_is_the_kept_text(kept: Path) -> None:
    done = CliRunner().invoke(app, [kept.stem, "--help"], terminal_width=78, prog_name="specscale")
    assert done.exit_code == 0
    assert done.output == kept.read_text(encoding="utf-8")
