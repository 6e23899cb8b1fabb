"""`init` as a person uses it: every start it writes passes the dry run unedited."""

import csv
import importlib
import os
import pty
import select
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from forget_audit.audits import runs
from forget_audit.commands import init as cli_init
from forget_audit.errors import ForgetAuditError
from tests.fixtures.formats import make_cifar10

ROOT = Path(__file__).resolve().parents[2]
Init = Callable[..., tuple[int, str, str]]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Init]:
    app = typer.Typer()
    app.command()(cli_init.init)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*words: object) -> tuple[int, str, str]:
        sys.modules.pop("my_model", None)
        done = CliRunner().invoke(app, [str(word) for word in words], color=False)
        if isinstance(done.exception, ForgetAuditError):
            return 4, done.stdout, str(done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    yield call
    sys.modules.pop("my_model", None)


def table(path: Path, people: int = 60, each: int = 4, label: str = "label") -> None:
    rng = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow(["id", "unit", "height", "weight", label])
        for k in range(people * each):
            values = rng.normal(size=2).round(6).tolist()
            written.writerow([f"row-{k}", f"person-{k // each}", *values, int(rng.integers(3))])


def plan(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))


def test_without_answers_it_writes_the_examples_and_says_no_more(init: Init) -> None:
    assert init("start") == (0, "start/plan.toml\nstart/my_model.py\n", "")
    code, _, err = init("start")
    assert (code, err.split(";")[0]) == (4, "start/plan.toml exists already")
    code, out, _ = init("start", "--force")
    assert (code, out.splitlines()[0]) == (
        0,
        "start/plan.toml (the former one is now plan.toml.1)",
    )
    runs.read(Path("start/plan.toml"))


STARTS: dict[str, tuple[list[str], str, dict[str, Any]]] = {
    "the example": (
        ["--yes", "--random", "60"],
        "my_model:load will be an example in my_model.py",
        {"model": {"architecture": "my_model:build"}},
    ),
    "rows one at a time": (
        ["--data", "my_model:stream", "--kind", "function"],
        "my_model:stream will be an example",
        {"training": {"function": "my_model:fit"}},
    ),
    "a table": (
        ["--data", "rows.csv", "--random", "20", "--method", "ssd"],
        "found 240 rows, 3 classes, 60 people",
        {"data": {"source": "csv:../rows.csv"}, "method": {"name": "ssd"}},
    ),
    "a table with other columns": (
        ["--data", "odd.csv", "--option", "label=grade", "--classes", "1"],
        "found 240 rows, 3 classes, 60 people",
        {"data": {"source": "csv:../odd.csv", "options": {"label": "grade"}}},
    ),
    "ids in a file": (
        ["--data", "csv:rows.csv", "--forget", "ids.csv", "--architecture", "linear"],
        "found 240 rows",
        {"model": {"architecture": "linear"}},
    ),
    "pictures and a known network": (
        ["--data", "cifar10:pictures", "--kind", "function", "--architecture", "resnet18"],
        "found 100 rows, 10 classes",
        {"model": {"architecture": "my_model:build"}, "training": {"function": "my_model:fit"}},
    ),
    "one of several labels": (
        ["--data", "digit_attributes", "--architecture", "mlp"],
        "4 labels (even, at least five, has a loop, prime)",
        {"method": {"name": "weight_filtering"}},
    ),
    "a sub-class": (
        ["--data", "digit_groups", "--classes", "3", "--scope", "subclass", "--method", "unsir"],
        "found 1,797 rows, 5 classes",
        {"method": {"name": "unsir"}},
    ),
    "boosted trees": (
        ["--kind", "xgboost", "--data", "randhie"],
        "found 2,550 rows, 3 classes",
        {"model": {"architecture": "xgboost", "options": {"subsample": 0.8}}},
    ),
    "a classifier of scikit-learn": (
        ["--kind", "sklearn", "--data", "fair"],
        "found 4,829 rows, 2 classes",
        {"method": {"name": "retrain"}},
    ),
}


