"""Rules that a result is held against, so that a pipeline can stop where two embeddings differ too much."""

from __future__ import annotations

import operator
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from specscale.errors import OptionError

if TYPE_CHECKING:
    from specscale.results.comparison import ComparisonResult, Mode

__all__ = ["CERTIFICATE", "FIELDS", "OF_ALL", "Rule", "Verdict"]

OF_ALL = ("spec_diff", "certified", "modes")
"""What a rule can hold against its number once for the result: SPEC-diff, the certified modes, the modes."""
FIELDS = (
    "eigenvalue", "eta", "a", "b", "se", "effective_size", "rayleigh", "rayleigh_se", "residual", "exact_a", "exact_b",
)  # fmt: skip
"""What it can hold against its number for each mode: numeric fields of :class:`specscale.results.comparison.Mode`."""
CERTIFICATE = ("certified", "rayleigh", "rayleigh_se", "residual", "exact_a", "exact_b")
"""Those that are known with a certificate alone."""

_ALSO = {
    "eigenvalue": ("λ", "|λ|", "lambda", "|lambda|"),
    "eta": ("η",),
    "rayleigh": ("exact λ", "|exact λ|", "exact |λ|", "exact lambda"),
    "rayleigh_se": ("exact se", "exact λ se", "exact lambda se"),
}  # what tables call the fields, besides "SPEC-diff" and "effective size", which are those but for signs between words
_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_SIGNED = ("eigenvalue", "rayleigh")  # positive for A's groups, negative for B's


@dataclass(frozen=True)
class Verdict:
    """What a rule finds in a result.

    Attributes
    ----------
    rule : the rule
    holds : whether it holds
    value : what its number is compared with; of a field of the modes the largest, or for < and <= the smallest, and
        None where there is no mode
    modes : numbers of the modes that caused it; none where it does not hold
    """

    rule: Rule
    holds: bool
    value: float | None
    modes: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {"rule": str(self.rule), "holds": self.holds, "value": self.value, "modes": list(self.modes)}

    def __str__(self) -> str:
        if not self.holds or self.value is None:
            return f"{self.rule} does not hold"
        value = f"{self.value:.6g}"
        if not self.rule.met_by(float(value)):  # rounding must not contradict the verdict
            value = repr(self.value)
        if self.rule.name in OF_ALL:
            return f"{self.rule} holds: {self.rule.name} is {value}"
        first, more = self.modes[0], len(self.modes) - 1
        others = f", and {more} more mode{'s' * (more > 1)}" if more else ""
        return f"{self.rule} holds: {self.rule.name} is {value} in mode {first}{others}"


@dataclass(frozen=True)
class Rule:
    """A rule NAME OP NUMBER, such as ``spec_diff>0.05``.

    A name of a field of the modes holds when any mode meets it. The eigenvalue, and ``rayleigh``, which is the
    eigenvalue under the exact kernels, count by their size: ``eigenvalue>0.03`` holds when one of the two embeddings,
    whichever it is, holds a group together by so much more than the other.

    In a text NAME may also be what the tables print, as ``exact λ>0.03``, in any case, with blanks, hyphens or
    underscores between its words.

    Attributes
    ----------
    name : one of OF_ALL or FIELDS
    op : ">", ">=", "<" or "<="
    number : zero or positive
    """

    name: str
    op: str
    number: float

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule; blanks around its parts do not matter.

        Raises
        ------
        OptionError
            When it is none; the message names what is legal.
        """
        found = re.fullmatch(r"\s*(.+?)\s*(>=|<=|>|<)\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)\s*", text)
        name = None if found is None else _NAMES.get(_key(found[1]))
        if found is None or name is None or float(found[3]) == float("inf"):
            raise OptionError(
                f"{text!r} is no rule: a rule is NAME OP NUMBER in quotes, as 'spec_diff>0.05', with OP one of > >= < "
                f"<=, NUMBER zero or positive, and NAME one of {', '.join(OF_ALL)} of the result or "
                f"{', '.join(map(_named, FIELDS))} of any mode (eigenvalue and rayleigh by their size)"
            )
        return cls(name, found[2], float(found[3]))

    def __str__(self) -> str:
        short = f"{self.number:.15g}"
        number = short if float(short) == self.number else repr(self.number)
        return f"{self.name}{self.op}{number}"

    def met_by(self, value: float) -> bool:
        """Whether a number meets the rule."""
        return bool(_OPERATORS[self.op](value, self.number))

    def check_certificate(self, certify: int) -> None:
        """Raise OptionError when the rule needs the certificate that a comparison with `certify` rows does not make."""
        if self.name in CERTIFICATE and not certify:
            raise OptionError(
                f"--fail-on '{self}' needs the certificate, which --certify 0 leaves out: give --certify 256, or a "
                f"rule over {', '.join(name for name in OF_ALL + FIELDS if name not in CERTIFICATE)}"
            )

    def check(self, result: ComparisonResult) -> Verdict:
        """Hold a result against the rule.

        Parameters
        ----------
        result : the result of a comparison

        Returns
        -------
        Verdict
            Its modes are those that meet the rule, first the one that the value belongs to. Of ``spec_diff`` they are
            the modes whose own eigenvalue meets it by size, or where none does, as it may be with rotated modes or a
            rule that asks for less, the strongest; of ``certified`` the certified ones, or where those are too few the
            others; of ``modes`` all.

        Raises
        ------
        OptionError
            When the rule needs a certificate and the result has none.
        """
        self.check_certificate(result.record.options["certify"])
        modes = sorted(result.modes, key=lambda mode: -abs(mode.eigenvalue))
        if self.name in OF_ALL:
            value, caused = self._of_all(result, modes)
            holds = self.met_by(value)
            return Verdict(self, holds, value, tuple(mode.mode for mode in caused) if holds else ())
        if not modes:
            return Verdict(self, False, None, ())
        modes.sort(key=self._value_of, reverse=self._upwards)
        meeting = [mode for mode in modes if self.met_by(self._value_of(mode))]
        return Verdict(self, bool(meeting), self._value_of(modes[0]), tuple(mode.mode for mode in meeting))

    @property
    def _upwards(self) -> bool:
        return self.op.startswith(">")

    def _of_all(self, result: ComparisonResult, modes: list[Mode]) -> tuple[float, list[Mode]]:
        """The number that the result has, and the modes to look at when the rule holds."""
        if self.name == "spec_diff":
            above = [mode for mode in modes if self._upwards and self.met_by(abs(mode.eigenvalue))]
            return result.spec_diff, above or modes[:1]
        certified = [mode for mode in modes if mode.certified]
        if self.name == "certified":
            return len(certified), certified if self._upwards else [mode for mode in modes if not mode.certified]
        return len(modes), modes

    def _value_of(self, mode: Mode) -> float:
        value = float(getattr(mode, self.name))
        return abs(value) if self.name in _SIGNED else value


def _key(name: str) -> str:
    """What stays of a name however its words are joined and its letters are written."""
    return re.sub(r"[\s_\-\u2010-\u2015]+", "_", unicodedata.normalize("NFKC", name).casefold().strip())


def _named(field: str) -> str:
    """A field, and what the tables call it."""
    also = [one for one in _ALSO.get(field, ()) if "|" not in one]
    return f"{field} ({' or '.join(also)})" if also else field


_NAMES = {_key(name): name for name in OF_ALL + FIELDS} | {
    _key(one): name for name, others in _ALSO.items() for one in others
}
