"""scikit-learn's contract for skorch nets. SAM is not part of this file."""

from numbers import Integral, Real

import torch
from sklearn.base import BaseEstimator

from sam_attribution._printing import Printed
from sam_attribution._row_source import RowSource, each_tensor
from sam_attribution._rows import tensors_in, with_own_targets
from sam_attribution._turns import exclusive
from sam_attribution._validation import Interval, Options, StrOptions, check_parameters, forget_fit
from sam_attribution.training._batch_order import ScheduledBatches
from sam_attribution.training._callbacks import raised_by_callback
from sam_attribution.training._components import check_components, check_device
from sam_attribution.training._copies import shallow_copy
from sam_attribution.training._data import (
    SourceDataset,
    can_be_indexed,
    indexed_loader,
    reads_source,
)
from sam_attribution.training._input_size import naming_input_size
from sam_attribution.training._inputs import ArrayInputs
from sam_attribution.training._losses import (
    check_graph,
    check_output,
    checked_loss,
    class_weight,
    divides_by_class_weight,
    loss_per_sample,
)
from sam_attribution.training._module_builder import ModuleBuilder
from sam_attribution.training._module_call import arguments_for, output_tensor
from sam_attribution.training._monitors import check_monitors, naming_monitored
from sam_attribution.training._own_steps import step_passed_by
from sam_attribution.training._precision import check_precision, naming_precision
from sam_attribution.training._random import derived_seed, isolated_random_state
from sam_attribution.training._whole_numbers import naming_whole_numbers


def _private(name):
    """Property stored under a private name: a constructor must set no attribute ending in _."""
    return property(
        lambda self: getattr(self, name),
        lambda self, value: setattr(self, name, value),
    )


