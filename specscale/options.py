"""The options of a comparison that decide its answer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from operator import index
from typing import Any

from specscale.errors import OptionError
from specscale.features.bandwidth import Rule, parse_rule
from specscale.features.maps import legal_maps

__all__ = ["Options"]


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
    sigma: tuple[str | float, str | float] = ("auto", "auto")
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
    certify: int = 0

    def __post_init__(self) -> None:
        for field in ("eta", "sample", "size", "n_modes", "top", "seed", "certify"):
            value = getattr(self, field)
            if value is None and field in ("sample", "size"):
                continue
            try:  # NumPy's numbers are taken too, and become Python's, which JSON knows
                object.__setattr__(self, field, float(value) if field == "eta" else index(value))
            except (TypeError, ValueError):
                kind = "a number" if field == "eta" else "a whole number"
                raise OptionError(f"{field} is {kind}, not {value!r}") from None
        if not isinstance(self.sigma, tuple | list) or len(self.sigma) != 2:
            raise OptionError(f"sigma is a pair, of A and of B, as ('auto', 2.0), not {self.sigma!r}")
        object.__setattr__(self, "features", legal_maps(self.kernel, self.features))
        _ = self.rules
        if self.normalize not in ("none", "unit"):
            raise OptionError(f"--normalize is none or unit, not {self.normalize!r}")
        if self.on_bad not in ("error", "drop"):
            raise OptionError(f"--on-bad is error or drop, not {self.on_bad!r}")
        if self.match not in (None, "id", "position"):
            raise OptionError(f"--match is id or position, not {self.match!r}")
        if not (math.isfinite(self.eta) and self.eta >= 0):
            raise OptionError(f"--eta must be zero or positive, not {self.eta:g}")
        for name, value in (("modes", self.n_modes), ("size", self.size), ("sample", self.sample)):
            if value is not None and value < 1:
                raise OptionError(f"--{name} must be at least 1, not {value}")
        for name, value in (("top", self.top), ("seed", self.seed)):
            if value < 0:
                raise OptionError(f"--{name} must be zero or positive, not {value}")
        if self.seed >= 1 << 63:
            raise OptionError(f"--seed must be less than 2^63, not {self.seed}")
        if self.features == "linear" and self.size is not None:
            raise OptionError("--size does not go with --features linear, whose dimension is that of the embedding")
        if self.certify != 0:
            raise OptionError(f"--certify {self.certify}: certificates are not part of this version; give --certify 0")

    @property
    def rules(self) -> tuple[Rule, Rule]:
        """How the bandwidths of A and of B are found."""
        return parse_rule(self.sigma[0], "--sigma-a"), parse_rule(self.sigma[1], "--sigma-b")

    @property
    def directions(self) -> bool:
        """Whether every row must have a direction."""
        return self.kernel == "cosine" or self.normalize == "unit"

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {**asdict(self), "sigma": [str(one) for one in self.sigma]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Options:
        """Take back what `to_json` returned."""
        return cls(**{**fields, "sigma": tuple(fields["sigma"])})
