"""Batches on Ray: the same bytes and the same lines as on this machine alone."""

import json
import os
import pickle
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import Result

from nncodec.cli.operands import Job

Run = Callable[..., Result]
NNCODEC = [sys.executable, "-m", "nncodec"]
needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="needs nncodec[ray]")

# A cluster on this machine, until its standard input ends.
CLUSTER = """
import os, sys, ray
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=80_000_000)
print(ray.get_runtime_context().gcs_address, file=os.fdopen(int(sys.argv[1]), "w"), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a running Ray with two processors, which only those who know a word join."""
    reading, writing = os.pipe()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "token")
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_worker_niceness", "0")  # on a busy machine it takes its share
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(writing)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
        )
        os.close(writing)
        with os.fdopen(reading) as addresses:
            address = addresses.readline().strip()
        assert address
        yield address
    process.communicate()


@pytest.fixture
def weights(bitplane: Path) -> tuple[str, ...]:
    """The options for a small model that is quick."""
    return "--weights", str(bitplane), "-e", "1"


@pytest.fixture
def album(album: Path) -> Path:
    """The folder of small images, and in it one that is none."""
    (album / "4a.png").write_text("no image")
    return album


def files(folder: str | Path) -> dict[str, bytes]:
    """The content of all files in a folder, hidden ones too."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["album/0.png", "--address", "auto"], "--address is for --engine ray"),
        (["album/0.png", "--engine", "ray", "-o", "-"], "--engine ray is for files"),
        (["-", "--engine", "ray", "-o", "x.cae"], "--engine ray is for files"),
        (["album/0.png", "--engine", "ray", "--device", "cuda:1"], "use --device cuda"),
        (["album/0.png", "--engine", "slurm"], "'slurm' is not one of 'local', 'ray'"),
    ],
)
def test_usage(nncodec: Run, album: Path, arguments: list[str], message: str) -> None:
    result = nncodec("compress", *arguments, status=2)
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_without_ray(nncodec: Run, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nncodec.cli import engine_ray

    monkeypatch.setattr(engine_ray, "find_spec", lambda name: None)
    arguments = ("-r", "album", "-o", "out", "--engine", "ray")
    assert nncodec("compress", *arguments, status=1).output == (
        'nncodec: --engine ray needs Ray; install it with: pip install "nncodec[ray]"\n'
    )
    assert not Path("out").exists()
    assert len(nncodec("compress", "-n", *arguments).stdout.splitlines()) == 9


def test_help_imports_no_ray() -> None:
    code = "import sys, nncodec.cli.{0} as c; c.{0}.main(['--help'], standalone_mode=False)"
    for command in ("compress", "decompress"):
        ending = "; sys.exit(any(name.startswith('ray') for name in sys.modules))"
        result = subprocess.run([sys.executable, "-c", code.format(command) + ending], stdout=-3)
        assert result.returncode == 0


@pytest.mark.parametrize(
    ("nodes", "actors", "device", "expected"),
    [
        ([{"CPU": 2}], None, "auto", (2, 1, 0)),
        ([{"CPU": 8}], 2, "auto", (2, 4, 0)),
        ([{"CPU": 4}, {"CPU": 4}, {"CPU": 4}], 2, "cpu", (2, 4, 0)),
        ([{"CPU": 4}, {"CPU": 4}, {"CPU": 4}], 5, "cpu", (5, 2, 0)),
        ([{"CPU": 4}, {"CPU": 3}], 7, "cpu", (7, 1, 0)),
        ([{"CPU": 4}], 9, "auto", (9, 1, 0)),  # as many at once as there is room for
        ([{"CPU": 64}], None, "auto", (20, 3, 0)),  # no more than there are jobs
        ([{}, {"CPU": 2}], None, "auto", (2, 1, 0)),
        ([{}], None, "auto", (1, 1, 0)),
        ([{"CPU": 16, "GPU": 4}, {"CPU": 64}], None, "auto", (4, 4, 1)),
        ([{"CPU": 16, "GPU": 4}], None, "cuda", (4, 4, 1)),
        ([{"CPU": 16, "GPU": 4}], 8, "cuda", (8, 2, 0.5)),
        ([{"CPU": 16, "GPU": 4}], None, "cpu", (16, 1, 0)),
        ([{"CPU": 1, "GPU": 2}], None, "auto", (2, 1, 1)),
    ],
)
def test_resources_are_shared(
    nodes: list[dict[str, float]],
    actors: int | None,
    device: str,
    expected: tuple[int, int, float],
) -> None:
    from nncodec.cli.ray_driver import Shares, shares

    assert shares(nodes, actors, device, jobs=20) == Shares(*expected)


def test_a_gpu_that_is_not_there() -> None:
    from nncodec.cli.ray_driver import shares
    from nncodec.formats.errors import NncodecError

    with pytest.raises(NncodecError, match="has no GPU"):
        shares([{"CPU": 2}], None, "cuda", jobs=20)


def test_jobs_without_an_attempt_have_failed() -> None:
    from nncodec.cli.engine_ray import in_full
    from nncodec.cli.reports import Result

    jobs = [Job(Path(f"{name}.png"), Path(f"{name}.cae")) for name in "abcde"]
    done = [(job, Result(job.input, job.output, "done"), None) for job in jobs]
    told = list(in_full(jobs, [done[1], done[3]]))
    assert [job for job, _, _ in told] == jobs
    assert [r.status for _, r, _ in told] == ["failed", "done", "failed", "done", "failed"]
    assert [failure is None for _, _, failure in told] == [False, True, False, True, False]
    assert [result.status for _, result, _ in in_full(jobs, done)] == ["done"] * 5


def test_an_actor_works_where_the_command_was_given(
    nncodec: Run, album: Path, weights: tuple[str, ...]
) -> None:
    from nncodec import __version__
    from nncodec.cli.compress import Encoder
    from nncodec.cli.network import Network
    from nncodec.cli.ray_driver import Actor
    from nncodec.cli.settings import Settings

    nncodec("compress", "album/0.png", "0.cae", *weights)
    options = ("force", "skip_existing", "preserve", "dry_run", "as_json", "verbose", "quiet")
    more = ("recursive", "null", "no_progress")
    settings = Settings(
        **dict.fromkeys((*options, *more), False),
        **dict.fromkeys(("output", "files_from", "shard", "jobs"), None),
        include=(),
        exclude=(),
        engine="ray",
    )
    work = Encoder(Network("cpu", None, weights[1]), None, {}, 1, "auto", (), None)
    sent = pickle.dumps(work)
    job = Job(Path("0.png"), Path("0.cae"))
    home = str(album)
    actor = Actor(sent, settings, home, __version__)
    (attempt,) = actor({"job": [pickle.dumps(job)]})["attempt"]
    again, result, failure = pickle.loads(attempt)
    assert again == job and result.status == "done" and failure is None
    assert (album / "0.cae").read_bytes() == (album.parent / "0.cae").read_bytes()

    nowhere = Actor(sent, settings, home + "/gone", __version__)
    _, result, failure = nowhere.attempt(job)
    assert failure and f"has no folder {home}/gone" in failure.message
    whole = Job(album / "1.png", album / "1.cae")
    assert nowhere.attempt(whole)[1].status == "done"
    _, result, failure = Actor(sent, settings, home, "0").attempt(whole)
    assert failure and f"has nncodec {__version__}, not 0" in failure.message


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*NNCODEC, *arguments], capture_output=True, text=True)


@needs_ray
@pytest.mark.slow
def test_the_same_bytes_and_lines(
    nncodec: Run, album: Path, weights: tuple[str, ...], cluster: str
) -> None:
    os.utime("album/0.png", ns=(0, 1_400_000_000_000_000_456))
    ray = ["--engine", "ray", "--address", cluster, "-j", "2"]
    ours = nncodec("compress", "-r", "album", "-o", "here", "--json", *weights, status=1)
    theirs = run("compress", "-rp", "album", "-o", "there", "--json", *weights, *ray)
    assert theirs.returncode == 1
    assert files("here") == files("there") and len(files("there")) == 8
    assert Path("there/0.cae").stat().st_mtime_ns == 1_400_000_000_000_000_456

    def records(output: str, folder: str) -> list[dict[str, object]]:
        lines = output.replace(folder, "out").splitlines()
        return [json.loads(line) | {"seconds": 0} for line in lines]

    assert records(theirs.stdout, "there") == records(ours.stdout, "here")
    problem, summary = theirs.stderr.splitlines()
    assert problem == ours.stderr.splitlines()[0] and "album/4a.png: not an image" in problem
    assert summary.startswith("nncodec: 8 done, 1 failed: ") and summary.endswith(" MP/s")

    nncodec("decompress", "-r", "here", "-o", "pictures", *weights[:2])
    back = run("decompress", "-r", "there", "-o", "back", "--rm", *weights[:2], *ray)
    assert (back.returncode, back.stdout, back.stderr) == (0, "", "")
    assert files("pictures") == files("back") and files("there") == {}


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_and_run_again(
    nncodec: Run, album: Path, weights: tuple[str, ...], cluster: str, number: signal.Signals
) -> None:
    pictures = [str(path) for path in sorted(album.rglob("?.png"))]
    nncodec("compress", *pictures, "-o", "here", *weights)
    ray = ["--engine", "ray", "--address", cluster, "-j", "1"]
    command = [*NNCODEC, "compress", "-o", "out", "--skip-existing", *weights, *ray]
    os.mkfifo("pipe.png")  # an actor waits for it
    waiting = [*command, *pictures[:5], "pipe.png", *pictures[5:]]
    process = subprocess.Popen(waiting, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while len(list(Path("out").glob("*.cae"))) < 5 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert (process.returncode, error) == (130, b"nncodec: interrupted\n")
        assert not [name for name in files("out") if name.endswith(".part")]
    assert len(list(Path("out").glob("*.cae"))) == 5
    time.sleep(1)
    subprocess.run([*command, *pictures], check=True)
    assert files("out") == files("here")


@needs_ray
@pytest.mark.slow
def test_ray_of_its_own(
    album: Path, weights: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # on a busy machine it takes its share
    shutil.rmtree(album / "sub")
    arguments = ["compress", "-r", "album", "-o", "out", *weights, "--engine", "ray", "-j", "2"]
    result = run(*arguments)
    assert result.returncode == 1 and result.stdout == ""
    problem, summary = result.stderr.splitlines()
    assert problem == "nncodec: album/4a.png: not an image that can be read"
    assert summary.startswith("nncodec: 6 done, 1 failed: ")
    lost = run(*arguments, "-f", "--address", "127.0.0.1:1")
    assert lost.returncode == 1 and lost.stdout == ""
    assert lost.stderr.startswith("nncodec: 127.0.0.1:1: no Ray to be had there: ")
    assert lost.stderr.count("\n") == 1
