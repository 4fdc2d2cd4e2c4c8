"""What scores rows when the user names nothing."""

from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from sam_attribution.influence import SAMInfluence
from sam_attribution.training import SAMClassifier, SAMMixin


def default_scorer(estimator, random_state=None):
    """Influence on the worst class of validation margins in 3 shuffled folds.

    Parameters
    ----------
    estimator : classifier
        Scored itself if it is, or is a pipeline that ends in, a `SAMClassifier`; otherwise a
        ``SAMClassifier()`` stands in for it.
    random_state : int, RandomState instance or None, default=None
        Draws the folds.

    Returns
    -------
    SAMInfluence
    """
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return SAMInfluence(
        clone(estimator) if isinstance(last, SAMMixin) else SAMClassifier(),
        evaluation="margin",
        aggregate="worst-class",
        validation=StratifiedKFold(3, shuffle=True, random_state=random_state),
    )
