"""Small modules of every kind, each with a plain twin that computes the same numbers.

A module is a `body` that makes features of a row and a linear `head`. A twist changes how the two
are put together (checkpointing, hooks, tied weights); the twin has the same parameters in the same
order and leaves out what changes no number.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

N_FEATURES, N_TOKENS = 4, 7
SHAPES = {"flat": (4,), "image": (1, 5, 5), "signal": (2, 6), "sequence": (3, 4), "tokens": (4,)}


def rows(kind, n, rng):
    """Rows of a kind of input."""
    if kind == "tokens":
        return rng.integers(0, N_TOKENS, size=(n, *SHAPES[kind]))
    return rng.normal(size=(n, *SHAPES[kind]))


class Pooled(nn.Module):
    """Mean over the positions of a sequence, after a layer that may give a tuple."""

    def __init__(self, layer, call=lambda layer, X: layer(X)):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, X):
        output = self.call(self.layer, X)
        return (output[0] if isinstance(output, tuple) else output).mean(1)


class Bag(nn.Module):
    """The numbers of ``EmbeddingBag`` from the operations that its own kernel fuses."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(N_TOKENS, 4))

    def forward(self, X):
        return nn.functional.embedding(X, self.weight).mean(1)


class WeightNorm(nn.Module):
    """``g v / ||v||`` without torch's kernel, whose second derivative is wrong."""

    def forward(self, g, v):
        return g * v / v.norm(dim=1, keepdim=True)

    def right_inverse(self, weight):
        return weight.norm(dim=1, keepdim=True), weight


def plain_weight_norm(layer):
    parametrize.register_parametrization(layer, "weight", WeightNorm())
    return layer


class InEvaluation(nn.Sequential):
    """Layers that stay in evaluation mode, as frozen batch norm does."""

    def train(self, mode=True):
        return super().train(False)


