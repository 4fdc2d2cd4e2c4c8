"""Derivatives of a recorded training, computed backwards or forwards through its steps."""

from itertools import pairwise

import torch
from tqdm.auto import tqdm

from sam_attribution.dynamics import (
    NoFunctionalForm,
    OnceDifferentiable,
    Tangent,
    missing_derivatives_named,
)
from sam_attribution.probes import StepProbe
from sam_attribution.training import OtherRun

_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-6}


class UnstableTraining(ValueError):
    """The derivative through training overflows."""


# What a sweep raises for a training that it cannot repeat or differentiate
NO_SWEEP = NoFunctionalForm, OnceDifferentiable, OtherRun, UnstableTraining


def exact_product(number, step, before, after, cotangent, tracked, **options):
    """The derivative of a step as training took it; ValueError if it did not lead to `after`."""
    product = step.vjp(before, cotangent, **options)
    check_same(f"step {number}", product.after, after, before, tracked)
    return product


def fixed_product(number, step, before, after, cotangent, tracked, **options):
    """The derivative of a step with its perturbation held fixed, checked in the same way."""
    product = step.vjp(before, cotangent, fixed_ascent=True, **options)
    check_same(f"step {number}", product.after, after, before, tracked)
    return product


def product_at_w(number, step, before, after, cotangent, tracked, **options):
    """The derivative of a step as if it had not climbed; the step itself is not computed."""
    return step.vjp_at_w(before, after, cotangent, **options)


def reverse_sweep(training, states, queries, product_of=exact_product):
    """Yield the probes of a training, computed backwards from the gradients of the queries.

    `states` are all of its states, the last one first, as TrainingState. A :class:`StepProbe` is
    for the rows of its step's batch. `product_of` is one of the three functions above. One of
    NO_SWEEP if a step does not lead from one state to the next, or has no finite derivative.
    """
    numbers = reversed(range(training.n_steps))
    cotangent = None
    tracked = training.tracked
    for number, (after, before) in zip(numbers, pairwise(states), strict=True):
        if cotangent is None:
            names, asked = sorted(tracked), queries.of(training.problem)
            # the derivative is in a row's weight, the score is of its removal
            cotangent = _negative(asked.cotangent(after.params, after.buffers, names))
        step, checked = training.step(number), number + 1 < training.n_steps
        with missing_derivatives_named():
            product = product_of(number, step, before, after, cotangent, tracked, checked=checked)
        cotangent = product.before
        check_derivative_is_finite(f"before step {number}", cotangent.params)
        for sensitivity in product.sensitivities:
            yield _probe(number, step.batches[sensitivity.part], sensitivity, before.buffers)


def tangent_sweep(training, groups, recorded, *, verbose=0):
    """Change of the final state without each group of rows, computed forwards through the steps.

    The sweep continues from each of the `recorded` states; the first of them is the start. One
    state and one tangent per group are held. The steps compute the states on the way, so nothing
    is replayed. ValueError if the steps do not lead where training went, or the tangent overflows.
    """
    recorded = {state.step: state for state in recorded}
    state = before = training.state(recorded[0])
    tangent = _zero(state, training.tracked, len(groups))
    changes = _weight_changes(training.problem, groups)
    steps, since = range(training.n_steps), 0
    shown = {"desc": "removing rows", "unit": "step", "leave": False, "disable": not verbose}
    for number in tqdm(steps, **shown):
        step = training.step(number)
        state, tangent = step.jvp(state, tangent, changes[:, step.batch.rows])
        check_derivative_is_finite(f"after step {number}", tangent.params)
        if number + 1 in recorded:
            met = training.state(recorded[number + 1])
            names = f"the steps {since} to {number}"
            check_same(names, state, met, before, training.tracked)
            state = before = met
            since = number + 1
    return tangent


def check_same(steps, computed, recorded, before, tracked=()):
    """Raise NoFunctionalForm if the pure steps do not reproduce the recorded training.

    `steps` names the steps in the message, such as "step 3". States are compared in their
    parameters and in the buffers of the `tracked` names.
    """
    states = computed, recorded, before
    for name in (None, *tracked):
        found, met, was = (s.params if name is None else s.buffers[name] for s in states)
        off, scale = (found - met).norm(), met.norm()
        # float32 steps on a CPU are within 1 eps of ||w|| of each other, plus 1e-5 of their length
        slack = 10 * torch.finfo(met.dtype).eps * scale
        if off <= slack:
            continue
        if not off <= _TOLERANCE[met.dtype] * (met - was).norm() + slack:  # NaN is never less
            raise NoFunctionalForm(
                f"repeating {steps} of training ends {off:.1e} away from the recorded "
                f"{name or 'weights'}. Something that is not recorded changed the training: "
                "mixed precision, a callback, a custom train_step, or a forward pass that draws "
                'from NumPy\'s or Python\'s random stream. Use a method such as "gif" or "hif".'
            )


def check_derivative_is_finite(where, derivative):
    """Raise UnstableTraining if a derivative with respect to the parameters overflowed."""
    # the sum first, which needs no more memory; it may overflow where no summand did
    if not (derivative.sum().isfinite() or derivative.isfinite().all()):
        raise UnstableTraining(
            f"the derivative is not finite {where}: the training is unstable there. "
            'Train with a smaller lr, or try Unrolled(precision="float64").'
        )


def _probe(number, batch, sensitivity, buffers):
    return StepProbe(
        point=sensitivity.point,
        directions=sensitivity.directions.T,
        buffers=buffers,
        rows=batch.rows,
        rows_weight=batch.weight,
        steps=(number, number + 1),
        output=sensitivity.output,
        tangents=sensitivity.tangents.movedim(0, -1),
    )


def _negative(cotangent):
    buffers = {name: -buffer for name, buffer in cotangent.buffers.items()}
    return cotangent._replace(params=-cotangent.params, buffers=buffers)


def _weight_changes(problem, groups):
    """-1 for the rows of each group, 0 for the others, shape (n_groups, n_samples)."""
    changes = problem.params.new_zeros(len(groups), len(problem.y))
    for change, rows in zip(changes, groups, strict=True):
        change[rows] = -1.0
    return changes


def _zero(state, tracked, k):
    def zeros(value):
        return value.new_zeros(k, *value.shape)

    return Tangent(
        zeros(state.params),
        {name: zeros(state.buffers[name]) for name in sorted(tracked)},
        tuple(zeros(m) if m.ndim else None for m in state.memory),
    )
