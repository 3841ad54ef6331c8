"""Secrets in addresses: the user and password of a URL, its query and its fragment, where signed ones have their keys.

What is shown or kept names a place without them; only what opens the place has them.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote

__all__ = ["MASK", "has_user", "is_masked", "masked", "masked_for", "server_of"]

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


def masked_for(text: object, address: object) -> str:
    """Return a text that a library made of an address, which need not name it whole, without its secrets.

    Parameters
    ----------
    text : what the library says
    address : the address, with its scheme or without

    Returns
    -------
    str
        ``***`` stands for a user and password, together or alone, and for a query and its values, however written.
    """
    text = masked(text)
    for secret in _secrets(str(address)):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def has_user(address: str) -> bool:
    """Whether an address, with its scheme or without, names a user or a password."""
    return _secret_user(address.rpartition("://")[2]) > 0


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


def _secrets(address: str) -> list[str]:
    """The secrets of an address, longest first, as they are and percent-encoded."""
    scheme, _, rest = address.rpartition("://")
    user, begin = rest[: _secret_user(rest)], _parameters(scheme.rpartition("::")[2].lower(), rest)
    query = "" if begin is None else rest[begin + 1 :]
    found = {user, *re.split(":|%3a", user, maxsplit=1, flags=re.IGNORECASE), query}
    found |= {value for _, value in parse_qsl(query.replace("#", "&"))}
    forms = {form for one in found for form in (one, unquote(one), quote(unquote(one), safe=""))} - {"", MASK}
    return sorted(forms, key=len, reverse=True)


def _secret_user(rest: str) -> int:
    """How far a user and password go, the "@" behind them not included; 0 where there are none."""
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    at = max(authority.rfind("@"), authority.lower().rfind("%40"))
    if at < 0 and re.search(r":(?!\d*\Z)", re.sub(r"\A\[[^\]]*(\]|\Z)", "", authority)):
        at = rest.rfind("@")  # a password with a slash, not written as %2F
    return at if at > 0 and rest[:at] != MASK else 0


def _parameters(scheme: str, rest: str) -> int | None:
    """Where a query or fragment begins, None where there is none."""
    places = [rest.find(sign) for sign in "?#"] if scheme in _WEB else []
    if (found := _PARAMETERS.search(rest)) is not None:
        places.append(found.start())
    return min((place for place in places if place >= 0), default=None)