class Residual(nn.Module):
    """A hidden layer that is added to its input, applied twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, X):
        for _ in range(2):
            X = X + torch.tanh(self.layer(X))
        return X


def hidden(*layers, bias=True):
    return nn.Sequential(nn.Linear(4, 4, bias=bias), *layers)


def convolution(*layers, groups=1):
    first = nn.Conv2d(1, 2, 3)
    more = [nn.Conv2d(2, 2, 2, groups=groups)] if groups > 1 else []
    return nn.Sequential(first, *more, *layers, nn.AvgPool2d(2 if groups > 1 else 3), nn.Flatten())


def transformer(dropout=0.0):
    return nn.TransformerEncoderLayer(4, 2, 4, dropout=dropout, batch_first=True)


def attention(layer, X):
    return layer(X, X, X)


# input, number of features, body
BODIES = {
    "linear": ("flat", 4, nn.Identity),
    "relu": ("flat", 4, lambda: hidden(nn.ReLU())),
    "gelu": ("flat", 4, lambda: hidden(nn.GELU())),
    "tanh": ("flat", 4, lambda: hidden(nn.Tanh())),
    "silu": ("flat", 4, lambda: hidden(nn.SiLU())),
    "deep": ("flat", 4, lambda: hidden(nn.Tanh(), nn.Linear(4, 4), nn.GELU())),
    "in place": ("flat", 4, lambda: hidden(nn.ReLU(inplace=True))),
    "residual": ("flat", 4, Residual),
    "batch norm": ("flat", 4, lambda: hidden(nn.BatchNorm1d(4), nn.Tanh())),
    "batch norm, no bias": ("flat", 4, lambda: hidden(nn.BatchNorm1d(4), nn.GELU(), bias=False)),
    "batch norm, cumulative": ("flat", 4, lambda: hidden(nn.BatchNorm1d(4, momentum=None))),
    "batch norm, untracked": (
        "flat", 4, lambda: hidden(nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh()),
    ),
    "batch norm, frozen": ("flat", 4, lambda: InEvaluation(*hidden(nn.BatchNorm1d(4), nn.Tanh()))),
    "layer norm": ("flat", 4, lambda: hidden(nn.LayerNorm(4), nn.GELU())),
    "group norm": ("flat", 4, lambda: hidden(nn.GroupNorm(2, 4), nn.Tanh())),
    "rms norm": ("flat", 4, lambda: hidden(nn.RMSNorm(4), nn.Tanh())),
    "dropout": ("flat", 4, lambda: hidden(nn.Tanh(), nn.Dropout(0.3))),
    "alpha dropout": ("flat", 4, lambda: hidden(nn.SELU(), nn.AlphaDropout(0.2))),
    "weight norm": ("flat", 4, lambda: nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh())),
    "old weight norm": ("flat", 4, lambda: nn.Sequential(
        nn.utils.weight_norm(nn.Linear(4, 4)), nn.Tanh())),
    "spectral norm": ("flat", 4, lambda: nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Tanh())),
    "orthogonal": ("flat", 4, lambda: nn.Sequential(
        parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh())),
    "bilinear": ("flat", 3, lambda: Squared(nn.Bilinear(4, 4, 3))),
    "prelu": ("flat", 4, lambda: hidden(nn.PReLU())),
    "convolution": ("image", 2, lambda: convolution(nn.GELU())),
    "convolution, grouped": ("image", 2, lambda: convolution(nn.Tanh(), groups=2)),
    "convolution, max pooling": ("image", 2, lambda: nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten())),
    "convolution, batch norm": ("image", 2, lambda: convolution(nn.BatchNorm2d(2), nn.GELU())),
    "convolution, instance norm": (
        "image", 2, lambda: convolution(nn.InstanceNorm2d(2, affine=True), nn.GELU())),
    "convolution, tracked instance norm": (
        "image", 2, lambda: convolution(nn.InstanceNorm2d(2, track_running_stats=True), nn.Tanh())),
    "transposed": ("image", 4, lambda: nn.Sequential(
        nn.Conv2d(1, 1, 4), nn.Tanh(), nn.ConvTranspose2d(1, 1, 2), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(1, 4))),
    "signals": ("signal", 4, lambda: nn.Sequential(
        nn.Conv1d(2, 2, 3, padding=1), nn.Tanh(), nn.AvgPool1d(3), nn.Flatten())),
    "signals, batch norm": ("signal", 4, lambda: nn.Sequential(
        nn.Conv1d(2, 2, 3), nn.BatchNorm1d(2), nn.GELU(), nn.AvgPool1d(2), nn.Flatten())),
    "signals, instance norm": ("signal", 4, lambda: nn.Sequential(
        nn.Conv1d(2, 2, 3), nn.InstanceNorm1d(2), nn.Tanh(), nn.AvgPool1d(2), nn.Flatten())),
    "attention": ("sequence", 4, lambda: Pooled(
        nn.MultiheadAttention(4, 2, batch_first=True), attention)),
    "transformer": ("sequence", 4, lambda: Pooled(transformer())),
    "transformer, dropout": ("sequence", 4, lambda: Pooled(transformer(0.2))),
    "lstm": ("sequence", 3, lambda: Pooled(nn.LSTM(4, 3, batch_first=True))),
    "gru": ("sequence", 3, lambda: Pooled(nn.GRU(4, 3, batch_first=True))),
    "rnn": ("sequence", 3, lambda: Pooled(nn.RNN(4, 3, batch_first=True))),
    "linear over positions": ("sequence", 3, lambda: Pooled(
        nn.Sequential(nn.Linear(4, 3), nn.Tanh()))),
    "embedding": ("tokens", 4, lambda: Pooled(nn.Embedding(N_TOKENS, 4))),
    "embedding, padding": ("tokens", 4, lambda: Pooled(nn.Embedding(N_TOKENS, 4, padding_idx=0))),
    "embedding, max norm": ("tokens", 4, lambda: Pooled(nn.Embedding(N_TOKENS, 4, max_norm=1.0))),
    "embedding, frequency": (
        "tokens", 4, lambda: Pooled(nn.Embedding(N_TOKENS, 4, scale_grad_by_freq=True))),
    "embedding, sparse": ("tokens", 4, lambda: Pooled(nn.Embedding(N_TOKENS, 4, sparse=True))),
    "embedding bag": ("tokens", 4, lambda: nn.EmbeddingBag(N_TOKENS, 4)),
    "embedding bag, frozen": ("tokens", 4, lambda: frozen(nn.EmbeddingBag(N_TOKENS, 4))),
}  # fmt: skip
PLAIN_BODIES = {
    "embedding, sparse": BODIES["embedding"][2],
    "embedding bag": Bag,
    "embedding bag, frozen": lambda: frozen(Bag()),
    "weight norm": lambda: nn.Sequential(plain_weight_norm(nn.Linear(4, 4)), nn.Tanh()),
    "old weight norm": lambda: nn.Sequential(plain_weight_norm(nn.Linear(4, 4)), nn.Tanh()),
}


class Squared(nn.Module):
    """A bilinear layer, given its input twice."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, X):
        return self.layer(X, X)


def frozen(module):
    return module.requires_grad_(False)


class Net(nn.Module):
    """A head on the features of a body; `plain` marks the twin."""

    def __init__(self, body, n_features, n_outputs, plain=False, bias=True):
        super().__init__()
        self.body = body
        self.head = nn.Linear(n_features, n_outputs, bias=bias)
        self.plain = plain

    def forward(self, X):
        return self.head(self.body(X))


class Checkpointed(Net):
    reentrant = False

    def forward(self, X):
        if self.plain:
            return super().forward(X)
        if self.reentrant and X.is_floating_point():
            X = X.detach().requires_grad_()  # without that its gradients are None
        return self.head(checkpoint(self.body, X, use_reentrant=self.reentrant))


