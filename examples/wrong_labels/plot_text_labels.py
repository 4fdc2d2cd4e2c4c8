"""
Find wrong labels of texts
==========================

Letters to a web shop are sorted into departments. Some labels are random
mistakes, and many letters of *returns* carry the label *delivery*. A
scikit-learn pipeline turns words into numbers and ends in a network; the
detector checks its labels. It takes a few seconds.
"""

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sam_attribution import MislabelDetector, SAMClassifier
from sam_attribution.plotting import LabelConfusionDisplay

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# A thousand letters
# ------------------
#
# Nothing is downloaded: a letter is built from a greeting, a subject, and a
# request that fits any letter.

SAID = {
    "billing": [
        "I was charged twice for the {thing}",
        "the invoice for the {thing} shows a wrong amount",
        "my card was debited although the payment for the {thing} failed",
        "the discount on the {thing} is missing from the bill",
        "I need a receipt with tax for the {thing}",
    ],
    "delivery": [
        "the {thing} has not arrived yet",
        "the courier left the parcel with the {thing} in the rain",
        "tracking says that the {thing} is still in your warehouse",
        "you shipped the {thing} to my old address",
        "the delivery of the {thing} is a week late",
    ],
    "returns": [
        "I want to send the {thing} back",
        "where do I get a return label for the {thing}",
        "the {thing} does not fit, please exchange it",
        "I returned the {thing} and wait for my refund",
        "the {thing} came broken and I do not want to keep it",
    ],
    "account": [
        "I cannot log in to see my order of the {thing}",
        "the password reset mail never comes, and I ordered a {thing}",
        "please delete my profile, the {thing} was my last order",
        "my new email address is not shown with the {thing} I ordered",
        "someone else has used my login to buy a {thing}",
    ],
}
THINGS = [
    "lamp",
    "kettle",
    "jacket",
    "bicycle bell",
    "garden chair",
    "keyboard",
    "blue teapot",
]
GREETINGS = [
    "Hello,",
    "Dear team,",
    "Good morning,",
    "Hi,",
    "To whom it may concern:",
]
REQUESTS = [
    "Please help.",
    "What can I do?",
    "I am waiting for an answer.",
    "Thank you.",
    "",
]

rng = np.random.default_rng(0)
right = rng.choice(list(SAID), 1000)


def letter(department):
    """Text of a letter to a department."""
    said = rng.choice(SAID[department]).format(thing=rng.choice(THINGS))
    return f"{rng.choice(GREETINGS)} {said}. {rng.choice(REQUESTS)}".strip()


letters = [letter(department) for department in right]
labels = right.copy()
slips = rng.choice(1000, 60, replace=False)
labels[slips] = rng.choice(list(SAID), 60)
labels[(right == "returns") & (rng.random(1000) < 0.3)] = "delivery"
wrong = labels != right

# %%
# Find the wrong labels
# ---------------------

model = make_pipeline(
    TfidfVectorizer(),
    TruncatedSVD(30, random_state=0),
    StandardScaler(),
    SAMClassifier(max_epochs=15, random_state=0),
)
detector = MislabelDetector(model, random_state=0).fit(letters, labels)

suspicious = detector.suspicious_
estimated = detector.contamination_
print(f"wrong labels: {wrong.mean():.1%}, estimated: {estimated:.1%}")
precision = wrong[suspicious].mean()
n_suspicious = suspicious.sum()
print(f"wrong among the {n_suspicious} suspicious letters: {precision:.1%}")
print(f"wrong labels found: {suspicious[wrong].mean():.1%}\n")
for row in np.argsort(detector.scores_)[:12]:
    suggested = detector.suggested_labels_[row]
    print(f"{labels[row]:>8} → {suggested:8} {letters[row]}")

# %%
# Which labels are confused
# -------------------------
#
# The one large number off the diagonal is the systematic confusion of
# *returns* with *delivery*. The small numbers are random mistakes.

LabelConfusionDisplay.from_estimator(detector)
