"""Secrets in addresses: the user and password of a URL, its query and its fragment, where signed ones have their keys.

What is shown or kept names a place without them; only what opens the place has them.
"""

from __future__ import annotations

import re

__all__ = ["MASK", "is_masked", "masked", "server_of"]

MASK = "***"

_URL = re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]+)(:/+|%3a%2f%2f)(\S*)", re.IGNORECASE)
_END = re.compile(r"[)\]}>'\"`,;:.!]*\Z")  # of a sentence or a quotation around an address
_PARAMETERS = re.compile(r"\?[\w.%~-]*=", re.ASCII)  # in a key of an object store a question mark may be a pattern
_WEB = ("http", "https", "ws", "wss")
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")  # before the account in their addresses, with an "@" between


def masked(text: object) -> str:
    """Return a text, as an address or a message with addresses in it, without their secrets.

    Parameters
    ----------
    text : any text; one without addresses is returned as it is

    Returns
    -------
    str
        ``***`` stands for a user and password, a query and a fragment.
    """
    text = str(text)
    return _URL.sub(_masked_url, text) if ":" in text or "%" in text else text


def is_masked(place: str) -> bool:
    """Whether an address was kept without its secrets, so that it opens nothing."""
    return "://" in place and re.search(rf"(//|[?#]){re.escape(MASK)}", place) is not None


def server_of(place: str) -> str | None:
    """Return what is asked for a place: the kind and the server or bucket of a URL; None where it is on this machine.

    A path that some systems take for one of another machine (``//server/share``) counts as such everywhere.
    """
    scheme, is_url, rest = place.partition("://")
    if not is_url:
        return place if place.startswith(("//", "\\\\")) else None
    return None if scheme == "file" else f"{scheme}://{rest.partition('/')[0]}"


def _masked_url(found: re.Match[str]) -> str:
    scheme, between, rest = found.groups()
    kind = scheme.lower()
    if kind == "file":
        return found[0]
    end = _END.search(rest)
    tail = end[0] if end else ""
    rest = rest[: len(rest) - len(tail)]
    secret = 0 if kind in _CONTAINERS else _secret_user(rest)
    shown = MASK + rest[secret:] if secret else rest
    begin = _parameters(kind, shown)
    if begin is not None and shown[begin + 1 :] != MASK:
        shown = shown[: begin + 1] + MASK
    return f"{scheme}{between}{shown}{tail}"


def _secret_user(rest: str) -> int:
    """How far a user and password go, the "@" behind them not included; 0 where there are none."""
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    at = authority.rfind("@")
    if at < 0 and re.search(r":(?!\d*\Z)", re.sub(r"\A\[[^\]]*(\]|\Z)", "", authority)):
        at = rest.rfind("@")  # a password with a slash, not written as %2F
    return at if at > 0 and rest[:at] != MASK else 0


def _parameters(scheme: str, rest: str) -> int | None:
    """Where a query or fragment begins, None where there is none."""
    places = [rest.find(sign) for sign in "?#"] if scheme in _WEB else []
    if (found := _PARAMETERS.search(rest)) is not None:
        places.append(found.start())
    return min((place for place in places if place >= 0), default=None)
