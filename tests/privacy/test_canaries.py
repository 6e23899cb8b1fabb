"""Real audits with unique strings planted where people and machines have their names.

No output may hold one of them, however it is opened; where one could get in through a field that
people fill in, nothing is signed. Files are opened here by other means than the linter's own.
"""

import base64
import html
import io
import json
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from forget_audit.audits import runs
from forget_audit.errors import LeakError
from forget_audit.ledger.ledger import Ledger
from forget_audit.progress import Silent
from forget_audit.trust import Trust
from forget_audit.verification.verify import verify_path
from tests.fixtures.programs import say

USER, HOST = "zaphod-Quokka", "heart-of-gold-Quokka"
ORDINARY = {"LOGNAME": USER, "USER": USER, "LNAME": USER, "USERNAME": USER}
FORGOTTEN = [f"Quokka-person-{number:03d}" for number in range(24)]
FOLDERS = (
    "Quokka-home",
    "Quokka-keys",
    "Quokka-plans",
    "Quokka-data",
    "Quokka-models",
    "Quokka-out",
)
PLAN = """\
[request]
reference = "REQ-7"
forget = "Quokka-list.csv"
[data]
source = "csv:Quokka-data/people.csv"
[model]
options = { hidden = [8] }
original = "Quokka-models/original.safetensors"
[training]
epochs = 4
[method]
name = "finetune"
options = { epochs = 1 }
[references]
retrained = 4
originals = 1
identity = 2
shadows = 0
[battery]
attacks = ["loss_threshold"]
[report]
controller = "CONTROLLER"
formats = FORMATS
"""


@dataclass(frozen=True)
class Place:
    """Where a plan lies, and where its reports go."""

    plan: Path
    out: Path

    def write(self, text: str, name: str = "plan.toml", **parts: str) -> Path:
        parts = {"CONTROLLER": "Example Controller Ltd", "FORMATS": '["html", "pdf"]', **parts}
        for word, part in parts.items():
            text = text.replace(word, part)
        path = self.plan / name
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A machine whose folders, user and host name are all canaries."""
    folders = {name: tmp_path / name for name in FOLDERS[:3]}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    plan = folders["Quokka-plans"]
    for name, value in ORDINARY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    monkeypatch.setenv("HOME", str(folders["Quokka-home"]))
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(folders["Quokka-keys"]))
    monkeypatch.chdir(plan)
    monkeypatch.setattr(sys, "path", [str(plan), *sys.path])
    x, y = load_digits(return_X_y=True)
    ids = [*FORGOTTEN, *(f"other-Quokka-{number}" for number in range(len(x) - len(FORGOTTEN)))]
    (plan / "Quokka-data").mkdir()
    (plan / "Quokka-models").mkdir()
    columns = [f"Quokka-column-{number}" for number in range(x.shape[1])]
    split = np.where(np.arange(len(x)) < 150, "train", "test")
    lines = [",".join([*columns, "label", "id", "split"])]
    for row, label, name, part in zip(x[:300], y, ids, split, strict=False):
        lines.append(",".join([*map(str, row / 16), str(label), name, str(part)]))
    (plan / "Quokka-data" / "people.csv").write_text("\n".join(lines), encoding="utf-8")
    (plan / "Quokka-list.csv").write_text("\n".join(["id", *FORGOTTEN]), encoding="utf-8")
    return Place(plan=plan, out=tmp_path / "Quokka-out")


def opened(path: Path) -> Iterator[str]:
    """Every text in a file, by other programs and libraries than those of the linter."""
    data = path.read_bytes()
    yield data.decode("latin-1")
    if path.suffix == ".npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            for name in file.files:
                yield name
                yield "\n".join(map(str, np.unique(file[name]).tolist()[:100_000]))
    if path.suffix == ".pdf":
        yield from opened_pdf(path, data)
    if path.suffix in (".json", ".html"):
        text = data.decode("utf-8")
        yield html.unescape(text)
        for word in re.findall(r"[A-Za-z0-9+/]{20,}={0,2}", text):
            packed = base64.b64decode(word + "=" * (-len(word) % 4))
            yield packed.decode("utf-8", "replace")
    if path.suffix == ".json":
        yield "\n".join(map(str, flat(json.loads(data))))


def opened_pdf(path: Path, data: bytes) -> Iterator[str]:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing")
    reader = pypdf.PdfReader(io.BytesIO(data))
    for page in reader.pages:
        text = page.extract_text()
        yield text
        yield "".join(text.split())
    yield str(reader.metadata)
    for contents in reader.attachments.values():
        for content in contents:
            yield content.decode("utf-8")
    if shutil.which("qpdf"):
        plain = path.with_suffix(".plain")
        say("qpdf", "--qdf", "--object-streams=disable", str(path), str(plain))
        yield plain.read_bytes().decode("latin-1")
        plain.unlink()


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from flat(item)
    elif isinstance(value, list):
        for item in value:
            yield from flat(item)
    else:
        yield value


def held(folder: Path) -> list[str]:
    """What of the canaries the files of a folder hold."""
    paths = sorted(folder.iterdir())
    texts = [(path.name, text) for path in paths for text in opened(path)]
    return [
        f"{name}: {text[max(found.start() - 30, 0) : found.end() + 30]!r}"
        for name, text in texts
        for found in re.finditer("quokka", text, re.IGNORECASE)
        if found
    ]


def test_no_name_of_a_person_path_or_machine_is_in_any_file(place: Place) -> None:
    first = place.write(PLAN.replace('original = "Quokka-models/original.safetensors"\n', ""))
    runs.unlearn(runs.read(first), place.plan / "Quokka-models" / "original.safetensors", Silent())
    done = runs.certify(runs.read(place.write(PLAN)), place.out, Silent())
    assert done.released.pdf_missing is None
    assert {path.name for path in place.out.iterdir()} == {
        "evidence.json", "scores.npz", "report.html", "report.pdf", "receipt.pdf",
        "audit.dsse.json", "release.dsse.json", "unlearned.safetensors",
    }  # fmt: skip
    assert held(place.out) == []
    assert verify_path(place.out, Trust()).exit_code == 3
    evidence = json.loads((place.out / "evidence.json").read_bytes())
    assert evidence["data"]["source"] == "csv:people.csv"
    assert evidence["model"]["original"]["name"] == "original.safetensors"


def test_the_means_of_this_test_find_what_is_there(place: Place) -> None:
    text = "a Quokka-person-007 b"
    place.out.mkdir()
    np.savez_compressed(place.out / "a.npz", ids=np.array([text]))
    (place.out / "b.json").write_text(
        json.dumps({"payload": base64.b64encode(text.encode()).decode()})
    )
    assert len({line.split(":")[0] for line in held(place.out)}) == 2


LABELS = """\
import numpy as np
from sklearn.datasets import load_digits
from forget_audit.datasets import Dataset
from forget_audit.types import Rows, Sensitive

