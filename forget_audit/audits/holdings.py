"""What an audit keeps of the forgotten people outside its report, so that it can be destroyed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from forget_audit.errors import ForgetAuditError
from forget_audit.finite import read_json
from forget_audit.keys.signing import home
from forget_audit.types import Json
from forget_audit.whole_files import write_whole

SECRETS, MODELS = "secrets", "models"


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Where things are that a report does not hold.

    Args:
        report: Id of the report.
        secret: File with the secret of the pseudonyms.
        models: Remembered models that were trained on what was to be forgotten.
    """

    report: str
    secret: Path
    models: tuple[Path, ...]

    @property
    def begun(self) -> Path:
        """File that stands where a purge began and did not come to its end."""
        return self.secret.with_suffix(".purging")

    @property
    def missing(self) -> int:
        """How many of the models are no longer there."""
        return sum(not model.is_file() for model in self.models)

    def refuse_elsewhere(self) -> None:
        """Refuse to destroy what is not there, and would stay wherever it is.

        Raises:
            ForgetAuditError: If there is no secret, and no purge that broke off.
        """
        if not self.secret.is_file() and not self.begun.is_file():
            raise ForgetAuditError(
                f"the secret of {self.report} is not at {self.secret}, so nothing was destroyed; "
                "if the folder .forget-audit was moved or copied, name it with --state"
            )

    def read_secret(self) -> bytes:
        """Return the secret of the pseudonyms.

        Raises:
            ForgetAuditError: If it was purged or lost.
        """
        try:
            return self.secret.read_bytes()
        except OSError as error:
            raise ForgetAuditError(
                f"the secret of {self.report} cannot be read ({error.strerror}); after a purge "
                "pseudonyms can no longer be linked to people"
            ) from error


def keep(report: str, state: Path, secret: bytes, models: tuple[Path, ...]) -> Holdings:
    """Keep the secret of an audit apart from its report, and remember what else is held.

    Args:
        report: Id of the report.
        state: Folder of the audit's own files.
        secret: Of the pseudonyms.
        models: Remembered models that were trained on what was to be forgotten.
    """
    path = state.resolve() / SECRETS / f"{report}.key"
    write_whole(path, secret)
    found = Holdings(report=report, secret=path, models=tuple(m.resolve() for m in models))
    document = {"secret": str(path), "models": [str(model) for model in found.models]}
    write_whole(_register(report), json.dumps(document, indent=2).encode() + b"\n")
    return found


def find(report: str, state: Path | None = None) -> Holdings:
    """Return what an audit holds.

    Args:
        report: Id of the report.
        state: Folder of the audit's own files, if the register of this account does not know the
            report: all models remembered there count then.

    Raises:
        ForgetAuditError: If neither is known.
    """
    if state is not None:
        models = tuple(sorted((state / MODELS).glob("*.safetensors")))
        return Holdings(report=report, secret=state / SECRETS / f"{report}.key", models=models)
    try:
        document: Json = read_json(_register(report).read_bytes())
        named: object = document["models"]
        if not isinstance(named, list):
            raise TypeError("expected a list of models")  # noqa: TRY301  told below
        secret, *held = (_path(name) for name in (document["secret"], *named))
        return Holdings(report=report, secret=secret, models=tuple(held))
    except OSError as error:
        raise ForgetAuditError(
            f"this account did not make {report}; name the folder .forget-audit beside its plan "
            "with --state"
        ) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ForgetAuditError(f"{_register(report)}: cannot be read; use --state") from error


def _path(name: object) -> Path:
    """Return a path that a file system can be asked about.

    Raises:
        TypeError: If it is no text.
        ValueError: If no file can be called so.
    """
    if not isinstance(name, str):
        raise TypeError("expected a path")
    if not name or b"\0" in name.encode():
        raise ValueError("expected a path, found an empty one or a zero byte")
    return Path(name)


def forget(held: Holdings) -> None:
    """Drop the register's entry of a report whose holdings are gone."""
    _register(held.report).unlink(missing_ok=True)
    held.begun.unlink(missing_ok=True)


def _register(report: str) -> Path:
    return home() / "runs" / f"{report}.json"
