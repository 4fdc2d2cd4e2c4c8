"""
Removal curve: train again without some rows
============================================

A score predicts what a model does without a row. A removal curve measures it
for many rows at once: the network is trained again without the most harmful
rows, without the most helpful rows and without random rows. Its accuracy on
new rows is compared. The example runs for about fifteen seconds.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.datasets import symmetric_noise
from sam_attribution.metrics import removal_curve
from sam_attribution.plotting import RemovalCurveDisplay

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# One training label in five is wrong. The validation rows and the test rows
# have right labels. The scores use the validation rows only.

X, y = load_digits(return_X_y=True)
X, X_rest, y_right, y_rest = train_test_split(
    X / 16, y, train_size=600, random_state=0
)
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, train_size=300, random_state=0
)
y, wrong = symmetric_noise(y_right, 0.2, random_state=0)
classifier = SAMClassifier(
    module__n_hidden=64,
    batch_size=128,
    lr=0.1,
    optimizer__momentum=0.9,
    max_epochs=12,
)
influence = SAMInfluence(
    classifier, validation=ValidationData(X_val, y_val), random_state=0
)
scores = influence.fit(X, y).scores_
most_harmful = np.argsort(scores)[:120]
share = wrong[most_harmful].mean()
print(f"wrong labels among the 120 most harmful rows: {share:.0%}")

# %%
# Every removal is trained with three seeds. A curve is their mean, and the
# bars are their range. The grey band is the range of random removals.


def accuracy(kept, seed):
    """Accuracy on the test rows after training on the rows of a mask."""
    net = clone(classifier).set_params(trajectory=None, random_state=seed)
    return net.fit(X[kept], y[kept]).score(X_test, y_test)


def curve(scores, n_random):
    """Removal curves of three seeds, one below the other."""
    curves = [
        removal_curve(
            scores,
            partial(accuracy, seed=seed),
            fractions=[0, 0.1, 0.2, 0.3],
            n_random=n_random,
            random_state=seed,
        )
        for seed in range(3)
    ]
    return pd.concat(curves)


curves = {
    "most harmful first": curve(scores, n_random=2),
    "most helpful first": curve(-scores, n_random=0),
}
display = RemovalCurveDisplay(curves).plot()
display.ax_.set_xlabel("training rows removed (%)")
ends = {
    name: dict(line.get_xydata())
    for name, line in zip(curves, display.lines_, strict=True)
}
print(f"accuracy with all rows: {ends['most harmful first'][0]:.3f}")
for name, line in ends.items():
    print(f"accuracy without 20 %, {name}: {line[20]:.3f}")
at_random = dict(display.random_line_.get_xydata())
print(f"accuracy without 20 %, at random: {at_random[20]:.3f}")
