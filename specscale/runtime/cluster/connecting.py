"""Dask clusters: starting one on this machine, connecting to another, and whether its workers can do the work."""

from __future__ import annotations

import logging
import os
import pickle
import platform
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from typing import Any, cast

import cloudpickle
import dask
from distributed import Client, Nanny, SpecCluster
from distributed.comm.addressing import get_address_host_port, parse_address
from distributed.comm.registry import get_backend
from distributed.security import Security
from distributed.utils import silence_logging_cmgr

from specscale.embeddings.rows import PairedRows
from specscale.errors import ClusterError, OptionError, SilenceError, SpecscaleError
from specscale.kernels.base import load_kernels
from specscale.masking import MASK, has_user, masked_for
from specscale.places.files import Location, absolute, remove_file, write_whole
from specscale.places.patience import within
from specscale.runtime.cluster import pageless
from specscale.runtime.cluster.asking import address_of, asked, asked_of_workers, told, workers_of
from specscale.runtime.cluster.cards import cluster_of_cards
from specscale.runtime.machine import Crew
from specscale.runtime.memory import available_memory
from specscale.runtime.threads import available_cores

__all__ = ["connected", "crew_of", "local_cluster", "seen_by_workers", "threads_of_workers"]

_VERSIONS = ("specscale", "numpy", "numba", "zarr")
_PAUSED = 0.8  # of its memory, at which a worker takes no more tasks
_WAIT_SECONDS = 60  # for the first worker
_PATIENCE = 30  # seconds for a scheduler to answer at all


def threads_of_workers(workers: int, threads: int | None) -> int:
    """Threads of each of some workers on this machine: an equal share of the cores unless a number is given."""
    if workers < 1:
        raise OptionError(f"--workers must be at least 1, not {workers}")
    return threads or max(1, available_cores() // workers)


@contextmanager
def local_cluster(workers: int, device: str = "cpu") -> Iterator[Client]:
    """Start worker processes on this machine, one task at a time each, which nobody else can reach.

    Scheduler and workers listen on the loopback interface, where every user of the machine can knock: they speak to
    those alone who have the certificate of this cluster, which is in the memory of its processes. What Dask imports
    modules from, its scratch space, lies in a folder of this user's instead of one that is known by name.

    Parameters
    ----------
    workers : number of processes
    device : "cuda" for processes of which each has a card of its own
    """
    own = {"host": "127.0.0.1", "protocol": "tls://", "security": cast(Any, Security).temporary()}
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="specscale-", ignore_cleanup_errors=True))
        settings = {"temporary-directory": scratch, "distributed.worker.multiprocessing-method": "spawn"}
        stack.enter_context(dask.config.set(settings))
        with _deaf_to_terminals():
            make = cluster_of_cards if device == "cuda" else _cluster_of_cores
            cluster = stack.enter_context(make(workers, own))
        yield stack.enter_context(cast(Any, Client)(cluster, set_as_default=False))


def _cluster_of_cores(workers: int, own: dict[str, Any]) -> Any:
    """Start worker processes that share the cores, with some options that the scheduler has too."""
    worker = {
        "cls": Nanny,
        # The plan says what a worker holds: nothing is to be paused or ended by a share of memory that knows less.
        "options": {**own, "worker_class": pageless.Worker, "nthreads": 1, "memory_limit": 0, "silence_logs": 50},
    }
    return cast(Any, SpecCluster)(
        scheduler={"cls": pageless.Scheduler, "options": own},
        workers=dict.fromkeys(range(workers), worker),
        security=own["security"],
        silence_logs=50,
    )


