"""`keys`: the key that signs."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forget_audit.commands.trust import trusted as trusted
from forget_audit.console import PASSPHRASE, ask_passphrase, complain, say, say_json
from forget_audit.errors import KeyFileError
from forget_audit.whole_files import write_output

if TYPE_CHECKING:
    from forget_audit.keys.signing import SigningKey
    from forget_audit.keys.sources import Ask

keys = typer.Typer(help="Make, show and hand out the signing key.", no_args_is_help=True)
Variable = Annotated[
    str | None,
    typer.Option("--passphrase-env", metavar="NAME", help="Variable that holds the passphrase."),
]
Descriptor = Annotated[
    int | None,
    typer.Option("--passphrase-fd", min=0, help="Open file whose first line is the passphrase."),
]
KeySpec = Annotated[
    str | None,
    typer.Option("--key", help="Key folder, PKCS#12 file or pkcs11: URI; yours if left out."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON alone on standard output.")]


@keys.command("new")
def new(
    name: Annotated[str, typer.Option(help="Whose key it is.")],
    org: Annotated[str | None, typer.Option(help="Organisation.")] = None,
    unattended: Annotated[bool, typer.Option(help="No passphrase; reports will say so.")] = False,
    token: Annotated[
        str | None,
        typer.Option(help="pkcs11: URI of a key in a token, which gets a certificate."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a key beside the one in use, such as a reviewer's."),
    ] = None,
    passphrase_env: Variable = None,
    passphrase_fd: Descriptor = None,
) -> None:
    """Make the signing key, protected by a passphrase; the former one is kept as retired.

    Example: forget-audit keys new --name "Privacy Office"
    """
    from forget_audit.keys import keyring, tokens
    from forget_audit.keys.certificates import issue
    from forget_audit.keys.folders import refuse_short
    from forget_audit.keys.signing import SigningKey, default_folder
    from forget_audit.keys.sources import asker, public_half
    from forget_audit.ledger.ledger import Ledger

    if unattended and (token or passphrase_env or passphrase_fd is not None):
        raise KeyFileError("--unattended means without passphrase and without token: give one")
    if token is not None:
        found = tokens.find(token, asker(passphrase_env, passphrase_fd, ask_passphrase))
        chain = issue(found.public, name, org)
        key = SigningKey(chain=chain, protection="token", token=found.sign)
        key.sign(b"")  # a token that cannot sign is noticed now
        write = partial(key.save_token, uri=token)
    else:
        key = SigningKey.create(name, org)
        ask = asker(passphrase_env, passphrase_fd, _ask_twice)
        passphrase = None if unattended else ask()
        if passphrase is not None:
            refuse_short(passphrase)
        write = partial(key.save, passphrase=passphrase)
    if out is not None:
        write(out)
        _print_key(public_half(out))
        _warn_of_git(out)
        return
    former = keyring.install(write)
    if former is not None:
        say(f"the former key is kept as {keyring.RETIRED}{former.keyid[:16]}")
    _print_key(public_half(default_folder()))
    _warn_of_git(default_folder())
    ledger = Ledger.open()
    if former is not None:
        ledger.append("key-retired", {"keyid": former.keyid}, key)
    ledger.append("key-added", {"keyid": key.keyid}, key)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the key in use and those retired, with their validity.

    Example: forget-audit keys list
    """
    from forget_audit.keys import keyring

    found = [{**_facts(item.public), "in_use": item.in_use} for item in keyring.own_keys()]
    if as_json:
        say_json(found)
        return
    for item in found:
        say(
            f"{item['keyid']}  {'in use ' if item['in_use'] else 'retired'}  "
            f"{item['not_before'][:10]} to {item['not_after'][:10]}  {item['name']}"
        )
    if not found:
        complain('no key yet; make one with: forget-audit keys new --name "Privacy Office"')


@keys.command("show")
def show_key(
    key: KeySpec = None,
    unlock: Annotated[bool, typer.Option(help="Also try whether it can sign.")] = False,
    passphrase_env: Variable = None,
    passphrase_fd: Descriptor = None,
    as_json: AsJson = False,
) -> None:
    """Show owner, validity, protection and both fingerprints of the signing key.

    Example: forget-audit keys show
    """
    from forget_audit.keys.sources import asker, find_key

    ask = asker(passphrase_env, passphrase_fd, ask_passphrase)
    found = _public(key, ask)
    if unlock:
        find_key(key, ask).sign(b"")
    say_json(_facts(found)) if as_json else _print_key(found)


@keys.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Folder for the public files.")] = Path(),
    key: KeySpec = None,
    everything: Annotated[bool, typer.Option("--all", help="Retired keys too.")] = False,
    passphrase_env: Variable = None,
    passphrase_fd: Descriptor = None,
) -> None:
    """Write public key, certificates and a trust file to hand to whoever checks reports.

    Example: forget-audit keys export --out for-the-regulator
    """
    from forget_audit import trust as trust_files
    from forget_audit.keys import keyring
    from forget_audit.keys.sources import asker

    found = _public(key, asker(passphrase_env, passphrase_fd, ask_passphrase))
    book = trust_files.Trust().add_key(found)
    files = {"public.pem": found.public_pem, "certificates.pem": found.certificates_pem}
    for item in keyring.own_keys() if everything else ():
        if item.public.keyid != found.keyid:
            book = book.add_key(item.public)
            start = f"{keyring.RETIRED}{item.public.keyid[:16]}"
            files[f"{start}-public.pem"] = item.public.public_pem
            files[f"{start}-certificates.pem"] = item.public.certificates_pem
    for name, text in files.items():
        write_output(out / name, text)
    book.save(out / "trust.json")
    for name in (*files, "trust.json"):
        say(str(out / name))


def _public(spec: str | None, ask: Ask) -> SigningKey:
    """Return the public half of a key, asking for a passphrase only where there is no other way."""
    from forget_audit.keys.signing import default_folder
    from forget_audit.keys.sources import find_key, public_half

    if spec is None:
        return public_half(default_folder())
    if Path(spec).is_dir():
        return public_half(Path(spec))
    return find_key(spec, ask)


def _warn_of_git(folder: Path) -> None:
    from forget_audit.keys import keyring

    if keyring.open_to_git(folder):
        complain(
            f"careful: {folder} lies in a git work tree that does not ignore it; add a rule to "
            ".gitignore before the next `git add`"
        )


def _ask_twice() -> str:
    passphrase = os.environ.get(PASSPHRASE)
    if passphrase is None:
        if not sys.stdin.isatty():
            raise KeyFileError(
                "a new key needs a passphrase and there is no terminal to ask: give "
                "--passphrase-env NAME or --passphrase-fd N, or --unattended for none"
            )
        passphrase = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return str(passphrase)


def _facts(key: SigningKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "org": key.org,
        "keyid": key.keyid,
        "certificate_fingerprint": key.certificate_fingerprint.replace(" ", ""),
        "algorithm": key.algorithm,
        "not_before": key.not_before.isoformat(),
        "not_after": key.not_after.isoformat(),
        "usable": key.usable,
        "protection": key.protection,
    }


def _print_key(key: SigningKey) -> None:
    say(f"owner        {key.name}{f', {key.org}' if key.org else ''}")
    say(f"valid        {key.not_before:%Y-%m-%d} to {key.not_after:%Y-%m-%d}")
    say(f"protection   {key.protection}")
    say(f"key          {key.key_fingerprint}")
    say(f"certificate  {key.certificate_fingerprint}")
    complain("give the fingerprints to whoever checks your reports, by another way than the report")
