"""One changed bit anywhere in a released folder is found, and the file is named."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from forget_audit.reports import pdf_signature
from forget_audit.verification.verify import verify_path
from tests.fixtures import attested, pdfs
from tests.fixtures.released import copied, key, trust

FLIPS = 85  # of each file: 935 in folders, and 90 in files alone
REVIEWED = ("evidence.json", "scores.npz", "report.html", "receipt.html", "audit.dsse.json",
            "review.dsse.json", "release.dsse.json", "unlearned.safetensors")  # fmt: skip
ALONE = ("release.dsse.json", "audit.dsse.json", "report.html")


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
        result = verify_path(report, attested.both())
        assert result.exit_code == 1
        assert name in {check.file for check in result.checks if check.outcome == "fail"}
    (report / name).write_bytes(data)
    assert verify_path(report, attested.both()).exit_code == 0


@pytest.mark.parametrize("name", REVIEWED)
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    refused(attested.review(copied(attested.small(), tmp_path / "run")), name)


def test_a_flipped_bit_in_a_proof_of_deletion_is_found(tmp_path: Path) -> None:
    refused(copied(attested.purged(), tmp_path / "run"), "purge.dsse.json")


@pytest.mark.parametrize("name", ["report.pdf", "receipt.pdf"])
def test_a_flipped_bit_in_a_pdf_is_found(tmp_path: Path, name: str) -> None:
    report = copied(attested.small(), tmp_path / "run")
    data = pdf_signature.sign(pdfs.unsigned(), key(), pdfs.PLACES, "Issues a report")
    (report / name).write_bytes(data)
    attested.resign(report)
    whole = verify_path(report, trust())
    assert {c.outcome for c in whole.checks if c.file == name and c.name != "carried result"} == {
        "pass"
    }
    for changed in flipped(data, name):
        (report / name).write_bytes(changed)
        result = verify_path(report, trust())
        assert "was changed: its SHA-256 is not the released one" in {
            check.detail for check in result.checks if check.file == name
        }


@pytest.mark.parametrize("name", ALONE)
def test_a_flipped_bit_in_a_file_alone_is_found(tmp_path: Path, name: str) -> None:
    for changed in islice(flipped((attested.small() / name).read_bytes(), f"{name} alone"), 30):
        (tmp_path / name).write_bytes(changed)
        assert verify_path(tmp_path / name, trust()).exit_code == 1
