"""What to call a model: the first telling part of the path of its vectors; and names that tell models apart."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from specscale.errors import OptionError
from specscale.masking import MASK, masked
from specscale.places.listing import has_magic, is_remote, kind

__all__ = ["check_name", "distinct_names", "letters", "model_name"]

_SUFFIX = re.compile(r"\.(npy|npz|parquet|pq|zarr|jsonl|ndjson|csv|tsv|json)$", re.IGNORECASE)
# Words that say what kind of thing is in a file or folder, or which part of it, and not which model made it.
_GENERIC = re.compile(
    "data|datasets?|train|training|tests?|testing|validation|valid|val|dev|eval|split|default|all|full|emb|embs|embed|"
    "embeds|embeddings?|vecs?|vectors?|feats?|features?|latents?|representations?|shards?|parts?|chunks?|batch|batches|"
    "block|of|files?|arrays?|arr|matrix|parquet|npy|npz|numpy|zarr|pq|outputs?|out|results?|main|master|raw|refs|convert|"
    "snapshots?|resolve|blobs?|tree|rank|worker|models?|stores?"
)
_MODALITY = re.compile("img|imgs|images?|texts?|captions?")
# Where files are kept: whoever gets here while looking upwards has passed the last telling name.
_PLACES = re.compile(
    "home|users?|root|mnt|media|te?mp|var|opt|srv|content|drive|mydrive|volumes|workspace|work|working|scratch|cache|kaggle|"
    "input|desktop|documents|downloads"
)
_HASH = re.compile(r"^(?=.*[0-9])[0-9a-f]{12,}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def model_name(paths: Sequence[str]) -> str:
    """Name a model after the files of its vectors.

    Parameters
    ----------
    paths : what the user gave: files, folders or patterns

    Returns
    -------
    str
        The first telling part of the path, from its end: names such as ``data``, ``train-00000-of-00001`` or
        ``img_emb``, hashes and ``key=value`` are passed over. Then the folders above, and at last the name of the file
        or folder itself.
    """
    path = paths[0].removeprefix("file://").rstrip("/")
    typed = _parts(path)
    if has_magic(path) and kind(path) is None:
        typed = typed[: next((i for i, part in enumerate(typed) if has_magic(part)), len(typed))]
    elif len(paths) > 1:
        typed = typed[:-1]  # the name of one of several files
    if is_remote(path):
        above, typed = typed[:1], typed[1:]  # the bucket, or the server
    else:
        above = _parts(os.path.abspath(path))[: -len(_parts(path)) or None]
    upwards = [*reversed(typed), *reversed(above)]
    for part, higher in zip(upwards, [*upwards[1:], ""], strict=True):
        if _PLACES.fullmatch(part.lower()) or higher.lower() in ("home", "users"):
            break
        if _tells(part):
            return part.rpartition("--")[2] if part.startswith(("datasets--", "models--")) else part
    return next(iter(upwards), "vectors")


def distinct_names(names: Sequence[str], sources: Sequence[str], fixed: Sequence[bool] | None = None) -> list[str]:
    """Make names that differ.

    Parameters
    ----------
    names : what models are called
    sources : where each comes from
    fixed : which names are to stay as they are; they differ

    Returns
    -------
    list of str
        A name that occurs once stays. To others the name of the store or file is added, or of the first folder above it
        in which they differ; or else (A), (B) and so on.
    """
    out = list(names)
    kept = fixed if fixed is not None else [False] * len(names)
    for name in sorted({one for one in names if names.count(one) > 1}):
        which = [number for number, one in enumerate(names) if one == name and not kept[number]]
        candidates = [f"{name} ({letters(number)})" for number in which]
        for here in zip(*(reversed(_parts(sources[number])) for number in which), strict=False):
            telling = [f"{name} ({part})" for part in here]
            if len(set(here)) == len(here) and name not in here and not set(telling) & set(names):
                candidates = telling
                break
        for number, candidate in zip(which, candidates, strict=True):
            out[number] = candidate
    if len(set(out)) == len(out):
        return out
    taken = {one for one, is_kept in zip(out, kept, strict=True) if is_kept}
    for number in range(len(out)):
        while not kept[number] and out[number] in taken:
            out[number] += f" ({letters(number)})"
        taken.add(out[number])
    return out


def check_name(name: str) -> None:
    """Refuse what is no name for a model.

    Parameters
    ----------
    name : the name

    Raises
    ------
    OptionError
        When it is empty, or more than a line.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise OptionError(f"{name!r} is no name for a model: give some printable text")


def letters(number: int) -> str:
    """Return A to Z, then AA, AB and so on, for 0, 1 and so on."""
    rest, last = divmod(number, 26)
    return (letters(rest - 1) if rest else "") + chr(ord("A") + last)


def _parts(path: str) -> list[str]:
    """The names of folders and of the file in a path, without suffixes and what else is no part of a name."""
    if path.startswith(("http://", "https://")):
        address = urlsplit(path)
        path = f"{address.netloc.rpartition('@')[2]}/{unquote(address.path)}"
    elif is_remote(path):
        scheme, _, path = path.partition("://")
        path = masked(f"{scheme}://{path}").partition("://")[2].removeprefix(f"{MASK}@")
        if scheme == "hf":
            path = re.sub(r"@[^/]*", "", path)  # a revision
    return [_stem(part) for part in path.split("/") if part not in ("", ".", "..")]


def _stem(part: str) -> str:
    return _SUFFIX.sub("", part)


def _tells(part: str) -> bool:
    name = part.lower()
    words = set(re.findall(r"[^\W\d_]+", name))
    if not words or "=" in name or _HASH.match(name):
        return False
    rest = {word for word in words if not _GENERIC.fullmatch(word)}
    # One of CLIP's two is told by "text", not by "text_emb" of a model.
    return any(not _MODALITY.fullmatch(word) for word in rest) or rest == words
