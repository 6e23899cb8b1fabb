"""The recipes of docs/verify-by-hand.md, run as they stand in it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from forget_audit.digests import sha256
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import html_signature
from tests.fixtures.attested import reviewed, reviewer, with_pdf
from tests.fixtures.released import copied, key

PAGE = Path(__file__).parents[2] / "docs" / "verify-by-hand.md"
TOOLS = ("openssl", "sed", "base64", "sha256sum", "pdfsig", "pdfdetach", "cmp", "bash")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)


def told(report: Path, signer: SigningKey, *lines: str) -> tuple[int, str]:
    (report / "public.pem").write_text(signer.public_pem)
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)], cwd=report, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def said(report: Path) -> tuple[int, str]:
    """Run all shell blocks of the page in `report`, one after the other."""
    assert len(blocks("sh")) == 6
    return told(report, key(), *blocks("sh"))


def test_a_released_folder_checks_out(tmp_path: Path) -> None:
    code, text = said(copied(with_pdf(), tmp_path / "run"))
    assert code == 0, text
    assert text.count("Verified OK") == 3
    assert key().keyid in text
    assert '"value":"PASS"' in text
    for name in ("evidence.json", "scores.npz", "report.html", "report.pdf", "audit.dsse.json"):
        assert f"{name}: OK" in text
    signed = sha256(html_signature.split((with_pdf() / "report.html").read_bytes())[0])
    assert text.count(signed) == 2
    assert "Signature is Valid" in text
    assert "Total document signed" in text


@pytest.mark.parametrize("name", ["audit.dsse.json", "release.dsse.json", "scores.npz"])
def test_a_changed_file_shows(tmp_path: Path, name: str) -> None:
    report = copied(with_pdf(), tmp_path / "run")
    data = bytearray((report / name).read_bytes())
    data[200] ^= 1
    (report / name).write_bytes(bytes(data))
    code, text = said(report)
    assert code != 0
    assert re.search(f"erification failure|{name}: FAILED|invalid input|rror", text)


def test_a_review_checks_out_with_the_key_of_the_reviewer(tmp_path: Path) -> None:
    report = copied(reviewed(), tmp_path / "run")
    check, release, review = blocks("sh")[1], blocks("sh")[3], blocks("sh review")[0]
    function = check[: check.index("check_envelope audit.dsse.json")]
    code, text = told(report, reviewer(), function, release, review)
    assert code == 0, text
    assert text.count("Verified OK") == 2
    assert "review.dsse.json: OK" in text
    assert '"decision":"approved"' in text
    digest = sha256((report / "audit.dsse.json").read_bytes())
    assert text.count(digest) == 2
    assert told(report, key(), function, review)[0] != 0
