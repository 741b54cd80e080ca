"""An interpreter of pickles that builds plain values and calls nothing but what it was given by name.

Reference: the opcodes as the standard library's pickletools documents them, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from flambeau.errors import CheckpointError

#: Bytes that objects may take before their number is held against the file's size.
FREE = 16 << 20
MOST_NESTED = 500
_MOST_COLLISIONS = 64
_MOST_IN_KEY = 10_000
_MOST_CHAINED = 10_000
_BOX, _SET, _CALL = 64, 216, 256
#: What copying an entry of a dict or an element of a set costs, at least.
ENTRY = 40
_NONE = object()
#: Types whose values hold no others.
LEAVES = frozenset((int, float, str, bool, bytes, type(None)))
#: Python frees these by a function that calls itself for each one inside: a long chain would overflow the C stack.
_CHAINED = frozenset((defaultdict, deque))
_WEIGHED = frozenset((tuple, frozenset))
_WITH_STATE = frozenset((OrderedDict, Namespace, SimpleNamespace))


def short(value: Any) -> str:
    """A value in a message; the text of containers could grow without bounds, so they give their type."""
    kind = type(value)
    if kind is tuple and len(value) <= 8 and all(type(x) in LEAVES for x in value):
        return f"({', '.join(map(short, value))}{',' * (len(value) == 1)})"
    if kind in (str, bytes):
        return repr(value[:80])
    if kind is int and value.bit_length() > 80:
        return "a huge number"
    return repr(value) if kind in LEAVES else f"a {kind.__name__}"


class Internal:
    """What the reader works with and no checkpoint may hold."""

    __slots__ = ()


class Allowed(Internal):
    """Something that a pickle may call: fn(interpreter, *args)."""

    __slots__ = ("fn", "name")

    def __init__(self, name: str, fn: Callable[..., Any]) -> None:
        self.name, self.fn = name, fn


class Declared(Allowed):
    """A class or function that the caller declared harmless; the pickle gets it as it is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        super().__init__(getattr(value, "__qualname__", "?"), lambda m, *args: value(*args))
        self.value = value


class Pending(Internal):
    """What a first reading puts in place of every object that needs the storages."""


