"""Proofs of time: asked of a real authority on this machine, checked by openssl and by us."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, tsp

from forget_audit.errors import VerificationError
from forget_audit.reports.pdf_signature import countersign, sign, verify_pdf
from forget_audit.reports.timestamps import Timestamper, TimestampError, check, read, stamp
from tests.fixtures.pdfs import PLACES, issuer, reviewer, unsigned
from tests.fixtures.programs import needs, say
from tests.fixtures.timestamp_server import REPLY, Answer, Authority, authority

pytestmark = needs("openssl", "openssl")
DATA = b"the head of a ledger"


@pytest.fixture(scope="module")
def running() -> Iterator[Authority]:
    with authority() as made:
        yield made


@pytest.fixture
def tsa(running: Authority) -> Iterator[Authority]:
    running.queries.clear()
    yield running
    running.answer = running.stamped


@pytest.fixture(scope="module")
def token(running: Authority) -> bytes:
    return stamp(DATA, running.url)


def near(moment: datetime | None) -> bool:
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def test_the_authority_sees_a_digest_and_nothing_else(tsa: Authority) -> None:
    made = stamp(DATA, tsa.url)
    (query,) = tsa.queries
    asked = tsp.TimeStampReq.load(query)
    assert asked["message_imprint"]["hashed_message"].native == hashlib.sha256(DATA).digest()
    assert len(query) < 100
    moment = check(made, DATA, [tsa.root])
    assert near(moment)
    assert moment.tzinfo == UTC


def test_openssl_accepts_the_token(token: bytes, tsa: Authority, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(token)
    for content, wanted in ((DATA, "Verification: OK"), (DATA + b"x", "message imprint mismatch")):
        (tmp_path / "data").write_bytes(content)
        _, said = say(
            "openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "data", "-CAfile",
            str(tsa.folder / "root.pem"), folder=tmp_path,
        )  # fmt: skip
        assert wanted in said


def test_it_proves_nothing_about_other_data_or_to_others(token: bytes, tsa: Authority) -> None:
    with pytest.raises(VerificationError, match="for something else"):
        check(token, DATA + b"x", [tsa.root])
    for roots in ([], [issuer().chain[-1]]):
        with pytest.raises(VerificationError, match="none of the roots vouches for"):
            check(token, DATA, roots)
        assert not read(token, DATA, roots).trusted


def test_broken_tokens_are_refused(token: bytes, tsa: Authority) -> None:
    broken = [b"", b"x", b"\x30\x80", token[:-1], token + b"\x00", token[:400], DATA * 99]
    broken += [issuer().sign(DATA), cms.ContentInfo({"content_type": "data"}).dump()]
    for data in broken:
        with pytest.raises(VerificationError, match="timestamp") as caught:
            check(data, DATA, [tsa.root])
        assert "\n" not in str(caught.value)


def test_altered_tokens_are_told_from_those_by_strangers(token: bytes) -> None:
    info = cms.ContentInfo.load(token)["content"]
    signature = bytes(info["signer_infos"][0]["signature"].native)
    content = bytes(info["encap_content_info"]["content"].contents)
    assert not read(token, DATA, []).trusted
    for part, place in ((signature, len(signature) - 1), (content, content.index(b"Z") - 1)):
        changed = part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :]
        assert token.count(part) == 1
        with pytest.raises(VerificationError, match="altered"):
            read(token.replace(part, changed), DATA, [])


def test_a_changed_token_says_no_other_time(token: bytes, tsa: Authority) -> None:
    moment = check(token, DATA, [tsa.root])
    accepted = 0
    for place in range(0, len(token), 9):
        changed = bytearray(token)
        changed[place] ^= 1
        try:
            assert check(bytes(changed), DATA, [tsa.root]) == moment
        except VerificationError:
            continue
        accepted += 1
    assert accepted < len(token) / 9 / 2


@pytest.mark.parametrize(
    "url",
    ["", "tsa.example.org", "ftp://tsa.example.org", "file:///etc/passwd", "https://", "http://:80",
     "http://a b/", "http://a:x/", "http://a:99999/", "https://é.example/", "http://a/\r\nX: y"],
)  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(TimestampError, match="expected the URL of a timestamp server") as caught:
        Timestamper(url)
    assert "\n" not in str(caught.value)


def plain(status: int, body: bytes, kind: str = REPLY, **more: str) -> Callable[[bytes], Answer]:
    return lambda _: (status, {"Content-Type": kind, **more}, body)


def slow(query: bytes) -> Answer:
    time.sleep(0.4)
    return plain(200, b"")(query)


def refusal() -> bytes:
    """An answer with a status and no token, which is how servers refuse."""
    words = ["no\nservice \x1b[31m today"]
    status = {"status": "rejection", "status_string": words, "fail_info": {"bad_request"}}
    info = bytes(tsp.PKIStatusInfo(status).dump())
    return b"\x30" + bytes([len(info)]) + info


BAD: dict[str, tuple[Callable[[bytes], Answer], str]] = {
    "an error page": (plain(500, b"<html>"), "500"),
    "a web page": (plain(200, b"<html>", "text/html"), "content type"),
    "garbage": (plain(200, b"\x00\xff" * 50), "no timestamp"),
    "nothing": (plain(200, b""), "no timestamp"),
    "a refusal": (plain(200, refusal()), "no service .* today; bad_request"),
    "a redirection": (plain(302, b"", Location="file:///etc/passwd"), "no timestamp"),
    "late": (slow, "no answer in time"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_server_is_told_in_one_line(tsa: Authority, case: str) -> None:
    tsa.answer, reason = BAD[case]
    service = Timestamper(tsa.url, patience=0.2 if case == "late" else 20)
    with pytest.raises(TimestampError, match=reason) as caught:
        sign(unsigned(), issuer(), PLACES, "x", stamp=service)
    said = str(caught.value)
    assert said.startswith(tsa.url)
    assert said.isprintable()
    assert len(said) < 400


def test_nobody_at_the_other_end_is_told_in_one_line() -> None:
    with pytest.raises(TimestampError, match=r"127\.0\.0\.1:9") as caught:
        stamp(DATA, "http://127.0.0.1:9/")
    assert str(caught.value).isprintable()


def test_an_answer_to_another_question_is_refused(tsa: Authority) -> None:
    stamp(b"another question", tsa.url)
    old = tsa.stamped(tsa.queries[-1])
    tsa.answer = lambda _: old
    with pytest.raises(TimestampError, match="no timestamp"):
        stamp(DATA, tsa.url)

    def same_nonce_other_data(query: bytes) -> Answer:
        asked = tsp.TimeStampReq.load(query)
        asked["message_imprint"]["hashed_message"] = hashlib.sha256(b"other").digest()
        return tsa.stamped(asked.dump(force=True))

    tsa.answer = same_nonce_other_data
    with pytest.raises(TimestampError, match="for something else"):
        stamp(DATA, tsa.url)
    with pytest.raises(VerificationError, match="for something else"):
        sign(unsigned(), issuer(), PLACES, "x", stamp=Timestamper(tsa.url))


@pytest.fixture(scope="module")
def stamped(running: Authority) -> tuple[bytes, bytes]:
    service = Timestamper(running.url)
    once = sign(unsigned(), issuer(), PLACES, "Issues", stamp=service)
    return once, countersign(once, reviewer(), "Approves", stamp=service)


def test_a_stamped_pdf_proves_its_time_to_those_who_trust_the_authority(
    stamped: tuple[bytes, bytes], tsa: Authority
) -> None:
    roots, reviewers = [issuer().chain[-1]], [reviewer().chain[-1]]
    for data, twice in zip(stamped, (False, True), strict=True):
        for believed in ([tsa.root], [], roots):
            found = verify_pdf(data, roots, reviewers=reviewers, timestamps=believed)
            proven = believed == [tsa.root]
            assert (found.valid, found.trusted, found.reason) == (True, True, "")
            assert near(found.time) == proven
            assert near(found.reviewer_time) == (proven and twice)
    assert not tsa.queries  # nothing is fetched


def test_the_reviewers_stamp_proves_the_first_signature_too(tsa: Authority) -> None:
    once = sign(unsigned(), issuer(), PLACES, "Issues")
    twice = countersign(once, reviewer(), "Approves", stamp=Timestamper(tsa.url))
    assert verify_pdf(once, [], timestamps=[tsa.root]).time is None
    found = verify_pdf(twice, [], timestamps=[tsa.root])
    assert found.time == found.reviewer_time
    assert near(found.time)


def test_certificates_are_judged_at_the_proven_time(
    stamped: tuple[bytes, bytes], tsa: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=3652 + 30)

    monkeypatch.setattr("pyhanko_certvalidator.context.datetime", Later)
    roots, reviewers = [issuer().chain[-1]], [reviewer().chain[-1]]
    for data in stamped:
        now = verify_pdf(data, roots, reviewers=reviewers)
        assert (now.valid, now.trusted, now.reviewer_trusted) == (True, False, False)
        assert now.reason.startswith("the certificate of the issuer")
        then = verify_pdf(data, roots, reviewers=reviewers, timestamps=[tsa.root])
        assert (then.trusted, then.reviewer_trusted) == (True, data is stamped[1])


@needs("pdfsig", "poppler-utils")
def test_poppler_and_openssl_accept_stamped_signatures(
    stamped: tuple[bytes, bytes], tsa: Authority, tmp_path: Path
) -> None:
    data = stamped[1]
    (tmp_path / "a.pdf").write_bytes(data)
    _, said = say("pdfsig", "-nocert", str(tmp_path / "a.pdf"))
    assert said.count("Signature is Valid") == 2
    places = re.findall(rb"/ByteRange\s*\[0 (\d+) (\d+) ", data)
    for start, after in places:
        blob = cms.ContentInfo.load(bytes.fromhex(data[int(start) + 1 : int(after) - 1].decode()))
        info = blob["content"]["signer_infos"][0]
        (tmp_path / "signature").write_bytes(info["signature"].native)
        (tmp_path / "token").write_bytes(info["unsigned_attrs"][0]["values"][0].dump())
        _, said = say(
            "openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "signature",
            "-CAfile", str(tsa.folder / "root.pem"), folder=tmp_path,
        )  # fmt: skip
        assert "Verification: OK" in said
    assert len(places) == 2
