"""What a net does in each process on its own, where accelerate would share it out."""

import copy
from contextlib import contextmanager

from torch import distributed

from sam_attribution.training._processes import n_processes, of_main, only_trained_criteria
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
        if n_processes(self) > 1 and not _are_here(n_processes(self)):
            self.accelerator = of_one_process(self.accelerator)


def of_one_process(accelerator):
    """Copy of an accelerator that takes this process for the only one."""
    twin, state = copy.copy(accelerator), copy.copy(accelerator.state)
    alone = {"num_processes": 1, "process_index": 0, "local_process_index": 0}
    vars(state).update(alone, distributed_type=type(state.distributed_type)("NO"))
    twin.state, twin._dataloaders = state, []
    return twin


@contextmanager
def _alone(net):
    """Context in which a net of several processes, out of training, is one of this process."""
    if n_processes(net) == 1 or net._in_training:
        yield
        return
    before = {name: getattr(net, name) for name in ("accelerator", "module_")}
    accelerator = of_one_process(net.accelerator)
    accelerator.gather_for_metrics = _as_it_is
    vars(net).update(accelerator=accelerator, module_=inner_module(net.module_))
    try:
        yield
    finally:
        vars(net).update(before)


def _are_here(n_processes):
    """True if this is one of so many processes, as where the net was trained."""
    here = distributed.is_available() and distributed.is_initialized()
    return here and distributed.get_world_size() == n_processes


def _as_it_is(output, *args, **kwargs):
    return output
