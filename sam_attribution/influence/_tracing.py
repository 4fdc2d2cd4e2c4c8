"""From predictions back to training rows: SAMInfluence.explain and explain_errors."""

from numbers import Integral

import numpy as np
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from sam_attribution._row_order import check_order
from sam_attribution._rows import with_own_targets
from sam_attribution._validation import Interval, check_arguments, check_column, take_rows
from sam_attribution.fitting import checked_rows, estimator_or_default, has_classes
from sam_attribution.influence._explanation import explanation

_RULES = {"n_errors": [None, Interval(Integral, 1, None, closed="left")]}


def _tells_classes(influence):
    """True, or an AttributeError if no prediction is right or wrong."""
    if not has_classes(estimator_or_default(influence.estimator)):
        raise AttributeError(
            "a regressor or SAMNet has no misclassified rows. Pass the rows that it predicts worst "
            "to explain(X_query, y_query)."
        )
    return True


class Tracing:
    """The part of SAMInfluence that names the training rows behind single predictions."""

    def explain(self, X_query, y_query=None, k=5, *, split=None):
        """Return a table of the training rows that harm and help single queries most.

        Parameters
        ----------
        X_query : array-like of shape (n_query, ...), or rows such as those of ``fit``
        y_query : array-like of shape (n_query,)
            None takes the labels of a Dataset.
        k : int, default=5
            Rows to show at either end.
        split : int, optional
            As for :meth:`attribute`.

        Returns
        -------
        DataFrame
            Per query up to ``2 * k`` rows in the order of their scores, the lowest first.
            `query`: position in `X_query`; `rank`: 1, 2, ... from the most harmful row up,
            -1, -2, ... from the most helpful down; `train_row`: position in the rows given
            to ``fit``; `train_index`: its label in the index of that `X`, if it had one; `label`:
            the label it had there; `most_helpful_label`: see :meth:`suggest_labels`, a column of
            ``aggregate="worst-class"`` only (the most helpful label under the mean is seldom the
            right one); `score`: see :meth:`attribute`; `epochs`: those, counted from 1, in which
            most of the score came about, such as ``"2-4, 9"`` (the fewest stretches of training
            that make up half of the parts with its sign; empty for methods of the final model).

        Raises
        ------
        ValueError
            If `k` is not a positive integer, or as :meth:`attribute`.

        See Also
        --------
        explain_errors : Finds the misclassified rows itself.
        sam_attribution.plotting.TraceDisplay : The table as a picture.
        """
        X_query, y_query = with_own_targets(X_query, y_query)
        scores = self.attribute(X_query, y_query, split=split)
        table = self._explanation(scores, k)
        pairs = table["query"].to_numpy(), table["train_row"].to_numpy()
        attribution, X = self._attribution_of(split), checked_rows(self, X_query)
        return table.assign(epochs=attribution.epochs_behind(X, y_query, *pairs))

    @available_if(_tells_classes)
    def explain_errors(self, X, y=None, *, k=5, n_errors=None, split=None):
        """Return the training rows that cause the model's mistakes on some rows.

        Parameters
        ----------
        X : array-like of shape (n, ...)
            Rows that it was not trained on, such as a test set.
        y : array-like of shape (n,)
            Their true labels; None takes those of a Dataset.
        k : int, default=5
            Training rows to show at either end, for each mistake.
        n_errors : int or None, default=None
            Only so many mistakes, the worst ones; None means all.
        split : int, optional
            Whose model is asked, as for :meth:`attribute`.

        Returns
        -------
        DataFrame
            As :meth:`explain` returns, with the mistakes as queries: the worst first, that is the
            one whose true label got the lowest probability. `query` is the position in `X`, and
            beside it stand `true_label` and `predicted_label`. A harmful row raises the loss of the
            true label, so it supports the mistake. No lines if no row is misclassified.

        Raises
        ------
        ValueError
            If `n_errors` or `k` is not a positive integer, or as :meth:`attribute`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = SAMClassifier(max_epochs=5, random_state=0)
        >>> influence = SAMInfluence(classifier, random_state=0).fit(X[::2], y[::2])
        >>> table = influence.explain_errors(X[1::2], y[1::2], k=1, n_errors=2)
        >>> table["rank"].tolist()
        [1, -1, 1, -1]
        >>> bool((table["true_label"] != table["predicted_label"]).all())
        True
        """
        check_is_fitted(self)
        check_arguments(_RULES, "explain_errors", n_errors=n_errors)
        check_order(X=X, y=y)
        X, y = with_own_targets(X, y)
        X, y = checked_rows(self, X), check_column(y, "y")
        self._targets.check(y, "y")
        check_consistent_length(X, y)
        model = self._attribution_of(split).trained
        predicted = self._targets.predicted([model], X)
        errors = _worst_errors(model.predict_proba(X), predicted, y, self.classes_)[:n_errors]
        if len(errors):
            table = self.explain(take_rows(X, errors), y[errors], k, split=split)
        else:
            table = self._explanation(np.empty((0, len(self._y))), k).assign(epochs="")
        table["query"] = query = errors[table["query"]]
        table.insert(1, "true_label", y[query])
        table.insert(2, "predicted_label", predicted[query])
        return table

    def _explanation(self, scores, k):
        ranks = self.aggregate == "worst-class" and hasattr(self, "suggest_labels")
        helpful = self.suggest_labels() if ranks else None
        return explanation(scores, self._y, k, index=self._index, helpful=helpful)


def _worst_errors(probabilities, predicted, y, classes):
    """Positions of the misclassified rows, the least probable true label first."""
    errors = np.flatnonzero(predicted != y)
    of_truth = probabilities[errors, np.searchsorted(classes, y[errors])]
    return errors[np.argsort(of_truth, kind="stable")]
