"""Model files of XGBoost that were damaged or made to harm are refused, and never crash."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from forget_audit.errors import ModelError
from forget_audit.foreign import ubjson
from forget_audit.foreign.boosted import Boosted
from forget_audit.foreign.boosted_files import read_boosted
from tests.foreign.rows import WIDTH, classifier, features

DEEP, SAMPLES = 200, 40


def saved(form: str, n_classes: int = 3) -> bytes:
    return bytes(classifier(n_classes).get_booster().save_raw(form))


def mutated(data: bytes, rng: np.random.Generator, kind: str) -> bytes:
    """Damage a file in one of the ways in which files are damaged, or made to look whole."""
    damaged = bytearray(data)
    place = int(rng.integers(len(data)))
    if kind == "cut":
        return data[:place]
    if kind == "bit":
        damaged[place] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        damaged[place] = int(rng.integers(256))
    elif kind == "digits":
        digits = [i for i, byte in enumerate(data) if 48 <= byte < 58]
        for i in rng.choice(digits, 3):
            damaged[i] = 48 + int(rng.integers(10))
    return bytes(damaged)


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("kind", ["cut", "bit", "byte", "digits"])
def test_damage_is_refused_or_does_no_harm(form: str, kind: str) -> None:
    """XGBoost's own reader crashes the process on some of these."""
    data, rng = saved(form), np.random.default_rng(1)
    refused = 0
    for _ in range(SAMPLES):
        model = Boosted(WIDTH, 3)
        try:
            model.take(mutated(data, rng, kind))
        except ModelError:
            refused += 1
        else:
            assert model.answers(features()).shape == (200, 3)
    assert refused >= (SAMPLES if kind == "cut" else 5)


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "far child": (lambda t: t["left_children"].__setitem__(0, 10**6), "left_children"),
    "loop": (lambda t: t["left_children"].__setitem__(1, 0), "a node with two parents"),
    "shared child": (lambda t: t["left_children"].__setitem__(0, 2), "a node with two parents"),
    "one child": (lambda t: t["right_children"].__setitem__(0, -1), "a node with one child"),
    "far feature": (
        lambda t: t["split_indices"].__setitem__(0, WIDTH),
        "asks for a feature beyond",
    ),
    "short": (lambda t: t["split_conditions"].pop(), "split_conditions: expected"),
    "huge": (lambda t: t["split_conditions"].__setitem__(0, 1e300), "finite numbers"),
    "text": (lambda t: t["split_conditions"].__setitem__(0, "1"), "split_conditions: expected"),
    "nested": (lambda t: t.__setitem__("base_weights", [[1.0]]), "base_weights: expected"),
    "leaves": (lambda t: t["tree_param"].__setitem__("size_leaf_vector", "3"), "several numbers"),
    "lost nodes": (lambda t: t["tree_param"].__setitem__("num_deleted", "1"), "nothing leads to"),
    "parents": (lambda t: t["parents"].__setitem__(1, 4), "names other parents"),
    "category": (lambda t: t["split_type"].__setitem__(0, 1), "categorical"),
    "no table": (lambda t: t.__setitem__("tree_param", []), "tree_param is no table"),
    "missing": (lambda t: t.pop("default_left"), "no entry 'default_left'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_trees_that_point_elsewhere_are_refused(change: str) -> None:
    document = json.loads(saved("json"))
    spoil, message = CHANGES[change]
    spoil(document["learner"]["gradient_booster"]["model"]["trees"][0])
    with pytest.raises(ModelError, match=message):
        read_boosted(json.dumps(document).encode())


HEADS: dict[str, tuple[Change, str]] = {
    "groups": (
        lambda d: d["gradient_booster"]["model"]["tree_info"].__setitem__(0, 7), "tree_info"
    ),
    "trees": (lambda d: d["gradient_booster"]["model"]["trees"].pop(), "12 trees are announced"),
    "rounds": (
        lambda d: d["gradient_booster"]["model"]["iteration_indptr"].__setitem__(1, 5),
        "does not count the trees",
    ),
    "booster": (lambda d: d["gradient_booster"].__setitem__("name", "gbother"), "'gbother'"),
    "classes": (lambda d: d["learner_model_param"].__setitem__("num_class", "-3"), "num_class"),
    "no classes": (lambda d: d["learner_model_param"].__setitem__("num_class", "0"), "do not go"),
    "features": (lambda d: d["learner_model_param"].__setitem__("num_feature", "0"), "at least 1"),
    "targets": (lambda d: d["learner_model_param"].__setitem__("num_target", "2"), "targets"),
    "score": (lambda d: d["learner_model_param"].__setitem__("base_score", "[1,2]"), "base_score"),
    "words": (lambda d: d["learner_model_param"].__setitem__("base_score", "x"), "could not"),
}  # fmt: skip


@pytest.mark.parametrize("change", HEADS)
def test_models_that_do_not_agree_with_themselves_are_refused(change: str) -> None:
    document = json.loads(saved("json"))
    spoil, message = HEADS[change]
    spoil(document["learner"])
    with pytest.raises(ModelError, match=message):
        read_boosted(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"binf", b"[]", b"{", b"{}", b'{"learner": NaN}', b"{" + b"[" * 10**5, b"\x80\x04K"],
    ids=["empty", "old binary", "list", "open", "bare", "NaN", "deep", "pickle"],
)
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="no sound model file of XGBoost"):
        read_boosted(data)


def test_binary_json_is_read_like_json() -> None:
    for n_classes in (2, 3):
        binary = ubjson.loads(saved("ubj", n_classes))
        assert read_boosted(saved("ubj", n_classes)) == read_boosted(saved("json", n_classes))
        assert binary["learner"]["objective"]["name"] in ("binary:logistic", "multi:softprob")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{i\x01aZi\x01bT}", {"a": None, "b": True}),
        (b"[#i\x02FN[]", [False, []]),
        (b"[$U#i\x03\x01\x02\xff", [1, 2, 255]),
        (b"{$i#i\x01i\x01k\xfe", {"k": -2}),
        (b"[D\x3f\xf0\x00\x00\x00\x00\x00\x00Ca]", [1.0, "a"]),
    ],
    ids=["constants", "counted", "typed", "typed table", "numbers"],
)
def test_binary_json(data: bytes, value: object) -> None:
    assert ubjson.loads(data) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[$U#l\x7f\xff\xff\xff", "it ends at byte"),
        (b"[$Z#l\x7f\xff\xff\xff", "values with a type of their own"),
        (b"[#i\xff]", "the length -1"),
        (b"[$U]", "a type stands without a number"),
        (b"{i\x01aTi\x01aF}", "stands twice"),
        (b"[" * DEEP, "nested more than"),
        (b"{i\x01aX}", "unknown mark 'X'"),
        (b"{ST}", "expected a length"),
        (b"ZZ", "1 bytes are left over"),
        (b"Si\x01\xff", "invalid start byte"),
    ],
    ids=["long", "of nothing", "negative", "type", "twice", "deep", "mark", "key", "rest", "text"],
)
def test_binary_json_that_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ubjson.loads(data)
