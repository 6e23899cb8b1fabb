"""One changed byte anywhere in a released folder is found, and the file is named."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from forget_audit.verify import verify_path
from tests.fixtures.released import copied, folder, trust

FLIPS = 300
NAMES = ("evidence.json", "scores.npz", "report.html", "audit.dsse.json", "release.dsse.json",
         "plan.toml")  # fmt: skip


def flipped(data: bytes, seed: str) -> Iterator[bytes]:
    source = random.Random(seed)
    for _ in range(FLIPS):
        changed = bytearray(data)
        changed[source.randrange(len(data))] ^= 1 << source.randrange(8)
        yield bytes(changed)


def refused(report: Path, name: str) -> None:
    data = (report / name).read_bytes()
    for changed in flipped(data, name):
        (report / name).write_bytes(changed)
        result = verify_path(report, trust())
        assert result.exit_code == 1
        assert name in {check.file for check in result.checks if check.outcome == "fail"}
    (report / name).write_bytes(data)
    assert verify_path(report, trust()).exit_code == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    refused(copied(folder(pdf=False), tmp_path / "run"), name)


def test_a_flipped_bit_in_the_pdf_is_found(tmp_path: Path) -> None:
    refused(copied(folder(), tmp_path / "run"), "report.pdf")


@pytest.mark.parametrize("name", ["release.dsse.json", "audit.dsse.json"])
def test_a_flipped_bit_in_an_envelope_alone_is_found(tmp_path: Path, name: str) -> None:
    data = (folder() / name).read_bytes()
    for changed in list(flipped(data, name))[:100]:
        (tmp_path / name).write_bytes(changed)
        assert verify_path(tmp_path / name, trust()).exit_code == 1


def test_a_flipped_bit_in_a_page_alone_is_found(tmp_path: Path) -> None:
    data = (folder() / "report.html").read_bytes()
    for changed in list(flipped(data, "page"))[:100]:
        (tmp_path / "report.html").write_bytes(changed)
        assert verify_path(tmp_path / "report.html", trust()).exit_code == 1
