"""What fuzzing found once, each case in its smallest form."""

import io
import re
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from asn1crypto import keys as asn1
from asn1crypto import pem
from asn1crypto import pkcs12 as structure
from cryptography.hazmat.primitives import serialization
from joblib import cpu_count

from forget_audit import console, handed
from forget_audit import trust as trust_files
from forget_audit.audits import attempts, holdings
from forget_audit.audits.unfinished import Unfinished
from forget_audit.errors import (
    CaseError,
    ForgetAuditError,
    KeyFileError,
    ModelError,
    PlanError,
    UnknownName,
    VerificationError,
)
from forget_audit.keys.encrypted import encrypted_pem
from forget_audit.keys.folders import private_key
from forget_audit.keys.sources import find_key
from forget_audit.ledger import witnesses
from forget_audit.ledger.check import verify_ledger
from forget_audit.ledger.file import LedgerError
from forget_audit.ledger.ledger import Ledger
from forget_audit.ledger.proofs import check_proof
from forget_audit.named_objects import code_digest, own_files
from forget_audit.plans.plan import read_plan
from forget_audit.presets.choices import choice
from forget_audit.reports import strict_json
from forget_audit.reports.linter import scan
from forget_audit.starter import answers
from forget_audit.training.places import usable_threads
from forget_audit.trust import Trust
from forget_audit.verdict.scoretable import from_bytes
from forget_audit.verification import policy
from forget_audit.zoo import hub_folders
from tests.fuzz import key_doors
from tests.keys import material
from tests.ledger import books

DEEP = b"[" * 20_000


def npz(old: bytes = b"", new: bytes = b"") -> bytes:
    """An archive of one array, in whose header something else stands."""
    array = io.BytesIO()
    np.save(array, np.arange(12.0).reshape(3, 4))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", array.getvalue().replace(old, new) if old else array.getvalue())
    return made.getvalue()


HEADERS = [
    (b"(3, 4)", b"(((( 3"), (b"(3, 4)", b"(3, 4("), (b"'<f8'", b"'<q8'"), (b"'descr'", b"'desc'r"),
    (b"(3, 4)", b"9**999"), (b"(3, 4)", b"('a',)"),
]  # fmt: skip


def test_plans_that_are_nested_too_deeply_are_no_toml(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    for content in (b"a = " + DEEP, b"a = " + b"{a=" * 5000, b"a = " + b"9" * 5000):
        path.write_bytes(content)
        with pytest.raises(PlanError, match="is not TOML"):
            read_plan(path)


@pytest.mark.parametrize(
    "tables",
    [
        '[request]\nreference = "R"\n[predictions]\nfile = "{}"',
        '[request]\nreference = "R"\nforget = "{}"\n[data]\nsource = "digits"',
        '[request]\nreference = "R"\nrandom = 30\n[data]\nsource = "digits"\n'
        '[model]\nunlearned = "{}"\noriginal = "{}"',
    ],
    ids=["predictions", "request", "model"],
)
@pytest.mark.parametrize("name", ["a" * 20_000, "a\\u0000b"], ids=["long", "null"])
def test_names_that_no_file_can_have(tmp_path: Path, tables: str, name: str) -> None:
    text = tables.replace("{}", name) + '\n[report]\ncontroller = "Test Ltd"\n'
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match="there is no file"):
        read_plan(tmp_path / "plan.toml")


@pytest.mark.parametrize("text", ["²", "3,²", "9" * 5000, "-1", "", "x"])
def test_what_is_no_number_of_a_class(text: str) -> None:
    with pytest.raises(CaseError, match="expected numbers of classes"):
        answers.whole_numbers(text)


def test_names_that_are_no_characters_are_not_canonical() -> None:
    with pytest.raises(VerificationError, match="not canonical JSON"):
        strict_json.canonical(b'{"\\ud800":1}', "evidence")


