"""SAMNet, the public net for any task."""

import torch
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from sam_attribution.training._net import ConformantAnyNet
from sam_attribution.training._sam_step import SAMMixin, arguments_in


class SAMNet(SAMMixin, ConformantAnyNet):
    """Neural network for any task, trained with Sharpness-Aware Minimization.

    Any module, any target, and any criterion with a value per row or more: several labels, soft
    labels, tokens, pixels, an autoencoder, several outputs. For classes use
    :class:`~sam_attribution.SAMClassifier`, for one number per row
    :class:`~sam_attribution.SAMRegressor`, which have more methods.

    Every step takes the gradient at ``w + eps``, where `eps` raises the batch's loss most within a
    ball of radius `rho` around the weights ``w``. The run is recorded, so it can be replayed and
    its training rows can be scored.

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        Instance (copied, never changed), class or factory of a module with any output: a tensor
        of shape (n_samples, ...), or several in a tuple, list or dict; of an output with
        ``logits``, as of Hugging Face, these are taken. ``n_features`` and
        ``n_outputs`` (the numbers of a row's target) are passed to those that name them. ``None``
        builds a network with one hidden layer from the data (``module__n_hidden=32``).
    rho : float or callable, default=0.05
        Radius of the ball; 0 is plain training. A function of the number of epochs so far, such as
        :class:`~sam_attribution.training.RhoSchedule`, is called before every step and must depend
        on that number only.
    perturbation : {"l2", "linf", "adaptive"} or object, default="l2"
        Norm of the ball, or an object with ``eps(w, g, rho)`` such as ``PNorm(p=3)``, whose
        parameters a grid search sets as ``perturbation__p``.
    m_sharpness : int, default=None
        Largest number of rows that share a perturbation. A batch is split into parts of at most
        that many rows, each part has its own perturbation, and the step takes the mean of the
        gradients found there. Batch norm and dropout see one part at a time. ``None`` uses one
        perturbation for the whole batch.
    trajectory : int, "all", "auto" or None, default="auto"
        Number of states to keep beside the first and the last. Training is split into as many equal
        stretches, and the state in the middle of each is kept; the states before the last tenth and
        twentieth are kept as well. ``"all"`` keeps every state, ``None`` none. ``"auto"`` keeps
        every state if they take at most 512 MiB in memory. Otherwise, with SGD without Nesterov, it
        keeps the weights of every state if these take at most that, with the momentum only in the
        states that 10 would keep, after a step at rate 0 or without momentum, and before a step at
        more than four times the last rate. In all other cases, and with `trajectory_dir`, it is 10.
        ``trajectory_.keep`` is ``"all"``, ``"weights"`` or 10. The schedule is always kept.
    trajectory_dir : path, optional
        Folder for the trajectory, one per run: states are written there and read when they are
        needed, and :meth:`resume` continues a run that was killed. By default states are kept in
        memory.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches and dropout masks. ``None`` draws it from the operating
        system.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the weights and of floating-point input.
    criterion : torch.nn.Module class or instance, or function, default=MSELoss
        A criterion with a value per row or more under ``reduction="none"``, called as torch does;
        or a function ``(output, y) -> (n_samples,)``, of which a lambda cannot be pickled. A
        row's loss is what the criterion gives for this row alone: the mean over its labels,
        tokens or pixels, without those whose target is ``ignore_index``; 0 if none is left.
    optimizer : torch.optim.Optimizer class, default=SGD
        Arguments as ``optimizer__momentum=0.9``.
    lr : float, default=0.1
    max_epochs : int, default=30
    batch_size : int, default=32
        Largest batch, ``-1`` for all rows. Batches of an epoch differ by one row at most.
    iterator_train, iterator_valid : DataLoader class
        Arguments as ``iterator_train__num_workers=2``.
    iterator_train__shuffle : bool, default=True
    dataset : skorch.dataset.Dataset class
    train_split : callable, optional
        A validation split such as ``skorch.dataset.ValidSplit(0.2)``. By default all rows are
        trained on.
    callbacks : list of skorch callbacks, optional
    predict_nonlinearity : callable, optional
        Function that ``predict`` applies to the module's output. By default none.
    warm_start : bool, default=False
    verbose : int, default=0
    device : str, default="cpu"
    compile : bool, default=False
    use_caching : bool or "auto", default="auto"
    torch_load_kwargs : dict, optional
        The parameters from `criterion` on are skorch's, some with other defaults.
    **kwargs : dict
        More skorch parameters with a double underscore.

    Attributes
    ----------
    n_features_in_ : int
    module_ : torch.nn.Module
        The trained network.
    trajectory_ : Trajectory
        Schedule and states of training.
    history : skorch.history.History

    Notes
    -----
    A batch's loss is the mean over its rows of their losses, weighted by `sample_weight`. So a long
    sequence counts as much as a short one, unlike in torch's mean over all tokens of a batch.
    ``score`` is the negative mean loss. Steps cost the same as in
    :class:`~sam_attribution.SAMClassifier`.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412 (m-sharpness: section 4.1).

    Examples
    --------
    >>> from sklearn.datasets import make_multilabel_classification
    >>> from sam_attribution import SAMNet
    >>> X, y = make_multilabel_classification(
    ...     n_features=5, n_classes=3, random_state=0
    ... )
    >>> net = SAMNet(criterion=torch.nn.BCEWithLogitsLoss, random_state=0).fit(
    ...     X / 10, y
    ... )
    >>> net.predict(
    ...     X[:4] / 10
    ... ).shape  # logits: a label is predicted where they are above 0
    (4, 3)
    """

    def __init__(
        self,
        module=None,
        *,
        rho=0.05,
        perturbation="l2",
        m_sharpness=None,
        trajectory="auto",
        trajectory_dir=None,
        random_state=None,
        dtype="float32",
        criterion=nn.MSELoss,
        optimizer=torch.optim.SGD,
        lr=0.1,
        max_epochs=30,
        batch_size=32,
        iterator_train=DataLoader,
        iterator_valid=DataLoader,
        iterator_train__shuffle=True,
        dataset=Dataset,
        train_split=None,
        callbacks=None,
        predict_nonlinearity=None,
        warm_start=False,
        verbose=0,
        device="cpu",
        compile=False,
        use_caching="auto",
        torch_load_kwargs=None,
        **kwargs,
    ):
        super().__init__(**arguments_in(locals()))
