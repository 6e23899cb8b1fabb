"""Files of predictions: three formats give one content, and every fault is named."""

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forget_audit.predictions import (
    Predictions,
    PredictionsError,
    arrays,
    content,
    csv_files,
    from_arrays,
    read,
)
from tests.predictions.recorded import (
    Arrays,
    lines,
    tiny,
    write_csv,
    write_npz,
    write_parquet,
)

Change = Callable[[Arrays], None]


def faults(arrays: Arrays) -> str:
    with pytest.raises(PredictionsError) as caught:
        from_arrays(arrays, name="scores.npz", digest="")
    return str(caught.value)


def faults_of(path: Path) -> str:
    with pytest.raises(PredictionsError) as caught:
        read(path)
    return str(caught.value)


def equal(one: Predictions, other: Predictions) -> None:
    assert one.kind == other.kind
    assert one.counts == other.counts
    for part, rows in one.parts.items():
        assert np.array_equal(rows.ids, other.parts[part].ids)
        assert np.array_equal(rows.labels, other.parts[part].labels)
        assert (rows.units is None) == (other.parts[part].units is None)
        for group, found in one.answers.items():
            assert np.array_equal(found[part], other.answers[group][part])


def with_units(arrays: Arrays) -> Arrays:
    for part in "ftr":
        rows = len(arrays[f"y_{part}"])
        arrays[f"unit_{part}"] = np.array([f"{part}-person-{i // 2}" for i in range(rows)])
    return arrays


# One content


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet", "P.CSV"])
def test_formats_agree_bit_for_bit(name: str, tmp_path: Path) -> None:
    arrays = with_units(tiny(t=9, o=5, a=4))
    for part in "oa":
        arrays[f"unit_{part}"] = arrays[f"id_{part}"]
    write = write_parquet if name.endswith("parquet") else write_csv
    found = read(write(tmp_path / name, lines(arrays)))
    equal(found, read(write_npz(tmp_path / "p.npz", arrays)))
    assert set(found.parts) == {"forget", "test", "retain", "other", "auxiliary"}


def test_probabilities_become_logarithms_and_logits_stay() -> None:
    arrays = tiny()
    found = from_arrays(arrays, name="a", digest="b")
    assert found.kind == "probabilities"
    assert np.array_equal(found.answers["originals"]["test"], np.log(arrays["prob_O_t"]))
    logits: Arrays = {
        name.replace("prob", "logit"): 9 * values if name.startswith("prob") else values
        for name, values in arrays.items()
    }
    kept = from_arrays(logits, name="a", digest="b")
    assert kept.kind == "logits"
    assert np.array_equal(kept.answers["audited"]["forget"], logits["logit_A_f"])


def test_last_two_retrained_models_are_set_aside() -> None:
    arrays = tiny(retrained=7)
    found = from_arrays(arrays, name="a", digest="b")
    assert found.counts == {"retrained": 5, "originals": 2, "audited": 1, "identity": 2}
    assert np.array_equal(found.answers["identity"]["test"], np.log(arrays["prob_R_t"][-2:]))
    assert content.SET_ASIDE in found.notes
    for part in "ftr":
        arrays[f"prob_I_{part}"] = arrays[f"prob_R_{part}"][:2]
        arrays[f"prob_R_{part}"] = arrays[f"prob_R_{part}"][2:]
    given = from_arrays(arrays, name="a", digest="b")
    assert given.counts == {"retrained": 5, "originals": 2, "audited": 1, "identity": 2}
    assert not given.notes


@pytest.mark.parametrize("kind", ["prob", "logit"])
@pytest.mark.parametrize("axes", [2, 3])
def test_one_output_answers_for_two_classes(kind: str, axes: int) -> None:
    arrays = tiny(classes=2)
    single = {}
    for name, values in arrays.items():
        if name.startswith("prob"):
            one = values[..., 1] if kind == "prob" else np.log(values[..., 1] / values[..., 0])
            single[name.replace("prob", kind)] = one if axes == 2 else one[..., None]
        else:
            single[name] = values
    found = from_arrays(single, name="a", digest="b")
    assert found.n_classes == 2
    answers = found.answers["retrained"]["forget"]
    expected = np.log(arrays["prob_R_f"][:-2])
    assert np.allclose(answers[..., 1] - answers[..., 0], expected[..., 1] - expected[..., 0])