def test_a_certificate_of_no_known_version(tmp_path: Path) -> None:
    der = bytearray(material.authority()[1][0].public_bytes(serialization.Encoding.DER))
    der[der.index(bytes([0xA0, 3, 2, 1, 2])) + 4] = 6
    (tmp_path / "x.der").write_bytes(der)
    with pytest.raises(KeyFileError, match="expected a certificate in DER"):
        handed.keys_of(tmp_path / "x.der", ("tool",))


def slower(content: bytes) -> bytes:
    """The same file, which asks for two thousand million rounds of its passphrase."""
    file = structure.Pfx.load(content)
    file["mac_data"]["iterations"] = 2**31 - 1
    return bytes(file.dump(force=True))


def test_a_key_file_cannot_make_its_reader_wait(tmp_path: Path) -> None:
    path = tmp_path / "key.p12"
    path.write_bytes(slower(key_doors.pkcs12_files()[0]))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="asks for 2,147,483,647 rounds"):
        find_key(str(path), lambda: material.PASSPHRASE)
    info = asn1.EncryptedPrivateKeyInfo.load(pem.unarmor(encrypted_pem(b"x", b"x"))[2])
    derivation = info["encryption_algorithm"]["parameters"]["key_derivation_func"]
    derivation["parameters"]["iteration_count"] = 2**31 - 1
    slow = pem.armor("ENCRYPTED PRIVATE KEY", info.dump(force=True))
    with pytest.raises(KeyFileError, match="asks for 2,147,483,647 rounds"):
        private_key(slow, "x", path)


def test_settings_that_are_nested_too_deeply() -> None:
    deep = DEEP.decode()
    assert answers.read_setting(f"a={deep}") == ("a", deep)
    with pytest.raises(UnknownName, match="settings are no TOML"):
        choice(f"ssd {{a = {deep}}}")


@pytest.mark.parametrize(("old", "new"), HEADERS, ids=[new.decode() for _, new in HEADERS])
def test_headers_of_arrays_that_are_no_header(old: bytes, new: bytes) -> None:
    with pytest.raises(VerificationError, match=r"scores\.npz cannot be read"):
        from_bytes(npz(old, new))
    (leak,) = scan({"a.npz": npz(old, new)}, {})
    assert "cannot be looked through" in leak.what


def test_an_array_of_fewer_than_no_values_gives_no_room_for_others() -> None:
    array = io.BytesIO()
    np.save(array, np.array([["person-17", "person-18"]]))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("a.npy", array.getvalue().replace(b"(1, 2)", b"(-9,2)"))
    (leak,) = scan({"a.npz": made.getvalue()}, {"person-17": "an id"})
    assert "fewer than no values" in leak.what
    with pytest.raises(VerificationError, match=r"scores\.npz cannot be read"):
        from_bytes(made.getvalue())


def test_scores_whose_packing_is_damaged() -> None:
    data = bytearray(npz())
    at = data.index(b"a.npy") + 5
    data[at : at + 8] = b"\xff" * 8
    with pytest.raises(VerificationError, match=r"scores\.npz cannot be read"):
        from_bytes(bytes(data))


@pytest.mark.parametrize("content", [b'{"a": {}}', b'{"a": "pq"}', b'{"a": [1]}', DEEP])
def test_attempts_are_not_forgotten_by_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / attempts.FILE).write_bytes(content)
    with pytest.raises(PlanError, match="cannot be read"):
        attempts.count(tmp_path, "a", "p")
    assert (tmp_path / attempts.FILE).read_bytes() == content


@pytest.mark.parametrize("models", ['"x"', "{}", "3", "[3]", DEEP.decode()])
def test_a_damaged_register_does_not_leave_models_out_of_a_purge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: str
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "FA-1.json").write_text(f'{{"secret": "/x", "models": {models}}}')
    with pytest.raises(ForgetAuditError, match="use --state"):
        holdings.find("FA-1")


