"""Presets say what they say in one way: names, figures, plans, networks at their full size."""

import json
import re
import tomllib
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest
import torch

from forget_audit import registry
from forget_audit.architectures import Architecture
from forget_audit.errors import UnknownName
from forget_audit.plans import sections
from forget_audit.presets import catalogue, page, plan_file
from forget_audit.presets.catalogue import Preset, cards, get_preset, plan_for, presets
from forget_audit.presets.choices import choice, chosen
from forget_audit.presets.paper_metrics import figure
from forget_audit.presets.supplies import SUPPLIES

EVERY = [pytest.param(preset, id=name) for name, preset in presets().items()]
COUNTS = {"jit": 30, "lpu": 12, "mlu": 12, "suli": 15, "unsir": 24}
ROOT = Path(__file__).resolve().parents[2]
# Side of the images, channels and classes of the data sets, where a plan does not set the side.
SHAPES = {
    "cifar10": (3, 32, 10), "cifar100": (3, 32, 100), "cifar20": (3, 32, 20), "mnist": (1, 28, 10),
    "svhn": (3, 32, 10), "medmnist": (1, 28, 11), "celeba": (3, 128, 10), "mufac": (3, 128, 8),
    "utkface": (3, 64, 9), "vggface2": (3, 112, 100), "pins": (3, 32, 105), "npz": (3, 128, 10),
    "imagefolder": (3, 224, 1000),
}  # fmt: skip


def test_every_experiment_of_the_papers_is_there() -> None:
    assert Counter(name.partition("-")[0] for name in presets()) == COUNTS
    readers = {preset.reader for preset in presets().values()}
    assert readers == set(SHAPES) == set(SUPPLIES)
    networks = {preset.architecture for preset in presets().values()}
    assert networks == {
        "mlp", "lenet", "allcnn", "alexnet", "vgg11", "vgg19", "resnet9", "resnet18", "resnet50",
        "mobilenet_v2", "vit_small", "vit_large",
    }  # fmt: skip


def test_no_two_presets_are_the_same() -> None:
    found = list(presets().values())
    assert len({preset.title for preset in found}) == len(found)
    keys = {
        json.dumps([p.paper, p.table, p.tables["data"], p.tables["model"], p.tables["request"]])
        for p in found
    }
    assert len(keys) == len(found)


@pytest.mark.parametrize("preset", EVERY)
def test_a_preset_is_well_formed(preset: Preset) -> None:
    about = sections.PresetSection.model_validate(preset.tables["preset"])
    assert preset.title == about.title
    assert preset.table == about.table
    assert re.search(r"https://\S+", about.paper)
    assert about.notes
    methods = {text: choice(text) for text in preset.names.values()}
    assert len(methods) == len(preset.names)
    assert {"original", "retrain"} & set(methods)
    assert about.methods == [text for text in methods if text != "original"]
    method = preset.tables["method"]
    made = registry.make_method(method["name"], method.get("preset"), method.get("options", {}))
    assert preset.tables["request"]["scope"] in made.info.scopes
    assert method["name"] in {one.method for one in methods.values()}
    for attack in preset.tables["battery"]["attacks"]:
        registry.get_card(attack)


@pytest.mark.parametrize("preset", EVERY)
def test_published_figures_are_well_formed(preset: Preset) -> None:
    figures = preset.tables["preset"]["published"]
    assert len({(one["method"], one["metric"]) for one in figures}) == len(figures)
    for one in figures:
        assert one["method"] in preset.names.values()
        assert one["metric"] in preset.columns
        most = 1 if figure(one["metric"]).unit == "share" else 100
        assert 0 <= one["value"] <= most
        assert 0 <= one.get("sd", 0) <= most
    for name in preset.columns:
        figure(name)


@pytest.mark.parametrize(
    ("name", "method", "metric", "value", "sd"),
    [
        ("jit-cifar100-vgg11-class-rocket", "jit:paper", "retain_test_accuracy", 66.2, 0.3),
        ("jit-cifar100-vit-class-rocket", "retrain", "mia_entropy", 3.2, 0.5),
        ("jit-cifar10-vgg11-rows", "ssd {alpha = 10.0, lam = 4.0}", "mia_entropy", 66.7, 5.9),
        ("jit-cifar20-vit-subclass-sea", "jit:paper-vit-subclass", "forget_test_accuracy", 0, 0),
        ("jit-pins-vgg11-face-40", "ssd:full-class", "retain_test_accuracy", 47.4, 0),
        ("suli-cifar10-resnet18-class", "suli:paper", "retain_accuracy", 96.03, 0.12),
        ("suli-vggface2-resnet50-class", "initial_label", "mia_loss", 0.83, 0.05),
        ("suli-utkface-allcnn-rows-512", "retrain", "retain_accuracy", 96.43, None),
        ("unsir-cifar10-resnet18-1-class", "unsir:cifar10", "relearn_epochs", 90, None),
        ("unsir-cifar10-resnet18-2-classes", "retrain", "relearn_epochs", 100, None),
        ("lpu-organamnist-resnet50", "lpu_ascent", "retain_test_accuracy", 71.71, None),
        ("lpu-svhn-vgg19", "sisa:8x4", "retain_test_accuracy", 88.71, None),
        ("mlu-celeba-resnet18", "weight_pruning", "retain_test_accuracy", 95.12, None),
        ("mlu-celeba-labels-oval-face", "weight_pruning", "label_test_Oval_Face", 0.04, None),
        ("mlu-cifar10-resnet50", "weight_filtering", "forget_accuracy", 0.12, None),
    ],
)
def test_some_figures_are_those_of_the_papers(
    name: str, method: str, metric: str, value: float, sd: float | None
) -> None:
    figures = {(f["method"], f["metric"]): f for f in presets()[name].tables["preset"]["published"]}
    assert figures[method, metric]["value"] == value
    assert figures[method, metric].get("sd") == sd


