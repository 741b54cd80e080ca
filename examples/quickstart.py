"""A network learns to read real handwritten digits, in a few seconds on the CPU.

    python3 dev.py quickstart                      from a fresh clone
    python examples/quickstart.py --epochs 40      in an environment that has flambeau, scikit-learn, tqdm, matplotlib

The data are the 1,797 scans of 8x8 pixels that scikit-learn ships. A fifth is held out. Written to --out:
digits.pt (the weights) and digits.png (the loss curve, and test digits with what the network reads in them).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib
import numpy as np
from sklearn.datasets import load_digits
from tqdm import tqdm

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn, optim
from flambeau.utils.data import DataLoader, TensorDataset

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def load(device: fb.device) -> tuple[TensorDataset, fb.Tensor, fb.Tensor]:
    """Training set, held-out images (n, 64) in [0, 1] and their labels (n,)."""
    digits = load_digits()
    images = fb.tensor(digits.data, dtype=fb.float32, device=device) / 16
    labels = fb.tensor(digits.target, device=device)
    order = fb.randperm(len(images)).to(device)
    held_out = len(images) // 5
    test, train = order[:held_out], order[held_out:]
    return TensorDataset(images[train], labels[train]), images[test], labels[test]


def make_model() -> nn.Sequential:
    """64 pixels -> 10 classes."""
    return nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(64, 10),
    )  # fmt: skip


def train(model: nn.Module, data: TensorDataset, epochs: int) -> list[float]:
    """Train with Adam; the loss of every batch."""
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    losses: list[float] = []
    model.train()
    with tqdm(range(epochs), unit="epoch", desc="training") as bar:
        for _ in bar:
            correct = 0
            for images, labels in loader:
                logits = model(images)
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                correct += int((logits.argmax(1) == labels).sum())
            mean = sum(losses[-len(loader) :]) / len(loader)
            bar.set_postfix(loss=f"{mean:.4f}", accuracy=f"{correct / len(data):.1%}")
    return losses


@fb.no_grad()
def read(model: nn.Module, images: fb.Tensor) -> fb.Tensor:
    """The digit that the network sees in each image."""
    model.eval()
    return model(images).argmax(1)


def draw(
    losses: list[float], images: fb.Tensor, labels: fb.Tensor, predicted: fb.Tensor, path: Path
) -> None:
    """A picture of the loss curve and of 40 held-out digits, mistakes first."""
    right = (predicted == labels).cpu()
    order = fb.argsort(right.to(fb.int64), stable=True)[:40].tolist()
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    left, grid = figure.subfigures(1, 2, width_ratios=(1, 1.3))
    axes = left.subplots()
    axes.plot(losses, linewidth=0.6, alpha=0.5, label="batch")
    width = 23
    smooth = np.convolve(losses, np.ones(width) / width, "valid")
    axes.plot(np.arange(len(smooth)) + width // 2, smooth, label=f"mean of {width} batches")
    axes.set(xlabel="step", ylabel="cross-entropy loss (nats)", yscale="log", title="Training")
    axes.legend()
    grid.suptitle(
        f"Held-out digits, mistakes first: {right.float().mean().item():.1%} of {len(right)} read correctly"
    )
    for cell, i in zip(grid.subplots(5, 8).flat, order, strict=True):
        cell.imshow(images[i].cpu().reshape(8, 8).numpy(), cmap="gray_r")
        good = bool(right[i])
        text = f"{int(predicted[i])}" if good else f"{int(predicted[i])}, is {int(labels[i])}"
        cell.set_title(text, fontsize=8, color="black" if good else "tab:red")
        cell.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Train, test, save, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--device", default="cpu", help="any device flambeau finds, e.g. opencl:0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    fb.manual_seed(options.seed)
    device = fb.device(options.device)
    data, images, labels = load(device)
    model = make_model().to(device)
    print(f"{len(data)} digits to learn from, {len(images)} held out, device {device}\n{model}")
    start = time.perf_counter()
    losses = train(model, data, options.epochs)
    seconds = time.perf_counter() - start
    predicted = read(model, images)
    accuracy = (predicted == labels).float().mean().item()
    options.out.mkdir(parents=True, exist_ok=True)
    fb.save(model.state_dict(), options.out / "digits.pt")
    draw(losses, images, labels, predicted, options.out / "digits.png")
    print(f"held-out accuracy {accuracy:.2%} after {seconds:.1f} s of training")
    print(f"written: {options.out / 'digits.pt'}, {options.out / 'digits.png'}")
    if accuracy < 0.97:
        raise SystemExit("expected at least 97 % of the held-out digits to be read correctly")


if __name__ == "__main__":
    main()