def test_an_unfinished_run_that_is_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "x.json").write_bytes(DEEP)
    with pytest.raises(ForgetAuditError, match="broken off"):
        Unfinished.begin(tmp_path, "x")


def test_a_ledger_whose_schema_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(books.book().read_bytes().replace(b"CREATE TABLE", b"CREATE T\xa0BLE"))
    with pytest.raises(LedgerError, match="not a ledger, or damaged"):
        Ledger.open(path, create=False)
    found = verify_ledger(path, Trust())
    assert (found.exit_code, found.problems[0].what) == (1, "unreadable")


NOT_FINITE = ("1e999", "-1e999", "Infinity", "-Infinity", "NaN")


@pytest.mark.parametrize("text", NOT_FINITE)
def test_json_of_others_has_finite_numbers_alone(text: str, tmp_path: Path) -> None:
    document = f'{{"x": [{text}]}}'.encode()
    (tmp_path / "x.json").write_bytes(document)
    why = f"{text} is not a finite number"
    with pytest.raises(KeyFileError, match=why):
        trust_files.parse(document)
    for read in (
        lambda: strict_json.parse(document, "x"),
        lambda: check_proof(document, Trust()),
        lambda: witnesses.read(tmp_path / "x.json"),
    ):
        with pytest.raises(VerificationError, match=why):
            read()
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes(document)
    for read_folder in (hub_folders.read_config, hub_folders.normalisation):
        with pytest.raises(ModelError, match=why):
            read_folder(tmp_path)


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "+nan", "1e999"])
def test_toml_of_others_has_finite_numbers_alone(text: str, tmp_path: Path) -> None:
    path, why = tmp_path / "plan.toml", re.escape(f"{text} is not a finite number")
    for line in (f"training = {{lr = {text}}}", f"model = {{options = {{x = [{text}]}}}}"):
        path.write_text(line, "utf-8")
        with pytest.raises(PlanError, match=why):
            read_plan(path)
    path.write_text(f"max_age_days = {text}", "utf-8")
    with pytest.raises(policy.PolicyError, match=why):
        policy.load(path)
    with pytest.raises(UnknownName, match=why):
        choice(f"ssd {{alpha = {text}}}")
    with pytest.raises(CaseError, match=why):
        answers.read_setting(f"alpha={text}")


def test_a_passphrase_with_a_null_character_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key.p12"
    path.write_bytes(key_doors.pkcs12_files()[0])
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="without a null character"):
        find_key(str(path), lambda: f"{material.PASSPHRASE}\0")


def test_a_home_folder_of_no_possible_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", "a" * 5000)
    with pytest.raises(KeyFileError, match="File name too long"):
        trust_files.load()


@pytest.mark.parametrize(
    "given", ["²", "9" * 5000, "-1", "0"], ids=["raised", "long", "negative", "none"]
)
def test_a_number_of_threads_that_is_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert usable_threads() == cpu_count()


@pytest.mark.parametrize("text", ["-" * 100_000 + "1", "a." * 50_000 + "a"], ids=["minus", "dots"])
def test_code_beside_code_that_is_nested_too_deeply(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mended_above.py").write_text("def f():\n    import mended_beside\n", "utf-8")
    (tmp_path / "mended_beside.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mended_above", raising=False)
    import_module("mended_above")
    assert code_digest("mended_above") is None
    with pytest.raises(ModelError, match="cannot be read as Python"):
        own_files("mended_above")


def test_names_of_others_give_no_orders_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "a\x1b[2K\x1b[1APASS \x9b31m \x07\r \u202eSSAP\u2066 é\tn\n\u00a0\u202f!"
    shown = "a\\x1b[2K\\x1b[1APASS \\x9b31m \\x07\\r \\u202eSSAP\\u2066 é   n\n\u00a0\u202f!\n"
    console.say(text)
    console.complain(text)
    told = capsys.readouterr()
    for said in told:
        assert re.sub(r"\s+n", "\tn", said) == re.sub(r"\s+n", "\tn", shown)
