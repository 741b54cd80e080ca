"""A sampler for several programs that share a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any

import flambeau
from flambeau.utils.data.errors import OptionError
from flambeau.utils.data.sampler import Sampler


class DistributedSampler(Sampler[int]):
    """One program's share of a dataset: every num_replicas-th index of an order that all programs agree on.

    The order is padded with its own beginning, or cut with drop_last, to a multiple of num_replicas.

    Args: num_replicas, rank: to be given, as there is no process group to ask.  seed: of the order, the same in all
        programs; `set_epoch` changes the order from epoch to epoch.
    Raises: OptionError: num_replicas or rank is missing, or rank is not in [0, num_replicas).

    Example:
        >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
        [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise OptionError(
                "DistributedSampler: needs num_replicas and rank, as flambeau has no process groups, got "
                f"num_replicas={num_replicas}, rank={rank}"
            )
        if not 0 <= rank < num_replicas:
            raise OptionError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        n = len(dataset)
        self.num_samples = n // num_replicas if drop_last else -(-n // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        order = list(range(n))
        if self.shuffle:
            gen = flambeau.Generator().manual_seed(self.seed + self.epoch)
            order = flambeau.randperm(n, generator=gen).tolist()
        whole = -(-self.total_size // n) if n else 0
        return iter((order * whole)[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, which a loader's state includes."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epoch."""
        self.epoch = state_dict["epoch"]
