"""Hessian-based influence at the trained point (HIF)."""

from functools import partial
from numbers import Real

import torch

from sam_attribution._validation import HasMethods, Interval, StrOptions, check_parameters
from sam_attribution._warnings import warn
from sam_attribution.curvature import (
    CURVATURES,
    VARIANTS,
    SAMPoints,
    check_gauss_newton,
    check_second_derivative,
    has_closed_form,
)
from sam_attribution.dynamics import Tangent
from sam_attribution.linalg import (
    CG,
    GMRES,
    MINRES,
    Damped,
    Dense,
    Direct,
    check_dense_memory,
    check_symmetric,
    is_small,
)
from sam_attribution.methods._damping import choose_damping
from sam_attribution.methods._method import Method, Prepared
from sam_attribution.perturbation import is_constant
from sam_attribution.probes import Probe, Replayable
from sam_attribution.problem import decays_apart, summed_gradient
from sam_attribution.training import part_slices

# Rows that the spectrum is estimated from, where it takes 80 products
_SPECTRUM_ROWS = 4096
# Parameters times rows up to which a small matrix is formed; beyond, products cost less, of which
# a solution takes about so many
_FORMED_SIZE, _FEW_PRODUCTS = 2**24, 128
# Up to so many columns are solved for without forming the matrix
_FEW_COLUMNS = 8


class HIF(Method):
    """First-order effect of removing a row on the fixed point that SAM training reached.

    Parameters
    ----------
    variant : {"full", "paper", "fast"}, default="full"
        ``full`` is the exact derivative of ``F(w) = grad L(w + eps) + lam w``; ``paper``
        and ``fast`` are theorems 4.5 and 4.3 of the paper, cheaper and less exact. All are
        equal at rho = 0 and for the inf-norm.
    solver : "auto" or solver, default="auto"
        Solver of ``J' u = query gradient``: ``auto`` takes ``linalg.Direct`` up to 1000
        parameters, if parameters times rows are 2**24 at most or parameters 128, and
        ``linalg.GMRES`` above.
    damping : "auto" or float, default="auto"
        Number added to the diagonal of J. ``auto`` is 0 if the spectrum of J lies well inside the
        right half plane. Otherwise it is one over the sum of the learning rates of the training
        (0.01 of the largest absolute eigenvalue if they are unknown), or 1.5 times the most
        negative real part if that is more, with a warning. Where ``auto`` solves by GMRES, the
        spectrum is estimated from 4096 random rows, the same at every call.
    curvature : {"hessian", "ggn", "fisher"}, default="hessian"
        Matrix used as the Hessian. The Hessian itself is exact; the Gauss-Newton matrix and the
        empirical Fisher matrix (second moment of the rows' gradients) are positive semi-definite.
    ascent : {"full", "batch"}, default="full"
        Gradient that perturbs the weights in F: ``full`` takes that of all rows; ``batch``, as in
        training, that of each batch of the last epoch, or of each of its parts (``m_sharpness``).
        ``batch`` is a little closer to leave-one-out on most networks (Pearson correlation on
        average 0.003 higher on twelve MLPs, 0.09 on a CNN) and costs 3 to 8 times as much
        (``benchmarks/ascent.py``). A row then counts in its own batch in ``scores_``;
        ``score_samples`` and ``transform`` treat it as a member of every batch, with as many passes
        as there are batches.
    stationary : bool, default=True
        True treats the trained parameters as the fixed point. False takes the rows' gradients
        after one Newton step from there, damped like the rest: the correction of
        arXiv:2412.03906, corollary 1, to first order in that step.

    Notes
    -----
    The unit is nats per removed row. Undamped ``full`` at a fixed point has slope 1 against
    retraining up to 1 / (1 - leverage). Cost: one product with J is 8 forward-equivalent passes
    over the training rows (fast: 4; fast with ``parameters="head"``: none); then two forward-mode
    passes per query (fast, paper: one). For many questions, or many edits by
    ``SAMInfluence.remove``, ``solver=linalg.Arnoldi()`` spends its products once.

    References
    ----------
    arXiv:2507.04059, theorems 4.3 and 4.5; arXiv:2412.03906, proposition 1 and corollary 1.

    Examples
    --------
    >>> from sam_attribution.methods import HIF
    >>> HIF("fast", damping=0.1)
    HIF(damping=0.1, variant='fast')
    """

    def __init__(
        self,
        variant="full",
        *,
        solver="auto",
        damping="auto",
        curvature="hessian",
        ascent="full",
        stationary=True,
    ):
        self.variant = variant
        self.solver = solver
        self.damping = damping
        self.curvature = curvature
        self.ascent = ascent
        self.stationary = stationary

    _parameter_constraints = {
        "variant": [StrOptions(set(VARIANTS))],
        "solver": [StrOptions({"auto"}), HasMethods("prepare")],
        "damping": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "curvature": [StrOptions(set(CURVATURES))],
        "ascent": [StrOptions({"full", "batch"})],
        "stationary": ["boolean"],
    }

    def check_model(self, problem, optimizer):
        """Raise a ValueError unless a product with the Jacobian, and the solver, will work."""
        check_jacobian(problem, self)

    def prepare(self, problem):
        """Form the Jacobian, choose the damping, prepare the solver.

        Raises
        ------
        ValueError
            For an unknown option, a negative damping or a singular matrix.
        TypeError
            If `solver` is a method.
        """
        check_parameters(self)
        return PreparedHIF(self, problem)


