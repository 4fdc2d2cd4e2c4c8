"""One split: train, hand over, attribute, and note what it took."""

import warnings

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator

from sam_attribution._validation import take_rows
from sam_attribution.influence._attribution import Attribution
from sam_attribution.influence._estimator import net_of, rows_at_net, train
from sam_attribution.influence._explanation import most_active_epochs
from sam_attribution.influence._measure import Stopwatch
from sam_attribution.influence._soundness import arrival, smoothness
from sam_attribution.problem import problem_from_estimator


class Run:
    """An estimator trained on one split's rows, and its attribution.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        Trained here, unless it is frozen.
    rows : ndarray of int
        Positions of its training rows in the data given to ``SAMInfluence.fit``.
    X, y, sample_weight : array-like
        Those rows.
    n_given : int
        Number of rows given to ``SAMInfluence.fit``.
    validation : tuple of array-like
        Validation rows and labels.
    method : Method
    settings : dict
        ``evaluation``, ``aggregate``, ``parameters``, ``batch_size`` and ``verbose`` of
        SAMInfluence.
    n_jobs : int, optional
        Processes that share the rows.
    """

    def __init__(
        self, estimator, rows, X, y, sample_weight, *, n_given, validation, method, settings,
        n_jobs=None,
    ):  # fmt: skip
        self.train = rows
        self.estimator = estimator
        self.net = net_of(estimator)
        watch = Stopwatch(self.net.device)
        trained_on = train(estimator, X, y, sample_weight)
        seconds_training = watch.lap()
        problem = problem_from_estimator(
            self.net,
            trained_on,
            y,
            sample_weight,
            parameters=settings["parameters"],
            batch_size=settings["batch_size"],
            positions=rows,
            n_given=n_given,
        )
        self.visited = problem.visited.cpu().numpy()
        self.attribution = Attribution(
            problem,
            method,
            *self.tensors(*validation),
            evaluation=settings["evaluation"],
            aggregate=settings["aggregate"],
            n_jobs=n_jobs,
            verbose=settings["verbose"],
        )
        self.diagnostics = self.attribution.prepared.diagnostics | {
            **self._quality(*validation),
            "n_train": int(self.visited.sum()),
            "seconds_training": seconds_training,
            "seconds_scoring": watch.lap(),
        }
        if check := method.check:
            self.diagnostics |= smoothness(self.attribution, check)
            self.diagnostics["seconds_checking"] = watch.lap()
        self.diagnostics["peak_memory_mib"] = watch.peak_memory_mib()

    def examine(self, check=None):
        """Add what is expensive to find out to the diagnostics: see ``SAMInfluence.diagnose``."""
        if "curvature" not in self.diagnostics:
            self.diagnostics |= arrival(self.attribution.problem)
        if check is not None:
            self.diagnostics |= smoothness(self.attribution, check)

    def check_data(self, X, y, sample_weight):
        """Raise a ValueError unless these hold the rows that were trained on, where they were."""
        part = take_rows(X, self.train), y[self.train]
        if sample_weight is not None:
            sample_weight = sample_weight[self.train]
        rows = train(FrozenEstimator(self.estimator), *part, sample_weight)
        self.net.trajectory_.check_data(*self.net.as_trained(rows, part[1], sample_weight))

    def epochs_behind(self, X, y, queries, rows):
        """The epochs in which scores of training rows against single queries came about.

        Parameters
        ----------
        X, y : array-like
            Queries.
        queries, rows : ndarray of int, shape (n_pairs,)
            Ascending positions in `X`, and those in the data given to ``SAMInfluence.fit``.

        Returns
        -------
        list of str, length n_pairs
            Such as ``"2-4, 9"``; empty for methods of the final model.
        """
        if not self.attribution.prepared.along_training or len(rows) == 0:
            return [""] * len(rows)
        pairs = torch.tensor(queries), torch.tensor(np.searchsorted(self.train, rows))
        steps, parts = self.attribution.origins(*self.tensors(X, y), *pairs)
        spans = [self.attribution.problem.path.epochs_of(span) for span in steps]
        return [most_active_epochs(spans, pair) for pair in parts.cpu().numpy().T]

    def _quality(self, X, y):
        """How well validation rows are predicted; a warning if all get the same prediction."""
        predicted, y = self.estimator.predict(X), np.asarray(y)
        if len(np.unique(y)) > 1 and len(np.unique(predicted)) == 1:
            (label,) = predicted[:1].tolist()
            warnings.warn(
                f"The trained model predicts {label!r} for every validation row, so scores say "
                "little. Scale the features, or change lr or rho.",
                stacklevel=2,
            )
        if self.attribution.problem.n_classes is None:
            return {"validation_r2": _r2(predicted, y)}
        commonest = np.unique(y, return_counts=True)[1].max()
        return {
            "validation_accuracy": float(np.mean(predicted == y)),
            "validation_chance": float(commonest / len(y)),
        }

    def tensors(self, X, y=None):
        """Rows and label codes, or targets, as the network wants them."""
        return self.net.to_tensors(rows_at_net(self.estimator, X), y)

    def predict_proba(self, X):
        """Class probabilities of this run's model."""
        return self.estimator.predict_proba(X)


def _r2(predicted, y):
    """Share of the variance that is explained; NaN if there is none."""
    variance = np.var(y)
    return float(1 - np.mean((y - predicted) ** 2) / variance) if variance else float("nan")
