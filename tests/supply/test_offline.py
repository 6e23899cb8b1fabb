"""Nothing is asked of a network, and nobody is told anything, unless the user names whom to ask."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fixtures.offline import ROOT, denied

ROOMS = ("forget_audit", "attacks", "experiments", "methods", "reports")
# Modules that reach a network, or may: by the beginning of their names.
CLIENTS = (
    "aiohttp", "asyncio", "boto3", "fsspec", "ftplib", "grpc", "http", "httpx", "huggingface_hub",
    "imaplib", "mlflow", "nntplib", "poplib", "pyhanko.sign.timestamps", "ray", "requests",
    "sentry_sdk", "smtplib", "socket", "socketserver", "ssl", "telnetlib", "torch.hub",
    "transformers", "urllib.request", "urllib3", "wandb", "webbrowser", "websockets", "xmlrpc",
)  # fmt: skip
ALLOWED: Mapping[tuple[str, str], str] = {
    ("reports/timestamps.py", "asyncio"): "runs pyHanko's client of the time stamping authority",
    ("reports/timestamps.py", "pyhanko.sign.timestamps"): "asks the authority that the user named",
    ("reports/pyhanko_calls.py", "asyncio"): "runs coroutines of pyHanko that open no connection",
    ("reports/leak_rules.py", "socket"): "the name of this machine, which no report may hold",
    ("forget_audit/locks.py", "socket"): "the name of this machine, for whoever finds the lock",
    ("forget_audit/engines/ray_engine.py", "ray"): "`--engine ray`: the cluster the user named",
    ("forget_audit/views/mlflow_log.py", "mlflow.tracking"): "log_to_mlflow: the user's own store",
    ("forget_audit/views/mlflow_log.py", "mlflow.exceptions"): "errors of that store",
    ("forget_audit/views/mlflow_log.py", "mlflow.entities"): "records of that store",
    ("forget_audit/zoo/hub_folders.py", "transformers"): "reads folders, with its offline switch",
    ("forget_audit/zoo/hub_folders.py", "huggingface_hub.constants"): "sets that switch",
}
# The demonstration with fewer models, then each command of a person who issues and checks.
SESSION = """\
import json, sys
from forget_audit import cli
from forget_audit.commands import demo

demo.PLAN = demo.PLAN.replace("seed = {seed}", "seed = {seed}\\nretrained = 19\\nshadows = 2")
demo.ATTACKS = ("lira", "loss_threshold", "wilcoxon_entropy")
codes = []
for words in json.load(open(sys.argv[1])):
    sys.argv = ["forget-audit", *words]
    try:
        cli.main()
    except SystemExit as stop:
        codes.append(int(stop.code or 0))
print("codes:", json.dumps(codes))
"""
PLAN = """\
[request]
reference = "OFFLINE-1"
random = 100
[data]
source = "digits"
label_noise = 0.15
[training]
epochs = 40
[method]
name = "retrain"
[references]
retrained = 19
originals = 3
shadows = 2
[battery]
attacks = ["loss_threshold"]
[report]
controller = "Test Ltd"
formats = ["html"]
"""


def sources() -> Iterator[tuple[str, ast.AST]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not any(parent.is_symlink() for parent in path.parents):
                yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_bytes())


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from {
                f"{node.module}.{alias.name}"
                if f"{node.module}.{alias.name}" in CLIENTS
                else node.module
                for alias in node.names
            }


def is_client(name: str) -> bool:
    return any(name == client or name.startswith(f"{client}.") for client in CLIENTS)


def test_the_sources_name_no_network_client_but_those_with_a_reason() -> None:
    found = {(path, name) for path, tree in sources() for name in imported(tree) if is_client(name)}
    assert found == {key for key in ALLOWED if (ROOT / key[0]).exists()}


def test_the_scan_sees_every_form_of_import() -> None:
    code = "import http.client\nfrom urllib import request\nfrom torch import hub\nimport json"
    found = {name for name in imported(ast.parse(code)) if is_client(name)}
    assert found == {"http.client", "urllib.request", "torch.hub"}


def test_of_sockets_nothing_but_the_name_of_the_machine_is_used() -> None:
    used = {
        node.attr
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "socket"
    }
    assert used == {"gethostname"}


def test_the_programs_that_report_their_use_are_told_not_to() -> None:
    ray = (ROOT / "forget_audit/engines/ray_engine.py").read_text(encoding="utf-8")
    assert '"RAY_USAGE_STATS_ENABLED": "0"' in ray
    mlflow = (ROOT / "forget_audit/views/mlflow_log.py").read_text(encoding="utf-8")
    assert '"MLFLOW_DISABLE_TELEMETRY"' in mlflow


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import urllib.request as r; r.urlopen('http://example.org', timeout=1)",
    ],
    ids=["connection", "name", "page"],
)
def test_the_denial_denies_and_tells(tmp_path: Path, code: str) -> None:
    done, asked = denied(tmp_path, ["-c", code], cwd=tmp_path)
    assert done.returncode == 1
    assert "may not use a network" in done.stderr
    assert asked.startswith("socket.")


def test_demo_certify_verify_gate_and_the_rest_work_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    trust = ["--trust", "handed/trust.json"]
    commands = {
        "demo": (["demo", "--out", "demo", "--data", "digits"], 0),
        "keys": (["keys", "export", "--out", "handed"], 0),
        "dry run": (["certify", "plan.toml", "--dry-run"], 0),
        "certify": (["certify", "plan.toml", "--out", "audit"], 0),
        "verify": (["verify", "audit", *trust], 0),
        "gate": (["gate", "audit/unlearned.safetensors", "--attestation", "audit", *trust], 0),
        "report": (["report", "audit", "--language", "de", "--format", "html", "--out", "de"], 0),
        "ledger": (["ledger", "verify", *trust], 0),
        "entries": (["ledger", "list"], 0),
        "shown": (["show", "scrub"], 0),
        "listed": (["list", "models"], 0),
    }
    (tmp_path / "commands.json").write_text(
        json.dumps([words for words, _ in commands.values()]), encoding="utf-8"
    )
    done, asked = denied(tmp_path, ["-c", SESSION, "commands.json"], cwd=tmp_path)
    codes = json.loads(done.stdout.rpartition("codes:")[2] or "[]")
    found = dict(zip(commands, codes, strict=True)) if codes else done.stderr
    assert found == {name: code for name, (_, code) in commands.items()}, done.stdout + done.stderr
    assert asked == ""
    for word in ("PASS", "FAIL (RESIDUAL", "INCONCLUSIVE"):
        assert word in done.stdout
    pages = [*tmp_path.glob("demo/*/*.html"), *tmp_path.glob("demo/*/*.pdf")]
    assert len(pages) == 9  # report as page and PDF, and receipt
    assert all(page.stat().st_size > 10_000 for page in pages)


@pytest.mark.slow
def test_the_whole_demonstration_works_without_a_network(tmp_path: Path) -> None:
    done, asked = denied(tmp_path, ["-m", "forget_audit", "demo", "--out", "demo"], cwd=tmp_path)
    assert (done.returncode, asked) == (0, ""), done.stdout + done.stderr
