import ast
import tomllib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forget_audit.errors import ForgetAuditError
from forget_audit.starter.code import adapter, functions
from forget_audit.starter.writing import (
    ADAPTER,
    PLAN,
    WRITER,
    Start,
    plan_text,
    texts,
    toml,
    write,
    write_starter,
)

PLAIN = tomllib.loads(plan_text(Start(options={"key": "value"}, forget="ids.csv")))
VALUES = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.dates(min_value=date(1, 1, 1)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(VALUES)
def test_values_come_back_from_toml(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}") == {"value": value}


@given(st.tuples(*[st.text(min_size=1)] * 6))
def test_no_answer_breaks_the_plan_or_adds_to_it(said: tuple[str, ...]) -> None:
    source, forget, architecture, controller, key, value = said
    start = Start(
        source=source,
        forget=forget,
        architecture=architecture,
        controller=controller,
        options={key: value},
    )
    found = tomllib.loads(plan_text(start))
    assert found["data"] == {"source": source, "options": {key: value}}
    assert found["request"]["forget"] == forget
    assert found["model"] == {"architecture": architecture}
    assert found["report"]["controller"] == controller
    assert {name: set(table) for name, table in found.items()} == {
        name: set(table) for name, table in PLAIN.items()
    }


@given(st.text())
def test_no_answer_breaks_the_adapter(name: str) -> None:
    text = adapter(["fit"], {"ARCHITECTURE": name, "N_CLASSES": 7}, known_network=True)
    found = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
    }
    assert (found["ARCHITECTURE"], found["N_CLASSES"]) == (name, 7)
    assert functions(text) == {"build", "fit", "OPTIONS", *found}


@pytest.mark.parametrize("value", [b"bytes", None, "\ud800"], ids=["bytes", "none", "surrogate"])
def test_what_toml_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ForgetAuditError):
        toml(value)


@pytest.mark.parametrize(
    ("wanted", "there", "not_there"),
    [
        (["load"], ["load"], ["import torch", "N_CLASSES", "forget_audit import"]),
        (["stream"], ["stream", "MyRows"], ["def fit", "functional"]),
        (["build"], ["build"], ["EPOCHS", "load_diabetes"]),
        (["fit"], ["fit", "build", "N_CLASSES", "EPOCHS"], ["load_diabetes", "Dataset"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_adapters_hold_what_is_wanted_and_what_that_needs(
    wanted: list[str], there: list[str], not_there: list[str]
) -> None:
    text = adapter(wanted, {})
    assert set(there) <= functions(text)
    assert not [word for word in not_there if word in text]
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    bound = {alias.asname or alias.name for alias in imports(text)}
    assert bound <= names, "no import is left over"


def imports(text: str) -> list[ast.alias]:
    kinds = (ast.Import, ast.ImportFrom)
    return [name for node in ast.parse(text).body if isinstance(node, kinds) for name in node.names]


def test_files_that_exist_are_never_lost(tmp_path: Path) -> None:
    first = write_starter(tmp_path)
    assert [path.name for path in first] == [PLAN, ADAPTER]
    mine = "# mine\n"
    for path in first:
        path.write_text(mine, encoding="utf-8")
    with pytest.raises(ForgetAuditError, match="exists already; nothing was written"):
        write_starter(tmp_path)
    assert first[0].read_text(encoding="utf-8") == mine
    for number in (1, 2):
        written = write(tmp_path, {PLAN: f"new {number}"}, force=True)
        assert written[0].former == tmp_path / f"{PLAN}.{number}"
    assert (tmp_path / f"{PLAN}.1").read_text(encoding="utf-8") == mine
    assert (tmp_path / f"{PLAN}.2").read_text(encoding="utf-8") == "new 1"


def test_an_adapter_that_is_there_is_used_if_it_has_what_is_named(tmp_path: Path) -> None:
    path = tmp_path / ADAPTER
    path.write_text("from elsewhere import x\n\ndef build(shape, n):\n    ...\n", encoding="utf-8")
    assert list(texts(tmp_path, Start(source="digits"))) == [PLAN]
    with pytest.raises(ForgetAuditError, match="has no function load"):
        texts(tmp_path, Start())
    path.write_text("def build(:", encoding="utf-8")
    with pytest.raises(ForgetAuditError, match="cannot be read as Python"):
        texts(tmp_path, Start())


def test_an_example_of_predictions_is_written_only_where_there_are_none(tmp_path: Path) -> None:
    start = Start(kind="predictions", predictions="answers.csv")
    assert list(texts(tmp_path, start)) == [PLAN, WRITER]
    assert list(texts(tmp_path, replace(start, answered=True))) == [PLAN]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ForgetAuditError, match="cannot write into"):
        write_starter(tmp_path / "file" / "folder")
