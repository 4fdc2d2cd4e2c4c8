"""Advice of all errors about numbers that overflow."""

REMEDY_FOR_OVERFLOW = "Train with a smaller lr, clip gradients, or scale X"
