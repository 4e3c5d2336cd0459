#!/usr/bin/env bash
# What `make demo`, `make test` and their like need of this machine: preflight.sh <command>. Takes bash for granted, and
# then any Python from 3.8 on, which reads the list of packages and looks for each.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
reads() { "$1" -c 'import sys; raise SystemExit(sys.version_info < (3, 8))' 2>/dev/null; }

python=
find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if reads "$name"; then python=$name; return; fi
    done
}
find_python
if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "make $1 lacks packages of this machine; installing them with apt-get: python3 (runs everything here)" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt() { said=$(apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null 2>&1) || { printf '%s\n' "$said" >&2; exit 2; }; }
    apt update
    apt install -y --no-install-recommends python3
    find_python
fi
if [ -z "$python" ]; then
    printf '%s\n' "make $1 cannot start on this machine." "There is no Python that runs." \
        "  next: sudo apt-get update && sudo apt-get install -y --no-install-recommends python3 python3-venv" >&2
    exit 2
fi
PYTHONPATH=$here exec "$python" -B -m millrace_machine "$@"
