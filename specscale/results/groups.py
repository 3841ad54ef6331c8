"""A group of a result, whose members are read from its directory as they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from specscale.results.group_files import MEMBER, MEMBERS, NEAR, GroupDirectory, group_runs, of_pair, samples_table
from specscale.results.schema import GroupRecord
from specscale.tables.values import frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Group"]


@dataclass(frozen=True, kw_only=True)
class Group(GroupRecord):
    """A group of rows that one embedding holds together and the other does not.

    Attributes
    ----------
    group : its number in the result: A's first, strongest first in each
    grouped_by : "A" or "B", the embedding that holds it together
    verdict : "group" (it has an edge), "theme" (it has none: its size is a convention), or "noise"
    certified : whether the evidence of the other half of the rows holds
    found_in : the tails of rotated modes that its core was found in, as "A3+"
    size, share : members, and their share of the rows compared
    core : the rows of A that members are like
    background, level, threshold : of the likeness s_A − η s_B (η s_B − s_A of B's): of any row, the core's above that,
        and of the members the least, background + level / 2
    similarity_a, similarity_a_se, similarity_b, similarity_b_se : mean exact kernel of two members in each embedding,
        and its standard error over samples of rows
    estimate_error : of these two for being measured on some of the members; 0 where all were
    background_a, background_b : the same means over all rows
    contrast, contrast_se : (similarity_a − background_a) − η (similarity_b − background_b), reversed for B's
    auc_a, auc_b : how well the similarity to the core tells members from all other rows; None where there are no others
    held_out_size, held_out_contrast, held_out_se : members in the half of the rows that neither core nor threshold were
        found in, and their contrast; None where they are too few to have one
    null_contrast : what the same search finds where there is nothing to be found
    distinct : effective number of distinct rows
    edge : how deep the valley below the core is, from 0, deep, to 1, none; None where it was not looked for
    merged : the tails of the groups that were merged into this one
    """

    _result: GroupDirectory

    def rows(self) -> NDArray[np.int64]:
        """Return all members.

        Returns
        -------
        ndarray
            (size,) int64, rows of A, ascending.

        Raises
        ------
        InputError
            When the members are damaged or gone.
        """
        found = [start + np.flatnonzero(run[:, self.group]) for start, run in group_runs(self._result, MEMBERS)]
        rows = np.concatenate([np.empty(0, np.int64), *found])
        if len(rows) != self.size:
            raise self._result.damaged(f"the array {of_pair(MEMBERS, self._result.ending)} is")
        return rows

    def ids(self) -> NDArray[Any]:
        """Return the ids of all members, in the order of :meth:`rows`.

        Returns
        -------
        ndarray
            (size,) integers or texts.

        Raises
        ------
        InputError
            When A is no store that can be read, or has no ids.
        ChangedError
            When the store no longer begins with the rows that were compared.
        """
        return self._result.ids_of_rows(self.rows())

    def top(self, count: int = 20, near: bool = False) -> pd.DataFrame:
        """Return the members that are likest to the core.

        Parameters
        ----------
        count : members, at most as many as the result keeps
        near : the likest rows that are no members instead

        Returns
        -------
        DataFrame
            Columns group, kind, rank, row, id, likeness (1 like the core's median, 0 like any row, members from ½ on)
            and source_row; then the user's columns of A, or else of B, where the store can be read.
        """
        table = samples_table(self._result)
        chosen = pc.and_(pc.equal(table.column("group"), self.group), pc.less_equal(table.column("rank"), count))
        chosen = pc.and_(chosen, pc.equal(table.column("kind"), NEAR if near else MEMBER))
        return frame(self._result.described_table(table.filter(chosen)))
