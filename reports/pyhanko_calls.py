"""How pyHanko is called here: silently, with our own keys, and with the given roots alone."""

import asyncio
import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from forget_audit.keys.signing import SigningKey
from forget_audit.reports import signature_blob

T = TypeVar("T")
LONGEST_SIGNATURE = 1024
LOGGERS = ("pyhanko", "pyhanko_certvalidator")


def quietly(action: Callable[[], T]) -> T:
    """Run `action` without the library's logs and warnings: what matters we say in our own words.

    pyHanko starts event loops of its own, which Python refuses inside another one, such as that
    of a notebook; there the work is done in a thread.
    """
    with _silence():
        if not _inside_a_loop():
            return action()
        with ThreadPoolExecutor(max_workers=1) as threads:
            return threads.submit(action).result()


def signer(key: SigningKey) -> Any:
    """Return pyHanko's view of a key: it signs through `key.sign` alone, wherever the key is."""
    from asn1crypto.algos import SignedDigestAlgorithm
    from pyhanko.sign import attributes
    from pyhanko.sign.signers import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    mechanism = SignedDigestAlgorithm({"algorithm": f"sha256_{key.algorithm}"})

    class ByKey(Signer):
        async def async_sign_raw(
            self,
            data: bytes,
            digest_algorithm: str,  # noqa: ARG002  always SHA-256 here
            dry_run: bool = False,
        ) -> bytes:
            return bytes(LONGEST_SIGNATURE) if dry_run else key.sign(data)

    class Named(attributes.CMSAttributeProvider):
        attribute_type = signature_blob.CERTIFICATES

        async def build_attr_value(self, dry_run: bool = False) -> Any:  # noqa: ARG002
            return signature_blob.names(key.chain)

    class Signed(attributes.SignedAttributeProviderSpec):
        def signed_attr_providers(self, *_: Any, **__: Any) -> list[Any]:
            return [Named()]

    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple([certificate(item) for item in key.chain[1:]])
    made = ByKey(
        signing_cert=certificate(key.chain[0]), cert_registry=store, signature_mechanism=mechanism
    )
    made.signed_attr_prov_spec = Signed()
    return made


def certificate(item: x509.Certificate) -> Any:
    """Return asn1crypto's view of a certificate."""
    from asn1crypto.x509 import Certificate

    return Certificate.load(item.public_bytes(Encoding.DER))


def context(roots: Sequence[x509.Certificate], moment: datetime | None = None) -> Any:
    """Return what certificates are judged by: `roots` alone, now or at `moment`, no fetching."""
    from pyhanko_certvalidator import ValidationContext

    trusted = [certificate(root) for root in roots]
    return ValidationContext(trust_roots=trusted, allow_fetching=False, moment=moment)


def preload(reader: Any) -> None:
    """Read every object stream of a PDF once.

    pyHanko reads a stream from its start again for each object in it. A report has thousands in
    one, and comparing two states of the file needs them all.
    """
    from pyhanko.pdf_utils.generic import IndirectObject, Reference, StreamObject, read_object
    from pyhanko.pdf_utils.xref import ObjStreamRef

    streams = {ref for i in range(reader.total_revisions)
               for ref in reader.xrefs.object_streams_used_in(i)}  # fmt: skip
    for place in streams:
        stream = reader.get_object(place)
        data, first = stream.data, int(stream["/First"])
        numbers = [int(number) for number in data[:first].split()]
        source = io.BytesIO(data)
        for index, (identity, offset) in enumerate(zip(numbers[::2], numbers[1::2], strict=True)):
            reference = Reference(identity, 0, reader)
            if reader.xrefs[reference] != ObjStreamRef(place.idnum, index):
                continue
            source.seek(first + offset)
            found = read_object(source, reference)
            if not isinstance(found, StreamObject | IndirectObject):
                reader.cache_indirect_object(0, identity, found)


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [item.level for item in loggers]
    for item in loggers:
        item.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)
