"""The published schema, and that our reader of it agrees with an independent one."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from forget_audit.digests import canonical_json
from forget_audit.errors import VerificationError
from forget_audit.reports import evidence as evidence_file
from tests.fixtures.evidence import evidence

OUTCOMES = ("PASS", "FAIL", "INCONCLUSIVE")
WRONG: tuple[Any, ...] = (None, -1, "text", [None])


@pytest.fixture(scope="module")
def independent() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is missing")
    jsonschema.Draft202012Validator.check_schema(evidence_file.schema())
    return jsonschema.Draft202012Validator(evidence_file.schema())


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_real_evidence_fits(outcome: str, independent: Any) -> None:
    document = evidence(outcome)
    assert evidence_file.problems(document) == []
    independent.validate(document)
    assert evidence_file.read(canonical_json(document)) == document


def places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield container and key of the values in `value`; of a list only the first."""
    items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:1]
    for key, item in items:
        yield value, key
        if isinstance(item, (dict, list)) and depth < 6:
            yield from places(item, depth + 1)


def test_every_wrong_value_is_judged_like_an_independent_reader(independent: Any) -> None:
    document = copy.deepcopy(evidence())
    document["attacks"] = document["attacks"][1:2]
    document["statistics"] = document["statistics"][:1]
    for line in document["attacks"][0]["series"]["roc"].values():
        line["x"], line["y"] = [0.0], [0.0]
    compared = refused = 0
    for container, key in list(places(document)):
        kept = container[key]
        for wrong in WRONG:
            if wrong == kept:
                continue
            container[key] = wrong
            ours, theirs = evidence_file.problems(document) == [], independent.is_valid(document)
            assert ours <= theirs, (key, wrong)
            if not theirs:
                assert not ours, (key, wrong)
                refused += 1
            compared += 1
        container[key] = kept
        if isinstance(container, dict):
            del container[key]
            assert (evidence_file.problems(document) != []) >= (not independent.is_valid(document))
            container[key] = kept
    assert compared > 700
    assert refused > 550


def test_a_required_test_must_be_there() -> None:
    document = evidence()
    document["battery"]["required"] = ["rho_p", "probe"]
    assert evidence_file.problems(document) == [
        "evidence.battery.required: probe is not among the statistics"
    ]


def test_names_occur_once() -> None:
    document = evidence()
    document["statistics"] += document["statistics"][:1]
    assert evidence_file.problems(document) == ["evidence.statistics: a name occurs twice"]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"3", b"{}", b"\xff", b'{"a":' * 50_000, b'{ "schema": 1}']
)
def test_what_is_no_evidence_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        evidence_file.read(data)
