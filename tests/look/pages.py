"""Reports as files, unsigned, each made once a test run."""

import atexit
import contextlib
import resource
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from forget_audit.keys.signing import SigningKey
from forget_audit.reports import html, pdf, receipt
from forget_audit.reports.view import ReportView
from forget_audit.types import Json
from tests.fixtures.evidence import complete, longest
from tests.look.hostile import hostile

ENVELOPE = b'{"payload":"","payloadType":"application/vnd.in-toto+json","signatures":[]}'
SPENT: dict[tuple[str, str], float] = {}


@cache
def folder() -> Path:
    """Where the files are."""
    path = Path(tempfile.mkdtemp(prefix="forget-audit-look-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def key() -> SigningKey:
    """A key that has signed nothing."""
    return SigningKey.create("Example Auditor", "Example Controller Ltd")


def document(name: str) -> Json:
    """Evidence by the name of its page: `longest`, `draft` or `hostile-NUMBER`."""
    if name == "longest":
        return longest()
    if name.startswith("hostile"):
        return hostile(int(name.partition("-")[2]), folder() / "secret")
    result = complete("FAIL")
    result["report"]["status"] = name
    return result


def taken(name: str) -> float:
    """Processor seconds that view, page and PDF took together, however busy the machine is."""
    paper(name)
    page(name)
    return sum(seconds for (_, made), seconds in SPENT.items() if made == name)


@contextlib.contextmanager
def timed(what: str, name: str) -> Iterator[None]:
    """Note what making something takes, in this process and in those it starts."""
    before = _processor_time()
    yield
    SPENT[what, name] = _processor_time() - before


def _processor_time() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(use.ru_utime + use.ru_stime for use in map(resource.getrusage, kinds))


@cache
def view(name: str) -> ReportView:
    """What the page and the PDF of that name show."""
    made = document(name)
    with timed("view", name):
        return html.build(made, html.signer_of(key()))


@cache
def page(name: str) -> Path:
    """The page of that name for a browser."""
    path, shown = folder() / f"{name}.html", view(name)
    with timed("page", name):
        path.write_bytes(html.page(shown, medium="html", attestation=ENVELOPE))
    return path


@cache
def paper(name: str) -> Path:
    """The PDF of that name."""
    path, shown, made = folder() / f"{name}.pdf", view(name), document(name)
    with timed("paper", name):
        path.write_bytes(pdf.render(shown, made, ENVELOPE)[0])
    return path


@cache
def slip(name: str, language: str = "en") -> Path:
    """The receipt of that name for a browser."""
    path = folder() / f"{name}-receipt-{language}.html"
    path.write_bytes(receipt.page(document(name), language))
    return path
