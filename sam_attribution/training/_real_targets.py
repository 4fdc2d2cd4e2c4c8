"""Real targets of a regressor: one number per row."""

import torch
from sklearn.utils.metaestimators import available_if

from sam_attribution._validation import check_targets
from sam_attribution.training._inputs import check_as_many
from sam_attribution.training._losses import check_one_tensor, check_output, shape_or_type


def _has_probabilities(net):
    raise AttributeError("a regressor gives no probabilities. Call predict.")


class RealTargets:
    """Target side of :class:`ConformantRegressor`, before :class:`Conformant`."""

    def predict(self, X):
        """Prediction for every row, shape (n_samples,)."""
        return super().predict_proba(X)[:, 0]  # skorch's name for what comes out of the module

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Raises an AttributeError: a regressor gives no probabilities."""

    def partial_fit(self, X, y=None, sample_weight=None, **fit_params):
        """Train for ``max_epochs`` more epochs (or ``epochs``, if given).

        Parameters
        ----------
        X, y, sample_weight, **fit_params
            As in :meth:`fit`.

        Returns
        -------
        self
        """
        return self._train(X, y, sample_weight, afresh=not self.initialized_, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Mean loss of a batch, weighted in training if there are sample weights."""
        check_output(self.criterion_, y_pred)
        targets = torch.as_tensor(y_true, device=y_pred.device)
        targets = targets[:, 0] if targets.shape[1:] == (1,) else targets
        if targets.shape != y_pred.shape[:1]:  # of a Dataset: criteria would broadcast
            raise ValueError(
                f"y must hold one number per row, got shape {tuple(targets.shape)} for "
                f"{len(y_pred)} rows: several outputs are not supported. Use SAMNet."
            )
        return super().get_loss(_column(y_pred), targets.to(y_pred.dtype), X=X, training=training)

    def loss_per_sample(self, output, targets):
        """Loss of every row, shape (n_samples,)."""
        return super().loss_per_sample(_column(output), targets)

    def _given_targets(self, y):
        return y if y is None else check_targets(y, dtype=self.dtype, warn=True)

    def _fit_targets(self, y, X, classes, reset):
        return self._targets_of(y, X)

    def _targets_of(self, y, X):
        """Checked targets in `dtype`, shape (n_samples,)."""
        targets = check_targets(y, dtype=self.dtype)
        check_as_many(targets, X)
        return targets

    def _output_sizes(self):
        return {"n_outputs": 1}

    def _check_outputs(self, output):
        check_one_tensor(output)
        if getattr(output, "ndim", None) != 2 or output.shape[1] != 1:
            raise ValueError(
                "module must give one number per row, shape (n_samples, 1), got "
                f"{shape_or_type(output)}."
            )


def _column(output):
    return output[:, 0] if output.ndim == 2 else output
