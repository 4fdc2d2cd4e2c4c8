"""skorch's nets with scikit-learn's contract, without SAM."""

from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from sam_attribution.training._any_targets import AnyTargets
from sam_attribution.training._class_labels import ClassLabels
from sam_attribution.training._conformant import Conformant
from sam_attribution.training._one_logit import OneLogit
from sam_attribution.training._real_targets import RealTargets


class ConformantNet(OneLogit, ClassLabels, Conformant, NeuralNetClassifier):
    """A skorch classifier that keeps scikit-learn's contract.

    Differences from skorch: input is validated, labels may be of any type, the user's module
    and the global random streams stay as they are, batch order is a pure function of the
    seed, rows may be weighted, and all rows are trained on (no silent validation split).

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        Instance (copied), class or factory; ``n_features`` and ``n_classes`` are passed if it
        names them. ``None`` builds a small ``MLP``.
    criterion : torch.nn.Module class or instance, default=CrossEntropyLoss
        With ``BCEWithLogitsLoss`` the module has one logit for two classes.
    random_state : int, RandomState instance or None, default=None
        ``None`` draws from the operating system.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the module and of floating-point input.
    train_split : callable, optional
        By default all rows are trained on.
    verbose : int, default=0
    iterator_train__shuffle : bool, default=True
    **kwargs : dict
        More parameters of skorch. `criterion` and those from `train_split` on are skorch's, too,
        some with other defaults.
    """

    _parameter_constraints = {"classes": ["array-like", None]}

    def __init__(self, module=None, *, criterion=nn.CrossEntropyLoss, **kwargs):
        super().__init__(module, criterion=criterion, **kwargs)


class ConformantRegressor(RealTargets, Conformant, NeuralNetRegressor):
    """A skorch regressor that keeps scikit-learn's contract.

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        As in :class:`ConformantNet`, with one output per row, shape (n_samples, 1);
        ``n_features`` and ``n_outputs`` are passed if it names them.
    criterion : torch.nn.Module class or instance, default=MSELoss
    **kwargs : dict
        The others of :class:`ConformantNet`.
    """

    def __init__(self, module=None, *, criterion=nn.MSELoss, **kwargs):
        super().__init__(module, criterion=criterion, **kwargs)


class ConformantAnyNet(AnyTargets, Conformant, NeuralNet):
    """A skorch net for any targets that keeps scikit-learn's contract.

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        As in :class:`ConformantNet`, with any output; ``n_features`` and ``n_outputs``, the
        numbers of a row's target, are passed if it names them.
    criterion : torch.nn.Module class or instance, or function, default=MSELoss
        With a value per row or more under ``reduction="none"``, or ``(output, y) -> (n,)``.
    **kwargs : dict
        The others of :class:`ConformantNet`.
    """

    def __init__(self, module=None, *, criterion=nn.MSELoss, predict_nonlinearity=None, **kwargs):
        super().__init__(
            module, criterion=criterion, predict_nonlinearity=predict_nonlinearity, **kwargs
        )
