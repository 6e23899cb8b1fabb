"""`gate` and `bundle`: the check before a deployment, and envelopes for Sigstore's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forget_audit.console import complain, say, say_bytes, say_json
from forget_audit.errors import ForgetAuditError, PlanError
from forget_audit.whole_files import write_output

AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


def gate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="The file or folder to be deployed.")
    ],
    attestation: Annotated[
        list[Path], typer.Option(help="audit.dsse.json or a report folder. Can be repeated.")
    ],
    trust: Annotated[Path, typer.Option(help="Trust file: whose reports are believed.")],
    policy: Annotated[
        Path | None, typer.Option(help="What is asked beyond a trusted PASS, a TOML file.")
    ] = None,
    max_age: Annotated[
        int | None, typer.Option(min=1, help="Days after which a report is too old.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger file: which reports were superseded.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a model file or folder may be deployed. Exit code 0 deploy, 1 refuse, 2 usage.

    Example: forget-audit gate model.safetensors --attestation audit --trust trust.json
    """
    from forget_audit import trust as trust_files
    from forget_audit.deployment import gating
    from forget_audit.ledger.ledger import Ledger
    from forget_audit.verification import policy as deploy_policy

    try:
        believed = trust_files.load(trust)
        asked = deploy_policy.load(policy) if policy else None
        book = Ledger.open(ledger, create=False) if ledger else None
    except PlanError as error:
        complain(f"{policy} has {len(error.problems)} problem(s):")
        for problem in error.problems:
            complain(f"  {problem}")
        raise typer.Exit(2) from error
    except ForgetAuditError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    decision = gating.gate(model, attestation, believed, policy=asked, max_age=max_age, ledger=book)
    if as_json:
        say_json(decision.as_json())
    else:
        for check in decision.checks:
            say(f"{check.outcome:<10}{check.name:<13}{check.file}: {check.detail}")
        word = "DEPLOY" if decision.deploy else "REFUSE"
        say(f"{word} {decision.model} ({decision.code}): {decision.reason}")
        if decision.sha256:
            say(f"sha256 {decision.sha256}")
    raise typer.Exit(0 if decision.deploy else 1)


def bundle(
    envelope: Annotated[Path, typer.Argument(metavar="ENVELOPE", help="Such as audit.dsse.json.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the bundle goes; standard output if left out.")
    ] = None,
) -> None:
    """Wrap a signed envelope as a Sigstore bundle, for cosign and tools like it.

    Example: forget-audit bundle audit/audit.dsse.json --out audit.sigstore.json
    """
    from forget_audit.reports import reading, sigstore

    try:
        data = sigstore.bundle(reading.read(envelope))
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}")
        raise typer.Exit(2) from error
    except ForgetAuditError as error:
        complain(f"{envelope}: {error}")
        raise typer.Exit(4) from error
    if out is None:
        say_bytes(data + b"\n")
    else:
        write_output(out, data)
        say(str(out))
