"""What a net does in each process on its own, where accelerate would share it out."""

import copy
from contextlib import contextmanager

from torch import distributed, nn

from sam_attribution.training._processes import n_processes, of_main
from sam_attribution.training._wrappers import inner_module


class ProcessesMixin:
    """Mixin for nets that several processes may train: one seed, and each predicts all rows.

    Predictions need no other process, and so one process alone can ask for scores.
    """

    def _new_seed(self):
        return of_main(self, super()._new_seed())

    def _initialize_accelerator(self):
        with only_trained_criteria(self):
            return super()._initialize_accelerator()

    def get_iterator(self, *args, **kwargs):
        """Loader of all rows or, in training, of those of this process."""
        with _alone(self):
            return super().get_iterator(*args, **kwargs)

    def evaluation_step(self, batch, training=False):
        """Output for a batch; in training accelerate gathers those of all processes."""
        with _alone(self):
            return super().evaluation_step(batch, training=training)

    def __setstate__(self, state):
        super().__setstate__(state)
        n_now = distributed.get_world_size() if distributed.is_initialized() else 1
        if n_processes(self) not in (1, n_now):
            self.accelerator = _of_one_process(self.accelerator)


@contextmanager
def only_trained_criteria(net):
    """Context in which accelerate prepares no criterion without parameters, in several processes.

    It would wrap it in DistributedDataParallel, which refuses a module that has nothing to train.
    """
    criteria = net._criteria
    if n_processes(net) > 1:
        bare = [name for name in criteria if _has_nothing_to_train(getattr(net, name + "_"))]
        for name in bare:
            getattr(net, name + "_").to(net.accelerator.device)
        net._criteria = [name for name in criteria if name not in bare]
    try:
        yield
    finally:
        net._criteria = criteria


@contextmanager
def _alone(net):
    """Context in which a net of several processes, out of training, is one of this process."""
    if n_processes(net) == 1 or net._in_training:
        yield
        return
    before = {name: getattr(net, name) for name in ("accelerator", "module_")}
    accelerator = _of_one_process(net.accelerator)
    accelerator.gather_for_metrics = _as_it_is
    vars(net).update(accelerator=accelerator, module_=inner_module(net.module_))
    try:
        yield
    finally:
        vars(net).update(before)


def _of_one_process(accelerator):
    """Copy of an accelerator that takes this process for the only one."""
    twin, state = copy.copy(accelerator), copy.copy(accelerator.state)
    alone = {"num_processes": 1, "process_index": 0, "local_process_index": 0}
    vars(state).update(alone, distributed_type=type(state.distributed_type)("NO"))
    twin.state, twin._dataloaders = state, []
    return twin


def _as_it_is(output, *args, **kwargs):
    return output


def _has_nothing_to_train(criterion):
    """True for a module whose parameters, if it has any, are frozen."""
    return isinstance(criterion, nn.Module) and not any(
        p.requires_grad for p in criterion.parameters()
    )
