"""
Compare scores with further training of a given model
=====================================================

A trained model is given, and its training is unknown. It is trained further
from its weights, with and without each of twenty rows, and the effects are
compared with the scores. First-order scores hold after little further
training, influence functions hold longer. It takes some seconds.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale

from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
from sam_attribution.comparison import further_training
from sam_attribution.methods import HIF, GradCos, GradDot, InfluenceFunction
from sam_attribution.metrics import similarity_curve
from sam_attribution.plotting import FurtherTrainingDisplay
from sam_attribution.retraining import FurtherTraining

torch.set_num_threads(1)  # faster for a network as small as this
X, y = load_wine(return_X_y=True)
X, X_query, y, y_query = train_test_split(
    scale(X), y, test_size=30, stratify=y, random_state=0
)
clf = SAMClassifier(
    max_epochs=30, lr=0.05, module__n_hidden=16, random_state=0
).fit(X, y)
print(f"accuracy {clf.score(X, y):.2f} on the training rows")

# %%
# Twenty rows are left out one by one, in three batch orders; training goes on
# for up to 50 epochs.

rows = np.random.default_rng(0).choice(len(y), 20, replace=False)
rows.sort()
method = FurtherTraining(n_epochs=50, n_seeds=3, rows=rows, random_state=0)
found = further_training(clf, X, y, X_query, y_query, method=method)
effect = np.sqrt(np.mean(found.curves() ** 2, axis=(1, 2)))
error = np.sqrt(np.mean(found.standard_errors() ** 2, axis=(1, 2)))
for epochs, size, noise in zip(found.amounts, effect, error, strict=True):
    moved = f"{size:.1e} ± {noise:.1e} nats"
    print(f"after {epochs:2d} epochs a row moves a query's loss by {moved}")

# %%
# Scores of the same rows for the same queries, none of which trains again.

methods = {
    "Grad-Dot": GradDot(),
    "Grad-Cos": GradCos(),
    "influence function": InfluenceFunction(damping=0.1),
    "HIF, fast": HIF("fast", damping=0.1),
    "HIF, full": HIF(damping=0.1),
}
queries = ValidationData(X_query, y_query)
scores = {
    name: SAMInfluence(FrozenEstimator(clf), method=method, validation=queries)
    .fit(X, y)
    .attribute(X_query, y_query)[:, rows]
    for name, method in methods.items()
}

# %%
# The cosine of scores and measurement, for each amount of further training.
# The bands are one standard error to both sides. The curve of "HIF, fast" lies
# on that of "HIF, full".

curves = {
    name: similarity_curve(each, found.curves(), found.amounts)
    for name, each in scores.items()
}
pairs = {
    "first-order scores": ["Grad-Dot", "Grad-Cos"],
    "scores with curvature": ["influence function", "HIF, full"],
}
figure, axes = plt.subplots(
    1, 2, figsize=(8, 3.8), sharey=True, layout="constrained"
)
for ax, (title, pair) in zip(axes, pairs.items(), strict=True):
    FurtherTrainingDisplay({name: curves[name] for name in pair}).plot(ax=ax)
    ax.set(title=title, xscale="log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc=(0.03, 0.1))
axes[1].set_ylabel("")
for name, curve in curves.items():
    first, last = curve["mean"].iloc[[0, -1]]
    n_epochs = found.amounts[-1]
    print(f"{name:20s} {first:.2f} after 1 epoch, {last:.2f} after {n_epochs}")
