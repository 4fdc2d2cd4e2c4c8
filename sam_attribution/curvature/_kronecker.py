"""Gauss-Newton matrices layer by layer, with their eigendecomposition: K-FAC and EK-FAC."""

import torch

from sam_attribution.curvature._embedding_block import EmbeddingBlock
from sam_attribution.curvature._layer_calls import unsupported_layers
from sam_attribution.curvature._layer_gradients import LayerGradients
from sam_attribution.curvature._loss_checks import check_gauss_newton
from sam_attribution.curvature._many_outputs import check_few_outputs
from sam_attribution.curvature._pseudo_gradients import drawn_roots, exact_roots
from sam_attribution.curvature._unsupported_layers import all_are, refusal
from sam_attribution.linalg import (
    ColumnOperator,
    SingularMatrix,
    check_memory,
    fits_into_memory,
    least_of_moments,
    symmetric_eigen,
)
from sam_attribution.problem import parameters_without

_DENSE = 1024  # numbers of a layer that is neither Linear nor Conv, up to which all pairs count
_BYTES = 2**26  # that the gradients of a part of a pass may take


class KroneckerCurvature(ColumnOperator):
    """Block-diagonal approximation of the Gauss-Newton matrix that can be inverted at once.

    Each group of a Linear or Conv layer has a Kronecker product of the second moments of its
    inputs (1 for the bias among them) and of its back-signals; so has an Embedding, whose inputs
    are one-hot, with token frequencies for their second moments. Positions looked up once for all
    rows, given as ``(1, n_tokens)``, count as if each row did it. ``corrected``: in the product's
    eigenbasis the eigenvalues are replaced by the second moments of the rows' gradients there
    (EK-FAC), the best diagonal in that basis. Every other layer (norms, transposed convolutions,
    modules of your own) has the exact block of its own if it holds 1024 numbers at most, else its
    diagonal.

    Parameters
    ----------
    problem : Problem
    point : Tensor of shape (n_params,)
    corrected : bool, default=True
        EK-FAC; False for K-FAC.
    n_draws : int, optional
        Random back-signals per row, labels drawn from the model's probabilities for
        cross-entropy. None takes the expectation over all of them exactly: as many as classes.
    seed : int, default=0
        Seed of the draws.
    unsupported : {"raise", "skip"}, default="raise"
        ``skip`` leaves out what :func:`~sam_attribution.curvature._layer_calls.unsupported_layers`
        finds: the matrix and its inverse are 0 there. ``left_out`` has it.

    Raises
    ------
    ValueError
        If attributed parameters belong to no layer that can be watched.

    Notes
    -----
    A product maps (n_params,) to (n_params,), zero outside the attributed part. Cost: two passes
    over the rows (K-FAC: one) with a backward pass for each class or draw, and an
    eigendecomposition per layer; memory ``n_in**2 + n_out**2 + n_in * n_out`` per layer.

    References
    ----------
    Martens & Grosse, arXiv:1503.05671; Grosse & Martens, arXiv:1602.01407 (convolutions); George
    et al., arXiv:1806.03884 (EK-FAC).
    """

    def __init__(
        self, problem, point, *, corrected=True, n_draws=None, seed=0, unsupported="raise"
    ):
        super().__init__(point, symmetric=True)
        self.left_out = check_kronecker_layers(problem, unsupported)
        self._layers = LayerGradients(problem, self.left_out)
        self._problem = problem
        self._n_draws = n_draws
        self._seed = seed
        self.blocks = [_block(layer, problem, point) for layer in self._layers.layers]
        for block, gradients in self._gradients():
            block.add_moments(*gradients)
        for block in self.blocks:
            block.decompose()
        if corrected:
            for block in self.blocks:
                if not block.is_exact:
                    block.eigenvalues.zero_()
            for block, gradients in self._gradients():
                if not block.is_exact:
                    block.add_eigenvalues(*gradients)

    def matmat(self, columns):
        return self._scaled(columns, [block.eigenvalues for block in self.blocks])

    def solve(self, columns, damping):
        """``(A + damping)^-1`` on the attributed part, zero outside; a number or one per block.

        Zero too in a layer that no row has a gradient in, if its damping is 0: no row moves it. A
        SingularMatrix for any other layer whose eigenvalues may be rounding.
        """
        dampings = damping if isinstance(damping, list) else [damping] * len(self.blocks)
        pairs = zip(self.blocks, dampings, strict=True)
        return self._scaled(columns, [_inverted(block, d, columns.dtype) for block, d in pairs])

    def mean_eigenvalues(self):
        """Mean of each block's eigenvalues: the scale that a damping can be measured by."""
        return [float(block.eigenvalues.mean()) for block in self.blocks]

    def _scaled(self, columns, factors):
        """Columns times some factors, of the shape of the eigenvalues, in each eigenbasis."""
        result = torch.zeros_like(columns)
        for block, values in zip(self.blocks, factors, strict=True):
            index = block.layer.index.to(columns.device)
            rotated = block.rotated(columns[index])
            result[index] = block.rotated_back(values.to(columns)[..., None] * rotated)
        return result

    def _gradients(self):
        """Blocks with inputs and back-signals of a part of the rows, again and again."""
        problem = self._problem
        generator = torch.Generator().manual_seed(self._seed)
        # of a back-signal, which has the class weight already, and of an input
        shares = (problem.weights / problem.total_weight).sqrt()
        of_inputs = problem.denominators / problem.total_weight
        for rows in problem.chunks(None):
            logits, calls = self._layers.passes(self.like, rows)
            values = logits.detach()
            roots = (
                exact_roots(problem, values, rows)
                if self._n_draws is None
                else drawn_roots(problem, values, rows, self._n_draws, generator)
            )
            for root in roots:
                column = shares[rows, None] * root
                signals = self._layers.signals(logits, calls, column)
                for block in self.blocks:
                    name = block.layer.name
                    yield block, (calls[name], signals[name], of_inputs[rows])


