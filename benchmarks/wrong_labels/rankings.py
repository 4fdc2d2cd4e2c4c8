"""What ranks labels, low = suspicious: all of one training, cleanlab of five."""

import time
from contextlib import contextmanager
from functools import wraps
from unittest.mock import patch

import numpy as np
from cleanlab.rank import get_label_quality_scores
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from sam_attribution import MislabelDetector, SAMClassifier, SAMInfluence
from sam_attribution.problem import problem_from_estimator

CLEANLAB = ("self_confidence", "normalized_margin")
_MARGIN, _HEAD = {"evaluation": "margin"}, {"parameters": "head"}

# settings of SAMInfluence; all that ask validation rows ask their margin
SELF = {"self-influence": {"method": "self-influence"} | _HEAD}
INFLUENCES = {
    "GIF": {"method": "gif"} | _MARGIN,
    "GIF, worst class": {"method": "gif", "aggregate": "worst-class"} | _MARGIN,
    "HIF-fast": {"method": "hif-fast"} | _MARGIN,
    "Grad-Cos": {"method": "grad-cos"} | _MARGIN | _HEAD,
    "TRAK": {"method": "trak"} | _MARGIN,
    "EK-FAC": {"method": "ekfac"} | _MARGIN,
}
SHARED = (*(f"cleanlab, {name}" for name in CLEANLAB), "mean loss", "final loss", *SELF, "random")
DETECTOR = "MislabelDetector"


def without_validation(classifier, case, influence, seed):
    """Rankings that ask no validation rows: ``{name: (scores, CPU seconds)}``."""
    folds, seconds = timed(lambda: out_of_sample(classifier, case.X, case.y, seed))
    codes = np.searchsorted(classifier.classes_, case.y)
    found = {
        f"cleanlab, {name}": (get_label_quality_scores(codes, folds, method=name), seconds)
        for name in CLEANLAB
    }
    losses, seconds = timed(lambda: losses_along(classifier, case.X, case.y))
    found["mean loss"] = -losses.mean(0), seconds
    found["final loss"] = -losses[-1], seconds / len(losses)
    for name, settings in SELF.items():
        found[name] = influences(classifier, case, "clean", settings | influence, seed)
    found["random"] = np.random.default_rng(seed).random(len(case.y)), 0.0
    return found


def with_validation(classifier, case, validation, influence, seed, names=tuple(INFLUENCES)):
    """Rankings by influence on the validation rows, whose labels are "clean" or "as noisy"."""
    return {
        name: influences(classifier, case, validation, INFLUENCES[name] | influence, seed)
        for name in names
    }


def influences(classifier, case, validation, settings, seed):
    """Scores of the training that was done, and CPU seconds."""
    model = FrozenEstimator(classifier)
    found = SAMInfluence(
        model, validation=case.validation[validation], random_state=seed, **settings
    )
    _, seconds = timed(lambda: found.fit(case.X, case.y))
    return found.scores_, seconds


def detected(classifier, case, validation, seed):
    """The detector on the training that was done, and CPU seconds."""
    settings = {"validation": case.validation[validation], "random_state": seed}
    if validation == "clean":
        settings["trusted"] = True  # who has checked the labels says so
    found = MislabelDetector(FrozenEstimator(classifier), **settings)
    _, seconds = timed(lambda: found.fit(case.X, case.y))
    return found, seconds


def out_of_sample(classifier, X, y, seed):
    """Probabilities (n, n_classes) of every row by a network that did not train on it."""
    network = clone(classifier).set_params(trajectory=None)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(network, X, y, cv=folds, method="predict_proba")


def linear_out_of_sample(X, y, seed):
    """Probabilities (n, n_classes) of every row by a logistic regression of the other folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    linear = LogisticRegression(max_iter=500)
    return cross_val_predict(linear, X.reshape(len(X), -1), y, cv=folds, method="predict_proba")


def losses_along(classifier, X, y):
    """Loss of every row at each recorded state and at the end, (n_states, n)."""
    problem = problem_from_estimator(classifier, X, y)
    states = classifier.trajectory_.states
    outputs = [problem.logits(state.params, state.buffers, problem.X) for state in states]
    losses = [problem.row_loss.per_sample(output, problem.y) for output in outputs]
    return np.stack([loss.detach().numpy() for loss in losses])


class CleanlabScorer(BaseEstimator):
    """cleanlab's self-confidence as a scorer for ``FilteredClassifier``."""

    def __init__(self, estimator, random_state=None):
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X, y):
        folds = out_of_sample(self.estimator, X, y, self.random_state)
        codes = np.unique(y, return_inverse=True)[1]
        self.scores_ = get_label_quality_scores(codes, folds, method="self_confidence")
        return self


def timed(function):
    """Result and CPU seconds."""
    start = time.process_time()
    return function(), time.process_time() - start


@contextmanager
def timed_trainings():
    """Collect the CPU seconds of every SAM training inside the block, in a list."""
    found, fit = [], SAMClassifier.fit

    @wraps(fit)
    def timed_fit(*args, **kwargs):
        result, seconds = timed(lambda: fit(*args, **kwargs))
        found.append(seconds)
        return result

    with patch.object(SAMClassifier, "fit", timed_fit):
        yield found
