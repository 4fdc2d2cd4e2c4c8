"""Targets of any shape, and outputs of any form."""

import torch
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sam_attribution._out_of_memory import OUT_OF_MEMORY
from sam_attribution._rows import with_own_targets
from sam_attribution.training._inputs import as_numpy_knows, check_as_many
from sam_attribution.training._losses import check_graph, check_mean
from sam_attribution.training._output_form import filled, flat_output, joined, leaves_of
from sam_attribution.training._row_criterion import check_probabilities, ignored_target, row_losses
from sam_attribution.training._row_function import (
    RowFunction,
    check_two_arguments,
    criterion_name,
    is_row_function,
)
from sam_attribution.training._target_array import target_array

_LAYOUT = (
    " Classes stand on the second axis of the output, as in (n, C, T) for y of shape (n, T): "
    "return output.transpose(1, 2) where they are last."
)


def _has_probabilities(net):
    raise AttributeError(
        "this net does not know what the module's outputs mean. Call predict, which returns them "
        "unchanged, and apply a sigmoid or a softmax."
    )


class AnyTargets:
    """Target side of :class:`ConformantAnyNet`, before :class:`Conformant`."""

    _target_size = None

    def predict(self, X):
        """The module's output for every row, as arrays; no sigmoid or softmax is applied.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)

        Returns
        -------
        ndarray of shape (n_samples, ...), or tuple, list or dict of such
            As the module gives it.
        """
        check_is_fitted(self)
        outputs = [*self.forward_iter(X)]
        if callable(self.predict_nonlinearity):
            outputs = [*map(self.predict_nonlinearity, outputs)]
        whole = joined(outputs)
        return filled(whole, (as_numpy_knows(leaf).numpy() for leaf in leaves_of(whole)))

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Raises an AttributeError: the output need not be made of probabilities."""

    def score(self, X, y=None, sample_weight=None):
        """The negative mean of the rows' losses: the larger, the better.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), dict, tuple or Dataset
        y : array-like of shape (n_samples, ...)
            None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        X, targets, weight = self.as_trained(X, y, sample_weight)
        if targets is None:
            raise ValueError("y must hold a target for each row, got None.")
        targets, losses = torch.as_tensor(targets), []
        for output in self.forward_iter(X, device=self.module_device):
            done = sum(map(len, losses))
            at = slice(done, done + len(leaves_of(output)[0]))
            of_batch = targets[at].to(self.module_device)
            losses.append(self._losses(_in_full_precision(output), of_batch))
        losses = torch.cat(losses).double()
        weight = torch.ones_like(losses) if weight is None else weight.to(losses)
        return -float(weight @ losses / weight.sum())

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

    def initialized_instance(self, instance_or_cls, kwargs):
        """A part of the net; a function of output and target becomes a criterion."""
        if not is_row_function(instance_or_cls) or instance_or_cls is not self.criterion:
            return super().initialized_instance(instance_or_cls, kwargs)
        if kwargs:
            raise TypeError(
                f"criterion__{min(kwargs)} cannot be set, because criterion is a function. Use "
                "functools.partial."
            )
        return RowFunction(instance_or_cls)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Mean of the rows' losses in a batch, weighted in training if there are sample weights."""
        targets = torch.as_tensor(y_true, device=_device_of(y_pred))
        losses = self._losses(_in_full_precision(y_pred), targets)
        if not training or (self._batch_weight is None and not self._leaves_out):
            loss = losses.mean()
        else:
            weight = self.denominators(targets, len(losses)).to(losses)
            kept = self._row_weights.times(losses) if self._leaves_out else losses
            # a batch of weight 0 has loss 0
            loss = weight @ kept / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
        if training and torch.is_grad_enabled():
            check_graph(self.module_, self.criterion_, flat_output(y_pred), loss)
        return loss

    def _losses(self, y_pred, targets):
        """Losses of the rows; errors name the shapes."""
        _check_rows(y_pred, len(targets))
        try:
            return self.loss_per_sample(y_pred, targets)
        except OUT_OF_MEMORY:
            raise
        except (RuntimeError, IndexError) as error:
            shapes = ", ".join(str(tuple(leaf.shape)) for leaf in leaves_of(y_pred))
            dtype = str(targets.dtype).removeprefix("torch.")
            of_classes = ignored_target(self.criterion_) is not None
            raise ValueError(
                f"criterion {criterion_name(self.criterion_)} cannot compare an output of shape "
                f"{shapes} with y of shape {tuple(targets.shape)} in {dtype}: "
                f"{str(error).splitlines()[0].rstrip('.')}.{_LAYOUT if of_classes else ''}"
            ) from error

    def denominators(self, targets, n_rows):
        """What each row of the batch counts in the divisor of its mean loss, shape (n_rows,)."""
        return torch.ones(n_rows) if self._batch_weight is None else self._batch_weight

    def loss_per_sample(self, output, targets):
        """Loss of every row, shape (n_samples,)."""
        return row_losses(self.criterion_, output, targets)

    def _check_criterion(self):
        check_mean(self.criterion_)
        check_two_arguments(self.criterion_)

    def _fit_inputs(self, X, y, sample_weight, classes, afresh):
        X, y = with_own_targets(X, y, verbose=self.verbose)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. For "
                "an autoencoder pass y=X."
            )
        return super()._fit_inputs(X, y, sample_weight, classes, afresh)

    def _validated(self, X, y="no_validation", *, reset=False):
        # y may have any shape
        return super()._validated(X, reset=reset)

    def _given_targets(self, y):
        return y if y is None else target_array(y)

    def _fit_targets(self, y, X, classes, reset):
        targets = self._targets_of(y, X)
        if reset:
            self._target_size = targets[0].size
        return targets

    def _targets_of(self, y, X):
        """Checked targets, floats in `dtype`, shape (n_samples, ...)."""
        targets = target_array(y, dtype=self.dtype)
        check_as_many(targets, X)
        check_probabilities(self.criterion, targets)
        return targets

    def _output_sizes(self):
        return {"n_outputs": self._target_size}

    def _check_outputs(self, output):
        """The loss tells what is wrong with an output."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def _device_of(output):
    return leaves_of(output)[0].device


def _in_full_precision(output):
    """The output, of which autocast may have made half precision, with losses in float32."""
    return filled(output, map(_at_least_float32, leaves_of(output)))


def _at_least_float32(tensor):
    half = tensor.is_floating_point() and tensor.dtype.itemsize < 4
    return tensor.float() if half else tensor


def _check_rows(output, n_rows):
    """Raise a ValueError unless every tensor of an output has real numbers for each row."""
    for leaf in leaves_of(output):
        if leaf.shape[:1] != (n_rows,):
            raise ValueError(
                f"module must give numbers for each of the {n_rows} rows of a batch, got shape "
                f"{tuple(leaf.shape)}. A module that returns its own loss must give one per row, "
                f"shape ({n_rows},), not their mean; of a Hugging Face model return output.logits."
            )
        if not leaf.is_floating_point():
            raise ValueError(
                "module must give floating-point numbers, got "
                f"{str(leaf.dtype).removeprefix('torch.')}. Leave other tensors out."
            )