def check_kronecker_layers(problem, unsupported="raise"):
    """Return the unsupported layers that `unsupported` lets pass.

    A ValueError for a criterion, or for layers, that have no such curvature, or if the factors of
    the layers would not fit into memory.
    """
    check_few_outputs(problem)
    check_gauss_newton(problem)
    strange = unsupported_layers(problem)
    if strange and (unsupported == "raise" or all_are(problem, strange)):
        raise refusal(problem, strange)
    _check_memory(problem, LayerGradients(problem, strange).layers)
    return strange


def _check_memory(problem, layers):
    """Raise a ValueError if factors do not fit: it names the largest layers, without which they do.

    The rest of the parameters is what ``parameters=`` of the advice attributes.
    """
    bytes_of = {layer: 8 * _numbers_held(layer) for layer in layers}
    ordered, device = sorted(layers, key=bytes_of.get, reverse=True), problem.params.device
    what = f"K-FAC factors of {len(layers)} layers, {ordered[0].name!r} the largest,"
    fits = [
        fits_into_memory(sum(map(bytes_of.get, ordered[n:])), device) for n in range(len(layers))
    ]
    too_many = ordered[: fits.index(True)] if any(fits) else ordered
    kept = {name for layer in ordered[len(too_many) :] for name in layer.names}
    setting = parameters_without(problem, set(problem.layout.names) - kept)
    leave_out = "U" if setting is None else f"Leave the largest layers out by {setting}, or u"
    instead = (
        f'{leave_out}se "gif", "trak" or "arnoldi", which hold no matrix of a layer\'s inputs.'
    )
    check_memory(sum(bytes_of.values()), device, what, instead)


def _numbers_held(layer):
    """Numbers in a layer's factors, with those that an eigendecomposition makes of them."""
    if layer.is_embedding:
        n_tokens, n_out = layer.module.weight.shape
        return 2 * n_tokens * n_out + 3 * n_out**2
    if not layer.is_kronecker:
        return 3 * min(len(layer.index), _DENSE) ** 2 + len(layer.index)
    groups = getattr(layer.module, "groups", 1)
    n_out = layer.module.weight.shape[0] // groups
    n_in = layer.module.weight[0].numel() + layer.has_bias
    return groups * (3 * n_in**2 + 3 * n_out**2 + 2 * n_in * n_out)


def _inverted(block, damping, dtype):
    """One over the damped eigenvalues of a block."""
    values = block.eigenvalues + damping
    if not values.any():
        return values
    if not values.min() > least_of_moments(values, block.vector_size, dtype):
        raise SingularMatrix(
            f"{block.layer.curvature_name} is singular with damping={damping:g}: its eigenvalues "
            f"are {float(values.min()):.1e} to {float(values.max()):.1e}, and those near 0 are "
            'rounding errors. Give damping above 0, or damping="auto".'
        )
    return 1 / values


def _block(layer, problem, point):
    if layer.is_embedding:
        return EmbeddingBlock(layer)
    return _KroneckerBlock(layer) if layer.is_kronecker else _PlainBlock(layer, problem, point)


