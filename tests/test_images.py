"""Image files of every supported mode to pictures and back; the others are refused by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from nncodec.formats.cae import Colour
from nncodec.formats.errors import ImageError, OutputError
from nncodec.formats.images import (
    Metadata,
    Picture,
    format_of,
    from_array,
    from_pil,
    read_image,
    to_pil,
    write_image,
)

WIDTH, HEIGHT = 13, 9
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<?xpacket begin="\xef\xbb\xbf"?><x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'


def exif() -> bytes:
    """EXIF with an orientation, a maker and a sub-directory, without its prefix."""
    tags = Image.Exif()
    tags[0x0112] = 6  # orientation
    tags[0x010F] = "Maker"
    tags.get_ifd(0x8769)[0x829A] = 0.01  # exposure time
    return tags.tobytes().removeprefix(b"Exif\0\0")


def samples(channels: int, seed: int = 1) -> NDArray[np.uint8]:
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def back(picture: Picture, format: str = "png") -> Image.Image:
    """`picture` through a file of `format`."""
    file = io.BytesIO()
    write_image(picture, file, format)
    image = Image.open(file)
    image.load()
    return image


@pytest.mark.parametrize(
    ("mode", "channels", "colour"),
    [
        ("L", 1, Colour.GREY),
        ("LA", 2, Colour.GREY_ALPHA),
        ("RGB", 3, Colour.RGB),
        ("RGBA", 4, Colour.RGB_ALPHA),
    ],
)
def test_plain_modes_round_trip(mode: str, channels: int, colour: Colour) -> None:
    values = samples(channels)
    picture = read_image(file_of(Image.fromarray(values)))
    assert (picture.width, picture.height, picture.colour) == (WIDTH, HEIGHT, colour)
    assert picture.pixels.shape == (HEIGHT, WIDTH, 3)
    assert (picture.depth, picture.notes, picture.metadata) == (8, (), Metadata())
    assert (picture.alpha is not None) == colour.has_alpha
    image = back(picture)
    assert image.mode == mode
    assert (np.asarray(image) == values).all()


def test_two_levels_become_grey() -> None:
    values = samples(1) > 127
    picture = read_image(file_of(Image.fromarray(values)))
    assert picture.colour is Colour.GREY
    assert (picture.pixels == values[:, :, None] * 255).all()


def test_sixteen_bits_are_scaled_and_said_so() -> None:
    values = np.array([[0, 128, 129, 257, 385, 386, 65535, 65406]], np.uint16)
    picture = read_image(file_of(Image.fromarray(values)))
    assert picture.pixels[0, :, 1].tolist() == [0, 0, 1, 1, 1, 2, 255, 254]
    assert (picture.colour, picture.depth) == (Colour.GREY, 16)
    assert picture.notes == ("16-bit samples are scaled to 8 bits",)
    pgm = b"P5 8 1 65535\n" + values.byteswap().tobytes()
    assert (read_image(pgm).pixels == picture.pixels).all()
    assert read_image(pgm).depth == 16
    big = Image.frombytes("I;16B", (8, 1), values.byteswap().tobytes())
    assert (from_pil(big).pixels == picture.pixels).all()


def test_a_transparent_level_of_sixteen_bits_becomes_alpha() -> None:
    values = np.array([[7, 8, 65535]], np.uint16)
    picture = read_image(file_of(Image.fromarray(values), transparency=8))
    assert picture.colour is Colour.GREY_ALPHA
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[255, 0, 255]]


def png_of_16_bits(colour_type: int, values: NDArray[np.uint16]) -> bytes:
    """A PNG file that Pillow does not write: 16 bits, 2 RGB, 4 grey + alpha, 6 RGB + alpha."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize(
    ("colour_type", "channels", "colour"),
    [(2, 3, Colour.RGB), (4, 2, Colour.GREY_ALPHA), (6, 4, Colour.RGB_ALPHA)],
)
def test_sixteen_bits_of_several_channels(colour_type: int, channels: int, colour: Colour) -> None:
    values = samples(channels).astype(np.uint16) * 257
    picture = read_image(png_of_16_bits(colour_type, values))
    assert (picture.colour, picture.depth) == (colour, 16)
    assert picture.notes == ("16-bit samples are scaled to 8 bits",)
    assert (np.asarray(to_pil(picture)) == samples(channels)).all()


def palette_image(colours: list[int], **info: Any) -> bytes:
    image = Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 4)
    image = image.copy()
    image.putpalette(colours)
    return file_of(image, **info)


def test_palette_becomes_rgb() -> None:
    data = palette_image([10, 20, 30, 40, 50, 60, 70, 80, 90, 255, 0, 255])
    assert Image.open(io.BytesIO(data)).mode == "P"
    picture = read_image(data)
    assert (picture.colour, picture.alpha) == (Colour.RGB, None)
    assert picture.pixels[0, :5].tolist() == [
        [10, 20, 30],
        [40, 50, 60],
        [70, 80, 90],
        [255, 0, 255],
        [10, 20, 30],
    ]