def check_jacobian(problem, method, blocks="none"):
    """Raise an error for a module, criterion or solver that HIF with these settings cannot take.

    One product with the Jacobian of the problem's rows.
    """
    _check_solver(method.solver)
    _check_curvature(problem, method.curvature)
    points = SAMPoints(problem, curvature=method.curvature, blocks=blocks)
    jacobian = points.jacobian(method.variant)
    if isinstance(method.solver, CG | MINRES):
        check_symmetric(jacobian, method.solver)
    if isinstance(method.solver, Direct):
        check_dense_memory(jacobian)
    jacobian.matvec(torch.ones_like(jacobian.like))
    if method.curvature == "hessian" and not has_closed_form(problem, method.variant):
        check_second_derivative(problem)


def adjoint_probes(point, variant, columns, share=1.0):
    """Probes that give ``<u, c_k>`` for every row k of a SAM point and each column u.

    ``c_k = dF / ds_k`` is ``(1/n) grad l_k(w + eps)`` and, for ``full``, also
    ``(1/n) H~ D grad l_k(w)``, because the row changes the perturbation too. `share` is the weight
    of the point in a mean over several.
    """
    problem, rows = point.problem, point.rows
    held = {"buffers": problem.buffers, "rate": share, "rows": rows}
    if rows is not None:
        held["rows_weight"] = problem.weight_of(rows)
    probes = [Probe(point.perturbed, columns, **held)]
    if variant == "full" and problem.rho != 0:
        through_eps = (point.D.T @ point.H_perturbed).matmat(columns)
        probes.append(Probe(point.w, through_eps, **held))
    return probes


def removal_columns(point, variant, groups):
    """``sum of c_k`` over the rows of every group in a SAM point, shape (n_params, n_groups)."""
    problem, batch, buffers = point.problem, point.rows, point.problem.buffers
    if batch is not None:
        groups = [batch[torch.isin(batch, group)] for group in groups]
    columns = [summed_gradient(problem, point.perturbed, buffers, rows) for rows in groups]
    columns = torch.stack(columns, dim=1)
    if variant == "full" and problem.rho != 0:
        at_w = [
            problem.weight_of(rows) * problem.mean_gradient(point.w, buffers, rows)
            for rows in groups
        ]
        moved = point.D.matmat(torch.stack(at_w, dim=1))
        columns = columns + problem.restrict(point.H_perturbed.matmat(moved))
    return columns / (problem.weight_of(batch) or 1.0)


