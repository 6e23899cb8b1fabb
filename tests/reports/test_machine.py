"""The PDF maker on machines that lack something, and equal files wherever they are made."""

import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from forget_audit.digests import canonical_json
from forget_audit.errors import MissingDependency
from forget_audit.keys.signing import SigningKey
from forget_audit.reports import html, pdf, receipt
from forget_audit.reports.release import Terms, release
from forget_audit.verification.verify import verify_path
from tests.fixtures.evidence import evidence, scores, without_figures
from tests.fixtures.released import key, trust

LINE = (
    "apt-get install --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
)
SHORT = {"report": {"issued": "2026-11-21T10:00:00Z"}}
PAGE = (
    "<!doctype html><p id='signature-field' style='font-family: Forget Audit Sans'>"
    "Zoë said: ½ of ρ ≤ 0.2 – “gone”?</p><pre style='font-family: Forget Audit Mono'>0123</pre>"
).encode()
linux = pytest.mark.skipif(sys.platform != "linux", reason="libraries are found as on Linux")


@cache
def usual() -> bytes:
    """The page as this machine makes it."""
    return pdf.render_receipt(PAGE, SHORT)[0]


def without(monkeypatch: pytest.MonkeyPatch, folder: Path, library: str) -> None:
    """Let the loader find a broken library first; only processes started later look there."""
    (folder / library).write_bytes(b"")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))


def without_system_fonts(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    settings = folder / "fonts.conf"
    settings.write_text('<?xml version="1.0"?><fontconfig></fontconfig>', encoding="utf-8")
    monkeypatch.setenv("FONTCONFIG_FILE", str(settings))


@linux
@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("libgobject-2.0.so.0", "libgobject-2.0-0"),
        ("libpango-1.0.so.0", "libpango-1.0-0"),
        ("libpangoft2-1.0.so.0", "libpangoft2-1.0-0"),
    ],
)
def test_a_missing_library_is_named_with_the_line_that_installs_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    library: str, name: str,
) -> None:  # fmt: skip
    without(monkeypatch, tmp_path, library)
    with pytest.raises(MissingDependency) as caught:
        pdf.render_receipt(PAGE, SHORT)
    assert str(caught.value) == f"no PDF: the system library {name} is missing; {LINE}"
    assert tuple(capfd.readouterr()) == ("", "")


@linux
def test_without_libraries_page_and_evidence_are_issued_and_verify(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, tmp_path, "libpango-1.0.so.0")
    document = without_figures(evidence())
    terms = Terms(formats=("html", "pdf"))
    done = release(document, scores(), {}, key(), tmp_path / "run", terms)
    assert LINE in (done.pdf_missing or "")
    assert {path.name for path in done.paths} == {
        "evidence.json", "scores.npz", "report.html", "receipt.html", "audit.dsse.json",
        "release.dsse.json",
    }  # fmt: skip
    assert verify_path(tmp_path / "run", trust()).exit_code == 0


@linux
def test_with_the_subset_library_missing_files_differ_but_are_made_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = b"<p id='signature-field' style='font-family: Forget Audit Mono'>0123"
    expected, _ = pdf.render_receipt(page, SHORT)
    without(monkeypatch, tmp_path, "libharfbuzz-subset.so.0")
    first, _ = pdf.render_receipt(page, SHORT)
    time.sleep(1.1 - time.time() % 1)  # another second on the clock
    assert pdf.render_receipt(page, SHORT)[0] == first
    assert first != expected
    assert not pdf.look().subset


@linux
def test_no_system_font_is_needed_or_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = usual()
    without_system_fonts(monkeypatch, tmp_path)
    assert pdf.render_receipt(PAGE, SHORT)[0] == expected
    odd = PAGE.replace(b"Forget Audit Sans", b"A Font That Nobody Has, serif")
    assert pdf.render_receipt(odd, SHORT)[0]


