"""The options of a comparison that decide its answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from operator import index
from typing import Any

from specscale.errors import OptionError
from specscale.features.bandwidth import Rule, parse_rule
from specscale.features.registry import legal_maps

__all__ = ["NORMALIZATIONS", "Options"]

NORMALIZATIONS = ("none", "unit", "centre", "standardise")
LARGEST_ETA = 1e30  # float64 holds its square times all it meets
_SPELLINGS = {"center": "centre", "standardize": "standardise"}


@dataclass(frozen=True)
class Options:
    """What is computed, as opposed to how and where.

    Attributes are named as the parameters of :func:`specscale.compare`, which documents them.

    Raises
    ------
    OptionError
        When a value is illegal, or does not go with another.
    """

    kernel: str = "gaussian"
    sigma: tuple[str | float, ...] = ("auto", "auto")
    eta: float = 1.0
    normalize: str = "none"
    on_bad: str = "error"
    sample: int | None = None
    features: str = "auto"
    size: int | None = None
    n_modes: int = 10
    top: int = 100
    seed: int = 0
    match: str | None = None
    certify: int = 256
    refine: int = 0
    rotate: str = "none"
    landmarks: str = "uniform"
    min_matched: float = 0.5

    def __post_init__(self) -> None:
        for field in ("eta", "min_matched", "sample", "size", "n_modes", "top", "seed", "certify", "refine"):
            value = getattr(self, field)
            if value is None and field in ("sample", "size"):
                continue
            try:  # NumPy's numbers are taken too, and become Python's, which JSON knows
                number = float(value) if field in ("eta", "min_matched") else index(value)
                object.__setattr__(self, field, number)
            except (TypeError, ValueError):
                kind = "a number" if field in ("eta", "min_matched") else "a whole number"
                raise OptionError(f"{field} is {kind}, not {value!r}") from None
        if not isinstance(self.sigma, tuple | list) or len(self.sigma) < 2:
            raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {self.sigma!r}")
        object.__setattr__(self, "features", legal_maps(self.kernel, self.features))
        _ = self.rules
        object.__setattr__(self, "normalize", _SPELLINGS.get(self.normalize, self.normalize))
        if self.normalize not in NORMALIZATIONS:
            raise OptionError(f"--normalize is none, unit, centre or standardise, not {self.normalize!r}")
        if self.normalize == "centre" and self.kernel == "gaussian":
            raise OptionError(
                "--normalize centre goes with --kernel cosine: a Gaussian kernel does not see where the middle of the "
                "rows lies"
            )
        if self.on_bad not in ("error", "drop"):
            raise OptionError(f"--on-bad is error or drop, not {self.on_bad!r}")
        if self.match not in (None, "id", "position"):
            raise OptionError(f"--match is id or position, not {self.match!r}")
        if not 0 <= self.eta <= LARGEST_ETA:
            raise OptionError(f"--eta must be zero or positive, and at most {LARGEST_ETA:g}, not {self.eta:g}")
        if not 0 <= self.min_matched <= 1:
            raise OptionError(f"--min-matched is a share between 0 and 1, not {self.min_matched:g}")
        for name, value in (("modes", self.n_modes), ("size", self.size), ("sample", self.sample)):
            if value is not None and value < 1:
                raise OptionError(f"--{name} must be at least 1, not {value}")
        for name, value in (("top", self.top), ("seed", self.seed), ("certify", self.certify), ("refine", self.refine)):
            if value < 0:
                raise OptionError(f"--{name} must be zero or positive, not {value}")
        if self.seed >= 1 << 63:
            raise OptionError(f"--seed must be less than 2^63, not {self.seed}")
        if self.features in ("linear", "exact") and self.size is not None:
            raise OptionError(f"--size does not go with --features {self.features}, which has no size")
        if self.features == "exact" and self.refine:
            raise OptionError("--refine does not go with --features exact, whose modes are exact already")
        if self.certify == 1:
            raise OptionError("--certify 1: a standard error needs at least 2 rows; 0 turns the certificate off")
        if self.rotate not in ("none", "varimax"):
            raise OptionError(f"--rotate is none or varimax, not {self.rotate!r}")
        if self.landmarks not in ("uniform", "pivoted"):
            raise OptionError(f"--landmarks is uniform or pivoted, not {self.landmarks!r}")
        if self.landmarks == "pivoted" and self.features != "landmarks":
            raise OptionError(f"--landmarks pivoted does not go with --features {self.features}")

    @property
    def rules(self) -> tuple[Rule, ...]:
        """How the bandwidth of each embedding is found."""
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
