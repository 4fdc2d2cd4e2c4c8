"""Further training: more epochs from the trained model, with and without some rows."""

from functools import partial
from numbers import Integral, Real

import torch

from sam_attribution._turns import exclusive
from sam_attribution._validation import HasMethods, Interval, Options, StrOptions, check_parameters
from sam_attribution.methods import PreparedScores
from sam_attribution.problem import TrainingBatch, check_functional
from sam_attribution.retraining._further_optimizer import further_optimizer
from sam_attribution.retraining._further_runs import (
    FurtherProgram,
    checked_points,
    further_runs,
    further_values,
    values_of_stack,
)
from sam_attribution.retraining._further_steps import check_buffers
from sam_attribution.retraining._left_out import LeavesOut


class FurtherTraining(LeavesOut):
    """Loss after some more epochs without the row, minus the loss after as many with it.

    This is the gold standard for a given model: its training need not be known. Training continues
    from the final weights in the same batches, once with all rows and once with each row (or group
    of rows) at weight 0. It is repeated over seeds, which draw other batch orders and dropout
    masks.

    Parameters
    ----------
    n_epochs : int, default=10
        Epochs of further training.
    n_seeds : int, default=5
        Repetitions to average over. The models of one seed share batches and masks, so that most
        of the seed's effect cancels in the difference.
    rows : array-like of int, or of bool with shape (n_samples,), default=None
        Rows to leave out, as positions in those given to ``fit``, each once, or a mask of them.
        Results follow their order. The others score NaN, and so do those that were not trained
        on. ``None`` leaves out each row in turn.
    groups : array-like of shape (n_samples,) or bool (n_groups, n_samples), or list of \
            lists of int, default=None
        Rows to leave out together, as for :class:`LeaveOneOut`. The score of a row is its share
        of the effect of its group.
    adjustment : {"full-data", "mean"}, default="full-data"
        Effect of further training itself, which is subtracted. ``full-data``: the change by
        training with all rows (eq. 17, a removal effect). ``mean``: the mean over the rows or
        groups left out (eq. 13, which compares them and has mean 0).
    batch_size : int, default=None
        ``None`` takes that of the training, as for the next four; -1 takes all rows at once.
    lr : float, default=None
        ``None`` takes the training's mean rate, so that an epoch has the effect of a training
        epoch; with an optimizer of torch the rate of that.
    rho : float, default=None
        ``None`` takes that of the training's last step.
    perturbation : {"l2", "linf", "adaptive"} or object, default=None
    optimizer : torch.optim.Optimizer, class or callable, dynamics.SGD or Adam, default=None
        A class such as ``torch.optim.RMSprop``, an instance, of which class and settings are
        taken, or a callable that makes one from a list of parameters. Its memory (momentum, Adam's
        moments) starts empty, because the memory of the training contains effects of the row.
    models_at_once : int or "auto", default="auto"
        Models that go through a step together, see :func:`train_many`.
    real_loop : "auto" or bool, default="auto"
        As for :class:`LeaveOneOut`: True repeats the net's own training step, one model at a time.
    n_jobs : int, default=None
        Stacks of models to train at the same time in processes of their own.
    random_state : int, RandomState instance or None, default=None
        Draws the seeds; None takes the seed of SAMInfluence.
    verbose : int, default=0
        Above 0 shows a progress bar: over the seeds, or over the models of a single seed. Above 1
        shows the models of each seed as well.

    Notes
    -----
    The unit is nats per removed row, after `n_epochs` more epochs. The value at the end is taken,
    because the effect of a row grows and a mean over epochs would include the small early effects.
    :func:`~sam_attribution.comparison.further_training` returns the whole curve. Cost: ``n_seeds *
    (n_rows + 1) * n_epochs`` epochs of training, or with groups ``n_groups + 1``; memory: the
    weights of all these models.

    Raises
    ------
    ValueError
        Raised by ``fit`` for rows or groups that are not there, and with ``real_loop=False`` for
        a training without a functional form.

    References
    ----------
    Wei et al., Final-Model-Only Data Attribution, arXiv:2412.03906, equations 3, 13 and 17. The
    paper takes the row out of its batch; here it stays in the batch with weight 0, so that the
    other rows keep their batches and shares.

    Examples
    --------
    >>> from sam_attribution.retraining import FurtherTraining
    >>> FurtherTraining(n_epochs=20, rows=[3, 5])
    FurtherTraining(n_epochs=20, rows=[3, 5])
    """

    _parameter_constraints = {
        "n_epochs": [Interval(Integral, 1, None, closed="left")],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "rows": ["array-like", None],
        "groups": ["array-like", None],
        "adjustment": [StrOptions({"full-data", "mean"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            Options(Integral, {-1}),
            None,
        ],
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "rho": [Interval(Real, 0, None, closed="left"), None],
        "perturbation": [str, HasMethods("eps"), None],
        "optimizer": [HasMethods("update"), torch.optim.Optimizer, callable, None],
        "models_at_once": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "real_loop": [StrOptions({"auto"}), "boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        n_epochs=10,
        n_seeds=5,
        rows=None,
        groups=None,
        adjustment="full-data",
        batch_size=None,
        lr=None,
        rho=None,
        perturbation=None,
        optimizer=None,
        models_at_once="auto",
        real_loop="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_epochs = n_epochs
        self.n_seeds = n_seeds
        self.rows = rows
        self.groups = groups
        self.adjustment = adjustment
        self.batch_size = batch_size
        self.lr = lr
        self.rho = rho
        self.perturbation = perturbation
        self.optimizer = optimizer
        self.models_at_once = models_at_once
        self.real_loop = real_loop
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _check_sets(self, names, members, n_rows):
        super()._check_sets(names, members, n_rows)
        _check_adjustment(self.adjustment, len(names))

    def check_model(self, problem, optimizer):
        super().check_model(problem, optimizer)
        further_optimizer(self.optimizer, problem.layout.shapes)
        if self.real_loop is not False:
            return
        if self.optimizer is None:
            check_functional(problem, optimizer, self)
        rows = torch.arange(len(problem.y), device=problem.y.device)
        check_buffers(TrainingBatch(problem, rows, seed=0))

    def prepare(self, problem):
        """Train all models to the end and keep their weights."""
        check_parameters(self)
        return _PreparedFurtherTraining(self, problem)

    @exclusive()
    def values(self, queries, evaluate_at=None, evaluate_at_steps=None):
        """Query values after several numbers of epochs or steps; no weights are kept.

        Parameters
        ----------
        queries : Queries
        evaluate_at : sequence of int, default=None
            Epochs, ascending, up to `n_epochs`. ``None`` takes about ten.
        evaluate_at_steps : sequence of int, default=None
            Training steps in place of epochs, ascending, up to those of `n_epochs`.

        Returns
        -------
        FurtherTrainingValues
        """
        check_parameters(self)
        absent = self.left_out(queries.problem)
        program = FurtherProgram(self, queries.problem)
        points = checked_points(program, self.n_epochs, evaluate_at, evaluate_at_steps)
        read = partial(values_of_stack, queries)
        found = list(further_runs(self, program, absent, points, read))
        return further_values(queries, absent, points, found, groups=self.groups is not None)


class _PreparedFurtherTraining(PreparedScores):
    def __init__(self, method, problem):
        self._adjustment = method.adjustment
        self._has_groups = method.groups is not None
        self._device = problem.params.device
        self._absent = method.left_out(problem)
        _check_adjustment(method.adjustment, len(self._absent) - 1)  # the first leaves out none
        program = FurtherProgram(method, problem)
        self._points = checked_points(program, method.n_epochs, [method.n_epochs])
        self._models = list(further_runs(method, program, self._absent, self._points))
        self.diagnostics = {
            "scale": f"{problem.row_loss.unit}, measured by {method.n_epochs} more epochs",
            "n_retrained": method.n_seeds * (len(self._absent) - 1),
            "n_seeds": method.n_seeds,
            "retrained_by": program.words,
        }

    def scores(self, queries):
        return self._per_row(self._values(queries).curves(self._adjustment))

    def standard_errors(self, queries):
        values = self._values(queries)
        if values.n_seeds == 1:
            return None
        return self._per_row(values.standard_errors(self._adjustment))

    def _values(self, queries):
        found = [[_valued(stack, queries) for stack in stacks] for stacks in self._models]
        return further_values(queries, self._absent, self._points, found, groups=self._has_groups)

    def _per_row(self, curves):
        return self._absent.per_row(torch.as_tensor(curves[-1].T, device=self._device))


def _valued(stack, queries):
    return stack._replace(states=[values_of_stack(queries, state) for state in stack.states])


def _check_adjustment(adjustment, n_sets):
    if adjustment == "mean" and n_sets < 2:
        raise ValueError(
            f'adjustment="mean" compares rows or groups with each other, got {n_sets} to leave '
            'out. Use adjustment="full-data", or more of them.'
        )
