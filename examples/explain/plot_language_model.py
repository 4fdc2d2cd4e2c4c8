"""
Find the training sentences behind a language model
===================================================

A small language model is trained on Python's own manual. The example finds the
training sentences that helped it to predict another sentence, and the words
that they helped with. It needs ``pip install transformers``, downloads
nothing, and runs for about fifteen seconds.
"""

import re
from collections import Counter
from pydoc_data.topics import topics

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from sam_attribution import SAMInfluence, SAMNet, ValidationData
from sam_attribution.methods import GIF

torch.set_num_threads(1)  # faster for a network as small as this

# %%
# Sentences, and numbers for their words
# --------------------------------------
#
# The text is that of ``help("while")`` and of all other topics. A sentence has
# 6 to 16 words. A word that occurs less than three times has no number.

LENGTH = 16
PAD, UNKNOWN, START = 0, 1, 2


def words_of(sentence):
    return re.findall(r"[a-z0-9_]+|[.,]", sentence.lower())


def sentences():
    paragraphs = re.split(r"\n\s*\n", "\n\n".join(topics.values()))
    prose = (each for each in paragraphs if not each.startswith(" "))
    for paragraph in prose:
        joined = re.sub(r'["*]', "", " ".join(paragraph.split()))
        for sentence in re.findall(r"[A-Z][^.:()]*\.(?=\s|$)", joined):
            if 6 <= len(words_of(sentence)) <= LENGTH:
                yield sentence


training = list(dict.fromkeys(sentences()))
counts = Counter(word for each in training for word in words_of(each))
known = sorted(word for word, count in counts.items() if count > 2)
number = {word: START + 1 + place for place, word in enumerate(known)}


def encoded(sentences):
    """Words, each moved right by one place, and the words to predict.

    A target of -100 counts nowhere: padding, and words without a number.
    """
    given = np.full((len(sentences), LENGTH), PAD)
    targets = np.full((len(sentences), LENGTH), -100)
    for row, sentence in enumerate(sentences):
        codes = [number.get(word, UNKNOWN) for word in words_of(sentence)]
        given[row, : len(codes)] = [START, *codes[:-1]]
        targets[row, : len(codes)] = codes
    targets[targets == UNKNOWN] = -100
    return given, targets


X, y = encoded(training)
print(f"{len(training)} training sentences, {len(known)} words\n")

# %%
# Train the model and score the sentences
# ---------------------------------------
#
# A Hugging Face model puts the classes last, and ``CrossEntropyLoss`` needs
# them second. The padding is on the right. A causal model does not see it, so
# no attention mask is needed.


class LanguageModel(nn.Module):
    """Logits of shape (sentences, words, places)."""

    def __init__(self):
        super().__init__()
        config = GPT2Config(
            vocab_size=START + 1 + len(known),
            n_positions=LENGTH,
            n_embd=32,
            n_layer=2,
            n_head=2,
            bos_token_id=START,
            eos_token_id=PAD,
        )
        self.gpt = GPT2LMHeadModel(config)

    def forward(self, tokens):
        return self.gpt(tokens).logits.transpose(1, 2)


asked = "If the value is not a string, a TypeError exception is raised."
query = ValidationData(*encoded([asked]))
net = SAMNet(
    LanguageModel,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.AdamW,
    lr=0.005,
    batch_size=64,
    max_epochs=15,
    trajectory=5,  # the states that GIF reads: the run is not repeated
    random_state=0,
)
influence = SAMInfluence(net, method=GIF(n_checkpoints=5), validation=query)
scores = influence.fit(X, y).scores_

# %%
# Which sentences helped
# ----------------------
#
# A score is the predicted rise of the query's mean loss per word, in nats, if
# the sentence is removed from training. Sentences help by their words and by
# their form.

print(asked)
order = np.argsort(-scores)
for place in order[:5]:
    print(f"{scores[place]:+8.4f}  {training[place]}")
print(f"least helpful:\n{scores[order[-1]]:+8.4f}  {training[order[-1]]}\n")

# %%
# Which words it helped
# ---------------------
#
# ``per="token"`` gives a score for each word of the query. Their mean is
# the score of the sentence. The scores are predictions from five states of
# one training: trust what stands out, not the order of near neighbours.

best = order[0]
words = words_of(asked)
by_word = influence.attribute(*encoded([asked]), per="token")
helped = by_word[0, : len(words), best]
gained = np.nanargmax(helped)
print(f"mean over the words: {np.nanmean(helped):+.4f}")
print(f"most gained: {words[gained]!r} after {words[gained - 1]!r}")

figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
colours = np.where(helped > 0, "#0072B2", "#D55E00")
axes.bar(range(len(words)), helped, color=colours)
axes.axhline(0, color="0.3", linewidth=0.8)
axes.set_xticks(range(len(words)), words, rotation=30)
axes.set_ylabel("nats by which it helped")
axes.set_title(
    f"Training sentence: “{training[best]}”\n"
    "How much it helped to predict each word of another sentence",
    loc="left",
)
axes.spines[["top", "right"]].set_visible(False)
plt.show()
