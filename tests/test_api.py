"""The library: every kind of input, round trips of real files, seams, tiles, damage."""

import io
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nncodec
from nncodec import Codec, decode_latents, encode_latents
from nncodec.formats.cae import Coding, Reader
from nncodec.formats.errors import Damaged, ImageError, ModelMismatch, NncodecError, WeightsError
from nncodec.models.cae import SPECS
from nncodec.rate import step_of
from nncodec.weights import manifest

SMALL = "cae_16x8x8_zero_pad_bin"


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(SMALL, "cpu")


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.int16)


def batch(*images: Image.Image) -> torch.Tensor:
    """Images as (n, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([array(image) for image in images])).permute(0, 3, 1, 2) / 255


def psnr(a: Image.Image, b: Image.Image) -> float:
    return float(10 * np.log10(255**2 / np.square(array(a) - array(b)).mean()))


@pytest.mark.parametrize("model", manifest())
def test_a_photograph_comes_back(model: str, lake: Image.Image) -> None:
    data = nncodec.compress(lake, model=model, device="cpu")
    copy = nncodec.decompress(data, device="cpu")
    assert copy.size == lake.size and copy.mode == "RGB"
    entry = manifest()[model]
    # grid of 3 x 2 patches; the bits of a photograph hardly shrink, and never grow
    assert len(data) <= 6 * entry.channels * entry.side**2 / 8 + 64
    assert psnr(lake, copy) > (19 if entry.side == 8 else 21)


def test_all_inputs_give_the_same_file(codec: Codec, lake: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "lake.png"
    lake.save(path)
    expected = codec.compress(lake)
    assert codec.compress(path) == codec.compress(str(path)) == expected
    assert codec.compress(np.asarray(lake)) == expected
    assert codec.compress(path.read_bytes()) == expected
    with path.open("rb") as file:
        assert codec.compress(file) == expected
    assert nncodec.compress(path, model=SMALL, device="cpu") == expected


def test_all_outputs_are_the_same_picture(codec: Codec, lake: Image.Image, tmp_path: Path) -> None:
    data = codec.compress(lake)
    path = tmp_path / "lake.cae"
    path.write_bytes(data)
    pictures = [codec.decompress(source) for source in (data, path, str(path), io.BytesIO(data))]
    assert all(picture.tobytes() == pictures[0].tobytes() for picture in pictures)


@pytest.mark.parametrize("size", [(1, 1), (127, 129), (129, 1), (700, 37)])
def test_any_size(codec: Codec, lake: Image.Image, size: tuple[int, int]) -> None:
    image = lake.resize(size)
    assert codec.decompress(codec.compress(image)).size == size


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "P", "1", "I;16"])
def test_modes(codec: Codec, lake: Image.Image, mode: str) -> None:
    image = lake.resize((50, 40))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize((50, 40)))
    copy = codec.decompress(codec.compress(image))
    expected = {"CMYK": "RGB", "P": "RGB", "1": "L", "I;16": "L"}.get(mode, mode)
    assert copy.mode == expected and copy.size == image.size
    if mode.endswith("A"):
        assert copy.getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_metadata_is_kept_unless_it_is_not_wanted(codec: Codec, lake: Image.Image) -> None:
    image = lake.copy()
    image.info["icc_profile"] = b"profile"
    image.info["xmp"] = b"<x/>"
    assert codec.decompress(codec.compress(image)).info["icc_profile"] == b"profile"
    some = codec.decompress(codec.compress(image, metadata=["xmp"]))
    assert "icc_profile" not in some.info and some.info["xmp"] == b"<x/>"


def test_the_batch_size_changes_neither_file_nor_picture(lake: Image.Image) -> None:
    whole = Codec(SMALL, "cpu")
    one_by_one = Codec(SMALL, "cpu", batch_size=1)
    data = whole.compress(lake)
    assert one_by_one.compress(lake) == data
    difference = array(whole.decompress(data)) - array(one_by_one.decompress(data))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("model", SPECS)
def test_the_reach_is_as_far_as_the_networks_see(model: str) -> None:
    """A change further away than the reach changes nothing; a network with random weights tells."""
    torch.manual_seed(0)
    network = Codec(model, "cpu").engine.transform.network
    spec = network.spec
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.inference_mode():
        side = 4 * 16
        bits = torch.where(torch.rand(1, spec.channels, side, side) < 0.5, -1.0, 1.0)
        other = bits.clone()
        other[..., : side // 2] *= -1
        changed = (network.synthesise(bits) - network.synthesise(other)).abs().amax((0, 1, 2))
        far = (side // 2 + spec.decoder_reach) * spec.stride
        assert changed[far:].max() == 0 and changed[: side // 2 * spec.stride].max() > 0

        pixels = torch.rand(1, 3, 512, 512)
        other = pixels.clone()
        other[..., :256] = 0  # seen from the left ...
        left = (network.analyse(pixels) - network.analyse(other)).abs().amax((0, 1, 2))
        assert left[(256 + spec.encoder_reach) // spec.stride :].max() == 0
        other = pixels.clone()
        other[..., 256:] = 0  # ... and from the right
        right = (network.analyse(pixels) - network.analyse(other)).abs().amax((0, 1, 2))
        assert right[: (256 - spec.encoder_reach) // spec.stride].max() == 0


def test_joint_seams_are_finer_than_smoothed_ones(codec: Codec, lake: Image.Image) -> None:
    from nncodec.formats.images import to_pil

    data = codec.compress(lake)
    alone = to_pil(codec.decompress_from(Reader(io.BytesIO(data)), seams="alone", smooth=0))
    smoothed = to_pil(codec.decompress_from(Reader(io.BytesIO(data)), seams="alone", smooth=8))
    joint = codec.decompress(data)
    assert psnr(lake, joint) > psnr(lake, smoothed) > psnr(lake, alone) - 0.1
    assert psnr(lake, joint) > psnr(lake, alone) + 0.1


def test_only_the_weights_that_made_a_file_decode_it(
    codec: Codec, lake: Image.Image, tmp_path: Path
) -> None:
    from nncodec.checkpoint import save_weights

    tensors = codec.engine.transform.network.state_dict()
    tensors["e_conv_1.1.bias"] = tensors["e_conv_1.1.bias"] + 0.25
    path = tmp_path / "mine.safetensors"
    save_weights(tensors, SMALL, path)
    data = nncodec.compress(lake, weights=path, device="cpu")
    assert nncodec.decompress(data, weights=path, device="cpu").size == lake.size
    with pytest.raises(ModelMismatch, match="other weights .* --weights"):
        nncodec.decompress(data, device="cpu")
    with pytest.raises(ModelMismatch, match="made with"):
        Codec("cae_16x16x16_zero_pad_bin", "cpu").decompress(data)
    with pytest.raises(WeightsError, match="weights of cae_16x8x8_zero_pad_bin, not of"):
        Codec("cae_16x16x16_zero_pad_bin", "cpu", weights=path)


def test_damage_stays_where_it_is(lake: Image.Image) -> None:
    wide = lake.resize((1100, 60))  # nine patches: two segments
    codec = Codec(SMALL, "cpu")
    data = bytearray(codec.compress(wide))
    sound = array(codec.decompress(bytes(data)))
    index = Reader(io.BytesIO(bytes(data))).index
    data[index[1] + 5] ^= 1
    with pytest.raises(Damaged, match="data chunk 2 of 2"):
        codec.decompress(bytes(data))
    reader = Reader(io.BytesIO(bytes(data)), partial=True)
    picture = codec.decompress_from(reader)
    assert len(reader.errors) == 1
    begin = 8 * 128 - reader.header.pad_left
    assert (picture.pixels[:, begin:] == 128).all()
    near = codec.engine.transform.spec.decoder_reach * codec.engine.transform.spec.stride
    assert np.abs(picture.pixels[:, : begin - near] - sound[:, : begin - near]).max() <= 1


def test_what_cannot_be_done_is_said(lake: Image.Image) -> None:
    with pytest.raises(NncodecError, match="no model 'cae_16x8x8'; did you mean"):
        Codec("cae_16x8x8")
    with pytest.raises(NncodecError, match="no device 'cuda:99' here"):
        Codec(SMALL, "cuda:99")
    with pytest.raises(ImageError, match="shape"):
        nncodec.compress(np.zeros((3, 8, 8), np.uint8), model=SMALL, device="cpu")
    with pytest.raises(AttributeError, match="no attribute 'kompress'"):
        nncodec.kompress  # noqa: B018


# Opened files.


class OneWay(io.BytesIO):
    """A stream that cannot seek, as a pipe."""

    def seekable(self) -> bool:
        return False


def test_an_open_file_tells_what_it_is(bitplane: Path, lake: Image.Image) -> None:
    image = lake.resize((200, 150))
    image.info["xmp"] = b"<x/>"
    image.putalpha(7)
    data = nncodec.compress(image, weights=bitplane, quality=55, stages=4, device="cpu")
    with nncodec.open(data, weights=bitplane, device="cpu") as file:
        assert (file.size, file.mode, file.stages) == ((200, 150), "RGBA", 4)
        assert (file.model, file.metadata) == ("bitplane_256", {"xmp": b"<x/>"})
        assert file.info["bytes"] == len(data)
        assert file.info["bpp"] == 8 * len(data) / (200 * 150)
        assert (file.info["depth"], file.info["quality"]) == (8, 55)
        assert file.info["step"] == 2 ** (step_of(55) / 128)
        assert repr(file) == "<CaeFile 200x150 RGBA bitplane_256>"


def test_an_open_file_is_decoded_in_parts(
    bitplane: Path, lake: Image.Image, tmp_path: Path
) -> None:
    image = lake.resize((200, 150))
    data = nncodec.compress(image, weights=bitplane, device="cpu", stages=4)
    path = tmp_path / "lake.cae"
    path.write_bytes(data)
    whole = array(nncodec.decompress(data, weights=bitplane, device="cpu"))
    for source in (path, str(path), data, io.BytesIO(data), OneWay(data)):
        with nncodec.open(source, weights=bitplane, device="cpu") as file:
            part = array(file.decode(region=(30, 20, 100, 50)))
            assert np.abs(part - whole[20:70, 30:130]).max() <= 1
            assert (array(file.decode()) == whole).all()
            fidelity = [psnr(file.decode(stages=n), image) for n in (1, 2, 3, 4)]
            assert fidelity == sorted(fidelity) and fidelity[0] < fidelity[3] - 1
            with pytest.raises(NncodecError, match="not inside"):
                file.decode(region=(190, 0, 20, 10))


def test_of_a_damaged_file_the_rest_is_decoded(bitplane: Path, lake: Image.Image) -> None:
    image = lake.resize((200, 150))
    data = nncodec.compress(image, weights=bitplane, device="cpu", stages=4)
    cut = data[: len(data) * 2 // 3]
    file = nncodec.open(cut, weights=bitplane, device="cpu")
    with pytest.raises(NncodecError, match="truncated"):
        file.decode()
    with nncodec.open(cut, weights=bitplane, device="cpu", partial=True) as file:
        assert file.errors == []
        coarse = file.decode()
        assert [str(error)[:9] for error in file.errors] == ["truncated"]
    whole = nncodec.decompress(data, weights=bitplane, device="cpu")
    assert 20 < psnr(coarse, whole) < 40
    with pytest.raises(NncodecError, match="more than 100"):
        nncodec.open(data, max_pixels=100)
    with pytest.raises(NncodecError, match="not a .cae file"):
        nncodec.open(b"GIF89a, an image")


def test_a_file_opens_without_torch_and_closes(
    codec: Codec, lake: Image.Image, tmp_path: Path
) -> None:
    path = tmp_path / "lake.cae"
    path.write_bytes(codec.compress(lake))
    code = (
        "import nncodec, sys; file = nncodec.open(sys.argv[1]); file.close(); "
        "print(file.size, file.info['quality'], 'torch' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    assert subprocess.check_output(command, text=True) == "(384, 256) None False\n"
    stream = io.BytesIO(path.read_bytes())
    with nncodec.open(stream, device="cpu") as file:
        image = file.decode()
    assert image.tobytes() == codec.decompress(path).tobytes()
    assert not stream.closed  # it was opened elsewhere


def test_public_names_are_found() -> None:
    assert set(nncodec.__all__) <= set(dir(nncodec))
    for name in nncodec.__all__:
        assert getattr(nncodec, name).__name__ == name


# Latents.


@pytest.mark.parametrize("model", SPECS)
def test_signs_are_those_of_the_file(model: str, lake: Image.Image) -> None:
    wide = lake.resize((1100, 60))  # nine patches: two segments
    codec = Codec(model, "cpu")
    latents = encode_latents(batch(wide), model=model, device="cpu")
    reader = Reader(io.BytesIO(codec.compress(wide, entropy="raw")))
    side, channels = reader.header.side, reader.header.channels
    assert latents.values.dtype == torch.int8
    assert latents.values.shape == (1, channels, side, 9 * side)
    assert (latents.size, latents.model, latents.step) == ((60, 1100), model, None)
    for segment in reader.segments():
        assert segment.coding is Coding.RAW
        first = reader.header.segment_patches(segment.index).column
        count = reader.header.segment_patches(segment.index).columns
        bits = np.unpackbits(np.frombuffer(segment.payload, np.uint8)).astype(np.int8)
        patches = bits.reshape(count, channels, side, side)
        found = latents.values[0, :, :, first * side : (first + count) * side].numpy()
        assert (found == 2 * np.concatenate(patches, axis=2) - 1).all()


@pytest.mark.parametrize("options", [{}, {"quality": 30, "effort": 1}, {"effort": 3}])
def test_integers_are_those_of_the_file(
    bitplane: Path, lake: Image.Image, options: dict[str, Any]
) -> None:
    image = lake.resize((150, 100))
    codec = Codec(weights=bitplane, device="cpu")
    latents = encode_latents(batch(image), weights=bitplane, device="cpu", **options)
    reader = Reader(io.BytesIO(codec.compress(image, **options)))
    inside, lost = codec.engine.read(reader, None, [0], stages=4)
    assert latents.values.dtype == torch.int16
    assert latents.values.shape == (1, 18, 7, 10)
    assert latents.step == reader.header.params[0] == step_of(options.get("quality", 60))
    assert (2 * latents.values[0].permute(1, 2, 0).numpy() == inside).all() and not lost
    assert inside.any()


@pytest.mark.parametrize("model", [SMALL, None])
def test_latents_become_the_pictures_of_files(
    model: str | None, bitplane: Path, lake: Image.Image
) -> None:
    options = {"model": model, "device": "cpu"} if model else {"weights": bitplane, "device": "cpu"}
    images = [lake.resize((150, 100)), lake.rotate(180).resize((150, 100))]
    latents = encode_latents(batch(*images), **options)
    options.pop("model", None)
    copies = decode_latents(latents, **options)
    assert copies.shape == (2, 3, 100, 150) and copies.dtype == torch.float32
    assert not copies.requires_grad
    for image, copy in zip(images, copies, strict=True):
        data = nncodec.compress(image, model=latents.model, **options)
        expected = array(nncodec.decompress(data, **options))
        levels = (copy * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(levels - expected).max() <= 1
    turned = replace(latents, values=latents.values.flip(0).double(), factors=latents.factors[::-1])
    other = decode_latents(turned, **options)
    assert torch.equal(other.flip(0), copies)


def test_batches_of_any_float_make_the_same_latents(lake: Image.Image) -> None:
    images = batch(lake.resize((40, 30)))
    expected = encode_latents(images, model=SMALL, device="cpu").values
    for other in (images.double(), images.requires_grad_(), images.expand(2, -1, -1, -1)[:1]):
        values = encode_latents(other, model=SMALL, device="cpu").values
        assert torch.equal(values, expected) and not values.requires_grad
    assert (
        pickle.loads(pickle.dumps(encode_latents(images, model=SMALL, device="cpu"))).step is None
    )


def test_what_are_no_images_or_latents_is_said(bitplane: Path, lake: Image.Image) -> None:
    images = batch(lake.resize((40, 30)))
    fixed = {"model": SMALL, "device": "cpu"}
    for wrong, message in [
        (images[0], "have the shape"),
        (images[:, :1], "have the shape"),
        (images[:0], "have the shape"),
        (images * 255, r"in \[0, 1\], not in"),
        (images * torch.nan, r"in \[0, 1\], not in"),
        ((images * 255).to(torch.uint8), "not torch.uint8"),
    ]:
        with pytest.raises(ImageError, match=message):
            encode_latents(wrong, **fixed)
    with pytest.raises(NncodecError, match="one rate and one effort"):
        encode_latents(images, quality=50, **fixed)
    with pytest.raises(NncodecError, match="from 0 to 100"):
        encode_latents(images, weights=bitplane, device="cpu", quality=101)
    signs = encode_latents(images, **fixed)
    with pytest.raises(NncodecError, match="-1 or 1"):
        decode_latents(replace(signs, values=signs.values * 0), device="cpu")
    with pytest.raises(NncodecError, match=r"\(n, 16, 8, 8\)"):
        decode_latents(replace(signs, values=signs.values[..., 1:]), device="cpu")
    integers = encode_latents(images, weights=bitplane, device="cpu")
    for values in (integers.values + 0.5, integers.values * 0 + 2**12, integers.values * 0 - 2**15):
        with pytest.raises(NncodecError, match="are integers up to 4095"):
            decode_latents(replace(integers, values=values), weights=bitplane, device="cpu")
    with pytest.raises(NncodecError, match="step code is from 0 to 2047, not None"):
        decode_latents(replace(integers, step=None), weights=bitplane, device="cpu")
