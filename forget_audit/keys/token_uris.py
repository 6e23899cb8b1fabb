"""Names of keys in tokens: `pkcs11:` URIs (RFC 7512).

The PIN is never part of one: command lines are readable by every user of a machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from forget_audit.errors import KeyFileError

SCHEME = "pkcs11:"
PIN = "FORGET_AUDIT_PIN"
MODULE = "FORGET_AUDIT_PKCS11_MODULE"
OF_TOKEN = ("token", "serial", "manufacturer", "model", "slot-id")
OF_KEY = ("object", "id", "type")

_FIELD = re.compile(r"([a-z-]+)=((?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/&?|]|%[0-9A-Fa-f]{2})*)")


@dataclass(frozen=True, kw_only=True)
class TokenUri:
    """Which key of which token, through which module.

    Args:
        text: The URI.
        wanted: What is asked for, by the names of RFC 7512; bytes after decoding.
        module: File of the PKCS#11 module.
    """

    text: str
    wanted: Mapping[str, bytes]
    module: str

    @staticmethod
    def parse(text: str) -> TokenUri:
        """Read a URI such as `pkcs11:token=audit;object=signer?module-path=/usr/lib/x.so`.

        Raises:
            KeyFileError: If it is malformed, asks for something unknown, holds a PIN, or no module
                is named, neither there nor in the environment.
        """
        if "pin-value" in text or "pin-source" in text:
            raise KeyFileError(
                f"leave the PIN out of the URI: it is asked for, or read from the variable {PIN}"
            )
        path, _, query = text.removeprefix(SCHEME).partition("?")
        wanted = _fields(path, ";", (*OF_TOKEN, *OF_KEY))
        options = _fields(query, "&", ("module-path",))
        if wanted.pop("type", b"private") != b"private":
            raise KeyFileError("a key that signs is of the type private; leave out type=")
        if not {"object", "id"} & set(wanted):
            raise KeyFileError(
                "expected object= or id= in the pkcs11 URI, the label or id of a key"
            )
        module = os.fsdecode(options.get("module-path", b"")) or os.environ.get(MODULE)
        if not module:
            raise KeyFileError(
                "expected the file of the PKCS#11 module: end the URI with ?module-path=FILE, or "
                f"set {MODULE}"
            )
        return TokenUri(text=text, wanted=wanted, module=module)


def _fields(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator) if text else ():
        match = _FIELD.fullmatch(part)
        if match is None:
            raise KeyFileError(
                f"not a pkcs11 URI (RFC 7512): {part!a} is no name=value; write "
                "spaces and letters beyond a to z as %XX"
            )
        name = match[1]
        if name not in known or name in found:
            raise KeyFileError(
                f"not a usable pkcs11 URI: expected {', '.join(known)}, each once; found {name}"
            )
        found[name] = unquote_to_bytes(match[2])
    return found
