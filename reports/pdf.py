"""The report and the receipt as archival PDF (declares PDF/A-3u, tagged).

The PDF maker runs in a process of its own (`pdf_process`): without fonts its libraries end the
process they run in, and no page can hold up an audit for ever.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forget_audit.digests import canonical_json, sha256
from forget_audit.errors import MissingDependency, VerificationError
from forget_audit.reports import html
from forget_audit.reports.view import Place, Places, ReportView
from forget_audit.types import Json

APT = "apt-get install --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
PIP = "python -m pip install 'weasyprint>=70,<71'"
COMMAND = ("-P", "-W", "ignore", "-m", "forget_audit.reports.pdf_process")
LIMIT_S = 300.0
TOOL, REVIEWER = "signature-field", "reviewer-field"
# Nothing of the machine shows in a file that is made twice.
FIXED = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC"}
SAMPLE: Json = {
    "page": "<!doctype html><title>-</title><p style='font-family: Forget Audit Sans'>ready</p>",
    "attachments": [], "moment": "2000-01-01T00:00:00+00:00", "identifier": 32 * "0", "fields": [],
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Both PDF files of a report, unsigned.

    Args:
        report: The report.
        places: Where its signatures belong.
        receipt: The page for the person.
        place: Where its signature belongs.
    """

    report: bytes
    places: Places
    receipt: bytes
    place: Place


@dataclass(frozen=True, kw_only=True)
class Maker:
    """What makes PDF files on this machine.

    Args:
        version: Of WeasyPrint; none if it is missing.
        lacking: The first system library that is missing, if one is.
        subset: Whether harfbuzz cuts fonts; without it fontTools does, for now.
        trouble: Why no PDF can be made; empty if one can.
    """

    version: str | None = None
    lacking: str | None = None
    subset: bool = False
    trouble: str = ""


def render(view: ReportView, evidence: Json, attestation: bytes) -> tuple[bytes, Places]:
    """Return the report as an unsigned PDF and where its signatures belong.

    Args:
        view: All strings.
        evidence: What they were made of; attached.
        attestation: DSSE envelope of the result; attached.

    Raises:
        MissingDependency: If no PDF can be made on this machine.
        VerificationError: If the page asks for anything outside itself.
    """
    [made] = _made([_report(view, evidence, attestation)])
    return made["pdf"], _places(made)


def render_receipt(page: bytes, evidence: Json) -> tuple[bytes, Place]:
    """Return the receipt as an unsigned PDF and where its signature belongs.

    Args:
        page: The receipt as HTML.
        evidence: Says when it was issued; nothing of it is attached.

    Raises:
        MissingDependency: If no PDF can be made on this machine.
        VerificationError: If the page asks for anything outside itself.
    """
    [made] = _made([_receipt(page, evidence)])
    return made["pdf"], _places(made).tool


def render_papers(view: ReportView, evidence: Json, attestation: bytes, receipt: bytes) -> Papers:
    """Return report and receipt at once, which saves a start of the PDF maker.

    Args:
        view: All strings of the report.
        evidence: What they were made of; attached to the report alone.
        attestation: DSSE envelope of the result; attached to the report alone.
        receipt: The receipt as HTML.

    Raises:
        MissingDependency: If no PDF can be made on this machine.
        VerificationError: If a page asks for anything outside itself.
    """
    report, slip = _made([_report(view, evidence, attestation), _receipt(receipt, evidence)])
    return Papers(
        report=report["pdf"], places=_places(report),
        receipt=slip["pdf"], place=_places(slip).tool,
    )  # fmt: skip


def look() -> Maker:
    """Return what makes PDF files here, after making a small one."""
    said: Json = {}
    trouble = ""
    try:
        said = _ask([SAMPLE])
        _refuse(said)
    except (MissingDependency, VerificationError) as error:
        trouble = str(error)
    return Maker(
        version=said.get("version"),
        lacking=next(iter(said.get("library", ())), None),
        subset=said.get("subset", False),
        trouble=trouble,
    )


