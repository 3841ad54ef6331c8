"""Requests to S3 that give a server up which has fallen silent, however often libraries would repeat them."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import aiobotocore.session  # type: ignore[import-untyped]  # noqa: F401  (first: its modules import one another in a circle)
import aiohttp
from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from specscale.errors import SilenceError

__all__ = ["PatientSession"]


class PatientSession(AIOHTTPSession):  # type: ignore[misc]
    """The connections of a client of S3.

    Libraries repeat a request up to 125 times, and one that carries data waits without end for leave to send it. While
    the server answers others, or knocks that are made meanwhile, that is their business, and slow links are never cut.
    Once it has answered nothing for a while, nothing is repeated any more, and what is asked then is given little time,
    so that a run which ends does not wait as long again for each thing that it would tidy up.

    Attributes
    ----------
    patience : seconds without an answer until the server is given up
    look : seconds of a request until the server is knocked at, which has as many for an answer
    """

    patience = 60.0
    look = 5.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._silent_since: float | None = None

    async def send(self, request: Any) -> Any:
        """Send a request and return the answer, whatever it says."""
        began = time.monotonic()
        sending = asyncio.ensure_future(super().send(request))
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # which need not be waited for
        try:
            while not (await asyncio.wait([sending], timeout=self.look))[0]:
                await self._knock(request.url, began)
            answer = await sending
        except (ConnectTimeoutError, ReadTimeoutError):
            self._silent(began)
            raise
        except EndpointConnectionError as error:
            self._silent(began, f": {error}")
            raise
        finally:
            sending.cancel()
        self._silent_since = None
        return answer

    async def _knock(self, url: str, began: float) -> None:
        """See whether anything at all is answered, on a connection that waits for no other."""
        there = urlsplit(url)
        origin, proxy = f"{there.scheme}://{there.netloc}/", self._proxy_config.proxy_url_for(url)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.look)) as session,
                session.head(origin, proxy=proxy, ssl=False, allow_redirects=False),
            ):
                pass
        except (TimeoutError, aiohttp.ClientConnectorError):
            self._silent(began)
        except aiohttp.ClientError:
            self._silent_since = None  # an answer, if no good one
        else:
            self._silent_since = None

    def _silent(self, since: float, reason: str = "") -> None:
        """Take note that something was not answered, and give up where nothing has been for too long."""
        if self._silent_since is None:
            self._silent_since = since
        if time.monotonic() - self._silent_since >= self.patience:
            raise SilenceError(f"no answer for {self.patience:.0f} s{reason}")
