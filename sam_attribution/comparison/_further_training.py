"""Further training as a function: the whole curve, seed by seed."""

from sklearn.base import clone

from sam_attribution._seeding import seed_nested
from sam_attribution.fitting import single_queries
from sam_attribution.retraining import FurtherTraining


def further_training(
    estimator,
    X,
    y,
    X_query,
    y_query,
    *,
    method=None,
    evaluate_at=None,
    evaluate_at_steps=None,
    sample_weight=None,
    evaluation="loss",
    random_state=None,
):
    """Train a fitted model further, with and without rows, and record the loss of queries.

    With ``method=FurtherTraining(groups=[[3, 8]])`` the rows of each group are left out together,
    and the effects are those of whole groups.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor, Pipeline or FrozenEstimator
        Fitted, and not changed. No states of its training are needed: ``trajectory=None`` will do.
    X, y : array-like
        Exactly what it was fitted on.
    X_query : array-like of shape (n_query, ...)
    y_query : array-like of shape (n_query,)
    method : FurtherTraining, default=None
        Which rows are left out, in how many seeds, and how training goes on; ``None`` stands for
        ``FurtherTraining()``. Its ``adjustment`` does not matter here.
    evaluate_at : sequence of int, default=None
        Epochs, ascending, after which the models are asked. ``None`` takes about ten, from 1 to
        the method's ``n_epochs``, closer together in the beginning.
    evaluate_at_steps : sequence of int, default=None
        Training steps in place of epochs, ascending, up to those of the method's ``n_epochs``. A
        step is one batch; with many rows a row has most of its effect within the first epoch.
    sample_weight : array-like of shape (n_samples,), default=None
        What it was fitted with.
    evaluation : {"loss", "margin"} or callable, default="loss"
    random_state : int, RandomState instance or None, default=None
        Goes to a method that has none of its own; None takes the seed of the training.

    Returns
    -------
    FurtherTrainingValues
        Its ``curves`` are for :func:`~sam_attribution.metrics.similarity_curve` and
        :class:`~sam_attribution.plotting.FurtherTrainingDisplay`.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If `method` is something else.
    ValueError
        For other rows than those fitted on, epochs or steps that are not ascending ones up to
        ``n_epochs``, for both of them, and as :class:`~sam_attribution.retraining.FurtherTraining`.

    References
    ----------
    Wei et al., Final-Model-Only Data Attribution, arXiv:2412.03906.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution import SAMClassifier
    >>> from sam_attribution.comparison import further_training
    >>> from sam_attribution.retraining import FurtherTraining
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SAMClassifier(max_epochs=3, random_state=0).fit(X, y)
    >>> method = FurtherTraining(n_epochs=4, n_seeds=2, rows=[3, 50, 120])
    >>> found = further_training(clf, X, y, X[:5], y[:5], method=method)
    >>> found.amounts, found.curves().shape
    (array([1, 2, 3, 4]), (4, 5, 3))
    """
    method = FurtherTraining() if method is None else method
    if not isinstance(method, FurtherTraining):
        raise TypeError(f"method must be a FurtherTraining(), got {method!r}.")
    queries = single_queries(
        estimator, X, y, X_query, y_query, sample_weight=sample_weight, evaluation=evaluation
    )
    seed = queries.problem.path.seed if random_state is None else random_state
    return seed_nested(clone(method), seed).values(queries, evaluate_at, evaluate_at_steps)
