"""`trust`: the keys whose reports are believed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forget_audit.console import ask_passphrase, complain, say, say_json
from forget_audit.errors import KeyFileError

if TYPE_CHECKING:
    from forget_audit.keys.trusted import TrustedKey
    from forget_audit.trust import Trust

trusted = typer.Typer(help="Say whose reports are believed.", no_args_is_help=True)
TrustFile = Annotated[Path | None, typer.Option("--trust", help="Trust file; yours if left out.")]
SHORTEST_START = 8
ROLES = "tool, reviewer, timestamp"


@trusted.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(help="A trust file, a folder from `keys export`, or a certificate.")
    ],
    role: Annotated[
        list[str] | None,
        typer.Option(help=f"{ROLES}; may be repeated. Only what you say here is given."),
    ] = None,
    trust: TrustFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Believe the keys in FILE, after showing both fingerprints of each and asking.

    Example: forget-audit trust add for-the-regulator/trust.json --role tool
    """
    from forget_audit import handed
    from forget_audit import trust as trust_files

    roles = tuple(dict.fromkeys(role or ("tool",)))
    known = trust_files.load(trust) if trust is None or trust.exists() else trust_files.Trust()
    declined = False
    for key in handed.keys_of(file, roles):
        _show(key, roles, known.find(key.keyid))
        if yes or typer.confirm("do both match what their owner told you?"):
            known = known.add(key.public_key, key.certificates, key.name, roles, key.revoked)
        else:
            declined = True
    known.save(_file(trust))
    raise typer.Exit(1 if declined else 0)


@trusted.command("list")
def list_trusted(
    trust: TrustFile = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List the keys whose reports are believed: roles, validity, revocation.

    Example: forget-audit trust list
    """
    from forget_audit import trust as trust_files

    known = trust_files.load(trust)
    if as_json:
        say_json([_facts(known, key) for key in known.keys])
        return
    for key in known.keys:
        facts = _facts(known, key)
        state = facts["standing"]
        if key.revoked:
            state = f"revoked since {key.revoked.since}: {key.revoked.reason}".rstrip(": ")
        say(
            f"{key.keyid}  {','.join(key.roles)}  {str(facts['not_before'])[:10]} to "
            f"{str(facts['not_after'])[:10]}  {key.name}  {state}"
        )


@trusted.command("revoke")
def revoke(
    keyid: Annotated[str, typer.Argument(help="As shown by `trust list`, or how it starts.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day in doubt, in UTC; today if left out."),
    ] = None,
    trust: TrustFile = None,
) -> None:
    """Stop believing a key from a day on.

    Example: forget-audit trust revoke KEYID --since 2026-11-01 --reason "key lost"
    """
    from forget_audit import trust as trust_files

    day = (since or datetime.now(UTC)).date()
    known = trust_files.load(trust)
    whole = _whole(known, keyid)
    known = known.revoke(whole, day, reason)
    known.save(_file(trust))
    key = known.find(whole)
    say(f"{key.name if key else whole} is no longer believed since {day}")
    _own(whole)


def _own(keyid: str) -> None:
    """Put the revocation of a key of one's own on record, and say what else is to do."""
    from forget_audit.keys.keyring import own_keys
    from forget_audit.keys.sources import find_key
    from forget_audit.ledger.ledger import Ledger

    mine = next((item for item in own_keys() if item.public.keyid == keyid), None)
    if mine is None:
        return
    if mine.in_use:
        complain("this key signs your own reports: make another with `forget-audit keys new`")
    else:
        Ledger.open().append("key-revoked", {"keyid": keyid}, find_key(None, ask_passphrase))
    complain("tell whoever checks your reports: a trust file of theirs does not know it yet")


def _whole(known: Trust, start: str) -> str:
    digits = "".join(start.lower().split())
    found = [key.keyid for key in known.keys if key.keyid.startswith(digits)]
    if len(digits) < SHORTEST_START or len(found) != 1:
        raise KeyFileError(
            f"expected the keyid of one key in the trust file, or its first {SHORTEST_START} digits"
            f" or more; {start!a} fits {len(found) if digits else 'none'}"
        )
    return found[0]


def _show(key: TrustedKey, roles: tuple[str, ...], known: TrustedKey | None) -> None:
    from forget_audit import handed
    from forget_audit.keys.signing import grouped

    leaf = key.chain[0]
    say(f"owner        {key.name}")
    say(f"key          {grouped(key.keyid)}")
    say(f"certificate  {key.certificate_fingerprint}")
    say(f"valid        {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}")
    say(f"roles        {', '.join(roles)}")
    more = [role for role in key.roles if role not in roles]
    if more:
        complain(f"the file asks for more: {', '.join(more)}; not given, see --role")
    if handed.is_authority(key) and roles != ("timestamp",):
        complain("this is the certificate of an authority: only what its own key signs is believed")
    if key.revoked:
        complain(f"its owner says it is revoked since {key.revoked.since}: {key.revoked.reason}")
    if known is None:
        return
    end = f", revoked since {known.revoked.since}" if known.revoked else ""
    complain(f"known already as {', '.join(known.roles)}{end}")
    if key.revoked and not known.revoked:
        complain(
            "your trust file does not know that; run: forget-audit trust revoke "
            f"{key.keyid[:16]} --since {key.revoked.since} --reason 'said by its owner'"
        )


def _facts(known: Trust, key: TrustedKey) -> dict[str, object]:
    leaf = key.chain[0]
    standing = known.believed(key.keyid, key.roles[0])
    return {
        "name": key.name,
        "keyid": key.keyid,
        "roles": list(key.roles),
        "certificate_fingerprint": key.certificate_fingerprint.replace(" ", ""),
        "not_before": leaf.not_valid_before_utc.isoformat(),
        "not_after": leaf.not_valid_after_utc.isoformat(),
        "added": key.added,
        "revoked": vars(key.revoked) if key.revoked else None,
        "standing": "believed" if standing.outcome == "pass" else standing.outcome,
    }


def _file(trust: Path | None) -> Path:
    from forget_audit.keys.signing import home

    return trust or home() / "trust.json"
