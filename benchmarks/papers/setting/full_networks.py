"""The paper's networks, for images of 32 by 32 pixels: WRN-28-10, ResNet-50 and ViT-B.

WRN-28-10 has the blocks of the small Wide ResNet, with batch norm. ResNet-50 begins with a
convolution of 3 by 3 pixels and has no max pooling. ViT-B has the layers of torchvision's
``vit_b_16``, but patches of 4 pixels, of which an image has 64: patches of 16 would be four. Rates
and epochs are a choice of this repository and have not been tuned at this size.
"""

from itertools import pairwise

from torch import nn
from torchvision.models import VisionTransformer, resnet50

from benchmarks.papers.setting.small_networks import Wide, sequential, to_train

DEPTH, FACTOR, PATCH = 28, 10, 4
TRAINING = {"rho": 0.05, "optimizer__momentum": 0.9, "batch_size": 128, "max_epochs": 30}
RATES = {"WRN-28-10": 0.1, "ResNet-50": 0.1, "ViT-B": 0.05}


def wide_resnet(shape, n_classes):
    """WRN-28-10: three groups of four blocks, ten times as wide as a ResNet."""
    n_blocks = (DEPTH - 4) // 6
    widths = (16, *(width * FACTOR for width in (16, 32, 64) for _ in range(n_blocks)))
    blocks = [
        Wide(before, after, 2 if number in (n_blocks, 2 * n_blocks) else 1, nn.BatchNorm2d)
        for number, (before, after) in enumerate(pairwise(widths))
    ]
    return sequential(shape, blocks, (nn.BatchNorm2d(widths[-1]), nn.ReLU()), widths, n_classes)


def resnet(shape, n_classes):
    """ResNet-50 with the stem for small images."""
    network = resnet50(num_classes=n_classes)
    network.conv1 = nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return network


def vit(shape, n_classes):
    """ViT-B on patches of 4 pixels."""
    network = VisionTransformer(shape[-1], PATCH, 12, 12, 768, 3072, num_classes=n_classes)
    nn.init.normal_(network.heads.head.weight, std=0.02)  # torchvision begins at 0
    return network


NETWORKS = {"WRN-28-10": wide_resnet, "ResNet-50": resnet, "ViT-B": vit}


def classifier(name, rows, seed, *, n_epochs=None, device="cpu"):
    """The network of a seed, to be trained on a device."""
    settings = TRAINING | {"lr": RATES[name], "device": device}
    if n_epochs is not None:
        settings["max_epochs"] = n_epochs
    return to_train(NETWORKS[name], rows, seed, **settings)
