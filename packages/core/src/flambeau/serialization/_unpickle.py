"""An interpreter of pickles that builds plain values and calls nothing but what it was given by name.

Reference: the opcodes as the standard library's pickletools documents them, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

from flambeau.errors import CheckpointError, UnsupportedDTypeError

#: Bytes that objects may take before their number is held against the file's size.
FREE = 16 << 20
_MOST_NESTED = 500
_MOST_COLLISIONS = 64
_MOST_IN_KEY = 10_000
_BOX, _SET, _CALL = 64, 216, 256
_NONE = object()


def short(value: Any) -> str:
    """A value in a message; the text of containers could grow without bounds, so they give their type."""
    kind = type(value)
    if kind is tuple and len(value) <= 8 and all(type(x) in _LEAVES for x in value):
        return f"({', '.join(map(short, value))}{',' * (len(value) == 1)})"
    if kind in (str, bytes):
        return repr(value[:80])
    if kind is int and value.bit_length() > 80:
        return "a huge number"
    return repr(value) if kind in _LEAVES else f"a {kind.__name__}"


class Internal:
    """What the reader works with and no checkpoint may hold."""

    __slots__ = ()


class Allowed(Internal):
    """Something that a pickle may call: fn(interpreter, *args)."""

    __slots__ = ("fn", "name")

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        self.name, self.fn = name, fn


class Pending(Internal):
    """What a first reading puts in place of every object that needs the storages."""


class Interpreter:
    """Reads one pickle.

    Args: data: the bytes; at: where the pickle starts.  find_global(module, name), persistent_load(pid): what
        they stand for.  room: bytes that the objects may take.
        encoding: of Python 2's strings; "bytes" keeps them as bytes.
    """

    def __init__(
        self,
        data: bytes,
        find_global: Callable[[str, str], Any],
        persistent_load: Callable[[Any], Any],
        at: int = 0,
        room: int = FREE,
        encoding: str = "utf-8",
    ) -> None:
        self.data, self.at, self.room, self.encoding = data, at, room, encoding
        self.find_global, self.persistent_load = find_global, persistent_load
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: list[Any] = []
        self.sparse: dict[int, Any] = {}
        #: id of a tuple of tuples -> how deep it nests, how many values hashing it would visit.
        self.nests: dict[int, tuple[int, int]] = {}
        self.hashes: Counter[tuple[int, int]] = Counter()
        self.globals: dict[tuple[str, str], Any] = {}

    def run(self) -> Any:
        """The object; `at` is then behind the pickle.

        Raises: CheckpointError: not a pickle, or one that asks for more than plain values.
        """
        code, start, table = -1, self.at, TABLE
        try:
            while True:
                code = self.data[self.at]
                self.at += 1
                if code == 46:  # STOP
                    break
                act = table[code]
                if act is None:
                    raise CheckpointError(
                        f"load: the pickle uses opcode {code:#04x} at byte {self.at - 1}, which no checkpoint needs"
                    )
                act(self)
            value = self.stack.pop()
        except (CheckpointError, UnsupportedDTypeError):
            raise
        except IndexError:
            raise self._damaged("it ends early or takes what is not there") from None
        except (RecursionError, MemoryError):
            raise self._damaged("it is nested too deep or too large") from None
        except Exception as error:
            raise self._damaged(f"{type(error).__name__}: {str(error)[:200]}") from None
        if self.stack or self.outer:
            raise self._damaged(f"values are left over (it started at byte {start})")
        return value

    def _damaged(self, why: str) -> CheckpointError:
        return CheckpointError(f"load: the pickle is damaged near byte {self.at}: {why}")

    def charge(self, n: int) -> None:
        """Account for n bytes of new objects.

        Raises: CheckpointError: a file of this size has no business asking for so much.
        """
        self.room -= n
        if self.room < 0:
            raise CheckpointError(
                f"load: the pickle asks for far more memory than a file of its size should (byte {self.at})"
            )

    # ---- reading
    def take(self, n: int) -> bytes:
        """The next n bytes."""
        end = self.at + n
        if n < 0 or end > len(self.data):
            raise IndexError
        got = self.data[self.at : end]
        self.at = end
        return got

    def number(self, n: int) -> int:
        """The next n bytes as an unsigned number."""
        return int.from_bytes(self.take(n), "little")

    def line(self) -> str:
        """The text up to the end of the line."""
        end = self.data.index(b"\n", self.at)
        got = self.data[self.at : end]
        self.at = end + 1
        return got.decode()

    def marked(self) -> list[Any]:
        """What was pushed since the mark."""
        items = self.stack
        self.stack = self.outer.pop()
        return items

    # ---- building
    def push_tuple(self, items: Any) -> None:
        """A tuple, unless tuples are nested so deep that hashing them would overflow the C stack."""
        made = tuple(items)
        self.charge(_BOX)
        depth, weight = 0, len(made)
        for x in made:
            if type(x) is tuple:
                below, inside = self.nests.get(id(x), (0, len(x)))
                depth, weight = max(depth, below + 1), weight + inside
        if depth > _MOST_NESTED:
            raise CheckpointError(f"load: tuples are nested more than {_MOST_NESTED} deep")
        if depth or id(made) in self.nests:
            self.nests[id(made)] = depth, weight
        self.stack.append(made)

    def key(self, container: Any, key: Any) -> Any:
        """A key, unless many keys were chosen to have one hash."""
        kind = type(key)
        if kind is str or (kind is int and -(2**60) < key < 2**60):
            return key
        if kind is tuple and self.nests.get(id(key), (0, 0))[1] > _MOST_IN_KEY:
            raise CheckpointError(f"load: a key holds more than {_MOST_IN_KEY} values")
        place = (id(container), hash(key))
        self.hashes[place] += 1
        self.charge(_BOX)
        if self.hashes[place] > _MOST_COLLISIONS:
            raise CheckpointError("load: too many keys of one container have the same hash")
        return key

    def fill(self, target: Any, items: list[Any]) -> Any:
        """Put keys and values, alternating, into a mapping."""
        if isinstance(target, Pending):
            return target
        if not isinstance(target, dict):
            raise TypeError(f"items for a {type(target).__name__}")
        self.charge(8 * len(items))
        for i in range(0, len(items), 2):
            target[self.key(target, items[i])] = items[i + 1]
        return target

    def add(self, target: set[Any], items: Any) -> set[Any]:
        """Put elements into a set."""
        if type(target) is not set:
            raise TypeError(f"elements for a {type(target).__name__}")
        for x in items:
            target.add(self.key(target, x))
        return target

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        value, n = self.stack[-1], len(self.memo)
        if index < n:
            self.memo[index] = value
        elif index == n:
            self.memo.append(value)
        else:
            self.charge(_CALL)
            self.sparse[index] = value

    def get(self, index: int) -> None:
        """Push what was remembered."""
        value = self.memo[index] if index < len(self.memo) else self.sparse.get(index, _NONE)
        if value is _NONE:
            raise ValueError(f"nothing was remembered as {index}")
        self.stack.append(value)

    def named(self, module: str, name: str) -> None:
        """Push what a global stands for."""
        place = (module, name)
        found = self.globals.get(place, _NONE)
        if found is _NONE:
            self.charge(_CALL)
            found = self.globals[place] = self.find_global(module, name)
        self.stack.append(found)

    def call(self, fn: Any, args: Any) -> None:
        """Push the result of an allowed function."""
        if isinstance(fn, Pending):
            self.stack.append(fn)
            return
        if not isinstance(fn, Allowed) or not isinstance(args, tuple):
            raise TypeError(f"a {type(fn).__name__} cannot be called")
        self.charge(_CALL)
        self.stack.append(fn.fn(self, *args))

    def text(self, n: int) -> str:
        """The next n bytes as UTF-8."""
        got = self.raw(n)
        return got.decode("utf-8", "surrogatepass")

    def old_text(self, n: int) -> Any:
        """The next n bytes as a string of Python 2."""
        got = self.raw(n)
        if self.encoding == "bytes":
            return got
        try:
            return got.decode(self.encoding)
        except UnicodeDecodeError:
            raise CheckpointError(
                f"load: a string of Python 2 is not {self.encoding}: {got[:20]!r}. Hint: load(..., encoding='latin1')"
            ) from None

    def raw(self, n: int) -> bytes:
        """The next n bytes."""
        got = self.take(n)
        self.charge(_BOX + n)
        return got

    def build(self, target: Any, state: Any) -> None:
        """Give an object its state: the attributes of an OrderedDict, the values of a NumPy array."""
        from flambeau.serialization._numpy import set_state

        if isinstance(target, Pending):
            return
        if type(target) is OrderedDict and type(state) is dict:
            for name, value in state.items():
                if type(name) is not str or hasattr(OrderedDict, name):
                    raise TypeError("attributes of an OrderedDict that hide its own")
                setattr(target, name, value)
            return
        set_state(target, state)


def _append(m: Interpreter, items: list[Any]) -> None:
    target = m.stack[-1]
    if isinstance(target, Pending):
        return
    if type(target) is not list:
        raise TypeError(f"elements for a {type(target).__name__}")
    target.extend(items)


def _push(make: Callable[[Interpreter], Any]) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        m.stack.append(make(m))

    return act


def _box(make: Callable[[], Any], cost: int) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        m.charge(cost)
        m.stack.append(make())

    return act


def _mark(m: Interpreter) -> None:
    m.charge(_BOX)
    if len(m.outer) > _MOST_NESTED:
        raise CheckpointError(f"load: values are nested more than {_MOST_NESTED} deep")
    m.outer.append(m.stack)
    m.stack = []


def _pop(m: Interpreter) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.marked()


def _tuple_of(n: int) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        if len(m.stack) < n:
            raise IndexError
        items = m.stack[-n:]
        del m.stack[-n:]
        m.push_tuple(items)

    return act


def _binary_call(act: Callable[[Interpreter, Any, Any], Any]) -> Callable[[Interpreter], None]:
    def run(m: Interpreter) -> None:
        last = m.stack.pop()
        act(m, m.stack.pop(), last)

    return run


def _setitem(m: Interpreter) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.fill(m.stack[-1], [key, value])


def _setitems(m: Interpreter) -> None:
    items = m.marked()
    m.fill(m.stack[-1], items)


def _appends(m: Interpreter) -> None:
    items = m.marked()
    _append(m, items)


def _additems(m: Interpreter) -> None:
    items = m.marked()
    m.add(m.stack[-1], items)


def _integer_line(m: Interpreter) -> Any:
    text = m.line()
    return {"00": False, "01": True}.get(text, _NONE) if text in ("00", "01") else int(text)


def _boxed(items: Any, make: Callable[[Interpreter], Any]) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        m.charge(items)
        found = m.marked()
        made = make(m)
        m.stack.append(m.fill(made, found) if type(made) is dict else found)

    return act


def _frozenset(m: Interpreter, items: Any) -> frozenset[Any]:
    m.charge(_SET)
    return frozenset(m.add(set(), items))


def _stack_global(m: Interpreter, module: Any, name: Any) -> None:
    if type(module) is not str or type(name) is not str:
        raise TypeError("a global's name is not text")
    m.named(module, name)


def _signed(n: int) -> Callable[[Interpreter], int]:
    return lambda m: int.from_bytes(m.take(n), "little", signed=True)


def _long(m: Interpreter, n: int) -> int:
    got = m.take(n)
    m.charge(n)
    return int.from_bytes(got, "little", signed=True)


def _dup(m: Interpreter) -> Any:
    return m.stack[-1]


_ACTIONS: dict[str, Callable[[Interpreter], Any]] = {
    "\x80": lambda m: m.take(1),  # PROTO
    "\x95": lambda m: m.take(8),  # FRAME
    "N": _push(lambda m: None),
    "\x88": _push(lambda m: True),
    "\x89": _push(lambda m: False),
    "I": _push(_integer_line),
    "L": _push(lambda m: int(m.line().rstrip("L"))),
    "F": _push(lambda m: float(m.line())),
    "J": _push(_signed(4)),
    "K": _push(lambda m: m.number(1)),
    "M": _push(lambda m: m.number(2)),
    "\x8a": _push(lambda m: _long(m, m.number(1))),
    "\x8b": _push(lambda m: _long(m, m.number(4))),
    "G": _push(lambda m: struct.unpack(">d", m.take(8))[0]),
    "T": _push(lambda m: m.old_text(m.number(4))),
    "U": _push(lambda m: m.old_text(m.number(1))),
    "X": _push(lambda m: m.text(m.number(4))),
    "\x8c": _push(lambda m: m.text(m.number(1))),
    "\x8d": _push(lambda m: m.text(m.number(8))),
    "B": _push(lambda m: m.raw(m.number(4))),
    "C": _push(lambda m: m.raw(m.number(1))),
    "\x8e": _push(lambda m: m.raw(m.number(8))),
    "\x96": _push(lambda m: bytearray(m.raw(m.number(8)))),
    "]": _box(list, _BOX),
    "}": _box(dict, _BOX),
    "\x8f": _box(set, _SET),
    ")": _push(lambda m: ()),
    "(": _mark,
    "0": _pop,
    "1": lambda m: m.marked(),
    "2": _push(_dup),
    "l": _boxed(_BOX, lambda m: None),
    "d": _boxed(_BOX, lambda m: {}),
    "t": lambda m: m.push_tuple(m.marked()),
    "\x85": _tuple_of(1),
    "\x86": _tuple_of(2),
    "\x87": _tuple_of(3),
    "\x91": _push(lambda m: _frozenset(m, m.marked())),
    "a": lambda m: _append(m, [m.stack.pop()]),
    "e": _appends,
    "s": _setitem,
    "u": _setitems,
    "\x90": _additems,
    "p": lambda m: m.put(int(m.line())),
    "q": lambda m: m.put(m.number(1)),
    "r": lambda m: m.put(m.number(4)),
    "\x94": lambda m: m.put(len(m.memo)),
    "g": lambda m: m.get(int(m.line())),
    "h": lambda m: m.get(m.number(1)),
    "j": lambda m: m.get(m.number(4)),
    "c": lambda m: m.named(m.line(), m.line()),
    "\x93": _binary_call(_stack_global),
    "R": _binary_call(Interpreter.call),
    "\x81": _binary_call(Interpreter.call),
    "Q": _push(lambda m: m.persistent_load(m.stack.pop())),
}


def _build(m: Interpreter) -> None:
    state = m.stack.pop()
    m.build(m.stack[-1], state)


_ACTIONS["b"] = _build
TABLE = [_ACTIONS.get(chr(code)) for code in range(256)]


# ---- the plain values that pickles make by calling
def _ordered_dict(m: Interpreter, pairs: Any = ()) -> Any:
    return _filled(m, OrderedDict(), pairs)


def _filled(m: Interpreter, target: Any, pairs: Any) -> Any:
    items = list(pairs.items()) if isinstance(pairs, dict) else [tuple(p) for p in pairs]
    return m.fill(target, [x for key, value in items for x in (key, value)])


def _default_dict(m: Interpreter, factory: Any = None, pairs: Any = ()) -> Any:
    if factory is not None and (not isinstance(factory, Allowed) or factory.name not in _FACTORIES):
        raise TypeError("the factory of a defaultdict is not a plain type")
    made: Any = None if factory is None else _FACTORIES[factory.name]
    return _filled(m, defaultdict(made), pairs)


def _encode(m: Interpreter, text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
        raise TypeError("bytes in an unknown encoding")
    m.charge(len(text))
    return text.encode(encoding)


def _byte_array(m: Interpreter, data: Any = b"", encoding: Any = "latin1") -> bytearray:
    if type(data) is str:
        data = _encode(m, data, encoding)
    if type(data) is not bytes:
        raise TypeError("a bytearray not made from bytes")
    m.charge(len(data))
    return bytearray(data)


def _number(kind: type) -> Callable[..., Any]:
    def make(m: Interpreter, *args: Any) -> Any:
        if len(args) > 2 or not all(type(x) in (int, float, bool) for x in args):
            raise TypeError(f"a {kind.__name__} not made from numbers")
        return kind(*args)

    return make


def _sequence(kind: type) -> Callable[..., Any]:
    def make(m: Interpreter, items: Any = ()) -> Any:
        if type(items) not in (list, tuple, set, frozenset):
            raise TypeError(f"a {kind.__name__} not made from a sequence")
        m.charge(_SET + 8 * len(items))
        if kind in (set, frozenset):
            return kind(m.add(set(), items))
        if kind is tuple:
            m.push_tuple(items)
            return m.stack.pop()
        return kind(items)

    return make


_FACTORIES: dict[str, Any] = {
    "list": list, "dict": dict, "set": set, "int": int, "float": float, "tuple": tuple, "OrderedDict": OrderedDict,
}  # fmt: skip
_BUILTINS: dict[str, Callable[..., Any]] = {
    "set": _sequence(set),
    "frozenset": _sequence(frozenset),
    "list": _sequence(list),
    "tuple": _sequence(tuple),
    "dict": lambda m, pairs=(): _filled(m, {}, pairs),
    "complex": _number(complex),
    "int": _number(int),
    "float": _number(float),
    "bool": _number(bool),
    "slice": lambda m, *args: slice(*args),
    "range": lambda m, *args: range(*args),
    "xrange": lambda m, *args: range(*args),  # how protocol 2 calls it
    "bytearray": _byte_array,
    "bytes": lambda m, data=b"": bytes(_byte_array(m, data)),
}
PLAIN: dict[tuple[str, str], Allowed] = {
    ("collections", "OrderedDict"): Allowed("OrderedDict", _ordered_dict),
    ("collections", "defaultdict"): Allowed("defaultdict", _default_dict),
    ("collections", "Counter"): Allowed("Counter", lambda m, p=(): _filled(m, Counter(), p)),
    ("_codecs", "encode"): Allowed("encode", _encode),
    **{
        (module, name): Allowed(name, fn)
        for module in ("builtins", "__builtin__")
        for name, fn in _BUILTINS.items()
    },
}


def check_result(root: Any) -> None:
    """Refuse what would break code that walks a checkpoint: nesting without end, parts of the reader itself.

    Raises: CheckpointError: nested more than 500 deep, or something that stands for no value.
    """
    level, seen, depth = [root], {id(root)}, 0
    while level:
        below: list[Any] = []
        for x in level:
            if isinstance(x, dict):
                children: Any = (
                    (*x.values(), *vars(x).values()) if type(x) is OrderedDict else x.values()
                )
            elif isinstance(x, list | tuple | set | frozenset):
                children = x
            elif isinstance(x, Internal):
                raise CheckpointError(
                    f"load: the checkpoint holds {getattr(x, 'name', 'an object')!r} itself as a value, which is "
                    "not data"
                )
            else:
                continue
            for child in children:
                if type(child) not in _LEAVES and id(child) not in seen:
                    seen.add(id(child))
                    below.append(child)
        level, depth = below, depth + 1
        if depth > _MOST_NESTED:
            raise CheckpointError(f"load: values are nested more than {_MOST_NESTED} deep")


_LEAVES = frozenset((int, float, str, bool, bytes, type(None)))
