"""Small networks of the three kinds in the papers, made of torchvision's blocks."""

from functools import partial
from itertools import pairwise

import torch
from skorch.callbacks import LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torchvision.models import VisionTransformer
from torchvision.models.resnet import BasicBlock

from sam_attribution import SAMClassifier

WIDTH = 8
GROUP_NORM = "Wide ResNet, group norm"  # beside the others, where batch norm is the question
TRAINING = {"rho": 0.05, "optimizer__momentum": 0.9, "batch_size": 32}
OWN = {
    "Wide ResNet": {"lr": 0.1, "max_epochs": 12},
    GROUP_NORM: {"lr": 0.1, "max_epochs": 15},
    "ResNet": {"lr": 0.1, "max_epochs": 12},
    "ViT": {"lr": 0.03, "max_epochs": 15},
}


class Wide(nn.Module):
    """A block of a Wide ResNet: norm and activation come before each convolution."""

    def __init__(self, n_in, n_out, stride, norm):
        super().__init__()
        self.body = nn.Sequential(
            *(norm(n_in), nn.ReLU(), nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)),
            *(norm(n_out), nn.ReLU(), nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)),
        )
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, X):
        return self.body(X) + self.shortcut(X)


def wide_resnet(shape, n_classes, norm=nn.BatchNorm2d):
    """WRN-10-1 of half the width."""
    widths = (WIDTH, WIDTH, 2 * WIDTH, 4 * WIDTH)
    blocks = [
        Wide(before, after, 1 + (number > 0), norm)
        for number, (before, after) in enumerate(pairwise(widths))
    ]
    return sequential(shape, blocks, (norm(widths[-1]), nn.ReLU()), widths, n_classes)


def resnet(shape, n_classes):
    """A ResNet of three blocks, with batch norm."""
    blocks = [
        BasicBlock(WIDTH, WIDTH),
        BasicBlock(WIDTH, 2 * WIDTH, 2, _shortcut(WIDTH, 2 * WIDTH)),
        BasicBlock(2 * WIDTH, 4 * WIDTH, 2, _shortcut(2 * WIDTH, 4 * WIDTH)),
    ]
    widths = (WIDTH, 4 * WIDTH)
    return sequential(shape, [nn.BatchNorm2d(WIDTH), *blocks], (), widths, n_classes)


def vit(shape, n_classes):
    """A transformer of two layers that reads patches of a quarter of the side."""
    side = shape[-1]
    network = VisionTransformer(side, side // 4, 2, 4, 64, 128, num_classes=n_classes)
    if shape[0] == 1:
        network.conv_proj = nn.Conv2d(1, 64, side // 4, side // 4)
    nn.init.normal_(network.heads.head.weight, std=0.02)  # torchvision begins at 0
    return network


NETWORKS = {"Wide ResNet": wide_resnet, "ResNet": resnet, "ViT": vit}


def module_of(name, shape, n_classes):
    if name == GROUP_NORM:
        return wide_resnet(shape, n_classes, group_norm)
    return NETWORKS[name](shape, n_classes)


def classifier(name, rows, seed, **settings):
    """The network of a seed, to be trained with a rate that falls to 0 (cosine)."""
    build = partial(module_of, name)
    return to_train(build, rows, seed, **TRAINING | OWN[name] | settings)


def to_train(build, rows, seed, **settings):
    """The network that `build` makes from a seed, in a classifier whose rate falls to 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build(rows.shape, rows.n_classes)
    known = {"random_state": seed, "classes": list(range(rows.n_classes))}
    falling = LRScheduler(CosineAnnealingLR, T_max=settings["max_epochs"])
    return SAMClassifier(module, callbacks=[("rate", falling)], **known | settings)


def sequential(shape, blocks, end, widths, n_classes):
    """A convolution to the first of the widths, blocks, and a linear layer from the last."""
    return nn.Sequential(
        nn.Conv2d(shape[0], widths[0], 3, padding=1, bias=False),
        *blocks,
        *end,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], n_classes)),
    )


def _shortcut(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 1, 2, bias=False), nn.BatchNorm2d(n_out))


group_norm = partial(nn.GroupNorm, 4)
