"""What the kernel of an embedding tells at each of a range of bandwidths."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from specscale.embeddings.base import Embedding
from specscale.embeddings.opening import open_embedding
from specscale.embeddings.rows import Match, PairedRows
from specscale.embeddings.screening import screen
from specscale.embeddings.store import EmbeddingStore
from specscale.errors import OptionError, PlanError
from specscale.features.bandwidth import SAMPLE_ROWS, Bandwidth, Rule, degenerate_warning, parse_rule
from specscale.features.kernel import ExactKernel
from specscale.features.ranges import BandwidthLine, StoreBandwidths
from specscale.features.spectrum import LARGEST_SAMPLE, Spectrum, kernel_spectrum, spectrum_bytes, square_distances
from specscale.features.survey import affine_of, survey
from specscale.kernels.base import load_kernels
from specscale.masking import masked
from specscale.method.execution import Execution
from specscale.method.inputs import Input, opened
from specscale.method.keywords import keywords, taken
from specscale.method.options import Options
from specscale.runtime.events import Stage, Warned, silent
from specscale.runtime.memory import available_memory
from specscale.runtime.threads import Threads, available_cores, single_threaded_blas
from specscale.stopping import stoppable
from specscale.units import format_bytes

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bandwidths", "bandwidth"]

_RANGE = tuple(2 ** (k / 2) for k in range(-4, 5) if k)  # multiples of what auto takes


@dataclass(frozen=True)
class Bandwidths:
    """What :func:`specscale.bandwidth` found.

    Attributes
    ----------
    stores : the range of each embedding, in the order in which they were given
    warnings : what the user should know
    """

    stores: tuple[StoreBandwidths, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values, with the leading eigenvalues of each spectrum."""
        return {"stores": [one.to_json() for one in self.stores], "warnings": list(self.warnings)}

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each bandwidth: store, sigma, rule, groups, rke, state, eigenvalue_1 to eigenvalue_10."""
        import pandas as pd

        records = []
        for store in self.stores:
            for line in store.lines:
                fields = line.to_json()
                leading = {f"eigenvalue_{i}": value for i, value in enumerate(fields.pop("eigenvalues"), 1)}
                records.append({"store": store.name, **fields, **leading})
        return pd.DataFrame(records)

    def plot(self, path: str | Path) -> Path:
        """Draw the spectra into a PNG file.

        Raises
        ------
        OptionError
            When no such file can be written.
        """
        from specscale.pictures.plots import plot_spectra

        return plot_spectra(self.stores, path)


@keywords("bandwidth", Options, Execution)
def bandwidth(*stores: Input, **given: Any) -> Bandwidths:
    """Show what the Gaussian kernel of embeddings tells at a range of bandwidths.

    For each bandwidth all eigenvalues of the exact K/s are computed on a sample of s rows.

    Parameters
    ----------
    *stores : embeddings: stores, arrays or memory maps (n, p), or files that ``ingest`` reads; each is looked at alone
    **given : of the fields of :class:`Options` those that a sample of each embedding knows, and `progress`

    Returns
    -------
    Bandwidths

    Raises
    ------
    SpecscaleError
        InputError, OptionError or PlanError, each one line that names what is wrong and the remedy.
    """
    if not stores:
        raise OptionError("bandwidth: give at least one embedding")
    sigma, sample = given.pop("sigma"), _sample_size(given.pop("sample"))
    options, rules = taken(Options, {**given, "sample": sample}), _rules(sigma)
    notify = taken(Execution, given).progress or silent
    warnings: list[str] = []

    def warn(message: str) -> None:
        if message not in warnings:
            warnings.append(message)
            notify(Warned(message))

    ranges = []
    with tempfile.TemporaryDirectory(prefix="specscale-") as work, stoppable(), single_threaded_blas():
        for number, one in enumerate(stores, 1):
            if isinstance(one, str | Path):
                embedding = opened(one, f"store{number}", Path(work), options.on_bad)
            else:
                embedding = open_embedding(one, "array" if len(stores) == 1 else f"array {number}")
            look = _Look(embedding, options)
            notify(Stage(f"{embedding.name}: bandwidths"))
            auto = look.choose(parse_rule("auto"))
            chosen = look.around(auto) if rules is None else look.chosen(rules, auto)
            for message in look.warnings:
                warn(message)
            notify(Stage(f"{embedding.name}: spectra"))
            ranges.append(look.spectra(auto, chosen))
    return Bandwidths(tuple(ranges), tuple(warnings))


def _rules(sigma: str | float | Sequence[str | float] | None) -> list[Rule] | None:
    if sigma is None:
        return None
    given = list(sigma) if isinstance(sigma, Iterable) and not isinstance(sigma, str) else [sigma]
    if not given:
        raise OptionError("sigma is one bandwidth or several, or None for a range around what auto takes")
    return [parse_rule(one, "--sigma") for one in given]


def _sample_size(sample: int) -> int:
    try:
        size = index(sample)
    except TypeError:
        raise OptionError(f"sample is a whole number, not {sample!r}") from None
    if not 2 <= size <= LARGEST_SAMPLE:
        raise OptionError(
            f"--sample {size}: all eigenvalues of a matrix of that many rows are computed, from 2 to {LARGEST_SAMPLE:,}"
        )
    return size


class _Look:
    """A look at one embedding.

    Parameters
    ----------
    embedding : the embedding
    options : normalisation, bad rows, sample and seed
    """

    def __init__(self, embedding: Embedding, options: Options) -> None:
        if isinstance(embedding, EmbeddingStore):
            embedding.check()
        rows = PairedRows((embedding,), None, Match("position", embedding.n, 0, 0))
        self._rows = screen(rows, directions=options.lengths, on_bad=options.on_bad, sample=None, seed=options.seed)
        self._embedding = embedding
        self._options = options
        self._unit = options.normalize == "unit"
        self._surveyed = self._rows.sample(SAMPLE_ROWS, options.seed)[1][0]
        self._affine = affine_of(self._surveyed, options.normalize)
        self.warnings: list[str] = []

    def choose(self, rule: Rule) -> Bandwidth:
        """Choose a bandwidth as a comparison does."""
        name = self._embedding.name
        found = survey(
            self._surveyed,
            name,
            gaussian=True,
            rule=rule,
            unit=self._unit,
            kernels=load_kernels("cpu"),
            affine=self._affine,
        )
        chosen = found.bandwidth
        assert chosen is not None
        assert chosen.top_eigenvalue is not None
        # The state of its kernel is part of the bandwidth's own line.
        known = degenerate_warning(chosen.sigma, chosen.top_eigenvalue, len(self._surveyed), name)
        self.warnings += [one for one in found.warnings if one != known]
        return chosen

    def around(self, auto: Bandwidth) -> dict[str, float]:
        """The bandwidths around what auto takes, by their rules."""
        steps = [f"{auto.sigma * factor:.4g}" for factor in _RANGE]  # as they are shown, so that they can be given
        found = {text: float(text) for text in steps}
        found["auto"] = auto.sigma
        median = self.choose(Rule("median", 1.0)).sigma
        return found if median == auto.sigma else {**found, "median": median}

    def chosen(self, rules: Sequence[Rule], auto: Bandwidth) -> dict[str, float]:
        """The bandwidths of some rules."""
        usual = parse_rule("auto")
        found = {}
        for rule in rules:
            if rule == usual:
                found["auto"] = auto.sigma
            else:
                found[str(rule)] = rule.value if rule.kind == "number" else self.choose(rule).sigma
        return found

    def spectra(self, auto: Bandwidth, chosen: dict[str, float]) -> StoreBandwidths:
        """Compute the spectrum at each bandwidth."""
        assert self._options.sample is not None
        raw = self._rows.sample(self._options.sample, self._options.seed)[1][0]
        plain = ExactKernel(np.zeros(raw.shape[1]), self._unit, None, affine=self._affine)
        x, _ = plain.standardised(load_kernels("reference"), raw)
        lines = sorted(chosen.items(), key=lambda one: one[1])
        spectra = _all_spectra(x, [sigma for _, sigma in lines])
        return StoreBandwidths(
            self._embedding.name,
            masked(self._embedding.source),
            self._rows.n_kept,
            len(x),
            auto,
            tuple(BandwidthLine(sigma, rule, one) for (rule, sigma), one in zip(lines, spectra, strict=True)),
        )


def _all_spectra(x: NDArray[np.float64], sigmas: Sequence[float]) -> list[Spectrum]:
    """The spectrum at each bandwidth, as many at once as there are cores and memory for."""
    free = available_memory()
    at_once = min(available_cores(), len(sigmas))
    while at_once > 1 and spectrum_bytes(len(x), at_once) > free:
        at_once -= 1
    if (needed := spectrum_bytes(len(x), at_once)) > free:
        raise PlanError(
            f"the spectra of {len(x):,} rows take {format_bytes(needed)} of memory and {format_bytes(free)} is free: "
            "take a smaller --sample"
        )
    squares = square_distances(x)
    found: dict[int, Spectrum] = {}

    def compute(number: int) -> None:
        found[number] = kernel_spectrum(squares, sigmas[number])

    with closing(Threads(at_once)) as pool:
        pool.run([lambda number=number: compute(number) for number in range(len(sigmas))])  # type: ignore[misc]
    return [found[number] for number in range(len(sigmas))]
