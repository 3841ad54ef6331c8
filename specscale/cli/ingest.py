"""The command that fills a store."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from specscale.cli.inert import inert, place_of
from specscale.cli.json_output import print_json
from specscale.cli.options import Json, Quiet
from specscale.cli.progress import row_progress
from specscale.masking import masked


class Dtype(StrEnum):
    """Types a store can have."""

    float16 = "float16"
    float32 = "float32"


class IngestOnBad(StrEnum):
    """What to do with rows that cannot be used."""

    error = "error"
    drop = "drop"
    zero = "zero"


def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... STORE",
            help="Files, directories or globs of one format (npy, npz, Parquet, Zarr), and last the store to write,"
            " each a path or a URL (s3://bucket/clip.zarr).",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model; by default from the source.")] = None,
    key: Annotated[str | None, typer.Option(help="The array of an .npz archive.")] = None,
    vector: Annotated[
        str | None,
        typer.Option(
            help="The vectors in a Parquet file: a list column, or names, globs, ranges (x0..x31) with commas."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Other columns that ride along: names, globs, ranges with commas, or none.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COL", help="The column that identifies rows.")
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="FILE", help="Columns for the rows: Parquet, CSV or JSON lines.")
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Type to store; by default the source's, at most float32.")
    ] = None,
    on_bad: Annotated[
        IngestOnBad,
        typer.Option(
            help="Rows with NaN, infinity or float16 overflow, or of missing chunks of a Zarr array: drop leaves them"
            " out; zero reads missing chunks as the fill value."
        ),
    ] = IngestOnBad.error,
    append: Annotated[
        bool, typer.Option("--append", help="Add the rows to the store: same dimensions, same columns, new ids.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the store if it exists.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an embedding store from files of vectors, or add rows to one.

    A run that was interrupted continues when the same command is given again.
    """
    if len(paths) < 2:
        raise typer.BadParameter("give at least one SOURCE, and the STORE last", param_hint="SOURCE... STORE")

    from dataclasses import asdict

    from specscale.sources.choosing import describe, listed
    from specscale.stores.ingest import ingest as run

    with row_progress("ingest", quiet) as progress:
        report = run(
            paths[:-1],
            paths[-1],
            name=name,
            key=key,
            vector=vector,
            columns=columns,
            id_column=id_column,
            metadata=metadata,
            dtype=dtype.value if dtype is not None else None,
            on_bad=on_bad.value,
            overwrite=overwrite,
            append=append,
            progress=progress,
        )
    if json:
        print_json({**asdict(report), "store": masked(report.store)})
        return
    if quiet:
        return
    print(
        f"{place_of(report.store)}: {report.n:,} rows × {report.p:,} dimensions, {report.dtype}, digest {report.digest}"
    )
    if append:
        print(f"{report.appended:,} rows were added")
    if report.vectors:
        print(f"vectors: {describe(report.vectors)}")
    if report.vectors or (report.columns and not append):
        print(f"columns: {listed(report.columns) or 'none'}")
    if report.left_out:
        print(f"left out: {listed(report.left_out)}" + ("" if columns else "; --columns takes them along"))
    if report.dropped:
        places = "; ".join(report.dropped_places) + (", …" if report.dropped > len(report.dropped_places) else "")
        came = (report.appended if append else report.n) + report.dropped
        print(f"dropped {report.dropped:,} of {came:,} rows: {inert(places)}")
    for line in report.absent:
        print(f"{inert(line)} and {'read as the fill value' if on_bad == IngestOnBad.zero else 'were dropped'}")
    for line in report.notes:
        print(inert(line))
    if report.zero_norm:
        rows = "1 row has" if report.zero_norm == 1 else f"{report.zero_norm:,} rows have"
        print(f"{rows} norm zero: cosine and --normalize unit know no direction there, and need compare --on-bad drop")
