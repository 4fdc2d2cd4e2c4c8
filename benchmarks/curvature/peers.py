"""Damped influence from other libraries, in our unit and sign: (n_queries, n_rows) each.

They get a module of their own, since kronfluence freezes and wraps what it is given.
"""

import tempfile
from copy import deepcopy

import torch
from kronfluence import Analyzer, FactorArguments, ScoreArguments, Task, prepare_model
from kronfluence.utils.dataset import DataLoaderKwargs
from pydvl.influence.torch import (
    ArnoldiInfluence,
    BlockMode,
    CgInfluence,
    DirectInfluence,
    InverseHarmonicMeanInfluence,
    SecondOrderMode,
)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_DOUBLE = torch.float64
_FACTORS = {
    f"{name}_dtype": _DOUBLE
    for name in (
        *("activation_covariance", "gradient_covariance", "eigendecomposition"),
        *("per_sample_gradient", "lambda"),
    )
}
_SCORES = {f"{name}_dtype": _DOUBLE for name in ("per_sample_gradient", "precondition", "score")}


class _DrawnLabels(Task):
    """Summed cross-entropy; for the factors one label per row, drawn from the probabilities."""

    def compute_train_loss(self, batch, model, sample=False):
        """Loss of training rows, or of labels drawn from the global stream."""
        logits, y = model(batch[0]), batch[1]
        if sample:
            y = torch.multinomial(logits.detach().softmax(1), 1)[:, 0]
        return nn.functional.cross_entropy(logits, y, reduction="sum")

    def compute_measurement(self, batch, model):
        """Loss of queries."""
        return self.compute_train_loss(batch, model)


class _AllLabels(_DrawnLabels):
    """For the factors every label in turn, by its probability: no draws, the exact expectation."""

    def __init__(self, n_classes):
        super().__init__()
        self._n_classes = n_classes

    def compute_train_loss(self, batch, model, sample=False):
        """Loss of training rows, or of the labels that the data set of the factors holds."""
        if not sample:
            return super().compute_train_loss(batch, model)
        logits, y = model(batch[0]), batch[1]
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        # gradients count squared, and in a mean over rows and labels
        return (self._n_classes * torch.exp(-losses.detach())).sqrt() @ losses


def kronfluence(module, train, queries, damping, *, n_classes=None, seed=0):
    """EK-FAC of kronfluence; labels drawn once per row, or all of `n_classes`."""
    torch.manual_seed(seed)  # kronfluence has no seed of its own
    task = _DrawnLabels() if n_classes is None else _AllLabels(n_classes)
    with tempfile.TemporaryDirectory() as folder:
        model = prepare_model(deepcopy(module), task)
        analyzer = Analyzer("peer", model, task, cpu=True, disable_tqdm=True, output_dir=folder)
        analyzer.set_dataloader_kwargs(DataLoaderKwargs(num_workers=0, pin_memory=False))
        analyzer.fit_all_factors(
            "ekfac",
            TensorDataset(*(train if n_classes is None else _with_every_label(train, n_classes))),
            per_device_batch_size=250,
            factor_args=FactorArguments("ekfac", **_FACTORS),
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "ekfac",
            TensorDataset(*queries),
            TensorDataset(*train),
            per_device_query_batch_size=len(queries[1]),
            per_device_train_batch_size=250,
            score_args=ScoreArguments(damping_factor=damping, **_SCORES),
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    return scores / len(train[1])  # the sign is ours; it leaves out the 1/n of a row


def _with_every_label(train, n_classes):
    X, y = train
    return X.repeat_interleave(n_classes, 0), torch.arange(n_classes).repeat(len(y))


def _pydvl(influence, train, queries, batch_size=None):
    rows = TensorDataset(*train)
    fitted = influence.fit(DataLoader(rows, batch_size=batch_size or len(rows)))
    # the sign is ours; the product leaves out the 1/n of a row
    return fitted.influences(*queries, *train).detach() / len(rows)


_LOSS = nn.functional.cross_entropy


def pydvl_fisher(module, train, queries, damping):
    """Dense solve with the empirical Fisher matrix, which pyDVL calls Gauss-Newton.

    Its mean divides by the number of parameters, once for each batch but the first (all rows in one
    batch give NaN): with two batches the matrix is n / n_params of what it should be. Damped in
    proportion and brought back, the scores are those of the mean.
    """
    share = len(train[1]) / sum(p.numel() for p in module.parameters())
    influence = DirectInfluence(
        deepcopy(module), _LOSS, share * damping, second_order_mode=SecondOrderMode.GAUSS_NEWTON
    )
    return share * _pydvl(influence, train, queries, len(train[1]) // 2)


def pydvl_cg(module, train, queries, damping, **settings):
    """Conjugate gradients with the Hessian."""
    influence = CgInfluence(deepcopy(module), _LOSS, damping, **settings)
    return _pydvl(influence, train, queries)


def pydvl_arnoldi(module, train, queries, damping, n_steps, rank):
    """The `rank` outermost eigenvectors from a Krylov space of `n_steps` vectors."""
    influence = ArnoldiInfluence(
        deepcopy(module), _LOSS, damping, rank=rank, krylov_dimension=n_steps
    )
    return _pydvl(influence, train, queries)


def pydvl_datainf(module, train, queries, damping, batch_size=None):
    """DataInf, which pyDVL calls the inverse harmonic mean, parameter by parameter."""
    influence = InverseHarmonicMeanInfluence(
        deepcopy(module), _LOSS, damping, block_structure=BlockMode.PARAMETER_WISE
    )
    return _pydvl(influence, train, queries, batch_size)
