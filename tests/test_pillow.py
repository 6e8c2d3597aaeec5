"""The plugin for Pillow, and programs that know nothing but Pillow."""

import copy
import io
import json
import os
import pickle
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import nncodec
from nncodec.formats.cae import Reader
from nncodec.pillow import CaeImageFile, loaded

SMALL = "cae_16x8x8_zero_pad_bin"
DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "golden"
PHOTO = GOLDEN / "v1-bitplane_256-context.cae"  # 160x90
OLDER = GOLDEN / f"v1-{SMALL}-raw.cae"


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    """Pillow with the plugin, as long as the tests of this module run."""
    nncodec.register_cae_opener()
    yield
    for table in (Image.OPEN, Image.SAVE, Image.MIME):
        del table["CAE"]  # type: ignore[attr-defined]
    del Image.EXTENSION[".cae"]
    Image.ID.remove("CAE")


def python(code: str, *arguments: str | Path) -> str:
    """What a program prints; it fails on any warning."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def psnr(a: Image.Image, b: Image.Image) -> float:
    difference = np.asarray(a, float) - np.asarray(b, float)
    return float(10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-9)))


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "CAE", **options)
    return file.getvalue()


def test_opening_reads_the_header_only() -> None:
    code = (
        "import sys, json, nncodec.CaeImagePlugin; from PIL import Image\n"
        "with Image.open(sys.argv[1]) as im:\n"
        "    print(json.dumps([im.size, im.mode, im.format, im.get_format_mimetype(), im.info]))\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    told, modules = map(json.loads, python(code, PHOTO).splitlines())
    info = {"model": "bitplane_256", "quality": 60.0, "stages": 4}
    assert told == [[160, 90], "RGB", "CAE", "image/x-cae", info]
    assert not {"torch", "numpy", "zstandard", "constriction"} & set(modules)


def test_loading_decodes() -> None:
    with Image.open(PHOTO) as image:
        assert image.load()[0, 0] == nncodec.decompress(PHOTO).getpixel((0, 0))
        assert image.tobytes() == nncodec.decompress(PHOTO).tobytes()
        assert (image.format, image.size, image.readonly) == ("CAE", (160, 90), 0)
    older = Image.open(OLDER)
    assert older.info == {"model": SMALL}
    assert older.tobytes() == nncodec.decompress(OLDER).tobytes()
    assert older.fp is None  # closed as soon as it was read


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes(lake: Image.Image, mode: str) -> None:
    image = lake.resize((50, 40)).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize((50, 40)))
    copied = Image.open(io.BytesIO(saved(image)))
    assert (copied.mode, copied.size) == (mode, (50, 40))
    assert psnr(copied.convert("L"), image.convert("L")) > 24
    if mode.endswith("A"):
        assert copied.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "I;16", "YCbCr"])
def test_other_modes_are_converted_on_the_way_out(lake: Image.Image, mode: str) -> None:
    grey = lake.resize((40, 30)).convert("L")
    image = grey.convert("I").convert("I;16") if mode == "I;16" else grey.convert(mode)
    assert Image.open(io.BytesIO(saved(image))).size == (40, 30)
    with pytest.raises(OSError, match="mode F is not supported"):
        saved(grey.convert("F"))


def test_metadata_are_written_as_pillow_does(lake: Image.Image) -> None:
    image = lake.resize((40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"icc_profile": b"a profile", "exif": exif.tobytes(), "xmp": b"<x/>"}
    assert Image.open(io.BytesIO(saved(image))).info.keys() & image.info.keys() == {"icc_profile"}
    bare = Image.open(io.BytesIO(saved(image, icc_profile=None)))
    assert not bare.info.keys() & image.info.keys()
    full = {"icc_profile": b"another", "xmp": b"<y/>"}
    for form in (exif, exif.tobytes(), exif.tobytes().removeprefix(b"Exif\0\0")):
        copied = Image.open(io.BytesIO(saved(image, exif=form, **full)))
        assert {name: copied.info[name] for name in full} == full
        assert copied.info["exif"] == exif.tobytes()
        assert copied.getexif()[0x0112] == 6
        assert ImageOps.exif_transpose(copied).size == (30, 40)


def test_saving_takes_the_options_of_the_codec(folder: Path, lake: Image.Image) -> None:
    small = lake.resize((64, 48))
    small.save("default.cae")
    assert Path("default.cae").read_bytes() == nncodec.compress(small, device="cpu")
    assert saved(small, effort=1) == loaded("bitplane_256", "cpu").compress(small, effort=1)
    small.save("coarse.cae", quality=20)
    assert Image.open("coarse.cae").info["quality"] == pytest.approx(20, abs=0.2)
    assert os.path.getsize("coarse.cae") < os.path.getsize("default.cae")
    small.save("old.cae", model=SMALL)
    assert Image.open("old.cae").info["model"] == SMALL
    assert 0.9 * 400 < len(saved(small, size=400)) <= 400
    assert len(saved(small, bpp=1)) <= 64 * 48 / 8
    assert psnr(Image.open(io.BytesIO(saved(small, psnr=30))), small) >= 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 101}, "from 0 to 100"),
        ({"quality": 50, "size": 900}, "give one of quality, size"),
        ({"size": 20}, "no file of 20 bytes"),
        ({"model": "cae_16x8x8"}, "did you mean"),
        ({"model": SMALL, "quality": 50}, "has one rate"),
    ],
)
def test_options_that_cannot_be_met_are_named(
    folder: Path, lake: Image.Image, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        lake.resize((40, 30)).save("x.cae", **options)
    assert not Path("x.cae").exists()


def test_pipes_and_unbuffered_files(folder: Path) -> None:
    with open("copy.cae", "wb", buffering=0) as file, Image.open(PHOTO) as image:
        image.save(file, format="CAE")
    read, write = os.pipe()
    os.write(write, PHOTO.read_bytes())
    os.close(write)
    with open(read, "rb") as pipe, Image.open(pipe) as image:
        assert image.tobytes() == nncodec.decompress(PHOTO).tobytes()
    with open("copy.cae", "rb") as file:
        Image.open(file).load()
        assert not file.closed  # it is not Pillow's


def test_what_is_no_cae_file_is_not_identified() -> None:
    for data in (b"", b"\x89CA", b"\x89CAE\n\x1a\n plus something", b"GIF"):
        with pytest.raises(UnidentifiedImageError):
            Image.open(io.BytesIO(data))


def test_damage_is_an_os_error_of_one_line(tmp_path: Path) -> None:
    whole = PHOTO.read_bytes()
    with pytest.raises(OSError, match="truncated: the file ends at byte 20, in the header"):
        Image.open(io.BytesIO(whole[:20]))
    cut = tmp_path / "cut.cae"
    cut.write_bytes(whole[:1500])
    image = Image.open(cut)
    for _ in range(2):  # a second try says the same
        with pytest.raises(OSError, match="^truncated: .*LOAD_TRUNCATED_IMAGES") as caught:
            image.load()
        assert "\n" not in str(caught.value) and "--partial" not in str(caught.value)
    image.close()
    with pytest.raises(ValueError, match="closed"):
        image.load()
    flipped = bytearray(whole)
    flipped[1500] ^= 1
    with pytest.raises(OSError, match="^damaged: data chunk"):
        Image.open(io.BytesIO(flipped)).load()


def test_what_is_left_of_a_truncated_file_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    image = Image.open(io.BytesIO(PHOTO.read_bytes()[:1500]))
    assert 22 < psnr(image, nncodec.decompress(PHOTO)) < 60


def test_a_file_of_another_model_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = PHOTO.read_bytes()
    header = Reader(io.BytesIO(data)).header
    monkeypatch.setattr(loaded("bitplane_256", "cpu"), "fingerprint", bytes(8))
    with pytest.raises(OSError, match=f"wrong model: .*{header.fingerprint.hex()}"):
        Image.open(io.BytesIO(data)).load()


def test_pillows_limit_of_pixels_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160 * 90 - 1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(PHOTO)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160 * 90 // 2 - 1)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(PHOTO)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.open(PHOTO).load()


def test_verify() -> None:
    Image.open(PHOTO).verify()
    flipped = bytearray(PHOTO.read_bytes())
    flipped[-40] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(flipped)).verify()


def test_a_draft_leaves_out_stages_that_are_not_seen(lake: Image.Image) -> None:
    data = saved(lake.resize((96, 72)), quality=90, stages=4)

    def stages(size: tuple[int, int]) -> int:
        image = Image.open(io.BytesIO(data))
        assert isinstance(image, CaeImageFile)
        image.draft(None, size)
        return image._stages

    assert [stages((96 // n, 72 // n)) for n in (1, 2, 4, 8)] == [4, 3, 2, 1]
    image, whole = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    assert image.draft("RGB", (12, 9)) == ("RGB", (0, 0, 96, 72))
    assert image.draft("RGB", (96, 72)) == ("RGB", (0, 0, 96, 72))  # asked for again
    assert image.tobytes() == whole.tobytes()
    assert image.draft("RGB", (12, 9)) is None  # too late
    assert Image.open(OLDER).draft("RGB", (4, 4)) is None  # of a model without stages
    assert Image.open(PHOTO).draft(None, (0, 0)) is not None


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_thumbnails_hardly_differ_from_the_whole_image(lake: Image.Image, quality: int) -> None:
    lake = lake.resize((192, 128))
    data = saved(lake, quality=quality)
    thumbnail, expected = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    expected.load()  # all stages
    for image in (thumbnail, expected):
        image.thumbnail((24, 24))
        assert image.size == (24, 16)
    assert psnr(thumbnail, expected) > 36


def test_copies_and_pickles() -> None:
    whole = nncodec.decompress(PHOTO).tobytes()
    for again in (
        Image.open(PHOTO).copy(),
        copy.copy(Image.open(PHOTO)),
        copy.deepcopy(Image.open(PHOTO)),
        pickle.loads(pickle.dumps(Image.open(PHOTO))),
    ):
        assert again.tobytes() == whole
        assert again.info["model"] == "bitplane_256"


def test_sequences_and_parsers() -> None:
    with Image.open(PHOTO) as image:
        frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
        with pytest.raises(EOFError):
            image.seek(1)
    parser = ImageFile.Parser()
    for byte in PHOTO.read_bytes():
        parser.feed(bytes([byte]))
    (frame,) = frames
    assert parser.close().tobytes() == frame.tobytes()
    assert ImageOps.fit(Image.open(PHOTO), (50, 50)).size == (50, 50)
    assert ImageOps.grayscale(Image.open(PHOTO)).mode == "L"


def test_threads_get_the_same_pixels() -> None:
    files = [PHOTO, OLDER] * 3
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda path: Image.open(path).tobytes(), files))
    assert found == [nncodec.decompress(path).tobytes() for path in files]


def test_no_file_stays_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(3):
            Image.open(PHOTO).load()
            with Image.open(PHOTO):
                pass


THUMBNAILER = """
import sys
from pathlib import Path
from PIL import Image, ImageOps

