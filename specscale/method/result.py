"""What a comparison returns: its result, from which another η, or groups under a constraint, are found."""

from __future__ import annotations

from pathlib import Path

from specscale.method.options import Options
from specscale.places.files import Location, unchained
from specscale.results.comparison import ComparisonResult

__all__ = ["Result", "open_result"]


class Result(ComparisonResult):
    """The result of :func:`specscale.compare`, read from its directory as it is needed.

    `path` and `summary`, and what is raised where there is no such result, are those of
    :class:`specscale.results.directory.ResultDirectory`.
    """

    def options(self) -> Options:
        """Return the options of the comparison.

        Raises
        ------
        InputError
            When summary.json holds others than there are.
        """
        return self.parsed("options", Options.from_json)

    def with_eta(self, eta: float, out: str | Path | None = None, *, device: str = "cpu") -> Result:
        """Compare with another η, from the stored covariance and one more pass for the scores.

        Parameters
        ----------
        eta : weight of B's kernel, from 0 to 1e30
        out : where to keep the new result; a temporary place by default
        device : what the passes run on, as in :func:`specscale.compare`

        Returns
        -------
        Result
            On the device of this one the same, bit for bit, as a fresh comparison with that η and the same `size`.

        Raises
        ------
        ChangedError
            When the embeddings are no longer those that were compared.
        InputError
            When they cannot be read any more, as arrays after the process that held them ended; or are on another
            server, and the result was opened without `fetch`.
        """
        from specscale.method.resolve import compare_again

        return compare_again(self, eta, out, device=device)

    def constrained(
        self, epsilon: float, n_groups: int = 10, out: str | Path | None = None, *, device: str = "cpu"
    ) -> Result:
        """Find groups that A holds together and B by no more than ε, from the stored covariance.

        Parameters
        ----------
        epsilon : largest b = uᵀ K_B u / n of a group, in [0, 1)
        n_groups : groups wanted, found one after another, each orthogonal to those before
        out : where to keep the new result; a temporary place by default
        device : what the passes run on, as in :func:`specscale.compare`

        Returns
        -------
        Result
            Its modes are the groups, each with its own η, strongest first; see `Mode.mixed`.

        Raises
        ------
        OptionError
            When ε or n_groups is out of range, or the result has no covariance.
        ChangedError
            When the embeddings are no longer those that were compared.
        InputError
            When they cannot be read any more, or are on another server and were not asked for, as in `with_eta`.
        """
        from specscale.method.resolve import compare_constrained

        return compare_constrained(self, epsilon, n_groups, out, device=device)


def open_result(path: str | Location, *, fetch: bool = False) -> Result:
    """Open the result directory of an earlier comparison.

    Parameters
    ----------
    path : its path, or a URL as s3://bucket/a-b.spec
    fetch : whether its embeddings may be read from another server, where summary.json says that they are, for the
        samples' columns and for what is computed from them; whoever made the result chose the address

    Raises
    ------
    InputError
        When there is none at `path`, or it cannot be reached.
    """
    return Result(unchained(path), fetch)
