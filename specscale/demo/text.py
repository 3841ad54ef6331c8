"""The documentation of the running Python: its words against its letters."""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from specscale.demo.place import Demo
from specscale.errors import InputError, OptionError
from specscale.method.result import Result

__all__ = ["Docstring", "collect_docstrings", "run_text"]

_SHORTEST = 4  # words; below that a text says too little
_LONGEST = 400
_LEAST_ROWS = 200
_DIMENSIONS = 128
_SIGMA = "top=0.03"  # phrases that documentation repeats, as "Return True if", begin a few texts in a hundred
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"}
_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Docstring:
    """The first paragraph of one docstring.

    Attributes
    ----------
    name : dotted name of what it documents
    module : the module that has it
    text : the paragraph, on one line
    """

    name: str
    module: str
    text: str


def collect_docstrings(root: Path | None = None) -> Iterator[Docstring]:
    """Read docstrings from source files, without importing any; no name and no text comes twice.

    Parameters
    ----------
    root : directory of modules and packages, by default the standard library of this Python

    Yields
    ------
    Docstring
        Files in order of their names; within a file in the order of its lines.
    """
    root = root or Path(sysconfig.get_path("stdlib"))
    names: set[str] = set()
    texts: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _LEFT_OUT.intersection(parts):
            continue
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the standard library's literals deserve is not said here
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for found in _docstrings(tree, module, module):
            if found.name not in names and found.text not in texts:
                names.add(found.name)
                texts.add(found.text)
                yield found


def _docstrings(node: ast.AST, name: str, module: str) -> Iterator[Docstring]:
    if isinstance(node, (ast.Module, *_NAMED)):
        paragraph = inspect.cleandoc(ast.get_docstring(node, clean=False) or "").split("\n\n")[0]
        text = " ".join(paragraph.split())
        if text.count(" ") + 1 >= _SHORTEST:
            yield Docstring(name, module, text[:_LONGEST])
    for child in ast.iter_child_nodes(node):
        yield from _docstrings(child, f"{name}.{child.name}" if isinstance(child, _NAMED) else name, module)


def run_text(demo: Demo, *, rows: int | None = None, seed: int = 0, root: Path | None = None) -> Result:
    """Compare a word embedding with a letter embedding of docstrings.

    Both are latent semantic analyses: weighted counts, of words and pairs of words in A and of runs of 3 to 5 letters
    in B, reduced to 128 dimensions.

    Parameters
    ----------
    demo : where to write, and how to report
    rows : at most so many texts; None for all
    seed : seed of the reduction and of the comparison
    root : where to read them, as in :func:`collect_docstrings`

    Returns
    -------
    Result
        In ``OUT/text.spec``, beside the stores ``words.zarr`` and ``letters.zarr``.

    Raises
    ------
    OptionError
        When `rows` is too small.
    InputError
        When there are too few docstrings, as in an installation without sources.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rows is not None and rows < _LEAST_ROWS:
        raise OptionError(f"--rows {rows}: the text demo needs at least {_LEAST_ROWS}")
    demo.begin()
    found = list(islice(collect_docstrings(root), rows))
    if len(found) < _LEAST_ROWS:
        place = root or sysconfig.get_path("stdlib")
        raise InputError(f"{place}: {len(found)} docstrings in sources, the text demo needs at least {_LEAST_ROWS}")
    demo.say(f"{len(found):,} docstrings of {len({one.module for one in found}):,} modules")
    texts = [one.text for one in found]
    metadata = demo.out / "docstrings.parquet"
    columns = {"name": [one.name for one in found], "text": texts, "module": [one.module for one in found]}
    pq.write_table(pa.table(columns), metadata)
    stores = []
    for name, options in (
        ("words", {"analyzer": "word", "ngram_range": (1, 2)}),
        ("letters", {"analyzer": "char_wb", "ngram_range": (3, 5), "max_features": 30_000}),
    ):
        np.save(demo.out / f"{name}.npy", _latent(texts, seed, **options))
        stores.append(demo.store(demo.out / f"{name}.npy", metadata, name, id_column="name"))
    # A text of none but rare words has no direction.
    return demo.compare(
        stores[0], stores[1], "text", sigma=(_SIGMA, _SIGMA), n_modes=6, normalize="unit", on_bad="drop", seed=seed
    )


def _latent(texts: list[str], seed: int, **options: Any) -> NDArray[np.float32]:
    """Weighted counts of n-grams, and their leading singular vectors."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    weighted = TfidfVectorizer(min_df=3, sublinear_tf=True, dtype=np.float32, **options).fit_transform(texts)
    dimensions = min(_DIMENSIONS, weighted.shape[1] - 1)
    reduced = TruncatedSVD(dimensions, n_iter=4, random_state=seed % 2**32).fit_transform(weighted)
    return np.asarray(reduced, dtype=np.float32)
