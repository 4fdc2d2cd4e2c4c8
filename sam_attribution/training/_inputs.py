"""Validation of the features and sample weights that a user passes."""

from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch.dataset import get_len
from skorch.utils import is_dataset

from sam_attribution._as_arrays import refuse_masked, without_nullable
from sam_attribution._row_order import check_order
from sam_attribution._turns import each_in, usual_modes
from sam_attribution._validation import check_sample_weight, num_samples, refusing_overflow


class ArrayInputs:
    """Input side of :class:`Conformant`: features in `dtype`.

    ``n_features_in_`` is the second dimension of `X`, as in scikit-learn. :class:`ClassLabels` and
    :class:`RealTargets` validate `y`.
    """

    def forward_iter(self, X, training=False, device="cpu"):
        """Yield the module's output batch by batch, for validated input; bfloat16 as float32."""
        outputs = super().forward_iter(self._validated(X), training=training, device=device)
        return map(as_numpy_knows, each_in(usual_modes, outputs))

    @usual_modes()
    def to_tensors(self, X, y=None):
        """Features and targets as the module and the criterion want them.

        Parameters
        ----------
        X : array-like, sparse matrix or tensor of shape (n_samples, ...)
            Checked as ``predict`` does it.
        y : array-like of shape (n_samples,), optional
            Labels among ``classes_``; of a regressor real numbers.

        Returns
        -------
        X : Tensor on the net's device
        targets : Tensor of shape (n_samples,) or None
            Label codes; of a regressor floats in `dtype`.
        """
        check_is_fitted(self)
        check_order(X=X, y=y)
        X = self.as_tensors(self._validated(X))
        if y is None:
            return X, None
        return X, torch.as_tensor(self._targets_of(y, X), device=self.module_device)

    def as_tensors(self, X):
        """Validated features as a dense tensor on the net's device."""
        if _is_opaque(X):
            raise TypeError(f"X must be an array or a tensor here, got {type(X).__name__}.")
        X = _writable(X.toarray() if issparse(X) else X)
        return torch.as_tensor(X, device=self.module_device)

    def as_trained(self, X, y, sample_weight=None):
        """The three as in training: validated, in `dtype`, labels as codes."""
        check_is_fitted(self)
        check_order(X=X, y=y, sample_weight=sample_weight)
        y = self._given_targets(y)
        X = self._validated(X, y)
        targets = None if y is None else self._targets_of(y, X)
        return X, targets, self._checked_weight(sample_weight, X)

    def _fit_inputs(self, X, y, sample_weight, classes, afresh):
        """Validated training data; sets the fitted attributes of data and labels if `afresh`."""
        reset = afresh or not self._targets_are_known()
        check_order(X=X, y=y, sample_weight=sample_weight)
        y = self._given_targets(y)
        X = self._validated(X, y, reset=reset)
        weight = self._checked_weight(sample_weight, X)
        if reset:
            self._row_size = None if _is_opaque(X) else int(np.prod(X.shape[1:]))
        if y is None:
            super().check_data(X, y)  # a Dataset: skorch looks for the labels in it
            return X, None, weight
        return X, self._fit_targets(y, X, classes, reset), weight

    def _validated(self, X, y="no_validation", *, reset=False):
        """Checked array in the right dtype; Datasets and dicts pass as they are."""
        if _is_opaque(X):
            return X if is_dataset(X) else _checked_mapping(X)
        X = (
            self._checked_tensor(X, reset)
            if isinstance(X, torch.Tensor)
            else self._checked_array(X, y, reset)
        )
        if not reset and self.module is None and int(np.prod(X.shape[1:])) != self._row_size:
            raise ValueError(
                f"X has rows of shape {tuple(X.shape[1:])}, but module=None was built for "
                f"{self._row_size} numbers per row."
            )
        return X

    def _checked_tensor(self, X, reset):
        self._check_shape(X, reset)
        X = X.to(getattr(torch, self.dtype)) if self._is_cast(X.is_floating_point()) else X
        if not torch.isfinite(X).all():
            raise ValueError(f"Input X contains NaN or a value too large for {X.dtype}.")
        # autograd keeps nothing that was made in inference mode
        return X.clone() if X.is_inference() else X.detach()

    def _checked_array(self, X, y, reset):
        dtype = self.dtype if self.module is None else "numeric"
        rules = {"accept_sparse": "csr", "allow_nd": True, "dtype": dtype}
        refuse_masked(X, "X")
        with refusing_overflow("X"):
            X = validate_data(self, without_nullable(X), y, reset=reset, **rules)
        X = X[0] if isinstance(X, tuple) else X
        if not self._is_cast(X.dtype.kind == "f") or X.dtype == self.dtype:
            return X
        X = X.astype(self.dtype)
        assert_all_finite(X, input_name="X")  # the narrower type may hold less
        return X

    def _check_shape(self, X, reset):
        """Check the shape of a tensor, and its number of features as for arrays."""
        if X.layout != torch.strided or X.is_complex():
            raise ValueError(f"X must be a dense, real tensor, got {X.layout} of {X.dtype}.")
        if X.ndim < 2 or X.numel() == 0:
            raise ValueError(
                f"X must have 2 dimensions or more, and rows and features, got shape "
                f"{tuple(X.shape)}."
            )
        validate_data(self, X, reset=reset, skip_check_array=True)

    def _is_cast(self, floating):
        """True if `X` is cast to `dtype`; whole numbers are token ids for a user's module."""
        return floating or self.module is None

    def _checked_weight(self, sample_weight, X):
        """Weights as a tensor, checked against the number of rows; None stays None."""
        if sample_weight is None:
            return None
        rows = np.empty(n_rows(X))
        weight = check_sample_weight(
            sample_weight, rows, dtype=self.dtype, ensure_non_negative=True
        )
        return torch.as_tensor(weight, device=self.device)

    def _sizes(self):
        """Sizes that a module may have as arguments, as far as they are known from the data."""
        if not self._targets_are_known():
            return {}
        sizes = {"n_features": self._row_size, **self._output_sizes()}
        return {name: size for name, size in sizes.items() if size is not None}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def n_rows(X):
    """Number of rows of an array, a sparse matrix, a dict of arrays or a Dataset."""
    return len(X) if is_dataset(X) else get_len(X)


