"""
Find and remove wrong labels in handwritten digits
==================================================

The digits that scikit-learn ships, with one training label in ten flipped. A model is trained
with SAM, every training row is scored, the share to remove is chosen by cross-validation, and
the model is trained again without it. About a minute on a laptop.
"""

import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from tqdm.auto import tqdm

from sam_attribution import FilteredClassifier, SAMClassifier, SAMInfluence
from sam_attribution.datasets import symmetric_noise
from sam_attribution.filtering import default_scorer, rows_to_keep
from sam_attribution.problem import problem_from_estimator

OUTPUT = Path("demo_output")
SEED = 0
start = time.perf_counter()
torch.set_num_threads(1)  # the network is small: more threads would wait for each other


def step(text):
    """Announce what comes next."""
    print(f"\n[{time.perf_counter() - start:5.1f} s] {text}", flush=True)


# %%
# The data: 1347 digits to train on, 135 of them mislabelled, 450 to test on.

X, y = load_digits(return_X_y=True)
X_train, X_test, y_clean, y_test = train_test_split(
    X / 16, y, test_size=0.25, stratify=y, random_state=SEED
)
y_train, flipped = symmetric_noise(y_clean, 0.1, random_state=SEED)
classifier = SAMClassifier(
    module__n_hidden=64,
    lr=0.2,
    optimizer__momentum=0.9,
    batch_size=128,
    max_epochs=40,
    random_state=SEED,
)
step(f"{len(y_train)} training digits, {flipped.sum()} of them with a wrong label")

# %%
# Score every row. The default scorer trains on two thirds and judges by the third that was held
# out, three times over, so that every row is judged. Lowest score = most suspicious.

step("Scoring every row: worst-class margin influence, 3 folds")
influence = default_scorer(classifier, random_state=SEED).set_params(verbose=1)
influence.fit(X_train, y_train)
scores = influence.scores_
suggested = influence.suggest_labels()

# %%
# What other scores find, honestly: plain GIF and HIF ask what removal does to the validation
# *loss*, which is another question, and their validation labels are as noisy as the rest. On
# symmetric flips like these the simplest baseline, the mean loss over training, is hard to beat.


def mean_trajectory_loss(fitted):
    """Mean of every training row's loss over the recorded states."""
    problem = problem_from_estimator(fitted, X_train, y_train)
    losses = [
        problem.row_loss.per_sample(
            problem.logits(state.params, state.buffers, problem.X), problem.y
        )
        for state in fitted.trajectory_.states
    ]
    return torch.stack(losses).mean(0).detach().numpy()


step("Scoring again for comparison: GIF, HIF, mean loss")
before = clone(classifier).fit(X_train, y_train)
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="the SAM Jacobian is not safely invertible")
    rivals = {
        name: SAMInfluence(classifier, method=name, random_state=SEED).fit(X_train, y_train)
        for name in ("gif", "hif")
    }
columns = {
    "worst-class margin influence (default)": scores,
    "GIF, validation loss": rivals["gif"].scores_,
    "HIF, validation loss": rivals["hif"].scores_,
    "mean loss over training": -mean_trajectory_loss(before),
    "random": np.random.default_rng(SEED).normal(size=len(scores)),
}


def detection(values):
    """How well low values point at the flipped labels, among the rows that were judged."""
    judged = ~np.isnan(values)
    lowest = np.argsort(values[judged])[: flipped[judged].sum()]
    return {
        "AUC": roc_auc_score(flipped[judged], -values[judged]),
        "flips among as many lowest": flipped[judged][lowest].mean(),
        "rows judged": judged.mean(),
    }


found = pd.DataFrame({name: detection(values) for name, values in columns.items()}).T
print("\nFinding the flipped labels\n")
print(found.to_string(float_format="{:.3f}".format))
damping = rivals["hif"].diagnostics_.loc[0, "damping"]
print(f"(HIF: the SAM Jacobian is indefinite here, damping {damping:.2g} was added)")
fixed = (suggested == y_clean)[flipped].mean()
print(f"Suggested label = true label for {fixed:.0%} of the flipped rows")

# %%
# How many to remove? An ordinary grid search. Each fold is scored once for all fractions.

step("Choosing the removal fraction: 4 fractions x 5 folds")
filtered = FilteredClassifier(classifier, random_state=SEED)
search = GridSearchCV(filtered, {"removal_fraction": [0, 0.05, 0.1, 0.2]}, verbose=2)
search.fit(X_train, y_train)
best = search.best_estimator_
fraction = search.best_params_["removal_fraction"]

# %%
# The same fractions on clean test digits, against removing rows at random. Single trainings differ
# by half a point, so every accuracy is the mean of three.

step("Retraining without the rows: lowest scores, random rows, exactly the flips")


