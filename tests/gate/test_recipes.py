"""The recipes of docs/gate.md, run as they stand in it against a real report."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from forget_audit.deployment.steps import REFUSALS
from forget_audit.digests import sha256
from forget_audit.verification import policy as deploy_policy
from forget_audit.verification.policy import Policy
from tests.fixtures import attested
from tests.fixtures.evidence import evidence
from tests.fixtures.released import copied, trust

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "gate.md").read_text("utf-8")
TOOLS = ("bash", "sed", "sha256sum", "mktemp")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)} (coreutils)")


PROGRAM = f"""#!{sys.executable}
# Both commands as the program has them, without the time to load all others.
import typer
from forget_audit.commands import gate
app = typer.Typer()
app.command("gate")(gate.gate)
app.command("bundle")(gate.bundle)
app()
"""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", TEXT, flags=re.M | re.S)


def policy_text(**changes: str) -> str:
    """The policy of the page, with the digest of a real profile."""
    text = blocks("ini")[0].replace("PROFILE_DIGEST", evidence()["battery"]["profile_digest"])
    for name, value in changes.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.M)
    return text


@cache
def report() -> Path:
    """Of today's form, which says all that a policy can ask."""
    return attested.issue(attested.small().parent / "today", document=attested.reported())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder as the recipes find it: model, report, trust file, policy and a deploy script."""
    trust().save(tmp_path / "trust.json")
    (tmp_path / "model.safetensors").write_bytes(attested.UNLEARNED)
    asked = {"access": '["answers"]', "min_retrained": "2", "reviewer": "false",
             "unattended_keys": "true", "ledger": "false"}  # fmt: skip
    copied(report(), tmp_path / "audit")
    (tmp_path / "policy.toml").write_text(policy_text(**asked))
    (tmp_path / "deploy.sh").write_text("#!/bin/sh\ncp -- $1 deployed\n")
    (tmp_path / "deploy.sh").chmod(0o755)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "forget-audit"
    command.write_text(PROGRAM)
    command.chmod(0o755)
    return tmp_path


def run(place: Path, script: str, *words: str) -> tuple[int, str]:
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
                   "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = subprocess.run(
        ["bash", "-e", "-c", script, "gate", *words], cwd=place, env=environment,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def steps(page: int) -> str:
    """What a runner would execute of a pipeline, without the installation."""
    yaml: Any = pytest.importorskip("yaml", reason="PyYAML is missing: pip install pyyaml")
    pipeline = yaml.safe_load(blocks("yaml")[page])
    if page == 0:
        found = [item["run"] for item in pipeline["jobs"]["deploy"]["steps"] if "run" in item]
        assert found[0] == "pip install forget-audit"
        return "\n".join(found[1:])
    assert pipeline["deploy"]["needs"] == ["gate"]
    return "\n".join(line for job in ("gate", "deploy") for line in pipeline[job]["script"])


@needs_tools
def test_the_shell_script_deploys_and_refuses(place: Path) -> None:
    script = blocks("sh gate")[0]
    code, text = run(place, script, "model.safetensors", "audit", "deployed")
    assert code == 0, text
    assert "deployed: OK" in text
    assert (place / "deployed").read_bytes() == attested.UNLEARNED
    (place / "deployed").unlink()
    (place / "model.safetensors").write_bytes(attested.ORIGINAL)
    code, text = run(place, script, "model.safetensors", "audit", "deployed")
    assert code == 1
    assert "refused: the model is the original" in text
    (place / "policy.toml").write_text("profil = 1\n")
    code, text = run(place, script, "model.safetensors", "audit", "deployed")
    assert code == 2
    assert "did you mean 'profile'?" in text
    assert not (place / "deployed").exists()


@needs_tools
@pytest.mark.parametrize("page", [0, 1])
def test_a_pipeline_deploys_and_refuses(place: Path, page: int) -> None:
    code, text = run(place, steps(page))
    assert code == 0, text
    assert sha256((place / "deployed").read_bytes()) == sha256(attested.UNLEARNED)
    (place / "deployed").unlink()
    (place / "model.safetensors").write_bytes(b"file retrained 1")
    code, text = run(place, steps(page))
    assert code == 1
    assert not (place / "deployed").exists()


@needs_tools
@pytest.mark.parametrize("page", [0, 1])
def test_a_model_that_is_exchanged_after_the_gate_is_noticed(place: Path, page: int) -> None:
    gate, rest = steps(page).split("decision.json\n", 1)
    exchanged = f"{gate}decision.json\necho more >> model.safetensors\n{rest}"
    code, text = run(place, exchanged)
    assert code != 0
    assert "FAILED" in text
    assert not (place / "deployed").exists()


def test_the_policy_of_the_page_names_every_key_and_loads(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(policy_text())
    policy = deploy_policy.load(tmp_path / "policy.toml")
    assert policy.model_fields_set == set(Policy.model_fields)


def test_the_page_lists_every_refusal() -> None:
    listed = re.findall(r"^\| `([a-z-]+)` \|", TEXT, flags=re.M)
    assert sorted(listed) == sorted(REFUSALS)
