"""Addresses and sizes of memory."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import DeviceError


class TestAddresses:
    def test_the_address_is_numpys(self):
        a = np.arange(12.0).reshape(3, 4)
        x = fb.from_numpy(a)
        assert x.data_ptr() == a.ctypes.data
        assert x[1:, 2].data_ptr() == a.ctypes.data + 8 * 6
        assert x.view(-1).data_ptr() == x.detach().data_ptr() == x.t().data_ptr() == x.data_ptr()
        assert x.clone().data_ptr() != x.data_ptr()

    def test_nothing_has_no_address(self):
        assert fb.empty(0).data_ptr() == fb.ones(3)[3:].data_ptr() == 0
        meta = fb.empty(3, device="meta")
        assert meta.data_ptr() == meta.untyped_storage().data_ptr() == 0
        assert meta.untyped_storage().nbytes() == 12

    def test_other_devices_have_none(self, monkeypatch):
        x = fb.ones(2, 3)
        monkeypatch.setattr(x, "_kind", _Elsewhere(x._kind))
        match = r"data_ptr: only memory of the cpu has an address that Python can use, got \(2, 3\) float32 toy:0"
        with pytest.raises(DeviceError, match=match):
            x.data_ptr()
        s = x.untyped_storage()
        assert s.nbytes() == 24 and not s.is_shared() and s == x[:].untyped_storage()
        with pytest.raises(DeviceError, match="got a storage on toy:0"):
            s.data_ptr()
        with pytest.raises(DeviceError, match="got a storage on toy:0"):
            s.tolist()


class _Elsewhere:
    """A kind that says it lives on another device."""

    def __init__(self, kind):
        self.kind = kind
        self.device = type("toy", (), {"type": "toy", "__str__": lambda self: "toy:0"})()

    def __getattr__(self, name):
        return getattr(self.kind, name)

    def __repr__(self):
        return "float32 toy:0"


class TestStorages:
    def test_views_of_one_memory_have_equal_storages(self):
        x = fb.arange(6.0)
        s, part = x.untyped_storage(), x[2:4].untyped_storage()
        assert s == part and hash(s) == hash(part) and s.data_ptr() == part.data_ptr()
        assert s.nbytes() == s.size() == len(s) == part.nbytes() == 24
        assert s.element_size() == 1 and s.device == x.device and s.untyped() is s
        assert s != x.clone().untyped_storage() and s != 3
        assert repr(s) == "[flambeau.UntypedStorage(device=cpu) of size 24]"

    def test_bytes(self):
        x = fb.tensor([1, 258], dtype=fb.int16)
        assert x.untyped_storage().tolist() == np.array([1, 258], "<i2").view("u1").tolist()

    def test_counted_in_elements(self):
        x = fb.arange(6)
        s = x[1:3].storage()
        assert s.size() == len(s) == 6 and s.nbytes() == 48 and s.element_size() == 8
        assert s.tolist() == list(range(6)) and s[1] == 1 and s[1:3] == [1, 2]
        assert s.dtype is fb.int64 and s.device == x.device
        assert s == x.storage() and hash(s) == hash(x.storage()) and s != 3
        assert s.untyped() == x.untyped_storage() and s.data_ptr() == x.data_ptr()
        assert repr(s) == "[flambeau.TypedStorage(dtype=flambeau.int64, device=cpu) of size 6]"
        assert not s.is_shared()

    def test_a_storage_keeps_its_memory_alive(self):
        s = fb.full((3,), 7.0).storage()
        assert s.tolist() == [7.0] * 3

    def test_an_empty_tensor(self):
        assert fb.empty(0).untyped_storage().nbytes() == 0
        assert fb.empty(0).untyped_storage() != fb.empty(0).untyped_storage()

    def test_memory_with_gaps(self):
        a = np.arange(12.0)[::2]
        assert fb.from_numpy(a).untyped_storage().nbytes() == 96

    def test_is_storage(self):
        x = fb.ones(1)
        assert fb.is_storage(x.storage()) and fb.is_storage(x.untyped_storage())
        assert isinstance(x.untyped_storage(), fb.UntypedStorage)
        assert isinstance(x.storage(), fb.TypedStorage) and not fb.is_storage(x)

    def test_is_set_to(self):
        x = fb.ones(4)
        assert x.is_set_to(x) and x.is_set_to(x.view(4)) and x.is_set_to(x.detach())
        assert not any(x.is_set_to(y) for y in (x.view(2, 2), x.clone(), x[:2], x.double()))
        assert not x[:2].is_set_to(x[2:]) and not x[:2].is_set_to(x[::2])
