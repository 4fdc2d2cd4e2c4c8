"""Validation of the features and sample weights that a user passes."""

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, validate_data

from sam_attribution._as_arrays import refuse_masked, refuse_ragged, refuse_texts, without_nullable
from sam_attribution._row_order import check_order
from sam_attribution._row_source import RowSource
from sam_attribution._rows import ArrayRows, DatasetRows, as_source, with_own_targets
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
        X : array-like, sparse matrix, tensor, dict, tuple or Dataset of n_samples rows
            Checked as ``predict`` does it.
        y : array-like of shape (n_samples,), optional
            Labels among ``classes_``; of a regressor real numbers.

        Returns
        -------
        X : Tensor on the net's device, or RowSource of what is read batch by batch
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
        """Validated features as a tensor on the net's device, or as a source of such."""
        X = ArrayRows(X) if issparse(X) else X
        if isinstance(X, RowSource):
            return X.to(device=self.module_device)
        return torch.as_tensor(_writable(X), device=self.module_device)

    def as_trained(self, X, y, sample_weight=None):
        """The three as in training: validated, in `dtype`, labels as codes."""
        check_is_fitted(self)
        check_order(X=X, y=y, sample_weight=sample_weight)
        X, y = with_own_targets(X, y)
        y = self._given_targets(y)
        X = self._validated(X, y)
        targets = None if y is None else self._targets_of(y, X)
        return X, targets, self._checked_weight(sample_weight, X)

    def _fit_inputs(self, X, y, sample_weight, classes, afresh):
        """Validated training data; sets the fitted attributes of data and labels if `afresh`."""
        reset = afresh or not self._targets_are_known()
        check_order(X=X, y=y, sample_weight=sample_weight)
        X, y = with_own_targets(X, y, verbose=self.verbose)
        y = self._given_targets(y)
        X = self._validated(X, y, reset=reset)
        weight = self._checked_weight(sample_weight, X)
        if reset:
            self._row_size = _row_size(X)
        if y is None:
            super().check_data(X, y)  # says that y is needed
            return X, None, weight
        return X, self._fit_targets(y, X, classes, reset), weight

    def _validated(self, X, y="no_validation", *, reset=False):
        """Checked array or source of rows in the right dtype."""
        X = as_source(X)
        names = X.row_names if isinstance(X, RowSource) else 1
        if reset:
            self._row_names = names
        elif None not in (names, known := getattr(self, "_row_names", None)) and names != known:
            raise ValueError(
                f"X has {_inputs(names)} in each row, and the net was fitted on "
                f"{_inputs(known)}. Pass the same inputs."
            )
        if isinstance(X, RowSource):
            X = self._checked_source(X, reset)
        elif isinstance(X, torch.Tensor):
            X = self._checked_tensor(X, reset)
        else:
            X = self._checked_array(X, y, reset)
        if not reset and self.module is None and _row_size(X) != self._row_size:
            raise ValueError(
                f"X has rows of shape {_row_shape(X)}, but module=None was built for "
                f"{self._row_size} numbers per row."
            )
        return X

    def _checked_source(self, X, reset):
        """The source in the net's precision, with its seed and the loader that it trains with."""
        if isinstance(X, ArrayRows) and isinstance(X.arrays, np.ndarray):
            validate_data(self, X.arrays, reset=reset, skip_check_array=True)
        if isinstance(X, DatasetRows):
            loader = self.get_params_for("iterator_train")
            X = X.with_loader(loader.get("collate_fn"), loader.get("num_workers", 0))
            if reset:
                X.check_collate_fn()
        X = X.to(dtype=getattr(torch, self.dtype), whole_numbers=self._is_cast(False))
        return X.seeded(self._seed or 0)

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
        refuse_ragged(X, "X")
        refuse_texts(X, "X")
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
        if X.is_complex():
            raise ValueError(f"X must be a real tensor, got {X.dtype}.")
        if X.ndim < 2 or X.numel() == 0:
            raise ValueError(
                f"X must have 2 dimensions or more, and rows and features, got shape "
                f"{tuple(X.shape)}."
            )
        validate_data(self, X, reset=reset, skip_check_array=True)

    def _is_cast(self, floating):
        """True if `X` is cast to `dtype`; whole numbers are token ids for a user's module."""
        return floating or self.module is None

    def _targets_are_known(self):
        return hasattr(self, "_row_size")

    def _note_labels(self, classes, y):
        if classes is not None:
            raise ValueError(
                f"classes name the label of each logit, and a {type(self).__name__} has no "
                "labels. Leave classes out."
            )

    def _checked_weight(self, sample_weight, X):
        """Weights as a tensor, checked against the number of rows; None stays None."""
        if sample_weight is None:
            return None
        rows = np.empty(num_samples(X))
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


def check_as_many(y, X):
    """Raise a ValueError unless `y` has an entry for every row of `X`."""
    if len(y) != num_samples(X):
        raise ValueError(f"X has {num_samples(X)} rows, y has {len(y)}.")


def _inputs(names):
    if isinstance(names, list):
        return f"the inputs {names}"
    return "one input" if names == 1 else f"{names} inputs"


def _row_shape(X):
    """Shape of a row; None if it is not one array."""
    shape = X.row_shape if isinstance(X, RowSource) else tuple(X.shape[1:])
    return shape if not isinstance(shape, dict) and all(map(np.isscalar, shape or ())) else None


def _row_size(X):
    shape = _row_shape(X)
    return None if shape is None else int(np.prod(shape))


def _writable(X):
    """`X`, or a copy if it is a read-only array, of which torch would warn."""
    return X.copy() if isinstance(X, np.ndarray) and not X.flags.writeable else X


def as_numpy_knows(output):
    """The output, in float32 if it is a tensor of a type that numpy does not have."""
    is_brain_float = isinstance(output, torch.Tensor) and output.dtype == torch.bfloat16
    return output.float() if is_brain_float else output
