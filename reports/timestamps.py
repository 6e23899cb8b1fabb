"""Proof of time by an outside authority (RFC 3161), asked only where the user names one.

The authority sees a digest and nothing else. Its answer, a token, is checked without a network:
it says when the digest existed at the latest, and is believed if the authority's certificate
leads to a root the reader trusts for this.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from forget_audit.errors import ForgetAuditError, VerificationError
from forget_audit.reports.pyhanko_calls import context, quietly

PATIENCE = 20.0
DIGESTS = ("sha256", "sha384", "sha512")


class TimestampError(ForgetAuditError):
    """A timestamp server cannot be asked, or does not answer as it should."""


@dataclass(frozen=True)
class Timestamper:
    """A timestamp server; nothing is sent until something is to be stamped.

    Args:
        url: Beginning with https:// or http://; tokens are signed, so both are safe.
        patience: Seconds to wait for the answer.

    Raises:
        TimestampError: If the URL is of another kind.
    """

    url: str
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = (
                parts.scheme in ("https", "http") and bool(parts.hostname) and self.url.isascii()
            )
            parts.port  # noqa: B018  raises if it is no number
        except ValueError:
            usable = False
        if not usable or any(sign.isspace() for sign in self.url):
            raise TimestampError(
                f"expected the URL of a timestamp server, https://… or http://…; found {self.url!r}"
            )

    def client(self) -> Any:
        """Return pyHanko's client for this server; whatever goes wrong is a `TimestampError`."""
        from pyhanko.sign.timestamps import HTTPTimeStamper

        url = self.url

        class Client(HTTPTimeStamper):
            async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> Any:
                try:
                    return await super().async_timestamp(message_digest, md_algorithm)
                except TimestampError:
                    raise
                except Exception as error:
                    raise TimestampError(f"{url}: no timestamp ({_told(error)})") from error

            async def async_request_tsa_response(self, req: Any) -> Any:
                response = await super().async_request_tsa_response(req)
                refused = _refusal(response.contents)
                if refused:
                    raise TimestampError(f"{url}: refuses to give a timestamp ({refused})")
                return response

        return Client(self.url, timeout=self.patience)


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """What an intact token says.

    Args:
        time: When the data existed at the latest, in UTC.
        trusted: Whether the authority's certificate leads to one of the given roots.
    """

    time: datetime
    trusted: bool


def stamp(data: bytes, url: str) -> bytes:
    """Have `data` timestamped; the server sees its SHA-256 alone.

    Returns:
        The DER token.

    Raises:
        TimestampError: If there is none to be had, or it is for something else.
    """
    client = Timestamper(url).client()
    digest = hashlib.sha256(data).digest()
    token: bytes = quietly(lambda: asyncio.run(client.async_timestamp(digest, "sha256"))).dump()
    try:
        read(token, data, ())
    except VerificationError as error:
        raise TimestampError(f"{url}: {error}") from error
    return token


def check(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> datetime:
    """Return when `data` existed at the latest, by the word of an authority under `roots`.

    The authority's certificate is judged now: once it has ended, the token proves nothing more.

    Raises:
        VerificationError: If the token is malformed, altered, for other data, or its authority
            is not trusted.
    """
    found = read(token, data, roots)
    if not found.trusted:
        raise VerificationError(
            "the timestamp is by an authority that none of the roots vouches for"
        )
    return found.time


def read(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> Stamp:
    """Return what a token for `data` says, also if nobody vouches for its authority.

    Raises:
        VerificationError: If the token is malformed, altered or for other data.
    """
    try:
        return quietly(lambda: asyncio.run(_read(token, data, roots)))
    except VerificationError:
        raise
    except Exception as error:
        raise VerificationError(f"not a timestamp token ({type(error).__name__})") from error


async def _read(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> Stamp:
    from asn1crypto.cms import ContentInfo
    from pyhanko.sign.validation.generic_cms import validate_tst_signed_data
    from pyhanko.sign.validation.status import TimestampSignatureStatus

    signed = ContentInfo.load(token, strict=True)["content"]
    claimed = signed["encap_content_info"]["content"].parsed["message_imprint"]
    kind = claimed["hash_algorithm"]["algorithm"].native
    if kind not in DIGESTS:
        raise VerificationError(f"the timestamp is for a digest of the kind {kind!r}")
    expected = hashlib.new(kind, data).digest()
    found = await validate_tst_signed_data(signed, context(roots), lambda _: expected)
    status = TimestampSignatureStatus(**found)
    if not status.valid:
        raise VerificationError("the timestamp was altered: its signature is wrong")
    if claimed["hashed_message"].native != expected:
        raise VerificationError("the timestamp is for something else")
    if not status.intact:
        raise VerificationError("the timestamp was altered: its content is not what was signed")
    return Stamp(time=status.timestamp.astimezone(UTC), trusted=bool(status.trusted))


def _refusal(answer: bytes) -> str:
    """Return why an answer holds no token; pyHanko cannot read one that has none."""
    from asn1crypto.tsp import PKIStatusInfo

    status = PKIStatusInfo.load(answer)
    if status["status"].native == "granted":
        return ""
    words = [status["status"].native, *(status["status_string"].native or ())]
    return _line("; ".join([*words, *sorted(status["fail_info"].native or ())]))


def _told(error: Exception) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return _line(str(cause)) or type(cause).__name__


def _line(text: str) -> str:
    """Return a text that a server may have written as one short line."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()[:200]
