"""TRAK: Gauss-Newton influence of the margin in a random projection."""

from numbers import Integral, Real

import torch

from sam_attribution._seeding import integer_seed
from sam_attribution._validation import Interval, StrOptions, check_parameters
from sam_attribution.curvature import check_few_outputs, check_gauss_newton
from sam_attribution.linalg import (
    CountSketch,
    SingularMatrix,
    check_memory,
    least_of_moments,
    symmetric_eigen,
)
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.methods._rates import plain_rates
from sam_attribution.methods._row_point import AT, row_point
from sam_attribution.methods._trak_features import features
from sam_attribution.probes import Probe
from sam_attribution.problem import (
    check_keeps_states,
    check_recorded,
    row_gradients,
    warn_of_other_losses,
)

_FRACTION = 0.1  # of the mean eigenvalue, as for EK-FAC


class TRAK(Method):
    """``phi(query)' (Phi' Phi + ridge)^-1 phi(row) (1 - p_row)``, gradients of margins projected.

    Row i of Phi is the gradient of row i's margin ``log p / (1 - p)`` times a random matrix. With
    ``evaluation="margin"`` in SAMInfluence the query side is that of the publication.

    Parameters
    ----------
    proj_dim : int, "auto" or None, default="auto"
        Dimension of the projected gradients, at most the number of rows. ``auto`` is half the
        number of rows, or 512 if that is less. None projects nothing: the matrix then has the
        number of attributed parameters squared as its size. The projection is
        ``linalg.CountSketch``; the publication takes a dense random matrix.
    ridge : "auto" or float, default="auto"
        Number added to the diagonal of ``Phi' Phi``; ``auto`` is a tenth of its mean eigenvalue.
    weighted : bool, default=False
        True keeps the rows' ``p (1 - p)`` in ``Phi' R Phi``, which the publication drops. With two
        classes, no projection and no ridge the matrix is then n times the Gauss-Newton matrix; with
        more classes it is not, because each row has only one margin.
    at : {"w", "w+eps"}, default="w"
        Point of row gradients: the trained parameters, or the point where SAM takes its gradient
        (of the full batch; at a checkpoint of the recorded one). Query gradients are always taken
        at ``w``.
    n_checkpoints : "recorded" or int, optional
        Number of stretches of the training, see :class:`GIF`. The score is the mean over their
        middle states, each with gradients, matrix and projection of its own. None takes the final
        model alone.
    random_state : int, RandomState instance or None, default=None
        Draws the projection; None takes the seed of SAMInfluence.

    Notes
    -----
    Where there are no classes (a regression, several labels) every number that the module puts out
    stands for a margin: a row has as many rows in Phi. For labels of 0 and 1 with one logit each
    that is the margin of each label.

    Scores have no unit: trust sign and order. Cost, for each state: the gradient of each row
    (without classes: of each output of it), some MiB of them at a time; then one forward-mode pass
    per query. For an ensemble of trainings, the mean of their scores, pass a splitter as
    `validation`. Both ensembles average the products; the publication multiplies the mean of
    ``(1 - p_row)`` by the mean of the rest.

    References
    ----------
    Park et al., TRAK: Attributing Model Behavior at Scale, arXiv:2303.14186.

    Examples
    --------
    >>> from sam_attribution import SAMInfluence
    >>> from sam_attribution.methods import TRAK
    >>> influence = SAMInfluence(method=TRAK(proj_dim=64), evaluation="margin")
    """

    def __init__(
        self,
        *,
        proj_dim="auto",
        ridge="auto",
        weighted=False,
        at="w",
        n_checkpoints=None,
        random_state=None,
    ):
        self.proj_dim = proj_dim
        self.ridge = ridge
        self.weighted = weighted
        self.at = at
        self.n_checkpoints = n_checkpoints
        self.random_state = random_state

    _parameter_constraints = {
        "proj_dim": [None, StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "ridge": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "weighted": ["boolean"],
        "at": AT,
        "n_checkpoints": [
            None,
            StrOptions({"recorded"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "random_state": ["random_state"],
    }

    def check_request(self, n_samples):
        super().check_request(n_samples)
        _check_rank(self.proj_dim, n_samples)

    def check_model(self, problem, optimizer):
        """Raise a ValueError for too many outputs, a loss without weights, or several points.

        Also if the states of `n_checkpoints` would not be kept.
        """
        if self.n_checkpoints is not None:
            check_keeps_states(problem)
        check_few_outputs(problem)
        if self.weighted and problem.n_classes is None:
            check_gauss_newton(problem)
        if problem.m_sharpness and self.at == "w+eps" and self.n_checkpoints is not None:
            raise ValueError(
                "TRAK takes the gradients of a checkpoint at one point, but with "
                f"m_sharpness={problem.m_sharpness} a batch has several perturbed points. Use "
                'at="w".'
            )

    def prepare(self, problem):
        """Project the rows' gradients.

        Raises
        ------
        ValueError
            For an unknown option, a loss without weights, more columns than rows, a singular
            matrix, or checkpoints of a training that was not recorded.
        """
        check_parameters(self)
        self.check_model(problem, None)
        return _PreparedTRAK(self, problem)


class _PreparedTRAK(Prepared):
    has_unit = False

    def __init__(self, method, problem):
        self._problem = problem
        draw = _sketches(problem, method.proj_dim, integer_seed(method.random_state))
        self._models = [
            _Model(method, *state, sketch)
            for state, sketch in zip(_states(method, problem), draw, strict=False)
        ]
        self.diagnostics = {
            "scale": "no unit: trust sign and order",
            "damping": max(model.ridge for model in self._models),
            "damping_reason": f"{_FRACTION} of the mean eigenvalue of Phi' Phi"
            + ("" if method.n_checkpoints is None else "; that of the largest is shown")
            if method.ridge == "auto"
            else "given",
            "proj_dim": self._models[0].proj_dim,
        }

    def probes(self, queries):
        # the row side is a loss gradient, -(1 - p) times that of the margin; it has no 1/n
        rate = self._problem.total_weight / len(self._models)
        return [
            Probe(model.row_point, model.solve(queries), model.buffers, rate, epoch=model.epoch)
            for model in self._models
        ]


def _states(method, problem):
    """Yield the problem, parameters, point of row gradients and buffers at each state.

    That is the final model, or checkpoints.
    """
    if method.n_checkpoints is None:
        yield problem, problem.params, row_point(problem, method.at).perturbed, problem.buffers
        return
    check_recorded(problem)
    if method.at == "w+eps":
        warn_of_other_losses(problem)
    path = problem.path
    for point in path.checkpoints(method.n_checkpoints, plain_rates(path)):
        then = problem.at_epoch(point.epoch)
        yield then, point.params, point.row_params(problem, method.at), point.buffers


class _Model:
    """One state, with the matrix of its rows' projected margin gradients."""

    def __init__(self, method, problem, params, row_point, buffers, sketch):
        self._problem = problem
        self._params = params
        self.epoch = problem.epoch_read
        self.row_point = row_point
        self.buffers = buffers
        self._sketch = sketch
        gram = self._gram(method.weighted)
        mean = float(gram.diagonal().mean())
        self.ridge = _FRACTION * mean if method.ridge == "auto" else float(method.ridge)
        self._values, self._vectors = _decomposed(gram, self.ridge, params.dtype)

    @property
    def proj_dim(self):
        """Size of the matrix."""
        return len(self._values)

    def solve(self, queries):
        """``P (Phi' Phi + ridge)^-1 P'`` times the query gradients at this state."""
        v = self._down(queries.directions(self._params, self.buffers))
        rotated = self._vectors.T @ v.double() / self._values[:, None]
        return self._up((self._vectors @ rotated).to(v))

    def _gram(self, weighted):
        """``Phi' R Phi`` over the rows, R their weights, times those of the loss if `weighted`."""
        problem, total = self._problem, 0.0
        for feature in features(problem, weighted):
            for rows, gradients in row_gradients(problem, self.row_point, feature, self.buffers):
                phi, shares = (
                    self._down(gradients.T).T.double(),
                    problem.denominators[rows].double(),
                )
                total = total + phi.T @ (shares[:, None] * phi)
        return total

    def _down(self, columns):
        if self._sketch is not None:
            return self._sketch.project(columns.T).T
        selected = self._problem.selected
        return columns if selected is None else columns[selected]

    def _up(self, columns):
        """Columns for all parameters, zero outside the attributed ones."""
        if self._sketch is not None:
            return self._problem.restrict(self._sketch.expand(columns.T).T)
        selected = self._problem.selected
        if selected is None:
            return columns
        padded = columns.new_zeros(self._problem.layout.size, columns.shape[1])
        padded[selected] = columns
        return padded


def _sketches(problem, proj_dim, seed):
    """Seeded projections, one after the other; None for the identity."""
    size = problem.layout.size if problem.selected is None else len(problem.selected)
    n_rows = int((problem.weights > 0).sum())
    if proj_dim == "auto":
        proj_dim = max(1, min(512, n_rows // 2))
    _check_rank(proj_dim, n_rows)
    n_bytes = 3 * 8 * (size if proj_dim is None else proj_dim) ** 2
    check_memory(n_bytes, problem.params.device, "TRAK's matrix Phi' Phi", "Use a lower proj_dim.")
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield None if proj_dim is None else CountSketch(problem.params, proj_dim, generator)


def _check_rank(proj_dim, n_rows):
    if proj_dim not in (None, "auto") and proj_dim > n_rows:
        raise ValueError(
            f"proj_dim must be at most the number of rows, {n_rows}, got {proj_dim}: otherwise "
            "Phi' Phi does not have full rank, and the ridge alone determines its inverse."
        )


def _decomposed(gram, ridge, dtype):
    """Eigenvalues and eigenvectors of the damped matrix; raises if it has no inverse."""
    values, vectors = symmetric_eigen(gram, "TRAK's matrix Phi' Phi")
    values = values + ridge
    if not values[0] > least_of_moments(values, len(gram), dtype):
        raise SingularMatrix(
            f"Phi' Phi is singular with ridge={ridge:g}: its eigenvalues are "
            f"{float(values[0]):.1e} to {float(values[-1]):.1e}, and those near 0 are rounding "
            'errors. Give ridge above 0, or ridge="auto".'
        )
    return values, vectors
