"""Which model a folder holds: any change of a file makes another, and links are refused."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.audits import commission
from forget_audit.deployment.gating import Decision, gate
from forget_audit.digests import file_digest, sha256
from forget_audit.errors import ModelError
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.model_identity import folder_digest, folder_manifest, model_digest, unchanged
from forget_audit.plans.plan import read_plan
from forget_audit.reports.attestation import audit_statement, seal
from tests.fixtures.attested import reported
from tests.fixtures.released import key, trust

Change = Callable[[Path], None]


def saved(folder: Path) -> Path:
    """A model folder with two files and one below."""
    (folder / "tokens").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_bytes(b"{}")
    (folder / "tokens/words.txt").write_bytes(b"one\ntwo\n")
    return folder


def test_the_manifest_lists_every_file_by_name(tmp_path: Path) -> None:
    found = folder_manifest(saved(tmp_path / "net"))
    assert found["schema"] == "forget-audit/model-folder/1"
    assert [item["name"] for item in found["files"]] == [
        "config.json", "model.safetensors", "tokens/words.txt",
    ]  # fmt: skip
    assert found["files"][1] == {
        "name": "model.safetensors", "sha256": sha256(b"weights"), "size": 7,
    }  # fmt: skip


def test_the_digest_is_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    first = folder_digest(saved(tmp_path / "net"))
    (tmp_path / "net/empty").mkdir()
    os.utime(tmp_path / "net/config.json", (0, 0))
    assert folder_digest(shutil.copytree(tmp_path / "net", tmp_path / "other")) == first


def test_the_digest_can_be_computed_by_hand(tmp_path: Path) -> None:
    files = {
        "config.json": b"{}",
        "model.safetensors": b"weights",
        "tokens/words.txt": b"one\ntwo\n",
    }
    entries = [
        f'{{"name":"{name}","sha256":"{sha256(data)}","size":{len(data)}}}'
        for name, data in files.items()
    ]
    text = f'{{"files":[{",".join(entries)}],"schema":"forget-audit/model-folder/1"}}'
    assert folder_digest(saved(tmp_path / "net")) == sha256(text.encode())


def byte(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weightz")


def added(folder: Path) -> None:
    (folder / "tokens/more.txt").write_bytes(b"")


def removed(folder: Path) -> None:
    (folder / "config.json").unlink()


def renamed(folder: Path) -> None:
    (folder / "tokens").rename(folder / "words")


def swapped(folder: Path) -> None:
    (folder / "config.json").rename(folder / "was")
    (folder / "model.safetensors").rename(folder / "config.json")
    (folder / "was").rename(folder / "model.safetensors")


@pytest.mark.parametrize("change", [byte, added, removed, renamed, swapped])
def test_any_change_makes_another_model(tmp_path: Path, change: Change) -> None:
    first = folder_digest(saved(tmp_path / "net"))
    change(tmp_path / "net")
    assert folder_digest(tmp_path / "net") != first


def link(folder: Path) -> None:
    (folder / "weights").symlink_to("model.safetensors")


def link_to_folder(folder: Path) -> None:
    (folder / "further").symlink_to(folder / "tokens")


def hidden(folder: Path) -> None:
    (folder / "tokens/.notes").write_bytes(b"")


def hidden_folder(folder: Path) -> None:
    (folder / ".git").mkdir()


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def odd_name(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/\xff")).write_bytes(b"")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


REFUSED: dict[Change, str] = {
    link: "holds the link weights",
    link_to_folder: "holds the link further",
    hidden: r"the hidden entry tokens/\.notes",
    hidden_folder: r"the hidden entry \.git",
    pipe: "pipe, which is no regular file",
    odd_name: "is no plain name",
    empty: "is empty",
}


@pytest.mark.parametrize("change", REFUSED, ids=[change.__name__ for change in REFUSED])
def test_what_has_no_place_in_a_model_folder_is_refused(tmp_path: Path, change: Change) -> None:
    folder = saved(tmp_path / "net")
    change(folder)
    with pytest.raises(ModelError, match=REFUSED[change]):
        model_digest(folder)


def test_files_and_folders(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    assert model_digest(folder) == folder_digest(folder)
    assert model_digest(folder / "config.json") == file_digest(folder / "config.json")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ModelError, match="the model is a link"):
        model_digest(tmp_path / "link")
    with pytest.raises(ModelError, match="the model cannot be read"):
        model_digest(tmp_path / "absent")


# While it is read


def exchanged(path: Path) -> None:
    path.with_name("other").write_bytes(b"others!")
    path.with_name("other").replace(path)


def exchanged_for_a_moment(path: Path) -> None:
    path.rename(path.with_name("kept"))
    path.write_bytes(b"others!")
    path.with_name("kept").rename(path)


def written_to_and_dated_back(path: Path) -> None:
    data, status = path.read_bytes(), path.stat()
    path.write_bytes(b"others!")
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    "change", [exchanged, exchanged_for_a_moment, written_to_and_dated_back, Path.unlink]
)
@pytest.mark.parametrize("inside", [False, True], ids=["file", "folder"])
def test_a_model_that_changes_while_it_is_read(
    change: Change, inside: bool, tmp_path: Path
) -> None:
    """The bytes that are loaded and those that are named in the report are the same."""
    folder = saved(tmp_path / "net")
    file = folder / "model.safetensors"
    time.sleep(0.02)  # clocks of file systems tick every few milliseconds
    with unchanged(folder if inside else file) as digest:
        assert digest == model_digest(folder if inside else file)
        file.read_bytes()
    with (
        pytest.raises(ModelError, match=r"changed while it was being read|cannot be read"),
        unchanged(folder if inside else file),
    ):
        change(file)


def test_a_model_that_changes_while_it_is_loaded_is_not_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[request]\nreference = "R-1"\nrandom = 100\n[data]\nsource = "digits"\n'
        "[training]\nepochs = 1\n"
        '[model]\narchitecture = "linear"\nunlearned = "model.safetensors"\n',
        encoding="utf-8",
    )
    file = tmp_path / "model.safetensors"
    architecture = Architecture(name="linear", shape=(64,), n_classes=10)
    file.write_bytes(safetensors_bytes(architecture.build()))
    commission.from_plan(read_plan(plan))

    def loaded(model: nn.Module, path: Path) -> nn.Module:
        found = load_weights(model, path)
        path.write_bytes(safetensors_bytes(architecture.build()))
        return found

    monkeypatch.setattr("forget_audit.audits.commission.load_weights", loaded)
    with pytest.raises(ModelError, match=r"model\.safetensors changed while it was being read"):
        commission.from_plan(read_plan(plan))


# The gate


def asked(folder: Path, model: Path) -> Decision:
    """Ask the gate about `model`, where the folder was audited."""
    document = reported()
    document["model"]["audited"][0]["sha256"] = folder_digest(folder)
    (folder.parent / "audit.dsse.json").write_bytes(seal(audit_statement(document), key()))
    return gate(model, [folder.parent / "audit.dsse.json"], trust())


def test_the_gate_lets_the_audited_folder_out(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net")
    decision = asked(folder, folder)
    assert decision.deploy
    assert decision.sha256 == folder_digest(folder)
    assert decision.model == "net"


@pytest.mark.parametrize("change", [byte, added, renamed])
def test_the_gate_refuses_a_folder_that_was_changed(tmp_path: Path, change: Change) -> None:
    folder, other = saved(tmp_path / "net"), saved(tmp_path / "other")
    change(other)
    decision = asked(folder, other)
    assert (decision.deploy, decision.code) == (False, "not-the-audited-model")
    single = asked(folder, folder / "model.safetensors")
    assert (single.deploy, single.code) == (False, "not-the-audited-model")


@pytest.mark.parametrize("change", [link, hidden])
def test_the_gate_says_what_is_wrong_with_a_folder(tmp_path: Path, change: Change) -> None:
    folder, other = saved(tmp_path / "net"), saved(tmp_path / "other")
    change(other)
    decision = asked(folder, other)
    assert (decision.deploy, decision.code) == (False, "unreadable")
    assert "the model folder holds" in decision.reason
    assert decision.sha256 == ""
