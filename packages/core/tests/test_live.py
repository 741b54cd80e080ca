"""Error messages that look at the living tensors."""

import gc
import re

import pytest

import flambeau as fb
from flambeau._live import name_of
from flambeau.errors import OutOfMemoryError

HUGE = 10**15  # elements: more than any address space holds


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("zeros", lambda: fb.zeros(HUGE)),
        ("full", lambda: fb.full((HUGE,), 2.0)),
        ("mul", lambda: fb.zeros(10**8, 1) * fb.zeros(1, 10**7)),
        ("copy", lambda: fb.ones(1).expand(HUGE).clone()),
    ],
)
def test_no_room(op, call):
    gc.collect()
    large = fb.ones(1000, 2000)
    half = large[:500]
    with pytest.raises(MemoryError, match=f"^{op}: cpu has no room: .*allocate") as error:
        call()
    assert isinstance(error.value, OutOfMemoryError)
    text = str(error.value)
    assert re.search(r"\n  \d+ tensors live there, .* in all, the largest:\n", text)
    assert "7.629 MiB  (1000, 2000) float32 cpu" in text
    assert "(500, 2000)" not in text  # a view takes no room of its own
    assert "Hint: a smaller batch with gradient accumulation" in text
    del half


def test_tensors_on_other_devices_do_not_count():
    away = fb.ones(10**4, 10**4, device="meta")
    with pytest.raises(OutOfMemoryError) as error:
        fb.zeros(HUGE)
    assert "meta" not in str(error.value)
    del away


def test_a_tensor_of_no_module_has_no_name():
    t = fb.ones(2)
    held = {"_parameters": {"t": t}, "t": t}
    assert name_of(held["t"]) is None
