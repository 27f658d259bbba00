"""ResNets of any width: torchvision's, with every layer's planes multiplied."""

from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

SOLO_LEARNS_PADDING = 2
"""Pixels around the image in solo-learn's stem for CIFAR."""

_BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    10: (BasicBlock, [1, 1, 1, 1]),
    18: (BasicBlock, [2, 2, 2, 2]),
    50: (Bottleneck, [3, 4, 6, 3]),
}


class WideResNet(ResNet):
    """A torchvision ResNet whose stem and layers have ``width`` times the planes, without a classifier.

    Args:
        depth: 10, 18 or 50. ResNet-10 has one basic block a stage: small enough to pre-train on a CPU.
        width: Factor on every layer's planes; the features are ``width`` times as wide.
        kwargs: torchvision's, such as ``zero_init_residual``.

    ``inplanes`` is the number of features, the name by which solo-learn asks for it. With a width of 1, the names and
    shapes of the weights are torchvision's.
    """

    def __init__(self, depth: int, width: float = 1.0, **kwargs: Any) -> None:
        self.inplanes = 64  # what torchvision begins with, too
        if not round(64 * width) >= 1:
            raise ValueError(f"width={width}: leaves no planes, expected at least 1/64")
        self._width = width
        self._stem_is_wide = False
        block, layers = _BLOCKS[depth]
        super().__init__(block, layers, **kwargs)
        if width != 1:
            self._widen_stem(round(64 * width))
        self.fc = nn.Identity()

    @property
    def width_factor(self) -> float:
        """How many times wider than usual the network is: its stem has 64 planes at a width of 1."""
        return self.bn1.num_features / 64

    def _make_layer(self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False) -> nn.Sequential:
        if not self._stem_is_wide:
            self.inplanes, self._stem_is_wide = round(self.inplanes * self._width), True
        return super()._make_layer(block, round(planes * self._width), blocks, stride, dilate)

    def _widen_stem(self, planes: int) -> None:
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv1 = nn.Conv2d(3, planes, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")


def use_small_stem(network: ResNet, padding: int = SOLO_LEARNS_PADDING) -> None:
    """Give a ResNet a stem for small images: a 3x3 convolution of stride 1, and no pooling.

    Args:
        network: It is changed in place.
        padding: Pixels around the image; solo-learn has 2, most other code has 1.
    """
    planes = network.conv1.out_channels
    network.conv1 = nn.Conv2d(3, planes, kernel_size=3, stride=1, padding=padding, bias=False)
    network.maxpool = nn.Identity()
