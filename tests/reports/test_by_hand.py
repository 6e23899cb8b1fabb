"""The recipes of docs/verify-by-hand.md, run as they stand in it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from forget_audit.digests import sha256
from forget_audit.reports import html_signature
from tests.fixtures.released import copied, folder, key

PAGE = Path(__file__).parents[2] / "docs" / "verify-by-hand.md"
TOOLS = ("openssl", "sed", "base64", "sha256sum", "pdfsig", "pdfdetach", "cmp", "bash")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


def said(report: Path) -> tuple[int, str]:
    """Run all shell blocks of the page in `report`, one after the other."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    assert len(blocks) == 6
    (report / "public.pem").write_text(key().public_pem)
    done = subprocess.run(
        ["bash", "-e", "-c", "\n".join(blocks)], cwd=report, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_a_released_folder_checks_out(tmp_path: Path) -> None:
    code, text = said(copied(folder(), tmp_path / "run"))
    assert code == 0, text
    assert text.count("Verified OK") == 3
    assert key().keyid in text
    assert '"value":"PASS"' in text
    for name in ("evidence.json", "scores.npz", "report.html", "report.pdf", "audit.dsse.json"):
        assert f"{name}: OK" in text
    signed = sha256(html_signature.split((folder() / "report.html").read_bytes())[0])
    assert text.count(signed) == 2
    assert "Signature is Valid" in text
    assert "Total document signed" in text


@pytest.mark.parametrize("name", ["audit.dsse.json", "release.dsse.json", "scores.npz"])
def test_a_changed_file_shows(tmp_path: Path, name: str) -> None:
    report = copied(folder(), tmp_path / "run")
    data = bytearray((report / name).read_bytes())
    data[200] ^= 1
    (report / name).write_bytes(bytes(data))
    code, text = said(report)
    assert code != 0
    assert re.search(f"erification failure|{name}: FAILED|invalid input|rror", text)
