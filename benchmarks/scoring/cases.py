"""Models, rows and checkpoints on which scoring is timed, and our own scoring of them."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sam_attribution.parameters import ParameterLayout
from sam_attribution.probes import Probe, training_scores
from sam_attribution.problem import Problem, Queries

N_CLASSES = 10
RATE = 0.05


@dataclass(frozen=True, eq=False)
class Case:
    """What every library is given: a model, its checkpoints, training and validation rows.

    Attributes
    ----------
    module : torch.nn.Module
        In evaluation mode, in the state of the last checkpoint.
    checkpoints : list of dict
        State dicts.
    X, y : Tensor
        Rows to score.
    X_valid, y_valid : Tensor
        Rows whose mean loss they are judged by.
    """

    module: nn.Module
    checkpoints: list[dict[str, Tensor]]
    X: Tensor
    y: Tensor
    X_valid: Tensor
    y_valid: Tensor

    @property
    def scale(self):
        """What turns ``sum over checkpoints, validation rows of <g, g_k>`` into our score."""
        return RATE / len(self.y) / len(self.y_valid)


def mlp():
    """784-256-10."""
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, N_CLASSES))


def cnn(norm):
    """Three convolutions with normalisation for 3 x 32 x 32 images."""
    return nn.Sequential(
        *_block(3, 16, 1, norm),
        *_block(16, 32, 2, norm),
        *_block(32, 64, 2, norm),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, N_CLASSES),
    )


def cnn_batchnorm():
    """The CNN with batch norm (in evaluation mode when scored)."""
    return cnn(nn.BatchNorm2d)


def cnn_groupnorm():
    """The CNN with group norm."""
    return cnn(lambda channels: nn.GroupNorm(4, channels))


def _block(n_in, n_out, stride, norm):
    convolution = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
    return convolution, norm(n_out), nn.ReLU()


def make_case(build, shape, n_rows, n_valid, n_checkpoints, seed):
    """Noisy class patterns, and a checkpoint after every eight steps of SGD."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module, patterns = build(), torch.randn(N_CLASSES, *shape)
        y = torch.randint(N_CLASSES, (n_rows + n_valid,))
        X = patterns[y] / 2 + torch.randn(n_rows + n_valid, *shape)
    checkpoints = [_train(module, X[:n_rows], y[:n_rows], step) for step in range(n_checkpoints)]
    rows, valid = slice(n_rows), slice(n_rows, None)
    return Case(module.eval(), checkpoints, X[rows], y[rows], X[valid], y[valid])


def _train(module, X, y, number, n_steps=8, batch_size=64):
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
    for step in range(n_steps):
        rows = (torch.arange(batch_size) + batch_size * (number * n_steps + step)) % len(y)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(X[rows]), y[rows]).backward()
        optimizer.step()
    return {name: value.clone() for name, value in module.state_dict().items()}


def own_copy(case):
    """A copy of the model that a library may change."""
    return deepcopy(case.module)


def problem_of(case, batch_size="auto"):
    """The case as our scorer takes it."""
    return Problem(
        module=case.module, X=case.X, y=case.y, n_classes=N_CLASSES, batch_size=batch_size
    )


def our_scores(case, problem, selected=None):
    """TracIn scores of all rows, shape (n_rows,), validation gradients included.

    Parameters
    ----------
    case : Case
    problem : Problem
    selected : Tensor of positions, optional
        The parameters that count; all if None.
    """
    probes = _probes(problem, case, validation_queries(problem, case), selected)
    return training_scores(problem, probes, given_only=True)[:, 0]


def validation_queries(problem, case):
    """One query: the mean loss over all validation rows."""
    groups = (torch.arange(len(case.y_valid)),)
    return Queries(problem, case.X_valid, case.y_valid, problem.row_loss.per_sample, groups)


def _probes(problem, case, queries, selected):
    buffer_names = problem.buffers.keys()
    for state in case.checkpoints:
        point = problem.layout.flatten(state)
        buffers = {name: state[name] for name in buffer_names}
        directions = queries.directions(point, buffers)
        if selected is not None:
            directions = directions * _mask(directions, selected)
        yield Probe(point, directions, buffers, rate=RATE)


def _mask(directions, selected):
    mask = torch.zeros_like(directions)
    mask[selected] = 1
    return mask


def linear_and_conv(module):
    """Positions of the parameters of Linear and Conv2d layers in the flat vector."""
    layout = ParameterLayout(module)
    names = [
        f"{name}.{own}" if name else own
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.Conv2d)
        for own, _ in part.named_parameters(recurse=False)
    ]
    return torch.cat([torch.arange(layout.slices[n].start, layout.slices[n].stop) for n in names])