class PreparedHIF(Prepared):
    """HIF for a problem, with a full or a layerwise curvature.

    `left_out` says what else than the settings of HIF the matrix leaves out, if anything.
    """

    def __init__(self, method, problem, blocks="none", left_out=None):
        _check_solver(method.solver)
        _check_curvature(problem, method.curvature)
        _warn_of_decoupled_decay(problem)
        self._problem = problem
        self._variant = method.variant
        batches, weights = _batches(problem) if method.ascent == "batch" else (None, None)
        self.rows_are_exchangeable = batches is None
        settings = {"curvature": method.curvature, "blocks": blocks}
        points = SAMPoints(problem, batches, weights=weights, **settings)
        jacobian = points.jacobian(method.variant)
        auto = method.solver == "auto"
        formed = _is_formed(jacobian, problem, method.solver)
        if formed:
            jacobian = Dense(jacobian.to_dense(), symmetric=jacobian.symmetric)
        seen = _for_spectrum(jacobian, problem, batches)
        choice = choose_damping(method.damping, seen, problem.path)
        solver = (Direct() if formed else GMRES()) if auto else method.solver
        # the query side is solved once, so it is the transpose that is inverted
        self._transpose = Damped(jacobian, choice.damping).T
        self._inverse_of_transpose = solver.prepare(self._transpose)
        self._may_be_formed = auto and not formed and is_small(jacobian.size)
        self.diagnostics = {
            "scale": choice.scale(
                problem.row_loss.unit, left_out or _left_out(method, problem, blocks)
            ),
            "ascent": method.ascent,
            "damping": choice.damping,
            "damping_reason": choice.reason,
            "stationarity": points[0].relative_stationarity(points.sam_gradient()),
        }
        if not method.stationary:
            points = points.at(points.w - self.solve(points.sam_gradient()[:, None])[:, 0])
        self._points = points

    def probes(self, queries):
        query_gradients = queries.directions(self._problem.params, self._problem.buffers)
        columns = self._solve(query_gradients, self._inverse_for(query_gradients))
        if self.rows_are_exchangeable:
            return list(self._probes_of_points(columns))
        each = 2 if self._variant == "full" and self._problem.rho != 0 else 1
        return Replayable(partial(self._probes_of_points, columns), each * len(self._points))

    def _probes_of_points(self, columns):
        for point, weight in zip(self._points, self._points.weights, strict=True):
            yield from adjoint_probes(point, self._variant, columns, weight)

    def removal_step(self, groups, *, verbose=0):
        """``J^-1 sum of c_k`` of every group: the change of the fixed point."""
        columns = (removal_columns(point, self._variant, groups) for point in self._points)
        return Tangent(self.solve(self._points.mean(columns)).T, {})

    def solve(self, columns):
        """``(J + damping)^-1`` of columns (n_params, k), zero outside the attributed part."""
        return self._solve(columns, self._inverse_for(columns).T)

    def _inverse_for(self, columns):
        """Inverse of the transposed matrix, which is formed once there are many columns."""
        if self._may_be_formed and columns.shape[1] > _FEW_COLUMNS:
            self._inverse_of_transpose = Direct().prepare(self._transpose)
            self._may_be_formed = False
        return self._inverse_of_transpose

    def _solve(self, columns, inverse):
        selected = self._problem.selected
        solution = inverse.matmat(columns if selected is None else columns[selected])
        self.diagnostics["residual"] = max(solution.residual, self.diagnostics.get("residual", 0.0))
        if selected is None:
            return solution.x
        padded = torch.zeros_like(columns)
        padded[selected] = solution.x
        return padded


def _is_formed(jacobian, problem, solver):
    """True if the matrix is small, and a product for each of its columns is cheap or asked for."""
    cost = len(problem.params) * problem.n_rows  # the whole network computes each product
    few = jacobian.size <= _FEW_PRODUCTS or cost <= _FORMED_SIZE
    return is_small(jacobian.size) and (few or isinstance(solver, Direct))


def _for_spectrum(jacobian, problem, batches):
    """The Jacobian, or that of some rows where products with all of them would cost more."""
    if isinstance(jacobian, Dense) or batches is not None or len(problem.y) <= _SPECTRUM_ROWS:
        return jacobian
    return jacobian.sampled(_SPECTRUM_ROWS, torch.Generator().manual_seed(0))


def _left_out(method, problem, blocks):
    """Reason why the matrix is not the whole derivative of SAM's gradient, in words, or None."""
    moves = problem.rho != 0 and not is_constant(problem.perturbation)
    if method.variant != "full" and moves:
        return f"variant {method.variant!r} is not the whole derivative"
    if method.curvature != "hessian":
        return f"curvature {method.curvature!r} approximates the Hessian"
    if blocks != "none":
        return "layers are treated separately"
    if problem.selected is not None:
        return "the other parameters do not move"
    if problem.m_sharpness and problem.rho and method.ascent == "full":
        return (
            f"each part of {problem.m_sharpness} rows has its own perturbation, which only "
            "ascent='batch' uses"
        )
    return "weight decay is decoupled" if _decay_is_decoupled(problem.path) else None


def _check_solver(solver):
    if isinstance(solver, Method):
        raise TypeError(f"solver must solve linear systems, such as GMRES(), got {solver!r}.")


def _check_curvature(problem, curvature):
    if curvature == "ggn":
        check_gauss_newton(problem)


def _batches(problem):
    """What climbed together in the last epoch, batches or their parts, and the weight of each.

    A ValueError unless every row trained on is in one.
    """
    batches = [] if problem.path is None else problem.path.last_epoch
    visited = problem.weights.nonzero()[:, 0]
    if not batches or not torch.isin(visited, torch.cat(batches)).all():
        raise ValueError(
            'ascent="batch" needs a recorded last epoch that contains every row. Use ascent="full".'
        )
    parts, weights = [], []
    for rows in batches:
        found = [rows[where] for where in part_slices(len(rows), problem.m_sharpness)]
        whole = (problem.weight_of(rows) or 1.0) * len(batches)
        parts += found
        weights += [problem.weight_of(part) / whole for part in found]
    return parts, weights


def _warn_of_decoupled_decay(problem):
    if _decay_is_decoupled(problem.path):
        warn(
            f"{problem.path.optimizer.__name__}'s decoupled weight decay is not part of the "
            "loss, so the trained model is not at a minimum, as this method assumes. Trust sign "
            "and order of these scores, not their size."
        )


def _decay_is_decoupled(path):
    return path is not None and decays_apart(path.optimizer, path.group_settings)
