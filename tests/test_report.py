"""The page of ``nncodec eval --report``: what is in it, and what a browser makes of it."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from nncodec.api import Codec, codec_for
from nncodec.evaluate import gallery, report, run
from nncodec.evaluate.costs import CostMap, cost_map
from nncodec.evaluate.measurement import Measurement
from nncodec.evaluate.peers import select
from nncodec.evaluate.table import Report
from nncodec.formats.bits import Entropy
from nncodec.formats.cae import Reader
from nncodec.patches import Region
from nncodec.rate import Target

if TYPE_CHECKING:
    from playwright.sync_api import Page

Run = Callable[..., Result]
Ship = Callable[..., bytes]

SMALL = "cae_16x8x8_refl_pad_bin"
AWKWARD = "<b>\"&'$x${y}.png"  # a name that is none of HTML, of a template, or of mathematics


@pytest.fixture(scope="module")
def codec(random_weights: Path) -> Codec:
    return codec_for(SMALL, "cpu", str(random_weights))


@pytest.fixture(scope="module")
def original(data: Path) -> run.Original:
    """A photograph of 256x256 pixels, four patches."""
    return run.load(data / "skyline.png")


def payload_bits(file: bytes) -> int:
    return 8 * sum(len(segment.payload) for segment in Reader(io.BytesIO(file)).segments())


def check_costs(costs: CostMap, file: bytes, coders: int) -> None:
    """Check that costs add up to the payloads, but for what each coder ends with."""
    total = float(costs.bits.sum())
    assert total - 1 <= payload_bits(file) <= total + coders * 48
    assert sum(bits for _, bits in costs.patches()) == pytest.approx(total)
    density, cell = costs.density()
    assert float(density.sum()) * cell**2 == pytest.approx(total)


@pytest.mark.parametrize("quality", [0, 60])
def test_costs_add_up_to_the_planes(lake: Image.Image, bitplane: Path, quality: int) -> None:
    small = codec_for("bitplane_256", "cpu", str(bitplane))
    image = lake.crop((0, 0, 200, 150))
    file = small.compress(image, quality=quality)
    costs = cost_map(small, file)
    assert costs.bits.shape == (10, 13) and costs.density()[1] == 16
    assert (costs.bits > 0).all() and 0 < costs.spread < costs.bits.sum()
    check_costs(costs, file, coders=4)
    patches = list(costs.patches())
    assert [patch for patch, _ in patches] == [
        Region(0, 0, 128, 128),
        Region(128, 0, 72, 128),
        Region(0, 128, 128, 22),
        Region(128, 128, 72, 22),
    ]
    assert patches[0][1] == pytest.approx(costs.bits[:8, :8].sum())


def test_busy_patches_cost_more(lake: Image.Image) -> None:
    shipped = codec_for("bitplane_256", "cpu")
    image = Image.new("RGB", (256, 128), (90, 130, 200))
    image.paste(lake.crop((128, 64, 256, 192)), (128, 0))
    (_, flat), (_, busy) = cost_map(shipped, shipped.compress(image, quality=40)).patches()
    assert busy > 10 * flat


@pytest.mark.parametrize("coding", ["raw", "zstd", "context"])
def test_costs_add_up_to_the_bits(lake: Image.Image, coding: Entropy) -> None:
    shipped = codec_for("cae_16x8x8_zero_pad_bin", "cpu")
    file = shipped.compress(lake, entropy=coding)
    costs = cost_map(shipped, file)
    assert costs.bits.shape == (16, 24) and costs.density()[1] == 32
    check_costs(costs, file, coders=1)
    assert (costs.spread == 0) == (coding == "context")
    assert len(np.unique(costs.bits)) == 1 or coding == "context"


@pytest.mark.parametrize(
    ("size", "corners"),
    [
        ((40, 30), [(0, 0)]),
        ((128, 128), [(0, 0)]),
        ((256, 129), [(0, 0), (128, 0), (0, 1), (128, 1)]),
        ((300, 100), [(0, 0), (128, 0), (172, 0)]),
    ],
)
def test_patches_are_whole(size: tuple[int, int], corners: list[tuple[int, int]]) -> None:
    width, height = size
    found = list(gallery.patches_of(height, width))
    assert [(at.x, at.y) for at in found] == corners
    assert {(at.width, at.height) for at in found} == {(min(width, 128), min(height, 128))}


def test_the_worst_patch(original: run.Original) -> None:
    decoded = original.pixels.copy()
    decoded[5, 5] ^= 1
    decoded[200, 100] ^= 64
    at, value = gallery.worst_patch(original.pixels, decoded)
    assert at == Region(0, 128, 128, 128)
    assert value == pytest.approx(10 * np.log10(255**2 * 128**2 / 64**2))


def test_large_images_are_shown_around_their_worst_patch() -> None:
    assert gallery.around(Region(0, 0, 128, 128), 3000, 2000) == Region(0, 0, 1024, 1024)
    assert gallery.around(Region(1280, 640, 128, 128), 3000, 2000) == Region(832, 192, 1024, 1024)
    assert gallery.around(Region(2872, 40, 128, 128), 3000, 500) == Region(1976, 0, 1024, 500)


def test_three_of_many_qualities_are_shown() -> None:
    many = [run.Setting(Target(quality=q), "auto", [run.Decoding()]) for q in run.QUALITIES]
    assert [one.target.quality for one in gallery.chosen(many)] == [20, 40, 60]
    assert gallery.chosen(many[:3]) == many[:3]
    fixed = [run.Setting(Target(), coding, [run.Decoding()]) for coding in ("raw", "zstd")]
    assert gallery.chosen(fixed) == fixed[:1]


def pixels_of(source: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def bytes_of(text: str) -> int:
    """The number that a text begins with."""
    return int(text.split()[0].replace(",", ""))


def test_what_is_shown_of_an_image(codec: Codec, original: run.Original) -> None:
    ways = [run.Decoding("alone", 0), run.Decoding("joint")]
    models = {"model": (codec, run.settings(codec, ways))}
    view = gallery.of_image(original, models, select("jpeg,jpeg2000"))
    json.dumps(view, allow_nan=False)
    assert (view["width"], view["height"], view["part"]) == (256, 256, (0, 0, 256, 256))
    titles = [picture["title"] for picture in view["pictures"]]
    # One file decoded in two ways: the peers of its size are there once.
    assert titles[:2] == ["original", "nncodec model alone"] and len(titles) == 5
    assert [one["pictures"] for one in view["views"]] == [[0, 1, 2, 3], [0, 4, 2, 3]]
    data = codec.compress(original.pixels)
    assert f"{len(data):,} bytes" in view["pictures"][1]["figures"]
    assert np.array_equal(pixels_of(view["pictures"][0]["source"]), original.pixels)
    joint = np.asarray(codec.decompress(data))
    assert np.array_equal(pixels_of(view["pictures"][4]["source"]), joint)
    size = bytes_of(view["pictures"][3]["figures"])
    assert titles[3].startswith("JPEG 2000") and 0.9 * len(data) <= size <= 1.1 * len(data)
    worst = view["views"][1]["worst"]
    assert worst["at"] == gallery.worst_patch(original.pixels, joint)[0]
    assert len(worst["psnr"]) == 3 and worst["psnr"][0].endswith(" dB")
    bits = view["views"][1]["bits"]
    assert len(bits["patches"]) == 4 and bits["at"] == (0, 0, 256, 256)
    assert pixels_of(bits["source"]).shape == (8, 8)


def measurement(name: str = "a.png") -> Measurement:
    return Measurement(name, "model", "joint", 8000, 500, 26, 0.9, 1.5, 0.5, 0.25)


def page_of(shown: report.Gallery, *names: str) -> str:
    pytest.importorskip("matplotlib")
    measured = [replace(measurement(name), bytes=500 + n) for n, name in enumerate(names)]
    return report.page(Report(measured, frozenset(["model"])), shown).decode()


def test_the_page_needs_nothing_else() -> None:
    shown = report.Gallery(1000)
    shown.add("a.png", {})
    text = page_of(shown, "a.png")
    assert text == page_of(shown, "a.png")  # neither a date nor anything by chance
    loads = r"""(?:src|href)=["'](?!#|data:)|url\((?!#)|@import|<link"""
    assert not re.search(loads, text)
    assert "default-src 'none'" in text
    assert "<?xml" not in text and text.count("<svg role") == 1
    assert "#333333" not in text  # the plot's ink is the page's


def test_names_cannot_break_the_page() -> None:
    shown = report.Gallery(1000)
    shown.add(AWKWARD, {"title": "</script><b>"})
    text = page_of(shown, AWKWARD)
    assert "<b>" not in text.replace("<b></b>", "")
    assert "&lt;b&gt;&quot;&amp;&#x27;$x${y}.png</h2>" in text
    assert json.loads(text.split('json">')[1].split("</script>")[0])["title"] == "</script><b>"
    lost = report.Gallery(0)
    lost.add("\udcff.png", {})  # a byte that is no UTF-8, as Python names such files
    assert "&#56575;.png" in page_of(lost, "b.png")


def test_the_page_is_kept_small() -> None:
    shown = report.Gallery(100)
    for name, size in (("a.png", 60), ("<big>.png", 60)):
        shown.add(name, {"x": "x" * size})
        assert shown.full == (name != "a.png")
    shown.leave_out("c.png")
    text = page_of(shown, "a.png", "<big>.png")
    assert text.count('<section class="image"') == 1
    assert "not shown, to keep this page small: &lt;big&gt;.png, c.png." in text


def test_nothing_to_plot() -> None:
    exact = replace(measurement(), psnr=float("inf"), ms_ssim=float("nan"))
    text = report.page(Report([exact], frozenset(["model"])), report.Gallery(0)).decode()
    assert "<svg role" not in text and "<td>inf</td>" in text


def test_eval_report(nncodec: Run, photo: Path, eval_options: list[str]) -> None:
    photo.rename(AWKWARD)
    nncodec("eval", AWKWARD, *eval_options, "--report", "out.html")
    before = Path("out.html").read_bytes()
    assert before.startswith(b"<!doctype html>") and before.endswith(b"</html>\n")
    refused = nncodec("eval", AWKWARD, *eval_options, "--report", "out.html", status=1)
    assert refused.stdout == "" and "out.html: exists; use -f" in refused.stderr
    little = ["--report-size", "1K", "-f"]
    result = nncodec("eval", AWKWARD, *eval_options, "--report", "out.html", *little)
    assert result.stderr == "nncodec: out.html: has no pictures of 1 image; see --report-size\n"
    assert len(Path("out.html").read_bytes()) < len(before)
    assert {path.name for path in Path().iterdir()} == {AWKWARD, "out.html"}


def test_eval_refuses_a_missing_folder_at_once(nncodec: Run, photo: Path) -> None:
    result = nncodec("eval", photo, "-m", "no_such_model", "--report", "no/out.html", status=1)
    assert "no/out.html: cannot be written: " in result.stderr  # and no word of the model


@pytest.fixture(scope="module")
def browser_page() -> Iterator["Page"]:
    """A page of a headless Chromium, which fails on what its console or a request tells."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None
    )
    if program is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.mark.slow
def test_in_a_browser(browser_page: "Page", nncodec: Run, lake: Image.Image, folder: Path) -> None:
    page, problems = browser_page, []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    lake.crop((0, 0, 200, 150)).save(AWKWARD)
    lake.crop((100, 100, 230, 170)).save("second.png")
    models = ["-m", "bitplane_256", "-m", "cae_16x8x8_zero_pad_bin", "-q", "5", "-q", "30"]
    nncodec("eval", AWKWARD, "second.png", *models, "--peers", "jpeg", "--report", "out.html")
    page.goto((folder / "out.html").as_uri())

    sections = page.locator("section.image")
    assert sections.count() == 2
    first = sections.first
    assert first.locator("h2").inner_text().startswith(AWKWARD)
    assert page.locator("main b", has_text="png").count() == 0
    ours, other = first.locator("select.ours"), first.locator("select.other")
    titles = ["bitplane_256 q 5", "bitplane_256 q 30", "cae_16x8x8_zero_pad_bin joint"]
    assert ours.locator("option").all_inner_texts() == [f"nncodec {title}" for title in titles]

    frame, slider = first.locator(".frame"), first.locator("input[type=range]")

    def shot() -> np.ndarray[Any, Any]:
        return np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("RGB"), np.int16)

    def to(value: int) -> np.ndarray[Any, Any]:
        slider.fill(str(value))
        return shot()

    # The original on the left, ours on the right: where the slider is, one ends.
    all_left, middle, all_right = to(100), to(50), to(0)
    half, margin = all_left.shape[1] // 2, 30  # of the handle
    assert np.array_equal(middle[:, : half - margin], all_left[:, : half - margin])
    # Both ends have the handle: it covers the edges.
    inside = slice(half + margin, -margin)
    assert np.array_equal(middle[:, inside], all_right[:, inside])
    assert np.abs(all_left[:, margin:-margin] - all_right[:, margin:-margin]).mean() > 1

    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() == "1"
    assert "1 % original, then nncodec bitplane_256 q 5" == slider.get_attribute("aria-valuetext")
    box = frame.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    assert 73 <= int(slider.input_value()) <= 77

    # Another peer, another of ours; the peer's place is kept.
    other.select_option(index=1)
    jpeg = first.locator(".captions .left b").inner_text()
    assert jpeg.startswith("JPEG q")
    assert np.abs(to(100) - all_left).mean() > 1
    ours.select_option(index=1)
    assert first.locator(".captions .right b").inner_text() == "nncodec bitplane_256 q 30"
    assert first.locator(".captions .left b").inner_text().startswith("JPEG q")
    assert first.locator(".captions .left b").inner_text() != jpeg

    whole = to(50)
    zoom = first.locator("button.zoom")
    zoom.click()
    assert zoom.get_attribute("aria-pressed") == "true"
    enlarged = to(0)[:640]
    assert enlarged.shape[1] == 640  # five times 128
    # What fills the frame is the patch, but for round corners and the handle.
    view = json.loads(first.locator("script").text_content() or "")
    chosen = view["views"][1]
    x, y, width, height = chosen["worst"]["at"]
    source = view["pictures"][chosen["pictures"][1]]["source"]
    patch = pixels_of(source)[y : y + height, x : x + width]
    shown = enlarged[2::5, 2::5]
    assert np.abs(shown[3:-3, 10:-3] - patch[3:-3, 10:-3]).max() <= 1  # a browser's rounding
    zoom.click()
    assert np.abs(to(50) - whole).mean() < 1 < np.abs(to(0) - whole).mean()

    assert first.locator(".crop").count() == 3
    assert first.locator(".crops figcaption").nth(1).inner_text().count(" dB") == 2
    assert first.locator("svg.bits rect").count() == 4
    numbers = [int(text) for text in first.locator("svg.bits text").all_text_contents()]
    assert numbers and sum(numbers) <= bytes_of(first.locator(".spent").inner_text()) + 4

    ours.select_option(index=2)
    assert "% larger" in first.locator(".captions .left").inner_text()  # JPEG's coarsest

    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
    colours = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours["light"] != colours["dark"]
    assert problems == []
    assert [url for url in requests if not url.startswith("data:")] == [page.url]
