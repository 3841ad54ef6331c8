"""A real S3 server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "specscale-test"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Start moto's server on loopback; yields the environment that clients need."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": uuid.uuid4().hex,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, __file__, str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket({**os.environ, **environment}, server)
        yield environment
    finally:
        server.terminate()
        server.wait()


def _make_bucket(environment: dict[str, str], server: subprocess.Popen[bytes]) -> None:
    import boto3
    from botocore.exceptions import BotoCoreError

    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    for _ in range(300):
        try:
            client.create_bucket(Bucket=BUCKET)
            return
        except BotoCoreError:
            if server.poll() is not None:
                raise RuntimeError("the S3 server ended") from None
            time.sleep(0.1)
    raise RuntimeError("the S3 server does not answer")


def serve(port: int) -> None:
    """Answer on a port of the loopback interface.

    What moto starts itself looks anew, for every request, which of all services it is for.
    """
    from moto.server import create_backend_app
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", port, create_backend_app("s3"), threaded=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
