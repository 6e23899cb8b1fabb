"""`verify`: is this what was signed, by somebody who is believed, and do the numbers follow?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forget_audit.console import complain, say, say_json
from forget_audit.errors import ForgetAuditError

if TYPE_CHECKING:
    from forget_audit.types import Json

SUMMARIES = {
    0: "valid and signed by a trusted key",
    1: "INVALID",
    3: "valid, but the signer is not in the trust file",
    4: "genuine, but not to be relied on: ",
}
WORST_LAST = (0, 3, 4, 1)


def verify(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...")],
    trust: Annotated[Path | None, typer.Option(help="Trust file; yours if left out.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="What is asked beyond being genuine, a TOML file.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger file: which reports were superseded.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")] = False,
) -> None:
    """Check a report directory, PDF, HTML or attestation, and compute the verdict again.

    Exit code 0 valid and trusted, 1 invalid, 3 valid but signer unknown, 4 valid but expired,
    revoked, superseded, rejected or not what the policy asks.

    Example: forget-audit verify audit --trust trust.json
    """
    from forget_audit import trust as trust_files
    from forget_audit.ledger.ledger import Ledger
    from forget_audit.verdict import scoretable
    from forget_audit.verification import policy as deploy_policy
    from forget_audit.verification.verify import verify_path

    believed = trust_files.load(trust)
    asked = deploy_policy.load(policy) if policy else None
    try:
        book = Ledger.open(ledger, create=False) if ledger else None
    except ForgetAuditError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    worst = 0
    findings: list[Json] = []
    for path in paths:
        result = verify_path(path, believed, scoretable.recompute, ledger=book, policy=asked)
        worst = max(worst, result.exit_code, key=WORST_LAST.index)
        summary = SUMMARIES[result.exit_code]
        if result.exit_code == 4:
            summary += ", ".join(dict.fromkeys(
                check.code for check in result.checks
                if check.outcome in ("expired", "superseded", "mismatch", "rejected")
            ))  # fmt: skip
        findings.append({"path": str(path), "summary": summary, **result.as_json()})
    if as_json:
        say_json(findings)
    for found in findings if not as_json else ():
        for check in found["checks"]:
            where = f" {check['file']}" if check["file"] else ""
            say(f"{check['outcome']:<14}{check['name']}{where}: {check['detail']}")
        say(f"{found['path']}: {found['summary']}")
    raise typer.Exit(worst)
