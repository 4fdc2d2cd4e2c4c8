"""Build a Problem from a fitted estimator: the last place where skorch appears."""

from copy import deepcopy

import torch
from sklearn.base import is_classifier, is_regressor
from torch import nn
from torch.utils.data import default_collate

from sam_attribution._row_source import RowSource
from sam_attribution._rows import DatasetRows, device_of, is_dataset
from sam_attribution.parameters import ParameterLayout
from sam_attribution.problem._adopted_path import AdoptedPath
from sam_attribution.problem._finite import check_losses_are_finite
from sam_attribution.problem._head import Head
from sam_attribution.problem._module_checks import mark_as_checked
from sam_attribution.problem._network_without_rows import NetworkWithoutRows
from sam_attribution.problem._one_logit import OneLogitRows
from sam_attribution.problem._output_rows import OutputRows
from sam_attribution.problem._path import TrainingPath
from sam_attribution.problem._problem import Problem
from sam_attribution.problem._row_loss import CrossEntropyRows, GenericRows, TargetRows
from sam_attribution.problem._selection import selection
from sam_attribution.problem._training_to_come import TrainingToCome
from sam_attribution.training import (
    OutputForm,
    bare_copy,
    check_precision,
    check_unchanged,
    has_one_logit,
    inner_module,
    is_adopted,
    last_radius,
    module_output,
    unreduced,
    untouched_random_state,
)


def problem_from_estimator(
    estimator,
    X,
    y,
    sample_weight=None,
    *,
    parameters="all",
    batch_size="auto",
    positions=None,
    n_given=None,
    differentiated=True,
    checked=False,
):
    """Freeze a fitted estimator, left untouched, and the rows it was trained on.

    Parameters
    ----------
    estimator : SAMClassifier, SAMRegressor or SAMNet
    X, y, sample_weight : array-like
        Exactly what it was fitted on; a ValueError otherwise, and if parameters, or the losses
        of rows, are not finite.
    parameters : {"all", "head"}, str or list of str, default="all"
        The parameters that are attributed: all, those of the last linear layer, or those whose
        names match shell-style patterns, without those that match a pattern after "!".
    batch_size : int or "auto", default="auto"
        Rows per forward pass.
    positions, n_given, differentiated : optional
        As for :class:`Problem`.
    checked : bool, default=False
        True if the same module has passed the checks of a few rows with other weights.
    """
    check_precision(estimator)
    estimator.trajectory_.check_data(*estimator.as_trained(X, y, sample_weight))
    check_unchanged(estimator)
    _check_training(estimator)
    _check_collate_fn(estimator, X)
    rows, targets = estimator.to_tensors(X, y)
    model = _model(estimator, rows, parameters)
    if checked:
        mark_as_checked(model["module"])
    kind = AdoptedPath if is_adopted(estimator) else TrainingPath
    path = kind(estimator, X, y, sample_weight, ParameterLayout(model["module"]))
    if isinstance(rows, RowSource):  # the final model is judged by the rows of its last epoch
        rows = rows.at_epoch(path.epoch_of(path.n_steps) or 0)
    weights = None if sample_weight is None else torch.as_tensor(sample_weight, device=rows.device)
    problem = Problem(
        **model,
        X=rows,
        y=targets,
        sample_weight=None if weights is None else weights.to(path.dtype),
        weight_decay=path.spread([g.get("weight_decay", 0.0) for g in path.group_settings]),
        visited=_visited(path, targets),
        rho=path.rho,
        perturbation=estimator.trajectory_.perturbation,
        m_sharpness=path.m_sharpness,
        path=path,
        batch_size=batch_size,
        positions=None if positions is None else torch.as_tensor(positions, device=rows.device),
        n_given=n_given,
        differentiated=differentiated,
    )
    check_losses_are_finite(problem)
    return problem


def _check_collate_fn(estimator, X):
    """Raise a ValueError for arrays that a function makes other batches of, which scores miss."""
    collate_fn = estimator.get_params_for("iterator_train").get("collate_fn")
    if collate_fn in (None, default_collate) or isinstance(X, DatasetRows) or is_dataset(X):
        return
    raise ValueError(
        "iterator_train__collate_fn makes the batches of training, but scores read an array X "
        "without it. Pass X as a Dataset of pairs (x, y)."
    )