class CheckpointedReentrant(Checkpointed):
    reentrant = True


class CheckpointedHead(Net):
    def forward(self, X):
        if self.plain:
            return super().forward(X)
        return checkpoint(self.head, self.body(X), use_reentrant=False)


class HeadTwice(Net):
    def forward(self, X):
        features = self.body(X)
        again = torch.tanh(self.head(features)) @ self.head.weight
        return self.head(features + again)


class HeadWeightTwice(Net):
    """The head's weight is used before the head as well, without a call of the module."""

    def forward(self, X):
        features = self.body(X)
        return self.head(torch.tanh(features @ self.head.weight.T) @ self.head.weight)


class HeadScaled(Net):
    """Not the head's output, but twice that."""

    def forward(self, X):
        return 2 * super().forward(X)


class HeadFedOtherwise(Net):
    """A forward hook on the head changes its output."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.head.register_forward_pre_hook(_halved)


class Tied(Net):
    """The body's first layer has the head's weight, where its shape allows."""

    def __init__(self, body, n_features, n_outputs, plain=False):
        super().__init__(body, n_features, n_outputs, plain)
        self.decoder = nn.Linear(n_outputs, n_features)
        self.decoder.weight = nn.Parameter(torch.randn(n_features, n_outputs))
        self.encoder = nn.Linear(n_outputs, n_features)
        self.encoder.weight = self.decoder.weight

    def forward(self, X):
        z = super().forward(X)
        return self.head(torch.tanh(self.decoder(z)) + torch.sin(self.encoder(z)))


class BackwardHooks(Net):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if not self.plain:
            self.head.register_full_backward_hook(_nothing)


class ForwardHooks(Net):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.body.register_forward_hook(_doubled)


class Parametrised(Net):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        parametrize.register_parametrization(self.head, "weight", Bounded())


class Bounded(nn.Module):
    def forward(self, weight):
        return torch.sin(weight)


class Counting(Net):
    """A buffer of whole numbers, counted up in every pass."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, X):
        if not self.plain:
            self.calls += 1
        return super().forward(X)


class CountingFloats(Net):
    """The same in floating point; replaced, not changed in place."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, X):
        if not self.plain:
            self.calls = self.calls + 1
        return super().forward(X)


class RandomInEvaluation(Net):
    def forward(self, X):
        return self.head(nn.functional.dropout(self.body(X), 0.3))


class NoisyInEvaluation(Net):
    def forward(self, X):
        features = self.body(X)
        return self.head(features + 0.1 * torch.randn_like(features))


class CoupledByMean(Net):
    def forward(self, X):
        features = self.body(X)
        return self.head(features - features.mean(0))


class CoupledByMax(Net):
    def forward(self, X):
        features = self.body(X)
        return self.head(features / features.abs().max())


class Output:
    def __init__(self, logits):
        self.logits = logits


class LikeTransformers(Net):
    def forward(self, X):
        logits = super().forward(X)
        return logits if self.plain else Output(logits)


class GivesTuple(Net):
    def forward(self, X):
        logits = super().forward(X)
        return logits if self.plain else (logits, self.body(X))


class Cube(torch.autograd.Function):
    """x**3 / 3 with rules of its own, of which the first derivative alone is torch's business."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3 / 3

    @staticmethod
    def backward(ctx, back):
        (x,) = ctx.saved_tensors
        return back * x**2


class CubeOnce(Cube):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, back):
        (x,) = ctx.saved_tensors
        return back * x**2


class OwnFunction(Net):
    function = Cube

    def forward(self, X):
        features = torch.tanh(self.body(X))
        return self.head(features**3 / 3 if self.plain else self.function.apply(features))


class OwnFunctionOnce(OwnFunction):
    function = CubeOnce


class UnusedParameters(Net):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.unused = nn.Linear(2, 2)


class SometimesUsed(Net):
    """A parameter that takes part in passes of some batches only."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift = nn.Parameter(torch.ones(1))

    def forward(self, X):
        output = super().forward(X)
        return output + self.shift * output if self.training and len(X) % 2 else output


class DoubleConstant(Net):
    """A float64 number in the pass, made there."""

    def forward(self, X):
        features = self.body(X)
        return self.head((features * torch.tensor([0.5], dtype=torch.float64)).to(features.dtype))


class DoubleInside(Net):
    """The pass goes on in float64, and comes back for the head."""

    def forward(self, X):
        features = self.body(X)
        scale = torch.arange(1, 1 + features.shape[1], dtype=torch.float64)
        return self.head((features.double() * scale).tanh().to(self.head.weight.dtype))


class Branching(Net):
    def forward(self, X):
        features = self.body(X)
        signs = [1 + (row[0] > 0).item() for row in features.detach()]
        return self.head(features) * torch.tensor(signs, dtype=features.dtype)[:, None]


class LoopOverRows(Net):
    """A row at a time, with a choice that vmap does not know."""

    def forward(self, X):
        if self.plain:
            features = self.body(X)
            signs = 1 + (features.detach()[:, :1] > 0)
            return self.head(features * signs)
        made = []
        for features in self.body(X):
            made.append(self.head(features * (1 + (features[0] > 0).item())))
        return torch.stack(made)


class Lazy(Net):
    def __init__(self, body, n_features, n_outputs, plain=False):
        super().__init__(body, n_features, n_outputs, plain)
        if not plain:
            self.head = nn.LazyLinear(n_outputs)


class Temperature(Net):
    """One number that scales the logits of a frozen network."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        frozen(self)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, X):
        return self.scale * super().forward(X)


