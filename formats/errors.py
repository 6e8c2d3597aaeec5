"""What can go wrong for reasons that a user can see and mend.

Every message is one line: what is wrong, where, and what to do. Files are named by the caller, who
knows their names; the container's messages begin with the kind of trouble ("damaged: ...").
"""

from __future__ import annotations

from typing import ClassVar


class NncodecError(Exception):
    """Base of every error that a file, an option or a machine can cause."""


class CaeError(NncodecError):
    """A .cae file cannot be read."""

    kind: ClassVar[str] = "not readable"

    def __str__(self) -> str:
        return f"{self.kind}: {super().__str__()}"


class Truncated(CaeError):
    """The file ends too early."""

    kind = "truncated"


class Damaged(CaeError):
    """The file contradicts itself or the format."""

    kind = "damaged"


class DamagedChunk(Damaged):
    """One chunk is not what it should be; the chunks after it may be sound."""


class Unsupported(CaeError):
    """The file is sound as far as can be told, but this version cannot read it."""

    kind = "unsupported"


class ModelMismatch(CaeError):
    """The file was made with other weights than those at hand."""

    kind = "wrong model"


class ImageError(NncodecError):
    """An image cannot be read, or has a form that is not supported."""


class OutputError(NncodecError):
    """An output cannot be written, or must not be."""


class WeightsError(NncodecError):
    """Weights are missing, or are not what the manifest says."""


class UnknownModel(WeightsError):
    """No model of that name is shipped."""


def one_line(error: Exception) -> str:
    """What `error` says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
