"""A GPU that fails, a clock that was set back, and code of ours that is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as all_threads

import pytest

from forget_audit.audits.battery import run_battery
from forget_audit.commands import ending
from forget_audit.errors import KeyFileError, StorageError
from forget_audit.keys import signing
from forget_audit.keys.signing import SigningKey
from forget_audit.pools import Pool
from forget_audit.training import remembered_ways
from forget_audit.types import Case
from tests.faults.machines import PLAN, VERDICTS, left_behind
from tests.fixtures.commands import Run

LOST = RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


def test_a_gpu_that_fails_in_the_middle_stops_the_run_cleanly(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN.replace('"html"]', '"html", "pdf"]'), encoding="utf-8")
    from forget_audit.training import together, trainers

    true, done = together.fit_together, []

    def failing(*args: object, **kwargs: object) -> None:
        done.append(1)
        if len(done) > 2:
            raise LOST
        true(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as machine:
        machine.setattr(trainers, "fit_together", failing)
        code, out, said = run("certify", plan, "--out", tmp_path / "audit")
    assert (code, out) == (4, "")
    assert "the GPU failed (CUDA error: unspecified launch failure)" in said
    assert "--device cpu" in said
    kept = set((tmp_path / ".forget-audit/models").glob("*.safetensors"))
    assert kept
    assert not (tmp_path / "audit").exists()
    assert not left_behind(tmp_path)
    from forget_audit.reports import pdf

    with monkeypatch.context() as machine:  # and now the PDF maker breaks
        machine.setattr(pdf, "COMMAND", ("-c", "raise SystemExit(9)"))
        code, out, said = run("certify", plan, "--out", tmp_path / "audit")
        assert code in VERDICTS
        assert (out + said).count("no PDF: ") == 1
        code, out, said = run("report", tmp_path / "audit", "--out", tmp_path / "again")
        assert code == 0
        assert (out + said).count("no PDF: ") == 1
    for folder in ("audit", "again"):
        names = {item.name for item in (tmp_path / folder).iterdir()}
        assert names >= {"report.html", "receipt.html"}
        assert "report.pdf" not in names


@pytest.mark.parametrize("error", [LOST, StorageError("disk")], ids=["GPU", "disk"])
def test_a_machine_that_breaks_in_an_attack_is_no_error_of_the_attack(
    digits_case: Case, digits_pool: Pool, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("forget_audit.attacks.loss_threshold.LossThreshold.fit", broken)
    with pytest.raises(type(error)):
        run_battery(digits_pool.retrained[0], digits_pool, digits_case, 0, ["loss_threshold"])


def test_an_attack_that_needs_too_much_memory_is_no_failure_of_the_audit(
    digits_case: Case, digits_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("forget_audit.attacks.loss_threshold.LossThreshold.fit", short)
    found = run_battery(digits_pool.retrained[0], digits_pool, digits_case, 0, ["loss_threshold"])
    [row] = [result for result in found if result.name == "loss_threshold"]
    assert (row.outcome, row.reason.partition(";")[0]) == ("error", "MemoryError")


def test_a_gpu_that_fails_while_ways_are_measured_leaves_no_measurement(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from torch import nn

    from forget_audit.training.loop import Recipe
    from forget_audit.training.ways import Question

    class Lost(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled():
                raise LOST
            return super().forward(x)

    question = Question(
        build=lambda: Lost(3, 2),
        rows=torch.tensor(np.ones((4, 3), np.float32)),
        recipe=Recipe(epochs=200, steps_per_epoch=2),
        device=torch.device("cpu"),
        precision="fp32",
    )
    with pytest.raises(RuntimeError, match="CUDA error"):
        remembered_ways.way_for(question)
    assert not list(tmp_path.rglob(remembered_ways.FILE))


@pytest.mark.parametrize(
    ("days", "words"), [(-2, "begins on .*set the clock right"), (5000, "ended on .*keys new")]
)
def test_a_key_signs_only_on_its_days(
    days: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SigningKey.create("A")
    key.refuse_unusable()

    class Clock(datetime):
        @classmethod
        def now(cls, *_: object) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=days)

    monkeypatch.setattr(signing, "datetime", Clock)
    with pytest.raises(KeyFileError, match=words):
        key.refuse_unusable()


def test_a_fault_of_ours_is_neither_a_pass_nor_a_fail(capsys: pytest.CaptureFixture[str]) -> None:
    def wrong() -> None:
        raise AttributeError("nothing of the user's")

    assert ending.code_of(wrong) == 4
    said = capsys.readouterr().err
    assert "AttributeError: nothing of the user's" in said
    assert "this is a fault of forget-audit" in said


def test_memory_and_disks_are_told_at_any_command(capsys: pytest.CaptureFixture[str]) -> None:
    def short() -> None:
        raise MemoryError

    def unreadable() -> None:
        Path("nowhere").read_bytes()

    assert ending.code_of(short) == 4
    assert ending.code_of(unreadable) == 4
    said = capsys.readouterr().err
    assert "not enough memory" in said
    assert "nowhere: No such file or directory; check the path" in said


def test_threads_of_whoever_calls_the_program_are_left_alone() -> None:
    over = Event()
    thread = Thread(target=over.wait)
    thread.start()
    try:
        with pytest.raises(SystemExit) as stop:
            ending.end(3, all_threads())
    finally:
        over.set()
    assert stop.value.code == 3