def test_notes_name_errata_that_exist() -> None:
    errata = (ROOT / "docs/errata.md").read_text("utf-8")
    known = set(re.findall(r"^### (E\d+) ", errata, re.MULTILINE))
    notes = "\n".join(note for preset in presets().values() for note in preset.notes)
    named = set(re.findall(r"\bE\d+\b", notes))
    assert named
    assert named <= known


def networks() -> list[tuple[str, str, tuple[int, int, int], int]]:
    found = set()
    for preset in presets().values():
        channels, side, classes = SHAPES[preset.reader]
        side = preset.tables["data"].get("options", {}).get("size", side)
        options = json.dumps(preset.tables["model"].get("options", {}))
        found.add((preset.architecture, options, (channels, side, side), classes))
    return sorted(found)


@pytest.mark.parametrize(("name", "options", "shape", "classes"), networks())
def test_networks_fit_their_data_at_full_size(
    name: str, options: str, shape: tuple[int, ...], classes: int
) -> None:
    made = Architecture(name=name, shape=shape, n_classes=classes, options=json.loads(options))
    with torch.device("meta"):
        model = made.build()
    outputs = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert outputs[-1].out_features == classes


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'lpu-mnist-mlp'"):
        get_preset("lpu-mnist-mpl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scrubb", "did you mean 'scrub'"),
        ("ssd:full", "unknown preset 'full'"),
        ("ssd {alpha = }", "no TOML"),
        ("ssd {beta = 1.0}", "unexpected keyword"),
        ("scrub {epochs = -1}", "epochs"),
        ("ssd alpha=1", "expected name:preset"),
    ],
)
def test_a_method_that_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnknownName, match=re.escape(words)):
        choice(text)


def test_settings_go_over_presets() -> None:
    made = choice("scrub:large-unlearning {alpha = 1.0}").make()
    assert (made.alpha, made.gamma) == (1.0, 0.99)  # type: ignore[attr-defined]


def test_methods_are_chosen_by_name_and_new_ones_added() -> None:
    names = get_preset("unsir-vggface100-resnet18-1-class").names
    rows = chosen(names, ["fmul", "ssd:resnet18"])
    texts = [row.text for row in rows]
    assert texts[:2] == ["original", "retrain"]
    assert texts[2:] == ["fmul:vggface-resnet18", "fmul:vggface-resnet18 {impair_passes = 2}",
                         "ssd:resnet18"]  # fmt: skip
    assert [row.label for row in rows[2:]] == ["After Impair", "After 2 Impairs", "ssd:resnet18"]
    assert len(chosen(names, None)) == len(names)
    assert [row.kind for row in chosen({}, ["retrain"])] == ["original", "retrain"]


def test_a_cell_that_is_no_figure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected a figure"):
        list(catalogue._figures([["a", "12,5"]], {"a": "retrain"}, ["test_accuracy"]))


def test_a_plan_is_written_and_reads_back_the_same() -> None:
    for preset in presets().values():
        tables = plan_for(preset, Path("/data"))
        assert tomllib.loads(plan_file.plan_text(tables)) == tables
        assert "/data/" in tables["data"]["source"]


def test_cards_say_what_a_reader_needs() -> None:
    card = cards()["jit-cifar100-vgg11-class-rocket"]
    assert card["forgets"] == "class 69"
    assert card["network"] == "vgg11"
    assert "- OURS: jit:paper\n" in card["description"]
    assert "errata E38" in card["description"]
    assert cards()["unsir-cifar100-resnet18-20-classes"]["forgets"] == "classes 0 to 19"
    assert cards()["mlu-celeba-resnet18"]["forgets"] == "label Male"
    assert cards()["suli-cifar10-resnet18-rows-64"]["forgets"] == "64 rows"


def test_every_file_is_packaged_and_read() -> None:
    files = {item.name for item in resources.files("forget_audit.presets").iterdir()}
    stems = {f"{preset.stem}.toml" for preset in presets().values()}
    assert {name for name in files if name.endswith(".toml")} == stems


@pytest.mark.parametrize("name", page.TABLES)
def test_the_page_has_the_tables_of_the_code(name: str) -> None:
    text = (ROOT / "docs/papers.md").read_text("utf-8")
    found = re.search(rf"<!-- table: {name} -->\n\n(.*?)\n\n<!-- end -->", text, re.DOTALL)
    assert found is not None
    assert found[1] == page.TABLES[name](), f"put what page.TABLES[{name!r}]() returns there"