def network_of(estimator, some):
    """The :class:`NetworkWithoutRows` of a fitted estimator, to be asked about rows like `some`."""
    model = _model(estimator, some, "all")
    return NetworkWithoutRows(model["module"], model["row_loss"], some)


def problem_before_training(untrained, *, parameters="all", differentiated=True):
    """The problem of a few rows and of what ``training.untrained`` made; it has no path.

    Of several weight decays it has the largest.
    """
    net = untrained.net
    decays = [group.get("weight_decay", 0.0) for group in net.optimizer_.param_groups]
    model, weights = _model(net, untrained.X, parameters), untrained.sample_weight
    w = ParameterLayout(model["module"]).vector_of(model["module"])
    return Problem(
        **model,
        X=untrained.X,
        y=untrained.targets,
        sample_weight=None if weights is None else torch.as_tensor(weights).to(w),
        weight_decay=float(max(decays)),
        rho=last_radius(net),
        perturbation=net.perturbation,
        m_sharpness=net.m_sharpness,
        to_come=TrainingToCome.of(net),
        differentiated=differentiated,
    )


def problem_from_another_seed(problem, seed):
    """The problem of the same estimator, fitted again from another seed.

    Costs one training. All parameters are attributed.
    """
    return problem_from_estimator(
        *problem.path.trained_again(seed),
        batch_size=problem.batch_size,
        positions=problem.positions,
        n_given=problem.n_given,
        checked=True,
    )


def _model(estimator, X, parameters):
    """Attributes of a Problem that follow from module and criterion, and the form of an output."""
    module = _with_dense_gradients(inner_module(bare_copy(estimator.module_)).eval())
    layout = ParameterLayout(module)
    is_head = isinstance(parameters, str) and parameters == "head"
    head = Head(module, layout) if is_head else None
    return {
        "module": module,
        "n_classes": len(estimator.classes_) if is_classifier(estimator) else None,
        "row_loss": _row_loss(estimator, module, X),
        "selected": selection(parameters, layout, head),
        "head": head,
    }


def _with_dense_gradients(module):
    """The module, whose embeddings no longer store gradients as sparse tensors."""
    for part in module.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            part.sparse = False
    return module


def _row_loss(estimator, module, X):
    criterion = inner_module(deepcopy(estimator.criterion_))
    if not (is_classifier(estimator) or is_regressor(estimator)):
        return OutputRows(criterion, _output_form(module, X[:1]))
    criterion = unreduced(criterion)  # refuses what has no loss per row
    if not is_classifier(estimator):
        return TargetRows() if type(criterion) is nn.MSELoss else TargetRows(criterion)
    if type(criterion) is nn.CrossEntropyLoss:
        return CrossEntropyRows(criterion.label_smoothing, criterion.weight)
    return OneLogitRows(criterion) if has_one_logit(criterion) else GenericRows(criterion)


def _output_form(module, some):
    """Form of the module's output for rows `some`."""
    with torch.no_grad(), untouched_random_state(device_of(some)):
        return OutputForm(module_output(module, some))


def _visited(path, targets):
    mask = torch.zeros(len(targets), dtype=torch.bool, device=targets.device)
    mask[torch.as_tensor(path.visited, device=targets.device)] = True
    return mask


def _check_training(estimator):
    taken = is_adopted(estimator) or any(not s.skipped for s in estimator.trajectory_.schedule)
    if not taken and estimator.trajectory_.broken:
        raise ValueError(f"The recorded trajectory cannot be used: {estimator.trajectory_.broken}.")
    if not taken:
        raise ValueError("the estimator made no training step, so no row had an influence.")
    if any(group.get("maximize") for group in estimator.optimizer_.param_groups):
        raise ValueError(
            "optimizer__maximize must be False, got True: scores are defined for a training "
            "that minimises the loss."
        )