@contextmanager
def _deaf_to_terminals() -> Iterator[None]:
    """Let processes that are started meanwhile leave to this one what a terminal sends to all: Ctrl-C, and its end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Processes inherit what a thread is deaf to; what comes meanwhile this one hears after that.
    sent = [signal.SIGINT, signal.SIGHUP]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, sent)
    try:
        with _environment(PYTHONWARNINGS="ignore:resource_tracker"):  # of what a run that is ended at once left
            resource_tracker.ensure_running()  # makes the thread that starts it hear Ctrl-C again
        signal.pthread_sigmask(signal.SIG_BLOCK, sent)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(**more: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def connected(address: str, timeout: float = _PATIENCE) -> Iterator[Client]:
    """Connect to a running cluster.

    Parameters
    ----------
    address : of its scheduler
    timeout : seconds to wait for it

    Raises
    ------
    ClusterError
        When nothing answers there.
    """
    _check_address(address, timeout)
    with silence_logging_cmgr(logging.CRITICAL):  # what matters of it is raised
        try:
            # What Dask calls a timeout ends once a connection is accepted, by whomever.
            reach = partial(cast(Any, Client), address, timeout=timeout, set_as_default=False)
            client: Client = within(timeout, reach)
        except (OSError, RuntimeError, TypeError, ValueError, SilenceError) as error:
            raise _unanswered(address, error) from None
        try:
            yield client
        finally:
            told(client.close)


def _check_address(address: str, timeout: float) -> None:
    """Raise ClusterError where nothing listens; a client that has failed to connect is slow to give up, and loud."""
    if has_user(address):
        raise ClusterError(
            f"--scheduler {MASK}: an address with a user or password, which schedulers do not ask for: give it as "
            "tcp://HOST:8786 (or tls://, with the certificates that Dask's configuration names, distributed.comm.tls)"
        )
    try:
        scheme, _ = parse_address(address)
        get_backend(scheme)
        if scheme == "tls" and cast(Any, Security)().get_connection_args("client").get("ssl_context") is None:
            raise ValueError("Dask's configuration names no certificates, distributed.comm.tls")
        if scheme in ("tcp", "tls", "ws", "wss"):
            socket.create_connection(get_address_host_port(address), timeout).close()
        elif scheme == "inproc":
            raise ValueError("a scheduler inside another process")
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise _unanswered(address, error) from None


def _unanswered(address: str, error: Exception) -> ClusterError:
    reason = " ".join(str(error).split())
    told = f"--scheduler {address}: no Dask scheduler answers there ({reason}): give an address as tcp://HOST:8786"
    return ClusterError(masked_for(told, address))


def crew_of(client: Client, threads: int | None) -> Crew:
    """Count the workers of a cluster, and what they have.

    Parameters
    ----------
    client : a client of the cluster
    threads : threads that compute in each worker; None for those it has for tasks
    """
    workers = workers_of(client)
    limits = [_PAUSED * one["memory_limit"] for one in workers.values() if one["memory_limit"]]
    if not limits and all("://127.0.0.1:" in address for address in workers):
        limits = [available_memory() / (len(workers) + 1)]  # shared by all of them and this process
    fewest = min((one["nthreads"] for one in workers.values()), default=1)
    return Crew(max(1, len(workers)), threads or fewest, int(min(limits)) if limits else None)


def seen_by_workers(client: Client, rows: PairedRows, folder: Location, backend: str) -> bool:
    """Look at every worker: whether it can do the work, and whether it shares the work directory.

    Parameters
    ----------
    client : a client of the cluster
    rows : the paired rows
    folder : the work directory
    backend : name of the kernels that each must be able to load

    Raises
    ------
    ClusterError
        When there is no worker, or one lacks the package or a card, has other versions, or does not see an embedding.
    """
    try:
        asked(client, "its workers", client.wait_for_workers, 1, timeout=_WAIT_SECONDS)
    except TimeoutError:
        raise ClusterError(f"the cluster {address_of(client)} has no worker: start one with `dask worker`") from None
    probe = folder / "probe"
    token = os.urandom(8).hex()
    write_whole(probe, token.encode())
    found: dict[str, Any] = asked_of_workers(
        client, client.run, _probe(), str(absolute(probe)), token, on_error="return"
    )
    ours = {"python": platform.python_version(), **{name: version(name) for name in _VERSIONS}}
    for worker, answer in found.items():
        if isinstance(answer, BaseException):
            raise ClusterError(f"worker {worker} cannot be asked ({type(answer).__name__}: {answer})")
        theirs = answer["versions"]
        if theirs.get("specscale") is None:
            raise ClusterError(f"worker {worker} has no specscale: pip install specscale=={ours['specscale']} there")
        for name, needed in ours.items():
            if name == "python":
                needed, theirs[name] = (one.rpartition(".")[0] for one in (needed, theirs[name]))
            if theirs.get(name) != needed:
                raise ClusterError(
                    f"worker {worker} has {name} {theirs.get(name)}, this process has {needed}: install it there"
                )
    loaded = asked_of_workers(client, client.run, _load, backend, on_error="return")
    for worker, answer in loaded.items():
        if answer is not None:
            raise ClusterError(f"worker {worker} cannot run the passes on {backend}, as every worker must: {answer}")
    opened = asked_of_workers(client, client.run, _open, cloudpickle.dumps(rows.embeddings), on_error="return")
    for worker, answer in opened.items():
        if isinstance(answer, BaseException):
            raise ClusterError(f"worker {worker} does not see what is compared: {answer}")
    remove_file(probe)
    remove_file(probe.with_name(f"{probe.name}.back"))
    return all(answer["sees"] for answer in found.values())


def _load(backend: str) -> str | None:
    """Load kernels on a worker, and say what is wrong there."""
    try:
        load_kernels(backend)
    except SpecscaleError as error:
        return str(error)
    return None


def _open(embeddings: bytes) -> None:
    """Open the embeddings on a worker; what is wrong there is raised as it is, not by the transport."""
    pickle.loads(embeddings)


def _probe() -> Callable[[str, str], dict[str, Any]]:
    """A function that travels by value, so that a worker without the package can run it."""

    def probe(path: str, token: str) -> dict[str, Any]:
        import importlib
        import platform
        from importlib.metadata import version

        versions = {"python": platform.python_version()}
        for name in ("specscale", "numpy", "numba", "zarr"):
            try:
                importlib.import_module(name)
                versions[name] = version(name)
            except ImportError:
                continue
        try:
            import fsspec

            with fsspec.open(path, "rb") as file:
                sees = file.read().decode() == token
            with fsspec.open(f"{path}.back", "wb") as file:
                file.write(b"seen")
        except Exception:
            sees = False
        return {"versions": versions, "sees": sees}

    return probe
