"""Images that lie, through the command line: coded as what they are, or refused in one line."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image, ImageOps

from nncodec.formats.cae import Reader

Run = Callable[..., Result]

QUICK = ("-m", "cae_16x8x8_refl_pad_bin", "--device", "cpu")
SIZE = (60, 40)
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
TAIL = 16 << 20  # bytes that are more than any metadata may have
ORIENTATION, GPS = 0x0112, 0x8825


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    """``data`` with other numbers in it."""
    size = struct.calcsize(form)
    return data[:place] + struct.pack(form, *values) + data[place + size :]


def png(
    width: int, height: int, *more: tuple[bytes, bytes], depth: int = 8, kind: int = 2
) -> bytes:
    """A PNG file of so many pixels, all 0, with ``more`` chunks before them."""
    channels = {0: 1, 2: 3, 3: 1}[kind]
    row = bytes(1 + width * channels * depth // 8) if width < 1000 else b""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = [
        (b"IHDR", head),
        *more,
        (b"IDAT", zlib.compress(row * (height % 1000))),
        (b"IEND", b""),
    ]
    parts = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(width: int, height: int, *more: tuple[int, int, int, int], after: int = 0) -> bytes:
    """A grey TIFF file of so many pixels, with ``more`` tags (number, type, count, value)."""
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 400), (277, 3, 1, 1), (278, 4, 1, height)),
        *((279, 4, 1, 16), *more),
    ]
    index = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + index + struct.pack("<I", after)
    return head.ljust(400, b"\0") + bytes(range(16))


def frames(format: str) -> bytes:
    others = [PHOTO.rotate(90 * n, expand=False) for n in (1, 2)]
    return saved(PHOTO, format, save_all=True, append_images=others)


def jpeg_of(width: int, height: int) -> bytes:
    """A JPEG file whose header claims so many pixels."""
    data = saved(PHOTO, "JPEG")
    return patched(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


def inflating(megabytes: int) -> bytes:
    """The body of a PNG chunk that inflates to so much."""
    return b"x\0\0" + zlib.compress(bytes(megabytes << 20), 9)


LARGE = "pixels are more than 178956970; allow it with --max-pixels"
NONE = "not an image that can be read"
CUT = "image file is truncated"
DAMAGED = "the image is damaged or not supported: "

REFUSED = {
    "bomb.png": (png(60_000, 60_000), f"60000 x 60000 {LARGE}"),
    "bomb.jpg": (jpeg_of(65_535, 65_535), f"65535 x 65535 {LARGE}"),
    "bomb.tif": (tiff(2**31 - 1, 2**31 - 1), LARGE),
    "bomb.gif": (patched(frames("GIF"), 6, "<HH", 65_535, 65_535), f"65535 x 65535 {LARGE}"),
    "bomb.psd": (
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3) + bytes(99),
        LARGE,
    ),
    "profile.png": (png(4, 4, (b"iCCP", inflating(50))), "Decompressed data too large"),
    "text.png": (png(4, 4, (b"zTXt", inflating(50))), "Decompressed data too large"),
    "texts.png": (png(4, 4, *[(b"zTXt", inflating(1)[:-9])] * 80), DAMAGED),
    "cut.png": (saved(PHOTO, "PNG")[:3000], CUT),
    "cut.jpg": (saved(PHOTO, "JPEG")[:700], CUT),
    "cut.tif": (saved(PHOTO, "TIFF")[:4000], CUT),
    "cut.webp": (saved(PHOTO, "WEBP")[:100], DAMAGED),
    "cut.gif": (frames("GIF")[:900], CUT),
    "cut.bmp": (saved(PHOTO, "BMP")[:500], CUT),
    "cut.jp2": (saved(PHOTO, "JPEG2000")[:3000], DAMAGED),
    "head.jpg": (saved(PHOTO, "JPEG")[:30], DAMAGED),
    "lie.png": (patched(png(20, 20), 16, ">I", 2000)[:-12], NONE),
    "lie.tif": (tiff(13_000, 13_000), CUT),
    "lie.bmp": (patched(saved(PHOTO, "BMP"), 18, "<ii", 13_000, -13_000), CUT),
    "lie.ppm": (b"P6 13000 13000 255\n" + bytes(48), CUT),
    "zero.png": (png(0, 0), NONE),
    "zero.jpg": (jpeg_of(60, 0), NONE),
    "zero.tif": (tiff(0, 0), NONE),
    "zero.bmp": (patched(saved(PHOTO, "BMP"), 18, "<ii", 0, 0), NONE),
    "zero.ppm": (b"P6 0 0 255\n", NONE),
    "minus.ppm": (b"P6 -4 4 255\n" + bytes(48), NONE),
    "palette.png": (png(4, 4, kind=3), DAMAGED),
    "depth.png": (png(8, 8, depth=5), NONE),
    "float.tif": (saved(PHOTO.convert("F"), "TIFF"), "mode F is not supported"),
    "lab.tif": (saved(PHOTO.convert("LAB"), "TIFF"), "mode LAB is not supported"),
    "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "EPS is a"),
    "page.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', NONE),
    "empty.png": (b"", NONE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_in_one_line(nncodec: Run, folder: Path, name: str) -> None:
    data, message = REFUSED[name]
    Path(name).write_bytes(data)
    result = nncodec("compress", name, "-o", "out.cae", *QUICK, status=1)
    assert result.stdout == "" and result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"nncodec: {name}: ")
    assert message in result.stderr
    assert [path.name for path in folder.iterdir()] == [name]


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    tags.get_ifd(GPS)[1] = "N"
    return tags


LEVELS = np.linspace(0, 65_535, 2400).reshape(40, 60).astype(np.uint16)
FRAMES = "only one of 3 frames is kept"
DEEP = "16-bit samples are scaled to 8 bits"
PLAIN = "CMYK without a usable profile is converted to RGB"

# A file; the mode and size that come back; what is said.
TAKEN = {
    "bits.png": (saved(PHOTO.convert("1"), "PNG"), "L", SIZE, ""),
    "bits.tif": (saved(PHOTO.convert("1"), "TIFF", compression="group4"), "L", SIZE, ""),
    "bits.pbm": (saved(PHOTO.convert("1"), "PPM"), "L", SIZE, ""),
    "palette.png": (saved(PHOTO.quantize(9), "PNG"), "RGB", SIZE, ""),
    "clear.png": (saved(PHOTO.quantize(9), "PNG", transparency=bytes(9)), "RGBA", SIZE, ""),
    "short.png": (png(4, 4, (b"PLTE", b"\1\2\3"), kind=3), "RGB", (4, 4), ""),
    "ink.jpg": (saved(PHOTO.convert("CMYK"), "JPEG", icc_profile=b"none"), "RGB", SIZE, PLAIN),
    "deep.png": (saved(Image.fromarray(LEVELS), "PNG"), "L", SIZE, DEEP),
    "deep.tif": (saved(Image.fromarray(LEVELS), "TIFF"), "L", SIZE, DEEP),
    "deeper.png": (png(9, 5, depth=16), "RGB", (9, 5), DEEP),
    "moving.gif": (frames("GIF"), "RGB", SIZE, FRAMES),
    "moving.png": (frames("PNG"), "RGB", SIZE, FRAMES),
    "moving.webp": (frames("WEBP"), "RGB", SIZE, FRAMES),
    "pages.tif": (frames("TIFF"), "RGB", SIZE, FRAMES),
    "count.png": (png(4, 4, (b"acTL", b"\x7f" * 8)), "RGB", (4, 4), "frames is kept"),
    "still.png": (png(4, 4, (b"acTL", bytes(8))), "RGB", (4, 4), ""),  # Pillow warns
    "tag.tif": (tiff(4, 4, (700, 1, 2**31, 8)), "L", (4, 4), ""),  # Pillow warns
    "circle.tif": (tiff(4, 4, after=8), "L", (4, 4), ""),
    "exif.png": (png(4, 4, (b"eXIf", b"garbage")), "RGB", (4, 4), ""),
    "much.png": (png(4, 4, (b"eXIf", b"II*\0" + bytes(TAIL))), "RGB", (4, 4), "EXIF of an unusual"),
    "xmp.jpg": (saved(PHOTO, "JPEG", xmp=b"\xff\xfe\0"), "RGB", SIZE, "XMP that is not UTF-8 is"),
}


@pytest.mark.filterwarnings("error")  # nothing of Pillow's may reach the terminal
@pytest.mark.parametrize("name", TAKEN)
def test_odd_images_become_pictures(nncodec: Run, folder: Path, name: str) -> None:
    data, mode, size, message = TAKEN[name]
    Path(name).write_bytes(data)
    result = nncodec("compress", name, "-o", "out.cae", *QUICK)
    assert result.stderr.count("\n") == bool(message) and message in result.stderr
    nncodec("decompress", "out.cae", "out.png", "--device", "cpu")
    with Image.open("out.png") as image:
        assert (image.mode, image.size) == (mode, size)


def test_alpha_of_a_palette_is_exact(nncodec: Run, folder: Path) -> None:
    levels = bytes([0, 7, 128, 255, 3, 9])
    PHOTO.quantize(6).save("in.png", transparency=levels)
    nncodec("compress", "in.png", "in.cae", *QUICK)
    nncodec("decompress", "in.cae", "out.png", "--device", "cpu")
    with Image.open("in.png") as before, Image.open("out.png") as after:
        due = np.asarray(before.convert("RGBA"))[:, :, 3]
        assert (np.asarray(after)[:, :, 3] == due).all() and set(levels) == set(due.flat)


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_the_orientation_goes_along(nncodec: Run, folder: Path, format: str) -> None:
    """Pixels stay as they lie in the file, and so does the word on how to turn them."""
    Path("in").write_bytes(saved(PHOTO, format, exif=exif()))
    nncodec("compress", "in", "-o", "in.cae", *QUICK)
    for copy in ("png", "webp", "jpeg"):
        nncodec("decompress", "in.cae", "-t", copy, "-o", copy, "--device", "cpu")
        with Image.open(copy) as image:
            assert image.size == SIZE
            assert image.getexif()[ORIENTATION] == 6
            assert image.getexif().get_ifd(GPS)[1] == "N"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("when", ["compress", "decompress"])
def test_a_picture_that_loses_its_orientation_is_turned(
    nncodec: Run, folder: Path, orientation: int, when: str
) -> None:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    photo = PHOTO.convert("RGBA")
    photo.putalpha(Image.linear_gradient("L").resize(SIZE))  # exact, so that it tells
    photo.save("in.png", exif=tags)
    strip = ["--metadata", "icc"]
    nncodec("compress", "in.png", "in.cae", *QUICK, *(strip if when == "compress" else []))
    nncodec(
        "decompress", "in.cae", "out.png", "--device", "cpu", *(strip if when != "compress" else [])
    )
    with Image.open("in.png") as before, Image.open("out.png") as after:
        due = ImageOps.exif_transpose(before)
        assert after.size == due.size and ORIENTATION not in after.getexif()
        assert after.getchannel("A").tobytes() == due.getchannel("A").tobytes()


def test_a_tiff_file_is_turned_by_pillow(nncodec: Run, folder: Path) -> None:
    PHOTO.save("in.tif", exif=exif())
    nncodec("compress", "in.tif", "in.cae", *QUICK)
    with open("in.cae", "rb") as file:
        reader = Reader(file)
        assert (reader.header.width, reader.header.height) == (40, 60)
        kept = Image.Exif()
        kept.load(b"Exif\0\0" + reader.metadata.get("exif", b""))
        assert ORIENTATION not in kept


def test_metadata_that_a_format_cannot_hold_name_another(nncodec: Run, folder: Path) -> None:
    """As another program may have put it into a .cae file."""
    import nncodec as library
    from nncodec.formats.picture import Metadata, from_array

    picture = from_array(np.zeros((4, 4, 3), np.uint8))
    picture = replace(picture, metadata=Metadata(xmp=b"\xff\xfe"))
    codec = library.Codec("cae_16x8x8_refl_pad_bin", "cpu")
    Path("in.cae").write_bytes(codec.compress_picture(picture))
    error = nncodec("decompress", "in.cae", "out.png", status=1).stderr
    assert "cannot be written as png: " in error and error.endswith("; use webp\n")
    nncodec("decompress", "in.cae", "out.webp")
    nncodec("decompress", "in.cae", "out.png", "--strip")
