"""The commands as a person runs them: exit codes, files, and never a traceback."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from forget_audit.errors import ForgetAuditError
from tests.fixtures.commands import Run

PLAN = """\
[request]
reference = "{name}"
random = {random}
[data]
source = "digits"
label_noise = 0.15
[model]
options = {{ hidden = [32] }}
{model}
[training]
epochs = 40
lr = 0.01
{method}
[references]
retrained = 19
originals = 3
shadows = 4
[battery]
attacks = ["loss_threshold", "weight_distance"]
[report]
controller = "Test Ltd"
formats = ["html"]
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp() / "home"
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(base))


def write(folder: Path, name: str, *, random: int = 100, model: str = "", method: str = "") -> Path:
    path = folder / name
    path.write_text(
        PLAN.format(name=name, random=random, model=model, method=method), encoding="utf-8"
    )
    return path


@pytest.mark.parametrize(
    ("name", "random", "method", "code", "outcome"),
    [
        ("retrained.toml", 100, 'name = "retrain"', 0, "PASS"),
        ("same.toml", 100, 'name = "finetune"\noptions = { epochs = 0 }', 1, "FAIL"),
        ("few.toml", 8, 'name = "retrain"', 3, "INCONCLUSIVE"),
    ],
)
def test_certify_exit_codes(
    run: Run, workplace: Path, name: str, random: int, method: str, code: int, outcome: str
) -> None:
    plan = write(workplace, name, random=random, method=f"[method]\n{method}")
    found, out, err = run("certify", plan, "--json")
    assert (found, err) == (code, "")
    answer = json.loads(out)
    assert answer["verdict"]["outcome"] == outcome
    folder = workplace / f"{plan.stem}-audit"
    assert {path.name for path in folder.iterdir()} == {
        "evidence.json",
        "scores.npz",
        "report.html",
        "receipt.html",
        "audit.dsse.json",
        "release.dsse.json",
        "unlearned.safetensors",
    }
    evidence = json.loads((folder / "evidence.json").read_bytes())
    assert evidence["verdict"]["outcome"] == outcome
    assert str(workplace) not in (folder / "evidence.json").read_text(encoding="utf-8")


def test_verify_with_trust_without_and_after_a_changed_byte(run: Run, workplace: Path) -> None:
    plan = write(workplace, "checked.toml", method='[method]\nname = "retrain"')
    assert run("certify", plan)[0] in (0, 1, 3)
    folder = workplace / "checked-audit"
    assert run("keys", "export", "--out", workplace / "public")[0] == 0
    trust = workplace / "public" / "trust.json"
    assert run("verify", folder)[0] == 3
    code, out, _ = run("verify", folder, "--trust", trust)
    assert code == 0, out
    assert "statistics and verdict follow from the scores" in out
    answer = json.loads(run("verify", folder, "--trust", trust, "--json")[1])
    assert answer[0]["exit_code"] == 0
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        code, out, _ = run("verify", folder, "--trust", trust)
        assert code == 1, path.name
        assert path.name in out
        path.write_bytes(good)
    assert run("verify", folder, "--trust", trust)[0] == 0
    keyid = json.loads(trust.read_text(encoding="utf-8"))["keys"][0]["keyid"]
    assert run("trust", "revoke", keyid, "--reason", "lost", "--trust", trust)[0] == 0
    assert run("verify", folder, "--trust", trust)[0] in (0, 4)
    since = ("--since", "2020-01-01")
    assert run("trust", "revoke", keyid, "--reason", "lost", *since, "--trust", trust)[0] == 0
    assert run("verify", folder, "--trust", trust)[0] == 4


def test_a_model_that_was_handed_in(run: Run, workplace: Path) -> None:
    plan = write(workplace, "hand.toml", method='[method]\nname = "finetune"\noptions.epochs = 0')
    model = workplace / "kept.safetensors"
    code, out, err = run("unlearn", plan, "--method", "finetune", "--out", model)
    assert (code, err) == (0, "")
    assert "kept.json" in out
    record = json.loads((workplace / "kept.json").read_text(encoding="utf-8"))
    assert record["sha256"] == record["original_sha256"]
    handed = write(workplace, "handed.toml", model='unlearned = "kept.safetensors"')
    code, out, _ = run("certify", handed, "--json")
    assert code == 1
    folder = workplace / "handed-audit"
    assert not (folder / "unlearned.safetensors").exists()
    evidence = json.loads((folder / "evidence.json").read_bytes())
    assert evidence["model"]["audited"][0]["sha256"] == record["sha256"]
    assert evidence["model"]["audited"][0]["made_by"] == "handed in"
    rows = {attack["name"]: attack for attack in evidence["attacks"]}
    assert rows["weight_distance"]["outcome"] == "not-applicable"
    assert rows["lira"]["reason"] == "the plan does not ask for it"


