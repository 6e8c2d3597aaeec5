"""What the means say of nncodec against its peers: at equal rate, at equal PSNR, and BD-rate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .bdrate import Curve, bd_rate, between, quality_at, rate_at
from .measurement import Mean, finite
from .metrics import decibels

RATES = (0.1, 1.0)  # bits per pixel of peers, at which photographs are mostly kept


@dataclass(frozen=True)
class AtPoint:
    """One model at its rate, against a peer interpolated over its own settings."""

    codec: str
    setting: str
    peer: str
    psnr: float  # of the peer at the model's rate; nan if the peer does not reach that rate
    ms_ssim: float  # likewise
    bpp: float  # of the peer at the model's PSNR; nan if the peer does not reach that PSNR

    def record(self) -> dict[str, Any]:
        """Return the fields; None for what the peer does not reach."""
        return finite(asdict(self))


@dataclass(frozen=True)
class OverCurve:
    """A family of models or qualities, taken as one curve, against a peer's."""

    curve: str  # see `families`
    peer: str
    bd_rate: float  # percent; negative where nncodec needs fewer bits; nan without overlap
    psnr_low: float  # dB, of the qualities that both reach; nan without any
    psnr_high: float

    def record(self) -> dict[str, Any]:
        """Return the fields; None where there is no overlap."""
        return finite(asdict(self))


def curve(means: Sequence[Mean], quality: Callable[[Mean], float]) -> Curve:
    """Return the rates and qualities of one codec's settings."""
    return [(mean.bpp, quality(mean)) for mean in means]


def at_points(models: Sequence[Mean], peers: Sequence[Mean]) -> list[AtPoint]:
    """Compare each model's mean with each peer's curve."""
    return [
        AtPoint(
            model.codec,
            model.setting,
            peer,
            quality_at(curve(means, _psnr), model.bpp),
            _from_decibels(quality_at(curve(means, _ms_ssim), model.bpp)),
            rate_at(curve(means, _psnr), model.psnr),
        )
        for model in models
        for peer, means in grouped(peers, lambda mean: mean.codec).items()
    ]


def families(models: Sequence[Mean]) -> dict[str, list[Mean]]:
    """Return what makes a curve: the qualities of a variable-rate model, by its id, and the
    fixed-rate models of a setting, by the setting."""
    return grouped(models, lambda mean: mean.codec if mean.is_quality else mean.setting)


def over_curves(models: Sequence[Mean], peers: Sequence[Mean]) -> list[OverCurve]:
    """Compare each family's curve with each peer's: a variable-rate model's at the peer's RATES.

    So whatever is set against one peer is so over the same qualities.
    """
    results = []
    for name, family in families(models).items():
        if len(family) < 2:
            continue
        ours = curve(family, _psnr)
        for peer, means in grouped(peers, lambda mean: mean.codec).items():
            theirs = curve(means, _psnr)
            if family[0].is_quality:
                theirs = between(theirs, *RATES)
            if len(theirs) < 2:
                continue
            low = max(min(psnr for _, psnr in points) for points in (ours, theirs))
            high = min(max(psnr for _, psnr in points) for points in (ours, theirs))
            if low >= high:
                low = high = math.nan
            results.append(OverCurve(name, peer, bd_rate(theirs, ours), low, high))
    return results


def grouped(means: Sequence[Mean], key: Callable[[Mean], str]) -> dict[str, list[Mean]]:
    """Return the means by ``key``, in order of appearance."""
    groups: dict[str, list[Mean]] = {}
    for mean in means:
        groups.setdefault(key(mean), []).append(mean)
    return groups


def _psnr(mean: Mean) -> float:
    return mean.psnr


def _ms_ssim(mean: Mean) -> float:
    return decibels(mean.ms_ssim)  # more nearly straight over the logarithm of the rate


def _from_decibels(decibels: float) -> float:
    return 1 - 10 ** (-decibels / 10)