class Conformant(Printed, ArrayInputs, ModuleBuilder):
    """Mixin before a skorch net that makes it keep scikit-learn's contract.

    Differences from skorch: input is validated, the user's module and the global random streams
    stay as they are, batch order is a pure function of the seed, rows may be weighted, all rows
    are trained on (no silent validation split), and Ctrl-C raises.
    """

    _parameter_constraints = {
        "random_state": ["random_state"],
        "dtype": [StrOptions({"float32", "float64"})],
        "lr": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), Options(Integral, {-1})],
        "module": [callable, None],
        "criterion": [callable],
        "optimizer": [callable],
        "iterator_train": [callable],
        "iterator_valid": [callable],
        "iterator_train__shuffle": ["boolean"],
        "dataset": [callable],
        "train_split": [callable, None],
        "callbacks": [list, StrOptions({"disable"}), None],
        "predict_nonlinearity": [callable, StrOptions({"auto"}), None],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "device": [str, torch.device, None],
        "compile": ["boolean"],
        "use_caching": ["boolean", StrOptions({"auto"})],
        "torch_load_kwargs": [dict, None],
    }

    history_ = _private("_history")
    initialized_ = _private("_initialized")
    virtual_params_ = _private("_virtual_params")

    _in_training = False
    _sample_weight = None
    _batch_weight = None
    _row_weights = None  # of a training that is repeated without some rows

    def __init__(
        self,
        module=None,
        *,
        random_state=None,
        dtype="float32",
        train_split=None,
        verbose=0,
        iterator_train__shuffle=True,
        **kwargs,
    ):
        super().__init__(
            module,
            train_split=train_split,
            verbose=verbose,
            iterator_train__shuffle=iterator_train__shuffle,
            **kwargs,
        )
        self.random_state = random_state
        self.dtype = dtype

    def __init_subclass__(cls, **kwargs):
        """Merge the constraint tables of all bases, each of which has its own parameters only."""
        super().__init_subclass__(**kwargs)
        tables = [vars(base).get("_parameter_constraints", {}) for base in reversed(cls.__mro__)]
        cls._parameter_constraints = {k: rule for table in tables for k, rule in table.items()}

    # this function itself, by which scikit-learn knows what to indent inside a pipeline
    __repr__ = BaseEstimator.__repr__

    def _get_params_html(self, deep=True, *args, **kwargs):
        """Parameters as a notebook shows them; `deep` would add those of skorch's callbacks."""
        return super()._get_params_html(False, *args, **kwargs)

    def _get_param_names(self):
        return [name for name in super()._get_param_names() if not name.startswith("_")]

    def set_params(self, **params):
        """Set parameters; ``fit`` checks their values."""
        if "callbacks" in params and not self.initialized_:
            self.callbacks = params.pop("callbacks")  # skorch would build them at once
        return super().set_params(**params)

    def fit(self, X, y=None, sample_weight=None, **fit_params):
        """Train from scratch (or go on, with ``warm_start=True``).

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, ...), tensor, dict, tuple or Dataset
            A dict of arrays goes to ``forward`` by names, a tuple of arrays as several arguments.
            Memory maps, dicts, tuples and Datasets are read batch by batch.
        y : array-like of shape (n_samples,)
            Labels of any type; of a regressor real numbers. None takes those of a Dataset.
        sample_weight : array-like of shape (n_samples,), optional
            A batch's loss is ``sum(weight * loss) / sum(weight)``.
        **fit_params : dict
            Passed to the module's ``forward``.

        Returns
        -------
        self

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C. The net stays as trained as it is: it predicts, ``partial_fit`` goes on.
            A callback that raises it, as ``EarlyStopping`` does, ends training without an error.
        """
        afresh = not (self.warm_start and self.initialized_)
        return self._train(X, y, sample_weight, afresh=afresh, **fit_params)

    @exclusive()
    def _train(self, X, y, sample_weight, *, afresh, classes=None, **fit_params):
        check_parameters(self)
        check_device(self.device)
        check_components(self)
        if afresh:
            forget_fit(self)
            self.initialized_ = False
        X, codes, weight = self._fit_inputs(X, y, sample_weight, classes, afresh)
        if afresh:
            self.initialize()
        else:
            check_precision(self)
        check_monitors(self)
        if isinstance(X, RowSource):
            X = X.seeded(self._seed)
        seed = derived_seed(self._seed, len(self.history))
        with isolated_random_state(seed, self.module_device):
            self._in_training, self._sample_weight = True, weight
            try:
                self._train_until_stopped(X, codes, **fit_params)
            finally:
                self._in_training, self._sample_weight, self._batch_weight = False, None, None
        return self

    def _train_until_stopped(self, X, codes, **fit_params):
        """Train as skorch's ``partial_fit`` does, which would end on Ctrl-C without an error."""
        self.notify("on_train_begin", X=X, y=codes)
        try:
            with naming_monitored(self):
                self.fit_loop(X, codes, **fit_params)
        except KeyboardInterrupt as error:
            if not raised_by_callback(error):
                raise
        self.notify("on_train_end", X=X, y=codes)

    def __getstate__(self):
        """State for pickle.

        skorch pickles tensors in a stream of their own, so that a machine without CUDA can load
        them. A net on the CPU does not need it, and in that stream a class defined in a notebook is
        pickled by its name, which another process does not know.
        """
        if self.device is None or torch.device(self.device).type != "cpu":
            return super().__getstate__()
        net = shallow_copy(self)
        net.cuda_dependent_attributes_ = []
        state = super(Conformant, net).__getstate__()
        del state["cuda_dependent_attributes_"]
        return {**state, **vars(self)}

    def infer(self, x, **fit_params):
        """Output of the module for a batch; raise if its shape is wrong."""
        x = _moved_to(x, self.device)
        before = _versions(x)
        with naming_whole_numbers(x), naming_input_size(x), naming_precision(self):
            if isinstance(x, tuple):
                args, _ = arguments_for(self.module_, x)
                output = self.module_(*args, **fit_params)
            else:
                output = super().infer(x, **fit_params)
        output = output_tensor(output)
        if _versions(x) != before:
            raise ValueError(
                "module changes its input in place, but SAM's second pass and scoring read it "
                "again. Use inplace=False in its first layer, or work on x.clone()."
            )
        self._check_outputs(output[0] if isinstance(output, tuple) else output)
        return output

    def check_data(self, X, y):
        """Do nothing: ``fit`` and ``predict`` have checked the data."""

    def train_step(self, batch, **fit_params):
        """One optimizer step, the batch's rows weighted by `sample_weight`."""
        # not in train_step_single, which accelerate replaces
        if self._sample_weight is not None:
            self._batch_weight = self._sample_weight[_rows_of(batch)]
        if self._row_weights is not None:
            self._row_weights.turn_to(_rows_of(batch))
        return super().train_step(batch, **fit_params)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Mean loss of a batch, weighted in training if there are sample weights."""
        check_output(self.criterion_, y_pred)
        if training and self._sample_weight is not None and self._batch_weight is None:
            raise step_passed_by(self)
        if not training or (self._batch_weight is None and not self._leaves_out):
            loss = super().get_loss(y_pred, y_true, X=X, training=training)
            loss = checked_loss(self.criterion_, loss)
        else:
            loss = self._weighted_loss(y_pred, y_true)
        if training and torch.is_grad_enabled():
            check_graph(self.module_, self.criterion_, y_pred, loss)
        return loss

    @property
    def _leaves_out(self):
        """True if a row of the batch is weighted down, which a repeated training does."""
        return self._row_weights is not None and self._row_weights.acting

    def _weighted_loss(self, y_pred, y_true):
        targets = torch.as_tensor(y_true, device=y_pred.device)
        is_half = y_pred.dtype.itemsize < 4  # autocast has losses in float32
        losses = self.loss_per_sample(y_pred.float() if is_half else y_pred, targets)
        given = torch.ones_like(losses) if self._batch_weight is None else self._batch_weight
        weight = given.to(y_pred.device)
        kept = self._row_weights.times(losses) if self._leaves_out else losses
        weighted = (weight * kept).sum()
        total = self.denominators(targets, len(targets)).to(weighted).sum()
        # a batch of weight 0 has loss 0
        return weighted / total.clamp_min(torch.finfo(weight.dtype).tiny)

    def denominators(self, targets, n_rows):
        """What each row of the batch counts in the divisor of its mean loss, shape (n_rows,)."""
        weight = torch.ones(n_rows) if self._batch_weight is None else self._batch_weight
        criterion = getattr(self, "criterion_", None)
        of_class = class_weight(criterion) if divides_by_class_weight(criterion) else None
        if of_class is None:
            return weight
        of_row = of_class[torch.as_tensor(targets, device=of_class.device)]
        return weight.to(of_row) * of_row

    def loss_per_sample(self, output, targets):
        """Loss of every row, with its class weight if the criterion has any, (n_samples,)."""
        return loss_per_sample(self.criterion_, output, targets)

    def get_dataset(self, X, y=None):
        """Dataset of rows and targets, as skorch makes it from arrays."""
        return SourceDataset(X, y) if isinstance(X, RowSource) else super().get_dataset(X, y)

    def get_split_datasets(self, X, y=None, **fit_params):
        """Training and held-out Dataset; one that `train_split` holds itself is read as `X` is."""
        trained, held_out = super().get_split_datasets(X, y, **fit_params)
        if isinstance(X, RowSource) and held_out is not None and not reads_source(held_out):
            rows, targets = with_own_targets(held_out)
            rows = self._validated(rows)
            targets = self._targets_of(self._given_targets(targets), rows)
            held_out = SourceDataset(rows, targets)
        return trained, held_out

    def run_single_epoch(self, iterator, training, **kwargs):
        """One epoch over the batches of `iterator`; rows of a Dataset are those of this epoch."""
        set_epoch = getattr(getattr(iterator, "dataset", None), "set_epoch", None)
        if training and set_epoch is not None:
            set_epoch(len(self.history) - 1)
        super().run_single_epoch(iterator, training, **kwargs)

    def get_iterator(self, dataset, training=False):
        """Loader whose batches hold their rows' positions; in training it follows the schedule."""
        prefix = "iterator_train" if training else "iterator_valid"
        loader = getattr(self, prefix)
        if not can_be_indexed(loader, dataset):
            return super().get_iterator(dataset, training=training)
        options = {"batch_size": self.batch_size} | self.get_params_for(prefix)
        if options["batch_size"] == -1:
            options["batch_size"] = len(dataset)
        if isinstance(options["batch_size"], Integral):
            options["batch_size"] = int(options["batch_size"])  # torch takes no other kind
        if training and not {"sampler", "batch_sampler"} & set(options):
            options["batch_sampler"] = self._scheduled(len(dataset), options)
        if options.get("batch_sampler") is not None:
            for name in ("batch_size", "shuffle", "drop_last"):
                options.pop(name, None)
        return indexed_loader(loader, dataset, options)

    def _scheduled(self, n_samples, options):
        return ScheduledBatches(
            epoch=len(self.history),
            n_samples=n_samples,
            batch_size=options["batch_size"],
            seed=self._seed,
            shuffle=options.get("shuffle", False),
            drop_last=options.get("drop_last", False),
        )


def _versions(x):
    """Version numbers of a batch's tensors, which torch raises when one is written to."""
    return [part._version for part in tensors_in(x) if torch.is_tensor(part)]


def _moved_to(x, device):
    """The inputs of a module with several on a device; others as they are."""
    moves = isinstance(x, tuple) and device is not None
    return each_tensor(lambda part: part.to(device), x) if moves else x


def _rows_of(batch):
    rows = getattr(batch, "indices", None)
    if rows is None:
        raise ValueError(
            "sample_weight needs the row numbers of each batch, and iterator_train does not give "
            "them. Use a torch DataLoader over a dataset with a length."
        )
    return rows
