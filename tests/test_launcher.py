"""bin/nncodec makes its environment once, and then is the installed command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Stands for python3: makes an environment whose pip only keeps a log, and whose nncodec tells its
# arguments.
PYTHON3 = """#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec "{python}" "$@"; fi
mkdir -p "$3/bin"
cat >"$3/bin/python" <<'END'
#!/bin/sh
[ "$1" = -m ] || exit 0
sleep 0.2
echo "$@" >>pip.log
printf '#!/bin/sh\\necho "ran $*"\\n' >.venv/bin/nncodec
chmod +x .venv/bin/nncodec
END
chmod +x "$3/bin/python"
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the launchers and what they read, in a path with a space."""
    root = tmp_path / "a checkout"
    shutil.copytree(ROOT / "bin", root / "bin")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    (tmp_path / "path").mkdir()
    python3 = tmp_path / "path" / "python3"
    python3.write_text(PYTHON3.format(python=sys.executable))
    python3.chmod(0o755)
    monkeypatch.setenv("PATH", f"{python3.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return root


def start(launcher: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [launcher, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_environment_is_made_once(checkout: Path) -> None:
    launcher = checkout / "bin" / "nncodec"
    results = [process.communicate() for process in [start(launcher, "a b", "c") for _ in range(3)]]
    assert [out for out, _ in results] == ["ran a b c\n"] * 3
    notes = "".join(error for _, error in results).splitlines()
    assert len(notes) == 1 and notes[0].startswith("nncodec: making the virtual environment")
    torch, package = (checkout / "pip.log").read_text().splitlines()
    assert torch.endswith("-c constraints.txt torch")
    assert package.endswith("-c constraints.txt -e .")


def test_it_is_found_through_links_and_made_anew_after_changes(checkout: Path) -> None:
    link = checkout.parent / "link"
    link.symlink_to(Path(checkout.name) / "bin" / "nncodec")
    assert start(link).communicate()[0] == "ran \n"
    assert start(link).communicate() == ("ran \n", "")
    with (checkout / "constraints.txt").open("a") as constraints:
        constraints.write("# changed\n")
    assert "making" in start(link).communicate()[1]
    moved = checkout.rename(checkout.parent / "moved")
    assert "making" in start(moved / "bin" / "nncodec").communicate()[1]
