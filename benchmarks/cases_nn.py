"""Training steps of the networks that tutorials come to after the MLP: convolutions, LSTM, GPT."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from cases_models import set_parameters
from harness import Cases, Library, Trial

cases = Cases()

CLASSES = 10
# The size that nanoGPT's README suggests for training on a laptop's CPU.
VOCABULARY, CONTEXT, BATCH, WIDTH, HEADS, LAYERS = 65, 64, 12, 128, 4, 4


def classifier(lib: Library, model: Any, optimizer: Any, inputs: Any, targets: Any) -> Trial:
    """One step of training on one batch."""
    criterion = lib.nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return Trial(step, list(model.parameters()))


# -- convolutions --------------------------------------------------------------------------------


@cache
def cnn_class(lib: Library) -> Any:
    """The network of listing S3/6, but for its dropout: each library draws its own numbers."""
    nn = lib.nn
    functional = nn.functional

    class CNN(nn.Module):  # type: ignore[misc, name-defined]  # nn is a run-time value
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
            self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
            self.pool = nn.MaxPool2d(2, 2)
            self.fc1 = nn.Linear(64 * 8 * 8, 128)
            self.fc2 = nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            x = self.pool(functional.relu(self.conv1(x)))
            x = self.pool(functional.relu(self.conv2(x)))
            x = x.view(x.size(0), -1)
            return self.fc2(functional.relu(self.fc1(x)))

    return CNN


@cases.add("CNN (S3/6) b64 3x32x32 Adam step", goal=1.5)
def cnn(lib: Library) -> Trial:
    """conv-pool-conv-pool-fc-fc on one batch of 64 colour images."""
    rng = np.random.default_rng(1)
    inputs = lib.tensor(rng.standard_normal((64, 3, 32, 32)).astype(np.float32))
    targets = lib.tensor(rng.integers(0, CLASSES, 64))
    model = cnn_class(lib)()
    set_parameters(lib, model)
    return classifier(lib, model, lib.optim.Adam(model.parameters(), lr=1e-3), inputs, targets)


# -- LSTM ----------------------------------------------------------------------------------------


@cache
def lstm_class(lib: Library) -> Any:
    """The network of listing S3/7, without dropout between the layers."""
    nn = lib.nn

    class RNN(nn.Module):  # type: ignore[misc, name-defined]  # nn is a run-time value
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(100, 256, num_layers=2, batch_first=True)
            self.fc = nn.Linear(256, CLASSES)

        def forward(self, x: Any) -> Any:
            _, (last, _) = self.lstm(x)
            return self.fc(last[-1])

    return RNN


@cases.add("LSTM 2x(100->256) b32 T50 Adam step", goal=0.8)
def lstm(lib: Library) -> Trial:
    """A classifier of sequences: two layers of LSTM, the last state to ten classes."""
    rng = np.random.default_rng(1)
    inputs = lib.tensor(rng.standard_normal((32, 50, 100)).astype(np.float32))
    targets = lib.tensor(rng.integers(0, CLASSES, 32))
    model = lstm_class(lib)()
    set_parameters(lib, model)
    return classifier(lib, model, lib.optim.Adam(model.parameters(), lr=1e-3), inputs, targets)


# -- GPT -----------------------------------------------------------------------------------------


@cache
def gpt_class(lib: Library) -> Any:
    """A decoder in the manner of GPT-2: layer norm first, one matrix for query, key and value."""
    nn = lib.nn
    functional = nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]  # nn is a run-time value
        def __init__(self) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(WIDTH)
            # A key's bias has no gradient but rounding noise, which Adam would turn into steps.
            self.attention = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.projection = nn.Linear(WIDTH, WIDTH)
            self.norm2 = nn.LayerNorm(WIDTH)
            self.wider = nn.Linear(WIDTH, 4 * WIDTH)
            self.back = nn.Linear(4 * WIDTH, WIDTH)

        def attend(self, x: Any) -> Any:
            batch, steps, width = x.size()
            heads = (
                part.view(batch, steps, HEADS, width // HEADS).transpose(1, 2)
                for part in self.attention(x).split(width, dim=2)
            )
            y = functional.scaled_dot_product_attention(*heads, is_causal=True)
            return self.projection(y.transpose(1, 2).contiguous().view(batch, steps, width))

        def forward(self, x: Any) -> Any:
            x = x + self.attend(self.norm1(x))
            return x + self.back(functional.gelu(self.wider(self.norm2(x))))

    class GPT(nn.Module):  # type: ignore[misc, name-defined]  # nn is a run-time value
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(VOCABULARY, WIDTH)
            self.position = nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.token(tokens) + self.position(lib.arange(tokens.size(1)))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return GPT


@cases.add("GPT 4x128, 4 heads, T64 b12 AdamW step", goal=0.9)
def gpt(lib: Library) -> Trial:
    """A language model of characters on twelve pieces of text of 64 characters."""
    rng = np.random.default_rng(1)
    text = rng.integers(0, VOCABULARY, (BATCH, CONTEXT + 1))
    inputs, targets = lib.tensor(text[:, :-1].copy()), lib.tensor(text[:, 1:].copy())
    model = gpt_class(lib)()
    set_parameters(lib, model)
    for module in model.modules():
        if isinstance(module, lib.nn.LayerNorm):
            lib.nn.init.ones_(module.weight)
    optimizer = lib.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    functional = lib.nn.functional

    def step() -> Any:
        optimizer.zero_grad()
        logits = model(inputs)
        loss = functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))
        loss.backward()
        optimizer.step()
        return loss

    return Trial(step, list(model.parameters()))
