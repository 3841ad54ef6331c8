"""The commands that fill a store and look into one."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specscale.cli.json_output import print_json
from specscale.cli.options import Json, OnBad, Quiet
from specscale.cli.progress import row_progress

if TYPE_CHECKING:
    from specscale.stores.embedding import EmbeddingStore

_WIDTH = 40


class Dtype(StrEnum):
    """Types a store can have."""

    float16 = "float16"
    float32 = "float32"


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
        str | None, typer.Option(help="The vectors in a Parquet file: a list column, a glob, or names with commas.")
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
    on_bad: Annotated[OnBad, typer.Option(help="Rows with NaN, infinity or float16 overflow.")] = OnBad.error,
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

    from specscale.stores.ingest import ingest as run

    with row_progress("ingest", quiet) as progress:
        report = run(
            paths[:-1],
            paths[-1],
            name=name,
            key=key,
            vector=vector,
            id_column=id_column,
            metadata=metadata,
            dtype=dtype.value if dtype is not None else None,
            on_bad=on_bad.value,
            overwrite=overwrite,
            append=append,
            progress=progress,
        )
    if json:
        print_json(asdict(report))
        return
    if quiet:
        return
    print(f"{report.store}: {report.n:,} rows × {report.p:,} dimensions, {report.dtype}, digest {report.digest}")
    if append:
        print(f"{report.appended:,} rows were added")
    if report.dropped:
        places = "; ".join(report.dropped_places) + (", …" if report.dropped > len(report.dropped_places) else "")
        came = (report.appended if append else report.n) + report.dropped
        print(f"dropped {report.dropped:,} of {came:,} rows: {places}")
    if report.zero_norm:
        print(f"{report.zero_norm:,} rows have norm zero: they have no direction under the cosine kernel")


def info(
    store: Annotated[str, typer.Argument(metavar="STORE", help="An embedding store.", show_default=False)],
    rows: Annotated[int, typer.Option(min=0, help="How many of the first rows to show.")] = 5,
    json: Json = False,
) -> None:
    """Describe an embedding store: its attributes, its norms, its first rows."""
    from specscale.stores.embedding import EmbeddingStore

    description = _describe(EmbeddingStore(store), rows)
    if json:
        print_json(description)
    else:
        _print(description)


def _describe(store: EmbeddingStore, rows: int) -> dict[str, Any]:
    import numpy as np

    from specscale.files import located
    from specscale.stores.layout import store_attributes

    norms = store.norms(0, store.n)
    shown = min(rows, store.n)
    table = store.rows(range(shown)) if store.columns else None
    records: list[dict[str, Any]] = table.to_pylist() if table is not None else [{}] * shown
    return {
        "store": str(store.path),
        "name": store.name,
        "n": store.n,
        "p": store.p,
        "dtype": store.dtype.name,
        "digest": store.digest,
        "source": (store_attributes(located(store.path)) or {}).get("source", []),
        "ids": {"column": store.ids.column, "digest": store.ids.digest} if store.ids is not None else None,
        "columns": list(store.columns),
        "dropped": store.dropped,
        "zero_norm": store.zero_norm,
        "zero_share": store.zero_norm / store.n,
        "norms": {"min": float(norms.min()), "median": float(np.median(norms)), "max": float(norms.max())},
        "rows": [{"row": row, "norm": float(norms[row]), "columns": record} for row, record in enumerate(records)],
    }


def _print(description: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    norms = description["norms"]
    ids = description["ids"]
    lines = {
        "store": description["store"],
        "model": description["name"],
        "rows": f"{description['n']:,}" + (f" ({description['dropped']:,} dropped)" if description["dropped"] else ""),
        "from": ", ".join(description["source"][:3]) + (", …" if len(description["source"]) > 3 else ""),
        "dimensions": f"{description['p']:,}",
        "type": description["dtype"],
        "digest": description["digest"],
        "ids": f"{ids['column']} (digest {ids['digest']})" if ids else "none",
        "columns": ", ".join(description["columns"]) or "none",
        "norms": f"{norms['min']:.4g} to {norms['max']:.4g}, median {norms['median']:.4g};"
        f" {description['zero_norm']:,} zero ({description['zero_share']:.2%})",
    }
    for label, value in lines.items():
        print(f"{label:<11} {value}")
    if description["rows"]:
        table = Table(box=None, pad_edge=False)
        for column in ["row", "norm"]:
            table.add_column(Text(column), no_wrap=True, min_width=6)  # a narrow terminal cuts the others
        for column in description["columns"]:
            table.add_column(Text(column), no_wrap=True)
        for row in description["rows"]:
            values = [row["row"], row["norm"], *row["columns"].values()]
            table.add_row(*(Text(_short(value)) for value in values))
        print()
        Console().print(table)


def _short(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
