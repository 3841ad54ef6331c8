"""Which modes are results, and what the user is told of the others."""

from __future__ import annotations

import numpy as np

from specscale.method.run import Run
from specscale.results.comparison import LEFT_OUT
from specscale.spectral.difference import DOUBTFUL, Modes
from specscale.spectral.lanczos import VectorModes

__all__ = ["certain_modes", "warn_unsettled"]

_NAMED = 5  # modes in a warning


def certain_modes(run: Run, modes: Modes, pair: str = "") -> Modes:
    """The modes that are results: those that the rounding of the covariance cannot have made.

    Parameters
    ----------
    run : the run, whose user is told of the others
    modes : the modes, as they were solved for
    pair : what to name before them, where there are several pairs
    """
    kept = modes.certain()
    lost = len(modes.eigenvalues) - len(kept.eigenvalues)
    if lost:
        strongest = np.abs(modes.eigenvalues[~(modes.doubt <= DOUBTFUL)]).max()
        run.warn(
            f"{pair}{lost} mode{'s' * (lost > 1)} with |λ| of up to {strongest:.2g} {LEFT_OUT} of the "
            "covariance may have made as much: what is there shows with --refine 1 or --features exact, or where the "
            "kernels are less alike all over (a smaller --sigma, --normalize centre) and --eta is nearer to 1"
        )
    return kept


def warn_unsettled(run: Run, modes: Modes | VectorModes, pair: str = "") -> None:
    """Say which modes the eigensolver left further from an eigenvector than it should.

    Parameters
    ----------
    run : the run
    modes : the modes, as they were solved for
    pair : what to name before them, where there are several pairs
    """
    if modes.unsettled:
        which = list(modes.unsettled)
        named = ", ".join(
            f"{i} (λ = {modes.eigenvalues[i]:+.5f}, residual {modes.residuals[i]:.1e})" for i in which[:_NAMED]
        )
        more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
        run.warn(
            f"{pair}the eigensolver stopped before these modes had converged: {named}{more}: their λ may be off by the "
            "residual; where eigenvalues all but tie, another --modes that cuts no cluster of them converges"
        )
