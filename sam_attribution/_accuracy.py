"""Accuracy of a classifier that reads labels as ``fit`` does."""

from sam_attribution._as_arrays import values_of
from sam_attribution._row_order import check_order
from sam_attribution._validation import check_given


class Accuracy:
    """Mixin before scikit-learn's ClassifierMixin."""

    def score(self, X, y, sample_weight=None):
        """Accuracy on rows with labels.

        Parameters
        ----------
        X : array-like of shape (n, ...)
        y : array-like of shape (n,)
            True labels.
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        float
            Share of the rows that are predicted right.
        """
        check_order(X=X, y=y, sample_weight=sample_weight)
        check_given(y)
        # scikit-learn would read nullable integers as floats, in which large ones are alike
        return super().score(X, values_of(y, "y"), sample_weight)
