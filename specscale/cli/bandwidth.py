"""The command that shows what the kernel of an embedding tells at a range of bandwidths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from specscale.cli import options as o
from specscale.cli.inert import flowing, inert
from specscale.cli.json_output import print_json
from specscale.cli.progress import run_progress
from specscale.cli.signature import taking
from specscale.method.options import Options

if TYPE_CHECKING:
    from specscale.features.ranges import StoreBandwidths
    from specscale.method.bandwidths import Bandwidths

_SHOWN = 5  # eigenvalues that fit in a line
_STATES = {
    "identity": "all but the identity: every row is a group of its own",
    "constant": "all but constant: all rows are one group",
}


@taking(answer=Options)
def bandwidth(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="Stores, or files that ingest reads.", show_default=False)
    ],
    *,
    answer: dict[str, Any],
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the spectra into a PNG file.", show_default=False)
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show what the Gaussian kernel of embeddings tells at a range of bandwidths.

    For each: the leading eigenvalues of the exact K/n on a sample, and the effective number of groups, as the
    exponential of the spectrum's entropy and of order 2 (RKE).
    """
    from specscale.method.bandwidths import bandwidth as run

    if plot is not None:
        from specscale.pictures.plots import check_picture

        check_picture(plot)  # before minutes of work
    with run_progress(quiet, bars=not json) as progress:
        found = run(*stores, progress=progress, **answer)
    if plot is not None:
        found.plot(plot)
    if json:
        print_json({**found.to_json(), "plot": plot})
    elif not quiet:
        _print(found)
        if plot is not None:
            print(f"\nplot written to {inert(plot)}")


def _print(found: Bandwidths) -> None:
    for number, store in enumerate(found.stores):
        if number:
            print()
        _print_store(store)


def _print_store(store: StoreBandwidths) -> None:
    eigenvalues = min(_SHOWN, store.sampled)
    print(f"{flowing(store.name)}: {store.rows:,} rows, spectra of {store.sampled:,}; {store.why}\n")
    print(f"{'σ':>10}  {'groups':>9}  {'RKE':>9}  largest eigenvalues of K/n")
    for line in store.lines:
        spectrum = line.spectrum
        values = " ".join(f"{value:7.5f}" for value in spectrum.eigenvalues[:eigenvalues])
        note = line.rule if line.rule != f"{line.sigma:.4g}" else ""
        if note == "auto":
            note = f"← auto, top eigenvalue {store.auto.top_eigenvalue:.2g}"
        if spectrum.state is not None:
            note = f"{note}; {_STATES[spectrum.state]}" if note else _STATES[spectrum.state]
        print(f"{line.sigma:>10.4g}  {spectrum.groups:>9,.1f}  {spectrum.rke:>9,.1f}  {values}  {note}".rstrip())