@pytest.mark.parametrize("name", STARTS)
def test_what_is_written_passes_the_dry_run(init: Init, tmp_path: Path, name: str) -> None:
    table(tmp_path / "rows.csv")
    table(tmp_path / "odd.csv", label="grade")
    (tmp_path / "ids.csv").write_text("".join(f"person-{k}\n" for k in range(25)), "utf-8")
    make_cifar10(tmp_path / "pictures", train=60, test=40)
    words, found, expected = STARTS[name]
    code, out, err = init("audit", *words)
    assert (code, err) == (0, "")
    assert found in out
    assert "checked: " in out
    assert "forget-audit certify audit/plan.toml" in out.splitlines()[-1]
    written = plan(tmp_path / "audit")
    for section, keys in expected.items():
        assert keys.items() <= written[section].items()
    adapter = tmp_path / "audit" / "my_model.py"
    assert adapter.exists() == ("my_model:" in str(written))
    assert "EDIT" in (tmp_path / "audit" / "plan.toml").read_text(encoding="utf-8")


def test_a_folder_of_hugging_face_passes_the_dry_run(init: Init, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    settings = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 8}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(
        **settings, **layers, num_labels=10, architectures=["ViTForImageClassification"]
    )
    config.save_pretrained(tmp_path / "model")
    rng = np.random.default_rng(0)
    np.savez("rows.npz", x=rng.random((200, 1, 8, 8)), y=np.arange(200) % 10)
    code, out, err = init("audit", "--data", "rows.npz", "--architecture", "hf:model")
    assert (code, err) == (0, "")
    assert "found 200 rows, 10 classes" in out
    assert plan(tmp_path / "audit")["model"] == {"architecture": "hf:../model"}


def test_the_training_loop_of_the_adapter_knows_the_classes(init: Init, tmp_path: Path) -> None:
    table(tmp_path / "rows.csv")
    init(".", "--data", "rows.csv", "--kind", "function", "--architecture", "linear")
    text = (tmp_path / "my_model.py").read_text(encoding="utf-8")
    assert "N_CLASSES = 3  # EDIT" in text
    assert "ARCHITECTURE = 'linear'  # EDIT" in text
    my_model = importlib.import_module("my_model")

    x, y = np.zeros((20, 2), dtype=np.float32), np.zeros(20, dtype=np.int64)
    first, again, other = (my_model.fit(x, y, seed) for seed in (1, 1, 2))
    weights = [next(model.parameters()).detach().numpy() for model in (first, again, other)]
    assert weights[0].shape == (3, 2)
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


