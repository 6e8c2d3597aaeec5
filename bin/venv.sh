# Sourced by the launchers in this folder: the checkout's own virtual environment, in .venv.
#
# venv ROOT [EXTRA]  makes ROOT/.venv, or makes it again when the checkout was moved or what it
# depends on has changed, with the optional dependencies EXTRA of pyproject.toml.

venv() {
    # What the environment was made from: a matching stamp means that there is nothing to do.
    wanted=$(echo "$1"; cat "$1/pyproject.toml" "$1/constraints.txt" "$1/bin/venv.sh")
    wanted=$(echo "$wanted" | cksum)
    [ "$(cat "$1/.venv/made-from$2" 2>/dev/null)" = "$wanted" ] && return

    # The lock goes with the process that holds it, however that ends; a second one waits here.
    python3 -c '
import fcntl, os, sys
lock = os.open(sys.argv[1] + "/.venv.lock", os.O_CREAT | os.O_RDWR, 0o644)
os.set_inheritable(lock, True)
fcntl.flock(lock, fcntl.LOCK_EX)
os.execvp("sh", ["sh", "-c", ". \"$0/bin/venv.sh\" && make_venv \"$0\" \"$@\"", *sys.argv[1:]])
' "$1" "$2" "$wanted"
}

make_venv() (
    # make_venv ROOT EXTRA WANTED, under the lock; whoever waited for it may find the work done.
    set -e
    cd "$1"
    stamp=.venv/made-from$2
    [ "$(cat "$stamp" 2>/dev/null)" = "$3" ] && exit
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "nncodec: python3 is older than 3.10; put a newer one first in PATH" >&2
        exit 1
    }
    echo "nncodec: making the virtual environment $1/.venv; this takes a few minutes once" >&2
    # Made over, not anew: something may be running from it. Anew only if its Python is gone.
    .venv/bin/python -c '' 2>/dev/null || rm -rf .venv
    python3 -m venv .venv
    pip() {
        .venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt "$@" >&2
    }
    pip torch
    pip -e ".${2:+[$2]}"
    echo "$3" >"$stamp"
    # With an extra there is also everything that is there without one.
    [ -z "$2" ] || echo "$3" >.venv/made-from
)