def load():
    x, y = load_digits(return_X_y=True)
    x, y = (x[:400] / 16).astype(np.float32), y[:400]
    marks = np.stack([y % 2 == 0, y >= 5, y == 3], axis=1).astype(np.int64)
    x[:, 20] = x[:, 20] > 0.5
    return Dataset(
        name="people", title="people of a trial", sizes=(240, 120, 40),
        rows=Rows(x=x, y=marks, ids=np.array([f"Quokka-{n}" for n in range(len(x))])),
        labels=("asked", "Quokka-label-two", "Quokka-label-three"),
        sensitive=Sensitive(column=20, name="Quokka-illness", values=(0.0, 1.0)),
    )
"""


def test_names_of_other_labels_and_of_the_sensitive_column_are_in_no_file(place: Place) -> None:
    (place.plan / "people_of_a_trial.py").write_text(LABELS, encoding="utf-8")
    text = PLAN.replace('forget = "Quokka-list.csv"', 'scope = "attribute"\nattribute = "asked"')
    text = text.replace("csv:Quokka-data/people.csv", "people_of_a_trial:load")
    text = text.replace('original = "Quokka-models/original.safetensors"\n', "")
    text = text.replace('"finetune"', '"retrain"').replace("options = { epochs = 1 }", "")
    text = text.replace('["loss_threshold"]', '["loss_threshold", "attribute_inference"]')
    plan = place.write(text, FORMATS='["html"]')
    runs.certify(runs.read(plan), place.out, Silent())
    assert held(place.out) == []
    assert "asked" in (place.out / "report.html").read_text(encoding="utf-8")


def test_a_forgotten_id_in_a_field_that_people_fill_in_blocks_the_signature(place: Place) -> None:
    text = PLAN.replace('original = "Quokka-models/original.safetensors"\n', "")
    model = place.plan / f"{FORGOTTEN[5]}.safetensors"
    runs.unlearn(runs.read(place.write(text)), model, Silent())
    handed = text.replace("options = { hidden", f'unlearned = "{model.name}"\noptions = {{ hidden')
    for filled in (
        text.replace("CONTROLLER", f"Practice of {FORGOTTEN[5]}"),
        text.replace("[report]", f'[report]\ndecision = "whether {FORGOTTEN[5]} is gone"'),
        handed,
    ):
        with pytest.raises(LeakError) as caught:
            runs.certify(runs.read(place.write(filled, FORMATS='["html"]')), place.out, Silent())
        assert "nothing was signed" in str(caught.value)
        assert FORGOTTEN[5] not in str(caught.value)
        assert not place.out.exists()
    assert {entry.kind for entry in Ledger.open().entries()} == {"audit-begun"}