@linux
def test_a_crash_of_the_libraries_ends_one_process_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without any font, system's or ours, Pango ends the process by a segmentation fault."""
    without_system_fonts(monkeypatch, tmp_path)
    code = "from forget_audit.reports import pdf_process as p; p.FONTS = (); p.main()"
    monkeypatch.setattr(pdf, "COMMAND", ("-P", "-c", code))
    with pytest.raises(MissingDependency, match=r"crashed \(SIG(SEGV|ABRT|BUS|TRAP)\).*apt-get"):
        pdf.render_receipt(PAGE, SHORT)


def test_a_page_cannot_hold_up_an_audit_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "COMMAND", ("-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(pdf, "LIMIT_S", 0.5)
    start = time.monotonic()
    with pytest.raises(MissingDependency, match=r"longer than 0\.5 s and was stopped"):
        pdf.render_receipt(PAGE, SHORT)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no room')", r"stopped with code 1 \(no room\)"),
        ("print('Traceback')", r"stopped with code 0 \(\)"),
        ("import os; os.abort()", r"crashed \(SIGABRT\)"),
        (
            "import sys; sys.modules['weasyprint'] = None\n"
            "from forget_audit.reports import pdf_process; pdf_process.main()",
            r"the package weasyprint is missing; python -m pip install",
        ),
    ],
)
def test_every_other_end_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(pdf, "COMMAND", ("-P", "-W", "ignore", "-c", code))
    with pytest.raises(MissingDependency, match=said) as caught:
        pdf.render_receipt(PAGE, SHORT)
    assert "\n" not in str(caught.value)


def test_the_pdf_maker_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(MissingDependency, match="cannot be started: No such file"):
        pdf.render_receipt(PAGE, SHORT)


def test_the_pdf_maker_sees_no_passphrase_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = (
        "import json, os, pathlib; pathlib.Path('left').write_text('x'); "
        "names = [n for n in os.environ if n.startswith('FORGET_AUDIT')]; "
        "print(json.dumps({'state': 'refused', 'reason': f'{names} {os.getcwd()}'}))"
    )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", "correct horse battery")
    monkeypatch.setattr(pdf, "COMMAND", ("-c", code))
    assert f"[] {tmp_path}" in pdf.look().trouble
    assert not list(tmp_path.iterdir())


def test_modules_in_the_working_folder_are_not_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("weasyprint.py", "json.py", "forget_audit.py"):
        (tmp_path / name).write_text("raise SystemExit('the decoy was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert pdf.look().trouble == ""


def make(folder: Path, key_folder: Path) -> dict[str, bytes]:
    """Everything that is made of one piece of evidence, by name."""
    document = evidence()
    signer = SigningKey.load(key_folder)
    view = html.build(document, html.signer_of(signer))
    note = receipt.page(document, "de")
    made = {
        "evidence.json": canonical_json(document),
        "report.html": html.render(view, signer, b'{"payload":""}'),
        "receipt.html": note,
        "receipt.pdf": pdf.render_receipt(note, document)[0],
    }
    folder.mkdir()
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def test_hash_seed_time_zone_and_language_of_the_machine_change_no_byte(tmp_path: Path) -> None:
    key().save(tmp_path / "key")
    code = (
        "import sys; from pathlib import Path; from tests.reports import test_machine; "
        "test_machine.make(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    changes = {"PYTHONHASHSEED": "4711", "TZ": "Pacific/Chatham", "LC_ALL": "tr_TR.UTF-8"}
    path = os.pathsep.join(item for item in sys.path if item)
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there"), str(tmp_path / "key")],
        check=True, env={**os.environ, **changes, "PYTHONPATH": path},
    )  # fmt: skip
    here = make(tmp_path / "here", tmp_path / "key")
    there = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    assert there == here


@linux
def test_doctor_names_the_line_and_prints_nothing_but_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """WeasyPrint prints help to standard output then; it must not reach ours."""
    from forget_audit import cli

    without(monkeypatch, tmp_path, "libpango-1.0.so.0")
    monkeypatch.setattr(sys, "argv", ["forget-audit", "doctor", "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    findings = {item["name"]: item for item in json.loads(capfd.readouterr().out)}
    assert stop.value.code == 1
    assert findings["PDF rendering"]["missing"]
    assert LINE in findings["PDF rendering"]["remedy"]
