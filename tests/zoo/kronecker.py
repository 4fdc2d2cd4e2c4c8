"""EK-FAC by its definition: factors from activations, eigenvalues from dense blocks."""

import torch
from torch import nn

from tests.zoo.explicit import NotChecked, dense_hessian, plain_kernels


def kronecker_scores(explicit, method, given):
    point = explicit.w
    if method.at == "w+eps":
        point = explicit.ascended(point, explicit.buffers)
    G = explicit.gauss_newton(point, explicit.buffers)
    v = explicit.query_gradient(explicit.w, explicit.buffers)
    u = torch.zeros_like(v)
    for owner, at in _layers(explicit).items():
        basis, values = _eigen(explicit, owner, at, point, G[at][:, at], method.corrected)
        mean = float(values.mean())
        damping = 0.1 * mean if method.damping == "auto" else method.damping
        rotated = basis.T @ v[at] / (values + damping + explicit.decay)
        u[at] = basis @ rotated
    C = explicit.row_gradients(point, explicit.buffers)
    return explicit.a / explicit.total * (C @ u), 100


def _layers(explicit):
    """Positions of the attributed numbers of each module, by its name."""
    found, S = {}, explicit.attributed()
    for name, span in explicit.spans().items():
        if S[span].any():
            found.setdefault(name.rpartition(".")[0], []).append(torch.arange(len(S))[span])
    return {owner: torch.cat(parts) for owner, parts in found.items()}


def _eigen(explicit, owner, at, point, G, corrected):
    """Orthonormal basis of a layer's numbers and the curvature's eigenvalues in it."""
    layer = explicit.module.get_submodule(owner)
    names = [
        name.rpartition(".")[2]
        for name in explicit.shapes
        if name.rpartition(".")[0] == owner and explicit.attributed()[explicit.spans()[name]].any()
    ]
    kronecker = type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d) and "weight" in names
    if not kronecker and type(layer) is not nn.Embedding:
        values, basis = torch.linalg.eigh(G)
        return basis, values.clamp(min=0)
    has_bias = "bias" in names
    A, S = _factors(explicit, layer, owner, point, has_bias)
    on_A, U_A = torch.linalg.eigh(A)
    on_S, U_S = torch.linalg.eigh(S)
    if type(layer) is nn.Embedding:
        on_A, U_A = A.diagonal().clone(), torch.eye(len(A), dtype=A.dtype)
        basis, values = (
            torch.kron(U_A.contiguous(), U_S.contiguous()),
            torch.outer(on_A, on_S).reshape(-1),
        )
    else:
        if getattr(layer, "groups", 1) > 1:
            raise NotChecked("a Kronecker product for each group")
        basis, values = torch.kron(U_S, U_A), torch.kron(on_S, on_A)
        basis = basis[_order(len(S), len(A), has_bias)]
    if corrected:
        values = (basis.T @ G @ basis).diagonal()
    return basis, values.clamp(min=0)


def _order(n_out, n_in, has_bias):
    """Places in the joined matrix (weight | bias) of weight and bias, one after the other."""
    joined = torch.arange(n_out * n_in).view(n_out, n_in)
    if not has_bias:
        return joined.reshape(-1)
    return torch.cat([joined[:, :-1].reshape(-1), joined[:, -1]])


def _factors(explicit, layer, owner, point, has_bias):
    A, S, count = 0.0, 0.0, 0.0
    for k in range(explicit.n):
        inputs, J, middle = _row(explicit, layer, owner, point, k)
        if has_bias:
            inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1)
        share = explicit.a[k] * explicit.v[k] / explicit.total
        A = A + share * inputs.T @ inputs
        count += float(share) * len(inputs)
        S = S + explicit.a[k] / explicit.total * torch.einsum("cto,cd,dtp->op", J, middle, J)
    return A / count, S


def _row(explicit, layer, owner, point, k):
    """Inputs (positions, n_in), Jacobian of the output (c, positions, n_out), loss curvature."""
    calls = []

    def watch(_module, args, output):
        calls.append((args[0].detach(), output))
        return output.clone()  # what follows may change it in place

    handle = layer.register_forward_hook(watch)
    try:
        with plain_kernels():
            z = explicit.output(
                point.detach().clone().requires_grad_(), explicit.buffers, explicit.X[k : k + 1]
            )
    finally:
        handle.remove()
    outputs = [output for _, output in calls]
    found = [
        torch.autograd.grad(
            each, outputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for each in z[0]
    ]
    J = torch.stack([torch.cat([_positions(layer, part) for part in parts]) for parts in found])
    inputs = torch.cat([_inputs(layer, given) for given, _ in calls])
    if getattr(layer, "padding_idx", None) is not None:
        real = torch.cat([given.reshape(-1) for given, _ in calls]) != layer.padding_idx
        inputs, J = inputs[real], J[:, real]
    y = explicit.y[k : k + 1]
    middle = dense_hessian(
        lambda z: explicit.values(explicit.criterion, z[None], y)[0], z[0].detach()
    )
    return inputs, J, middle


def _positions(layer, signal):
    if isinstance(layer, nn.Linear | nn.Embedding):
        return signal.reshape(-1, signal.shape[-1])
    return signal[0].flatten(1).T


def _inputs(layer, given):
    if isinstance(layer, nn.Linear):
        return given.reshape(-1, given.shape[-1])
    if isinstance(layer, nn.Embedding):
        return nn.functional.one_hot(given.reshape(-1), layer.num_embeddings).double()
    image = given if given.ndim == 4 else given[:, :, None]
    kernel = layer.kernel_size if given.ndim == 4 else (1, *layer.kernel_size)
    padding = layer.padding if given.ndim == 4 else (0, *layer.padding)
    return nn.functional.unfold(image, kernel, padding=padding)[0].T
