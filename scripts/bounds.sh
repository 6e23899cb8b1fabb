#!/usr/bin/env bash
# Run tests with the lowest and with the highest packages that pyproject.toml allows, each in an
# environment of its own outside this folder. An environment takes about 7 GB, mostly PyTorch's, and
# is removed before the next is made.
#
#   scripts/bounds.sh [lowest] [highest]     both if left out
#
# uv installs if it is there, as it keeps fewer copies; pip otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PYTHON=${PYTHON:-python3}
readonly TESTS=(tests/unit tests/reports tests/gate tests/ledger tests/keys tests/predictions tests/cli)
WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf "$WORK"' EXIT
failed=()

install() {
    if command -v uv >/dev/null; then
        UV_CACHE_DIR=$WORK/cache uv pip install --quiet --python "$WORK/venv/bin/python" "$@"
    else
        "$WORK/venv/bin/python" -m pip install --quiet --no-cache-dir "$@"
    fi
}

# Old packages beside newer ones that they need may warn; at that end a warning is no error.
warnings() { if [ "$1" = lowest ]; then echo filterwarnings=default; else echo filterwarnings=error; fi; }

try() {
    local end=$1
    printf '\n== %s\n' "$end"
    "$PYTHON" -m venv --clear "$WORK/venv"
    "$WORK/venv/bin/python" -m pip install --quiet --upgrade pip
    "$PYTHON" scripts/bounds.py "$end" >"$WORK/constraints.txt"
    install --constraint "$WORK/constraints.txt" --editable ".[dev]"
    "$WORK/venv/bin/python" -m pip list --format freeze --exclude-editable >"$WORK/versions.txt"
    grep -E '^(torch|torchvision|numpy|scipy|scikit-learn|pydantic|cryptography|typer)==' "$WORK/versions.txt"
    export OMP_NUM_THREADS=1 FORGET_AUDIT_HOME=$WORK/home
    "$WORK/venv/bin/python" -m pytest -q -m "not slow" -n auto --dist loadfile -p no:cacheprovider \
        -o "$(warnings "$end")" "${TESTS[@]}" || failed+=("$end")
    one_audit || failed+=("$end: audit")
    rm -rf "$WORK/venv" "$WORK/home"
}

# As a person would: an audit of bundled data, and its report checked.
one_audit() {
    local code=0 program=$WORK/venv/bin/forget-audit
    rm -rf "$WORK/audit"
    mkdir "$WORK/audit"
    printf '%s\n' '[request]' 'reference = "BOUNDS-1"' 'random = 100' '[data]' 'source = "digits"' \
        'label_noise = 0.15' '[method]' 'name = "retrain"' '[references]' 'retrained = 19' \
        'originals = 4' 'shadows = 4' >"$WORK/audit/plan.toml"
    "$program" certify "$WORK/audit/plan.toml" --out "$WORK/audit/report" || return 1
    "$program" verify "$WORK/audit/report" >"$WORK/verify.log" || code=$?
    [ "$code" = 3 ] || { cat "$WORK/verify.log"; return 1; }
}

for end in "${@:-lowest highest}"; do
    # shellcheck disable=SC2086  # both words, if none was given
    for one in $end; do try "$one"; done
done
printf '\n== %s\n' "${failed[*]:-both ends good}"
[ "${#failed[@]}" = 0 ]
