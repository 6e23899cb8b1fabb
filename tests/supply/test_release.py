"""What a release is made of: the same bytes each time, a list of parts, known weaknesses."""

import json
import tarfile
from io import BytesIO
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from packaging.requirements import Requirement

from forget_audit.digests import file_digest
from scripts import advisories, sbom
from scripts.closure import NotInstalled, closure, direct, extras
from scripts.repack import repack


def sdist(path: Path, names: list[str], *, mode: int, moment: int, owner: str) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mode, member.mtime, member.uname, member.uid = mode, moment, owner, moment % 9
            member.size = len(name)
            file.addfile(member, BytesIO(name.encode()))
    return path


def test_repacked_archives_do_not_depend_on_who_made_them_and_when(tmp_path: Path) -> None:
    names = ["thing-1/a.py", "thing-1/b.py", "thing-1/PKG-INFO"]
    first = sdist(tmp_path / "1.tar.gz", names, mode=0o664, moment=1_700_000_001, owner="anna")
    second = sdist(tmp_path / "2.tar.gz", names[::-1], mode=0o600, moment=1_800_000_002, owner="b")
    assert first.read_bytes() != second.read_bytes()
    for path in (first, second):
        repack(path, 1_600_000_000)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as file:
        assert file.getnames() == sorted(names)
        assert {member.mode for member in file} == {0o644}
        inside = file.extractfile("thing-1/a.py")
        assert inside is not None
        assert inside.read() == b"thing-1/a.py"


def test_other_content_gives_other_bytes(tmp_path: Path) -> None:
    paths = [
        sdist(tmp_path / f"{name}.tar.gz", [name], mode=0o644, moment=1, owner="a")
        for name in ("a", "b")
    ]
    for path in paths:
        repack(path, 1)
    assert paths[0].read_bytes() != paths[1].read_bytes()


def test_programs_stay_programs(tmp_path: Path) -> None:
    path = sdist(tmp_path / "1.tar.gz", ["run"], mode=0o775, moment=1, owner="a")
    repack(path, 1)
    with tarfile.open(path) as file:
        assert file.getmember("run").mode == 0o755


def test_folders_and_links_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "1.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        folder, link = tarfile.TarInfo("thing"), tarfile.TarInfo("thing/link")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o600
        link.type, link.linkname = tarfile.SYMTYPE, "a.py"
        file.addfile(folder)
        file.addfile(link)
    repack(path, 1_600_000_000)
    assert int.from_bytes(path.read_bytes()[4:8], "little") == 1_600_000_000
    with tarfile.open(path) as file:
        assert (file.getmember("thing").isdir(), file.getmember("thing").mode) == (True, 0o755)
        assert file.getmember("thing/link").issym()
        assert file.getmember("thing/link").linkname == "a.py"


def installed(folder: Path, name: str, *needs: str) -> None:
    place = folder / f"{name}-1.dist-info"
    place.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {name}", "Version: 1", "Provides-Extra: more"]
    lines += [f"Requires-Dist: {line}" for line in needs]
    (place / "METADATA").write_text("\n".join(lines) + "\n\n", encoding="utf-8")


def test_what_an_extra_needs_is_needed_whoever_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "first", "second", "second[more]; extra == 'more'")
    installed(tmp_path, "second", "third; extra == 'more'")
    installed(tmp_path, "third")
    monkeypatch.syspath_prepend(tmp_path)

    def names(*lines: str) -> list[str]:
        return [*closure([Requirement(line) for line in lines])]

    assert names("first") == ["first", "second"]
    assert names("first[more]") == names("first", "second[more]") == ["first", "second", "third"]
    assert names("second[more]", "first") == ["first", "second", "third"]


