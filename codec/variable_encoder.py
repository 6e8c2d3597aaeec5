"""The encoder of a variable-rate model: a picture to a file that meets a target."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from nncodec.formats.cae import Coding, Header
from nncodec.formats.errors import NncodecError
from nncodec.formats.stages import MAX_STEP

from .decisions import Decided, decide
from .entropy.planes import PlaneModel
from .rate import DEFAULT_QUALITY, LEAST_EFFORT, Effort, Target, Write, least_within, step_of
from .transform import Pixels, Progress
from .variable_transform import VariableTransform, area

STAGES = 4  # that a picture is sent in at most, if nobody says how many
LEAST = 4096  # bytes of the first of them: one round trip over a network brings as much anyway
LAST = MAX_STEP - 1  # the coarsest step

T = TypeVar("T")


class VariableEncoder:
    """Files of one picture (H, W, 3), whose analysis runs once.

    ``header`` lacks the settings, ``write`` makes a file of a header and its payloads, ``effort``
    says how it is analysed and what :func:`decide` does.
    """

    def __init__(
        self,
        transform: VariableTransform,
        planes: PlaneModel,
        pixels: Pixels,
        header: Header,
        write: Write,
        effort: Effort,
        progress: Progress | None = None,
    ) -> None:
        self.transform = transform
        self.planes = planes
        self.pixels = pixels
        self.header = header
        self.write = write
        self.effort = effort
        rounds = effort.rounds
        self.progress = progress and (lambda patches: progress(patches / (1 + rounds)))
        self.stages: int | None = None
        self.latent = transform.analyse(pixels, header, self.progress, quick=effort.quick)

    def encode(self, target: Target) -> bytes:
        """The best file that meets a target. NncodecError if none does."""
        self.stages = target.stages
        if target.psnr is not None:
            return self.accurate(target.psnr)
        budget = target.budget(self.header.width * self.header.height)
        if budget is not None:
            return self.small(budget)
        quality = DEFAULT_QUALITY if target.quality is None else target.quality
        return self.file(self.decided(step_of(quality), self.effort))

    def small(self, budget: int) -> bytes:
        """The file of the finest step that has at most ``budget`` bytes."""

        def size(step: int, effort: Effort) -> tuple[float, bytes]:
            file = self.file(self.decided(step, effort))
            return len(file), file

        file = self.search(size, budget)
        if file is None:
            least, _ = size(LAST, LEAST_EFFORT)
            raise NncodecError(f"no file of {budget:,} bytes; the smallest has {least:,}")
        return file

    def accurate(self, psnr: float) -> bytes:
        """The file of the coarsest step that is decoded with at least ``psnr`` dB."""

        def error(finer: int, effort: Effort) -> tuple[float, Decided]:
            found = self.decided(LAST - finer, effort)
            latent, settings = found
            squares = self.transform.squared_error(latent, self.header, settings, self.pixels)
            return max(squares / self.pixels.size, 1e-3), found

        found = self.search(error, 255**2 * 10 ** (-psnr / 10))
        if found is None:
            raise NncodecError(f"{psnr:g} dB cannot be reached with this model")
        return self.file(found)

    def search(self, measure: Callable[[int, Effort], tuple[float, T]], limit: float) -> T | None:
        """What :func:`least_within` finds for a measure of a number and the effort.

        Where the limit is met by rounding alone, which is quick to tell, is nearly where it is
        met with all that is to be done.
        """
        near = None
        if self.effort != LEAST_EFFORT:
            near = least_within(lambda n: (measure(n, LEAST_EFFORT)[0], n), limit, 0, LAST)
        return least_within(lambda n: measure(n, self.effort), limit, 0, LAST, near)

    def decided(self, step: int, effort: Effort) -> Decided:
        """What is decided for a step code."""
        return decide(
            self.transform,
            self.planes,
            self.latent,
            self.pixels,
            self.header,
            step,
            effort,
            self.progress,
        )

    def file(self, decided: Decided) -> bytes:
        """The file of what was decided."""
        header, (latent, settings) = self.header, decided
        places = [area(header, header.segment_patches(n)) for n in range(header.n_segments)]
        stages, least = self.stages or STAGES, 0
        if self.stages is None and len(places) == 1:  # else each would choose for itself
            least = LEAST
        segments = [
            self.planes.encode(latent[place], settings.step, stages, least) for place in places
        ]
        payloads = [
            (Coding.CONTEXT, part) for stage in zip(*segments, strict=True) for part in stage
        ]
        whole = replace(header, planes=len(segments[0]), params=settings.params)
        return self.write(whole, payloads)
