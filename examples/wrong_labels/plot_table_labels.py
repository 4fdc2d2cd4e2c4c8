"""
Find wrong labels in a table
============================

A DataFrame has 13 measurements of 178 wines from three growers. Some bottles
have the name of the wrong grower. The detector lists the rows that a person
should check, with the grower that it suggests. It takes some five seconds.
"""

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.datasets import symmetric_noise
from sam_attribution.plotting import ScoreDistributionDisplay, WhatIfDisplay

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# The table
# ---------
#
# Labels may be of any type, here names. One label in twelve is changed, so
# that we know which labels are wrong.

wine = load_wine(as_frame=True)
X = wine.data.rename(index="bottle {}".format)
right = np.array(["Amadori", "Bellini", "Corsi"])[wine.target]
growers, wrong = symmetric_noise(right, 0.08, random_state=0)
X.iloc[:3, :5]

# %%
# The rows to check
# -----------------
#
# Scaling belongs in the pipeline. The table is small, so five folds train five
# networks, and every row is held out once. The resulting table has the index
# of ``X``.

model = make_pipeline(
    StandardScaler(),
    SAMClassifier(batch_size=16, max_epochs=20, random_state=0),
)
folds = StratifiedKFold(5, shuffle=True, random_state=0)
detector = MislabelDetector(model, validation=folds, random_state=0).fit(
    X, growers
)

issues = detector.issues_.assign(really=pd.Series(right, X.index))
to_look_at = issues[issues.is_suspicious].drop(columns="is_suspicious")
print(to_look_at)
found = wrong[detector.suspicious_].sum()
print(f"\nwrong labels: {wrong.sum()}; among the rows above: {found}")

# %%
# ``score`` is the log-odds of the given label and orders the rows,
# ``probability_wrong`` says how likely the label is wrong.
# ``detector.score_components_`` has the parts of the score.
#
# The probability of each grower
# ------------------------------
#
# The picture has a line for each of the most suspicious bottles. The colour is
# the probability of each grower, and the circle marks the given label. Where
# the circle lies on a dark cell, the label is probably wrong. Where it lies on
# the brightest cell, no other label is suggested.

WhatIfDisplay.from_estimator(detector, k=20)

# %%
# All bottles: only a few have low scores.

ScoreDistributionDisplay.from_estimator(detector)
