"""The gold standard on convex problems: the fixed point of SAM without the row."""

from functools import partial
from numbers import Integral, Real
from os import PathLike
from typing import ClassVar

import torch
from tqdm.auto import tqdm

from sam_attribution._validation import Interval, check_parameters
from sam_attribution.curvature import check_second_derivative
from sam_attribution.perturbation import is_constant
from sam_attribution.problem import decays_apart
from sam_attribution.retraining._finished import (
    check_is_folder,
    finished_models,
    key_of,
    saying_what_is_kept,
)
from sam_attribution.retraining._leave_one_out import PreparedLeaveOneOut
from sam_attribution.retraining._left_out import LeavesOut
from sam_attribution.retraining._newton import NoFixedPoint, OutOfSteps, fixed_point, largest_radius
from sam_attribution.training import bare_optimizer


class FixedPoint(LeavesOut):
    """Leave rows out of the objective and solve for the fixed point of SAM.

    The score of row k is ``V(w without k) - V(w)``. Both w are fixed points ``F(w) = grad
    L(w + eps) + lam w = 0`` of full-batch SAM, reached from the trained weights. This is the
    effect that ``HIF`` predicts, without the noise of training, for convex problems with weight
    decay. A network has many fixed points, or none.

    Parameters
    ----------
    rows : array-like of int, or of bool with shape (n_samples,), default=None
        Rows to leave out, as positions in those given to ``fit``, each once, or a mask; ``None``
        is all.
    groups : array-like of shape (n_samples,) or bool (n_groups, n_samples), or list of \
            lists of int, default=None
        Rows to leave out together. For both see :class:`LeaveOneOut`.
    tol : float, default=1e-10
        Tolerance for the length of ``F(w)``. The default needs a classifier with
        ``dtype="float64"``.
    max_iter : int, default=100
        Largest number of steps of Newton's method.
    resume_dir : path, default=None
        Folder for solved models, each kept at once: see :class:`LeaveOneOut`.
    verbose : int, default=0
        Above 0 shows a progress bar over the models.

    Notes
    -----
    Cost: a few Jacobians for the model with all rows (a dense matrix up to 1000 parameters, GMRES
    above). The last one is used for the models without a row as long as it reduces the residual:
    about ten SAM gradients of all rows for each.

    A fixed point need not exist. For a p-norm with finite p there is one only while rho is below
    about ``rho_max = ||H_0^{-1} lam w_0||_p``, with ``w_0`` the minimiser of the loss and
    ``H_0`` its Hessian there; for the inf-norm there hardly ever is one.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_iris
    >>> from sam_attribution import SAMClassifier, SAMInfluence
    >>> from sam_attribution.retraining import FixedPoint
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SAMClassifier(torch.nn.Linear(4, 3), optimizer__weight_decay=0.1, dtype="float64")
    >>> influence = SAMInfluence(clf, method=FixedPoint(rows=[3, 50]), random_state=0)
    >>> print(influence.fit(X, y).diagnostics_["scale"][0])
    nats, measured by solving for fixed points
    """

    def __init__(
        self, *, rows=None, groups=None, tol=1e-10, max_iter=100, resume_dir=None, verbose=0
    ):
        self.rows = rows
        self.groups = groups
        self.tol = tol
        self.max_iter = max_iter
        self.resume_dir = resume_dir
        self.verbose = verbose

    _parameter_constraints: ClassVar = {
        "rows": [None, "array-like"],
        "groups": [None, "array-like"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "resume_dir": [None, str, PathLike],
        "verbose": ["verbose"],
    }

    def check_request(self, n_samples):
        super().check_request(n_samples)
        check_is_folder(self.resume_dir)

    def check_model(self, problem, optimizer):
        super().check_model(problem, optimizer)
        _check_climbs_together(problem)
        _check_objective(type(bare_optimizer(optimizer)), optimizer.param_groups)
        _check_precision(problem, self.tol)
        check_second_derivative(problem)

    def prepare(self, problem):
        """Solve for all models, or those that `resume_dir` does not hold yet.

        Raises
        ------
        ValueError
            If there is no fixed point, with the largest radius at which one can be expected; if
            `max_iter` steps do not reach it; for a `tol` below the rounding of the problem; for
            rows or groups that are not there.
        """
        check_parameters(self)
        _check_climbs_together(problem)
        if problem.path is not None:
            _check_objective(problem.path.optimizer, problem.path.group_settings)
        _check_precision(problem, self.tol)
        absent = self.left_out(problem)
        settings = {"tol": self.tol, "max_iter": self.max_iter}
        full = _solved(problem, problem.params, absent.names[0], settings)
        models = self._models(problem, absent, full, settings)
        scale = f"{problem.row_loss.unit}, measured by solving for fixed points"
        prepared = PreparedLeaveOneOut([models], absent, scale)
        prepared.diagnostics |= {
            "root_residual": full.residual,
            "distance_from_trained": float((full.params - problem.params).norm()),
        }
        return prepared

    def _models(self, problem, absent, full, settings):
        """All models; `full` is the root with every row, from which the others are solved for."""
        finished = finished_models(self.resume_dir, partial(_task, problem, self.tol))
        keys = [key_of(positions) for positions in absent.positions]
        buffers = {name: buffer[None].cpu() for name, buffer in problem.buffers.items()}
        bar = tqdm(keys, desc="retraining", unit="model", disable=not self.verbose)
        with saying_what_is_kept(finished, keys, self.resume_dir):
            for model, key in enumerate(bar):
                if key not in finished.known:
                    less = problem.reweighted(absent[model : model + 1][0])
                    root = _solved(less, full.params, absent.names[model], settings, full.inverse)
                    finished.put([key], root.params[None].cpu(), buffers)
        return finished


def _task(problem, tol):
    """Everything that the fixed points of a problem depend on."""
    settings = (problem.row_loss, problem.perturbation, problem.rho, problem.weight_decay, tol)
    data = (problem.X, problem.y, problem.weights, problem.denominators)
    return "fixed point", problem.module, settings, data


def _solved(problem, start, name, settings, inverse=None):
    try:
        return fixed_point(problem, start, inverse, **settings)
    except NoFixedPoint as error:
        raise ValueError(
            f"SAM has no fixed point near the trained weights {name}: {error}. "
            f"{_where_one_could_be(problem, start, settings['tol'])} Or train again without the "
            'rows: method="loo".'
        ) from error
    except OutOfSteps as error:
        raise ValueError(
            f"No fixed point {name} is reached yet: {error}, and still falling. Raise max_iter; "
            "if that does not help, lower rho or raise optimizer__weight_decay."
        ) from error


def _where_one_could_be(problem, start, tol):
    try:
        radius = largest_radius(problem, start, tol=tol)
    except ValueError:
        return "No minimum of the loss was found either: set optimizer__weight_decay."
    if radius is None and is_constant(problem.perturbation):
        return f"A fixed point rarely exists for {problem.perturbation!r}."
    if radius is None:
        return f"The largest possible rho is not known for {problem.perturbation!r}: lower rho."
    return (
        f"A fixed point can be expected below rho_max = {radius:.3g}, and rho is "
        f"{problem.rho:.3g}: lower rho, or raise optimizer__weight_decay."
    )


def _check_climbs_together(problem):
    if problem.m_sharpness:
        raise ValueError(
            "FixedPoint supports one perturbation for all rows, and "
            f"m_sharpness={problem.m_sharpness} has one for each part of a batch. Train without "
            'm_sharpness, or use "loo".'
        )


def _check_objective(kind, groups):
    if decays_apart(kind, groups):
        raise ValueError(
            f"{kind.__name__}'s decoupled weight decay is not part of the loss, so there is no "
            "fixed point to solve for. Train with SGD or Adam."
        )


def _check_precision(problem, tol):
    finest = 10 * torch.finfo(problem.params.dtype).eps
    if tol < finest:
        raise ValueError(
            f"tol={tol:.1e} is below the rounding error of {problem.params.dtype}, about "
            f'{finest:.1e}. Train with dtype="float64".'
        )
