"""What a checkpoint may hold, once it is read."""

from __future__ import annotations

from collections import deque
from typing import Any

from flambeau.errors import CheckpointError
from flambeau.serialization._unpickle import LEAVES, MOST_NESTED, Internal


def check_result(root: Any) -> None:
    """Refuse what would break code that walks a checkpoint: nesting without end, parts of the reader itself.

    Raises: CheckpointError: nested more than 500 deep, or something that stands for no value.
    """
    level, seen, depth = [root], {id(root)}, 0
    while level:
        below: list[Any] = []
        for x in level:
            if isinstance(x, Internal):
                raise CheckpointError(
                    f"load: the checkpoint holds {getattr(x, 'name', 'an object')!r} itself as a value, which is "
                    "not data"
                )
            if isinstance(x, dict):
                children: Any = x.values()
            elif isinstance(x, list | tuple | set | frozenset | deque):
                children = x
            else:
                children = ()
            attributes = getattr(x, "__dict__", None)
            if type(attributes) is dict and attributes:
                children = (*children, *attributes.values())
            for child in children:
                if type(child) not in LEAVES and id(child) not in seen:
                    seen.add(id(child))
                    below.append(child)
        level, depth = below, depth + 1
        if depth > MOST_NESTED:
            raise CheckpointError(f"load: values are nested more than {MOST_NESTED} deep")
