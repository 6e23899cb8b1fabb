"""Full disks and files that the system refuses: named, kept whole, and never a PASS."""

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from forget_audit import whole_files
from forget_audit.errors import StorageError
from forget_audit.faults import named
from forget_audit.reports import folders
from forget_audit.whole_files import write_output, write_whole
from tests.faults.machines import PLAN, VERDICTS, full, left_behind, python
from tests.fixtures.commands import Run

SMALL = 2000  # bytes
WRITE = """
import os, sys
from pathlib import Path
from forget_audit.errors import StorageError
from forget_audit.whole_files import write_output, write_whole
path, user = Path(sys.argv[1]), int(sys.argv[2])
if user:
    os.seteuid(user)
for write in (write_whole, write_output):
    try:
        write(path, bytes(10_000))
    except StorageError as error:
        print(error)
"""


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGET_AUDIT_HOME", str(tmp_path / "home"))


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, SMALL))


def test_a_file_that_does_not_fit_is_named_and_what_stood_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("before")
    said = python(WRITE, path, 0, limit=limited).stdout.splitlines()
    assert len(said) == 2
    assert all(str(path) in line and "ulimit -f" in line and "kept" in line for line in said)
    assert path.read_text() == "before"
    assert [item.name for item in tmp_path.iterdir()] == ["file.json"]


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(part.stat().st_mode | 0o055)
    nobody = 65534 if os.geteuid() == 0 else 0
    said = python(WRITE, folder / "file.json", nobody).stdout.splitlines()
    assert len(said) == 2
    assert all("file.json" in line and "check the rights" in line for line in said)


@pytest.mark.parametrize("write", [write_whole, write_output], ids=["whole", "output"])
@pytest.mark.parametrize("step", ["open", "write", "replace"])
def test_no_half_of_a_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object, step: str
) -> None:
    path = tmp_path / "file.json"
    with monkeypatch.context() as broken:
        if step == "replace":
            broken.setattr(Path, "replace", full)
        else:
            broken.setattr(os, "open" if step == "open" else "fdopen", full)
        with pytest.raises(StorageError, match=r"file\.json: No space left on device; free some"):
            write(path, b"content")  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_an_output_follows_links_and_reaches_what_is_no_file(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    write_output(link, "ä")
    assert link.is_symlink()
    assert target.read_bytes() == "ä".encode()
    write_output(Path(os.devnull), "nothing")
    with pytest.raises(StorageError, match="a folder is there"):
        write_output(tmp_path, "nothing")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "choose a folder"),
        (errno.EDQUOT, "quota"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "medium"),
        (errno.EXDEV, "run it again"),
    ],
)
def test_each_refusal_comes_with_advice(number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as told, named(Path("place")):
        raise OSError(number, os.strerror(number))
    assert str(told.value).startswith("place: ")


def test_certify_with_a_disk_that_fills_up_at_any_write(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, audit = tmp_path / "plan.toml", tmp_path / "audit"
    plan.write_text(PLAN, encoding="utf-8")
    places = [(whole_files, "_write"), (folders, "write")]
    at, done = [0], [0]

    def counted(target: object, name: str) -> None:
        true = getattr(target, name)

        def write(*args: object) -> object:
            done[0] += 1
            if done[0] == at[0]:
                with named(Path(str(args[0]))):
                    full()
            return true(*args)

        monkeypatch.setattr(target, name, write)
        if name == "write":
            monkeypatch.setattr("forget_audit.reports.release.write", write)

    for target, name in places:
        counted(target, name)
    broken = 0
    for number in (1, 3, 1, 2, 5, 8):
        at[0], done[0] = number, 0
        code, out, said = run("certify", plan, "--out", audit)
        if code != 4:
            break
        broken += 1
        assert "No space left on device; free some space; what was finished is kept" in said
        assert "PASS" not in out
        assert not audit.exists()
        assert not left_behind(tmp_path)
    assert broken >= 5
    at[0] = 0
    assert run("certify", plan, "--out", audit)[0] in VERDICTS
    assert run("verify", audit)[0] == 3  # sound, by a signer whom nobody trusts yet
    assert not left_behind(tmp_path)


def test_places_where_no_file_can_be(run: Run, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN, encoding="utf-8")
    file, pipe, broken = tmp_path / "file", tmp_path / "pipe", tmp_path / "broken"
    file.touch()
    os.mkfifo(pipe)
    broken.symlink_to(tmp_path / "nowhere")
    long = tmp_path / ("a" * 300)
    for code, words, *call in (
        (4, "not a folder", "certify", plan, "--out", file),
        (4, f"{file}: ", "certify", plan, "--out", file / "below"),
        (4, "choose a shorter name", "certify", plan, "--out", long),
        (2, "not a regular file", "certify", pipe),
        (2, "cannot be read", "certify", broken),
        (2, "cannot be read", "certify", tmp_path),
        (2, "not a regular file", "gate", plan, "--attestation", file, "--trust", pipe),
        (4, "a folder is there", "unlearn", plan, "--method", "finetune",
         "--out", _folder(tmp_path / "model.safetensors")),
        (4, f"{file}: ", "keys", "export", "--out", file),
    ):  # fmt: skip
        found, out, said = run(*call)
        assert (found, words in out + said) == (code, True), (call, out, said)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "call",
    [
        ["keys", "new", "--name", "A", "--unattended"],
        ["init", "start", "--yes"],
        ["ledger", "list"],
    ],
    ids=lambda call: call[0],
)
def test_small_commands_on_a_full_disk(tmp_path: Path, call: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['forget-audit', *{call!r}]\n"
        "from forget_audit.cli import main; main()"
    )

    def one_byte() -> None:
        os.chdir(tmp_path)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))

    done = python(code, limit=one_byte, environment={"PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode in (2, 4), done
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()], done.stderr
