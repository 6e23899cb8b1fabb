"""`report`, `review`, `purge` and `proof`: what is done with a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forget_audit.console import ask_passphrase, complain, confirmed, say, say_json

proof = typer.Typer(
    help="Show one person that their record was in the forget set.", no_args_is_help=True
)
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished audit.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="Key folder, .p12 file or pkcs11: address; yours if left out."),
]
PassphraseEnv = Annotated[
    str | None, typer.Option("--passphrase-env", help="Variable that holds the passphrase.")
]
PassphraseFd = Annotated[
    int | None, typer.Option("--passphrase-fd", help="Open file that holds the passphrase.")
]
LedgerOption = Annotated[
    Path | None, typer.Option("--ledger", help="Ledger file; yours if left out.")
]
TimestampOption = Annotated[
    str | None, typer.Option("--timestamp", help="Address of a time stamping authority.")
]
StateFolder = Annotated[
    Path | None, typer.Option("--state", help="Folder .forget-audit beside the plan.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


def report(
    run: RunFolder,
    formats: Annotated[str, typer.Option("--format", help="html, pdf or both.")] = "html,pdf",
    language: Annotated[str | None, typer.Option(help="en, de or fr.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Another folder; RUN itself is replaced if left out.")
    ] = None,
    timestamp: TimestampOption = None,
    key: KeyOption = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_fd: PassphraseFd = None,
    ledger: LedgerOption = None,
    as_json: AsJson = False,
) -> None:
    """Render and sign the report of a finished audit again, from its evidence.

    Example: forget-audit report audit --language de --out audit-de
    """
    from forget_audit.audits import reissue
    from forget_audit.keys.sources import asker, find_key
    from forget_audit.ledger.ledger import Ledger
    from forget_audit.reports.folders import refuse_foreign
    from forget_audit.reports.languages import LANGUAGES
    from forget_audit.reports.release import Terms

    wanted = [name.strip() for name in formats.split(",")]
    if set(wanted) - {"html", "pdf"} or language not in (None, *LANGUAGES):
        complain(f"--format is html, pdf or html,pdf; --language is {', '.join(LANGUAGES)}")
        raise typer.Exit(2)
    target = out or run
    refuse_foreign(target)
    signer = find_key(key, asker(passphrase_env, passphrase_fd, ask_passphrase))
    terms = Terms(
        formats=wanted, language=language, ledger=Ledger.open(ledger), timestamp=timestamp
    )
    with reissue.working_on(run, target) as opened:
        released = reissue.render_again(opened, signer, target, terms)
    _told(released.paths, as_json=as_json)
    if released.pdf_missing:
        complain(released.pdf_missing)


def review(
    run: RunFolder,
    key: Annotated[str, typer.Option(help="The reviewer's own key; not the one that issued it.")],
    decision: Annotated[str, typer.Option(help="approved or rejected.")],
    name: Annotated[str | None, typer.Option(help="As in the report if left out.")] = None,
    role: Annotated[str | None, typer.Option(help="As in the report if left out.")] = None,
    independence: Annotated[str | None, typer.Option(help="As in the report if left out.")] = None,
    remarks: Annotated[str, typer.Option(help="For readers of the report.")] = "",
    timestamp: TimestampOption = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_fd: PassphraseFd = None,
    ledger: LedgerOption = None,
    as_json: AsJson = False,
) -> None:
    """Add a reviewer's signature to a finished audit: to its PDF, and as a statement.

    Example: forget-audit review audit --key my-key --decision approved
    """
    from forget_audit.audits import reissue
    from forget_audit.keys.sources import asker, find_key
    from forget_audit.ledger.ledger import Ledger

    opened = reissue.opened(run)
    declared = opened.evidence.get("parties", {}).get("reviewer") or {}
    said = {
        "name": name or declared.get("name"),
        "role": role or declared.get("role"),
        "independence": independence or declared.get("independence"),
    }
    missing = [f"--{option}" for option, value in said.items() if not value]
    if missing or decision not in ("approved", "rejected"):
        complain(f"--decision is approved or rejected; the plan names no reviewer: {missing}")
        raise typer.Exit(2)
    signer = find_key(key, asker(passphrase_env, passphrase_fd, ask_passphrase))
    opinion = reissue.Review(decision=decision, remarks=remarks, **said)  # type: ignore[arg-type]
    with reissue.working_on(run) as opened:
        paths = reissue.review(
            opened, signer, opinion, ledger=Ledger.open(ledger), timestamp=timestamp
        )
    _told(paths, as_json=as_json)


def purge(
    run: RunFolder,
    state: StateFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    key: KeyOption = None,
    passphrase_env: PassphraseEnv = None,
    passphrase_fd: PassphraseFd = None,
    ledger: LedgerOption = None,
    as_json: AsJson = False,
) -> None:
    """Destroy what the audit itself kept of the forgotten people; the report stays valid.

    Scores, the secret of the pseudonyms, and remembered models that were trained on the records.

    Example: forget-audit purge audit
    """
    from forget_audit.audits import holdings, reissue, runs
    from forget_audit.keys.sources import asker, find_key
    from forget_audit.ledger.ledger import Ledger

    opened = reissue.opened(run)
    held = holdings.find(opened.identifier, state)
    held.refuse_elsewhere()
    missing = f" ({held.missing} of them are gone already)" if held.missing else ""
    complain(
        f"{opened.identifier}: scores, secret and {len(held.models)} remembered models{missing} "
        "will be destroyed; the verdict can then no longer be computed again, nor a proof be made"
    )
    if not yes and not confirmed("destroy them?"):
        raise typer.Exit(2)
    signer = find_key(key, asker(passphrase_env, passphrase_fd, ask_passphrase))
    gone: list[str] = []
    with runs.alone(held.secret.parent.parent), reissue.working_on(run) as opened:
        paths = reissue.purge(opened, signer, held, ledger=Ledger.open(ledger), tell=gone.append)
    if as_json:
        say_json({"destroyed": gone, "files": [str(path) for path in paths]})
    else:
        say("\n".join(f"destroyed  {item}" for item in gone))


@proof.command("make")
def make(
    run: RunFolder,
    record: Annotated[str, typer.Argument(metavar="ID", help="Id of the record, as in the data.")],
    out: Annotated[Path, typer.Option(help="Where the proof goes.")] = Path("proof.json"),
    state: StateFolder = None,
) -> None:
    """Write a proof that one record is in the forget set, without showing any other.

    Example: forget-audit proof make audit person-17 --out proof.json
    """
    from forget_audit import proofs
    from forget_audit.audits import holdings, reissue

    opened = reissue.opened(run)
    secret = holdings.find(opened.identifier, state).read_secret()
    proofs.write(out, proofs.prove(opened, record, secret))
    say(str(out))


@proof.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="PROOF", help="Made by `proof make`.")],
    record: Annotated[str, typer.Argument(metavar="ID", help="Id of the record.")],
    run: Annotated[
        Path, typer.Option(help="Folder of the audit, or its audit.dsse.json.")
    ] = Path(),
) -> None:
    """Check a proof against the commitment in a report. Exit code 0 it holds, 1 it does not.

    Example: forget-audit proof check proof.json person-17 --run audit
    """
    from forget_audit import proofs

    holds, reason = proofs.check(proofs.read(file), record, run)
    say(reason)
    raise typer.Exit(0 if holds else 1)


def _told(paths: tuple[Path, ...], *, as_json: bool) -> None:
    if as_json:
        say_json({"files": [str(path) for path in paths]})
    else:
        say("\n".join(str(path) for path in paths))
