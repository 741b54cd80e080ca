"""Training that can be killed at any moment, and that ends with the same bits as if it never had been.

    python examples/resume_training.py --snapshot run.pt     stop it: Ctrl-C, kill -9, a power cut ...
    python examples/resume_training.py --snapshot run.pt     ... and the same command goes on from the snapshot

The numbers depend on six things, and the snapshot holds them all: the weights and BatchNorm's statistics (model),
Adam's moments (optimizer), when the learning rate falls (scheduler), the place in the epoch with its order and its
augmentation (loader), Dropout's random numbers (rng), and the epoch with the losses so far. The number and kind of the
workers is not among them: it may be another one after a restart.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import flambeau as fb
import flambeau.nn.functional as F
from flambeau import nn, optim
from flambeau.utils.data import DataLoader, Dataset

POINTS, CLASSES = 64, 4


class Waves(Dataset):
    """Sine waves of four frequencies, each shifted and made noisy anew whenever it is loaded."""

    def __init__(self, length: int = 1152) -> None:
        time = fb.linspace(0, 2 * fb.pi, POINTS + 1)[:-1]
        self.waves = [fb.sin((kind + 1) * time) for kind in range(CLASSES)]
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[fb.Tensor, int]:
        # In a loader these draws come from the sample's own stream: the same in any worker, new in every epoch.
        kind = index % CLASSES
        shift = int(fb.randint(POINTS, ()))
        return fb.roll(self.waves[kind], shift) + 0.5 * fb.randn(POINTS), kind


class Training:
    """Everything that the next step depends on, in one place, so that it can be saved and restored as one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.model = nn.Sequential(
            nn.Linear(POINTS, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(128, CLASSES),
        )  # fmt: skip
        self.optimizer = optim.Adam(self.model.parameters(), lr=0.01)
        self.scheduler = optim.lr_scheduler.StepLR(self.optimizer, step_size=30, gamma=0.5)
        self.loader = DataLoader(
            Waves(),
            batch_size=options.batch_size,
            shuffle=True,
            num_workers=options.workers,
            worker_kind=options.worker_kind,
        )
        self.epoch = 0
        self.losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """The whole training as numbers, lists and tensors."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "loader": self.loader.state_dict(),
            "rng": fb.get_rng_state(),
            "epoch": self.epoch,
            "step": len(self.losses),
            "losses": self.losses,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a training was, instead of at the beginning."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.loader.load_state_dict(state["loader"])
        fb.set_rng_state(state["rng"])  # making the model has drawn from it
        self.epoch, self.losses = state["epoch"], state["losses"]

    def step(self, waves: fb.Tensor, kinds: fb.Tensor) -> None:
        """One step of the optimizer, and of the learning rate."""
        loss = F.cross_entropy(self.model(waves), kinds)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.losses.append(loss.item())

    def run(self, epochs: int, every: int, snapshot: Path) -> None:
        """Train to the end, with a snapshot every so many steps."""
        steps = len(self.loader)
        while self.epoch < epochs:
            # After load_state_dict, the loader gives those batches of the epoch that are left.
            for waves, kinds in self.loader:
                self.step(waves, kinds)
                if len(self.losses) % every == 0:
                    # Whole or not at all: killed in here, it leaves the snapshot before this one.
                    fb.save(self.state_dict(), snapshot)
            self.epoch += 1
            mean = sum(self.losses[-steps:]) / steps
            step = len(self.losses)
            print(f"epoch {self.epoch}/{epochs}, step {step}: loss {mean:.4f}", flush=True)


def count(text: str) -> int:
    """An argument that is a whole number from 1 on."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def file(text: str) -> Path:
    """An argument that is a file's path, checked before the training rather than after it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder, and should be a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.parent} does not exist")
    return path


def main() -> None:
    """Begin or go on, train, write what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--snapshot", type=file, default=Path("snapshot.pt"))
    parser.add_argument("--every", type=count, default=10, help="steps from snapshot to snapshot")
    parser.add_argument("--epochs", type=count, default=3)
    parser.add_argument("--batch-size", type=count, default=32)
    parser.add_argument("--workers", type=int, default=0, help="0: load in the main thread")
    parser.add_argument("--worker-kind", choices=["thread", "process"], default="thread")
    parser.add_argument("--result", type=file, help="write the final states and losses here")
    options = parser.parse_args()

    fb.manual_seed(0)
    training = Training(options)
    if options.snapshot.exists():
        training.load_state_dict(fb.load(options.snapshot))
        print(f"going on after step {len(training.losses)}, from {options.snapshot}", flush=True)
    training.run(options.epochs, options.every, options.snapshot)
    if options.result:
        fb.save(training.state_dict(), options.result)


if __name__ == "__main__":  # worker processes import this file
    main()
