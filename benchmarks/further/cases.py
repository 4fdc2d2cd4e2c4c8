"""Concrete and Adult as further training sees them: standardised rows, and an MLP for each."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from sam_attribution import SAMClassifier, SAMRegressor

N_ADULT, N_QUERY, WIDTH = 1000, 50, 128
# batch, rate and the lack of momentum and decay are those of Wei et al. for Concrete
SETTINGS = {"lr": 0.03, "batch_size": 128, "rho": 0.05, "trajectory": 10}


@dataclass(frozen=True, eq=False)
class Case:
    """A net to be fitted, its rows, and queries that it does not see."""

    net: object
    X: np.ndarray
    y: np.ndarray
    X_query: np.ndarray
    y_query: np.ndarray


def concrete(seed):
    """927 rows with 8 features, a standardised target; 600 epochs."""
    table = pd.read_csv(_folder() / "concrete.csv.gz", header=None).to_numpy()
    train, test = train_test_split(table, test_size=0.1, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, query = scaler.transform(train), scaler.transform(test[:N_QUERY])
    net = SAMRegressor(mlp(8, 1, seed), max_epochs=600, random_state=seed, **SETTINGS)
    return Case(net, *_single(train[:, :-1], train[:, -1], query[:, :-1], query[:, -1]))


def adult(seed):
    """1000 rows with 104 features, two classes; 100 epochs."""
    table = pd.read_csv(_folder() / "adult_10k.csv.gz").to_numpy()
    table = np.delete(table, -2, axis=1)  # the last column says it all
    train, test = train_test_split(
        table, train_size=N_ADULT, stratify=table[:, -1], random_state=seed
    )
    scaler = StandardScaler().fit(train[:, :-1])
    X, X_query = scaler.transform(train[:, :-1]), scaler.transform(test[:N_QUERY, :-1])
    net = SAMClassifier(mlp(104, 2, seed), max_epochs=100, random_state=seed, **SETTINGS)
    X, _, X_query, _ = _single(X, X, X_query, X_query)
    return Case(net, X, train[:, -1].astype(int), X_query, test[:N_QUERY, -1].astype(int))


CASES = {"concrete": concrete, "adult": adult}


def mlp(n_features, n_outputs, seed):
    """Two hidden layers. GELU is ReLU made smooth: at kinks removal effects are chaotic."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(n_features, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, n_outputs),
        )


def _single(*arrays):
    return [array.astype(np.float32) for array in arrays]


def _folder():
    return Path(os.environ["SAM_ATTRIBUTION_DATA"])
