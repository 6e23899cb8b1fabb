"""Convolutional networks with shortcuts: ResNets and MobileNetV2.

References:
    He, Zhang, Ren and Sun, Deep residual learning for image recognition, CVPR 2016,
        arXiv:1512.03385, as in torchvision.
    Page, How to train your ResNet, Myrtle.ai, 2018: the network of nine layers.
    Sandler, Howard, Zhu, Zhmoginov and Chen, MobileNetV2: inverted residuals and linear
        bottlenecks, CVPR 2018, arXiv:1801.04381, as in torchvision.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from forget_audit.zoo.images import Stem, as_image, first_convolution, is_small, shaped
from forget_audit.zoo.widths import scaled

# Of MobileNetV2: factor of expansion, channels, blocks, stride. The paper's second stride is 2.
SMALL_STAGES = [[1, 16, 1, 1], [6, 24, 2, 1], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1],
                [6, 160, 3, 2], [6, 320, 1, 1]]  # fmt: skip


class Residual(nn.Module):
    """Layers whose answer is added to what they were given.

    Args:
        layers: Keep the shape.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return input and answer, added up."""
        answer: torch.Tensor = x + self.layers(x)
        return answer


def resnet9(shape: tuple[int, ...], n_classes: int, width: int = 64) -> nn.Module:
    """ResNet-9 (Page, 2018): eight convolutions, two shortcuts and a linear layer.

    `width` counts the channels of the first convolution. The largest value over the image is
    taken before the linear layer, which is the paper's pooling of 4x4 on images of 32x32.
    """
    model = nn.Sequential(OrderedDict(
        prepare=_convolution(as_image(shape)[0], width),
        layer1=_convolution(width, 2 * width, halved=True),
        shortcut1=Residual(*(_convolution(2 * width, 2 * width) for _ in range(2))),
        layer2=_convolution(2 * width, 4 * width, halved=True),
        layer3=_convolution(4 * width, 8 * width, halved=True),
        shortcut3=Residual(*(_convolution(8 * width, 8 * width) for _ in range(2))),
        pool=nn.AdaptiveMaxPool2d(1),
        flatten=nn.Flatten(),
        classifier=nn.Linear(8 * width, n_classes),
    ))  # fmt: skip
    return shaped(shape, model)


def _convolution(before: int, after: int, *, halved: bool = False) -> nn.Module:
    layers = [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2, ceil_mode=True)] if halved else []))


def resnet18(
    shape: tuple[int, ...], n_classes: int, stem: Stem = "auto", width: float = 1.0
) -> nn.Module:
    """ResNet-18 (He et al., 2016), torchvision's.

    For small images the first convolution is 3x3 with stride 1, and no pooling follows it, as in
    the paper's own networks for CIFAR. `width` multiplies the channels of all layers.
    """
    from torchvision.models import resnet18 as plain

    return _resnet(plain, shape, n_classes, stem=stem, width=width)


def resnet50(
    shape: tuple[int, ...], n_classes: int, stem: Stem = "auto", width: float = 1.0
) -> nn.Module:
    """ResNet-50 (He et al., 2016), torchvision's; options and small images as for `resnet18`."""
    from torchvision.models import resnet50 as plain

    return _resnet(plain, shape, n_classes, stem=stem, width=width)


def _resnet(
    plain: Callable[..., Any], shape: tuple[int, ...], n_classes: int, *, stem: Stem, width: float
) -> nn.Module:
    depth, small = as_image(shape)[0], is_small(stem, shape)

    def make() -> nn.Module:
        model = plain(num_classes=n_classes)
        if small:
            model.conv1 = first_convolution(model.conv1, depth, side=3, stride=1)
            model.maxpool = nn.Identity()
        elif depth != 3:
            model.conv1 = first_convolution(model.conv1, depth)
        made: nn.Module = model
        return made

    return shaped(shape, scaled(make, width))


def mobilenet_v2(
    shape: tuple[int, ...],
    n_classes: int,
    stem: Stem = "auto",
    width: float = 1.0,
    dropout: float = 0.2,
) -> nn.Module:
    """MobileNetV2 (Sandler et al., 2018), torchvision's.

    For small images the first convolution and the first stage that halves the image have stride
    1, so that 32x32 ends as 4x4. `width` multiplies the channels of all layers.
    """
    from torchvision.models import MobileNetV2

    depth, small = as_image(shape)[0], is_small(stem, shape)
    model = MobileNetV2(
        num_classes=n_classes,
        width_mult=width,
        inverted_residual_setting=SMALL_STAGES if small else None,
        dropout=dropout,
    )
    if small or depth != 3:
        stride = 1 if small else None
        model.features[0][0] = first_convolution(model.features[0][0], depth, stride=stride)
    return shaped(shape, model)
