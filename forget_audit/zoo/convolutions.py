"""Convolutional networks without shortcuts: a small one, LeNet-5, All-CNN, AlexNet and VGG.

References:
    LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition,
        Proceedings of the IEEE 86, 1998.
    Springenberg, Dosovitskiy, Brox and Riedmiller, Striving for simplicity: the all convolutional
        net, ICLR workshop 2015, arXiv:1412.6806.
    Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014,
        arXiv:1404.5997, as in torchvision.
    Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition,
        ICLR 2015, arXiv:1409.1556, as in torchvision.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn

from forget_audit.errors import ModelError
from forget_audit.zoo.images import (
    Stem,
    as_image,
    first_convolution,
    is_small,
    round_up_pools,
    shaped,
)
from forget_audit.zoo.widths import scaled

LENET_SIDE = 32


def cnn(shape: tuple[int, ...], n_classes: int, channels: list[int] | None = None) -> nn.Module:
    """Small convolutional network: 3x3 convolutions, pooling by two, one linear layer.

    Rows are `(height, width)` or `(channels, height, width)`; a flat row must be a square.
    """
    depth, height, width = as_image(shape)
    layers: list[nn.Module] = [nn.Unflatten(1, (depth, height, width))] if depth == 1 else []
    if depth == 1:
        layers.insert(0, nn.Flatten())
    for size in channels or [8, 16]:
        layers += [nn.Conv2d(depth, size, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        depth, height, width = size, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * height * width, n_classes))


def lenet(shape: tuple[int, ...], n_classes: int, classic: bool = False) -> nn.Module:
    """LeNet-5 (LeCun et al., 1998): three convolutions, two poolings, two linear layers.

    Images of up to 32 pixels a side are padded with zeros to 32, as in the paper; the linear
    layers of larger ones are wider. ReLU and the largest of each 2x2 window are used, as is
    usual today; `classic` takes tanh and the mean of the window.
    """
    depth, height, width = as_image(shape)
    missing = [max(0, LENET_SIDE - side) for side in (width, height)]
    sides = [max(LENET_SIDE, side) for side in (height, width)]
    margins = [margin for gap in missing for margin in (gap // 2, gap - gap // 2)]
    act, pool = (nn.Tanh, nn.AvgPool2d) if classic else (nn.ReLU, nn.MaxPool2d)
    high, wide = (((side - 4) // 2 - 4) // 2 - 4 for side in sides)
    layers = [
        nn.ZeroPad2d((margins[0], margins[1], margins[2], margins[3])),
        *(nn.Conv2d(depth, 6, 5), act(), pool(2)),
        *(nn.Conv2d(6, 16, 5), act(), pool(2)),
        *(nn.Conv2d(16, 120, 5), act(), nn.Flatten()),
        *(nn.Linear(120 * high * wide, 84), act(), nn.Linear(84, n_classes)),
    ]
    return shaped(shape, nn.Sequential(*layers))


def allcnn(
    shape: tuple[int, ...],
    n_classes: int,
    width: int = 96,
    norm: bool = False,
    dropout: bool = False,
) -> nn.Module:
    """All-CNN-C (Springenberg et al., 2015): nine convolutions, two of them with stride 2.

    The last convolution of 1x1 and the mean over the image are written the other way round, as a
    linear layer on the mean: the same function of the same weights, without the last ReLU. All
    convolutions of 3x3 are padded. `width` counts the channels of the first three; `norm` puts
    batch normalisation before each ReLU; `dropout` drops a fifth of the image and half of the
    channels after each stride, as in the paper.
    """
    depth, wide = as_image(shape)[0], 2 * width
    plan = [(width, 3, 1), (width, 3, 1), (width, 3, 2), (wide, 3, 1), (wide, 3, 1), (wide, 3, 2),
            (wide, 3, 1), (wide, 1, 1)]  # fmt: skip
    layers: list[nn.Module] = [nn.Dropout(0.2)] if dropout else []
    for size, side, stride in plan:
        layers.append(nn.Conv2d(depth, size, side, stride, side // 2, bias=not norm))
        layers += [nn.BatchNorm2d(size), nn.ReLU()] if norm else [nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout and stride == 2 else []
        depth = size
    end = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, n_classes)]
    return shaped(shape, nn.Sequential(*layers, *end))


def alexnet(
    shape: tuple[int, ...],
    n_classes: int,
    stem: Stem = "auto",
    dropout: float = 0.5,
    width: float = 1.0,
) -> nn.Module:
    """AlexNet (Krizhevsky, 2014): five convolutions, three linear layers; torchvision's.

    For small images the first convolution is 3x3 with stride 1, poolings round up, and the linear
    layers read what is left of the image, 4x4 of 32x32. `width` multiplies the channels of all
    layers.
    """
    from torchvision.models import AlexNet

    depth, *sides = as_image(shape)
    small = is_small(stem, shape)
    least = 8 if small else 63
    if min(sides) < least:
        raise ModelError(
            f"alexnet: expected sides of at least {least} for the stem "
            f"{'cifar' if small else 'imagenet'}, found {sides}"
        )
    if small:
        return shaped(shape, _small_alexnet(depth, sides, n_classes, dropout, width))

    def make() -> nn.Module:
        model = AlexNet(num_classes=n_classes, dropout=dropout)
        if depth != 3:
            model.features[0] = first_convolution(model.features[0], depth)
        made: nn.Module = model
        return made

    return shaped(shape, scaled(make, width, he=False))


def _small_alexnet(
    depth: int, sides: list[int], n_classes: int, dropout: float, width: float
) -> nn.Module:
    from torchvision.models import AlexNet

    def make() -> nn.Module:
        with torch.device("meta"):  # most weights are those of the layer that is replaced
            model = AlexNet(num_classes=n_classes, dropout=dropout)
            model.features[0] = nn.Conv2d(depth, 64, 3, padding=1)
            model.avgpool = nn.Identity()
            model.classifier[1] = nn.Linear(256 * (sides[0] // 8) * (sides[1] // 8), 4096)
        round_up_pools(model.features)
        made: nn.Module = model.to_empty(device=torch.get_default_device())
        for module in made.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
        return made

    return scaled(make, width, he=False)


def vgg11(
    shape: tuple[int, ...],
    n_classes: int,
    stem: Stem = "auto",
    norm: bool = False,
    dropout: float = 0.5,
    width: float = 1.0,
) -> nn.Module:
    """VGG with 11 layers (Simonyan and Zisserman, 2015, configuration A), torchvision's.

    For small images one linear layer on the mean over the image takes the place of three, as in
    the usual variants for CIFAR. `norm` puts batch normalisation before each ReLU; `dropout` is
    for the linear layers of the stem imagenet; `width` multiplies the channels of all layers.
    """
    options = VggOptions(stem=stem, norm=norm, dropout=dropout, width=width)
    return _vgg("A", shape, n_classes, options)


def vgg16(
    shape: tuple[int, ...],
    n_classes: int,
    stem: Stem = "auto",
    norm: bool = False,
    dropout: float = 0.5,
    width: float = 1.0,
) -> nn.Module:
    """VGG with 16 layers (Simonyan and Zisserman, 2015, configuration D), torchvision's.

    Options are those of `vgg11`.
    """
    options = VggOptions(stem=stem, norm=norm, dropout=dropout, width=width)
    return _vgg("D", shape, n_classes, options)


def vgg19(
    shape: tuple[int, ...],
    n_classes: int,
    stem: Stem = "auto",
    norm: bool = False,
    dropout: float = 0.5,
    width: float = 1.0,
) -> nn.Module:
    """VGG with 19 layers (Simonyan and Zisserman, 2015, configuration E), torchvision's.

    Options are those of `vgg11`.
    """
    options = VggOptions(stem=stem, norm=norm, dropout=dropout, width=width)
    return _vgg("E", shape, n_classes, options)


@dataclass(frozen=True, kw_only=True)
class VggOptions:
    """Options of `vgg11`, `vgg16` and `vgg19`."""

    stem: Stem
    norm: bool
    dropout: float
    width: float


def _vgg(letter: str, shape: tuple[int, ...], n_classes: int, options: VggOptions) -> nn.Module:
    from torchvision.models.vgg import VGG, cfgs, make_layers

    depth, small = as_image(shape)[0], is_small(options.stem, shape)

    def make() -> nn.Module:
        features = make_layers(cfgs[letter], batch_norm=options.norm)
        if depth != 3:
            features[0] = first_convolution(features[0], depth)
        if not small:
            made: nn.Module = VGG(features, num_classes=n_classes, dropout=options.dropout)
            return made
        round_up_pools(features)
        model = nn.Sequential(OrderedDict(
            features=features, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(),
            classifier=nn.Linear(512, n_classes),
        ))  # fmt: skip
        for module in features.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                module.bias = nn.Parameter(torch.zeros(module.out_channels))
        return model

    return shaped(shape, scaled(make, options.width))
