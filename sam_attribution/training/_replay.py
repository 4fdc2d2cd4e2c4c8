"""Recorded training once more, with the real training step on a twin of the net."""

import copy
from dataclasses import replace

from sam_attribution.training._accelerated import bare_copy, prepare_twin, set_loss_scale
from sam_attribution.training._callbacks import acting_on_gradients
from sam_attribution.training._data import IndexedDataset
from sam_attribution.training._live import LiveModule, put_state, take_state
from sam_attribution.training._random import isolated_random_state
from sam_attribution.training._trajectory import Trajectory


def training_twin(net, sample_weight):
    """A net that trains like `net` but owns its module and optimiser, and records nothing.

    Of the callbacks it has those that act on gradients: clipping changes a step, the others
    only watch it or set rates, which are recorded.
    """
    twin = object.__new__(type(net))
    vars(twin).update(vars(net))
    twin.module_ = bare_copy(net.module_)
    twin.criterion_ = copy.deepcopy(net.criterion_)
    twin.callbacks_ = copy.deepcopy(acting_on_gradients(net.callbacks_))
    twin.perturbation = net.trajectory_.perturbation
    twin._sample_weight = sample_weight
    twin.initialize_optimizer()
    prepare_twin(twin)
    twin._live = LiveModule(twin.module_)
    return twin


def replay_states(twin, recorded, dataset, start, stop):
    """Yield the states from `start` to `stop`, each before the step of its number."""
    rows = IndexedDataset(dataset, twin.get_params_for("iterator_train").get("collate_fn"))
    known = {state.step: state for state in recorded.states}
    state = recorded.nearest(start)
    put_state(twin, twin._live, state)
    twin.trajectory_ = Trajectory(None, recorded.seed)
    twin.trajectory_.schedule = recorded.schedule[: state.step]  # a step knows its number
    for number in range(state.step, stop + 1):
        if number in known:
            _meet(twin, known[number])
        if number >= start:
            yield take_state(twin, twin._live, number)
        if number < stop:
            _repeat_step(twin, recorded, number, rows)


def _meet(twin, state, tol=1e-3):
    """Take over a recorded state, which replay must have come near to."""
    params = twin._live.vector()
    distance = (params - state.params.to(params)).norm()  # a stored state is on the CPU
    if distance > tol * state.params.norm():
        raise ValueError(
            f"Replay is {distance:.1e} away from the state recorded at step {state.step}: "
            "training depended on more than rows and seed, such as random augmentation. "
            "Take a method that needs recorded states only."
        )
    put_state(twin, twin._live, state)


def _repeat_step(twin, recorded, number, rows):
    step = recorded.schedule[number]
    twin.rho = step.rho
    set_loss_scale(twin, step.loss_scale)
    for group, rate in zip(twin.optimizer_.param_groups, step.rates, strict=True):
        group["lr"] = rate
    before = take_state(twin, twin._live, number) if step.skipped else None
    with isolated_random_state(recorded.seed, twin.module_device):
        twin.train_step(rows.batch(step.indices).to(twin.module_device))
    if before is not None:
        # a skipped step changed the batch-norm statistics and nothing else
        buffers = twin._live.copy_of_buffers()
        put_state(twin, twin._live, replace(before, buffers=buffers))
