"""Everything that is installed with this program may be used commercially."""

from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest

from scripts import closure as needed
from scripts import licences
from scripts.closure import closure, direct, extras


def made(folder: Path, *lines: str) -> Distribution:
    place = folder / "thing-1.dist-info"
    place.mkdir()
    head = ["Metadata-Version: 2.4", "Name: thing", "Version: 1", *lines]
    (place / "METADATA").write_text("\n".join(head) + "\n\n", encoding="utf-8")
    return PathDistribution(place)


def test_all_that_users_may_install_is_of_use() -> None:
    findings = [licences.judge(one) for one in closure(direct(extras())).values()]
    assert len(findings) > 80
    assert [finding.trouble for finding in findings if finding.trouble] == []


@pytest.mark.parametrize(
    "line",
    [
        "License-Expression: MIT",
        "License-Expression: MIT OR GPL-3.0-only",
        "License-Expression: Apache-2.0 WITH LLVM-exception AND (BSD-2-Clause OR AGPL-3.0-only)",
        "Classifier: License :: OSI Approved :: MIT License",
        "License: 3-Clause BSD License",
    ],
)
def test_what_allows_commercial_use_is_accepted(tmp_path: Path, line: str) -> None:
    assert licences.judge(made(tmp_path, line)).trouble == ""


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("License-Expression: GPL-3.0-only", "GPL-3.0-only"),
        ("License-Expression: MIT AND AGPL-3.0-or-later", "AGPL-3.0-or-later"),
        ("License-Expression: CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("License-Expression: PolyForm-Noncommercial-1.0.0", "PolyForm-Noncommercial-1.0.0"),
        ("License-Expression: GPL-2.0-only OR AGPL-3.0-only", "AGPL-3.0-only, GPL-2.0-only"),
        ("Classifier: License :: OSI Approved :: GNU Affero General Public License v3", "Affero"),
        ("Classifier: License :: Free for non-commercial use", "Free for non-commercial use"),
        ("License: Proprietary", "Proprietary"),
        ("Summary: says nothing", "no licence that can be read"),
    ],
)
def test_what_does_not_is_refused_by_name(tmp_path: Path, line: str, named: str) -> None:
    trouble = licences.judge(made(tmp_path, line)).trouble
    assert trouble.startswith("thing 1: ")
    assert named in trouble


def test_one_bad_classifier_of_two_is_enough(tmp_path: Path) -> None:
    start = "Classifier: License :: OSI Approved :: "
    lines = (f"{start}MIT License", f"{start}GNU General Public License v3 (GPLv3)")
    assert licences.judge(made(tmp_path, *lines)).trouble


def test_a_licence_that_asks_for_something_is_named_with_its_reason(tmp_path: Path) -> None:
    found = licences.judge(made(tmp_path, "License-Expression: MIT AND MPL-2.0"))
    assert (found.trouble, found.reason) == ("", licences.CONDITIONAL["MPL-2.0"])


@pytest.mark.parametrize(("line", "code"), [("MIT", 0), ("AGPL-3.0-only", 1)])
def test_the_program_ends_with_1_if_one_may_not_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: int
) -> None:
    found = {"thing": made(tmp_path, f"License-Expression: {line}")}
    monkeypatch.setattr(licences, "closure", lambda _: found)
    monkeypatch.setattr("sys.argv", ["licences"])
    assert licences.main() == code


def test_a_name_that_begins_like_another_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {"one": ["torch>=1,<2"], "two": ["torch-thing>=1,<2", "Other_Thing>=1,<2"]}
    table = {"dependencies": [], "optional-dependencies": lines}
    one = made(tmp_path, "License-Expression: MIT")
    for module in (needed, licences):
        monkeypatch.setattr(module, "project", lambda: table)
    monkeypatch.setattr(
        licences, "closure", lambda _: dict.fromkeys(("torch", "torch-thing", "other-thing"), one)
    )
    rows = [line.split(" | ")[:3] for line in licences.table().splitlines()[2:]]
    assert {name.removeprefix("| "): purpose for name, _, purpose in rows} == {
        "torch": "`[one]`", "torch-thing": "`[two]`", "other-thing": "`[two]`",
    }  # fmt: skip


def test_every_condition_and_reading_says_why() -> None:
    assert all(licences.CONDITIONAL.values())
    assert all(licence and reason for licence, reason in licences.READ.values())


def test_the_table_on_the_page_names_what_is_asked_for() -> None:
    def rows(text: str) -> list[list[str]]:
        return [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| ")]

    page = licences.PAGE.read_text(encoding="utf-8")
    shown = page.partition(licences.START)[2].partition(licences.END)[0]
    assert rows(shown) == rows(licences.table()), "run `make tables`"
