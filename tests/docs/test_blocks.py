"""Every block of code in README and documentation is run, in order, in a folder of its page."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from scripts.blocks import ROOT, Block, BlockError, blocks, pages, play, shell
from tests.docs.warm import Session, write_programs

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="blocks are written for a Unix shell"
)
PAGES = {path.relative_to(ROOT).as_posix(): blocks(path) for path in pages()}
# Pages whose blocks need more than a folder; each is run by a file of its own.
ELSEWHERE = {
    "docs/gate.md": "tests/gate/test_recipes.py",
    "docs/keys.md": "tests/keys/test_page.py",
    "docs/verify-by-hand.md": "tests/reports/test_by_hand.py",
}
# An audit of a few people's records, with small numbers of models: what a page starts from.
PLAN = """\
[request]
reference = "REQ-7731"
forget = "forget_ids.csv"

[data]
source = "csv:rows.csv"

[model]
architecture = "mlp"
options = { hidden = [16] }

[training]
epochs = 10
lr = 0.01

[method]
name = "finetune"

[references]
retrained = 5
originals = 2
shadows = 0

[battery]
attacks = ["lira"]

[report]
formats = ["html"]

[report.reviewer]
name = "Example Reviewer"
role = "privacy officer"
independence = "did not train the model"
"""
# Checks a plan where the page left it, with whatever the page has installed.
CHECK = """\
import tomllib
from pathlib import Path
from forget_audit.plans.plan import check_plan
check_plan(tomllib.loads(Path("%s").read_text("utf-8")), Path())
"""
LEDGER = "~/.config/forget-audit/ledger.sqlite"
# What a page takes for granted, as a shell would make it, beside the audit above.
STARTS: Mapping[str, str] = {
    "docs/after-the-audit.md": (
        "mkdir handed\n"
        "FORGET_AUDIT_HOME=$PWD/other forget-audit keys new --name Reviewer --unattended\n"
        "FORGET_AUDIT_HOME=$PWD/other forget-audit keys export --out reviewer\n"
        "cp -r other/keys/default my-key\n"
    ),
    "docs/calibration.md": "",
    "docs/exit-codes.md": "",
    "docs/ledger.md": (
        "forget-audit keys export --out own && forget-audit trust add own/trust.json\n"
        "cp own/trust.json own/public.pem . && mkdir audits backup\n"
        "cp -r audit audits && cp -r audit old-audit && cp -r audit newest-audit\n"
        f"cp {LEDGER} backup && cp {LEDGER} other-copy.sqlite\n"
        "forget-audit ledger checkpoint > checkpoint.txt\n"
    ),
    "docs/reading-a-report.md": "",
}
# An id that only the audit itself can give.
REPORT = re.compile(r"FA-\d{8}-[0-9A-F]{6}")
# Pages that certify what `init` wrote: more than a test needs. The tutorial keeps its models, so
# that it ends as it says; `python -m scripts.docs time-tutorial` runs it as it stands.
FEWER = {"README.md": "models", "docs/quickstart.md": "models", "docs/tutorial.md": "attacks"}


def runnable(found: list[Block]) -> bool:
    return any(not b.reason and (b.language in ("sh", "python") or b.title) for b in found)


RUN = [name for name, found in PAGES.items() if runnable(found) and name not in ELSEWHERE]


@cache
def scratch() -> Path:
    """A folder that goes with the test run; its path is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="docs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def warm() -> str:
    """Where a process listens that has everything imported."""
    address = str(scratch() / "warm")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/docs/warm.py"), address], env=environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(process.wait)
    atexit.register(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    write_programs(scratch() / "bin", address)
    return address


def environment_of(folder: Path) -> dict[str, str]:
    """As a reader has it: keys in the home folder, the program on the path."""
    warm()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FORGET_AUDIT", "PYTEST"))}
    path = [scratch() / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    installed = folder / "installed"
    return {
        **kept,
        "HOME": str(folder / "home"),
        "PATH": ":".join(map(str, path)),
        "PYTHONPATH": f"{ROOT}:{installed}",
        "PIP_TARGET": str(installed),
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this as: none
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@cache
def audited() -> Path:
    """A folder with rows, a plan, a finished audit, and the home folder it was made in."""
    folder = scratch() / "audited"
    folder.mkdir()
    x, y = load_digits(return_X_y=True)
    drawn = np.random.default_rng(0)
    y = np.where(drawn.random(len(y)) < 0.15, drawn.integers(0, 10, len(y)), y)
    roles = ["train"] * 200 + ["test"] * 80 + ["auxiliary"] * 20
    lines = [",".join(["id", "label", "split", *(f"pixel-{i}" for i in range(64))])]
    for i, role in enumerate(roles):
        lines.append(",".join([f"person-{i}", str(y[i]), role, *(f"{v / 16:g}" for v in x[i])]))
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    forget = ["id", *(f"person-{i}" for i in range(40))]
    (folder / "forget_ids.csv").write_text("\n".join(forget) + "\n", encoding="utf-8")
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    run("forget-audit certify plan.toml --out audit\n", folder)
    return folder


def run(script: str, folder: Path) -> str:
    block = Block(page="start", number=0, language="sh", marks="", text=script)
    return shell(block, folder, environment_of(folder))


def begun(page: str) -> Path:
    """Make a folder with what the page takes for granted."""
    folder = scratch() / re.sub(r"\W", "-", page)
    if page not in STARTS:
        folder.mkdir()
        return folder
    shutil.copytree(audited(), folder)
    if STARTS[page]:
        run(STARTS[page], folder)
    return folder


@cache
def played(page: str) -> tuple[Path, str]:
    """Run the blocks of a page in order; return their folder, and what the shell printed."""
    folder = begun(page)
    environment = environment_of(folder)
    if page in FEWER:
        environment["FEWER"] = FEWER[page]
    log = scratch() / f"{folder.name}.log"
    session = Session(warm(), folder, environment, log)

    def python(block: Block) -> None:
        if not session.run(block.text, block.name):
            raise BlockError(f"{block.name}:\n{block.text}\n{log.read_text('utf-8')}")

    report = known(folder)
    blocks_here = [replace(block, text=REPORT.sub(report, block.text)) for block in PAGES[page]]
    plans = [block.title for block in PAGES[page] if "[request]" in block.text and block.title]
    try:
        said = "".join(play(blocks_here, folder, environment, python))
        for name in plans:
            python(Block(page=page, number=0, language="python", marks="", text=CHECK % name))
    finally:
        session.close()
    return folder, said


def known(folder: Path) -> str:
    """Return the id of the report that a page starts with."""
    path = folder / "audit" / "evidence.json"
    if not path.exists():
        return "FA-20261121-000000"
    return str(json.loads(path.read_text("utf-8"))["report"]["id"])


@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run_in_order(page: str) -> None:
    played(page)


def test_the_tutorial_ends_as_it_says() -> None:
    _, said = played("docs/tutorial.md")
    lines = said.splitlines()
    assert lines.index("FAIL (RESIDUAL)") < lines.index("PASS")
    assert "attempt 2 at this request: level 0.025" in lines
    assert "finetuned: valid, but the signer is not in the trust file" in said
    assert "DEPLOY unlearned.safetensors" in said
    assert "REFUSE unlearned.safetensors (outcome-fail)" in said


def test_a_method_written_from_its_page_is_listed_kept_and_reported() -> None:
    folder, said = played("docs/add-a-method.md")
    assert "Shrink and perturb" in said
    assert "everything is kept" in said
    evidence = json.loads((folder / "audit" / "evidence.json").read_text("utf-8"))
    assert evidence["method"]["name"] == "shrink_perturb"
    assert "Shrink and perturb" in (folder / "audit" / "report.html").read_text("utf-8")


def test_an_attack_written_from_its_page_is_listed_kept_and_reported() -> None:
    folder, said = played("docs/add-an-attack.md")
    assert "Margin of the logits" in said
    assert "everything is kept" in said
    evidence = json.loads((folder / "audit" / "evidence.json").read_text("utf-8"))
    found = {attack["name"]: attack for attack in evidence["attacks"]}
    assert found["margin"]["outcome"] == "informative"
    assert "Margin of the logits" in (folder / "audit" / "report.html").read_text("utf-8")


def test_the_package_of_the_examples_is_that_of_the_pages() -> None:
    place = ROOT / "examples" / "plugin"
    settings = (place / "pyproject.toml").read_text("utf-8")
    homes = {"docs/add-a-method.md": "shrink_perturb.py", "docs/add-an-attack.md": "margin.py"}
    for page, name in homes.items():
        files = {block.title: block.text for block in PAGES[page]}
        assert (place / name).read_text("utf-8") == files[name]
        entry = re.findall(r"^\[project.entry-points.*\n.+$", files["pyproject.toml"], re.MULTILINE)
        assert entry[0] in settings


def test_blocks_that_are_not_run_say_why() -> None:
    for found in PAGES.values():
        for block in found:
            if block.reason:
                assert block.language in ("sh", "python"), block.name
                assert len(block.reason.split()) >= 3, block.name


def test_pages_that_are_run_elsewhere_are() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text("utf-8")