for name in sys.argv[1:]:
    with Image.open(name) as image:
        image.thumbnail((64, 64))
        ImageOps.exif_transpose(image).save(Path(name).with_suffix(".jpg"), quality=90)
"""


def test_a_thumbnailer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("thumbnailer.py").write_text(THUMBNAILER)
    Path("a.cae").write_bytes(PHOTO.read_bytes())
    monkeypatch.setattr(sys, "argv", ["thumbnailer.py", "a.cae"])
    runpy.run_path("thumbnailer.py")
    expected = nncodec.decompress("a.cae")
    expected.thumbnail((64, 64))
    assert psnr(Image.open("a.jpg"), expected) > 30


class Photographs(Dataset[Tensor]):
    """Images of a folder as tensors (3, 64, 64)."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as image:
            image = ImageOps.fit(image.convert("RGB"), (64, 64))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_a_data_loader_with_another_process(folder: Path, lake: Image.Image) -> None:
    lake.resize((96, 80)).save("a.cae")  # the network is loaded here, and taken along
    lake.resize((60, 90)).save("b.png")
    lake.resize((80, 70)).save("c.cae", model=SMALL)
    photographs = Photographs(folder)
    (batch,) = DataLoader(photographs, batch_size=3, num_workers=1)
    assert torch.equal(batch, torch.stack([photographs[index] for index in range(3)]))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, sys, torch, nncodec.CaeImagePlugin\n"
        "from PIL import Image\n"
        "torch.set_num_threads(4)\n"
        "def pixels(path): return Image.open(path).tobytes()\n"
        "here = pixels(sys.argv[1])\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    (there,) = pool.map_async(pixels, sys.argv[1:]).get(timeout=60)\n"
        "print(max(abs(a - b) for a, b in zip(here, there, strict=True)))"  # rounded otherwise
    )
    lake = tmp_path / "lake.cae"
    Image.open(DATA / "lake.png").save(lake, quality=30)
    assert int(python(code, lake)) <= 1


def test_matplotlib_reads_it() -> None:
    from matplotlib.image import imread

    array = np.asarray(nncodec.decompress(PHOTO))
    assert (imread(str(PHOTO)) == array).all()


def test_pillows_report_lists_it() -> None:
    code = "import nncodec.CaeImagePlugin, runpy; runpy.run_module('PIL', run_name='__main__')"
    report = python(code)
    assert "CAE image/x-cae\nExtensions: .cae\nFeatures: open, save\n" in report