@pytest.mark.parametrize("transparency", [b"\xff\x00\x80\x07", 1])
def test_palette_with_transparency_becomes_rgba(transparency: bytes | int) -> None:
    colours = [10, 20, 30, 40, 50, 60, 70, 80, 90, 255, 0, 255]
    picture = read_image(palette_image(colours, transparency=transparency))
    assert picture.colour is Colour.RGB_ALPHA
    expected = list(transparency) if isinstance(transparency, bytes) else [255, 0, 255, 255]
    assert picture.alpha is not None
    assert picture.alpha[0, :4].tolist() == expected
    assert picture.pixels[0, 1].tolist() == [40, 50, 60]


def test_grey_palette_stays_grey() -> None:
    greys = [5, 5, 5, 90, 90, 90, 200, 200, 200, 0, 0, 0]
    picture = read_image(palette_image(greys))
    assert picture.colour is Colour.GREY
    assert picture.pixels[0, :4, 2].tolist() == [5, 90, 200, 0]
    with_alpha = read_image(palette_image(greys, transparency=b"\xff\x00\x09"))
    assert with_alpha.colour is Colour.GREY_ALPHA
    assert with_alpha.alpha is not None
    assert with_alpha.alpha[0, :4].tolist() == [255, 0, 9, 255]
    assert with_alpha.pixels[0, :4, 1].tolist() == [5, 90, 200, 0]
    assert read_image(palette_image(greys, icc_profile=SRGB)).colour is Colour.RGB


@pytest.mark.parametrize(("mode", "key"), [("1", 255), ("L", 77), ("RGB", (1, 2, 3))])
def test_a_transparent_colour_becomes_alpha(mode: str, key: Any) -> None:
    image = Image.new(mode, (3000, 1000), 0)  # several strips
    image.putpixel((2, 900), key)
    picture = read_image(file_of(image, transparency=key))
    assert picture.colour is (Colour.RGB_ALPHA if mode == "RGB" else Colour.GREY_ALPHA)
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha != 255).tolist() == [[900, 2]]


def test_cmyk_without_profile() -> None:
    values = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    values[0, 0] = (255, 0, 0, 0)
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), values.tobytes())
    picture = read_image(file_of(image, "TIFF"))
    assert picture.colour is Colour.RGB
    assert picture.pixels[0, 0].tolist() == [0, 255, 255]
    assert picture.pixels[5, 5].tolist() == [255, 255, 255]
    assert picture.notes == ("CMYK without a usable profile is converted to RGB",)


