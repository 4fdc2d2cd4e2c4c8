"""
Find wrong labels with your own PyTorch training loop
=====================================================

The network here is trained by a plain PyTorch loop with SAM, written out
below, in the form that people know from Lightning. The loop saves the weights
to ten files. They are enough to find the wrong labels among the training rows.
The example runs for about ten seconds.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.datasets import pair_noise
from sam_attribution.plotting import DetectionCurveDisplay
from sam_attribution.training import Checkpoint

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# The network and its rows
# ------------------------
#
# There are 1297 training digits. One label in five is wrong: a 3 was entered
# as 4, a 9 as 0. Somebody has checked the labels of another 500 digits.

pixels, digits = load_digits(return_X_y=True)
pixels = (pixels / 16).astype("float32")
order = np.random.default_rng(0).permutation(len(digits))
checked, train = order[:500], order[500:]
y, wrong = pair_noise(digits[train], 0.2, random_state=0)
X = pixels[train]


class DigitReader(nn.Module):
    """What a LightningModule has, in plain PyTorch."""

    def __init__(self):
        super().__init__()
        layers = nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10)
        self.model = nn.Sequential(*layers)

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        return nn.functional.cross_entropy(self.model(inputs), labels)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3)


# %%
# The loop
# --------
#
# Each step moves to a nearby point with a higher loss, takes the gradient
# there, and updates the weights from where they were. Every 200 steps the loop
# saves the weights, in the middle of the steps that the file stands for. It
# also keeps the batch whose gradient made the ascent step.

RHO, N_STEPS, EVERY = 0.05, 2000, 200
folder = Path(tempfile.mkdtemp())
torch.manual_seed(0)
reader = DigitReader()
optimizer = reader.configure_optimizers()
weights = list(reader.parameters())
inputs, labels = torch.as_tensor(X), torch.as_tensor(y)
start = Checkpoint(reader.model.state_dict(), rate=0)  # before training
checkpoints = [start]


def backward(rows, step):
    optimizer.zero_grad()
    reader.training_step((inputs[rows], labels[rows]), step).backward()


for step in range(N_STEPS):
    rows = torch.randperm(len(X))[:32]
    if step % EVERY == EVERY // 2:
        path = folder / f"step={step}.ckpt"
        torch.save({"state_dict": reader.state_dict()}, path)
        checkpoints.append(Checkpoint(path, rate=EVERY * 0.3, rows=rows))
    backward(rows, step)
    norm = torch.cat([w.grad.flatten() for w in weights]).norm()
    ascent = [RHO / norm * w.grad for w in weights]
    with torch.no_grad():
        torch._foreach_add_(weights, ascent)
    backward(rows, step)
    with torch.no_grad():
        torch._foreach_sub_(weights, ascent)
    optimizer.step()

# %%
# The network has memorised some of the wrong labels. Its own mistakes cannot
# show these.

with torch.no_grad():
    log_p = reader.model(inputs).log_softmax(1)[range(len(y)), y].numpy()
    predicted = reader.model(inputs).argmax(1).numpy()
print(f"wrong labels memorised: {(predicted == y)[wrong].mean():.0%}")

# %%
# Give the network to the package
# -------------------------------
#
# ``from_module`` takes no training step. In files of Lightning the name of the
# attribute, ``model.``, stands before each weight; it is removed.

net = SAMClassifier.from_module(
    reader.model,
    X,
    y,
    rho=RHO,
    checkpoints=checkpoints,
)
held_out = ValidationData(pixels[checked], digits[checked])

# %%
# The detector says which labels are wrong, how many there are, and what they
# should be.

detector = MislabelDetector(net, validation=held_out, random_state=0)
found = detector.fit(X, y).suspicious_
right = (detector.suggested_labels_ == digits[train])[wrong].mean()
print(f"wrong labels: {wrong.mean():.0%}")
print(f"estimated by the detector: {detector.contamination_:.0%}")
print(f"suspicious rows: {found.sum()}")
print(f"wrong among the suspicious: {wrong[found].mean():.0%}")
print(f"wrong labels found: {found[wrong].mean():.0%}")
print(f"wrong labels for which the right one is suggested: {right:.0%}")

# %%
# GIF sums the effect of each row on the network over the ten checkpoints. To
# find wrong labels, take the margin and the worst class.

influence = SAMInfluence(
    net,
    method="gif",
    evaluation="margin",
    aggregate="worst-class",
    validation=held_out,
).fit(X, y)

# %%
# Compare three rankings
# ----------------------
#
# A person checks the rows, the most suspicious first. The nearer a curve is to
# the upper left corner, the fewer right labels the person checks.

scores = {
    "MislabelDetector": detector.scores_,
    "GIF": influence.scores_,
    "loss of the final network": log_p,
}
display = DetectionCurveDisplay.from_predictions(wrong, scores, recall_at=0.2)
display.ax_.set_title("Wrong labels found behind a plain training loop")
plt.show()

# %%
# Methods that repeat every step, such as ``"unrolled"`` and ``"loo"``, are
# refused, because no step was recorded. ``SAMClassifier(module).fit(X, y)``
# records its steps.
