"""Folders that hold code which must never run: where a plan names it, and where Python looks."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAN = """\
[request]
reference = "HOSTILE-1"
forget = "ids.txt"
[data]
source = "my_model:load"
[model]
architecture = "my_model:net"
[training]
function = "my_model:fit"
[method]
name = "retrain"
[references]
retrained = 3
originals = 2
shadows = 2
[battery]
attacks = ["loss_threshold"]
[report]
controller = "Test Ltd"
formats = ["html"]
[report.reviewer]
name = "R. Viewer"
role = "reviewer"
independence = "of another department"
"""
# The functions of the plan, which write down that they were called, and whether by a dry run.
GOOD = """\
import sys

import numpy as np
import torch
from torch import nn


def called(name):
    with open("calls.txt", "a") as file:
        file.write(f"{'dry' if '--dry-run' in sys.argv else 'real'} {name}\\n")


def load():
    called("load")
    x = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


def net(shape, n_classes):
    called("net")
    return nn.Linear(4, 2)


def fit(x, y, seed):
    called("fit")
    torch.manual_seed(seed)
    return nn.Linear(4, 2)
"""
# Python code that writes down that it ran, and then ends the process.
EVIL = """\
import os
with open({marker!r}, "a") as file:
    file.write(__name__ + "\\n")
os._exit(66)
"""
# Names that a program of Python looks for: of its own library, of packages, and of what plans name.
LIBRARY = (
    "argparse", "ast", "base64", "copy", "csv", "datetime", "hashlib", "inspect", "json", "logging",
    "pathlib", "random", "re", "shutil", "sqlite3", "string", "subprocess", "tempfile", "tomllib",
    "typing", "uuid", "xml", "zipfile",
)  # fmt: skip
PACKAGES = (
    "attacks", "cryptography", "jinja2", "jsonschema", "matplotlib", "methods", "numpy", "pyhanko",
    "pydantic", "rich", "safetensors", "scipy", "setup", "torch", "typer", "weasyprint",
)  # fmt: skip
# Runs commands one after the other and tells which code of hostile folders was run or looked for.
WATCH = """\
import contextlib, io, json, os, sys

asked = json.load(open(sys.argv[1]))
seen = []


def watch(event, arguments):
    if event == "exec":
        file = getattr(arguments[0], "co_filename", "")
        if any(file.startswith(place + os.sep) for place in asked["places"]):
            seen.append(f"run {file}")
    elif event == "subprocess.Popen" and "forget_audit.reports.pdf_process" not in arguments[1]:
        seen.append(f"start {arguments[1]}")
    elif event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn"):
        seen.append(f"{event} {arguments[0]}")


class Listener:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in asked["names"]:
            seen.append(f"import {name}")


from forget_audit import cli
from forget_audit.registry import _loaded

sys.addaudithook(watch)
sys.meta_path.insert(0, Listener())
codes, loads = {}, {}
for name, words in asked["commands"].items():
    sys.argv = ["forget-audit", *words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            cli.main()
    except SystemExit as stop:
        codes[name] = int(stop.code or 0)
    if codes[name] not in (0, 1):
        print(name, said.getvalue(), file=sys.stderr)
    loads[name] = sorted(_loaded)
print(json.dumps({"codes": codes, "seen": seen, "loads": loads}))
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of commands run beside hostile code.

    Args:
        codes: Exit code of each.
        seen: What was run, imported or started that must not be.
        loads: Rooms with packages of third parties loaded, after each command.
    """

    codes: Mapping[str, int]
    seen: Sequence[str]
    loads: Mapping[str, Sequence[str]]


def evil(marker: Path) -> str:
    """Code that leaves `marker`."""
    return EVIL.format(marker=str(marker))


def plant(folder: Path, names: Sequence[str], marker: Path) -> None:
    """Lay a hostile file of each name into a folder."""
    for name in names:
        (folder / f"{name}.py").write_text(evil(marker), encoding="utf-8")


def environment(home: Path, *paths: Path) -> dict[str, str]:
    """Where the program looks: `paths` before the repository."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return found | {
        "PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT])),
        "FORGET_AUDIT_HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }


def watched(
    commands: Mapping[str, Sequence[str]],
    *,
    cwd: Path,
    home: Path,
    places: Sequence[Path],
    names: Sequence[str],
    paths: Sequence[Path] = (),
) -> Told:
    """Run commands in one process as the program does, started in `cwd`."""
    asked = {"commands": commands, "places": [str(place) for place in places], "names": names}
    listed = home.parent / "asked.json"
    listed.write_text(json.dumps(asked), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCH, str(listed)],
        cwd=cwd, env=environment(home, *paths), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return Told(**json.loads(done.stdout.splitlines()[-1]))