def cmyk_profile() -> bytes:
    """An ICC profile by hand: lightness is what black and cyan leave, cyan is far to the blue."""
    corners = bytearray()
    for inks in range(16):  # cyan is the slowest, black the fastest of the table's four indices
        cyan, black = inks >> 3 & 1, inks & 1
        corners += bytes([255 * (1 - black) - 55 * cyan * (1 - black), 128, 128 - 60 * cyan])
    ramp = bytes(range(256))
    one = (1 << 16).to_bytes(4, "big")
    matrix = b"".join(one if i % 4 == 0 else bytes(4) for i in range(9))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + corners + ramp * 3
    white = b"XYZ " + bytes(4) + bytes.fromhex("0000f6d6 00010000 0000d32d")
    name = b"desc" + bytes(4) + (2).to_bytes(4, "big") + b"x\0" + bytes(78)
    text = b"text" + bytes(4) + b"none\0"
    tags = {b"desc": name, b"wtpt": white, b"cprt": text, b"A2B0": table}
    at, index, body = 132 + 12 * len(tags), bytearray(), bytearray()
    for tag, content in tags.items():
        index += tag + (at + len(body)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        body += content + bytes(-len(content) % 4)
    head = bytearray(128)
    head[:4] = (at + len(body)).to_bytes(4, "big")
    head[8:24] = bytes.fromhex("02400000") + b"prtrCMYKLab "
    head[36:40] = b"acsp"
    head[68:80] = white[8:]
    return bytes(head) + len(tags).to_bytes(4, "big") + bytes(index) + bytes(body)


def test_cmyk_goes_through_its_profile() -> None:
    values = np.zeros((1, 3, 4), np.uint8)
    values[0, 1] = (0, 0, 0, 255)
    values[0, 2] = (255, 0, 0, 0)
    image = Image.frombytes("CMYK", (3, 1), values.tobytes())
    picture = read_image(file_of(image, "TIFF", icc_profile=cmyk_profile()))
    assert picture.notes == ("CMYK is converted to sRGB through its profile",)
    assert picture.metadata.icc is None
    white, black, cyan = picture.pixels[0].astype(int)
    assert white.min() >= 253
    assert black.mean() < 30
    assert cyan[2] - cyan[0] > 80  # not the plain (0, 255, 255)
    assert cyan[1] < 220


def test_cmyk_with_a_broken_profile_is_as_without() -> None:
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    picture = read_image(file_of(image, "JPEG", icc_profile=b"not a profile"))
    assert picture.notes == ("CMYK without a usable profile is converted to RGB",)
    assert picture.metadata.icc is None


def test_premultiplied_alpha_is_undone() -> None:
    image = Image.new("RGBA", (2, 2), (200, 100, 50, 128)).convert("RGBa")
    picture = from_pil(image)
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 128
    assert np.abs(picture.pixels[0, 0].astype(int) - (200, 100, 50)).max() <= 1


@pytest.mark.parametrize("mode", ["F", "I", "LAB", "HSV"])
def test_other_modes_are_refused_by_name(mode: str) -> None:
    with pytest.raises(ImageError, match=f"mode {mode} is not supported"):
        from_pil(Image.new(mode, (2, 2)))
    if mode == "F":
        with pytest.raises(ImageError, match="mode F is not supported"):
            read_image(file_of(Image.new(mode, (2, 2)), "TIFF"))


def test_large_images_are_read_strip_by_strip() -> None:
    values = np.random.default_rng(3).integers(0, 256, (1100, 2001, 4), np.uint8)
    picture = from_pil(Image.fromarray(values))
    assert (picture.pixels == values[:, :, :3]).all()
    assert picture.alpha is not None
    assert (picture.alpha == values[:, :, 3]).all()


@pytest.mark.parametrize("form", ["path", "text", "bytes", "file", "pipe"])
def test_sources(tmp_path: Path, form: str) -> None:
    values = samples(3)
    data = file_of(Image.fromarray(values))
    path = tmp_path / "in.png"
    path.write_bytes(data)

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: Any) -> int:
            raise io.UnsupportedOperation

    sources: dict[str, Any] = {
        "path": path,
        "text": str(path),
        "bytes": data,
        "file": io.BytesIO(data),
        "pipe": Pipe(data),
    }
    assert (read_image(sources[form]).pixels == values).all()


def test_missing_files_are_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")


def test_images_that_are_none() -> None:
    with pytest.raises(ImageError, match="not an image that can be read"):
        read_image(b"just some text")
    with pytest.raises(ImageError, match="EPS is a program"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the TIFF file
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_cut_images_raise_one_line(format: str) -> None:
    data = file_of(Image.fromarray(samples(3)), format)
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            read_image(data[:length])
        except ImageError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused >= 50


def test_large_images_are_refused_without_a_warning() -> None:
    small = file_of(Image.new("L", (100, 50)))
    with pytest.raises(ImageError, match="100 x 50 pixels are more than 4999; allow it with"):
        read_image(small, 4999)
    assert read_image(small, 5000).width == 100
    huge = png_of_16_bits(2, np.zeros((1, 1, 3), np.uint16))
    huge = huge[:16] + (20_000).to_bytes(4, "big") * 2 + huge[24:]
    huge = huge[:29] + zlib.crc32(huge[12:29]).to_bytes(4, "big") + huge[33:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="20000 x 20000 pixels are more than 178956970"):
            read_image(huge)
        assert read_image(file_of(Image.new("1", (10_000, 9_000)))).width == 10_000
    assert Image.MAX_IMAGE_PIXELS is not None


def test_only_the_first_frame_is_kept() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 20, 30)]
    data = file_of(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    picture = read_image(data)
    assert picture.notes == ("only one of 3 frames is kept",)
    assert (picture.pixels == 10).all()


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "tiff"])
def test_metadata_is_kept(format: str) -> None:
    meta = Metadata(icc=SRGB, exif=exif(), xmp=XMP)
    file = io.BytesIO()
    write_image(Picture(samples(3), metadata=meta), file, format)
    got = read_image(file.getvalue()).metadata
    assert got.icc == SRGB
    assert got.xmp == XMP
    assert got.exif is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + got.exif)
    assert tags[0x010F] == "Maker"
    assert tags.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
    assert got.exif.startswith((b"II*\0", b"MM\0*"))
    if format == "tiff":  # Pillow turns the pixels and drops the tag
        assert 0x0112 not in tags
    else:
        assert got.exif == exif()
        assert tags[0x0112] == 6


def test_metadata_goes_to_pillow_and_back() -> None:
    meta = Metadata(icc=SRGB, exif=exif(), xmp=XMP)
    image = to_pil(Picture(samples(3), metadata=meta))
    assert image.getexif()[0x0112] == 6
    assert from_pil(image).metadata == meta


