"""Sources of rows: arrays that are converted batch by batch, dicts and tuples of them, Datasets."""

from sam_attribution._rows._arrays import ArrayRows
from sam_attribution._rows._as_source import (
    as_source,
    dataset_as_source,
    is_dataset,
    is_lazy,
    with_own_targets,
)
from sam_attribution._rows._batches import (
    device_of,
    few_of,
    n_rows_in,
    numbers_in,
    part_of,
    passes_over,
    rows_in,
    single_rows,
    tensors_in,
    to_dtype,
    whole_of,
)
from sam_attribution._rows._dataset import DatasetRows