def check_as_many(y, X):
    """Raise a ValueError unless `y` has an entry for every row of `X`."""
    if len(y) != n_rows(X):
        raise ValueError(f"X has {n_rows(X)} rows, y has {len(y)}.")


def _is_opaque(X):
    # dok_array is a dict
    return is_dataset(X) or (isinstance(X, Mapping) and not issparse(X))


def _holds_numbers(part):
    return isinstance(part, torch.Tensor) or np.asarray(part).dtype.kind in "biuf"


def _checked_mapping(X):
    """The dict `X`; raise unless it holds numeric arrays of one length by name."""
    if not X or not all(isinstance(name, str) for name in X):
        raise TypeError(
            f"X as a dict must hold arrays by the names of forward's arguments, got {[*X]}."
        )
    if words := [name for name, part in X.items() if not _holds_numbers(part)]:
        raise TypeError(f"X as a dict must hold numbers, got others under {words}.")
    lengths = {name: num_samples(part) for name, part in X.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"X as a dict must hold arrays of one length, got {lengths}.")
    return X


def _writable(X):
    """`X`, or a copy if it is a read-only array, of which torch would warn."""
    return X.copy() if isinstance(X, np.ndarray) and not X.flags.writeable else X


def as_numpy_knows(output):
    """The output, in float32 if it is a tensor of a type that numpy does not have."""
    is_brain_float = isinstance(output, torch.Tensor) and output.dtype == torch.bfloat16
    return output.float() if is_brain_float else output
