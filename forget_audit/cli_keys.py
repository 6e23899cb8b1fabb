"""`keys` and `trust`: the key that signs, and the keys whose reports are believed."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from forget_audit import trust as trust_files
from forget_audit.console import PASSPHRASE, ask_passphrase, complain, say, say_json
from forget_audit.errors import KeyFileError
from forget_audit.signing import SHORTEST_PASSPHRASE, SigningKey, default_key, home, keyid_of

keys = typer.Typer(help="Make, show and hand out the signing key.", no_args_is_help=True)
trusted = typer.Typer(help="Say whose reports are believed.", no_args_is_help=True)
TrustFile = Annotated[Path | None, typer.Option("--trust", help="Trust file; yours if left out.")]


@keys.command("new")
def new(
    name: Annotated[str, typer.Option(help="Whose key it is.")],
    org: Annotated[str | None, typer.Option(help="Organisation.")] = None,
    unattended: Annotated[bool, typer.Option(help="No passphrase; reports will say so.")] = False,
) -> None:
    """Make the signing key, protected by a passphrase.

    Example: forget-audit keys new --name "Privacy Office"
    """
    folder = home() / "keys" / "default"
    if folder.exists():
        former = keyid_of((folder / "public.pem").read_text(encoding="ascii"))
        folder.rename(folder.with_name(f"retired-{former[:16]}"))
        say(f"the former key is kept as retired-{former[:16]}")
    passphrase = None if unattended else _new_passphrase()
    key = SigningKey.create(name, org)
    key.save(folder, passphrase)
    _print_key(key)


@keys.command("show")
def show_key() -> None:
    """Show owner, validity and both fingerprints of the signing key.

    Example: forget-audit keys show
    """
    _print_key(default_key(ask_passphrase))


@keys.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Folder for the public files.")] = Path(),
) -> None:
    """Write public key, certificates and a trust file to hand to whoever checks reports.

    Example: forget-audit keys export --out for-the-regulator
    """
    key = default_key(ask_passphrase)
    out.mkdir(parents=True, exist_ok=True)
    (out / "public.pem").write_text(key.public_pem, encoding="ascii")
    (out / "certificates.pem").write_text(key.certificates_pem, encoding="ascii")
    trust_files.Trust().add_key(key).save(out / "trust.json")
    for name in ("public.pem", "certificates.pem", "trust.json"):
        say(str(out / name))


@trusted.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="A trust file or folder from `keys export`.")],
    trust: TrustFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Believe reports signed by the keys in FILE, after showing their fingerprints.

    Example: forget-audit trust add for-the-regulator/trust.json
    """
    handed = trust_files.load(file / "trust.json" if file.is_dir() else file)
    known = trust_files.load(trust)
    for key in handed.keys:
        say(f"{key.name}: key {key.keyid}")
        if yes or typer.confirm("does it match what its owner told you?"):
            known = known.add(key.public_key, key.certificates, key.name, key.roles)
    known.save(_file(trust))


@trusted.command("list")
def list_trusted(
    trust: TrustFile = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """List the keys whose reports are believed.

    Example: forget-audit trust list
    """
    known = trust_files.load(trust)
    if as_json:
        say_json([{"name": key.name, "keyid": key.keyid} for key in known.keys])
        return
    for key in known.keys:
        say(f"{key.keyid}  {key.name}  {'revoked' if key.revoked else 'believed'}")


@trusted.command("revoke")
def revoke(
    keyid: Annotated[str, typer.Argument(help="As shown by `trust list`.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])] = None,
    trust: TrustFile = None,
) -> None:
    """Stop believing a key from a day on.

    Example: forget-audit trust revoke KEYID --since 2026-11-01 --reason "key lost"
    """
    day = (since or datetime.now(UTC)).date()
    trust_files.load(trust).revoke(keyid, day, reason).save(_file(trust))


def _file(trust: Path | None) -> Path:
    return trust or home() / "trust.json"


def _new_passphrase() -> str:
    passphrase = os.environ.get(PASSPHRASE)
    if passphrase is None:
        passphrase = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise KeyFileError(
            f"expected a passphrase of at least {SHORTEST_PASSPHRASE} characters, found "
            f"{len(passphrase)}"
        )
    return str(passphrase)


def _print_key(key: SigningKey) -> None:
    say(f"owner        {key.name}{f', {key.org}' if key.org else ''}")
    say(f"valid        {key.not_before:%Y-%m-%d} to {key.not_after:%Y-%m-%d}")
    say(f"protection   {key.protection}")
    say(f"key          {key.key_fingerprint}")
    say(f"certificate  {key.certificate_fingerprint}")
    complain("give the fingerprints to whoever checks your reports, by another way than the report")
