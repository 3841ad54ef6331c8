"""Places that cannot be reached: what the libraries of object stores raise there, as one line."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from specscale.errors import InputError, SilenceError
from specscale.masking import masked_for

__all__ = ["WEB", "credentials_for", "reaching"]

WEB = ("http", "https")
_LONGEST = 200  # signs of what a library says
_NOT_THERE = (errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_LIBRARIES = ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "adlfs", "httpx2", "huggingface_hub")
# What brings the file system of a kind of URL; all others are in the extra "cloud".
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "adl": "adlfs"}
_AWS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL; FSSPEC_S3_ANON=true for public data"
_KEYS = {"s3": _AWS, "s3a": _AWS, "hf": "HF_TOKEN"} | dict.fromkeys(("gs", "gcs"), "GOOGLE_APPLICATION_CREDENTIALS")
_KEYS |= dict.fromkeys(("abfs", "abfss", "az", "adl"), "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY")
_PACKAGES |= {"hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp"}


@contextmanager
def reaching(place: object) -> Iterator[None]:
    """Turn what the libraries of object stores raise into one line that names the place and the remedy."""
    try:
        yield
    except ImportError as error:
        package = _PACKAGES.get(str(place).partition("://")[0], "'specscale[cloud]'")
        raise InputError(f"{place}: {_line(error, place)}: install it with pip install {package}") from None
    except Exception as error:
        if str(error).startswith("Invalid endpoint"):
            raise InputError(
                f"{place}: AWS_ENDPOINT_URL is no URL ({_line(error, place)}): give it as https://HOST or http://HOST:PORT"
            ) from None
        library = type(error).__module__.partition(".")[0] in _LIBRARIES
        if library or isinstance(error, SilenceError) or ("://" in str(place) and _refusal(error)):
            raise InputError(
                f"{place}: cannot be reached ({_line(error, place)}): check the address, the network and "
                f"{credentials_for(place)}"
            ) from None
        if str(error).startswith(("Protocol not known", "Unsupported filesystem")):
            raise InputError(f"{place}: there is no file system of this kind: give a path or a URL as s3://…") from None
        raise


def credentials_for(place: object) -> str:
    """What to check of the right to read a place, as the end of a sentence."""
    scheme = str(place).partition("://")[0].rpartition("::")[2]
    if scheme in WEB:
        return "whether it is open to everybody"
    keys = _KEYS.get(scheme)
    return f"the credentials in the environment ({keys})" if keys else "whether it is open to you"


def _refusal(error: Exception) -> bool:
    """Whether a file system says no, or nothing in time, rather than that a file is missing or damaged."""
    if isinstance(error, (PermissionError, TimeoutError, ConnectionError)):
        return True
    return isinstance(error, OSError) and error.errno is not None and error.errno not in _NOT_THERE


def _line(error: Exception, place: object) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer"
    text = " ".join(masked_for(error, place).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