def test_exif_in_a_text_chunk_is_found() -> None:
    """As ImageMagick wrote it: hexadecimal in a text chunk."""
    body = b"Exif\0\0" + exif()
    text = f"\nexif\n{len(body):8}\n" + body.hex()
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type exif", text)
    picture = read_image(file_of(Image.new("L", (2, 2)), pnginfo=chunks))
    assert picture.metadata.exif is not None
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + picture.metadata.exif)
    assert tags[0x0112] == 6


def test_metadata_that_is_too_large_is_dropped_and_said_so() -> None:
    image = Image.new("L", (2, 2))
    image.info["icc_profile"] = bytes(2**24 + 1)
    picture = from_pil(image)
    assert picture.metadata == Metadata()
    assert picture.notes == ("ICC of an unusual form or over 16777216 bytes is dropped",)


@pytest.mark.parametrize("format", ["png", "webp", "tiff", "npy"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_exact_formats(format: str, channels: int) -> None:
    values = samples(channels)
    if channels in (2, 4):
        values[:3, :, -1] = 0  # the colour under full transparency stays, too
    file = io.BytesIO()
    write_image(from_pil(Image.fromarray(values)), file, format)
    file.seek(0)
    if format == "npy":
        got = np.load(file)
    else:
        got = np.asarray(Image.open(file).convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    assert (got == values).all()


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "tiff", "ppm", "npy"])
def test_every_format_goes_to_a_pipe(format: str) -> None:
    class Pipe(io.RawIOBase):
        got = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.got += bytes(data)
            return len(data)

    pipe, file = Pipe(), io.BytesIO()
    picture = Picture(samples(3), metadata=Metadata(xmp=XMP))
    write_image(picture, pipe, format)  # type: ignore[arg-type]
    write_image(picture, file, format)
    assert len(pipe.got) == len(file.getvalue())
    if format != "npy":
        assert Image.open(io.BytesIO(pipe.got)).size == (WIDTH, HEIGHT)


def test_lossy_and_plain_formats() -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)[:, :, None].repeat(3, 2)
    jpeg = np.asarray(back(Picture(smooth), "jpeg"))
    assert np.abs(jpeg.astype(int) - smooth).max() <= 3
    assert (np.asarray(back(Picture(smooth), "ppm")) == smooth).all()
    assert back(Picture(smooth, Colour.GREY), "ppm").mode == "L"


def test_grey_is_the_mean_of_the_channels() -> None:
    values = np.array([[[10, 11, 12], [0, 0, 1], [0, 1, 1], [255, 255, 255]]], np.uint8)
    image = to_pil(Picture(values, Colour.GREY))
    assert image.mode == "L"
    assert np.asarray(image).tolist() == [[11, 0, 1, 255]]


def test_what_a_format_cannot_hold_is_refused() -> None:
    with_alpha = from_array(samples(4))
    for format in ("jpeg", "ppm"):
        with pytest.raises(OutputError, match=f"{format} has no alpha channel; use png"):
            write_image(with_alpha, io.BytesIO(), format)
    wide = from_array(np.zeros((1, 16384), np.uint8))
    with pytest.raises(OutputError, match="webp holds at most 16383 x 16383"):
        write_image(wide, io.BytesIO(), "webp")
    with pytest.raises(OutputError, match="no format 'gif'"):
        write_image(wide, io.BytesIO(), "gif")
    large = Picture(samples(3), metadata=Metadata(exif=exif() + bytes(70_000)))
    with pytest.raises(OutputError, match="cannot be written as jpeg: EXIF"):
        write_image(large, io.BytesIO(), "jpeg")


def test_formats_follow_the_suffix() -> None:
    assert format_of("a/b.PNG") == "png"
    assert format_of(Path("b.tar.jpeg")) == "jpeg"
    with pytest.raises(OutputError, match=r"b\.gif: unknown suffix; use one of \.png "):
        format_of("b.gif")


def test_arrays() -> None:
    assert from_array(samples(1)).colour is Colour.GREY
    assert (from_array(samples(1)).pixels[:, :, 2] == samples(1)).all()
    assert from_array(samples(3)).colour is Colour.RGB
    rgba = from_array(samples(4))
    assert rgba.colour is Colour.RGB_ALPHA
    assert rgba.alpha is not None
    assert (rgba.alpha == samples(4)[:, :, 3]).all()
    assert (np.asarray(to_pil(rgba)) == samples(4)).all()
    with pytest.raises(ImageError, match="float64; uint8 is needed"):
        from_array(np.zeros((2, 2)))  # type: ignore[arg-type]
    for shape in ((2,), (2, 2, 5), (0, 2), (2, 2, 3, 1)):
        with pytest.raises(ImageError, match="shape"):
            from_array(np.zeros(shape, np.uint8))
