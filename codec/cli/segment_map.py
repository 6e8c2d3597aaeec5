"""The map that ``info -v`` draws: how dense the bits are in each part of the picture."""

from collections.abc import Sequence

from nncodec.formats.cae import Header

SHADES = "░▒▓█"
PLAIN_SHADES = ".-+#"  # for terminals that know ASCII only
LOST = "?"  # where a damaged file has no segment
INDENT = 4
LINES = 24  # of a map at most
PATCHES_DOWN = 2  # in a character, for one across: characters are twice as high as wide


def draw(
    header: Header, segments: Sequence[tuple[int, int, str, int]], width: int, encoding: str
) -> list[str]:
    """Return a legend, and lines of at most ``width`` characters for a terminal's ``encoding``.

    A character stands for a patch across and two down, or as many times that as fit the width
    and 24 lines. It shows the bits per pixel of its segment, all stages together, from the least
    to the most.
    """
    rates = densities(header, segments)
    shades = SHADES if encodes(SHADES, encoding) else PLAIN_SHADES
    low, high = min(rates.values(), default=0.0), max(rates.values(), default=0.0)
    step = (high - low) / len(shades)

    def shade(row: int, column: int) -> str:
        rate = rates.get(segment_at(header, row, column))
        if rate is None:
            return LOST
        return shades[min(int((rate - low) / step), len(shades) - 1) if step else -1]

    rows, columns = header.grid
    # Across, in a character.
    patches = max(-(-columns // max(width - INDENT, 1)), -(-rows // (PATCHES_DOWN * LINES)))
    lines = [
        " " * INDENT + "".join(shade(row, column) for column in range(0, columns, patches))
        for row in range(0, rows, patches * PATCHES_DOWN)
    ]
    ends = [f"{shades[0]} {low:.3f}", f"{shades[-1]} {high:.3f}"] if step else [f"{high:.3f}"]
    return [f"  {'map':<10} {' to '.join(ends)} bits per pixel, by segment", *lines]


def densities(header: Header, segments: Sequence[tuple[int, int, str, int]]) -> dict[int, float]:
    """Return the bits per pixel of each segment that is there, all its stages together."""
    sizes: dict[int, int] = {}
    for index, _, _, size in segments:
        sizes[index] = sizes.get(index, 0) + size
    return {index: 8 * size / pixels(header, index) for index, size in sizes.items()}


def pixels(header: Header, index: int) -> int:
    """Return how many pixels a segment shows of the picture, less the padding."""
    tile, size = header.segment_patches(index), header.patch
    top, left = tile.row * size - header.pad_top, tile.column * size - header.pad_left
    height = min(top + tile.rows * size, header.height) - max(top, 0)
    return height * (min(left + tile.columns * size, header.width) - max(left, 0))


def segment_at(header: Header, row: int, column: int) -> int:
    """Return the segment of a patch."""
    return row // header.segment_rows * header.segments[1] + column // header.segment_columns


def encodes(text: str, encoding: str) -> bool:
    """Tell whether a terminal with this encoding can show a text."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
