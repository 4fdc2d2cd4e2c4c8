"""The same scores from other libraries, each with the settings that were fastest for it.

Every function gets a case and a batch size, makes what can be made beforehand, and returns a
function of no arguments that gives all scores in our unit and sign. A library is imported by the
function that takes it, so that the others run without it.
"""

import tempfile
from functools import partial

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.scoring.cases import RATE, own_copy


def vmap_grad(case, batch_size):
    """Row gradients in chunks by torch.func, contracted with the mean validation gradient."""
    module = own_copy(case)

    def loss(params, buffers, X, y):
        output = functional_call(module, (params, buffers), (X[None],))
        return nn.functional.cross_entropy(output, y[None])

    def mean_loss(params, buffers):
        output = functional_call(module, (params, buffers), (case.X_valid,))
        return nn.functional.cross_entropy(output, case.y_valid)

    row_gradients = vmap(grad(loss), in_dims=(None, None, 0, 0))
    names = [name for name, _ in module.named_parameters()]

    def at(state):
        params = {name: state[name] for name in names}
        buffers = {name: value for name, value in state.items() if name not in params}
        direction = grad(mean_loss)(params, buffers)
        parts = []
        for X, y in zip(case.X.split(batch_size), case.y.split(batch_size), strict=True):
            rows = row_gradients(params, buffers, X, y)
            parts.append(sum(rows[n].flatten(1) @ direction[n].flatten() for n in names))
        return torch.cat(parts)

    def scores():
        return RATE / len(case.y) * sum(at(state) for state in case.checkpoints)

    return scores


def captum(case, batch_size, fast):
    """TracInCP, aggregated over the validation rows: a sum, hence the scale.

    `fast` takes row gradients from activations and back-signals, of Linear and Conv2d only
    (``sample_wise_grads_per_batch``); otherwise rows go one by one through autograd.
    """
    from captum.influence import TracInCP

    tracin = TracInCP(
        own_copy(case),
        TensorDataset(case.X, case.y),
        case.checkpoints,
        checkpoints_load_func=_load_into,
        loss_fn=nn.CrossEntropyLoss(reduction="sum" if fast else "none"),
        batch_size=batch_size,
        sample_wise_grads_per_batch=fast,
        layers=_linear_and_conv_names(case.module) if fast else None,
    )
    valid = DataLoader(TensorDataset(case.X_valid, case.y_valid), batch_size=batch_size)

    def scores():
        return tracin.influence(valid, aggregate=True)[0].detach() * case.scale / RATE

    return scores


def _load_into(module, state):
    module.load_state_dict(state)
    return RATE  # captum multiplies by what comes back


def _linear_and_conv_names(module):
    return [n for n, part in module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]


def dattri(case, batch_size):
    """TracInAttributor, all validation rows as one test row, random projection switched off.

    Projection to 512 dimensions is its default and cannot be refused in the constructor; the
    test gradients are made again for every training batch.
    """
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    module = own_copy(case)

    def row_loss(params, data):
        output = functional_call(module, params, (data[0][None],))
        return nn.functional.cross_entropy(output, data[1][None])

    def mean_loss(params, data):
        return nn.functional.cross_entropy(functional_call(module, params, (data[0],)), data[1])

    task = AttributionTask(row_loss, module, case.checkpoints, target_func=mean_loss)
    weights = torch.full((len(case.checkpoints),), RATE)
    attributor = TracInAttributor(task, weights, normalized_grad=False)
    attributor.projector_kwargs = None
    train = DataLoader(TensorDataset(case.X, case.y), batch_size=batch_size)
    valid = DataLoader(TensorDataset(case.X_valid[None], case.y_valid[None]), batch_size=1)

    def scores():
        return attributor.attribute(train, valid)[:, 0] / len(case.y)

    return scores


def kronfluence(case, batch_size):
    """Pairwise scores with the identity in place of the Hessian, query gradients aggregated."""
    from kronfluence import ScoreArguments
    from kronfluence.utils.dataset import DataLoaderKwargs

    folder = tempfile.TemporaryDirectory()
    analyzers = [_analyzer(case, state, folder.name) for state in case.checkpoints]
    train, valid = TensorDataset(case.X, case.y), TensorDataset(case.X_valid, case.y_valid)

    def at(analyzer):
        analyzer.compute_pairwise_scores(
            scores_name="scores",
            factors_name="identity",
            query_dataset=valid,
            train_dataset=train,
            per_device_query_batch_size=batch_size,
            per_device_train_batch_size=batch_size,
            score_args=ScoreArguments(aggregate_query_gradients=True),
            dataloader_kwargs=DataLoaderKwargs(num_workers=0, pin_memory=False),
            overwrite_output_dir=True,
        )
        return analyzer.load_pairwise_scores("scores")["all_modules"][0]

    def scores(_keep=folder):
        return case.scale * sum(at(analyzer) for analyzer in analyzers)

    return scores


def _analyzer(case, state, folder):
    from kronfluence import Analyzer, FactorArguments, prepare_model

    module, task = own_copy(case), _cross_entropy_task()
    module.load_state_dict(state)
    analyzer = Analyzer(
        f"checkpoint{id(state)}",
        prepare_model(module, task),
        task,
        cpu=case.X.device.type == "cpu",
        disable_tqdm=True,
        output_dir=folder,
    )
    identity = FactorArguments(strategy="identity")
    analyzer.fit_all_factors("identity", TensorDataset(case.X, case.y), 64, factor_args=identity)
    return analyzer


def _cross_entropy_task():
    """Summed cross-entropy, asked of training and validation rows alike."""
    from kronfluence import Task

    class CrossEntropyTask(Task):
        def compute_train_loss(self, batch, model, sample=False):
            return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="sum")

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    return CrossEntropyTask()


PEERS = {
    "vmap(grad)": vmap_grad,
    "captum": partial(captum, fast=False),
    "captum fast": partial(captum, fast=True),
    "captum fast, 256 rows": partial(captum, fast=True),
    "dattri": dattri,
    "kronfluence": kronfluence,
}

# rows per batch to choose from. The row-by-row way goes through its whole batch for every row;
# 256 rows follow captum's documentation, which advises as many as fit in memory
SIZES = dict.fromkeys(PEERS, (8, 16, 64, 256)) | {
    "captum": (1, 8),
    "captum fast, 256 rows": (256,),
}
