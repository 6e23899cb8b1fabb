"""The page on keys: what its shell blocks show is run, in their order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from forget_audit import cli
from forget_audit.keys import token_uris
from tests.keys.material import PASSPHRASE, issued, own, pem, private
from tests.keys.token import MODULES, needs_token, token

PAGE = Path(__file__).resolve().parents[2] / "docs" / "keys.md"
PROGRAMS = ("openssl", "softhsm2-util", "chmod", "printenv")
DEFAULT = "~/.config/forget-audit"


def lines() -> list[str]:
    found = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return "".join(found).splitlines()


def forget_audit(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    sys.argv = words
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    assert not stop.value.code, f"{words}: {err}"
    return out


@needs_token
@pytest.mark.skipif(not shutil.which("openssl"), reason="needs the package openssl")
@pytest.mark.skipif(not Path(MODULES[0]).exists(), reason="SoftHSM lies elsewhere than on the page")
def test_each_command_on_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pkcs11

    home = tmp_path / "home"
    for name, value in (
        ("FORGET_AUDIT_HOME", str(home)), ("AUDIT_PASSPHRASE", PASSPHRASE),
        ("SOFTHSM2_CONF", token()), (token_uris.PIN, "12345678"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: PASSPHRASE)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem_form = serialization.Encoding.PEM
    (tmp_path / "jane.key").write_bytes(private("rsa").private_bytes(pem_form, *plain))
    (tmp_path / "jane-chain.pem").write_text(pem(*issued("rsa")))
    (tmp_path / "certificates.pem").write_text(own().certificates_pem)
    todo = lines()
    first = next(line for line in todo if "pkcs12 -export" in line)
    subprocess.run(["bash", "-c", f"{first}; chmod 600 jane.p12"], check=True, cwd=tmp_path)
    said: dict[str, str] = {}
    for line in todo:
        text = line.replace(DEFAULT, str(home))
        if "trust revoke" in text:
            keyid = said["forget-audit trust list"].split()[0]
            text = text.replace("3a5f0c11d2e84b97", keyid[:16])
        words = shlex.split(text)
        if words[0] == "forget-audit":
            said[line] = forget_audit(words, capsys)
        elif "| forget-audit" in text:
            reading, writing = os.pipe()
            os.write(writing, f"{PASSPHRASE}\n".encode())
            os.close(writing)
            after = shlex.split(text.partition("| ")[2])
            said[line] = forget_audit([*after[:-1], str(reading)], capsys)
            os.close(reading)
        else:
            assert words[0] in PROGRAMS, line
            done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
            said[line] = done.stdout
            if words[0] == "softhsm2-util":  # a running process does not see a new token
                pkcs11.lib(MODULES[0]).reinitialize()
    assert "0927C0" in said[next(line for line in todo if "asn1parse" in line)]
