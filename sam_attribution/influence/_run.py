"""One split: train, hand over, attribute, and note what it took."""

from sam_attribution.influence._attribution import Attribution
from sam_attribution.influence._measure import Stopwatch
from sam_attribution.problem import problem_from_classifier


class Run:
    """A clone trained on one split's rows, and its attribution.

    Parameters
    ----------
    estimator : SAMClassifier
        Unfitted; trained here.
    train : ndarray of int
        Positions of its training rows in the data given to ``SAMInfluence.fit``.
    X, y, sample_weight : array-like
        Those rows.
    validation : tuple of array-like
        Validation rows and labels.
    method : Method
    settings : dict
        ``evaluation``, ``aggregate``, ``parameters`` and ``batch_size`` of SAMInfluence.
    """

    def __init__(self, estimator, train, X, y, sample_weight, *, validation, method, settings):
        self.train = train
        watch = Stopwatch(estimator.device)
        fit_params = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.estimator = estimator.fit(X, y, **fit_params)
        seconds_training = watch.lap()
        problem = problem_from_classifier(
            estimator,
            X,
            y,
            sample_weight,
            parameters=settings["parameters"],
            batch_size=settings["batch_size"],
        )
        self.attribution = Attribution(
            problem,
            method,
            *estimator.to_tensors(*validation),
            evaluation=settings["evaluation"],
            aggregate=settings["aggregate"],
        )
        self.diagnostics = self.attribution.prepared.diagnostics | {
            "n_train": len(train),
            "seconds_training": seconds_training,
            "seconds_scoring": watch.lap(),
            "peak_memory_mib": watch.peak_memory_mib(),
        }

    def tensors(self, X, y=None):
        """Rows and label codes as the model wants them."""
        return self.estimator.to_tensors(X, y)

    def predict_proba(self, X):
        """Class probabilities of this run's model."""
        return self.estimator.predict_proba(X)
