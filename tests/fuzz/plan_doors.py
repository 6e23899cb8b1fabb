"""Doors of who asks for an audit: plans, requests, stress results, presets, answers to `init`."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from forget_audit.audits import runs
from forget_audit.errors import ForgetAuditError, PlanError
from forget_audit.plans.checks import request_problems
from forget_audit.plans.sections import RequestSection
from forget_audit.presets.catalogue import get_preset, plan_for, presets
from forget_audit.presets.choices import choice
from forget_audit.presets.plan_file import plan_text
from forget_audit.reports.linter import scan
from forget_audit.starter import answers
from tests.fixtures.evidence import scores
from tests.fuzz import places
from tests.fuzz.doors import Door
from tests.predictions.recorded import tiny

PLAN = """[request]
reference = "DSR-2026-014"
received = 2026-10-02
random = 40
[data]
source = "digits"
label_noise = 0.15
train = 400
test = 200
[model]
architecture = "mlp"
options = { hidden = [8] }
[training]
epochs = 4
lr = 0.01
[method]
name = "scrub"
[references]
retrained = 19
originals = 3
shadows = 4
[battery]
profile = "standard"
attacks = ["loss_threshold", "weight_distance"]
[report]
controller = "Test Ltd"
formats = ["html"]
"""
CLASSES = PLAN.replace("random = 40", 'scope = "class"\nclasses = [3]')
LISTED = PLAN.replace("random = 40", 'forget = "ids.txt"')
ANSWERED = """[request]
reference = "DSR-2026-014"
[predictions]
file = "answers.npz"
[battery]
profile = "standard"
[report]
controller = "Test Ltd"
"""
NAMES = (
    b"digits", b"randhie", b"csv", b"predictions:answers.npz", b"hf:x", b"os:system", b"mlp",
    b"resnet18", b"scrub", b"retrain", b"ssd", b"ids.txt", b"answers.npz", b"..", b"/", b"classes",
    b"[predictions]", b"[preset]", b"sequential = true", b"function = ", b"unlearned = ", b"nan",
)  # fmt: skip


@cache
def _answers() -> bytes:
    made = io.BytesIO()
    np.savez_compressed(made, allow_pickle=False, **tiny(0, 2, 6))
    return made.getvalue()


def enter_plan(data: bytes, folder: Path) -> object:
    """A plan as `certify --dry-run` and `certify` read it."""
    (folder / "ids.txt").write_text("1\n2\n", encoding="utf-8")
    (folder / "answers.npz").write_bytes(_answers())
    path = folder / "plan.toml"
    path.write_bytes(data)
    plan = runs.read(path)
    return plan.as_json()


def _plans() -> Sequence[bytes]:
    """Plans that are in order, and the experiments of papers, whose data are not here."""
    _answers()
    papers = [*presets().values()][::20]
    found = [plan_text(plan_for(preset, Path("data"))) for preset in papers]
    return [text.encode() for text in (PLAN, CLASSES, LISTED, ANSWERED, *found)]


def enter_ids(data: bytes, folder: Path) -> object:
    """A list of ids to forget."""
    (folder / "ids.csv").write_bytes(data)
    section = RequestSection(reference="DSR-1", forget="ids.csv")
    problems = request_problems(section, folder)
    if problems:
        raise PlanError(problems)
    return None


def enter_words(data: bytes, folder: Path) -> object:
    """Names of presets and methods, and what is answered to `init`."""
    text = data.decode("utf-8", "surrogateescape")
    readers: Sequence[Callable[[str], object]] = (
        get_preset, choice, answers.whole_numbers, answers.read_setting, answers.named_classes,
    )  # fmt: skip
    refused: ForgetAuditError | None = None
    said = []
    for reader in readers:
        try:
            said.append(reader(text))
        except ForgetAuditError as error:
            refused = error
    if not said and refused is not None:
        raise refused
    return said


def enter_leaks(data: bytes, folder: Path) -> object:
    """A file that is looked through for personal data before it is signed."""
    return scan({"model.bin": data, "x.safetensors": data}, {"person-17": "an id"})


DOORS: tuple[Door, ...] = (
    Door(name="plan", enter=enter_plan, suffix=".toml", dictionary=NAMES, seeds=_plans),
    Door(
        name="ids",
        enter=enter_ids,
        suffix=".csv",
        dictionary=(b'"', b"id", b"id,", b"\n" * 50),
        seeds=lambda: [b"id,name\nrow-1,x\nrow-2,y\n", b"row-1\nrow-2\nrow-3\n"],
        share=2,
    ),
    Door(
        name="words",
        enter=enter_words,
        seeds=lambda: [
            b"jit-cifar10-vgg11-rows",
            b"ssd:full-class {alpha = 5.0}",
            b"3,5",
            b"size = 32",
            b"classes 3,5",
            b"original",
            b"key = [1, {a = 2}]",
        ],
        dictionary=("\u00b2".encode(), "\u0661".encode(), b"{", b"}", b":", b"[" * 3000, b"="),
        share=1.5,
    ),
    Door(
        name="leak-linter",
        enter=enter_leaks,
        suffix=".zip",
        seeds=lambda: [
            scores(),
            (places.older() / "report.html").read_bytes()[:9000],
            (places.older() / "unlearned.safetensors").read_bytes()[:3000],
            (places.older() / "release.dsse.json").read_bytes(),
            gzip.compress(b'{"a": "person 17"}'),
        ],
        share=0.2,
    ),
)
