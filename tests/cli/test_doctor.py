"""What `doctor` says of a machine: what is missing or of no use, and the line that helps."""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from forget_audit import cli, diagnosis
from forget_audit.diagnosis import Finding, diagnose
from forget_audit.keys.signing import SigningKey
from forget_audit.ledger.ledger import Ledger
from forget_audit.reports import pdf
from forget_audit.reports.pdf import Maker
from forget_audit.trust import Trust


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    monkeypatch.setattr(pdf, "look", lambda: Maker(version="70.0", subset=True))
    return tmp_path


def found() -> dict[str, Finding]:
    return {finding.name: finding for finding in diagnose()}


def test_a_machine_with_everything_is_well_and_nothing_is_made(home: Path) -> None:
    findings = found()
    assert [finding.name for finding in findings.values() if finding.missing] == []
    for line in metadata.requires("forget-audit") or []:
        if "extra ==" not in line:
            assert any(line.startswith(name) for name in findings), line
    for name in ("signing key", "trust file", "ledger"):
        assert findings[name].found == "none yet"
    assert not list(home.iterdir())


def test_exit_codes_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for maker, code in ((Maker(version="70.0"), 0), (Maker(trouble="no PDF: x"), 1)):
        monkeypatch.setattr(pdf, "look", lambda maker=maker: maker)
        monkeypatch.setattr(sys, "argv", ["forget-audit", "doctor", "--json"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == code
        said = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
        assert set(said["PDF rendering"]) == {"name", "found", "missing", "remedy"}
        assert said["PDF rendering"]["missing"] == bool(code)


@pytest.mark.parametrize(
    ("maker", "name", "missing", "remedy"),
    [
        (Maker(lacking="libpango-1.0-0", trouble="x"), "Pango", True, pdf.APT),
        (Maker(lacking="libpangoft2-1.0-0", trouble="x"), "PangoFT2", True, pdf.APT),
        (Maker(trouble="crashed"), "PDF rendering", True, "crashed"),
        (Maker(version="70.0"), "harfbuzz-subset", False,
         "apt-get install --no-install-recommends libharfbuzz-subset0"),
    ],
)  # fmt: skip
def test_what_is_missing_for_pdf_is_named(
    monkeypatch: pytest.MonkeyPatch, maker: Maker, name: str, missing: bool, remedy: str
) -> None:
    monkeypatch.setattr(pdf, "look", lambda: maker)
    finding = found()[name]
    assert (finding.missing, finding.remedy) == (missing, remedy)


def test_a_package_that_is_missing_or_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        diagnosis, "requires", lambda _: ["nosuchpackage>=1", "numpy>=2; extra == 'x'"]
    )
    finding = found()["nosuchpackage"]
    assert (finding.found, finding.missing) == ("none", True)
    assert finding.remedy == "python -m pip install nosuchpackage"
    assert finding.lines[0] == "missing nosuchpackage: none"
    assert "numpy" not in found()
    monkeypatch.setattr(diagnosis, "requires", lambda _: ["rich>=13"])
    monkeypatch.setitem(sys.modules, "rich", None)
    finding = found()["rich"]
    assert finding.missing
    assert "cannot be imported" in finding.found
    assert finding.lines[0].startswith("wrong   rich: ")


def test_a_damaged_font_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "FONTS", [("x", "normal", "Nothing.ttf")])
    finding = found()["bundled fonts"]
    assert finding.missing
    assert "Nothing.ttf missing" in finding.found


def test_a_program_that_only_checks_by_hand_need_not_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    for name, package in (("pdfsig", "poppler-utils"), ("openssl", "openssl"), ("qpdf", "qpdf")):
        finding = found()[name]
        assert not finding.missing
        assert f"install --no-install-recommends {package}" in finding.remedy


def test_extras_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name in ("python-pkcs11", "optuna"):
            raise metadata.PackageNotFoundError(name)
        return metadata.version(name)

    monkeypatch.setattr(diagnosis, "version", version)
    finding = found()["python-pkcs11"]
    assert not finding.missing
    assert finding.remedy.startswith("python -m pip install 'forget-audit[hsm]'")


def test_a_good_key_trust_file_and_ledger_are_described(home: Path) -> None:
    key = SigningKey.create("Privacy Office")
    key.save(home / "keys" / "default", "correct horse battery")
    Trust().add_key(key).save()
    Ledger.open().append("key-added", {"keyid": key.keyid}, key)
    findings = found()
    assert "Privacy Office, passphrase, valid to 20" in findings["signing key"].found
    assert findings["trust file"].found == "1 key"
    assert findings["ledger"].found == "1 entry"
    assert not any(finding.missing for finding in findings.values())


@pytest.mark.parametrize("file", ["", "key.pem"])
def test_a_key_that_others_may_read_is_wrong(home: Path, file: str) -> None:
    folder = home / "keys" / "default"
    SigningKey.create("Office").save(folder)
    (folder / file).chmod(0o755 if not file else 0o644)
    finding = found()["signing key"]
    assert finding.missing
    assert "open to other users" in finding.found
    assert finding.remedy == f"chmod {'600' if file else '700'} {folder / file}"


def test_a_key_at_its_end_is_to_be_renewed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SigningKey.create("Office").save(home / "keys" / "default")
    soon = datetime.now(UTC) + timedelta(days=30)
    monkeypatch.setattr(SigningKey, "not_after", soon)
    finding = found()["signing key"]
    assert not finding.missing
    assert finding.remedy == 'forget-audit keys new --name "Office"'
    monkeypatch.setattr(SigningKey, "not_after", soon - timedelta(days=31))
    assert found()["signing key"].missing


def test_damaged_files_of_the_account_are_named_with_a_remedy(home: Path) -> None:
    (home / "keys" / "default").mkdir(parents=True, mode=0o700)
    (home / "keys" / "default" / "key.pem").write_bytes(b"junk")
    (home / "trust.json").write_text("{", encoding="utf-8")
    (home / "ledger.sqlite").write_bytes(b"no ledger")
    (home / "ledger.sqlite").chmod(0o600)
    findings = found()
    for name in ("signing key", "trust file", "ledger"):
        assert findings[name].missing, name
        assert findings[name].remedy
        assert "\n" not in findings[name].found


def test_a_trust_file_that_others_may_change_is_wrong(home: Path) -> None:
    Trust().add_key(SigningKey.create("Office")).save()
    (home / "trust.json").chmod(0o666)
    finding = found()["trust file"]
    assert finding.missing
    assert finding.remedy.startswith("chmod go-w ")