def test_the_list_of_parts_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    wheel = tmp_path / "forget_audit-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    text = sbom.bill([wheel], 1_700_000_000)
    assert text == sbom.bill([wheel], 1_700_000_000)
    found = json.loads(text)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    ours = found["metadata"]["component"]
    assert ours["externalReferences"][0]["hashes"][0]["content"] == file_digest(wheel)
    everything = closure(direct(extras()))
    parts = {part["name"]: part for part in found["components"]}
    assert {name: part["version"] for name, part in parts.items()} == {
        name: one.version for name, one in everything.items()
    }
    assert (parts["torch"]["scope"], parts["ray"]["scope"]) == ("required", "optional")
    assert all(part["licenses"] for part in parts.values())
    needs = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
    assert parts["torch"]["bom-ref"] in needs[ours["bom-ref"]]
    assert parts["numpy"]["bom-ref"] in needs[parts["scipy"]["bom-ref"]]
    reached, waiting = set(), [ours["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        waiting += [one for one in needs.get(ref, []) if one not in reached]
        reached.add(ref)
    assert {part["bom-ref"] for part in parts.values()} <= reached, "needed by nobody"
    later = json.loads(sbom.bill([wheel], 1_700_000_001))
    assert later["serialNumber"] != found["serialNumber"]
    wheel.write_bytes(b"another")
    assert json.loads(sbom.bill([wheel], 1_700_000_000))["serialNumber"] != found["serialNumber"]


def test_what_is_needed_and_not_there_is_named() -> None:
    with pytest.raises(NotInstalled, match="not-there-at-all is not installed; this package needs"):
        closure([Requirement("not-there-at-all>=1")])


WEAK = {
    "name": "thing",
    "version": "1",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"], "aliases": ["CVE-1"], "description": ""}],
}
GOOD = {"name": "other", "version": "1", "vulns": []}
UNKNOWN = {"name": "third", "skip_reason": "not found"}


def answered(*found: object) -> str:
    return json.dumps({"dependencies": found, "fixes": []})


def test_a_known_weakness_is_named_with_its_mend() -> None:
    answer = advisories.read(answered(WEAK, GOOD, UNKNOWN), "")
    assert answer.weak == ("thing 1: PYSEC-1, mended in 2",)
    assert answer.line == "advisories: 1 in 2 packages; 1 more are not known to the service"


@pytest.mark.parametrize("known", ["PYSEC-1", "CVE-1"])
def test_an_accepted_one_is_not(known: str) -> None:
    answer = advisories.read(answered(WEAK, GOOD), "", {known: "a reason"})
    assert (answer.weak, answer.line) == ((), "advisories: 0 in 2 packages")


@pytest.mark.parametrize(
    ("text", "complaints", "line"),
    [
        ("", "x\nConnectionError: no route\n", "cannot be reached (ConnectionError: no route)"),
        ("", "", "cannot be reached (no answer)"),
        ("[]", "", "cannot be reached (no answer)"),
        (answered(UNKNOWN, UNKNOWN), "", "the service knows none of 2 packages"),
    ],
    ids=["unreachable", "silent", "other", "unknown"],
)
def test_no_answer_is_never_nothing_found(text: str, complaints: str, line: str) -> None:
    answer = advisories.read(text, complaints)
    assert answer.weak == ()
    assert line in answer.line
    assert answer.line.startswith("advisories: not asked")


@pytest.mark.parametrize(("weak", "code"), [((), 0), (("thing 1: PYSEC-1",), 1)])
def test_the_program_ends_with_1_if_something_is_weak(
    monkeypatch: pytest.MonkeyPatch, weak: tuple[str, ...], code: int
) -> None:
    answer = advisories.Answer(line="advisories: so many", weak=weak)
    monkeypatch.setattr(advisories, "ask", lambda: answer)
    assert advisories.main() == code


def test_all_that_users_may_install_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(call: list[str], **_: object) -> CompletedProcess[str]:
        asked.extend(Path(call[call.index("-r") + 1]).read_text("utf-8").split())
        return CompletedProcess(call, 0, answered(GOOD), "")

    monkeypatch.setattr("subprocess.run", run)
    assert advisories.ask().line == "advisories: 0 in 1 packages"
    everything = closure(direct(extras()))
    assert asked == [f"{name}=={one.version}" for name, one in everything.items()]


def test_every_accepted_advisory_says_why() -> None:
    assert all(advisories.ACCEPTED.values())
