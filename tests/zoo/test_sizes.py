"""Published numbers of weights, and the forms for small images; nothing is allocated."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from forget_audit.architectures import Architecture
from forget_audit.errors import ModelError
from forget_audit.seeds import seeded_torch

LARGE, SMALL = (3, 224, 224), (3, 32, 32)


def built(name: str, shape: tuple[int, ...], n_classes: int, **options: Any) -> nn.Module:
    architecture = Architecture(name=name, shape=shape, n_classes=n_classes, options=options)
    with torch.device("meta"):
        return architecture.build()


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# torchvision's documentation, and for ViT-S the paper of DeiT (22 million) and its code.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("alexnet", 61_100_840),
        ("vgg11", 132_863_336),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("mobilenet_v2", 3_504_872),
        ("vit_small", 22_050_664),
        ("vit_large", 304_326_632),
    ],
)
def test_on_imagenet(name: str, published: int) -> None:
    assert weights(built(name, LARGE, 1000)) == published


# LeCun et al.; Springenberg et al. (1.4 million); He et al. and Simonyan and Zisserman as they
# are usually written for CIFAR; Page, whose last layer has no bias.
@pytest.mark.parametrize(
    ("name", "shape", "options", "published"),
    [
        ("lenet", (28, 28), {}, 61_706),
        ("lenet", (1, 32, 32), {}, 61_706),
        ("allcnn", SMALL, {}, 1_369_738),
        ("resnet9", SMALL, {}, 6_573_120 + 10),
        ("resnet18", SMALL, {}, 11_173_962),
        ("resnet50", SMALL, {}, 23_520_842),
        ("vgg11", SMALL, {"norm": True}, 9_231_114),
        ("vgg16", SMALL, {"norm": True}, 14_728_266),
        ("vgg19", SMALL, {"norm": True}, 20_040_522),
        ("mobilenet_v2", SMALL, {}, 3_504_872 - 990 * 1281),
        ("vit_small", LARGE, {"width": 768, "heads": 12}, 85_806_346),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_on_ten_classes(
    name: str, shape: tuple[int, ...], options: dict[str, Any], published: int
) -> None:
    assert weights(built(name, shape, 10, **options)) == published


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("alexnet", torchvision.models.alexnet),
        ("vgg11", torchvision.models.vgg11),
        ("resnet18", torchvision.models.resnet18),
        ("resnet50", torchvision.models.resnet50),
        ("mobilenet_v2", torchvision.models.mobilenet_v2),
        ("vit_large", torchvision.models.vit_l_16),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_checkpoints_of_torchvision_fit(name: str, theirs: Any) -> None:
    with torch.device("meta"):
        expected = theirs(num_classes=7).state_dict()
    ours = built(name, LARGE, 7).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in expected.items()}


def last_image(name: str, shape: tuple[int, ...], **options: Any) -> tuple[int, ...]:
    """Return the size of the image that the last convolution answers with."""
    model, seen = built(name, shape, 10, **options).eval(), []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, answer: seen.append(answer.shape[2:]))
    model(torch.zeros(2, *shape, device="meta"))
    return tuple(seen[-1])


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("lenet", SMALL, (1, 1)),
        ("allcnn", SMALL, (8, 8)),
        ("vgg11", SMALL, (2, 2)),
        ("vgg11", (3, 28, 28), (2, 2)),
        ("vgg11", LARGE, (14, 14)),
        ("resnet9", SMALL, (4, 4)),
        ("resnet18", SMALL, (4, 4)),
        ("resnet18", (3, 63, 63), (8, 8)),
        ("resnet18", (3, 64, 64), (2, 2)),
        ("resnet50", LARGE, (7, 7)),
        ("mobilenet_v2", SMALL, (4, 4)),
        ("mobilenet_v2", LARGE, (7, 7)),
        ("alexnet", SMALL, (8, 8)),
        ("alexnet", LARGE, (13, 13)),
    ],
    ids=str,
)
def test_the_stem_follows_from_the_side(
    name: str, shape: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert last_image(name, shape) == expected


def test_the_stem_can_be_chosen() -> None:
    assert last_image("resnet18", SMALL, stem="imagenet") == (1, 1)
    assert last_image("resnet18", (3, 64, 64), stem="cifar") == (8, 8)


@pytest.mark.parametrize(
    ("side", "patch"), [(8, 2), (28, 4), (32, 4), (48, 8), (64, 8), (96, 16), (224, 16)]
)
def test_patches_of_transformers_follow_from_the_side(side: int, patch: int) -> None:
    model = built("vit_small", (3, side, side), 10, depth=1)
    first = model.get_submodule("conv_proj")
    assert isinstance(first, nn.Conv2d)
    assert first.kernel_size == (patch, patch)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg11", "vgg16", "vgg19", "alexnet"])
@pytest.mark.parametrize("shape", [SMALL, (1, 64, 64)], ids=str)
def test_a_width_multiplies_the_channels_of_all_layers(name: str, shape: tuple[int, ...]) -> None:
    options = {"norm": True} if name.startswith("vgg") else {}
    whole, half = (built(name, shape, 7, width=width, **options) for width in (1, 0.5))
    sizes = [dict(model.state_dict()) for model in (whole, half)]
    assert list(sizes[0]) == list(sizes[1])
    first, *_ = (key for key in sizes[0] if key.endswith("weight"))
    *_, last = (key for key in sizes[0] if key.endswith("weight"))
    for key, weight in sizes[0].items():
        expected = [side if place > 1 else side // 2 for place, side in enumerate(weight.shape)]
        if key == first:
            expected[1] = shape[0]
        if key.startswith(last.removesuffix("weight")):
            expected[0] = 7
        assert list(sizes[1][key].shape) == expected, key


@pytest.mark.parametrize("width", [0.0, -1.0, 0.3, 1 / 128])
def test_a_width_leaves_whole_channels(width: float) -> None:
    with pytest.raises(ModelError, match="width: expected a multiple of 1/64 above 0"):
        built("resnet18", SMALL, 10, width=width)


def test_narrow_networks_are_drawn_like_wide_ones() -> None:
    with seeded_torch(1):
        wide, narrow = (
            Architecture(
                name="resnet18", shape=SMALL, n_classes=10, options={"width": width}
            ).build().state_dict()
            for width in (1.0, 0.5)
        )  # fmt: skip
    for key, weight in wide.items():
        if weight.ndim == 4:  # He et al.: the variance is two over the outgoing connections
            fans = [w.shape[0] * w.shape[2] * w.shape[3] for w in (weight, narrow[key])]
            ratio = float(narrow[key].std() / weight.std()) / (fans[0] / fans[1]) ** 0.5
            assert 0.9 < ratio < 1.1, key
        elif weight.ndim < 2:
            assert set(narrow[key].unique().tolist()) <= {0.0, 1.0} or key == "fc.bias", key
