"""Training with SAM: nets that keep scikit-learn's contract and record what they do."""

from sam_attribution.training._accelerated import bare_copy, bare_optimizer, is_mixed_precision
from sam_attribution.training._adopted import is_adopted
from sam_attribution.training._any_net import SAMNet
from sam_attribution.training._batch_order import batch_schedule
from sam_attribution.training._batch_parts import part_seed, part_slices
from sam_attribution.training._callbacks import may_clip, norm_clippings
from sam_attribution.training._classifier import SAMClassifier
from sam_attribution.training._components import check_device
from sam_attribution.training._copies import edited_copy
from sam_attribution.training._divergence import Diverged, is_far_above_guessing
from sam_attribution.training._epochs import ends_of_epochs, epoch_of
from sam_attribution.training._given_checkpoints import Checkpoint
from sam_attribution.training._gradient_hooks import check_gradient_hooks
from sam_attribution.training._losses import (
    check_one_tensor,
    class_weight,
    loss_per_sample,
    unreduced,
    without_class_weight,
)
from sam_attribution.training._module_builder import MLP
from sam_attribution.training._module_call import (
    arguments_for,
    module_output,
    output_tensor,
)
from sam_attribution.training._module_copy import copy_of_module, kept_tensors
from sam_attribution.training._net import ConformantNet, ConformantRegressor
from sam_attribution.training._net_steps import NetSteps
from sam_attribution.training._one_logit import has_one_logit
from sam_attribution.training._output_form import OutputForm, flat_output, leaves_of
from sam_attribution.training._own_steps import own_steps_of
from sam_attribution.training._precision import check_precision
from sam_attribution.training._random import (
    Draws,
    derived_seed,
    isolated_random_state,
    other_streams_kept,
    seed_torch,
    untouched_random_state,
)
from sam_attribution.training._regressor import SAMRegressor
from sam_attribution.training._replay import OtherRun
from sam_attribution.training._rewind import rewind
from sam_attribution.training._rho import RhoSchedule, last_radius
from sam_attribution.training._row_criterion import ignored_target, row_losses
from sam_attribution.training._row_function import criterion_name
from sam_attribution.training._sam_step import SAMMixin
from sam_attribution.training._saved_weights import SavedWeights
from sam_attribution.training._target_array import target_array
from sam_attribution.training._trajectory import State, Step, equal_stretches
from sam_attribution.training._unchanged import check_unchanged
from sam_attribution.training._unit_size import far_from_unit_size
from sam_attribution.training._untrained import untrained
from sam_attribution.training._wrappers import inner_module

__all__ = [
    "Checkpoint",
    "ConformantNet",
    "ConformantRegressor",
    "RhoSchedule",
    "SAMMixin",
]
