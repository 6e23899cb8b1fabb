"""A software token (SoftHSM) with keys and certificates, made once a test run."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.keys.material import issued, private

PIN, LABEL = "4321-8765", "audit token"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
MODULE = next(filter(os.path.exists, MODULES), "")
needs_token = pytest.mark.skipif(
    not (MODULE and shutil.which("softhsm2-util") and find_spec("pkcs11")),
    reason="needs a software token: the package softhsm2, and python-pkcs11",
)


def uri(thing: str, token: str = LABEL) -> str:
    return f"pkcs11:token={token.replace(' ', '%20')};{thing}?module-path={MODULE}"


@cache
def token() -> str:
    """Make the token and return the file that configures it: one for the whole process."""
    folder = Path(tempfile.mkdtemp(prefix="forget-audit-token-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n"
        "log.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    for label in (LABEL, "another"):
        call("--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN)
    for number, kind in (("01", "p256"), ("02", "rsa"), ("03", "p384")):
        put(folder / f"{kind}.pem", kind, f"signer-{kind}", number)
    put(folder / "bare.pem", "p256", "bare", "04")
    put(folder / "twin.pem", "rsa", "bare", "05")
    _certificates()
    return str(configuration)


def put(path: Path, kind: str, label: str, number: str) -> None:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(private(kind).private_bytes(serialization.Encoding.PEM, *form))
    call("--import", str(path), "--token", LABEL, "--label", label, "--id", number, "--pin", PIN)


def call(*arguments: str) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)


def _certificates() -> None:
    """Put the certificates of the P-256 and RSA keys and of their issuers into the token."""
    import pkcs11
    from pkcs11 import Attribute, ObjectClass

    found = next(t for t in pkcs11.lib(MODULE).get_tokens() if t.label == LABEL)
    with found.open(user_pin=PIN, rw=True) as session:
        items = [(b"\x02", issued("rsa")[0]), *((b"", item) for item in issued("p256")[::-1])]
        for number, item in items:
            der = item.public_bytes(serialization.Encoding.DER)
            subject = item.subject.public_bytes()
            session.create_object({
                Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.CERTIFICATE_TYPE: 0,
                Attribute.TOKEN: True, Attribute.ID: number, Attribute.VALUE: der,
                Attribute.SUBJECT: subject, Attribute.LABEL: "certificate",
            })  # fmt: skip
