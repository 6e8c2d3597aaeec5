"""The library: every kind of input, round trips of real files, seams, tiles, damage."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nncodec
from nncodec import Codec
from nncodec.formats.cae import Reader
from nncodec.formats.errors import Damaged, ImageError, ModelMismatch, NncodecError, WeightsError
from nncodec.models.cae import SPECS
from nncodec.weights import manifest

SMALL = "cae_16x8x8_zero_pad_bin"


@pytest.fixture(scope="session")
def codec() -> Codec:
    return Codec(SMALL, "cpu")


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.int16)


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
