"""Reading JSON that others may have made: bounded, without surprises, never a traceback."""

import json
from typing import Any

import rfc8785

from forget_audit.errors import VerificationError
from forget_audit.finite import number

LARGEST = 64 * 1024 * 1024
EXACT = 2**53  # RFC 8785 knows no other numbers than double precision ones


def parse(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `data`.

    Names that occur twice, numbers that are not finite, and anything that is not UTF-8 are
    refused: two readers must never see two different documents.

    Raises:
        VerificationError: If it is not one such object.
    """
    if len(data) > LARGEST:
        raise VerificationError(f"{what}: larger than {LARGEST // 2**20} MiB")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_float=number,
            parse_constant=number,
            parse_int=_number,
        )
    except RecursionError as error:
        raise VerificationError(f"{what}: nested too deeply") from error
    except (ValueError, OverflowError) as error:
        raise VerificationError(f"{what}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise VerificationError(f"{what}: expected a JSON object")
    return value


def canonical(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `data` after checking that its bytes are the canonical ones.

    Raises:
        VerificationError: If they are not.
    """
    value = parse(data, what)
    try:
        same = rfc8785.dumps(value) == data
    except (rfc8785.CanonicalizationError, ValueError, RecursionError) as error:
        raise VerificationError(f"{what}: not canonical JSON ({error})") from error
    if not same:
        raise VerificationError(f"{what}: not canonical JSON (RFC 8785)")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return value


def _number(text: str) -> int | float:
    """Return what digits stand for: beyond 2^53 a float, as it was before it was written."""
    value = int(text)
    return value if abs(value) < EXACT else float(value)
