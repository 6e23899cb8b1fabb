"""What the architectures compute, which rows they take, and what they refuse."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import VisionTransformer as Transformer

from forget_audit.architectures import BUILDERS, Architecture, options_of
from forget_audit.errors import ModelError, NotApplicable
from forget_audit.foreign.answering import AnswersOnly
from forget_audit.model_files import load_weights, safetensors_bytes
from forget_audit.seeds import generator, seeded_torch
from forget_audit.targets import weights_digest
from forget_audit.training.loop import Recipe, fit

TINY: dict[str, dict[str, Any]] = {
    "allcnn": {"width": 4},
    "resnet9": {"width": 4},
    "mobilenet_v2": {"width": 0.1},
    "vit_small": {"width": 12, "heads": 2, "depth": 1},
    "vit_large": {"width": 12, "heads": 2, "depth": 1},
}
IMAGES = ["cnn", "lenet", "allcnn", "resnet9", "mobilenet_v2", "vit", "vit_small"]


def made(name: str, shape: tuple[int, ...], n_classes: int = 3, **options: Any) -> nn.Module:
    with seeded_torch(4):
        architecture = Architecture(
            name=name, shape=shape, n_classes=n_classes, options={**TINY.get(name, {}), **options}
        )
        return architecture.build().eval()


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_image_in_any_form_gets_the_same_answer(name: str) -> None:
    with seeded_torch(1):
        x = torch.rand(2, 64)
    answers = [made(name, shape)(x.reshape(2, *shape)) for shape in [(64,), (8, 8), (1, 8, 8)]]
    assert answers[0].shape == (2, 3)
    assert all(torch.equal(answers[0], other) for other in answers[1:])


@pytest.mark.parametrize("name", [name for name in IMAGES if not name.startswith("vit")])
def test_images_need_not_be_square(name: str) -> None:
    assert made(name, (3, 8, 12))(torch.rand(2, 3, 8, 12)).shape == (2, 3)


def test_names_of_weights_of_the_first_architectures_stay() -> None:
    assert list(made("mlp", (64,), norm=True, hidden=[4]).state_dict()) == [
        "1.weight", "1.bias", "2.weight", "2.bias", "2.running_mean", "2.running_var",
        "2.num_batches_tracked", "4.weight", "4.bias",
    ]  # fmt: skip
    assert list(made("cnn", (64,)).state_dict())[:2] == ["2.weight", "2.bias"]
    assert list(made("linear", (64,)).state_dict()) == ["1.weight", "1.bias"]
    assert list(made("vit", (64,), depth=1).state_dict())[:4] == [
        "token", "positions", "patches.weight", "patches.bias"
    ]  # fmt: skip


def test_attention_is_that_of_torchvision() -> None:
    model = made("vit_small", (3, 8, 8), depth=2)
    theirs: Any = Transformer(
        image_size=8, patch_size=2, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=48,
        num_classes=3,
    )  # fmt: skip
    with seeded_torch(2):
        x = torch.rand(3, 3, 8, 8)
        drawn = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    model.load_state_dict(drawn)
    theirs.load_state_dict(drawn)
    for mode in (True, False):
        assert torch.allclose(model.train(mode)(x), theirs.train(mode)(x), rtol=1e-4, atol=1e-5)
    assert model(x).std(0).min() > 0.1


def test_dropout_of_a_transformer_drops() -> None:
    model: Any = made("vit_small", (3, 8, 8), dropout=0.5).train()
    model.heads = nn.Identity()  # torchvision draws no weights for it: all are 0
    with seeded_torch(2):
        x = torch.rand(1, 3, 8, 8).expand(2, -1, -1, -1)
        first, second = model(x)
    assert not torch.equal(first, second)


def test_small_images_keep_their_shape_up_to_the_first_shortcut() -> None:
    model = made("resnet18", (3, 8, 8))
    assert isinstance(model.get_submodule("maxpool"), nn.Identity)
    x = torch.zeros(1, 3, 8, 8)
    assert model.get_submodule("conv1")(x).shape == (1, 64, 8, 8)


def test_allcnn_ends_with_a_convolution_of_one_and_a_mean() -> None:
    model = made("allcnn", (3, 8, 8))
    assert isinstance(model, nn.Sequential)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    with seeded_torch(2):
        features = model[:-3](torch.rand(2, 3, 8, 8))
    as_published = functional.conv2d(features, head.weight[:, :, None, None], head.bias)
    assert torch.allclose(as_published.mean((2, 3)), model[-3:](features), atol=1e-6)


def test_lenet_pads_to_the_size_of_the_paper() -> None:
    model = made("lenet", (1, 28, 28))
    x = torch.rand(1, 1, 28, 28)
    assert isinstance(model, nn.Sequential)
    padded = functional.pad(x, (2, 2, 2, 2))
    assert torch.equal(model(x), model[1:](padded))
    assert made("lenet", (1, 40, 44))(torch.zeros(1, 1, 40, 44)).shape == (1, 3)
    kinds = {type(module) for module in made("lenet", (64,), classic=True).modules()}
    assert {nn.Tanh, nn.AvgPool2d} <= kinds
    assert nn.ReLU not in kinds


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        ("resnet18", (3, 8, 8), {"stem": "tiny"}, "stem: expected one of auto, cifar, imagenet"),
        ("alexnet", (3, 32, 32), {"stem": "imagenet"}, "sides of at least 63"),
        ("alexnet", (3, 4, 4), {}, "sides of at least 8"),
        ("vit_small", (3, 32, 30), {}, "expected square images"),
        ("vit_small", (3, 32, 32), {"patch": 5}, "multiples of patch 5"),
        ("vit_large", (3, 32, 32), {"heads": 3}, "width that is one of heads 3"),
        ("lenet", (7,), {}, "expected square images, found rows of 7"),
        ("lenet", (1, 2, 3, 4), {}, "expected rows"),
        ("text", (9,), {"words": 1}, "at least two words"),
        ("resnet9", (3, 8, 8), {"width": -1}, "cannot be built for rows of shape"),
        ("mlp", (9,), {"depth": 3}, "does not accept"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_refused(
    name: str, shape: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Architecture(name=name, shape=shape, n_classes=3, options=options).build()


def test_titles_are_sentences_and_options_are_described() -> None:
    for name, builder in BUILDERS.items():
        text = builder.__doc__ or ""
        first = text.splitlines()[0]
        assert first[0].isupper()
        assert first.endswith((".", ",", ":")), name
        told = text + (BUILDERS["vgg11"].__doc__ or "") * ("`vgg11`" in text)
        told += (BUILDERS["vit_small"].__doc__ or "") * ("`vit_small`" in text)
        told += (BUILDERS["resnet18"].__doc__ or "") * ("`resnet18`" in text)
        plain = {"stem", "channels", "dropout", "heads", "depth", "width", "patch", "hidden"}
        assert not [o for o in options_of(name) if f"`{o}" not in told and o not in plain], name


# Texts


def test_text_is_the_mean_of_its_words_in_any_order() -> None:
    model = made("text", (5,), words=9)
    row = torch.tensor([[3.0, 7, 0, 0, 0], [7, 0, 3, 0, 0], [3, 3, 7, 7, 0], [0, 0, 0, 0, 0]])
    answers = model(row)
    assert torch.allclose(answers[0], answers[1], atol=1e-6)
    assert torch.allclose(answers[0], answers[2], atol=1e-6)
    assert torch.isfinite(answers[3]).all()
    vectors = model.get_parameter("embedding.weight")
    by_hand = model.get_submodule("head")(
        model.get_submodule("hidden")((vectors[3] + vectors[7]) / 2).relu()
    )
    assert torch.allclose(answers[0], by_hand, atol=1e-6)


def test_words_beyond_the_vocabulary_are_named() -> None:
    model = made("text", (2,), words=9)
    with pytest.raises(ModelError, match="from 0 to 8, found 1 to 9; set the option words to at"):
        model(torch.tensor([[1.0, 9.0]]))
    with pytest.raises(ModelError, match="found -1 to 2"):
        model(torch.tensor([[-1.0, 2.0]]))
    every = torch.func.vmap(lambda x: model(x))
    with pytest.raises(ModelError, match="found 1 to 9"):
        every(torch.tensor([[[1.0, 9.0]], [[1.0, 2.0]]]))


def test_texts_cannot_be_moved() -> None:
    model = made("text", (2,), words=9)
    with pytest.raises(NotApplicable, match="whole numbers of words"):
        model(torch.tensor([[1.5, 2.0]]))
    with pytest.raises(NotApplicable, match="no gradient"):
        model(torch.tensor([[1.0, 2.0]], requires_grad=True))


# One output for two classes


class Asked(AnswersOnly):
    """A model of another library."""


def _one(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(shape[0], n_classes), nn.Flatten(0))


def _two(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return nn.Linear(shape[0], 2)


def _asked(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    return Asked()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("own_networks")
    vars(module).update(one=_one, two=_two, asked=_asked)
    monkeypatch.setitem(sys.modules, "own_networks", module)
    return "own_networks"


def binary(name: str, shape: tuple[int, ...] = (6,), n_classes: int = 2) -> nn.Module:
    with seeded_torch(3):
        return Architecture(name=name, shape=shape, n_classes=n_classes, head="binary").build()


@pytest.mark.parametrize("name", ["mlp", "own_networks:one"])
def test_one_output_answers_two_logits_of_the_same_probability(own: str, name: str) -> None:
    model = binary(name)
    assert model.training
    with seeded_torch(5):
        x = torch.randn(7, 6)
    z = model.get_submodule("inner")(x).reshape(7)
    logits = model(x)
    assert logits.shape == (7, 2)
    assert torch.allclose(logits.softmax(1)[:, 1], torch.sigmoid(z))
    y = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    expected = functional.binary_cross_entropy_with_logits(z, y.float())
    assert torch.allclose(functional.cross_entropy(logits, y), expected)


def test_binary_heads_learn() -> None:
    model, rng = binary("mlp"), np.random.default_rng(0)
    x = rng.normal(size=(60, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    fit(model, x, y, Recipe(epochs=30, lr=0.01), generator(0))
    assert np.mean(model(torch.tensor(x)).argmax(1).numpy() == y) > 0.95


def test_binary_heads_that_do_not_fit_are_refused(own: str) -> None:
    with pytest.raises(ModelError, match="expected two classes, found 3"):
        binary("mlp", n_classes=3)
    with pytest.raises(ModelError, match=r"expected one output a row, found answers .*\(1, 2\)"):
        binary("own_networks:two")
    with pytest.raises(ModelError, match="answers for both classes already"):
        binary("own_networks:asked")


def test_weights_of_the_network_alone_can_be_loaded(tmp_path: Any) -> None:
    model = binary("mlp")
    for name, part in (("alone", model.get_submodule("inner")), ("wrapped", model)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(safetensors_bytes(part))
        with seeded_torch(9):
            other = Architecture(name="mlp", shape=(6,), n_classes=2, head="binary").build()
        assert weights_digest(other) != weights_digest(model)
        assert weights_digest(load_weights(other, path)) == weights_digest(model)