#: What a first reading takes every global for.
ANYTHING = Allowed("anything", lambda m, *args: Pending())


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
        #: id of a class or function -> it, as the caller declared it.
        self.declared: dict[int, Declared] = {}
        self.chained = 0
        self.outside: Exception | None = None

    def run(self) -> Any:
        """The object; `at` is then behind the pickle.

        Raises: CheckpointError: not a pickle, or one that asks for more than plain values.  Others: what a device, a
            disk, or a function of the caller's raised.
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
        except CheckpointError:
            raise
        except Exception as error:
            if error is self.outside:
                raise
            raise self._damaged(_reason(error)) from None
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
        self.weigh(made)
        self.stack.append(made)

    def weigh(self, made: Any) -> None:
        """Note how deep a tuple or frozenset nests, and how many values comparing it with another may visit."""
        depth, weight, flat = 0, len(made), True
        for x in made:
            if type(x) in _WEIGHED:
                below, inside = self.nests.get(id(x), (0, len(x)))
                depth, weight, flat = max(depth, below + 1), weight + inside, False
        if type(made) is frozenset:
            depth = 0  # it remembers its hash
        if depth > MOST_NESTED:
            raise CheckpointError(f"load: tuples are nested more than {MOST_NESTED} deep")
        if not flat or id(made) in self.nests:
            self.nests[id(made)] = depth, weight

    def key(self, container: Any, key: Any) -> Any:
        """A key, unless many keys were chosen to have one hash."""
        kind = type(key)
        if kind is str or (kind is int and -(2**60) < key < 2**60):
            return key
        weight = self.nests.get(id(key), (0, 0))[1] if kind in _WEIGHED else 0
        if weight > _MOST_IN_KEY:
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
        if type(target) is defaultdict:
            self.chain(items)
        for i in range(0, len(items), 2):
            target[self.key(target, items[i])] = items[i + 1]
        return target

    def extend(self, target: Any, items: Any) -> None:
        """Put elements at the end of a list or deque."""
        if isinstance(target, Pending):
            return
        if type(target) is deque:
            self.charge(8 * len(items))
            self.chain(items)
        elif not isinstance(target, list):
            raise TypeError(f"elements for a {type(target).__name__}")
        target.extend(items)

    def chain(self, items: Any) -> None:
        """Note containers of which a long chain could not be freed."""
        self.chained += sum(type(x) in _CHAINED for x in items)
        if self.chained > _MOST_CHAINED:
            raise CheckpointError(
                f"load: more than {_MOST_CHAINED} defaultdicts and deques are nested in others"
            )

    def frozen(self, items: Any) -> frozenset[Any]:
        """A frozenset."""
        self.charge(_SET)
        made = frozenset(self.add(set(), items))
        self.weigh(made)
        return made

    def add(self, target: Any, items: Any) -> Any:
        """Put elements into a set."""
        if isinstance(target, Pending):
            return target
        if not isinstance(target, set):
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
            found = self.find_global(module, name)
            if isinstance(found, Declared):
                self.declared[id(found.value)] = found
                found = found.value
            self.globals[place] = found
        self.stack.append(found)

    def call(self, fn: Any, args: Any) -> None:
        """Push the result of an allowed function."""
        if isinstance(fn, Pending):
            self.stack.append(fn)
            return
        known = fn if isinstance(fn, Allowed) else self.declared.get(id(fn))
        if known is None or not isinstance(args, tuple):
            raise TypeError(f"a {type(fn).__name__} cannot be called")
        self.charge(_CALL)
        if known is fn:
            self.stack.append(known.fn(self, *args))
        else:
            self.stack.append(self.theirs(fn, args))

    def new(self, cls: Any, args: Any) -> None:
        """Push an object of a class, which its __init__ never sees."""
        if id(cls) not in self.declared or not isinstance(cls, type):
            return self.call(cls, args)
        self.charge(_CALL)
        self.stack.append(self.theirs(cls.__new__, (cls, *args)))

    def theirs(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """The result of a function of the caller's, whose errors are its own."""
        try:
            return fn(*args)
        except Exception as error:
            self.outside = error
            raise

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
        """Give an object its state: attributes, or the values of a NumPy array."""
        from flambeau.serialization._numpy import set_state

        kind = type(target)
        if isinstance(target, Pending):
            return
        if id(kind) in self.declared:
            self.theirs(_set_state, (target, state))
        elif kind in _WITH_STATE and type(state) is dict:
            self.charge(ENTRY * len(state))
            article = "an" if kind is OrderedDict else "a"
            for name, value in state.items():
                if type(name) is not str or hasattr(kind, name):
                    raise TypeError(f"attributes of {article} {kind.__name__} that hide its own")
                setattr(target, name, value)
        else:
            set_state(self, target, state)


def _set_state(target: Any, state: Any) -> None:
    """As pickle does it."""
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if parts[0]:
        vars(target).update(parts[0])
    for name, value in (parts[1] or {}).items():
        setattr(target, name, value)


def _reason(error: Exception) -> str:
    if isinstance(error, IndexError):
        return "it ends early or takes what is not there"
    if isinstance(error, RecursionError | MemoryError):
        return "it is nested too deep or too large"
    return f"{type(error).__name__}: {str(error)[:200]}"


def _push(make: Callable[[Interpreter], Any]) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        made = make(m)  # which may replace m.stack
        m.stack.append(made)

    return act


def _box(make: Callable[[], Any], cost: int) -> Callable[[Interpreter], None]:
    def act(m: Interpreter) -> None:
        m.charge(cost)
        m.stack.append(make())

    return act


def _mark(m: Interpreter) -> None:
    m.charge(_BOX)
    if len(m.outer) > MOST_NESTED:
        raise CheckpointError(f"load: values are nested more than {MOST_NESTED} deep")
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
    m.extend(m.stack[-1], items)


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


def _append(m: Interpreter) -> None:
    item = m.stack.pop()
    m.extend(m.stack[-1], [item])


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
    "\x91": _push(lambda m: m.frozen(m.marked())),
    "a": _append,
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
    "\x81": _binary_call(Interpreter.new),
    "Q": _push(lambda m: m.persistent_load(m.stack.pop())),
}


def _build(m: Interpreter) -> None:
    state = m.stack.pop()
    m.build(m.stack[-1], state)


_ACTIONS["b"] = _build
TABLE = [_ACTIONS.get(chr(code)) for code in range(256)]
