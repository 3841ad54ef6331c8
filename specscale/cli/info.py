"""The command that looks into a store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specscale.cli.columns import GAP, cells, cut, is_number, may_be_cut, padded, room_of, shared, text_of
from specscale.cli.inert import flowing
from specscale.cli.json_output import print_json
from specscale.cli.options import Json
from specscale.masking import masked

if TYPE_CHECKING:
    from specscale.embeddings.store import EmbeddingStore

_WIDEST = 40  # cells of a column of a table
_LEAST = 16
_TABLE, _LINE = 100, 240  # cells of a table and of a line of a list that go to a file


def info(
    store: Annotated[str, typer.Argument(metavar="STORE", help="An embedding store.", show_default=False)],
    rows: Annotated[int, typer.Option(min=0, help="How many of the first rows to show.")] = 5,
    check: Annotated[
        bool, typer.Option("--check", help="Read all of it, and make sure that it is what was ingested.")
    ] = False,
    json: Json = False,
) -> None:
    """Describe an embedding store: its attributes, its norms, its first rows."""
    from specscale.embeddings.store import EmbeddingStore

    opened = EmbeddingStore(store)
    if check:
        _check(opened)
    description = _describe(opened, rows) | ({"checked": bool(opened.chunk_digests)} if check else {})
    if json:
        print_json(description)
    else:
        _print(description)


def _check(store: EmbeddingStore) -> None:
    from specscale.embeddings.intact import verify, verify_columns

    store.check()
    verify(store, store.n)
    verify_columns(store)


def _describe(store: EmbeddingStore, rows: int) -> dict[str, Any]:
    import numpy as np

    from specscale.embeddings.layout import store_attributes
    from specscale.places.files import located
    from specscale.tables.values import records

    norms = store.norms(0, store.n)
    shown = min(rows, store.n)
    table = store.rows(range(shown)) if store.columns else None
    attributes = store_attributes(located(store.path)) or {}
    columns: list[dict[str, Any]] = records(table) if table is not None else [{}] * shown
    sources = [None if number < 0 else number for number in store.source_rows(range(shown)).tolist()]
    return {
        "store": masked(store.path),
        "name": store.name,
        "n": store.n,
        "p": store.p,
        "dtype": store.dtype.name,
        "digest": store.digest,
        "source": [masked(one) for one in attributes.get("source", [])],
        "ids": {"column": store.ids.column, "digest": store.ids.digest} if store.ids is not None else None,
        "columns": list(store.columns),
        "dropped": store.dropped,
        "zero_norm": store.zero_norm,
        "zero_share": store.zero_norm / store.n,
        "norms": {"min": float(norms.min()), "median": float(np.median(norms)), "max": float(norms.max())},
        "rows": [
            {"row": row, "source_row": sources[row], "norm": float(norms[row]), "columns": columns[row]}
            for row in range(shown)
        ],
    }


def _print(description: dict[str, Any]) -> None:
    norms, ids, rows = description["norms"], description["ids"], description["rows"]
    dropped = f" ({description['dropped']:,} dropped)" if description["dropped"] else ""
    if rows and rows[0]["source_row"] is None:
        dropped = f" ({description['dropped']:,} dropped; below they are numbered as they are in the store)"
    lines = {
        "store": description["store"],
        "model": description["name"],
        "rows": f"{description['n']:,}{dropped}",
        "from": ", ".join(description["source"][:3]) + (", …" if len(description["source"]) > 3 else ""),
        "dimensions": f"{description['p']:,}",
        "type": description["dtype"],
        "digest": description["digest"],
        "ids": f"{ids['column']} (digest {ids['digest']})" if ids else "none",
        "columns": ", ".join(description["columns"]) or "none",
        "norms": f"{norms['min']:.4g} to {norms['max']:.4g}, median {norms['median']:.4g};"
        f" {description['zero_norm']:,} zero ({description['zero_share']:.2%})",
    }
    if "checked" in description:
        whole = "all rows, norms and columns are what was ingested"
        lines["checked"] = whole if description["checked"] else "no digests: a store of an earlier version"
    for label, value in lines.items():
        print(f"{label:<11} {flowing(value)}")
    if rows:
        print()
        _print_rows(rows, description["columns"])


def _print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print rows as a table, or where its columns would be too narrow to read, each as a list."""
    numbers = [row["row"] if row["source_row"] is None else row["source_row"] for row in rows]
    values = [[number, row["norm"], *row["columns"].values()] for number, row in zip(numbers, rows, strict=True)]
    texts = [[str(number), f"{norm:.4g}", *map(text_of, own)] for number, norm, *own in values]
    heads = ["row", "norm", *map(flowing, columns)]
    wanted = [min(max(map(cells, column)), _WIDEST) for column in zip(heads, *texts, strict=True)]
    line = room_of(sys.stdout)
    flexible = [any(map(may_be_cut, column)) for column in zip(*values, strict=True)]
    room = (line or _TABLE) - GAP * (len(wanted) - 1)
    widths = shared(wanted, flexible, room)
    if sum(widths) <= room and all(width >= min(want, _LEAST) for width, want in zip(widths, wanted, strict=True)):
        right = [all(is_number(one) or one is None for one in column) for column in zip(*values, strict=True)]
        for one in [heads, *texts]:
            print((" " * GAP).join(map(padded, one, widths, right)).rstrip())
        return
    wide = min(max(map(cells, heads)), _WIDEST)
    for place, (number, norm, *own) in enumerate(texts):
        print(("\n" if place else "") + f"row {number}, norm {norm}")
        for head, text in zip(heads[2:], own, strict=True):
            print(cut(f"  {padded(head, wide)}  {text}", line or _LINE).rstrip())
