"""What is made of a candidate."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specscale.grouping.edge import HAS_EDGE
from specscale.grouping.verdict import Evidence

FIRM = Evidence(rows=200, contrast=0.6, se=0.01, other=0.0, null=0.2, level=0.65, edge=0.0)


def test_what_stands_out_is_a_group_with_an_edge_and_a_theme_without() -> None:
    assert FIRM.verdict == "group"
    assert replace(FIRM, edge=HAS_EDGE).verdict == "group"
    assert replace(FIRM, edge=1.0).verdict == "theme"


@pytest.mark.parametrize(
    "weak",
    [
        pytest.param(replace(FIRM, rows=9), id="few rows"),
        pytest.param(replace(FIRM, se=0.14), id="uncertain"),
        pytest.param(replace(FIRM, other=0.4), id="as alike in the other embedding"),
        pytest.param(replace(FIRM, null=0.58), id="no more than a cloud shows"),
        pytest.param(replace(FIRM, level=0.5), id="more alike than the core: several groups around it"),
        pytest.param(replace(FIRM, contrast=-0.1), id="less alike than any"),
    ],
)
def test_what_does_not_is_noise(weak: Evidence) -> None:
    assert weak.verdict == "noise"


def test_without_an_edge_more_is_asked() -> None:
    between = replace(FIRM, null=0.5)
    assert between.verdict == "group"
    assert replace(between, edge=1.0).verdict == "noise"


numbers = st.floats(-1, 1)


@given(
    st.builds(
        Evidence, st.integers(0, 500), numbers, st.floats(0, 0.5), numbers, st.floats(0, 1), numbers, st.floats(0, 1)
    )
)
def test_less_evidence_never_makes_more_of_it(one: Evidence) -> None:
    if one.verdict == "noise":
        for weaker in (
            replace(one, se=one.se + 0.1),
            replace(one, null=one.null + 0.1),
            replace(one, other=one.other + 0.1),
            replace(one, edge=1.0),
            replace(one, rows=one.rows - 1),
        ):
            assert weaker.verdict == "noise"
