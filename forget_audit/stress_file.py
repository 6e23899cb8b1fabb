"""The result of a stress test, as it is read again to become part of a report."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from forget_audit.errors import VerificationError
from forget_audit.finite import read_json
from forget_audit.types import Json

LARGEST = 4 * 2**20


def read_stress(path: Path) -> Json:
    """Read `stress.json` and check it against its published schema.

    Raises:
        VerificationError: If it cannot be read, or is something else.
    """
    try:
        if path.exists() and not path.is_file():
            raise VerificationError(f"{path.name} is no regular file")
        if path.stat().st_size > LARGEST:
            raise VerificationError(f"{path.name} is larger than any result of a stress test")
        text = path.read_text("utf-8")
        document = read_json(text)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{path.name} is not JSON: {error}") from error
    schema = json.loads((files("forget_audit.reports") / "schemas/stress-1.json").read_bytes())
    wrong = best_match(Draft202012Validator(schema).iter_errors(document))
    if wrong is not None:
        raise VerificationError(
            f"{path.name}: expected a result of `forget-audit stress`; {wrong.json_path}: "
            f"{wrong.message[:200]}"
        )
    found: Json = document
    return found
