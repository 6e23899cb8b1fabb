#!/usr/bin/env bash
# Build the sdist and the wheel from it, once more from a clone, and compare; install the wheel into
# an environment that holds what it asks for and nothing else, and use it from a folder whose
# attacks/, experiments/, methods/ and reports/ raise on import.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SOURCE=$PWD
WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf "$WORK"' EXIT

step() { printf -- '-- %s (after %d s)\n' "$1" "$SECONDS"; }

step "building"
scripts/build.sh "$WORK/dist"
wheel=$(echo "$WORK"/dist/*.whl)

if [ -n "$(git status --porcelain)" ]; then
    step "not compared with a clone: there are changes that are not committed"
else
    step "building from a clone in another folder, with another umask"
    (
        umask 077
        git clone --quiet "$SOURCE" "$WORK/somewhere/else"
        BUILD_PYTHON=$SOURCE/.venv/bin/python "$WORK/somewhere/else/scripts/build.sh" "$WORK/again"
    )
    for file in "$WORK"/dist/*; do
        cmp "$file" "$WORK/again/${file##*/}"
    done
    echo "the same bytes"
fi

step "content of $(basename "$wheel")"
.venv/bin/python -m scripts.wheel_content "$wheel"

# Set-up has fetched the same packages a moment ago. pip fails if the wheel asks for another one.
step "installing into an environment of what it asks for"
unset PYTHONPATH
.venv/bin/python -m venv --without-pip "$WORK/venv"
readonly BIN=$WORK/venv/bin
site=$("$BIN/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
.venv/bin/python -m scripts.only_needed "$site"
pip=("$SOURCE/.venv/bin/python" -m pip --python "$BIN/python")
"${pip[@]}" install --quiet --no-index "$wheel"
"${pip[@]}" check

export FORGET_AUDIT_HOME=$WORK/home
mkdir -p "$WORK/empty" "$WORK/decoys"
for room in attacks experiments methods reports; do
    mkdir "$WORK/decoys/$room"
    echo 'raise RuntimeError("the decoy was imported")' >"$WORK/decoys/$room/__init__.py"
done

step "nothing but forget_audit is installed"
cd "$WORK/empty"
"$BIN/python" - <<'PYTHON'
from importlib.util import find_spec

leaked = [name for name in ("attacks", "experiments", "methods", "reports", "scripts", "tests") if find_spec(name)]
assert not leaked, f"the wheel leaks top-level packages: {leaked}"
PYTHON

step "commands and imports beside the decoys"
cd "$WORK/decoys"
"$BIN/forget-audit" --version
"$BIN/python" -m forget_audit --version
"$BIN/python" -c '
import forget_audit.attacks.lira, forget_audit.methods.scrub, forget_audit.reports.html, sys
here = forget_audit.__file__
assert here.startswith(sys.prefix), here
print("imported from the wheel")
'
"$BIN/forget-audit" list attacks >/dev/null
"$BIN/forget-audit" list methods >/dev/null
"$BIN/forget-audit" init "$WORK/started" >/dev/null
"$BIN/forget-audit" certify "$WORK/started/plan.toml" --dry-run >/dev/null

step "a small audit"
cat >plan.toml <<'TOML'
[request]
reference = "WHEEL-1"
random = 100

[data]
source = "digits"
label_noise = 0.15

[training]
epochs = 60

[method]
name = "retrain"

[references]
retrained = 19
originals = 4
shadows = 4
TOML
code=0
"$BIN/forget-audit" certify plan.toml --out audit || code=$?
case $code in
0 | 1 | 3) ;;
*) echo "certify: expected exit code 0, 1 or 3, found $code"; exit 1 ;;
esac

step "checking its report: valid, signer not yet trusted"
code=0
"$BIN/forget-audit" verify audit >verify.log || code=$?
if [ "$code" != 3 ]; then
    cat verify.log
    echo "verify: expected exit code 3, found $code"
    exit 1
fi

step "the same with the signer trusted"
"$BIN/forget-audit" keys export --out handed >/dev/null 2>&1
"$BIN/forget-audit" verify audit --trust handed/trust.json | tail -n 1
step "done"
