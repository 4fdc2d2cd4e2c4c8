"""Networks that were trained elsewhere, as fitted nets: no step is taken."""

import copy
from numbers import Real

import torch
from torch import nn

from sam_attribution._row_source import RowSource
from sam_attribution._rows import with_own_targets
from sam_attribution._turns import exclusive
from sam_attribution._validation import Interval, check_arguments, check_parameters, num_samples
from sam_attribution.training._adopted import Adopted, is_adopted
from sam_attribution.training._components import check_components, check_device, checked_module
from sam_attribution.training._flat_module import FlatModule
from sam_attribution.training._given_checkpoints import checked_checkpoints
from sam_attribution.training._output_form import leaves_of
from sam_attribution.training._random import untouched_random_state
from sam_attribution.training._saved_weights import SavedWeights
from sam_attribution.training._trajectory import DataFingerprint
from sam_attribution.training._wrappers import inner_module

_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
_RECORDED = ("trajectory", "trajectory_dir")
_RULES = {
    "rho": [Interval(Real, 0, None, closed="left")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "lr": [Interval(Real, 0, None, closed="left"), None],
}


class AdoptingMixin:
    """The part of a net that takes a network trained elsewhere, and keeps it as it is."""

    _is_adopted = property(is_adopted)

    @classmethod
    @exclusive()
    def from_module(
        cls,
        module,
        X,
        y=None,
        *,
        classes=None,
        checkpoints=None,
        rho=0.0,
        weight_decay=0.0,
        lr=None,
        sample_weight=None,
        **settings,
    ):
        """Return a fitted net around a network that was trained elsewhere; no step is taken.

        ``SAMInfluence``, ``MislabelDetector`` and ``compare`` take it without a
        ``FrozenEstimator``. Their `validation` must be ``ValidationData``.

        Parameters
        ----------
        module : torch.nn.Module
            Trained network. It does not change; the net holds a copy in memory. Parameters with
            ``requires_grad=False`` are not attributed.
        X, y : array-like
            Rows that it was trained on, as ``fit`` takes them: `X` may be a Dataset, with its own
            labels if `y` is None. Pass the same rows to ``SAMInfluence``.
        classes : array-like of shape (n_classes,), optional
            Label of each logit, in the order of the logits. None takes the sorted labels of `y`.
        checkpoints : list of Checkpoint, optional
            Weights during the training, in its order, see
            :class:`~sam_attribution.training.Checkpoint`. Methods such as "gif", "tracin" and
            "self-influence" need them. ``MislabelDetector`` ranks better with them; without any, it
            takes the final weights.
        rho : float, default=0.0
            Radius of SAM's perturbation at the end of training; 0 is plain training.
        weight_decay : float, default=0.0
            As in ``torch.optim.SGD``: the loss has ``weight_decay / 2 * ||w||^2`` added.
        lr : float, optional
            Learning rate at the end of training, for ``FurtherTraining`` and
            ``SAMInfluence.diagnose``.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows in training.
        **settings : dict
            Other parameters of this class, such as `criterion`, `perturbation`, `batch_size` or
            `optimizer`. `device` and `dtype` are by default those of `module`.

        Returns
        -------
        net : instance of this class
            It predicts what `module` predicts in evaluation mode. It cannot be trained: ``fit``
            and ``partial_fit`` raise, and ``sklearn.base.clone`` returns the net itself, as it
            does for a ``FrozenEstimator``.

        Raises
        ------
        TypeError, ValueError
            If `module` is no module, or the numbers of logits and labels differ; if a file of
            `checkpoints` is missing or of another network; for wrong settings.

        Notes
        -----
        Methods that need the recorded steps raise an error: "unrolled", "unrolled-segments",
        "integrated-unrolled", "loo" and ``replay``. One batch goes through the network, and of each
        checkpoint in a file names and shapes are read.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_iris
        >>> from sam_attribution import SAMClassifier, SAMInfluence, ValidationData
        >>> X, y = load_iris(return_X_y=True)
        >>> module = torch.nn.Linear(4, 3)  # trained by any loop
        >>> net = SAMClassifier.from_module(module, X[::2], y[::2], weight_decay=0.01)
        >>> held_out = ValidationData(X[1::2], y[1::2])
        >>> influence = SAMInfluence(net, method="grad-dot", validation=held_out)
        >>> influence.fit(X[::2], y[::2]).scores_.shape
        (75,)
        """
        check_arguments(_RULES, "from_module", rho=rho, weight_decay=weight_decay, lr=lr)
        module = _checked_module(module)
        settings = _with_defaults(settings, module, weight_decay, lr)
        net = cls(module, rho=rho, **settings)
        data = net._adopt(X, y, sample_weight, classes)
        net.trajectory_ = net._record_of_adoption(data, checkpoints, lr)
        return net

    def _adopt(self, X, y, sample_weight, classes):
        """Make everything that ``fit`` makes, without a step; return the validated data."""
        check_parameters(self)
        check_device(self.device)
        check_components(self)
        X, y = with_own_targets(X, y, verbose=self.verbose)
        self._note_labels(classes, y)
        X, y, weight = self._fit_inputs(X, y, sample_weight, classes, True)
        self.initialize()
        X = X.seeded(self._seed) if isinstance(X, RowSource) else X
        self.module_.zero_grad(set_to_none=True)  # of the user's last step
        FlatModule(self.module_)  # raises without a parameter to attribute
        self._check_one_batch(X, y)
        return X, y, weight

    def _check_one_batch(self, X, y):
        """Raise for an output that the criterion does not take, as training would."""
        with untouched_random_state(self.module_device), torch.no_grad():
            output = next(iter(self.forward_iter(X, device=self.module_device)))
            self.get_loss(output, torch.as_tensor(y[: len(leaves_of(output)[0])]))

    def _record_of_adoption(self, data, checkpoints, rate):
        checkpoints = checked_checkpoints(checkpoints, num_samples(data[0]))
        reader = SavedWeights(inner_module(self.module_))
        for number, checkpoint in enumerate(checkpoints):
            reader.check(checkpoint.state, f"checkpoints[{number}]")
        adopted = Adopted(type(self).__name__, self._seed, checkpoints, self.rho, rate)
        adopted.begin(DataFingerprint.of(*data), copy.deepcopy(self.perturbation))
        adopted.note_names(FlatModule(self.module_).layout.names)
        adopted.note_criterion(self.criterion_)
        return adopted

    def _train(self, *args, **kwargs):
        self._refuse_if_adopted("fit and partial_fit")
        return super()._train(*args, **kwargs)

    @property
    def _is_fixed(self):
        """True if no parameter can be set, as no seed is drawn any more."""
        return is_adopted(self)

    def set_params(self, **params):
        if params:
            self._refuse_if_adopted(f"set_params({', '.join(params)})")
        return super().set_params(**params)

    def __sklearn_clone__(self):
        return self if is_adopted(self) else super().__sklearn_clone__()

    def _refuse_if_adopted(self, what):
        if is_adopted(self):
            name = type(self).__name__
            raise ValueError(
                f"{what} would change a net of {name}.from_module, which keeps the network as it "
                f"was adopted. Call {name}.from_module again, or train with "
                f"{name}(module).fit(X, y), which starts from the weights of module."
            )


def _checked_module(module):
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"module must be a trained torch.nn.Module, got {type(module).__name__}. Load weights "
            "into one: module.load_state_dict(torch.load(path, weights_only=True))."
        )
    return checked_module(inner_module(module))


