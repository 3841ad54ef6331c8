"""Errors a user can mend.

Each carries one line that names the file, the row, the column and the remedy. The command line prints that line and
exits with status 1; every other exception is a defect of the program.
"""

from __future__ import annotations

from specscale.masking import masked


class SpecscaleError(Exception):
    """Base of every error that the user can mend; the addresses in its message are without their secrets."""

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(message))


class InputError(SpecscaleError):
    """A file, an array or a row of it cannot be used."""


class OptionError(SpecscaleError):
    """An option has an illegal value, or does not go with another option."""


class PairingError(SpecscaleError):
    """The rows of two embeddings cannot be matched."""


class PlanError(SpecscaleError):
    """The plan needs more memory or disk than it is given."""


class ChangedError(SpecscaleError):
    """An input or an option is no longer what it was when the work began."""


class ExistsError(SpecscaleError):
    """The target exists and overwriting was not asked for."""


class OutOfMemory(SpecscaleError):
    """A card has less memory than was asked for."""


class ConvergenceError(SpecscaleError):
    """The eigensolver did not reach its tolerance."""


class PrecisionError(SpecscaleError):
    """What was computed is no eigenvalue that kernels can have: rounding has spoilt them."""


class SilenceError(SpecscaleError):
    """Something that was asked has not been answered in time."""


class ClusterError(SpecscaleError):
    """A cluster cannot be reached, has no worker that can do the work, or lost it."""


class DeviceError(SpecscaleError):
    """There is no card to compute on, or what is installed cannot use it."""
