"""Warnings that point at the line of the user."""

import sys
import warnings
from pathlib import Path

import joblib
import sklearn
import skorch
import torch
import tqdm

from sam_attribution.exceptions import AttributionWarning

# code between the user's line and the place that warns
_LIBRARIES = (joblib, sklearn, skorch, torch, tqdm)
_FILES = (__file__, *(library.__file__ for library in _LIBRARIES))
_BETWEEN = tuple(f"{Path(str(file)).parent}/" for file in _FILES)


def warn(message, category=AttributionWarning):
    """Issue a warning for the first line above this package and the libraries it is called by."""
    frame, level = sys._getframe(1), 2
    while frame is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