class _KroneckerBlock:
    """The curvature of a Linear or Conv layer, one Kronecker product for each group."""

    is_exact = False

    def __init__(self, layer):
        self.layer = layer
        self._inputs = self._signals = 0.0
        self._counted = 0.0

    def add_moments(self, calls, signals, shares):
        """Add the second moments of a part of the rows, for one back-signal."""
        for call, signal in zip(calls, signals, strict=True):
            a, g = (each.double() for each in self.layer.factors(call, signal))
            weighted = shares.double()[:, None, None, None] * a
            # met once for each back-signal; the mean over everything does not mind
            self._inputs = self._inputs + torch.einsum("ngti,ngtj->gij", weighted, a)
            self._counted += float(shares.sum()) * a.shape[2]
            self._signals = self._signals + torch.einsum("ngti,ngtj->gij", g, g)

    def decompose(self):
        """Eigenbases of both factors, and the eigenvalues of their product."""
        what = self.layer.curvature_name
        on_inputs, self.input_basis = symmetric_eigen(self._inputs / self._counted, what)
        on_signals, self.signal_basis = symmetric_eigen(self._signals, what)
        del self._inputs, self._signals
        self.vector_size = on_inputs.shape[1] + on_signals.shape[1]
        self.eigenvalues = (on_signals[:, :, None] * on_inputs[:, None]).clamp(min=0)

    def add_eigenvalues(self, calls, signals, _shares):
        """Add squared gradients in the eigenbasis, for one back-signal."""
        parts = [
            self.layer.factors(call, signal) for call, signal in zip(calls, signals, strict=True)
        ]
        a = torch.cat([inputs for inputs, _ in parts], dim=2).double() @ self.input_basis
        g = torch.cat([back for _, back in parts], dim=2).double() @ self.signal_basis
        if a.shape[2] == 1:  # a product of squares: no gradient need be held
            self.eigenvalues += torch.einsum("ngto,ngti->goi", g**2, a**2)
            return
        at_once = max(1, _BYTES // (8 * self.eigenvalues.numel()))
        for a_part, g_part in zip(a.split(at_once), g.split(at_once), strict=True):
            self.eigenvalues += (g_part.mT @ a_part).square().sum(0)

    def rotated(self, columns):
        """Columns of the layer's numbers in the eigenbasis, (groups, n_out, n_in, k)."""
        weight, *bias = self._parts(columns)
        joined = torch.cat([weight, *bias], dim=2)
        left, right = self.signal_basis.to(columns), self.input_basis.to(columns)
        return torch.einsum("gop,goik,giq->gpqk", left, joined, right)

    def rotated_back(self, rotated):
        """Columns of the layer's numbers, from those in the eigenbasis."""
        left, right = self.signal_basis.to(rotated), self.input_basis.to(rotated)
        joined = torch.einsum("gop,gpqk,giq->goik", left, rotated, right)
        n_in = joined.shape[2] - self.layer.has_bias
        parts = {"weight": joined[:, :, :n_in], "bias": joined[:, :, n_in:]}
        k = rotated.shape[-1]
        return torch.cat([parts[name].reshape(-1, k) for name in self.layer.own_names])

    def _parts(self, columns):
        """Weight, and bias if there is one, as (groups, n_out, n_in or 1, k)."""
        groups = getattr(self.layer.module, "groups", 1)
        sizes = [shape.numel() for shape in self.layer.shapes]
        named = dict(zip(self.layer.own_names, columns.split(sizes), strict=True))
        n_out = self.layer.module.weight.shape[0] // groups
        return [
            named[name].reshape(groups, n_out, -1, columns.shape[1])
            for name in ("weight", "bias")
            if name in named
        ]


class _PlainBlock:
    """The exact curvature of any other layer, or its diagonal if that is large."""

    is_exact = True

    def __init__(self, layer, problem, point):
        self.layer = layer
        self._own = layer.own_tensors(problem.layout.unflatten(point))
        self._size = len(layer.index)
        self.is_dense = self._size <= _DENSE
        self._moments = 0.0

    def add_moments(self, calls, signals, _shares):
        """Add products of the rows' gradients, for one back-signal."""
        at_once = max(1, _BYTES // (8 * self._size))
        for part in torch.arange(len(signals[0])).split(at_once):
            gradients = sum(
                self.layer.row_gradients(self._own, call.given[part], signal[part])
                for call, signal in zip(calls, signals, strict=True)
            ).double()
            found = gradients.T @ gradients if self.is_dense else gradients.square().sum(0)
            self._moments = self._moments + found

    def decompose(self):
        """Eigenbasis and eigenvalues; of a diagonal the identity and itself."""
        if self.is_dense:
            values, self._basis = symmetric_eigen(self._moments, self.layer.curvature_name)
        else:
            values, self._basis = self._moments, None
        self.vector_size = self._size if self.is_dense else 1
        self.eigenvalues = values.clamp(min=0)
        del self._moments

    def rotated(self, columns):
        """Columns in the eigenbasis."""
        return columns if self._basis is None else self._basis.to(columns).T @ columns

    def rotated_back(self, rotated):
        """Columns of the layer's numbers, from those in the eigenbasis."""
        return rotated if self._basis is None else self._basis.to(rotated) @ rotated
