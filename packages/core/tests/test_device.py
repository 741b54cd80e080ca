"""Device names."""

import copy
import pickle
import threading

import pytest

import flambeau as fb


def test_names_types_and_indices():
    assert str(fb.device("cpu")) == "cpu"
    assert repr(fb.device("cpu")) == "device(type='cpu')"
    assert repr(fb.device("opencl", 0)) == "device(type='opencl', index=0)"
    assert fb.device("opencl:1").index == 1
    assert str(fb.device("opencl:1")) == "opencl:1"
    assert fb.device("cpu") == fb.device(fb.device("cpu"))
    assert fb.device("cpu") != "cpu"
    assert len({fb.device("cpu"), fb.device("cpu")}) == 1
    assert (
        copy.deepcopy(fb.device("opencl:1"))
        == pickle.loads(pickle.dumps(fb.device("opencl:1")))
        == fb.device("opencl:1")
    )


def test_mistakes():
    for bad in ("", "cpu:", "cpu:-1", "CPU", "a b", "cpu:0:0"):
        with pytest.raises(RuntimeError, match="is not a device name"):
            fb.device(bad)
    with pytest.raises(RuntimeError, match="is not a device name"):
        fb.device("cpu:0", 0)
    with pytest.raises(TypeError, match="device: needs a name such as"):
        fb.device(1.5)
    with pytest.raises(RuntimeError, match="must not be negative"):
        fb.device("opencl", -1)


def test_unknown_device_lists_what_there_is():
    with pytest.raises(RuntimeError, match=r"no installed package provides device 'vulkan'.*cpu"):
        fb.zeros(1, device="vulkan")
    with pytest.raises(RuntimeError, match="no installed package provides device 'vulkan'"):
        fb.zeros(1).to("vulkan:3")


def test_indexed_cpu_is_the_cpu():
    assert fb.zeros(1, device="cpu:0").device == fb.device("cpu")


def test_default_device_is_not_changed_by_a_failure():
    with pytest.raises(RuntimeError, match="no installed package provides"):
        fb.set_default_device("vulkan")
    assert fb.get_default_device() == fb.device("cpu")
    fb.set_default_device("cpu")
    with fb.device("cpu"):
        assert fb.zeros(1).device == fb.device("cpu")


def test_cuda_without_a_gpu():
    if fb.cuda.is_available():
        pytest.skip("an installed backend offers a GPU-like device")
    assert fb.device("cuda").type == "cuda"
    for attempt in (
        lambda: fb.zeros(1).cuda(),
        lambda: fb.zeros(1).to("cuda"),
        lambda: fb.zeros(1, device="cuda:0"),
    ):
        with pytest.raises(AssertionError, match=r"no GPU-like device stands behind 'cuda'.*cpu"):
            attempt()


def test_defaults_are_those_of_a_thread():
    seen = []

    def look():
        seen.append(str(fb.get_default_device()))

    with fb.device("meta"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        look()
    look()
    assert seen == ["cpu", "meta", "cpu"]
