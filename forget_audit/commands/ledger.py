"""`ledger`: what was issued, replaced, reviewed and purged, and whether that record is intact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forget_audit.console import complain, say, say_bytes, say_json
from forget_audit.errors import ForgetAuditError
from forget_audit.whole_files import write_output

if TYPE_CHECKING:
    from forget_audit.ledger.entries import Entry
    from forget_audit.ledger.ledger import Ledger
    from forget_audit.ledger.witnesses import Witness

ledger = typer.Typer(help="Show and check the record of all reports.", no_args_is_help=True)
LedgerFile = Annotated[
    Path | None, typer.Option("--ledger", help="Ledger file; yours if left out.")
]
TrustFile = Annotated[Path | None, typer.Option("--trust", help="Trust file; yours if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]
OutFile = Annotated[Path | None, typer.Option(help="File to write; standard output if left out.")]
FILES, EVIDENCE = ("audit-issued", "rendered"), "evidence.json"


@ledger.command("list")
def list_entries(
    reports: Annotated[
        Path | None, typer.Option(help="Folder with reports: name the entries without files.")
    ] = None,
    file: LedgerFile = None,
    as_json: AsJson = False,
) -> None:
    """List all entries, oldest first.

    Example: forget-audit ledger list --reports audits
    """
    from forget_audit.ledger.begun import attempts_known

    entries = _opened(file).entries()
    known = attempts_known(entries)
    lost = _without_files(entries, reports) if reports is not None else set()
    if as_json:
        marked = [{**item.as_json(), "files_missing": item.index in lost} for item in entries]
        say_json([item.as_json() for item in entries] if reports is None else marked)
        return
    for item in entries:
        what = item.body.get("report") or item.body.get("keyid") or ""
        if item.index in known:
            number, request = item.body.get("attempt"), str(item.body.get("request"))[:12]
            what = f"attempt {number} at request {request}; the ledger knows {known[item.index]}"
        by = f" by {item.body['by']}" if "by" in item.body else ""
        note = "  NO FILES FOUND" if item.index in lost else ""
        say(f"{item.index:>5}  {item.time[:19]}Z  {item.kind:<17}  {what}{by}{note}")
    if not entries:
        complain("the ledger is empty")


@ledger.command("verify")
def verify(
    against: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept elsewhere: note, report or copy. Can be repeated."),
    ] = None,
    trust: TrustFile = None,
    file: LedgerFile = None,
    as_json: AsJson = False,
) -> None:
    """Check that nothing in the ledger was changed, cut or replaced.

    Exit code 0 intact, 1 damaged, 3 intact but a signer unknown, 4 a signer was revoked.

    Example: forget-audit ledger verify --against old-report/release.dsse.json
    """
    from forget_audit import trust as trust_files
    from forget_audit.keys.signing import home
    from forget_audit.ledger.check import verify_ledger
    from forget_audit.ledger.ledger import FILE

    held = [item for path in against or () for item in _held(path)]
    found = verify_ledger(file or home() / FILE, trust_files.load(trust), witnesses=held)
    if as_json:
        say_json(found.as_json())
        raise typer.Exit(found.exit_code)
    for problem in found.problems:
        say(f"{problem.what:<14}{problem.detail}")
    if found.exit_code != 1:
        compared = f", compared with {found.witnesses} held elsewhere" if held else ""
        say(f"{found.origin}: {found.size} entries as they were signed{compared}")
    elif found.first_bad is not None:
        say(f"DAMAGED, first at entry {found.first_bad}; keep the file as it is")
    else:
        say("DAMAGED; keep the file as it is")
    raise typer.Exit(found.exit_code)


@ledger.command("checkpoint")
def checkpoint(file: LedgerFile = None) -> None:
    """Print the newest signed head of the ledger, for others to keep.

    Example: forget-audit ledger checkpoint > checkpoint.txt
    """
    say_bytes(_opened(file).checkpoint().encode())


@ledger.command("prove")
def prove(
    report: Annotated[str, typer.Argument(metavar="REPORT_ID")],
    since: Annotated[
        Path | None, typer.Option(help="Checkpoint of the reader: show that it has only grown.")
    ] = None,
    out: OutFile = None,
    file: LedgerFile = None,
) -> None:
    """Write a proof that the ledger holds these entries, to be checked without the ledger.

    Example: forget-audit ledger prove FA-20261121-3F9A1C --out proof.json
    """
    opened = _opened(file)
    indices = [item.index for item in opened.entries_about(report)]
    if not indices:
        complain(f"the ledger has no entry about {report}")
        raise typer.Exit(1)
    older = _note(since) if since is not None else None
    proof = opened.prove(*indices, since=older)
    _write(json.dumps(proof, indent=2).encode() + b"\n", out)


@ledger.command("check-proof")
def check(
    proof: Annotated[Path, typer.Argument(help="Written by `ledger prove`.")],
    against: Annotated[
        Path | None, typer.Option(help="A checkpoint that you have kept: note or report.")
    ] = None,
    trust: TrustFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof without the ledger. Exit code 0 shown, 1 not, 3 signer unknown, 4 revoked.

    Example: forget-audit ledger check-proof proof.json --against old-report
    """
    from forget_audit import trust as trust_files
    from forget_audit.ledger.proofs import check_proof

    kept = _held(against)[0] if against is not None else None
    known = trust_files.load(trust)
    try:
        found = check_proof(proof.read_bytes(), known, kept)
    except OSError as error:
        complain(f"{proof}: {error.strerror}")
        raise typer.Exit(2) from error
    except ForgetAuditError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    signer, head = found.signer, found.checkpoint
    code = 3 if signer is None else 4 if signer.revoked else 0
    by = signer.name if signer else "a key that the trust file does not hold"
    if as_json:
        say_json({"exit_code": code, "origin": head.origin, "size": head.size,
                  "since": found.since, "entries": list(found.entries)})  # fmt: skip
        raise typer.Exit(code)
    for entry in found.entries:
        say(f"{entry['index']:>5}  {entry['time']}  {entry['kind']}  {json.dumps(entry['body'])}")
    say(f"in {head.origin} with {head.size} entries, signed by {by}"
        f"{', revoked' if code == 4 else ''}")  # fmt: skip
    if found.since is not None:
        say(f"it has only grown since it had {found.since} entries")
    raise typer.Exit(code)


