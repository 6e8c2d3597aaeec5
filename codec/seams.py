"""Seams: what shows where patches that were coded alone meet, and how it is smoothed away.

A *border* is the index of the first row (or column) of pixels after a seam. There are two
methods, both for a window of w pixels across the border, h = w / 2 on each side:

``linear``
    Interpolation smoothing. The rows y - h .. y + h - 1 around a border y give way to the linear
    interpolation of the rows y - h and y + h, with weights (i + 1) / (w + 1) for i = 0 .. w - 1;
    likewise across the vertical borders. (Both directions are linear and act on different
    axes: which comes first does not matter.) The detail in the window goes with the seam.

``step``
    Only the step at the border goes. What the two sides differ by at the border is averaged over
    a few pixels along it (a seam is coherent there, texture is not) and limited (a larger step is
    an edge of the scene), and each side is moved by half of that, less and less over h pixels.
    The detail stays. Vertical borders come first, each row of patches alone.

Either way nothing is read from further than h pixels across a border, so that the rows of
patches can be smoothed one after the other as they are decoded: :func:`smooth_strips` holds back h
rows of pixels, and gives the same as :func:`smooth` for the whole picture.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Samples = NDArray[np.float32]
Borders = Sequence[int] | NDArray[np.intp]

Method = Literal["linear", "step"]
METHODS: tuple[Method, ...] = get_args(Method)

# From the pixels ``across`` n borders at each of L places along them, (L, n, w + 1, 3) with the
# border in the middle, before number w / 2, to what replaces the first w: (L, n, w, 3). The second
# argument are the places along the borders where other borders cross them.
Mend = Callable[[Samples, NDArray[np.intp]], Samples]

# Pixels; for patches that were decoded jointly and thus have hardly a seam, and for the others.
DEFAULT_WINDOW = {"joint": 0, "alone": 8}
DEFAULT_METHOD: Method = "step"

BLUR = 1  # half-width, in pixels along the border, of the two boxes that average the step
LIMIT = 60.0  # largest step that is taken for a seam, in 8-bit levels


def borders(length: int, before: int = 0, patch: int = 128) -> NDArray[np.intp]:
    """Return the borders inside of ``length`` pixels of a picture.

    ``before`` is the padding that was cut off in front: the first patch shows ``patch - before``
    pixels, every further one ``patch`` until ``length`` is reached.
    """
    return np.arange(patch - before, length, patch)


def smooth(
    pixels: Pixels,
    rows: Borders,
    columns: Borders,
    window: int,
    method: Method = DEFAULT_METHOD,
) -> Pixels:
    """Return the picture (H, W, 3) with the seams at the given borders smoothed.

    ``rows`` and ``columns`` are increasing and lie strictly inside of the picture; ``window`` is
    even, and 0 leaves the picture as it is. Raises ValueError for other windows.
    """
    strips = np.split(pixels, np.asarray(rows, dtype=np.intp))
    return np.concatenate(list(smooth_strips(strips, columns, window, method)))


def smooth_strips(
    strips: Iterable[Pixels],
    columns: Borders,
    window: int,
    method: Method = DEFAULT_METHOD,
) -> Iterator[Pixels]:
    """Yield the picture that consists of ``strips``, smoothed, in pieces from top to bottom.

    A strip (T, W, 3) is what is shown of one row of patches, so there is a border between each
    and the next; ``columns`` are the borders in it, increasing and strictly inside. The pieces
    are as wide and together as high as the strips, but cut elsewhere. Around a patch of which
    less than a window is shown the window is narrower.
    """
    if window < 0 or window % 2:
        raise ValueError(f"the window must be an even number of pixels, not {window}")
    half = window // 2
    if half == 0:
        yield from strips
        return
    mend = _MENDS[method]
    along = np.asarray(columns, dtype=np.intp)
    held: Samples | None = None  # the last rows of the strip before, not yet smoothed downwards
    for strip in strips:
        current = _smooth_columns(strip.astype(np.float32), along, half, mend)
        if held is not None:
            y = len(held)
            current = np.concatenate([held, current])
            reach = min(half, y, len(strip) // 2)
            if reach:
                across = current[y - reach : y + reach + 1].swapaxes(0, 1)[:, np.newaxis]
                current[y - reach : y + reach] = mend(across, along)[:, 0].swapaxes(0, 1)
        kept = min(half, len(strip) // 2)
        yield _to_pixels(current[: len(current) - kept])
        held = current[len(current) - kept :]
    if held is not None:
        yield _to_pixels(held)


def _smooth_columns(strip: Samples, columns: NDArray[np.intp], half: int, mend: Mend) -> Samples:
    """Smooth across the vertical borders of a strip (T, W, 3), in place, and return it."""
    shown = np.diff(columns, prepend=0, append=strip.shape[1])
    reaches = np.minimum(half, np.minimum(shown[:-1], shown[1:]) // 2)
    for reach in np.unique(reaches[reaches > 0]):  # one, but for patches cut off at the sides
        at = columns[reaches == reach, np.newaxis] + np.arange(-reach, reach + 1)
        strip[:, at[:, :-1]] = mend(strip[:, at], np.empty(0, np.intp))
    return strip


def _linear(across: Samples, crossings: NDArray[np.intp]) -> Samples:
    window = across.shape[2] - 1
    weights = (np.arange(1, window + 1) / (window + 1)).astype(np.float32)[:, np.newaxis]
    first, last = across[:, :, :1], across[:, :, -1:]
    mended: Samples = first + weights * (last - first)
    return mended


def _step(across: Samples, crossings: NDArray[np.intp]) -> Samples:
    half = across.shape[2] // 2
    step = across[:, :, half] - across[:, :, half - 1]
    for _ in range(2):
        step = _average_along(step, crossings, BLUR)
    distance = np.arange(0.5, half) / half  # of a pixel's centre from the border: 0 to 1
    share = np.concatenate([1 - distance[::-1], distance - 1]) / 2
    limited = np.clip(step, -LIMIT, LIMIT)[:, :, np.newaxis]
    mended: Samples = across[:, :, :-1] + share.astype(np.float32)[:, np.newaxis] * limited
    return mended


def _average_along(values: Samples, crossings: NDArray[np.intp], radius: int) -> Samples:
    """Return the means of ``values`` (L, ...) over 2 ``radius`` + 1 neighbours on the first axis.

    Near a crossing and at the ends, of those that are on the same side.
    """
    place = np.arange(len(values))
    starts = np.concatenate([[0], crossings])
    ends = np.concatenate([crossings, [len(values)]])
    piece = np.searchsorted(crossings, place, side="right")
    first = np.maximum(place - radius, starts[piece])
    end = np.minimum(place + radius + 1, ends[piece])
    sums = np.zeros((len(values) + 1, *values.shape[1:]))  # float64: long sums, small differences
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    count = (end - first).reshape(-1, *[1] * (values.ndim - 1))
    means: Samples = ((sums[end] - sums[first]) / count).astype(np.float32)
    return means


def _to_pixels(samples: Samples) -> Pixels:
    return np.clip(np.rint(samples), 0, 255).astype(np.uint8)


_MENDS: dict[Method, Mend] = {"linear": _linear, "step": _step}