def test_unlearn_refuses_other_formats(run: Run, workplace: Path) -> None:
    plan = write(workplace, "u.toml", method='[method]\nname = "ssd"')
    code, _, err = run("unlearn", plan, "--method", "ssd", "--out", workplace / "m.pt")
    assert code == 4
    assert "models are written as .safetensors" in err
    assert run("unlearn", plan, "--method", "sdd")[0] == 2


BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown method": ('[method]\nname = "scrubb"', {}, "did you mean 'scrub'"),
    "missing file": ("", {"model": 'unlearned = "nowhere.safetensors"'}, "there is no file"),
    "wrong types": ('[method]\nname = "ssd"\n[extra]\na = 1', {}, "unknown section 'extra'"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_plans(run: Run, tmp_path: Path, name: str) -> None:
    method, parts, message = BAD[name]
    code, out, err = run("certify", write(tmp_path, "plan.toml", method=method, **parts))
    assert (code, out) == (2, "")
    assert message in err
    assert "problem(s):" in err


@pytest.mark.parametrize("mode", [["--dry-run"], []], ids=["dry run", "audit"])
def test_an_engine_that_is_not_there(run: Run, tmp_path: Path, mode: list[str]) -> None:
    plan = write(tmp_path, "plan.toml", method='[method]\nname = "ssd"')
    code, out, err = run("certify", plan, "--engine", "spark", *mode)
    assert (code, out) == (2, "")
    assert "--engine: expected local or ray, found 'spark'" in err


def test_several_problems_are_listed_together(run: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[request]\nreference = "R"\nclasses = [12]\nscope = "class"\n[data]\nsource = "digits"\n'
        '[training]\nepochs = "many"\n[method]\nname = "nothing"\n',
        encoding="utf-8",
    )
    code, _, err = run("certify", plan)
    assert code == 2
    assert "2 problem(s)" in err
    assert "training.epochs" in err
    assert "method.name" in err


def test_a_hostile_model_is_refused_and_nothing_runs(run: Run, tmp_path: Path) -> None:
    import pickle  # noqa: TID251 the hostile file is made here

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'it-ran'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"w": Bomb()}))
    plan = write(tmp_path, "plan.toml", model='unlearned = "evil.pt"')
    code, _, err = run("certify", plan)
    assert code == 2
    assert "not a safe model file" in err
    assert not (tmp_path / "it-ran").exists()


def test_init_writes_a_plan_that_works(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "start"
    code, out, _ = run("init", folder)
    assert code == 0
    assert out.splitlines() == [str(folder / "plan.toml"), str(folder / "my_model.py")]
    code, out, err = run("certify", folder / "plan.toml", "--dry-run")
    assert (code, err) == (0, "")
    assert "retrained: 39 trainings, 0 remembered" in out
    assert not (folder / "plan-audit").exists()
    code, _, err = run("init", folder)
    assert code == 4
    assert "exists already" in err


def test_dry_run_says_what_cannot_be_shown(run: Run, workplace: Path) -> None:
    plan = write(workplace, "dry.toml", random=8, method='[method]\nname = "retrain"')
    forecast = json.loads(run("certify", plan, "--dry-run", "--json")[1])
    assert forecast["rows"]["forget"] == 8
    assert forecast["notes"] == ["8 forget rows are below 20: it cannot PASS"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--device", "cuda:99", "device"),
        ("--device", "abacus", "expected such as cpu, cuda or cuda:1"),
        ("--engine", "steam", "expected local or ray"),
    ],
)
def test_devices_and_engines_that_are_not_there(
    run: Run, workplace: Path, option: str, value: str, said: str
) -> None:
    plan = write(workplace, "where.toml", random=8, method='[method]\nname = "retrain"')
    code, _, err = run("certify", plan, option, value)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("kind", ["methods", "attacks", "datasets", "models"])
def test_list_and_show(run: Run, kind: str) -> None:
    code, out, _ = run("list", kind, "--json")
    assert code == 0
    items = json.loads(out)
    assert items
    lines = run("list", kind)[1].splitlines()
    assert [line.split()[0] for line in lines] == list(items)
    for name in items:
        code, out, _ = run("show", name)
        assert code == 0
        assert out.startswith(name)


def test_show_suggests_the_nearest(run: Run) -> None:
    code, _, err = run("show", "scrubb")
    assert code == 2
    assert "did you mean 'scrub'" in err
    assert run("list", "nothing")[0] == 2


def test_doctor(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    findings = {item["name"]: item for item in json.loads(out)}
    assert {"python", "torch", "PDF rendering", "openssl"} <= set(findings)
    assert code == int(any(item["missing"] for item in findings.values()))
    assert "ok      python" in run("doctor")[1]


def test_keys(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "fresh"))
    assert run("keys", "new", "--name", "Privacy Office", "--unattended")[0] == 0
    code, out, _ = run("keys", "show")
    assert code == 0
    assert "Privacy Office" in out
    assert "unattended" in out
    for name in ("Another", "Next"):
        out = run("keys", "new", "--name", name, "--unattended")[1]
        assert out.startswith("the former key is kept as retired-")
    assert len(list((tmp_path / "fresh" / "keys").glob("retired-*"))) == 2
    assert run("keys", "export", "--out", tmp_path / "out")[0] == 0
    assert run("trust", "add", tmp_path / "out", "--yes")[0] == 0
    assert "Next" in run("trust", "list")[1]
    assert len(json.loads(run("trust", "list", "--json")[1])) == 1
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", "short")
    code, _, err = run("keys", "new", "--name", "Third")
    assert code == 2
    assert "at least 12 characters" in err


