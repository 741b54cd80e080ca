"""Feeding data: one epoch through a DataLoader, nothing done with the batches."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from harness import Cases, Library, Trial

cases = Cases()

ROWS, FEATURES = 10_000, 20
IMAGES, SIDE = 16_000, 28


def epoch(lib: Library, loader: Any) -> Trial:
    """A step is one epoch; that every item came, once and with its own label, is checked apart."""

    def step() -> int:
        count = 0
        for inputs, _ in loader:
            count += len(inputs)
        return count

    batches = list(loader)
    inputs = lib.cat([batch[0] for batch in batches]).flatten(1)
    labels = lib.cat([batch[1] for batch in batches])
    order = lib.argsort(labels)
    return Trial(step, [labels[order], inputs[order][:, ::7]])


@cases.add("DataLoader 10,000x20 in memory, b32", goal=0.1, rebuild=False)
def in_memory(lib: Library) -> Trial:
    """TensorDataset, shuffled, in this process."""
    data = lib.utils.data
    rows = np.random.default_rng(0).standard_normal((ROWS, FEATURES)).astype(np.float32)
    dataset = data.TensorDataset(lib.tensor(rows), lib.arange(ROWS))
    return epoch(lib, data.DataLoader(dataset, batch_size=32, shuffle=True))


@cache
def images_class(lib: Library) -> Any:
    """Small grey images in memory with a transform for each item, as torchvision's lists of them."""

    class Images(lib.utils.data.Dataset):  # type: ignore[misc]  # a run-time value
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.images = rng.integers(0, 256, (IMAGES, SIDE, SIDE), dtype=np.uint8)

        def __len__(self) -> int:
            return IMAGES

        def __getitem__(self, index: int) -> tuple[Any, int]:
            image = self.images[index].astype(np.float32)
            image /= 255
            if index % 2:
                image = image[:, ::-1]
            image = np.pad(image, 2)[2:-2, 1:-3]
            image = (image - np.float32(0.1307)) / np.float32(0.3081)
            return lib.from_numpy(image[None]), index

    return Images


def workers(lib: Library, **options: Any) -> Trial:
    """An epoch over the images with two workers, their start and end included."""
    data = lib.utils.data
    loader = data.DataLoader(
        images_class(lib)(), batch_size=64, shuffle=True, num_workers=2, **options
    )
    return epoch(lib, loader)


def thread_workers(lib: Library) -> Trial:
    """Threads in place of processes: flambeau's choice, PyTorch has none."""
    return workers(lib, worker_kind="thread")


cases.add("DataLoader 16,000 images, 2 processes", goal=0.9, rebuild=False)(workers)
cases.add("DataLoader 16,000 images, 2 threads", goal=0.9, ours=thread_workers, rebuild=False)(
    workers
)
