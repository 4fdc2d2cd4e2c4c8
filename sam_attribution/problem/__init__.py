"""A trained model as a function of its parameters, with its training rows and its queries."""

from sam_attribution.problem._autodiff_fallbacks import FirstThatWorks, differentiable_kernels
from sam_attribution.problem._batching import activations_per_row
from sam_attribution.problem._equal_rows import equal_rows
from sam_attribution.problem._evaluation import evaluation_function, margin
from sam_attribution.problem._features import last_linear, logits_and_features
from sam_attribution.problem._few_rows import spread_positions
from sam_attribution.problem._forward_mode import forward_mode_as_backward
from sam_attribution.problem._from_estimator import (
    network_of,
    problem_before_training,
    problem_from_another_seed,
    problem_from_estimator,
)
from sam_attribution.problem._functional_call import flat_call, functional_call
from sam_attribution.problem._functional_optimizer import (
    decays_apart,
    functional_optimizer,
    functional_twin,
)
from sam_attribution.problem._functional_run import FunctionalRun
from sam_attribution.problem._functional_training import (
    FunctionalTraining,
    PureStep,
    check_functional,
)
from sam_attribution.problem._head import Head
from sam_attribution.problem._nearness import entries_differ, tolerance_of
from sam_attribution.problem._output_rows import OutputRows
from sam_attribution.problem._path import TrainingPath
from sam_attribution.problem._path_point import PathPoint
from sam_attribution.problem._problem import Problem
from sam_attribution.problem._queries import Queries
from sam_attribution.problem._recorded import check_recorded
from sam_attribution.problem._recorded_losses import warn_of_other_losses
from sam_attribution.problem._row_gradients import (
    gradients_of,
    row_gradients,
    rows_at_once,
    summed_gradient,
    unused_parameters,
)
from sam_attribution.problem._row_loss import (
    CrossEntropyRows,
    GenericRows,
    TargetRows,
    loss_in_output,
)
from sam_attribution.problem._running_statistics import couples_rows
from sam_attribution.problem._selection import attributed_names, parameters_without
from sam_attribution.problem._training_batch import TrainingBatch
from sam_attribution.problem._training_to_come import TrainingToCome, check_keeps_states

__all__ = [
    "Problem",
    "Queries",
]
