"""The encoder of a variable-rate model: a picture to a file that meets a target."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from nncodec.formats.cae import Coding, Header
from nncodec.formats.errors import NncodecError
from nncodec.formats.stages import MAX_STEP, Settings

from .entropy.digits import Latent
from .entropy.planes import PlaneModel
from .rate import DEFAULT_QUALITY, Effort, Target, Write, least_within, step_of
from .refinement import refine
from .transform import Pixels, Progress
from .variable_transform import VariableTransform, area

STAGES = 4  # that a picture is sent in at most, if nobody says how many
LEAST = 4096  # bytes of the first of them: one round trip over a network brings as much anyway
LAST = MAX_STEP - 1  # the coarsest step

T = TypeVar("T")


class VariableEncoder:
    """Files of one picture (H, W, 3), whose analysis runs once.

    ``header`` lacks the settings, ``write`` makes a file of a header and its payloads, ``effort``
    says how it is analysed and how many rounds of :func:`refine` follow.
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
        rounds = self.rounds = effort.rounds
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
        return self.file(*self.quantised(step_of(quality), self.rounds))

    def small(self, budget: int) -> bytes:
        """The file of the finest step that has at most ``budget`` bytes."""

        def size(step: int, rounds: int) -> tuple[float, bytes]:
            file = self.file(*self.quantised(step, rounds))
            return len(file), file

        file = self.search(size, budget)
        if file is None:
            least, _ = size(LAST, 0)
            raise NncodecError(f"no file of {budget:,} bytes; the smallest has {least:,}")
        return file

    def accurate(self, psnr: float) -> bytes:
        """The file of the coarsest step that is decoded with at least ``psnr`` dB."""

        def error(finer: int, rounds: int) -> tuple[float, tuple[Latent, int]]:
            latent, step = self.quantised(LAST - finer, rounds)
            squares = self.transform.squared_error(latent, self.header, step, self.pixels)
            return max(squares / self.pixels.size, 1e-3), (latent, step)

        found = self.search(error, 255**2 * 10 ** (-psnr / 10))
        if found is None:
            raise NncodecError(f"{psnr:g} dB cannot be reached with this model")
        return self.file(*found)

    def search(self, measure: Callable[[int, int], tuple[float, T]], limit: float) -> T | None:
        """What :func:`least_within` finds for a measure of a number and the rounds.

        Where the limit is met without any rounds, which is quick to tell, is nearly where it is
        met with them.
        """
        near = None
        if self.rounds:
            near = least_within(lambda n: (measure(n, 0)[0], n), limit, 0, LAST)
        return least_within(lambda n: measure(n, self.rounds), limit, 0, LAST, near)

    def quantised(self, step: int, rounds: int) -> tuple[Latent, int]:
        """The latent (h, w, C) in whole steps; and the step code."""
        chosen = refine(
            self.transform,
            self.planes,
            self.latent,
            self.pixels,
            self.header,
            step,
            rounds,
            self.progress,
        )
        return chosen, step

    def file(self, latent: Latent, step: int) -> bytes:
        """The file of a quantised latent (h, w, C)."""
        header = self.header
        places = [area(header, header.segment_patches(n)) for n in range(header.n_segments)]
        stages, least = self.stages or STAGES, 0
        if self.stages is None and len(places) == 1:  # else each would choose for itself
            least = LEAST
        segments = [self.planes.encode(latent[place], step, stages, least) for place in places]
        payloads = [
            (Coding.CONTEXT, part) for stage in zip(*segments, strict=True) for part in stage
        ]
        settings = Settings(step).params
        return self.write(replace(header, planes=len(segments[0]), params=settings), payloads)