def test_a_table_of_p1_alone_is_read(tmp_path: Path) -> None:
    table = lines(tiny(classes=2))
    for line in table:
        del line["p0"]
    found = read(write_csv(tmp_path / "p.csv", table))
    expected = from_arrays(tiny(classes=2), name="", digest="")
    for group, answers in found.answers.items():
        assert np.allclose(answers["forget"], expected.answers[group]["forget"], atol=1e-12)


def test_lines_may_come_in_any_order(tmp_path: Path) -> None:
    table = lines(tiny())
    shuffled = [table[i] for i in np.random.default_rng(1).permutation(len(table))]
    order = {"retrained": 0, "originals": 1, "audited": 2}
    shuffled.sort(key=lambda line: (order[line["group"]], line["model"]))
    found = read(write_csv(tmp_path / "p.csv", shuffled))
    expected = from_arrays(tiny(), name="", digest="")
    for part, rows in expected.parts.items():
        back = [found.parts[part].ids.tolist().index(i) for i in rows.ids.tolist()]
        for group, answers in expected.answers.items():
            assert np.array_equal(found.answers[group][part][:, back], answers[part])


def test_marks_of_the_version_are_read(tmp_path: Path) -> None:
    table = lines(tiny())
    mark = "# forget-audit-predictions {}\n"
    read(write_csv(tmp_path / "p.csv", table, mark=mark.format(1)))
    newer = write_csv(tmp_path / "q.csv", table, mark=mark.format(2))
    assert "expected version 1 of the format, found 2" in faults_of(newer)
    other = write_csv(tmp_path / "r.csv", table, mark="# written by hand\n")
    assert "expected `# forget-audit-predictions 1`" in faults_of(other)
    from_arrays({**tiny(), "version": np.array(1)}, name="", digest="")
    assert "expected the whole number 1" in faults({**tiny(), "version": np.array(2)})


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "p.npz", tiny())
    assert read(path) is read(path)
    first = read(path)
    write_npz(path, tiny(seed=1, f=9))
    assert read(path).digest != first.digest
    assert not first.answers["audited"]["forget"].flags.writeable


def test_ids_may_be_whole_numbers(tmp_path: Path) -> None:
    arrays = tiny()
    for k, part in enumerate("ftr"):
        arrays[f"id_{part}"] = 100 * k + np.arange(len(arrays[f"y_{part}"]))
    whole = read(write_npz(tmp_path / "p.npz", arrays))
    assert whole.parts["test"].ids[:2].tolist() == ["100", "101"]
    equal(whole, read(write_parquet(tmp_path / "p.parquet", lines(arrays))))


# Faults of the arrays


def drop(*names: str) -> Change:
    def change(arrays: Arrays) -> None:
        for name in names:
            del arrays[name]

    return change


def put(name: str, value: Callable[[npt.NDArray[Any]], Any]) -> Change:
    def change(arrays: Arrays) -> None:
        arrays[name] = np.asarray(value(arrays[name].copy()))

    return change


def at(name: str, index: Any, value: object) -> Change:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def renamed(old: str, new: str) -> Change:
    def change(arrays: Arrays) -> None:
        arrays[new] = arrays.pop(old)

    return change


def copied(source: str, index: int, target: str, place: int) -> Change:
    def change(arrays: Arrays) -> None:
        for part in "ftr":
            table = arrays[f"prob_{target}_{part}"].copy()
            table[place] = arrays[f"prob_{source}_{part}"][index]
            arrays[f"prob_{target}_{part}"] = table

    return change


