"""Class labels of any type for the user, codes 0..C-1 for the network."""

import numpy as np

from sam_attribution._accuracy import Accuracy
from sam_attribution._as_arrays import values_of
from sam_attribution._validation import check_labels, classes_of, codes_among, label_values
from sam_attribution.training._inputs import check_as_many
from sam_attribution.training._losses import check_one_tensor, shape_or_type


class ClassLabels(Accuracy):
    """Target side of :class:`ConformantNet`, before :class:`Conformant`.

    While the net trains, ``classes_`` and ``predict`` return codes as well, because skorch's
    scoring callbacks compare them with codes.
    """

    _labels_of_logits = None  # where they are not in the order of classes_

    @property
    def logit_of_class(self):
        """Position of the logit of each of ``classes_``, shape (n_classes,)."""
        labels = self._labels if self._labels_of_logits is None else self._labels_of_logits
        return np.argsort(labels, kind="stable")

    @property
    def classes_(self):
        """Labels, sorted; codes 0..C-1 while training."""
        return np.arange(len(self._labels)) if self._in_training else self._labels

    @property
    def _labels(self):
        return super().classes_ if self.classes is None else classes_of(self.classes, "classes")

    def predict_proba(self, X):
        """Probability of each of ``classes_``, shape (n_samples, n_classes)."""
        found = super().predict_proba(X)
        return found if self._labels_of_logits is None else found[:, self.logit_of_class]

    def predict(self, X):
        """Label of every row, shape (n_samples,)."""
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]

    def partial_fit(self, X, y=None, classes=None, sample_weight=None, **fit_params):
        """Train for ``max_epochs`` more epochs (or ``epochs``, if given).

        Parameters
        ----------
        X, y, sample_weight, **fit_params
            As in :meth:`fit`.
        classes : array-like of shape (n_classes,), optional
            All labels that will ever come. Needed at the first call only; a ValueError if they
            are others later.

        Returns
        -------
        self
        """
        self._check_same_classes(classes)
        afresh = not self.initialized_
        return self._train(X, y, sample_weight, afresh=afresh, classes=classes, **fit_params)

    def _targets_are_known(self):
        return hasattr(self, "classes_inferred_")

    def _given_targets(self, y):
        return label_values(y)

    def _fit_targets(self, y, X, classes, reset):
        y = check_labels(y)
        if reset:
            self.classes_inferred_ = (
                classes_of(y) if classes is None else classes_of(classes, "classes")
            )
        return self._targets_of(y, X)

    def _check_same_classes(self, classes):
        """Raise a ValueError if `classes` are others than those that the net has, if it has any."""
        known = self.classes is not None or (self.initialized_ and self._targets_are_known())
        if classes is None or not known:
            return
        given = classes_of(classes, "classes")
        if not np.array_equal(given, self._labels):
            raise ValueError(
                f"classes must be those that the net has, {self._labels.tolist()}, got "
                f"{given.tolist()}. Leave classes out, or call fit to train on others."
            )

    def _targets_of(self, y, X):
        """Positions of the labels of `X` among the logits."""
        codes = codes_among(self._labels, y)
        check_as_many(codes, X)
        return codes if self._labels_of_logits is None else self.logit_of_class[codes]

    def _note_labels(self, classes, y):
        """Note which label each logit stands for, if they are not sorted."""
        if classes is None:
            return
        labels = np.ravel(values_of(classes, "classes"))
        in_order = classes_of(labels, "classes")
        if len(in_order) < len(labels):
            raise ValueError(f"classes must name each label once, got {labels.tolist()}.")
        if strangers := sorted(set(classes_of(y).tolist()) - set(labels.tolist())):
            raise ValueError(
                "classes must be the labels of y in the order of the logits, got "
                f"{labels.tolist()}, and y also holds {strangers[:3]}. Leave classes out if the "
                "logits are in the order of the sorted labels."
            )
        if (labels != in_order).any():
            self._labels_of_logits = labels

    def _output_sizes(self):
        return {"n_classes": len(self._labels), "n_outputs": len(self._labels)}

    def _check_outputs(self, logits):
        check_one_tensor(logits)
        wanted = len(self.classes_) if hasattr(self, "classes_") else None
        if wanted and (getattr(logits, "ndim", None) != 2 or logits.shape[1] != wanted):
            raise ValueError(
                f"module must give one logit per class, shape (n_samples, {wanted}), got "
                f"{shape_or_type(logits)}. Give the module an argument n_classes, or pass the "
                "labels as classes=."
            )