def _with_defaults(settings, module, weight_decay, lr):
    """Settings of the constructor, with what the module and the arguments say."""
    if strange := [n for n in settings if n in _RECORDED or n.startswith("module__")]:
        raise TypeError(
            f"from_module has no parameter {strange[0]}: it adopts a trained module and records "
            "nothing."
        )
    if weight_decay and "optimizer__weight_decay" in settings:
        raise TypeError("weight_decay and optimizer__weight_decay are the same: pass one of them.")
    found = {"device": _device_of(module)} if "device" not in settings else {}
    if "dtype" not in settings:
        found["dtype"] = _dtype_of(module)
    if weight_decay:
        found["optimizer__weight_decay"] = weight_decay
    return settings | found | ({} if lr is None else {"lr": lr})


def _device_of(module):
    devices = {str(p.device) for p in module.parameters()}
    if len(devices) > 1:
        raise ValueError(
            f"module is on several devices, {', '.join(sorted(devices))}. Move it to one, or pass "
            "device."
        )
    return devices.pop() if devices else "cpu"


def _dtype_of(module):
    tensors = [*module.parameters(), *module.buffers()]
    types = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(types) == 1 and types <= _DTYPES.keys():
        return _DTYPES[types.pop()]
    if not types:
        return "float32"
    names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in types))
    raise ValueError(
        f"module has numbers in {names}, and scores are computed in float32 or float64. Pass "
        'dtype="float32" to adopt a copy that is cast.'
    )
