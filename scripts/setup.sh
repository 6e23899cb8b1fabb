#!/usr/bin/env bash
# Set up a fresh clone: virtual environment, Python packages, system libraries.
#
#   scripts/setup.sh demo    what the program needs
#   scripts/setup.sh test    the same, and what tests and checks need
#
# PYTHON names the interpreter. pip's own settings (PIP_INDEX_URL, PIP_CONSTRAINT and so on) are
# honoured. A second call finds the stamp of the first and does nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON=${PYTHON:-python3}
readonly PURPOSE=${1:?expected demo or test}
readonly PDF_LIBRARIES="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
readonly TEST_TOOLS="poppler-utils openssl qpdf softhsm2 chromium"

. scripts/debian.sh

say() { printf '%s\n' "$*" >&2; }

check_python() {
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "expected Python 3.11 or newer, found $("$PYTHON" -V 2>&1 || true)"
        say "name another one: PYTHON=python3.12 make $PURPOSE"
        exit 1
    fi
}

# Another interpreter or place needs a new environment; other packages only need pip.
interpreter() {
    "$PYTHON" -c 'import sys; print(sys.version, sys.base_prefix)' | tr '\n' ' '
    pwd
}

packages() {
    cat pyproject.toml scripts/setup.sh scripts/debian.sh | sha256sum | cut -d ' ' -f 1
}

holds() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

make_environment() {
    if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
        local version
        version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if ! debian_install "python$version-venv"; then
            say "then run make $PURPOSE again"
            exit 1
        fi
    fi
    say "making .venv with $("$PYTHON" -V)"
    "$PYTHON" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --quiet --upgrade pip
    interpreter >.venv/.stamp-python
}

# Of 23,000 modules few are ever imported; Python compiles those when they are.
install_packages() {
    local what=.
    if [ "$PURPOSE" = test ]; then
        what=".[dev]"
    fi
    say "installing Python packages; PyTorch is large, the first time takes minutes"
    .venv/bin/python -m pip install --quiet --quiet --no-compile -e "$what"
}

install_system_packages() {
    # shellcheck disable=SC2086  # lists of packages
    debian_install $PDF_LIBRARIES || say "going on without PDF; reports are HTML only"
    if [ "$PURPOSE" = test ]; then
        # shellcheck disable=SC2086
        debian_install $TEST_TOOLS || say "going on; tests that need these tools are skipped"
    fi
}

main() {
    check_python
    local wanted
    wanted=$(packages)
    if ! holds .venv/.stamp-python "$(interpreter)"; then
        make_environment
    elif holds .venv/.stamp-test "$wanted" || holds ".venv/.stamp-$PURPOSE" "$wanted"; then
        return
    fi
    install_system_packages &
    local code=0
    install_packages || code=$?
    wait
    [ "$code" = 0 ] || exit "$code"
    printf '%s\n' "$wanted" >".venv/.stamp-$PURPOSE"
}

main