FAULTS: dict[str, tuple[Change, str]] = {
    "misspelt": (renamed("prob_A_f", "prob_A_g"), "did you mean 'prob_A_"),
    "no originals": (
        drop("prob_O_f", "prob_O_t", "prob_O_r"),
        "prob_O: expected answers of originals models, found none",
    ),
    "no retain rows": (
        drop("y_r", "id_r", "prob_R_r", "prob_O_r", "prob_A_r"),
        "y_r: expected retain rows, found none",
    ),
    "one part missing": (drop("prob_A_t"), "prob_A_t: expected this array, found none"),
    "no ids": (drop("id_f"), "id_f: expected this array, found none"),
    "no labels": (drop("y_t"), "prob_R_t: has no labels y_t"),
    "both kinds": (renamed("prob_A_f", "logit_A_f"), "expected prob_ or logit_ throughout"),
    "text": (put("prob_A_f", lambda v: v.astype("U4")), "expected numbers (models, rows, classes)"),
    "rows": (put("prob_A_f", lambda v: v[:, :-1]), "expected 8 rows as in y_f, found 7"),
    "classes": (
        put("prob_A_f", lambda v: v[..., :2] / v[..., :2].sum(axis=-1, keepdims=True)),
        "prob_A_f: expected 3 classes like the others, found 2",
    ),
    "models": (put("prob_R_t", lambda v: v[:-1]), "expected 6 models like the others, found 5"),
    "entries": (put("id_t", lambda v: v[:-1]), "id_t: expected one entry a row, found shape (8,)"),
    "units of one part": (
        lambda a: a.update(unit_f=a["id_f"]),
        "unit_r: expected this array, found none",
    ),
    "counted from one": (
        put("y_f", lambda v: v + 1),
        "expected labels from 0 to 2, found 3; count classes from 0",
    ),
    "negative label": (at("y_f", 0, -1), "expected labels from 0 to 2, found -1"),
    "half a label": (put("y_f", lambda v: v + 0.5), "expected whole numbers, found"),
    "label of text": (put("y_f", lambda v: v.astype("U1")), "y_f: expected whole numbers"),
    "decimal ids": (
        put("id_f", lambda v: np.arange(len(v), dtype=np.float64)),
        "expected text or whole numbers",
    ),
    "id twice": (at("id_f", 0, "forget-1"), "expected distinct ids, found 'forget-1' twice"),
    "id in two parts": (
        at("id_f", 0, "test-1"),
        "expected forget and test rows of different rows, found 1 in both (first: 'test-1')",
    ),
    "nan": (at("prob_R_f", (0, 0, 0), np.nan), "expected finite numbers, found 1 that are not"),
    "negative": (at("prob_R_f", (0, 0, 0), -0.1), "found the negative number -0.1"),
    "logits": (
        put("prob_A_f", np.log),
        "prob_A_f: expected probabilities, found the negative number",
    ),
    "logits above one": (
        put("prob_A_f", lambda v: 9 * np.log(3 * v)),
        "if these are logits, call them logit_A_f",
    ),
    "above one": (at("prob_A_f", (0, 0, 0), 1.5), "if these are logits, call them logit_A_f"),
    "sums": (
        put("prob_A_t", lambda v: 0.99 * v),
        "prob_A_t: expected sums of one within 3e-06 (1e-06 a class), found 0.99",
    ),
    "too few": (
        lambda a: a.update({f"prob_R_{p}": a[f"prob_R_{p}"][:4] for p in "ftr"}),
        "retrained models: expected at least 5, two of which are set aside",
    ),
    "no audited model": (
        lambda a: a.update({f"prob_A_{p}": a[f"prob_A_{p}"][:0] for p in "ftr"}),
        "expected at least one audited model",
    ),
    "retrained twice": (copied("R", 0, "R", 4), "model 5 answers every row exactly like model 1"),
    "original twice": (copied("O", 0, "O", 1), "originals models: expected models trained"),
    "original among retrained": (copied("O", 0, "R", 2), "like model 3 of the retrained models"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_named(name: str) -> None:
    change, message = FAULTS[name]
    arrays = tiny()
    change(arrays)
    assert message in faults(arrays)


def test_tiny_arrays_are_in_order_otherwise() -> None:
    assert from_arrays(tiny(), name="", digest="").n_classes == 3


def test_faults_of_all_arrays_are_told_together() -> None:
    arrays = tiny()
    arrays["prob_A_f"] = -arrays["prob_A_f"]
    arrays["prob_R_t"] = arrays["prob_R_t"] / 2
    found = faults(arrays)
    assert "prob_A_f: " in found
    assert "prob_R_t: " in found


def test_float32_and_six_digits_sum_to_one() -> None:
    arrays = tiny(classes=100)
    for name in [name for name in arrays if name.startswith("prob")]:
        rounded = [float(f"{v:.6g}") for v in arrays[name].ravel()]
        arrays[name] = np.reshape(rounded, arrays[name].shape).astype(np.float32)
    from_arrays(arrays, name="", digest="")


@pytest.mark.parametrize("part", ["f", "t", "r"])
def test_one_row_is_too_few(part: str) -> None:
    sizes = {part: 1}
    assert "expected at least 2" in faults(tiny(**sizes))


def test_identity_models_come_in_twos() -> None:
    arrays = tiny()
    for part in "ftr":
        arrays[f"prob_I_{part}"] = arrays[f"prob_R_{part}"][:1] * 0.5 + 0.5 / 3
    assert "identity models: expected 2 or more, or none, found 1" in faults(arrays)


def test_a_person_has_one_part() -> None:
    arrays = with_units(tiny())
    from_arrays(arrays, name="", digest="")
    arrays["unit_t"] = arrays["unit_t"].copy()
    arrays["unit_t"][3] = "f-person-0"
    message = "expected forget and test rows of different people, found 1 in both"
    assert message in faults(arrays)


def reordered(group: str) -> Arrays:
    """Return answers that are nearly always right, of one group with two classes exchanged."""
    rng = np.random.default_rng(5)
    arrays = tiny(r=60)
    for name in [name for name in arrays if name.startswith("prob")]:
        labels = arrays[f"y_{name[-1]}"]
        noise = rng.random((*arrays[name].shape[:2], 3)) + 8 * np.eye(3)[labels]
        arrays[name] = noise / noise.sum(axis=-1, keepdims=True)
        if name[5] == group:
            arrays[name] = arrays[name][..., [1, 0, 2]]
    return arrays


@pytest.mark.parametrize("group", ["R", "O"])
def test_classes_in_another_order_are_noticed(group: str) -> None:
    assert "if their classes are put in another order" in faults(reordered(group))


def test_an_audited_model_that_exchanges_classes_is_remarked_upon() -> None:
    found = from_arrays(reordered("A"), name="", digest="")
    assert any("its classes are put in another order" in note for note in found.notes)
    assert not any("order" in n for n in from_arrays(reordered("-"), name="", digest="").notes)


@pytest.mark.parametrize(("group", "word"), [("R", "retrained"), ("O", "originals")])
def test_copied_answers_are_remarked_upon(group: str, word: str) -> None:
    arrays = tiny()
    copied(group, 1, "A", 0)(arrays)
    (note,) = [n for n in from_arrays(arrays, name="", digest="").notes if "copied" in n]
    assert f"exactly like model 2 of the {word} models" in note


def test_copies_of_the_audited_model_must_differ() -> None:
    arrays = tiny()
    for part in "ftr":
        arrays[f"prob_A_{part}"] = np.repeat(arrays[f"prob_A_{part}"], 2, axis=0)
    assert "audited models: expected models trained independently" in faults(arrays)


def test_cut_probabilities_are_remarked_upon() -> None:
    arrays = tiny()
    assert not [note for note in from_arrays(arrays, name="", digest="").notes if "cut" in note]
    for name in [name for name in arrays if name.startswith("prob")]:
        values = np.floor(100 * arrays[name]) / 100
        values[..., 0] = 1 - values[..., 1:].sum(axis=-1)
        values[0, 0] = [1, 0, 0]
        arrays[name] = values
    zeros, multiples, _ = from_arrays(arrays, name="", digest="").notes
    assert "are exactly 0 and count as 1e-45" in zeros
    assert "multiples of 0.01" in multiples


# Faults of tables


def changed(table: list[dict[str, Any]], where: int, **cells: Any) -> list[dict[str, Any]]:
    return [{**line, **cells} if i == where else line for i, line in enumerate(table)]


def without(table: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != column} for line in table]


TABLES: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "no labels": (
        lambda t: without(t, "label"),
        "expected group, model, part, id, label, found no label among group, model",
    ),
    "another column": (
        lambda t: [{**line, "person": 1} for line in t],
        "unknown or repeated column 'person'",
    ),
    "row names": (
        lambda t: [{"": i, **line} for i, line in enumerate(t)],
        "unknown or repeated column ''; in R write without row names",
    ),
    "class missing": (lambda t: without(t, "p1"), "found p0, p2"),
    "no answers": (
        lambda t: without(without(without(t, "p0"), "p1"), "p2"),
        "of two classes p1 alone; found none",
    ),
    "both kinds": (lambda t: [{**line, "logit0": 1} for line in t], "not both"),
    "group": (
        lambda t: changed(t, 0, group="reference"),
        "column group: expected retrained, originals, audited, identity, found 'reference'",
    ),
    "part": (lambda t: changed(t, 0, part="train"), "column part: expected forget, test, retain"),
    "empty id": (lambda t: changed(t, 0, id=""), "column id: expected text in every line"),
    "missing answer": (lambda t: changed(t, 0, p0="NaN"), "expected finite numbers, found 1"),
    "NA": (lambda t: changed(t, 2, p0="NA"), "line 3 below the header: could not convert"),
    "label of text": (lambda t: changed(t, 0, label="cat"), "could not convert string to float"),
    "two labels": (
        lambda t: changed(t, 0, label=(t[0]["label"] + 1) % 3),
        "column label, forget rows: expected the same in all lines of a row",
    ),
    "line missing": (
        lambda t: t[:1] + t[2:],
        "retrained models, forget rows: expected one answer of each model to each row, found no "
        "answer at 1 places (first: model '1', row 'forget-1')",
    ),
    "line twice": (lambda t: [t[3], *t], "found several answers at 1 places"),
    "model without a part": (
        lambda t: [line for line in t if (line["model"], line["part"]) != (3, "test")],
        "retrained models, test rows: expected one answer of each model to each row, found no "
        "answer at 9 places (first: model '3', row 'test-0')",
    ),
    "group without a part": (
        lambda t: [line for line in t if (line["group"], line["part"]) != ("audited", "retain")],
        "audited models, retain rows: expected one answer",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_fault_of_a_table_is_named(name: str, tmp_path: Path) -> None:
    change, message = TABLES[name]
    assert message in faults_of(write_csv(tmp_path / "p.csv", change(lines(tiny()))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no group, model, part, id, label among none"),
        ("group;model;part\n1;2;3\n", "found no group, model, part, id, label among group;model"),
        (
            "group,model,part,id,label,p0,p1\na,1,forget,x,0,.5,.5,9,9\n",
            "line 1 below the header: expected 7 cells, found 9",
        ),
        ("group,model,part,id,label,p0,p1\n", "expected answers of retrained models, found none"),
        (
            "group,model,part,id,label,p0,p1,p1\na,1,forget,x,0,.5,.5,.5\n",
            "unknown or repeated column 'p1'",
        ),
        ("group,model,part,id,label,p0,p1\naudited,1,forget,x,0\n", "expected 7 cells, found 5"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text, encoding="utf-8")
    assert message in faults_of(path)


def test_people_are_told_by_one_name(tmp_path: Path) -> None:
    table = lines(with_units(tiny()))
    named = write_csv(tmp_path / "p.csv", changed(table, 0, unit="somebody"))
    assert "column unit, forget rows: expected the same" in faults_of(named)
    nameless = write_csv(tmp_path / "q.csv", changed(table, 0, unit=""))
    assert "column unit: expected text in every line" in faults_of(nameless)


def test_parquet_holds_text_and_numbers(tmp_path: Path) -> None:
    table = lines(tiny())
    decimal = [{**line, "id": float(i)} for i, line in enumerate(table)]
    assert "column id: expected text" in faults_of(write_parquet(tmp_path / "p.parquet", decimal))
    empty = changed(table, 0, id=None)
    assert "column id: expected text" in faults_of(write_parquet(tmp_path / "q.parquet", empty))
    words = [{**line, "label": "cat"} for line in table]
    found = faults_of(write_parquet(tmp_path / "r.parquet", words))
    assert "column label: expected numbers" in found


def test_reading_needs_neither_models_nor_pyarrow(tmp_path: Path) -> None:
    write_parquet(tmp_path / "p.parquet", lines(tiny()))
    write_csv(tmp_path / "p.csv", lines(tiny()))
    code = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom pathlib import Path\n"
        "from forget_audit.errors import MissingDependency\n"
        "from forget_audit.predictions import read\n"
        "print(read(Path('p.csv')).n_classes)\n"
        "try:\n    read(Path('p.parquet'))\n"
        "except MissingDependency as error:\n    print(error)\n"
        "print({'torch', 'sklearn', 'xgboost'} & set(sys.modules))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(root)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    classes, advice, heavy = done.stdout.splitlines()
    assert (classes, heavy) == ("3", "set()"), done.stderr
    assert advice.endswith('pip install "forget-audit[parquet]"')


# Hostile files


@pytest.mark.parametrize("end", ["npz", "csv", "csv.gz", "parquet"])
def test_noise_is_refused(end: str, tmp_path: Path) -> None:
    for length in (0, 1, 100, 5000):
        path = tmp_path / f"p{length}.{end}"
        path.write_bytes(np.random.default_rng(length).bytes(length))
        assert faults_of(path)


@pytest.mark.parametrize("end", ["npz", "parquet", "csv.gz"])
def test_cut_files_are_refused(end: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{end}"
    if end == "npz":
        write_npz(whole, tiny())
    else:
        (write_parquet if end == "parquet" else write_csv)(whole, lines(tiny()))
    data = whole.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path = tmp_path / f"cut-{share}.{end}"
        path.write_bytes(data[: int(share * len(data))])
        assert faults_of(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    arrays = tiny()
    arrays["id_f"] = arrays["id_f"].astype(object)
    np.savez(tmp_path / "p.npz", **arrays)  # type: ignore[arg-type]
    assert "holds Python objects" in faults_of(tmp_path / "p.npz")


def test_a_header_that_promises_too_much_is_not_believed(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 10**3)}
    )
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("prob_R_f.npy", header.getvalue() + b"0" * 64)
    assert "found 64" in faults_of(tmp_path / "p.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_stands_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        for _ in range(2):
            archive.writestr("y_f.npy", b"")
    assert "expected each array once" in faults_of(tmp_path / "p.npz")


@pytest.mark.parametrize("end", ["npz", "csv", "csv.gz", "parquet"])
def test_large_files_are_not_unpacked(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (arrays, csv_files):
        monkeypatch.setattr(module, "MOST_BYTES", 4000)
    monkeypatch.setattr(arrays, "MOST_ANSWERS", 500)
    path = tmp_path / f"p.{end}"
    if end == "npz":
        write_npz(path, {"y_f": np.zeros(10**6)})
    else:
        table = [{"group": 1, "model": 1, "part": 1, "id": 1, "label": 1, "p1": 1}] * 10**4
        (write_parquet if end == "parquet" else write_csv)(path, table)
    assert "hand in fewer of the retained rows" in faults_of(path)


@pytest.mark.parametrize("end", ["npz", "csv", "parquet"])
def test_so_many_answers_are_refused(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "MOST_ANSWERS", 500)
    path = tmp_path / f"p.{end}"
    if end == "npz":
        write_npz(path, tiny())
    else:
        (write_parquet if end == "parquet" else write_csv)(path, lines(tiny()))
    assert "answers, the most is 500; hand in fewer" in faults_of(path)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_files, "LONGEST_LINE", 2000)
    (tmp_path / "p.csv").write_bytes(b"x," * 2000)
    assert "expected lines below" in faults_of(tmp_path / "p.csv")


@pytest.mark.parametrize("name", ["p.txt", "p.npy", "p"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert "expected a file that ends in .npz, .csv, .csv.gz, .parquet" in faults_of(
        tmp_path / name
    )


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.npz").mkdir()
    assert "expected a file" in faults_of(tmp_path / "p.npz")
    assert "No such file" in faults_of(tmp_path / "q.npz")