def _report(view: ReportView, evidence: Json, attestation: bytes) -> Json:
    encoded = canonical_json(evidence)
    attachments = [
        {"name": name, "what": what, "data": base64.b64encode(data).decode("ascii")}
        for name, data, what in (
            ("evidence.json", encoded, "Everything the report shows, as canonical JSON"),
            ("audit.dsse.json", attestation, "The result as a signed in-toto statement"),
        )
    ]
    return {
        "page": html.page(view, medium="pdf").decode("utf-8"),
        "attachments": attachments,
        "moment": _moment(evidence),
        "identifier": sha256(encoded)[:32],
        "fields": [TOOL, REVIEWER],
    }


def _receipt(page: bytes, evidence: Json) -> Json:
    return {
        "page": page.decode("utf-8"),
        "attachments": [],
        "moment": _moment(evidence),
        "identifier": sha256(page)[:32],
        "fields": [TOOL],
    }


def _moment(evidence: Json) -> str:
    return datetime.fromisoformat(evidence["report"]["issued"]).isoformat()


def _places(made: Json) -> Places:
    found = {
        name: Place(page=place[0], box=tuple(place[1:]))
        for name, place in made["fields"].items()
        if place is not None
    }
    if TOOL not in found:
        raise VerificationError("the page has no place for the signature")
    return Places(tool=found[TOOL], reviewer=found.get(REVIEWER))


def _made(documents: Sequence[Json]) -> list[Json]:
    said = _ask(documents)
    _refuse(said)
    return [{**item, "pdf": base64.b64decode(item["pdf"])} for item in said["documents"]]


def _refuse(said: Json) -> None:
    """Turn what the PDF maker says instead of a PDF into an error with the line that helps."""
    if said["state"] == "absent":
        raise MissingDependency(f"no PDF: the package {said['package']} is missing; {PIP}")
    if said["state"] == "missing":
        names = said["library"]
        what = f"the system library {names[0]}" if names else "a system library"
        raise MissingDependency(f"no PDF: {what} is missing; {APT}")
    if said["state"] == "refused":
        raise VerificationError(f"no PDF: the page asks for something outside: {said['reason']}")


def _ask(documents: Sequence[Json]) -> Json:
    """Start the PDF maker, hand it the documents, and return its answer.

    It works in a folder of its own, which goes with it however it ends.

    Raises:
        MissingDependency: If it cannot be started, crashes, or takes too long.
    """
    request = json.dumps({"documents": list(documents)}).encode("ascii")
    try:
        with tempfile.TemporaryDirectory(prefix="forget-audit-pdf-") as folder:
            done = subprocess.run(
                [sys.executable or "python3", *COMMAND], input=request, capture_output=True,
                check=False, timeout=LIMIT_S, cwd=folder, env=_environment(documents, folder),
            )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingDependency(
            f"no PDF: the PDF maker took longer than {LIMIT_S:g} s and was stopped"
        ) from error
    except OSError as error:
        raise MissingDependency(
            f"no PDF: the PDF maker cannot be started: {error.strerror}"
        ) from error
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise MissingDependency(
            f"no PDF: the PDF maker crashed ({name}), as it does when fonts or libraries are "
            f"damaged; {APT}"
        )
    try:
        answer: Json = json.loads(done.stdout)
    except ValueError as error:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise MissingDependency(
            f"no PDF: the PDF maker stopped with code {done.returncode} ({last[:200]})"
        ) from error
    return answer


def _environment(documents: Sequence[Json], folder: str) -> dict[str, str]:
    """Return the environment of the PDF maker: our packages, none of our secrets, a fixed time."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("FORGET_AUDIT")
    }
    moment = datetime.fromisoformat(documents[0]["moment"])
    return {
        **kept,
        **FIXED,
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path),
        "SOURCE_DATE_EPOCH": str(int(moment.timestamp())),
        "TMPDIR": folder,
    }
