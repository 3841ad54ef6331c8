#!/usr/bin/env bash
# fsspec opens files of web servers that cannot send parts of a file as seekable, and breaks at the second block.
#
# fsspec 2026.9.0, aiohttp 3.13.2, the server of Python's standard library, which ignores Range. HTTPFileSystem.info says
# nothing of it, open() gives a file that says it is seekable, and what is read first, headers and footers of small files,
# comes back right. A later block raises ValueError, hours into a streaming read. Nothing but asking for a later byte
# tells such a server from others.
#
# Seen: seekable() is True; the first 100 bytes are right; a seek to 6 MB raises "Got more bytes so far (>...) than
# requested (...)".
set -euo pipefail
cd "$(mktemp -d)"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check "fsspec==2026.9.0" "aiohttp==3.13.2"
venv/bin/python - <<'PY'
import functools
import http.server
import os
import threading

import fsspec

content = os.urandom(8 << 20)
os.mkdir("served")
with open("served/vectors.npy", "wb") as file:
    file.write(content)
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="served")
handler.log_message = lambda *_: None
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
server.handle_error = lambda *_: None  # the client hangs up
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/vectors.npy"

system = fsspec.filesystem("http")
print("info:", system.info(url))
with system.open(url, "rb", block_size=1 << 20) as file:
    print("seekable:", file.seekable())
    assert file.seekable()
    assert file.read(100) == content[:100]
    file.seek(6 << 20)
    try:
        file.read(100)
    except ValueError as error:
        print("the second block:", error)
    else:
        raise AssertionError("it is read")
PY
echo "broken at the second block, as described"