@ledger.command("export")
def export(out: OutFile = None, file: LedgerFile = None) -> None:
    """Write all entries with their checkpoints, one JSON object a line.

    Example: forget-audit ledger export --out ledger.jsonl
    """
    _write(_opened(file).export(), out)


def _opened(file: Path | None) -> Ledger:
    from forget_audit.ledger.ledger import Ledger

    return Ledger.open(file, create=False)


def _held(path: Path) -> tuple[Witness, ...]:
    """Return the checkpoints in a file of the caller; a file without any is a wrong call."""
    from forget_audit.ledger import witnesses

    try:
        return witnesses.read(path)
    except ForgetAuditError as error:
        complain(str(error))
        raise typer.Exit(2) from error


def _note(path: Path) -> str:
    """Return the first signed checkpoint in a file: what only states a head is not enough."""
    notes = [item.note for item in _held(path) if item.note is not None]
    if not notes:
        complain(f"{path}: names a head of the ledger, but holds no signed one")
        raise typer.Exit(2)
    return notes[0]


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        say_bytes(data)
        return
    write_output(out, data)
    say(str(out))


def _without_files(entries: list[Entry], folder: Path) -> set[int]:
    """Return the entries whose evidence lies nowhere in a folder: issuing was cut short."""
    from forget_audit.digests import file_digest

    present = {file_digest(path) for path in folder.rglob(EVIDENCE) if path.is_file()}
    return {item.index for item in entries if item.kind in FILES and _evidence(item) not in present}


def _evidence(entry: Entry) -> object:
    files = entry.body.get("files")
    return files.get(EVIDENCE) if isinstance(files, dict) else None
