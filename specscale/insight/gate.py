"""Rules that a result is held against, so that a pipeline can stop where two embeddings differ too much."""

from __future__ import annotations

import operator
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from specscale.errors import OptionError
from specscale.insight.found import found_groups, own_auc

if TYPE_CHECKING:
    from specscale.results.comparison import ComparisonResult, Mode
    from specscale.results.groups import Group

__all__ = ["CERTIFICATE", "FIELDS", "FIELDS_OF_GROUPS", "GROUPS", "OF_ALL", "Rule", "Verdict"]

GROUPS = "groups"
OF_ALL = (GROUPS, "spec_diff", "certified", "modes")
"""What a rule can hold against its number once for the result: the groups and themes that its evidence holds for,
SPEC-diff, the certified modes, the modes."""
FIELDS_OF_GROUPS = tuple(
    f"group_{name}"
    for name in (
        "size", "share", "similarity_a", "similarity_a_se", "similarity_b", "similarity_b_se", "contrast",
        "contrast_se", "auc", "auc_a", "auc_b", "held_out_size", "held_out_contrast", "held_out_se", "distinct", "edge",
    )
)  # fmt: skip
"""What it can hold against its number for each of these groups and themes: numeric fields of
:class:`specscale.results.groups.Group`; ``group_auc`` is the AUC in the embedding that holds the group together."""
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
    "group_size": ("rows", "group rows"),
    "group_share": ("share",),
    "group_similarity_a": ("in A",),
    "group_similarity_b": ("in B",),
    "group_auc": ("AUC",),
}  # what tables call the fields, besides "SPEC-diff" and "effective size", which are those but for signs between words
_OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_LISTED = 8  # groups that a line names
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
    modes, groups : numbers of the modes, or of the groups, that caused it; none where it does not hold
    """

    rule: Rule
    holds: bool
    value: float | None
    modes: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "rule": str(self.rule),
            "holds": self.holds,
            "value": self.value,
            "modes": list(self.modes),
            "groups": list(self.groups),
        }

    def __str__(self) -> str:
        if not self.holds or self.value is None:
            return f"{self.rule} does not hold"
        value = f"{self.value:.6g}"
        if not self.rule.met_by(float(value)):  # rounding must not contradict the verdict
            value = repr(self.value)
        told = f"{self.rule} holds: {self.rule.name} is {value}"
        if self.rule.name == GROUPS and self.groups:
            return f"{told}, {_listed('group', self.groups)}"
        if self.rule.name in OF_ALL:
            return told
        noun, (first, *others) = ("group", self.groups) if self.rule.of_groups else ("mode", self.modes)
        more = f", and {len(others)} more {noun}{'s' * (len(others) > 1)}" if others else ""
        return f"{told} in {noun} {first}{more}"


@dataclass(frozen=True)
class Rule:
    """A rule NAME OP NUMBER, such as ``groups>0``.

    ``groups`` counts the groups and themes that the evidence of the other half of the rows holds for. A name of a field
    of theirs, as ``group_share``, holds when any of them meets it.

    A name of a field of the modes holds when any mode meets it. The eigenvalue, and ``rayleigh``, which is the
    eigenvalue under the exact kernels, count by their size: ``eigenvalue>0.03`` holds when one of the two embeddings,
    whichever it is, holds a group together by so much more than the other.

    In a text NAME may also be what the tables print, as ``exact λ>0.03``, in any case, with blanks, hyphens or
    underscores between its words.

    Attributes
    ----------
    name : one of OF_ALL, FIELDS_OF_GROUPS or FIELDS
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
                f"{text!r} is no rule: a rule is NAME OP NUMBER in quotes, as 'groups>0', with OP one of > >= < "
                f"<=, NUMBER zero or positive, and NAME one of {', '.join(OF_ALL)} of the result, "
                f"{', '.join(map(_named, FIELDS_OF_GROUPS))} of any group or theme or "
                f"{', '.join(map(_named, FIELDS))} of any mode (eigenvalue and rayleigh by their size)"
            )
        return cls(name, found[2], float(found[3]))

    def __str__(self) -> str:
        short = f"{self.number:.15g}"
        number = short if float(short) == self.number else repr(self.number)
        return f"{self.name}{self.op}{number}"

    @property
    def of_groups(self) -> bool:
        """Whether it is about groups."""
        return self.name == GROUPS or self.name in FIELDS_OF_GROUPS

    def met_by(self, value: float) -> bool:
        """Whether a number meets the rule."""
        return bool(_OPERATORS[self.op](value, self.number))

    def check_certificate(self, certify: int) -> None:
        """Raise OptionError when the rule needs the certificate that a comparison with `certify` rows does not make."""
        if self.name in CERTIFICATE and not certify:
            raise OptionError(
                f"--fail-on '{self}' needs the certificate, which --certify 0 leaves out: give --certify 256, or a "
                f"rule over {', '.join(name for name in _KNOWN if name not in CERTIFICATE)}"
            )

    def check_rounds(self, rounds: int) -> None:
        """Raise OptionError when the rule needs groups, for which a comparison looks in no round."""
        if self.of_groups and not rounds:
            raise OptionError(f"--fail-on '{self}' needs groups, which --rounds 0 leaves out: give --rounds 1")

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
            others; of ``modes`` all. Of ``groups`` its groups are all that were counted.

        Raises
        ------
        OptionError
            When the rule needs a certificate, or groups, and the result has none.
        """
        self.check_certificate(result.record.options["certify"])
        if self.of_groups:
            return self._of_groups(result)
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

    def _of_groups(self, result: ComparisonResult) -> Verdict:
        """Hold the groups of a result against the rule."""
        if not result.looked_for_groups:
            raise OptionError(
                f"--fail-on '{self}' needs groups, which were not looked for when {result.path} was made: compare again"
            )
        groups = found_groups(result)
        if self.name == GROUPS:
            holds = self.met_by(len(groups))
            return Verdict(self, holds, len(groups), groups=tuple(one.group for one in groups) if holds else ())
        values = {one.group: value for one in groups if (value := _of_group(one, self.name)) is not None}
        ordered = sorted(values, key=values.__getitem__, reverse=self._upwards)
        meeting = tuple(number for number in ordered if self.met_by(values[number]))
        return Verdict(self, bool(meeting), values[ordered[0]] if ordered else None, groups=meeting)

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


def _of_group(group: Group, name: str) -> float | None:
    """A field of a group; None where it has none."""
    if name == "group_auc":
        return own_auc(group)
    value = getattr(group, name.removeprefix("group_"))
    return None if value is None else float(value)


def _listed(noun: str, numbers: tuple[int, ...]) -> str:
    """Some numbers of groups in a line."""
    shown = [str(number) for number in numbers[:_LISTED]]
    if len(numbers) > _LISTED:
        shown.append(f"{len(numbers) - _LISTED:,} more")
    told = f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]
    return f"{noun}{'s' * (len(numbers) > 1)} {told}"


def _key(name: str) -> str:
    """What stays of a name however its words are joined and its letters are written."""
    return re.sub(r"[\s_\-\u2010-\u2015]+", "_", unicodedata.normalize("NFKC", name).casefold().strip())


def _named(field: str) -> str:
    """A field, and what the tables call it."""
    also = [one for one in _ALSO.get(field, ()) if "|" not in one]
    return f"{field} ({' or '.join(also)})" if also else field


_KNOWN = (*OF_ALL, *FIELDS_OF_GROUPS, *FIELDS)
_NAMES = {_key(name): name for name in _KNOWN} | {_key(one): name for name, others in _ALSO.items() for one in others}