def test_a_passphrase_protects_the_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "locked"))
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", "correct horse battery")
    assert run("keys", "new", "--name", "Office")[0] == 0
    assert "passphrase" in run("keys", "show")[1]
    monkeypatch.setenv("FORGET_AUDIT_PASSPHRASE", "wrong horse battery")
    code, _, err = run("keys", "show", "--unlock")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    monkeypatch.delenv("FORGET_AUDIT_PASSPHRASE")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    assert "set FORGET_AUDIT_PASSPHRASE" in run("keys", "show", "--unlock")[2]


def test_a_folder_with_other_files_is_refused_before_anything_is_trained(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forget_audit.audits.runs.carry_out", None)
    plan = write(workplace, "mine.toml", method='[method]\nname = "retrain"')
    (workplace / "thesis").mkdir()
    (workplace / "thesis" / "chapter.txt").write_text("mine", encoding="utf-8")
    code, _, err = run("certify", plan, "--out", workplace / "thesis")
    assert code == 4
    assert "holds files that no release made (chapter.txt)" in err
    assert (workplace / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "mine"


def test_verify_of_nothing(run: Run, tmp_path: Path) -> None:
    assert run("verify", tmp_path / "absent")[0] == 1
    assert run("verify")[0] == 2


def test_version(run: Run) -> None:
    assert run("--version")[1].startswith("forget-audit 0.")


def test_errors_of_an_audit_are_one_line_and_code_four(
    run: Run, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ForgetAuditError("the disk is full")

    monkeypatch.setattr("forget_audit.audits.runs.certify", fail)
    plan = write(workplace, "fail.toml", method='[method]\nname = "retrain"')
    code, out, err = run("certify", plan)
    assert (code, out, err) == (4, "", "the disk is full\n")


def test_demo_names_the_data_it_knows(run: Run) -> None:
    code, _, err = run("demo", "--data", "nothing")
    assert (code, err) == (2, "--data is one of randhie, digits, found 'nothing'\n")


def test_calibrate_counts_verdicts_of_known_models(run: Run, tmp_path: Path) -> None:
    plan = write(tmp_path, "small.toml", random=40, method='[method]\nname = "retrain"')
    text = plan.read_text(encoding="utf-8").replace("retrained = 19", "retrained = 4")
    plan.write_text(text, encoding="utf-8")
    out = tmp_path / "found"
    sizes = ("--sets", 1, "--retrained", 2, "--bad", 1, "--left-in", 1)
    code, printed, err = run("calibrate", plan, "--out", out, *sizes, "--json")
    assert code == 0, err
    rows = {row["kind"]: row for row in json.loads(printed)}
    assert rows["true retrain"]["n"] == 2
    assert {"original", "random labels", "adaptive suppression", "20 % left in"} <= set(rows)
    for row in rows.values():
        assert sum(row["counts"].values()) == row["n"]
        assert row["counts"]["PASS"] == 0, "four references show nothing"
    assert json.loads((out / "calibration.json").read_text("utf-8")) == list(rows.values())
    assert "| true retrain | answers | 2 | 0 |" in (out / "calibration.md").read_text("utf-8")


def test_a_second_attempt_is_held_to_half_the_level(run: Run, tmp_path: Path) -> None:
    plan = write(tmp_path, "again.toml", random=40, method='[method]\nname = "retrain"')
    text = plan.read_text(encoding="utf-8").replace("retrained = 19", "retrained = 4")
    for method, attempt in (("retrain", 1), ("retrain", 1), ("finetune", 2)):
        plan.write_text(text.replace('"retrain"', f'"{method}"'), encoding="utf-8")
        _, printed, _ = run("certify", plan, "--out", tmp_path / "out")
        assert ("attempt 2 at this request: level 0.025" in printed) == (attempt == 2)
        evidence = json.loads((tmp_path / "out" / "evidence.json").read_bytes())
        assert evidence["battery"]["attempt"] == attempt
        assert evidence["battery"]["settings"]["alpha"] == 0.05 / attempt
        assert run("verify", tmp_path / "out")[0] == 3


def test_a_forecast_lists_candidate_shadows(run: Run, tmp_path: Path) -> None:
    plan = write(tmp_path, "shadows.toml", method='[method]\nname = "retrain"')
    text = plan.read_text(encoding="utf-8")
    plan.write_text(text.replace("shadows = 4", "shadows = 4\ncandidate_shadows = 6"), "utf-8")
    trainings = json.loads(run("certify", plan, "--dry-run", "--json")[1])["trainings"]
    assert trainings["candidate shadows"] == {"models": 6, "remembered": 0}
