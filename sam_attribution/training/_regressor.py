"""SAMRegressor, the public regressor."""

import torch
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import DataLoader

from sam_attribution.training._net import ConformantRegressor
from sam_attribution.training._sam_step import SAMMixin, arguments_in


class SAMRegressor(SAMMixin, ConformantRegressor):
    """Neural network regressor trained with Sharpness-Aware Minimization.

    Every step takes the gradient not at the weights ``w`` but at ``w + eps``, where `eps`
    raises the batch's loss most within a ball of radius `rho`. The run is recorded, so that
    it can be replayed and the influence of its training rows can be computed.

    Parameters
    ----------
    module : torch.nn.Module or callable, optional
        Instance (copied, never changed), class or factory of a module with one number per row,
        shape (n_samples, 1). ``n_features`` and ``n_outputs`` (1) are passed to those that name
        them. ``None`` builds a network with one hidden layer from the data
        (``module__n_hidden=32``).
    rho : float or callable, default=0.05
        Radius of the ball; 0 is plain training. A function of the number of epochs so far, such as
        :class:`~sam_attribution.training.RhoSchedule`, is asked before every step; it has to depend
        on that number alone.
    perturbation : {"l2", "linf", "adaptive"} or object, default="l2"
        Norm of the ball, or an object with ``eps(w, g, rho)`` such as ``PNorm(p=3)``, whose
        parameters a grid search sets as ``perturbation__p``.
    m_sharpness : int, default=None
        Largest number of rows that climb together. A batch is split into parts of that many rows
        at most, each climbs by its own gradient, and the step follows the mean of the gradients
        found there. Batch norm and dropout see one part at a time. ``None`` climbs with the whole
        batch.
    trajectory : int, "all", "auto" or None, default="auto"
        Number of states to keep beside the first and the last, each in the middle of one of as
        many equal stretches of training; those before the last tenth and twentieth are kept as
        well. ``"all"`` keeps every state, ``None`` none. ``"auto"`` keeps every state where they
        take up to 512 MiB in memory. Otherwise, with SGD without Nesterov, it keeps the weights
        of every state where those do, and the momentum only in the states that 10 would keep,
        after a step at rate 0 or without momentum, and before one at more than four times the
        rate of the last. Where so many do not fit, it goes on with 10. Otherwise, and with
        `trajectory_dir`, it is 10. ``trajectory_.keep`` says which: ``"all"``, ``"weights"`` or
        10. The schedule is always kept.
    trajectory_dir : path, optional
        Folder for the trajectory, one per run: states are written there and read when they are
        needed, and :meth:`resume` continues a run that was killed. By default states are kept in
        memory.
    random_state : int, RandomState instance or None, default=None
        Seed of initial weights, batches and dropout masks. ``None`` draws it from the operating
        system.
    dtype : {"float32", "float64"}, default="float32"
        Precision of the weights and of floating-point input.
    criterion : torch.nn.Module class or instance, default=MSELoss
        The squared error of a row is ``(f(x) - y)^2``, without a half. Any other with a value
        per row works: ``L1Loss``, ``HuberLoss``, ``SmoothL1Loss``.
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
    A step costs two gradients. With ``trajectory=K`` there are up to K + 4 kept states of weights,
    buffers and optimizer state: with SGD 4 bytes per float32 parameter, with momentum 8, with
    Adam 12. In a folder each is a file of that size and a few KiB, and there is one checkpoint
    more, rewritten after every epoch; the schedule takes 8 bytes per row and epoch. Two copies of
    one state are in memory while it is written.

    References
    ----------
    Foret et al., Sharpness-Aware Minimization, arXiv:2010.01412 (m-sharpness: section 4.1).

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import scale
    >>> from sam_attribution import SAMRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = scale(X), scale(y)  # both to about unit size: the rate is made for that
    >>> reg = SAMRegressor(random_state=0).fit(X[:300], y[:300])
    >>> reg.predict(X[300:]).shape
    (142,)
    >>> bool(reg.score(X[300:], y[300:]) > 0.4)
    True
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
        predict_nonlinearity="auto",
        warm_start=False,
        verbose=0,
        device="cpu",
        compile=False,
        use_caching="auto",
        torch_load_kwargs=None,
        **kwargs,
    ):
        super().__init__(**arguments_in(locals()))
