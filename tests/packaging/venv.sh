#!/usr/bin/env bash
# Makes the locked Python environment: venv.sh <directory> <stamp>. The stamp's name carries the lock file's digest.
set -euo pipefail
venv=$1 stamp=$2

fail() { printf 'The Python environment was not made: %s\nNext: %s\n' "$1" "$2" >&2; exit 1; }

supported() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; }

python=${PYTHON:-}
for candidate in python3 python3.13 python3.12 python3.11; do
    [ -n "$python" ] && break
    if supported "$candidate"; then python=$candidate; fi
done
[ -n "$python" ] || fail "Python 3.11 or newer was not found." "bash tests/cluster/preflight.sh venv"
supported "$python" || fail "$python is older than 3.11." "make venv PYTHON=python3.11"

# An environment that was left by another interpreter, or half made, is made anew.
wanted=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
found=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
if [ "$found" != "$wanted" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no ensurepip, so it cannot make one." "bash tests/cluster/preflight.sh venv"
    echo "venv   $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

echo "venv   installing requirements/dev.txt (a minute or two the first time)"
rm -f "$venv"/.lock-*
# uv is part of the lock and installs it several times faster; pip, which knows every pip setting, is the second try.
tool=$(mktemp); trap 'rm -f "$tool"' EXIT
awk '/^uv==/ {on = 1} on {print; if (!/\\$/) exit}' requirements/dev.txt > "$tool"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$tool" &&
    "$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --require-hashes -r requirements/dev.txt ||
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt ||
    fail "pip could not install the locked packages (its message is above)." "make venv, once the package index can be reached"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e . ||
    fail "the package itself could not be installed (pip's message is above)." "make clean venv"
"$venv/bin/python" -m pip check >/dev/null || fail "the locked packages contradict each other." "$venv/bin/python -m pip check"
touch "$stamp"
echo "venv   ready"