WRONG: dict[str, tuple[list[str], str]] = {
    "no file": (["--data", "nowhere.csv"], "--data: there is no file or folder nowhere.csv"),
    "no column": (["--data", "odd.csv"], "add --option label=NAME"),
    "no data set": (["--data", "digit"], "did you mean 'digits'"),
    "no setting": (["--data", "odd.csv", "--option", "label"], "--option: expected KEY=VALUE"),
    "no kind": (["--kind", "pytorch"], "did you mean 'torch'"),
    "no method": (["--data", "digits", "--method", "scrubb"], "did you mean 'scrub'"),
    "no network": (["--data", "digits", "--architecture", "resnet_18"], "did you mean 'resnet18'"),
    "no module": (["--data", "nothing_here:load"], "cannot import nothing_here:load"),
    "no class": (["--data", "digits", "--classes", "12"], "class 12 does not exist"),
    "no number": (["--data", "digits", "--classes", "three"], "expected numbers of classes"),
    "no scope": (["--data", "digits", "--scope", "row"], "--scope: unknown scope 'row'"),
    "other scope": (
        ["--data", "digits", "--random", "9", "--scope", "class"],
        "scope 'class' does not go with '9'",
    ),
    "two requests": (["--random", "9", "--classes", "1"], "found --random and --classes"),
    "too many": (["--data", "digits", "--random", "9999"], "cannot forget 9999"),
    "no ids": (["--data", "digits", "--forget", "ids.txt"], "there is no file of ids"),
    "strangers": (["--data", "odd.csv", "--option", "label=grade", "--forget", "who.csv"], "me"),
    "no weights": (["--data", "digits", "--unlearned", "u.safetensors"], "there is no file u"),
    "method of networks": (["--kind", "xgboost", "--data", "fair", "--method", "ssd"], "retrain"),
    "several labels": (["--kind", "function", "--data", "digit_attributes"], "several labels"),
    "no folder": (["--kind", "huggingface", "--data", "digits"], "--architecture is needed"),
    "no preset": (["--preset", "nothing"], "unknown preset 'nothing'"),
    "no predictions": (["--kind", "predictions", "--data", "gone.txt"], "there is no file gone"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_refused_before_anything_is_written(
    init: Init, tmp_path: Path, name: str
) -> None:
    table(tmp_path / "odd.csv", label="grade")
    (tmp_path / "who.csv").write_text("me\n", encoding="utf-8")
    words, message = WRONG[name]
    code, _, err = init("audit", *words)
    assert code == 2
    assert message in err
    assert not (tmp_path / "audit").exists()


def test_a_plan_that_needs_more_says_what(init: Init, tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "my_model.py").write_text("def build(shape, n):\n    return 3\n", "utf-8")
    code, out, err = init("audit", "--data", "digits")
    assert code == 2
    assert "audit/plan.toml" in out
    assert "is written; before it runs, put right:" in err
    assert "must return a torch.nn.Module" in err


def test_predictions_get_a_writer_and_are_read_if_they_are_there(
    init: Init, tmp_path: Path
) -> None:
    code, out, _ = init("audit", "--kind", "predictions")
    assert (code, "write_predictions.py writes one" in out) == (0, True)
    writer = tmp_path / "audit" / "write_predictions.py"
    text = writer.read_text(encoding="utf-8").replace("RETRAINED = 39", "RETRAINED = 3")
    writer.write_text(text.replace("n_estimators=60", "n_estimators=2"), encoding="utf-8")
    subprocess.run([sys.executable, writer.name], cwd=writer.parent, check=True)
    code, out, err = init("again", "--kind", "predictions", "--data", "audit/predictions.csv")
    assert (code, err) == (0, "")
    assert "found 2 classes; models: 3 retrained, 8 originals, 1 audited, 2 identity" in out
    assert plan(tmp_path / "again")["predictions"] == {"file": "../audit/predictions.csv"}
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"plan.toml"}


def test_a_preset_becomes_a_plan_with_the_place_of_its_data(init: Init, tmp_path: Path) -> None:
    make_cifar10(tmp_path / "papers" / "cifar-10", train=60, test=40)
    preset = ("--preset", "lpu-cifar10-resnet18")
    code, out, _ = init("a", *preset, "--data", "papers")
    assert (code, "note:" in out) == (0, False)
    assert plan(tmp_path / "a")["data"]["source"] == "cifar10:../papers/cifar-10"
    code, out, _ = init("b", *preset)
    assert code == 0
    assert "note: expected CIFAR-10 in cifar-10" in out


def test_a_person_at_a_terminal_is_asked_again_until_it_is_right(tmp_path: Path) -> None:
    table(tmp_path / "rows.csv", label="grade")
    said = ["nope", "1", "nowhere.csv", "rows.csv", "grade", "linear", "classes 9", "", "ssdd",
            "ssd", 'The "Office"\tLtd']  # fmt: skip
    code, screen = at_a_terminal(["init", "audit"], said, tmp_path)
    assert code == 0, screen
    for message in (
        "unknown kind 'nope'",
        "there is no file or folder nowhere.csv",
        "Which column holds the labels",
        "found 240 rows, 3 classes, 60 people",
        "class 9 does not exist",
        "unknown method 'ssdd'",
        "checked: ",
    ):
        assert message in screen
    written = plan(tmp_path / "audit")
    assert written["data"] == {"source": "csv:../rows.csv", "options": {"label": "grade"}}
    assert written["report"]["controller"] == 'The "Office"\tLtd'
    assert not (tmp_path / "audit" / "my_model.py").exists()


def at_a_terminal(words: list[str], answers: list[str], folder: Path) -> tuple[int, str]:
    """Answer each question when it has been asked; return the exit code and the screen."""
    code = "import typer; from forget_audit.commands.init import init; typer.run(init)"
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        call = [sys.executable, "-c", code, *words[1:]]
        os.execve(sys.executable, call, environment)  # noqa: S606  at a terminal of its own
    screen, waiting, until = b"", list(answers), time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        screen += part
        if waiting and screen.endswith(b"]: "):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen.decode()
