"""
Find images in the wrong class folder
=====================================

Images on disk lie in one folder per class, and some lie in the wrong one.
torchvision reads the folders, and turns and shifts the images at random. A
small ResNet is trained on them, and the detector lists the misfiled images and
where they belong. It takes some twenty seconds.
"""

import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models.resnet import BasicBlock, ResNet

from sam_attribution import MislabelDetector, SAMClassifier

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# The folders
# -----------
#
# Nothing is downloaded: the example first writes 480 of scikit-learn's digits
# from 0 to 5 as enlarged images with random colours. One image in twelve goes
# to the folder of another digit.

rng = np.random.default_rng(0)
images, digits = load_digits(n_class=6, return_X_y=True)
images, digits = images[:480].reshape(-1, 8, 8, 1) / 16, digits[:480]
wrong = rng.random(480) < 1 / 12
filed = np.where(wrong, (digits + rng.integers(1, 6, 480)) % 6, digits)

temporary = tempfile.TemporaryDirectory()
for number, image in enumerate(images):
    ink, paper = rng.integers(0, 110, 3), rng.integers(160, 256, 3)
    pixels = (paper + (ink - paper) * image).astype(np.uint8)
    folder = Path(temporary.name) / f"digit {filed[number]}"
    folder.mkdir(exist_ok=True)
    picture = Image.fromarray(pixels).resize((32, 32), Image.BICUBIC)
    picture.save(folder / f"{number:03}.png")

# %%
# Read them, with augmentation
# ----------------------------
#
# ``ImageFolder`` is the Dataset. Images are not flipped, because a mirrored 2
# is not a 2. The random transforms of an image are seeded by its row and the
# epoch, so a second run gives the same bits.

augmented = transforms.Compose(
    [
        transforms.RandomRotation(10, fill=128),
        transforms.RandomCrop(28),
        transforms.ToTensor(),
        transforms.Normalize(mean=0.6, std=0.25),
    ]
)
pictures = ImageFolder(temporary.name, augmented)

# %%
# A small ResNet
# --------------
#
# The network is torchvision's ResNet without the last two of its four stages,
# because these images are small and few. Group norm replaces batch norm, so
# that an image is trained on in the same way whatever else is in its batch.
# The detector works with both.


class SmallResNet(ResNet):
    """Two stages of one block each."""

    def __init__(self, n_classes):
        norm = partial(nn.GroupNorm, 8)
        super().__init__(BasicBlock, [1, 1, 1, 1], norm_layer=norm)
        self.layer3 = self.layer4 = nn.Identity()
        self.fc = nn.Linear(128, n_classes)


classifier = SAMClassifier(
    SmallResNet,
    lr=0.05,
    optimizer__momentum=0.9,
    batch_size=16,
    max_epochs=8,
    random_state=0,
)

# %%
# Find the misfiled images
# ------------------------

detector = MislabelDetector(classifier, random_state=0).fit(pictures)

# Only for checking: the name of a file is the number of its digit
saved_as = [int(Path(path).stem) for path, _ in pictures.samples]
wrong, right = wrong[saved_as], digits[saved_as]
suspicious = detector.suspicious_
found = wrong & suspicious
placed = (detector.suggested_labels_ == right)[found].mean()
print(f"{wrong.sum()} of {len(pictures)} images are in the wrong folder")
print(f"{suspicious.sum()} are suspicious, {found.sum()} of them misfiled")
print(f"the right folder is suggested for {placed:.0%} of those found")

# %%
# The ten most suspicious images
# ------------------------------
#
# Most suspicious images are in the wrong folder, and few misfiled images are
# missing among them. A score is not a proof: look at an image before you move
# its file. ``detector.report`` writes a page for that (:doc:`/how_to/images`).

figure, axes = plt.subplots(2, 5, figsize=(9, 4.6), layout="constrained")
for ax, row in zip(axes.flat, np.argsort(detector.scores_), strict=False):
    path, label = pictures.samples[row]
    filed_as = pictures.classes[label]
    suggested = pictures.classes[detector.suggested_labels_[row]]
    ax.imshow(pictures.loader(path))
    title = f"filed as “{filed_as}”\nlooks like “{suggested}”"
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()
figure.suptitle("The ten most suspicious images")
