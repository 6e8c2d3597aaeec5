"""The codecs that nncodec is compared with: their files, ranges and refusals."""

import io

import numpy as np
import pytest
from PIL import Image

from nncodec.evaluate import peers
from nncodec.evaluate.metrics import psnr
from nncodec.evaluate.peers import PEERS, Peer, nearest, select
from nncodec.formats.errors import NncodecError

EVERY = [pytest.param(peer, id=peer.name) for peer in peers.available()]
every_peer = pytest.mark.parametrize("peer", EVERY)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A smooth picture with a few edges and a little grain."""
    y, x = np.mgrid[0:96, 0:120]
    planes = [np.sin(x / 9) * 60 + y, 128 + 90 * np.sign(np.cos(y / 17)), 255 - x - y / 4]
    grain = np.random.default_rng(0).normal(0, 2, (96, 120, 3))
    return Image.fromarray(np.clip(np.stack(planes, -1) + grain, 0, 255).astype(np.uint8))


@every_peer
def test_a_finer_setting_costs_more_and_gives_more(peer: Peer, picture: Image.Image) -> None:
    sizes, qualities = [], []
    for setting in (peer.settings[0], peer.settings[len(peer.settings) // 2], peer.settings[-1]):
        data = peer.encode(picture, setting)
        decoded = peer.decode(data)
        assert decoded.size == picture.size
        assert Image.open(io.BytesIO(data)).format == peer.format
        sizes.append(len(data))
        qualities.append(psnr(np.asarray(picture), np.asarray(decoded)))
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)
    assert qualities[-1] > 28
    assert peer.encode(picture, peer.settings[1]) == peer.encode(picture, peer.settings[1])


@every_peer
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (200, 5)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_small_and_grey_images(peer: Peer, size: tuple[int, int], mode: str) -> None:
    for setting in (peer.settings[0], peer.settings[-1]):
        decoded = peer.decode(peer.encode(Image.new(mode, size, 77), setting))
        assert (decoded.size, decoded.mode) == (size, "RGB")


def test_settings_rise() -> None:
    for peer in PEERS.values():
        assert list(peer.settings) == sorted(set(peer.settings))
    assert PEERS["jpeg2000"].label(0.0625) == "0.0625 bpp"
    assert PEERS["webp"].label(0) == "q0"


def test_jpeg_2000_keeps_to_its_rate(picture: Image.Image) -> None:
    big = picture.resize((480, 384))
    for rate in (0.25, 1.0):
        assert len(PEERS["jpeg2000"].encode(big, rate)) * 8 / (480 * 384) <= rate * 1.02


def test_an_image_that_a_peer_cannot_code_is_refused_by_name() -> None:
    with pytest.raises(NncodecError, match="WebP cannot code 16500x1"):
        PEERS["webp"].encode(Image.new("RGB", (16500, 1)), 50)


def test_select() -> None:
    assert select("none") == []
    assert select("all") == peers.available()
    assert [peer.name for peer in select("webp, jpeg,webp")] == ["webp", "jpeg"]
    with pytest.raises(NncodecError, match="no peer is called 'gif'"):
        select("gif")


def test_a_peer_that_pillow_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: feature == "jpg")
    assert [peer.name for peer in peers.available() if peer.feature] == ["jpeg"]
    with pytest.raises(NncodecError, match="cannot write AVIF"):
        select("jpeg,avif")


def test_nearest_size(picture: Image.Image) -> None:
    known = [PEERS["jpeg"], PEERS["webp"]]
    sizes = {len(peer.encode(picture, q)) for peer in known for q in range(1, 101)}
    for target in (500, 1500, 4000):
        found = nearest(known, picture, target)
        assert found is not None
        peer, setting, data = found
        assert data == peer.encode(picture, setting)
        best = min(sizes, key=lambda size: abs(size - target))
        assert abs(len(data) - target) <= abs(best - target) + 40  # sizes do not rise everywhere
    assert nearest([], picture, 500) is None
