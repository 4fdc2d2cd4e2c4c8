"""
Find and remove wrong labels, and train again
=============================================

One training label in five of the handwritten digits of scikit-learn is
replaced by the next digit. The detector finds the wrong labels,
cross-validation chooses how many rows to drop, and the model is trained again
without them. It takes some ten seconds.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler
from tqdm.auto import tqdm

from sam_attribution import FilteredClassifier, MislabelDetector, SAMClassifier
from sam_attribution.datasets import pair_noise
from sam_attribution.plotting import RemovalCurveDisplay

# sphinx_gallery_thumbnail_number = 2
OUTPUT = Path("demo_output")
OUTPUT.mkdir(exist_ok=True)
torch.set_num_threads(1)  # faster for a network as small as this

# %%
# The data
# --------
#
# There are 1347 training digits, and 450 test digits with right labels. One
# training label in five is wrong: a 3 was entered as 4, a 9 as 0.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_right, y_test = train_test_split(
    X, y, test_size=0.25, stratify=y, random_state=0
)
y_train, wrong = pair_noise(y_right, 0.2, random_state=0)
print(f"{len(y_train)} training digits, {wrong.sum()} with a wrong label\n")

# %%
# Find the wrong labels
# ---------------------

classifier = SAMClassifier(
    module__n_hidden=64,
    lr=0.3,
    optimizer__momentum=0.9,
    batch_size=256,
    max_epochs=12,
    random_state=0,
)
detector = MislabelDetector(classifier, random_state=0).fit(
    X_train / 16, y_train
)
scores, suggested = detector.scores_, detector.suggested_labels_

network = detector.estimator_.predict_proba(X_train / 16)
small_loss = network[np.arange(len(y_train)), y_train]
print(f"AUC of the detector:    {roc_auc_score(wrong, -scores):.3f}")
print(f"AUC of the small loss:  {roc_auc_score(wrong, -small_loss):.3f}")
print(f"share of wrong labels, as estimated: {detector.contamination_:.3f}")
put_right = (suggested == y_right)[wrong].mean()
print(f"right label suggested:  {put_right:.3f} of the wrong ones\n")

# %%
# The most suspicious digits of each label. A red cross marks a given label
# that is right.

figure, axes = plt.subplots(4, 10, figsize=(11, 5.4), layout="constrained")
for label, column in enumerate(axes.T):
    rows = np.flatnonzero(y_train == label)
    for ax, row in zip(column, rows[np.argsort(scores[rows])], strict=False):
        ax.imshow(X_train[row].reshape(8, 8), cmap="gray_r")
        ax.set_axis_off()
        mark = "" if wrong[row] else " ✗"
        color = "black" if wrong[row] else "tab:red"
        ax.set_title(f"{label} → {suggested[row]}{mark}", color=color)
figure.suptitle(
    "The most suspicious digits of each label: given label → suggested label"
)
figure.savefig(OUTPUT / "worst_rows.png", dpi=120)

# %%
# Choose how many rows to drop
# ----------------------------
#
# A grid search over a pipeline chooses the fraction. In each fold the rows are
# scored once for all fractions. The folds have the labels as given, wrong ones
# included.

pipeline = Pipeline(
    [
        ("scale", MinMaxScaler()),
        (
            "classify",
            FilteredClassifier(
                classifier, scorer=MislabelDetector(classifier), random_state=0
            ),
        ),
    ]
)
fractions = [0, 0.1, 0.2, 0.3]
search = GridSearchCV(
    pipeline, {"classify__removal_fraction": fractions}, cv=3
)
search.fit(X_train, y_train)
chosen = search.best_params_["classify__removal_fraction"]
dropped = ~search.best_estimator_["classify"].kept_
share = wrong[dropped].mean()
print(
    f"fraction chosen: {chosen}; of the rows dropped {share:.1%} were wrong\n"
)

# %%
# Accuracy without the dropped rows
# ---------------------------------
#
# The same fractions are compared on test digits with right labels, and with a
# training without exactly the wrong labels. Single trainings differ by a
# point, so every accuracy is the mean of three. The bars are their range.


def accuracies(kept_rows):
    """Accuracies on the test digits, one training for each of the masks."""
    trained = [
        clone(classifier)
        .set_params(random_state=seed, trajectory=None)
        .fit(X_train[kept] / 16, y_train[kept])
        for seed, kept in enumerate(kept_rows)
    ]
    return [each.score(X_test / 16, y_test) for each in trained]


def without_lowest(scores, fraction):
    """Mask of all rows but the fraction with the lowest scores."""
    ranks = np.argsort(np.argsort(scores, kind="stable"))
    return ranks >= round(fraction * len(scores))


lowest = [
    accuracies([without_lowest(scores, fraction)] * 3)
    for fraction in tqdm(fractions, desc="Training without the lowest scores")
]
rng = np.random.default_rng(0)
at_random = accuracies(
    [without_lowest(rng.random(len(scores)), chosen) for _ in range(3)]
)
without_wrong = np.mean(accuracies([~wrong] * 3))
means = np.mean(lowest, axis=1)
print(f"before:                           {means[0]:.3f}")
after = means[fractions.index(chosen)]
print(f"after {chosen:.0%} dropped, as chosen:     {after:.3f}")
print(f"as many random rows dropped:      {np.mean(at_random):.3f}")
print(f"exactly the wrong labels dropped: {without_wrong:.3f}")

display = RemovalCurveDisplay.from_predictions(
    fractions, np.transpose(lowest), name="lowest scores"
)
display.ax_.axhline(
    without_wrong,
    color="#009E73",
    ls="--",
    label="exactly the\nwrong labels",
)
display.ax_.axhline(means[0], color="0.35", ls=":", label="no row removed")
display.ax_.axvline(
    100 * chosen, color="0.6", lw=1, label="chosen by\ncross-validation"
)
display.ax_.set_title("Accuracy on digits with right labels")
display.ax_.legend(loc="upper left", bbox_to_anchor=(1, 1))
display.figure_.savefig(OUTPUT / "removal_curves.png", dpi=120)
print(f"\nPictures: worst_rows.png and removal_curves.png in {OUTPUT}")