def accuracies(masks):
    """Test accuracy of one training per mask of kept rows, each with a seed of its own."""
    return [
        clone(classifier)
        .set_params(random_state=seed)
        .fit(X_train[kept], y_train[kept])
        .score(X_test, y_test)
        for seed, kept in enumerate(masks)
    ]


def random_rows(removed):
    """Three masks that drop rows at random."""
    draws = np.random.default_rng(SEED).normal(size=(3, len(scores)))
    return [rows_to_keep(values, removed) for values in draws]


fractions = [0.05, 0.1, 0.2]
to_train = {"before": 3 * [rows_to_keep(scores, 0)], "oracle": 3 * [~flipped]}
to_train |= {("lowest", f): 3 * [rows_to_keep(scores, f)] for f in fractions}
to_train |= {("random", f): random_rows(f) for f in fractions}
trained = {
    name: np.array(accuracies(masks))
    for name, masks in tqdm(to_train.items(), desc="Retraining", unit="x 3 models")
}

# %%
# The result.

outcomes = {
    "before": "before",
    f"after: {fraction:.0%} removed, as chosen": ("lowest", fraction) if fraction else "before",
    "as many random rows removed": ("random", fraction) if fraction else "before",
    "oracle: exactly the flips removed": "oracle",
}
table = pd.DataFrame(
    {
        label: {
            "rows removed": np.mean([(~kept).sum() for kept in to_train[name]]),
            "flips removed": np.mean([flipped[~kept].sum() for kept in to_train[name]]),
            "test accuracy": trained[name].mean(),
        }
        for label, name in outcomes.items()
    }
).T
print(f"\nAccuracy on {len(y_test)} clean test digits, mean of 3 trainings;", end=" ")
print(f"{flipped.sum()} of {len(y_train)} training labels were flipped\n")
counts = dict.fromkeys(["rows removed", "flips removed"], "{:.0f}".format)
print(table.to_string(formatters=counts | {"test accuracy": "{:.3f}".format}))
print(f"The model of the search, trained once: {search.score(X_test, y_test):.3f}")

# %%
# The most suspicious digits. A cross marks the ones whose label had not been flipped.

OUTPUT.mkdir(exist_ok=True)
worst = np.argsort(scores, kind="stable")[:32]
figure, axes = plt.subplots(4, 8, figsize=(11, 7.2))
for axis, row in zip(axes.flat, worst, strict=True):
    axis.imshow(X_train[row].reshape(8, 8), cmap="gray_r")
    axis.set(xticks=[], yticks=[])
    color = "tab:green" if flipped[row] else "tab:red"
    mark = "" if flipped[row] else "  ✗"
    axis.set_title(f"label {y_train[row]} → {suggested[row]}{mark}", fontsize=10, color=color)
figure.suptitle(
    "The 32 most suspicious of 1347 training digits: given label → suggested label\n"
    f"green: the label had really been flipped ({flipped[worst].sum()} of 32);  red ✗: it had not"
)
figure.tight_layout()
figure.savefig(OUTPUT / "worst_rows.png", dpi=120)

# %%
# Accuracy and share of flips found against the share removed.


def curve(kind):
    """Accuracies in per cent at 0 and at the fractions, shape (4, 3)."""
    return 100 * np.array([trained["before"], *(trained[kind, f] for f in fractions)])


percent = 100 * np.array([0, *fractions])
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4))
for kind, color, label in (("random", "gray", "random rows"), ("lowest", "C0", "lowest scores")):
    values = curve(kind)
    left.fill_between(percent, values.min(1), values.max(1), alpha=0.2, color=color, lw=0)
    left.plot(percent, values.mean(1), "o-", color=color, label=f"{label} removed")
left.axhline(100 * trained["oracle"].mean(), ls=":", color="C2", label="exactly the flips removed")
left.set(xlabel="training rows removed (%)", ylabel="accuracy on clean test digits (%)")
left.set_title("Accuracy: mean and range of 3 trainings")

share = np.linspace(0, 0.2, 101)
hits = [flipped[~rows_to_keep(scores, s)].sum() / flipped.sum() for s in share]
right.plot(100 * share, 100 * share, color="gray", label="random rows removed")
right.plot(100 * share, 100 * np.array(hits), color="C0", label="lowest scores removed")
oracle_hits = np.minimum(share / flipped.mean(), 1)
right.plot(100 * share, 100 * oracle_hits, ":", color="C2", label="exactly the flips removed")
right.set(xlabel="training rows removed (%)", ylabel="flipped labels found (%)")
right.set_title("Wrong labels found")
for axis in (left, right):
    axis.axvline(100 * fraction, ls="--", lw=1, color="C1", label="chosen by cross-validation")
    axis.legend(fontsize="small")
figure.tight_layout()
figure.savefig(OUTPUT / "removal_curves.png", dpi=120)

step(f"Done. Pictures: {OUTPUT / 'worst_rows.png'} and {OUTPUT / 'removal_curves.png'}")
