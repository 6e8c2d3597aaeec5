"""What the program runs and reads: its own code, weights with known hashes, and no network."""

import ast
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from nncodec import weights

Run = Callable[..., Result]

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("codec", "formats", "weights") for path in (ROOT / folder).rglob("*.py")
)

# What turns data into code, whatever it is called.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
CALLS = {"eval", "exec", "compile", "__import__"}
# What speaks to other machines.
NETWORK = {
    "socket",
    "ssl",
    "http",
    "urllib",
    "ftplib",
    "smtplib",
    "asyncio",
    "requests",
    "httpx",
    "aiohttp",
}

# Speaks to the user's own cluster and its own processes, and only if --engine ray is given.
CLUSTER = ROOT / "codec" / "cli" / "ray_driver.py"

# Every way out of a process that Python tells its audit hooks of.
FORBID = """
import sys

def forbid(event, args):
    if event.split(".")[0] in ("socket", "urllib", "http", "ftplib", "smtplib", "webbrowser"):
        raise SystemExit(f"{event} {args}")
    if event in ("os.exec", "os.fork", "os.posix_spawn", "os.system", "subprocess.Popen"):
        raise SystemExit(f"{event} {args}")

sys.addaudithook(forbid)
"""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a module, by the last name of what is called and by the whole of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_makes_code_of_data_or_speaks_to_others(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imported(tree):
        known = name.split(".")[0] not in MODULES | NETWORK
        assert known or path == CLUSTER, f"imports {name}"
    for name, call in calls(tree):
        options = {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert name not in CALLS, f"line {call.lineno}: {name}"
        if name == "torch.load":
            assert options.get("weights_only") == "True", f"line {call.lineno}: {name}"
        if name.endswith("np.load"):
            assert options.get("allow_pickle", "False") == "False", f"line {call.lineno}: {name}"
        assert options.get("shell", "False") == "False", f"line {call.lineno}: a shell"


def test_the_scan_finds_what_it_is_for() -> None:
    assert len(SOURCES) > 90
    loads = [name for path in SOURCES for name, _ in calls(ast.parse(path.read_text("utf-8")))]
    assert loads.count("torch.load") == 2  # of a checkpoint of ours, and of a published one


def without_network(*args: str | Path) -> subprocess.CompletedProcess[str]:
    program = f"{FORBID}\nfrom nncodec.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True)


def test_nothing_goes_out_and_no_other_program_is_started(photo: Path) -> None:
    for arguments in (
        ["compress", "photo.png", "-e", "3", "--device", "cpu"],
        ["decompress", "photo.cae", "copy.webp", "--device", "cpu"],
    ):
        result = without_network(*arguments)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert Path("copy.webp").exists()
    probe = f"{FORBID}\nimport socket\nsocket.create_connection(('127.0.0.1', 9))"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("socket.")


@pytest.fixture
def flipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of weights, one bit in its middle being another."""
    from nncodec.api import codec_for

    read = weights._read

    def damaged(name: str) -> bytes:
        data = bytearray(read(name))
        if name.endswith(".safetensors"):
            data[len(data) // 2] ^= 1
        return bytes(data)

    monkeypatch.setattr(weights, "_read", damaged)
    codec_for.cache_clear()


@pytest.mark.parametrize("model", weights.manifest())
def test_weights_with_a_bit_flipped_are_refused_by_name(
    nncodec: Run, photo: Path, flipped: None, model: str
) -> None:
    error = nncodec("compress", photo, "-m", model, "--device", "cpu", status=1).stderr
    file = weights.entry(model).file
    assert error == f"nncodec: {photo}: the weights {file} are not those that were shipped\n"
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("model", weights.manifest())
def test_weights_are_safetensors_that_name_their_model(model: str) -> None:
    entry = weights.entry(model)
    files = {entry.file: weights.load_bytes(model)}
    if context := weights.load_context_bytes(model):
        files[entry.context["file"]] = context
    if proxy := weights.load_proxy_bytes(model):
        files[entry.proxy["file"]] = proxy
    for name, data in files.items():
        assert Path(name).suffix == ".safetensors"
        assert name.split("-")[1].split(".")[0] in (
            entry.sha256[:8],
            entry.context.get("sha256", "")[:8],
            entry.proxy.get("sha256", "")[:8],
        )
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        assert model in head.pop("__metadata__").values()
        ends = sorted(tensor["data_offsets"] for tensor in head.values())
        assert [end for _, end in ends[:-1]] == [begin for begin, _ in ends[1:]]  # no holes
        assert (ends[0][0], 8 + size + ends[-1][1]) == (0, len(data))


class Trap:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch trapped",)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("suffix", "protocol"), [("pt", 2), ("safetensors", 2), ("pickle", 4)])
def test_a_pickle_is_never_opened(nncodec: Run, photo: Path, suffix: str, protocol: int) -> None:
    Path(f"evil.{suffix}").write_bytes(pickle.dumps({"weight": Trap()}, protocol))
    model = "cae_16x8x8_zero_pad_bin"
    given = ["--weights", f"evil.{suffix}", "-m", model, "--device", "cpu"]
    error = nncodec("compress", photo, *given, status=1).stderr
    assert error.endswith(f"evil.{suffix}: not a safetensors file\n")
    error = nncodec("models", "import", f"evil.{suffix}", "--as", model, "-o", "x", status=1).stderr
    assert "without running code" in error and error.count("\n") == 1
    assert not Path("trapped").exists() and not Path("x").exists()
