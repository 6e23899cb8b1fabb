"""Whatever has the right form is read, or refused in words; what is read says one thing."""

import base64
import json
import string
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forget_audit import trust
from forget_audit.data import read_ids
from forget_audit.errors import CaseError, ForgetAuditError, PlanError, VerificationError
from forget_audit.keys.token_uris import TokenUri
from forget_audit.ledger import checkpoints
from forget_audit.ledger.proofs import check_proof
from forget_audit.plans.plan import check_plan
from forget_audit.plans.sections import SECTIONS
from forget_audit.reports import envelope, strict_json
from forget_audit.reports import evidence as evidence_file
from tests.fixtures.evidence import evidence

FEW = settings(
    max_examples=30, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
MANY = settings(FEW, max_examples=100)
WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
SCALARS = (
    st.none() | st.booleans() | WHOLE | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)
DOCUMENTS = st.dictionaries(st.text(max_size=8), TREES, max_size=6)


@MANY
@given(DOCUMENTS)
@example({"loss": 1e20, "other": 9007199254740992.0})
def test_what_is_canonical_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    assert strict_json.canonical(rfc8785.dumps(document), "x") == document
    spaced = json.dumps(document, indent=1).encode()
    if document:
        assert strict_json.parse(spaced, "x") == document


@MANY
@given(st.binary(max_size=60) | st.text(st.characters(), max_size=60).map(str.encode))
@example(b'{"\\ud800":1}')
@example(b'{"a":1,"a":1}')
@example(b'{"a":1e999}')
def test_bytes_are_one_document_or_none(data: bytes) -> None:
    try:
        document = strict_json.canonical(data, "x")
    except VerificationError:
        return
    assert rfc8785.dumps(document) == data


@MANY
@given(DOCUMENTS, st.sampled_from(["payload", "payloadType", "signatures", "x"]), TREES)
def test_envelopes_of_any_content(document: dict[str, Any], name: str, value: Any) -> None:
    entry = {"keyid": "0" * 64, "sig": "AAAA"}
    whole: Any = {"payload": "e30=", "payloadType": envelope.PAYLOAD_TYPE, "signatures": [entry]}
    assert envelope.parts(rfc8785.dumps(whole)) == (b"{}", "0" * 64, b"\x00\x00\x00")
    for made in ({**whole, name: value}, document):
        try:
            payload, keyid, signature = envelope.parts(rfc8785.dumps(made))
        except VerificationError:
            continue
        assert (keyid, len(signature)) == ("0" * 64, 3)
        assert isinstance(payload, bytes)


WORDS = st.text(string.ascii_letters + string.digits + "+/=-—. \n", max_size=30)


@MANY
@given(WORDS, st.integers(0, 10**16), st.binary(min_size=30, max_size=34), WORDS, st.binary())
def test_notes_have_one_form(
    origin: str, size: int, root: bytes, name: str, signature: bytes
) -> None:
    origin = origin or f"forget-audit.org/ledger/{'0' * 32}"
    encoded = [base64.b64encode(item).decode() for item in (root, signature)]
    text = f"{origin}\n{size}\n{encoded[0]}\n\n— {name or origin} {encoded[1]}\n"
    try:
        note = checkpoints.parse(text)
    except VerificationError:
        return
    assert text.startswith(note.text + "\n")
    assert note.signatures[0].name == (name or origin)
    assert (note.origin, note.size, note.root) == (origin, size, root)


PLACES = st.sampled_from(["", "request", "model", "statistics", "verdict", "report", "attacks"])


@FEW
@given(PLACES, st.text(max_size=8), TREES)
def test_evidence_with_something_else_in_it(place: str, name: str, value: Any) -> None:
    document: Any = json.loads(json.dumps(evidence()))
    inside = document[place] if place else document
    if isinstance(inside, list):
        inside.append(value)
    else:
        inside[name] = value
    try:
        evidence_file.read(rfc8785.dumps(document))
    except VerificationError:
        return
    assert place == "" or name in evidence()[place] or isinstance(inside, list)


FIELDS = {name: sorted(section.model_fields) for name, section in SECTIONS.items()}
TOML = st.recursive(
    st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=12)
    | st.sampled_from(["digits", "mlp", "scrub", "standard", "class", "instance", "html"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=4,
)  # fmt: skip
CHANGE = st.sampled_from([(s, f) for s, fields in FIELDS.items() for f in fields])
GOOD = {
    "request": {"reference": "R-1", "random": 30},
    "data": {"source": "digits", "train": 300, "test": 100},
    "model": {"architecture": "mlp", "options": {"hidden": [4]}},
    "method": {"name": "retrain"},
    "report": {"controller": "Test Ltd"},
}


@FEW
@given(st.lists(st.tuples(CHANGE, TOML), min_size=1, max_size=3))
def test_plans_with_any_value_in_any_key(changes: list[tuple[tuple[str, str], Any]]) -> None:
    tables: dict[str, Any] = json.loads(json.dumps(GOOD))
    for (section, field), value in changes:
        tables.setdefault(section, {})[field] = value
    with tempfile.TemporaryDirectory() as folder:
        refused = None
        try:
            plan = check_plan(tables, Path(folder))
        except PlanError as error:
            refused = error
        if refused is None:
            assert json.loads(json.dumps(plan.as_json()))
        else:
            assert all(problem.place and problem.message for problem in refused.problems)


@MANY
@given(DOCUMENTS, st.sampled_from(["keys", "format", "entries", "checkpoint", "since"]), TREES)
def test_trust_files_and_proofs_of_any_content(
    document: dict[str, Any], name: str, value: Any
) -> None:
    data = json.dumps({**document, name: value}).encode()
    with suppress(ForgetAuditError):
        assert trust.parse(data).keys == ()
    with pytest.raises(VerificationError):
        check_proof(data, trust.Trust())


@MANY
@given(st.text(string.printable, max_size=40))
def test_names_of_tokens(text: str) -> None:
    try:
        found = TokenUri.parse(f"pkcs11:object=a;{text}?module-path=/x.so")
    except ForgetAuditError:
        return
    assert found.wanted
    assert "pin-value" not in text


IDS = st.text(string.ascii_letters + string.digits + "-_.éя", min_size=1, max_size=8)


@MANY
@given(st.lists(IDS, min_size=1, max_size=12), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_lists_of_ids_are_read_as_they_were_written(ids: list[str], named: bool, end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids.csv"
        path.write_text(end.join(["id", *ids] if named else ids), encoding="utf-8", newline="")
        try:
            found = read_ids(path)
        except CaseError:
            assert len(set(ids)) < len(ids) or "id" in ids
            return
        assert found == tuple(ids) or "id" in ids
