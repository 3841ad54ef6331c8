"""What runs a comparison, and what it goes on from, as the options of ``compare`` say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from specscale.method.option_field import options_of
from specscale.method.options import Options

if TYPE_CHECKING:
    from specscale.method.result import Result
    from specscale.method.run import Cluster


@contextmanager
def executor_of(
    workers: int | None, scheduler: str | None, threads: int | None, device: str
) -> Iterator[Cluster | None]:
    """Start or reach the cluster that is asked for; None for this process.

    Parameters
    ----------
    workers : worker processes to start on this machine
    scheduler : address of a running cluster's scheduler
    threads : threads of each worker
    device : what the passes run on; on "cuda" each worker of this machine has a card of its own
    """
    if workers is None and scheduler is None:
        yield None
        return
    if workers is not None and scheduler is not None:
        raise typer.BadParameter("give --workers or --scheduler, not both", param_hint="'--workers'")
    from specscale.kernels.base import load_kernels
    from specscale.method.run import Cluster
    from specscale.runtime.cluster.connecting import connected, local_cluster, threads_of_workers

    if device != "cpu":
        load_kernels(device)  # says that there is no card before anything is started
    if scheduler is not None:
        with connected(scheduler) as client:
            yield Cluster(client, threads)
    elif workers is not None:
        share = threads_of_workers(workers, threads)
        with local_cluster(workers, device) as client:
            yield Cluster(client, share)


def earlier_result(ctx: typer.Context, path: str, answer: dict[str, Any]) -> Result:
    """Open the result of --update.

    Raises
    ------
    OptionError
        When an option on the command line is not what the result was made with.
    """
    from specscale.errors import OptionError
    from specscale.method.result import open_result
    from specscale.results.workplace import finish_publishing

    finish_publishing(path)
    result = open_result(path)
    asked, kept = _by_option(Options(**answer).to_json()), _by_option(result.options().to_json())
    kept.pop("min_matched", None)  # decides whether rows are compared, not what is found
    for name, value in kept.items():
        if was_given(ctx, name) and asked[name] != value:
            option, kept_as = "--" + name.replace("_", "-"), "not given" if value is None else value
            raise OptionError(
                f"--update {path} keeps the options of that result, whose {option} is {kept_as}: leave {option} out, "
                "or compare afresh with -o alone"
            )
    return result


def was_given(ctx: typer.Context, name: str) -> bool:
    """Whether an option is on the command line."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _by_option(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the command line names them."""
    named: dict[str, Any] = {}
    for one in options_of(Options, "compare"):
        if one.name in options:
            values = options[one.name] if one.parts else [options[one.name]]
            named |= {flag.name: value for flag, value in zip(one.flags, values, strict=True)}
    return named
