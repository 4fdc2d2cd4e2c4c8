"""SAMClassifier, the public classifier."""

import torch
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from sam_attribution.training._net import ConformantNet
from sam_attribution.training._sam_step import SAMMixin, arguments_in


class SAMClassifier(SAMMixin, ConformantNet):
    """Neural network classifier trained with Sharpness-Aware Minimization.

    Every step takes the gradient at ``w + eps``, where `eps` raises the batch's loss most within a
    ball of radius `rho` around the weights ``w``. The run is recorded, so it can be replayed and
    its training rows can be scored.

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        Instance (copied, never changed), class or factory of a module with one logit per class.
        ``n_features`` and ``n_classes`` are passed to those that name them. ``None`` builds
        a network with one hidden layer from the data (``module__n_hidden=32``).
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
    criterion : torch.nn.Module class or instance, default=CrossEntropyLoss
        ``BCEWithLogitsLoss`` is for two classes and a module with one logit, that of the second
        of ``classes_``, shape (n_samples,) or (n_samples, 1). Scores are those of the logits
        (0, z), which evaluation functions get.
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
    predict_nonlinearity : callable or "auto", default="auto"
    warm_start : bool, default=False
    verbose : int, default=0
    device : str, default="cpu"
    compile : bool, default=False
    use_caching : bool or "auto", default="auto"
    torch_load_kwargs : dict, optional
    classes : list, optional
        All labels, if they are not those of ``fit``. The parameters from `criterion` on are
        skorch's, some with other defaults.
    **kwargs : dict
        More skorch parameters with a double underscore.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    module_ : torch.nn.Module
        The trained network.
    trajectory_ : Trajectory
        Schedule and states of training.
    history : skorch.history.History

    Notes
    -----
    A step costs two gradients. ``trajectory=K`` keeps up to K + 4 states of weights, buffers and
    optimizer state: 4 bytes per float32 parameter with SGD, 8 with momentum, 12 with Adam. In a
    folder each is a file of that size and a few KiB, and there is one checkpoint more, rewritten
    after every epoch; the schedule takes 8 bytes per row and epoch. Two copies of one state are in
    memory while it is written.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412 (m-sharpness: section 4.1).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sam_attribution import SAMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = SAMClassifier(rho=0.05, random_state=0).fit(X[:1000] / 16, y[:1000])
    >>> bool(clf.score(X[1000:] / 16, y[1000:]) > 0.9)
    True
    >>> clf.trajectory_.n_steps
    960
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
        criterion=nn.CrossEntropyLoss,
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
        predict_nonlinearity="auto",
        warm_start=False,
        verbose=0,
        device="cpu",
        compile=False,
        use_caching="auto",
        torch_load_kwargs=None,
        classes=None,
        **kwargs,
    ):
        super().__init__(**arguments_in(locals()))
