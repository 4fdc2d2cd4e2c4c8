"""The scorer of a filter, on the estimator of the filter where it names none."""

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sam_attribution.detection import MislabelDetector
from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier, SAMMixin


def scorer_on(classifier, scorer=None):
    """Clone of `scorer` that trains `classifier` if it names no estimator of its own.

    Parameters
    ----------
    classifier : classifier
        One that does not end in a SAM-trained net cannot be attributed: ``SAMClassifier()`` stands
        in for its last step. For a frozen one an unfitted copy is trained.
    scorer : estimator, default=None
        None is ``MislabelDetector()``.

    Returns
    -------
    estimator
    """
    scorer = MislabelDetector() if scorer is None else clone(scorer)
    if isinstance(scorer, MislabelDetector | SAMInfluence) and scorer.estimator is None:
        scorer.set_params(estimator=_with_a_net(classifier))
    return scorer


def _with_a_net(classifier):
    if isinstance(classifier, FrozenEstimator):
        return _with_a_net(classifier.estimator)
    if not isinstance(classifier, Pipeline):
        return clone(classifier) if isinstance(classifier, SAMMixin) else SAMClassifier()
    copy = clone(classifier)
    *steps, (name, last) = copy.steps
    copy.steps = [*steps, (name, _with_a_net(last))]
    return copy
