"""
Find systematic wrong labels in images
======================================

In these digits, three labels in ten of every class are the next digit: a 3 was
entered as 4, a 9 as 0. A network memorises such labels, and its loss on them
becomes small. The detector finds them, suggests the right label and estimates
how many there are. It takes some five seconds.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.datasets import pair_noise
from sam_attribution.plotting import (
    DetectionCurveDisplay,
    LabelConfusionDisplay,
)

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# Find the wrong labels
# ---------------------
#
# ``pair_noise`` gives three in ten of every class to the next class, and tells
# us which ones, so that we can check. The detector sees the labels as they
# are.

X, y_right = load_digits(return_X_y=True)
X = X / 16
y, wrong = pair_noise(y_right, 0.3, random_state=0)

classifier = SAMClassifier(
    lr=0.2,
    optimizer__momentum=0.9,
    batch_size=128,
    max_epochs=30,
    random_state=0,
)
detector = MislabelDetector(classifier, random_state=0).fit(X, y)
suspicious = detector.suspicious_
estimated = detector.contamination_
print(f"wrong labels: {wrong.mean():.1%}, estimated: {estimated:.1%}")
precision = wrong[suspicious].mean()
print(f"wrong among the {suspicious.sum()} suspicious rows: {precision:.1%}")
print(f"wrong labels found: {suspicious[wrong].mean():.1%}")
put_right = (detector.suggested_labels_ == y_right)[wrong].mean()
print(f"wrong labels for which the right one is suggested: {put_right:.1%}")

# %%
# The most suspicious images
# --------------------------
#
# Each column has one given label. The suggested label stands behind the arrow.

figure, axes = plt.subplots(4, 10, figsize=(11, 5.2), layout="constrained")
for label, column in enumerate(axes.T):
    rows = np.flatnonzero(y == label)
    for ax, row in zip(
        column, rows[np.argsort(detector.scores_[rows])], strict=False
    ):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set_title(f"{label} → {detector.suggested_labels_[row]}")
        ax.set_axis_off()
figure.suptitle(
    "The most suspicious digits of each label: given label → suggested label"
)

# %%
# The matrix shows which labels are confused. The large numbers are next to the
# diagonal, where a digit has the label of the next one.

LabelConfusionDisplay.from_estimator(detector)

# %%
# Compare three rankings
# ----------------------
#
# The loss of the trained network misses labels that it has memorised. The mean
# over the training misses fewer of them. The detector also uses the class
# means of the network's features: there a row lies near rows of its true
# class, whatever its label is.

network = detector.estimator_
log_p = np.log(network.predict_proba(X)[np.arange(len(y)), y] + 1e-12)
scores = {
    "MislabelDetector": detector.scores_,
    "mean probability while learning": detector.score_components_["network"],
    "small loss of the trained network": log_p,
}
DetectionCurveDisplay.from_predictions(wrong, scores, recall_at=0.3)