class Complex(Net):
    """A product in complex numbers inside."""

    def forward(self, X):
        return self.head((torch.fft.fft(self.body(X)) * (1 + 0.5j)).real)


class Detached(Net):
    """Half of the features are cut off from their gradient."""

    def forward(self, X):
        features = self.body(X)
        return self.head(features + features.detach().sin())


class ReadsWeightData(Net):
    """A penalty-like term reads ``weight.data``, of which autograd knows nothing."""

    def forward(self, X):
        return super().forward(X) * (1 + self.head.weight.data.norm())


def _nothing(*_):
    return None


def _doubled(_module, _args, output):
    return 2 * output


def _halved(_module, args):
    return (0.5 * args[0],)


def frozen_biases(net):
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not name.endswith("bias"))
    return net


def frozen_part(name, net):
    frozen(getattr(net, name))
    return net


TWISTS = {
    "none": Net,
    "checkpointed": Checkpointed,
    "checkpointed, reentrant": CheckpointedReentrant,
    "checkpointed head": CheckpointedHead,
    "head twice": HeadTwice,
    "head's weight twice": HeadWeightTwice,
    "head scaled": HeadScaled,
    "head's input changed by a hook": HeadFedOtherwise,
    "tied": Tied,
    "backward hook": BackwardHooks,
    "forward hook": ForwardHooks,
    "parametrised": Parametrised,
    "counting": Counting,
    "counting floats": CountingFloats,
    "random in evaluation": RandomInEvaluation,
    "noisy in evaluation": NoisyInEvaluation,
    "coupled by mean": CoupledByMean,
    "coupled by max": CoupledByMax,
    "output object": LikeTransformers,
    "tuple": GivesTuple,
    "own function": OwnFunction,
    "own function, once": OwnFunctionOnce,
    "unused parameters": UnusedParameters,
    "sometimes used": SometimesUsed,
    "double constant": DoubleConstant,
    "double inside": DoubleInside,
    "branching": Branching,
    "loop over rows": LoopOverRows,
    "lazy": Lazy,
    "temperature": Temperature,
    "complex": Complex,
    "detached": Detached,
    "weight data": ReadsWeightData,
    "no bias": partial(Net, bias=False),
    "frozen biases": lambda *args, **kwargs: frozen_biases(Net(*args, **kwargs)),
    "frozen body": lambda *args, **kwargs: frozen_part("body", Net(*args, **kwargs)),
    "frozen head": lambda *args, **kwargs: frozen_part("head", Net(*args, **kwargs)),
    "frozen": lambda *args, **kwargs: frozen(Net(*args, **kwargs)),
    "data parallel": Net,
}


@dataclass(frozen=True)
class Kind:
    """A body with a twist, for a number of outputs; `probabilities` ends it in a softmax."""

    body: str
    twist: str
    n_outputs: int
    probabilities: bool = False

    @property
    def input(self):
        return BODIES[self.body][0]

    def module(self, seed, plain=False):
        """The module, its weights drawn from `seed`; or its twin."""
        _, n_features, body = BODIES[self.body]
        if plain:
            body = PLAIN_BODIES.get(self.body, body)
        with torch.random.fork_rng():
            torch.default_generator.manual_seed(seed)
            net = TWISTS[self.twist](body(), n_features, self.n_outputs, plain=plain)
        if self.twist == "data parallel" and not plain:
            net = nn.DataParallel(net)
        return nn.Sequential(net, nn.Softmax(1)) if self.probabilities else net


def copied(source, twin):
    """`twin` with the parameters and buffers of `source`, in their order."""
    pairs = zip(source.parameters(), twin.parameters(), strict=True)
    buffers = zip(source.buffers(), twin.buffers(), strict=True)
    with torch.no_grad():
        for given, own in [*pairs, *buffers]:
            own.copy_(given)
    return twin


def labels(n, n_classes, rng):
    """Label codes, every class among them."""
    return rng.permutation(np.arange(n) % n_classes)
