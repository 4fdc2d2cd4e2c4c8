"""Forward-mode rules of the common layers that do less than torch's own, with the same result.

torch multiplies by zero matrices where an input or a weight carries no tangent (the first layer
always), and derives normalisation from many passes over memory.
"""

import torch
from torch import nn
from torch.autograd.forward_ad import make_dual, unpack_dual
from torch.overrides import TorchFunctionMode


class LayerRules(TorchFunctionMode):
    """A mode in which layers follow ``_RULES``; torch's own rule holds where one returns None."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        rule = _RULES.get(func)
        result = None if rule is None else rule(func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is None else result


def _bilinear(func, input, weight, bias=None, *args, **kwargs):
    """``W'x + Wx' + b'``, without the term whose tangent is missing."""
    (x, dx), (w, dw), (b, db) = map(_parts, (input, weight, bias))
    if dx is None and dw is None:
        return None
    if dx is None:
        tangent = func(x, dw, db, *args, **kwargs)
    else:
        tangent = func(dx, w, db, *args, **kwargs)
        if dw is not None:
            tangent += func(x, dw, None, *args, **kwargs)
    return make_dual(func(x, w, b, *args, **kwargs), tangent)


def _batch_norm(
    func, input, running_mean, running_var, weight=None, bias=None, training=False, *args, **kwargs
):
    """Batch norm with running statistics: an affine map per channel."""
    x, dx = _parts(input)
    if training or running_mean is None or dx is None:
        return None
    (w, dw), (b, db) = _parts(weight), _parts(bias)
    y = func(x, running_mean, running_var, w, b, False, *args, **kwargs)
    eps = args[1] if len(args) > 1 else kwargs.get("eps", 1e-5)
    scale = torch.rsqrt(running_var + eps)[None]
    return make_dual(y, _normalised_tangent(x, dx, (w, dw, db), scale, 0, 0, running_mean))


def _group_norm(func, input, num_groups, weight=None, bias=None, eps=1e-5):
    """Group norm: the statistics of each group move too, along 1 and along the normalised input."""
    x, dx = _parts(input)
    if dx is None:
        return None
    (w, dw), (b, db) = _parts(weight), _parts(bias)
    (n, n_channels), x = x.shape[:2], x.contiguous()
    size = x.shape[2:].numel()
    y, mean, scale = torch.native_group_norm(x, w, b, n, n_channels, size, num_groups, eps)
    grouped, dgrouped = (v.reshape(n, num_groups, -1) for v in (x, dx))
    dmean = dgrouped.mean(2)
    covariance = torch.linalg.vecdot(grouped, dgrouped) / grouped.shape[2] - mean * dmean
    statistics = (scale, -(scale**3) * covariance, -scale * dmean, mean)
    each = n_channels // num_groups
    statistics = (v.repeat_interleave(each, 1) for v in statistics)
    return make_dual(y, _normalised_tangent(x, dx, (w, dw, db), *statistics))


def _normalised_tangent(x, dx, affine, scale, slope, shift, mean):
    """``w (scale dx + slope (x - mean) + shift) + dw scale (x - mean) + db``, in two passes."""
    w, dw, db = affine
    w = 1 if w is None else w
    dw, db = (0 if v is None else v for v in (dw, db))
    of_dx, of_x = w * scale, w * slope + dw * scale
    constant = w * shift + db - of_x * mean
    of_dx, of_x, constant = (_per_channel(v, x) for v in (of_dx, of_x, constant))
    return torch.addcmul(constant, x, of_x).addcmul_(dx, of_dx)


def _per_channel(value, x):
    return torch.as_tensor(value).to(x).reshape(-1, x.shape[1], *[1] * (x.ndim - 2))


def _parts(value):
    """Primal and tangent; the tangent is None where there is none."""
    return unpack_dual(value) if torch.is_tensor(value) else (value, None)


_RULES = {
    nn.functional.linear: _bilinear,
    nn.functional.conv1d: _bilinear,
    nn.functional.conv2d: _bilinear,
    nn.functional.conv3d: _bilinear,
    nn.functional.batch_norm: _batch_norm,
    nn.functional.group_norm: _group_norm,
}
