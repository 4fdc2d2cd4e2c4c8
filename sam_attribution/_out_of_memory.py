"""Errors that say nothing about the code that raises them: there was no memory left."""

import torch

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)
