"""The options of a comparison that decide its answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from specscale.errors import OptionError
from specscale.method.option_field import Flag, checked, number, option, whole

if TYPE_CHECKING:
    from specscale.features.bandwidth import Rule

__all__ = ["NORMALIZATIONS", "Options"]

NORMALIZATIONS = ("none", "unit", "centre", "standardise")
LARGEST_ETA = 1e30  # float64 holds its square times all it meets
_PAIR, _ALL = "compare plan", "compare plan matrix"
_RULES = "auto, median, 0.5*median, top=0.14 or a number."


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is computed, as opposed to how and where.

    Each field says all there is to an option: the Python functions and the commands are made from it.

    Raises
    ------
    OptionError
        When a value is illegal, or does not go with another.
    """

    kernel: str = option(
        "gaussian",
        commands=_ALL,
        doc='"gaussian" or "cosine"',
        help="The kernel of both embeddings.",
        choices=("gaussian", "cosine"),
    )
    sigma: tuple[str | float, ...] = option(
        ("auto", "auto"),
        commands=f"{_ALL} bandwidth",
        doc='bandwidths of A and of B, each "auto" (top eigenvalue of K/n 0.15 on a sample), "median", "0.5*median", '
        '"top=0.14" or a number, in the units of the embedding after `normalize`',
        parts=(Flag("sigma_a", f"Bandwidth of A: {_RULES}"), Flag("sigma_b", f"Bandwidth of B: {_RULES}")),
        annotation="tuple[str | float, str | float]",
        variants={
            "matrix": {
                "default": "auto",
                "annotation": "str | float | Sequence[str | float]",
                "doc": 'the bandwidth, one rule for all or one for each, "auto", "median", "0.5*median", "top=0.14" or '
                "a number, in the units of the embedding after `normalize`",
                "help": "Bandwidth: auto (the default), median, 0.5*median, top=0.14 or a number. Once for all, or for "
                "each.",
                "metavar": "RULE",
                "parts": (),
                "many": True,
            },
            "bandwidth": {
                "default": None,
                "annotation": "str | float | Sequence[str | float] | None",
                "doc": 'bandwidths, each "auto", "median", "0.5*median", "top=0.14" or a number; by default nine '
                "around what auto takes, from a quarter of it to four times it, and the median distance",
                "help": f"A bandwidth to look at, may be repeated: {_RULES} By default a range around what auto takes.",
                "metavar": "RULE",
                "parts": (),
                "many": True,
            },
        },
    )
    eta: float = option(
        1.0,
        commands=_ALL,
        late=True,
        doc="weight of B's kernel, from 0 to 1e30",
        help="Weight of B's kernel.",
        check=number(0, LARGEST_ETA, f"must be zero or positive, and at most {LARGEST_ETA:g}"),
        variants={
            "matrix": {
                "doc": "weight of the kernel of the later embedding of a pair, from 0 to 1e30",
                "help": "Weight of the kernel of the later of two embeddings.",
            }
        },
    )
    normalize: str = option(
        "none",
        commands=f"{_ALL} bandwidth",
        doc='"none"; "unit" to compare directions alone; "centre" (with the cosine kernel) to take the mean of a '
        'seeded sample off first; "standardise" to divide each dimension by its standard deviation there too',
        help="Compare directions alone with unit; take the mean off with centre (cosine kernel); divide each dimension "
        "by its standard deviation with standardise.",
        metavar="|".join(NORMALIZATIONS),
        choices=NORMALIZATIONS,
        spellings={"center": "centre", "standardize": "standardise"},
        variants={
            "bandwidth": {
                "doc": '"none"; "unit" to compare directions alone; "standardise" to divide each dimension by its '
                "standard deviation on a seeded sample",
                "help": "Compare directions alone with unit; divide each dimension by its standard deviation with "
                "standardise.",
                "metavar": "none|unit|standardise",
            }
        },
    )
    on_bad: str = option(
        "error",
        commands=f"{_ALL} bandwidth",
        doc='"error" to refuse rows with a NaN, an infinity or (where directions matter) zero norm, "drop" to leave '
        "them out of all embeddings",
        help="Rows with NaN, infinity or no direction.",
        choices=("error", "drop"),
    )
    sample: int | None = option(
        None,
        commands=f"{_ALL} bandwidth",
        doc="compare this many rows, drawn at random; None for all",
        help="Compare N rows drawn at random.",
        metavar="N",
        check=whole(1),
        variants={
            "bandwidth": {
                "default": 2048,
                "annotation": "int",
                "doc": "rows of the sample, at most 8,192, whose spectra are computed; bandwidths are chosen on the "
                "sample that a comparison takes",
                "help": "Rows, drawn at random, whose spectra are computed.",
            }
        },
    )
    features: str = option(
        "auto",
        commands=_ALL,
        doc='"landmarks" (auto), "orthogonal", "fourier" or "exact" for the Gaussian kernel, "linear" (auto), '
        '"landmarks" or "exact" for cosine; exact uses no feature map, in time that grows with the square of the rows',
        help="The feature map; auto is landmarks, or linear for cosine.",
        choices=("auto", "landmarks", "fourier", "orthogonal", "linear", "exact"),
        check=lambda name, flag, value: value,  # below, with the kernel
        variants={
            "matrix": {
                "doc": '"landmarks" (auto), "orthogonal" or "fourier" for the Gaussian kernel, "linear" (auto) or '
                '"landmarks" for cosine'
            }
        },
    )
    size: int | None = option(
        None,
        commands=_ALL,
        doc="landmarks, or frequencies of a Fourier map; by default as many landmarks as capture the leading modes of "
        "a sample to 0.99, at most 2000, or 1000 frequencies, or what fits in `memory`",
        help="Landmarks (by default as a sample asks for, up to 2000) or frequencies (1000), as --memory allows.",
        metavar="N",
        check=whole(1),
    )
    n_modes: int = option(
        10,
        commands=_ALL,
        late=True,
        doc="modes in each direction",
        help="Modes in each direction.",
        flag="modes",
        check=whole(1),
        variants={
            "matrix": {
                "default": 5,
                "doc": "modes of each pair in each direction",
                "help": "Modes of each pair in each direction.",
            }
        },
    )
    top: int = option(
        100,
        commands=_ALL,
        late=True,
        doc="members kept of each tail of each mode",
        help="Members kept of each tail of a mode.",
        check=whole(0),
        variants={"matrix": {"default": 20}},
    )
    seed: int = option(
        0,
        commands=f"{_ALL} bandwidth demo",
        doc="seed of frequencies and samples",
        help="Seed of frequencies and samples.",
        check=whole(0),
        variants={"bandwidth": {"doc": "seed of the samples", "help": "Seed of the samples."}},
    )
    match: str | None = option(
        None,
        commands=_ALL,
        doc='"id" or "position"; by default by id when all embeddings have ids, and else by position, unless a column '
        "of all tells the rows apart and stands in another order: then by that column",
        help="How rows are paired; by id when both have ids, or share a column that could be ids; position takes them "
        "as they stand.",
        choices=("id", "position"),
    )
    min_matched: float = option(
        0.5,
        commands=_ALL,
        doc="the share of the smallest embedding's rows that must match by id",
        help="The least share of the smaller side's rows that must match by id.",
        metavar="SHARE",
        check=number(0, 1, "is a share between 0 and 1"),
    )
    certify: int = option(
        256,
        commands=_PAIR,
        late=True,
        doc="rows of the certificate, 0 for none",
        help="Rows from which each mode is held against the exact kernels; 0 for none.",
        metavar="ROWS",
        check=whole(0),
    )
    refine: int = option(
        0,
        commands=_PAIR,
        late=True,
        doc="block Krylov steps of the exact operator from the approximate modes; time grows with the square of the "
        "rows",
        help="Steps of the exact operator from the modes found; time grows as rows squared.",
        metavar="N",
        check=whole(0),
    )
    rotate: str = option(
        "none",
        commands=_PAIR,
        late=True,
        doc='"varimax" to rotate the modes of each direction to localised groups, or "none"',
        help="Rotate the modes of a direction to localised groups.",
        choices=("none", "varimax"),
    )
    rounds: int = option(
        1,
        commands=_ALL,
        late=True,
        doc="rounds of the search for groups, 0 for none; those after the first look through the rows that are of no "
        "group so far, for small ones that others hide, each in as many passes more as the modes take",
        help="Rounds of the search for groups, 0 for none; further ones find small groups that others hide.",
        metavar="N",
        check=whole(0),
        variants={
            "matrix": {
                "default": 0,
                "doc": "1 to look for the groups of every pair too, in a pass more for each; 0 for none",
                "help": "1 to look for the groups of every pair too, in a pass more for each.",
            }
        },
    )
    least_group: int = option(
        30,
        commands=_ALL,
        late=True,
        doc="members of a group, at least",
        help="Members of a group, at least.",
        metavar="ROWS",
        check=whole(2),
    )
    landmarks: str = option(
        "uniform",
        commands=_PAIR,
        doc='how landmark rows are drawn, "uniform" or "pivoted" (randomly pivoted Cholesky)',
        help="Draw landmarks uniformly or by randomly pivoted Cholesky.",
        choices=("uniform", "pivoted"),
    )
    precision: str = option(
        "float32",
        commands=_ALL,
        doc='"float32", or with `device` "cuda" what tensor cores multiply in where a product was measured to bear it: '
        '"tf32", or "3xtf32" for three products of split numbers',
        help="What products are made in on a card, where they were measured to bear it.",
        choices=("float32", "tf32", "3xtf32"),
    )

    def __post_init__(self) -> None:
        from specscale.features.registry import legal_maps

        checked(self)
        if not isinstance(self.sigma, tuple | list) or len(self.sigma) < 2:
            raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {self.sigma!r}")
        object.__setattr__(self, "features", legal_maps(self.kernel, self.features))
        _ = self.rules
        if self.normalize == "centre" and self.kernel == "gaussian":
            raise OptionError(
                "--normalize centre goes with --kernel cosine: a Gaussian kernel does not see where the middle of the "
                "rows lies"
            )
        if self.seed >= 1 << 63:
            raise OptionError(f"--seed must be less than 2^63, not {self.seed}")
        if self.features in ("linear", "exact") and self.size is not None:
            raise OptionError(f"--size does not go with --features {self.features}, which has no size")
        if self.features == "exact" and self.refine:
            raise OptionError("--refine does not go with --features exact, whose modes are exact already")
        if self.certify == 1:
            raise OptionError("--certify 1: a standard error needs at least 2 rows; 0 turns the certificate off")
        if self.landmarks == "pivoted" and self.features != "landmarks":
            raise OptionError(f"--landmarks pivoted does not go with --features {self.features}")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """How the bandwidth of each embedding is found."""
        from specscale.features.bandwidth import parse_rule

        names = ("--sigma-a", "--sigma-b") if len(self.sigma) == 2 else ("--sigma",) * len(self.sigma)
        return tuple(parse_rule(one, name) for one, name in zip(self.sigma, names, strict=True))

    @property
    def directions(self) -> bool:
        """Whether rows are compared by their directions alone."""
        return self.kernel == "cosine" or self.normalize == "unit"

    @property
    def lengths(self) -> bool:
        """Whether every row must have a length, as one of norm zero has no direction."""
        return self.directions and self.normalize not in ("centre", "standardise")

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {**asdict(self), "sigma": [str(one) for one in self.sigma]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Options:
        """Take back what `to_json` returned."""
        return cls(**{**fields, "sigma": tuple(fields["sigma"])})
