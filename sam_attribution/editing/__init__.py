"""Models edited as if some rows had never been there, and checks of the edit."""

from sam_attribution.editing._edits import Edits
from sam_attribution.editing._end_of_run import LR_FACTOR, EndOfRun, codes_of
from sam_attribution.editing._linear_step import LinearStep
from sam_attribution.editing._linearity import nonlinearity_of, warn_of_nonlinearity
from sam_attribution.editing._report import edit_report, warn_of_rates
from sam_attribution.editing._state import outputs, state_after
from sam_attribution.editing._verification import random_groups, verification
from sam_attribution.editing._without_rows import no_replay, without_rows
