"""What is measured of one image through one codec, and the means over images."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One image through one codec at one setting."""

    image: str
    codec: str
    setting: str
    pixels: int
    bytes: int  # of the file
    psnr: float  # dB; inf without any error
    ms_ssim: float  # nan for images that are too small for it
    blockiness: float  # nan for images without borders
    encode_seconds: float
    decode_seconds: float

    @property
    def bpp(self) -> float:
        """Bits per pixel of the original image."""
        return 8 * self.bytes / self.pixels

    def record(self) -> dict[str, Any]:
        """Return the fields and the rate; None for what is not finite: JSON has no word for it."""
        return finite({**asdict(self), "bpp": self.bpp})


@dataclass(frozen=True)
class Mean:
    """The means over the images that one codec coded at one setting."""

    codec: str
    setting: str
    images: int
    bpp: float
    psnr: float
    ms_ssim: float
    blockiness: float
    encode_mps: float  # megapixels per second, over all images
    decode_mps: float

    @property
    def is_quality(self) -> bool:
        """Whether the setting is a quality of a variable-rate model."""
        return self.setting.startswith("q ")

    def record(self) -> dict[str, Any]:
        """Return the fields; None for what is not finite."""
        return finite(asdict(self))


def means(measurements: Sequence[Measurement]) -> list[Mean]:
    """Return the mean over the images for each codec and setting, in order of appearance.

    Images for which a measure is not defined (MS-SSIM of small ones) are left out of its mean.
    """
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.codec, one.setting), []).append(one)
    return [_mean(codec, setting, group) for (codec, setting), group in groups.items()]


def _mean(codec: str, setting: str, group: Sequence[Measurement]) -> Mean:
    megapixels = sum(one.pixels for one in group) / 1e6
    return Mean(
        codec,
        setting,
        len(group),
        statistics.fmean(one.bpp for one in group),
        statistics.fmean(one.psnr for one in group),
        _defined_mean([one.ms_ssim for one in group]),
        _defined_mean([one.blockiness for one in group]),
        megapixels / sum(one.encode_seconds for one in group),
        megapixels / sum(one.decode_seconds for one in group),
    )


def _defined_mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return statistics.fmean(defined) if defined else math.nan


def finite(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with None in the place of every inf and nan."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
