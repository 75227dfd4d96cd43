#!/usr/bin/env bash
# Makes what `make demo` and `make test` run in, and prints nothing on standard output:
#   1. the locked dependencies, in a virtual environment outside the checkout that the lock's hash
#      names;
#   2. .venv in the checkout, which sees those and holds this package, built and installed as a user
#      would get it.
# MOBILEKD_VENV names an environment that has the locked dependencies already; PYTHON the
# interpreter to build one with.
set -euo pipefail
export PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$(dirname "$0")/.."
exec 1>&2

die() { echo "setup: $*"; exit 1; }

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys
sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

can_make_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Another apt, as every freshly started Ubuntu has, is waited for.
apt_get() {
    local end=$((SECONDS + ${APT_WAIT:-300})) said="" words
    until words=$(LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1); do
        if ! grep -qE "Could not get lock|Unable to (lock|acquire the dpkg)" <<<"$words"; then
            echo "$words" | tail -n 3
            return 1
        fi
        if [ "$SECONDS" -ge "$end" ]; then
            echo "setup: another apt still holds the lock; run this again when it has ended"
            return 1
        fi
        [ -n "$said" ] || echo "setup: another apt is at work; waiting up to 5 minutes for it"
        said=1
        sleep 3
    done
}

base=${MOBILEKD_VENV:-}
if [ -z "$base" ]; then
    python=$(find_python) ||
        die "no Python 3.11 to 3.13 found; install one (Debian: apt-get install python3" \
            "python3-venv) or name it: make PYTHON=..."
    if ! can_make_environments "$python"; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "setup: installing python3-venv"
            apt_get update && apt_get install -y python3-venv
        fi
        can_make_environments "$python" || die "$python cannot make virtual environments; install" \
            "python3-venv (Debian: apt-get install python3-venv)"
    fi
    key=$("$python" -c 'import hashlib, sys
lock = open("requirements.lock", "rb").read()
print(hashlib.sha256(lock + sys.base_prefix.encode()).hexdigest()[:12])')
    base=${XDG_CACHE_HOME:-$HOME/.cache}/mobilekd/venv-$key
    mkdir -p "$(dirname "$base")"
    exec 9>"$base.lock"
    if command -v flock >/dev/null; then flock 9; fi # two checkouts at once share one installation
    if [ ! -e "$base/.complete" ]; then
        echo "setup: installing the locked dependencies into $base (about 6 GB and 5 minutes, once)"
        "$python" -m venv --clear "$base"
        "$base/bin/python" -m pip install -q --no-deps -r requirements.lock ||
            die "the locked dependencies could not be installed; check network and disk space" \
                "(df -h $base), then run this again"
        "$base/bin/python" -m pip check -q ||
            die "requirements.lock does not satisfy itself on this machine"
        touch "$base/.complete"
    fi
    exec 9>&-
fi
[ -x "$base/bin/python" ] || die "$base: no virtual environment there; unset MOBILEKD_VENV"

packages=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
if [ ! -x .venv/bin/python ] || [ "$(cat .venv/base 2>/dev/null)" != "$base" ]; then
    "$base/bin/python" -m venv --clear --without-pip .venv
    own=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "$packages" >"$own/locked-dependencies.pth"
    echo "$base" >.venv/base
fi
# Nothing to do where no file or folder that is built has changed since. Looks at ctime: old dates
# on new content do not deceive.
sources=(mobilekd android_demo ios_export pyproject.toml setup.py MANIFEST.in README.md LICENSE)
sources+=(tools/setup.sh)
if [ -e .venv/installed ] &&
    [ -z "$(find "${sources[@]}" -name __pycache__ -prune -o \
        -cnewer .venv/installed -print -quit)" ]; then
    exit 0
fi
rm -f .venv/installed
touch .venv/building
rm -rf build mobilekd.egg-info
"$base/bin/python" -m pip --python .venv/bin/python install -q \
    --no-deps --no-build-isolation --force-reinstall . ||
    die "this package could not be built; the lines above say why"
rm -rf build mobilekd.egg-info
mv .venv/building .venv/installed
echo "setup: mobilekd is installed; .venv/bin/mobilekd --help"
