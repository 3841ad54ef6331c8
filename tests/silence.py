"""Peers that accept connections and never answer, or stop answering."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_port() -> Iterator[int]:
    """A port on loopback where connections are accepted, by the system, and nobody ever reads."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield int(listening.getsockname()[1])


class Line:
    """A line to a server, which may fall silent: bytes are taken and go nowhere.

    Parameters
    ----------
    port : of the server, on loopback

    Attributes
    ----------
    port : where the line begins
    silent : set while nothing gets through
    rate : bytes a second of each connection to the server; None for as many as there are
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.silent = threading.Event()
        self.rate: float | None = None
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0, limit=1 << 16))
        self.port = int(server.sockets[0].getsockname()[1])
        started.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent.is_set():
            self._keep = [*getattr(self, "_keep", []), writer]
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pump(reader, back, self.rate), self._pump(there, writer, None))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, rate: float | None) -> None:
        try:
            while piece := await source.read(1 << 14):
                if self.silent.is_set():
                    continue
                sink.write(piece)
                await sink.drain()
                if rate is not None:
                    await asyncio.sleep(len(piece) / rate)
            if not self.silent.is_set():
                sink.close()
        except ConnectionError:
            sink.close()

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
