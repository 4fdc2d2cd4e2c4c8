"""The frozen hand-over from training to mathematics."""

import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sam_attribution._row_source import RowSource
from sam_attribution._rows import part_of, passes_over, to_dtype
from sam_attribution._summary import summary
from sam_attribution.parameters import ParameterLayout
from sam_attribution.perturbation import PNorm, as_perturbation
from sam_attribution.problem._backward_pass import check_buffers_in_backward
from sam_attribution.problem._batching import auto_batch_size
from sam_attribution.problem._features import last_linear, logits_and_features
from sam_attribution.problem._few_rows import distinct_rows
from sam_attribution.problem._finite import check_parameters_are_finite
from sam_attribution.problem._functional_call import RepeatedCall, flat_call
from sam_attribution.problem._head import Head
from sam_attribution.problem._module_checks import (
    check_layers,
    check_on_few_rows,
    mark_as_checked,
)
from sam_attribution.problem._row_loss import CrossEntropyRows
from sam_attribution.problem._training_batch import TrainingBatch
from sam_attribution.problem._training_to_come import TrainingToCome
from sam_attribution.training import copy_of_module

# Batches whose outputs in both modes are compared
_N_BATCHES = 8


class _TriedInTraining(NamedTuple):
    """One batch in training mode: another output than in evaluation mode, or random numbers.

    `drawn` are the owners of the streams that the numbers came from, as ``training.Draws`` has.
    """

    differs: bool
    drawn: list[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A trained model as a function of one flat parameter vector, with its training rows.

    The regularised objective is ``sum_i a_i l_i(w) / sum_i a_i + weight_decay ||w||^2 / 2``;
    every mean over rows here is such a weighted mean. With class weights v in the criterion l_i
    has that of its label in it, and the mean is ``sum_i a_i l_i / sum_i a_i v_i``. Nothing below
    this class knows skorch.

    A method of your own needs few of the attributes. The package uses the others.

    - Model: `params`, `buffers`, `n_classes`, :meth:`logits`, :meth:`features`.
    - Rows: `y`, `weights`, :meth:`chunks`, :meth:`batch`.
    - Gradients: :meth:`mean_gradient`, :meth:`ascend`, :meth:`restrict`.
    - Recorded training: `path`.

    Attributes
    ----------
    module : torch.nn.Module
        A private copy in evaluation mode. Never called but through ``functional_call``.
    X : Tensor or RowSource
        The rows trained on. A RowSource stands for a dict, a Dataset and the like: ``X[positions]``
        reads some rows as a batch, which is a tensor, or a dict or tuple of tensors.
    y : Tensor
        Their labels as codes 0..n_classes-1, or their real targets; of ``OutputRows`` a target may
        have several numbers.
    n_classes : int or None
        None without classes. For a regression the module's output is one number per row, shape
        (n, 1); for ``OutputRows`` it is of any form, and read as (n, k).
    sample_weight : Tensor of shape (n_samples,), optional
        The user's weights ``a``; ones if None.
    visited : Tensor of bool, shape (n_samples,), optional
        False for rows that no training step saw (held out by ``train_split``): they count
        nowhere. All True if None.
    row_loss : CrossEntropyRows, GenericRows, OneLogitRows, TargetRows or OutputRows
    weight_decay : float or Tensor of shape (n_params,)
        Its one owner: losses and gradients here leave it out.
    rho : float
    perturbation : Perturbation, or what stands for one
        It is bound to the layout of the module, see ``Perturbation.for_layout``.
    m_sharpness : int, optional
        Largest number of rows that shared a perturbation; None for whole batches.
    selected : Tensor of positions, optional
        The parameters that are attributed; all if None.
    head : Head, optional
        Given if `selected` are the last linear layer, for its closed forms.
    path : TrainingPath or AdoptedPath, optional
        The recorded training, or the checkpoints of one elsewhere.
    to_come : TrainingToCome, optional
        Settings of the training, if that has not begun.
    batch_size : int or "auto"
    denominator : float, optional
        Divisor of the mean over all rows trained on, if the rows here are a part of them.
    positions : LongTensor of shape (n_samples,), optional
        Positions that the rows here have among the rows given to ``fit``; None if these are the
        rows given.
    n_given : int, optional
        Number of rows given to ``fit``. Given if `positions` are.
    differentiated : bool, default=True
        False if outputs alone are asked for, so that a wrong gradient is no fault of the module.
    """

    module: nn.Module
    X: Tensor | RowSource
    y: Tensor
    n_classes: int | None
    sample_weight: Tensor | None = None
    visited: Tensor | None = None
    row_loss: object = field(default_factory=CrossEntropyRows)
    weight_decay: float | Tensor = 0.0
    rho: float = 0.0
    perturbation: object = field(default_factory=PNorm)
    m_sharpness: int | None = None
    selected: Tensor | None = None
    head: Head | None = None
    path: object | None = None
    to_come: TrainingToCome | None = None
    batch_size: int | str = "auto"
    denominator: float | None = None
    positions: Tensor | None = None
    n_given: int | None = None
    differentiated: bool = True

    __repr__ = summary

    _base = None  # the problem whose rows these are, in another epoch

    def __post_init__(self):
        check_layers(self.module)
        _check_positions(self.positions, self.n_given, self.n_rows)
        check_parameters_are_finite(self.layout, self.params)
        bound = as_perturbation(self.perturbation, self.layout)
        object.__setattr__(self, "perturbation", bound)
        # now: a tensor first made inside a torch.func transform does not outlive it
        for name in (
            "layout",
            "params",
            "buffers",
            "weights",
            "class_sizes",
            "denominators",
            "total_weight",
            "auto_rows_per_pass",
        ):
            getattr(self, name)
        check_on_few_rows(self)

    @property
    def n_rows(self):
        """Number of rows."""
        return len(self.y)

    @property
    def device(self):
        """Device of the rows and of the parameters."""
        return self.y.device

    def batch(self, rows):
        """Inputs and targets of the rows at some positions."""
        return self.X[rows], self.y[rows]

    @cached_property
    def layout(self):
        """Names and slices of the flat parameter vector."""
        return ParameterLayout(self.module)

    @cached_property
    def params(self):
        """The trained parameters, shape (n_params,)."""
        return self.layout.vector_of(self.module)

    @cached_property
    def buffers(self):
        """The trained buffers, by name."""
        return {name: b.detach().clone() for name, b in self.module.named_buffers()}

    @cached_property
    def weights(self):
        """The user's row weights ``a``, 0 for rows never visited, shape (n_samples,)."""
        given = self.sample_weight
        weights = self.params.new_ones(self.n_rows) if given is None else given
        return weights if self.visited is None else weights * self.visited

    @cached_property
    def class_sizes(self):
        """Weight of the class that each row has, ``v_i``, 1 without any; shape (n_samples,)."""
        of_class = self.row_loss.class_weight
        return torch.ones_like(self.weights) if of_class is None else of_class[self.y]

    @cached_property
    def denominators(self):
        """Share of each row in the denominator of a mean: ``a_i v_i``, shape (n_samples,)."""
        return self.weights * self.class_sizes

    @cached_property
    def total_weight(self):
        """Sum of the rows' denominators: n without sample and class weights."""
        return float(self.denominators.sum()) if self.denominator is None else self.denominator

    @cached_property
    def auto_rows_per_pass(self):
        """Rows that go through the model at once by the fixed rule."""
        return auto_batch_size(self.module, self.X)

    @property
    def rows_per_pass(self):
        """Rows that go through the model at once."""
        return self.auto_rows_per_pass if self.batch_size == "auto" else int(self.batch_size)

    @cached_property
    def training_module(self):
        """The module in training mode, as ``train()`` makes it."""
        if self._base is not None:
            return self._base.training_module
        module = copy_of_module(self.module).train()
        check_buffers_in_backward(copy_of_module(module), distinct_rows(self.X))
        return module

    @cached_property
    def training_call(self):
        """The module in training mode as a function of its tensors and a batch."""
        if self._base is not None:
            return self._base.training_call
        return RepeatedCall(self.training_module)

    @property
    def training_differs(self):
        """True if the module's outputs in training mode are not those in evaluation mode.

        Dropout and batch norm do that. The batches of a few steps, spread over the run, are asked.
        A module that draws random numbers in training differs, even if it drops nothing then.
        """
        return any(each.differs for each in self._tried_in_training)

    @property
    def training_draws(self):
        """True if the module draws random numbers in training mode, as dropout does."""
        return bool(self.drawn_streams)

    @property
    def drawn_streams(self):
        """Owners of the random streams that the module draws from in training mode, a set."""
        return {owner for each in self._tried_in_training for owner in each.drawn}

    @cached_property
    def _tried_in_training(self):
        if self._base is not None:
            return self._base._tried_in_training
        return [self._try_in_training(*each) for each in self.path.some_batches(_N_BATCHES)]

    def _try_in_training(self, rows, seed):
        batch = TrainingBatch(self, rows, seed)
        with torch.no_grad():
            expected = self.logits(self.params, batch.copied(self.buffers), self.X[rows])
            output, drawn = batch.tried(self.params, self.buffers)
        return _TriedInTraining(bool(drawn) or not torch.equal(output, expected), drawn)

    def in_double_precision(self):
        """The same problem in float64."""
        module = copy_of_module(self.module).double()
        mark_as_checked(module)
        weights, decay = self.sample_weight, self.weight_decay
        return replace(
            self,
            module=module,
            X=to_dtype(self.X, torch.float64),
            y=to_dtype(self.y, torch.float64),
            sample_weight=None if weights is None else weights.double(),
            weight_decay=decay.double() if torch.is_tensor(decay) else decay,
            row_loss=self.row_loss.in_double_precision(),
            head=None if self.head is None else Head(module, self.layout),
        )

    def logits(self, params, buffers, X):
        """Logits of a batch `X` at flat `params`, in evaluation mode; one vector for each row."""
        return flat_call(self.module, (self.layout.unflatten(params), buffers), X)

    def features(self, params, buffers, X):
        """Input of the last ``nn.Linear`` for a batch `X`, (n, n_features): the penultimate layer.

        No gradient flows through it. Logits stand in where the module does not end in such a layer.
        """
        return logits_and_features(self, self._last_linear, params, buffers, X)[1]

    @cached_property
    def _last_linear(self):
        return last_linear(self, self.X[:1])

    def part(self, rows):
        """The same problem with some of its rows, which keep their share in the mean over all."""
        return replace(
            self,
            X=part_of(self.X, rows),
            y=self.y[rows],
            sample_weight=self.weights[rows],
            visited=None,
            path=None,
            denominator=self.total_weight,
            positions=rows if self.positions is None else self.positions[rows],
            n_given=self.n_rows if self.n_given is None else self.n_given,
        )

    def reweighted(self, row_weights):
        """The same problem with weights on top of the user's; every denominator stays."""
        return replace(
            self,
            sample_weight=self.weights * row_weights.to(self.weights),
            visited=None,
            path=None,
            denominator=self.total_weight,
        )

    def at_epoch(self, epoch):
        """The same problem with its rows as training read them in an epoch, counted from 0.

        Only those of a Dataset may be others; None stands for the epoch of this problem.
        """
        if self.epoch_for(epoch) in (None, self.epoch_read):
            return self
        known = vars(self).setdefault("_at_epochs", {})
        if epoch not in known:
            known[epoch] = other = copy.copy(self)  # without the checks, which were made
            vars(other).update(X=self.X.at_epoch(epoch), _base=self, _at_epochs=known)
        return known[epoch]

    @property
    def epoch_read(self):
        """Epoch as in which the rows are read; None if they are the same in every epoch."""
        return self.X.epoch if isinstance(self.X, RowSource) else None

    def epoch_for(self, epoch):
        """The epoch itself, or None if rows are the same in every epoch."""
        return epoch if isinstance(self.X, RowSource) and self.X.draws else None

    def chunks(self, rows=None):
        """Split positions into passes for :meth:`batch`; None stands for every training row."""
        if rows is None:
            rows = torch.arange(self.n_rows, device=self.device)
        return passes_over(self.X, rows, self.rows_per_pass)

    def mean_gradient(self, params, buffers, rows=None):
        """Gradient of the weighted mean loss of training rows, (n_params,), no weight decay."""
        leaf = params.detach().requires_grad_()
        total = torch.zeros_like(params)
        for part in self.chunks(rows):
            with torch.enable_grad():
                loss = self.weighted_loss(leaf, buffers, part)
            total += torch.autograd.grad(loss, leaf)[0]
        return total / (self.weight_of(rows) or 1.0)  # a batch of weight 0 has gradient 0

    def weighted_loss(self, params, buffers, rows, batch=None):
        """``sum_i a_i l_i`` over one pass of training rows: differentiable.

        `batch` is that of the rows if it is read already, as inside a transform it must be.
        """
        X, y = batch or self.batch(rows)
        return self.weights[rows] @ self.row_loss.per_sample(self.logits(params, buffers, X), y)

    def weight_of(self, rows):
        """Denominator of the mean over `rows`; over all rows for None."""
        return self.total_weight if rows is None else float(self.denominators[rows].sum())

    def ascend(self, params, buffers, rows, rho):
        """The point ``w + eps`` where SAM takes its gradient, for a batch of rows."""
        if rho == 0:
            return params
        gradient = self.mean_gradient(params, buffers, rows)
        return params + self.perturbation.eps(params, gradient, rho)

    def restrict(self, columns):
        """Zero the rows of (n_params, k) `columns` that are not attributed."""
        if self.selected is None:
            return columns
        restricted = torch.zeros_like(columns)
        restricted[self.selected] = columns[self.selected]
        return restricted


def _check_positions(positions, n_given, n_samples):
    if positions is None and n_given is None:
        return
    if positions is None or n_given is None or len(positions) != n_samples:
        raise ValueError(
            f"positions must be one for each of {n_samples} rows, together with n_given, got "
            f"{None if positions is None else len(positions)} positions and n_given={n_given}."
        )
