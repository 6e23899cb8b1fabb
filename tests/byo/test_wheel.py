"""Other people's models from the installed wheel, in an empty folder, as newcomers try them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from forget_audit.trust import Trust
from forget_audit.verdict.scoretable import recompute
from forget_audit.verification.verify import verify_path
from tests.byo.newcomer import ROOT, Newcomer, Ran, edit, install
from tests.fixtures.formats import make_cifar10

MOST_MEMORY = 4096  # MiB
FEW = ("# attacks = ", 'attacks = ["loss_threshold"]')
PAGE_ALONE = ("formats = ", 'formats = ["html"]')
SMALL_RESNET = '''\
"""A ResNet-18 of eight channels instead of 64, for small pictures."""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class SmallResNet(ResNet):
    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        self.inplanes = 8 if planes == 64 else self.inplanes
        return super()._make_layer(block, planes // 8, blocks, stride, dilate)


def resnet18(shape, n_classes):
    network = SmallResNet(BasicBlock, [2, 2, 2, 2], num_classes=n_classes)
    network.conv1 = nn.Conv2d(shape[0], 8, 3, padding=1, bias=False)
    network.bn1, network.maxpool = nn.BatchNorm2d(8), nn.Identity()
    network.fc = nn.Linear(64, n_classes)
    return network
'''


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def start(newcomer: Newcomer, folder: Path, *words: str) -> str:
    ran = newcomer("init", *words, folder=folder)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def certified(newcomer: Newcomer, folder: Path, *pages: str) -> dict[str, Any]:
    """Run the audit; return its evidence once the report is seen to be signed and sound."""
    ran: Ran = newcomer("certify", "plan.toml", folder=folder)
    assert ran.code in (0, 1, 3), ran.err
    assert ran.err == ""
    assert ran.memory < MOST_MEMORY
    report = folder / "plan-audit"
    evidence: dict[str, Any] = json.loads((report / "evidence.json").read_bytes())
    outcome = evidence["verdict"]["outcome"]
    assert {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3}[outcome] == ran.code
    assert ran.out.startswith(outcome)
    assert [attack["name"] for attack in evidence["attacks"] if attack["outcome"] == "error"] == []
    for name in ("audit.dsse.json", "release.dsse.json", *pages):
        assert (report / name).is_file(), name
    checked = verify_path(report, Trust(), recompute)
    assert checked.exit_code == 3, "sound, and signed by a key that nobody knows yet"
    assert str(folder) not in (report / "report.html").read_text(encoding="utf-8")
    return evidence


def test_the_wheel_is_what_runs(newcomer: Newcomer, empty: Path) -> None:
    ran = newcomer.python("-c", "import forget_audit; print(forget_audit.__file__)", folder=empty)
    assert ran.out.strip() == str(newcomer.site / "forget_audit" / "__init__.py")
    assert not Path(ran.out).is_relative_to(ROOT)
    ran = newcomer.python("-c", "import socket; socket.socket().connect(('', 1))", folder=empty)
    assert "an audit asked the network" in ran.err


def test_a_small_resnet_on_cifar_files_with_a_training_loop_of_ones_own(
    newcomer: Newcomer, empty: Path
) -> None:
    make_cifar10(empty / "pictures", train=100, test=80)
    (empty / "network.py").write_text(SMALL_RESNET, encoding="utf-8")
    model = ("--kind", "function", "--architecture", "network:resnet18", "--method", "finetune")
    data = ("--data", "cifar10:pictures", "--option", "size=8", "--random", "30")
    assert "found 180 rows, 10 classes" in start(newcomer, empty, *model, *data)
    edit(empty / "my_model.py", ("EPOCHS = ", "EPOCHS = 1"))
    edit(empty / "plan.toml", FEW)
    evidence = certified(newcomer, empty, "report.html", "report.pdf")
    assert evidence["counts"]["retrained"] == 39
    assert evidence["counts"]["forget"] == 30


def test_boosted_trees_on_health_records(newcomer: Newcomer, empty: Path) -> None:
    found = start(newcomer, empty, "--kind", "xgboost", "--data", "randhie")
    assert "found 2,550 rows, 3 classes" in found
    edit(empty / "plan.toml", FEW, PAGE_ALONE)
    evidence = certified(newcomer, empty, "report.html")
    assert evidence["verdict"]["outcome"] == "PASS", evidence["verdict"]["reasons"]


def test_predictions_alone_in_a_table(newcomer: Newcomer, empty: Path) -> None:
    start(newcomer, empty, "--kind", "predictions")
    ran = newcomer.python("write_predictions.py", folder=empty)
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    edit(empty / "plan.toml", FEW, PAGE_ALONE)
    evidence = certified(newcomer, empty, "report.html")
    assert evidence["verdict"]["outcome"] == "PASS", evidence["verdict"]["reasons"]


def test_a_folder_of_hugging_face(newcomer: Newcomer, empty: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 16}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, **depth, num_labels=10)
    transformers.ViTForImageClassification(config).save_pretrained(empty / "model")
    x, y = load_digits(return_X_y=True)
    np.savez(empty / "rows.npz", x=x[:500].reshape(-1, 1, 8, 8) / 16, y=y[:500])
    found = start(newcomer, empty, "--data", "rows.npz", "--architecture", "hf:model")
    assert "found 500 rows, 10 classes" in found
    edit(empty / "plan.toml", ("epochs = ", "epochs = 2"), FEW)
    evidence = certified(newcomer, empty, "report.html", "report.pdf")
    assert evidence["model"]["architecture"] == "hf:model"
