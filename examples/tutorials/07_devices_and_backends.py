"""Devices and backends: where tensors live, and who computes there.

The core of flambeau computes nothing. A backend is a package that brings a device type ("cpu",
"opencl") and is found when one of its devices is first used. Programs name devices; everything else
stays the same on all of them.

    python examples/tutorials/07_devices_and_backends.py
    python -m flambeau doctor        what is installed here, what works, and how to get the rest
"""

import os

import flambeau as fb
from flambeau import nn
from flambeau.backend import registry


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


def message(action: object) -> str:
    """The first line of the error that an action raises."""
    try:
        action()
    except RuntimeError as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    raise SystemExit("not as told: this should have raised")


# ---- 1. Names: a type, and a number where there can be several
second = fb.device("opencl:1")
check((second.type, second.index) == ("opencl", 1), "a device has a type and an index")
check(second == fb.device("opencl", 1) and fb.device("cpu") != second, "devices compare by name")
print("names:", fb.device("cpu"), second, repr(second))

# ---- 2. What is here
found = [entry.name for entry in registry.devices() if entry.info is not None]
check("cpu" in found, "the cpu backend is installed")
check(fb.zeros(2).device == fb.device("cpu"), "the cpu, unless a device is given")

# ---- 3. What is not here says so, with the way out
print(message(lambda: fb.zeros(2, device="opencll")))

# ---- 4. One line that picks the fastest device, on any machine
# "cuda" is an alias: the first GPU-like device of whatever backend is installed. With none,
# cuda.is_available() is False, and programs written for a GPU take their other branch.
device = fb.device("cuda" if fb.cuda.is_available() else "cpu")
same = fb.accelerator.current_accelerator() or fb.device("cpu")
check(device == same, "fb.accelerator says the same, without the word cuda")
check(fb.cuda.is_available() or device.type == "cpu", "no GPU-like device: the cpu")

# The environment can name what stands behind the alias, usually from the shell:
#     FLAMBEAU_CUDA_ALIAS=cpu python program_for_a_gpu.py
before = os.environ.get("FLAMBEAU_CUDA_ALIAS")
os.environ["FLAMBEAU_CUDA_ALIAS"] = "cpu"
check(fb.ones(2).cuda().device == fb.device("cpu"), "the alias can be the cpu itself")
if before is None:
    del os.environ["FLAMBEAU_CUDA_ALIAS"]
else:
    os.environ["FLAMBEAU_CUDA_ALIAS"] = before

# ---- 5. Moving a model and its data
# Module.to() moves parameters and buffers in place; Tensor.to() returns a tensor there.
model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).to(device)
inputs = fb.ones(3, 6).to(device)
check(model(inputs).device == inputs.device, "results stay where the operands are")
check(fb.allclose(inputs.cpu(), fb.ones(3, 6)), "and come back with .cpu()")

# ---- 6. meta: shapes without numbers
# Operations there work out the result's shape and take no memory: a model's sizes are known before
# there is room for it.
huge = fb.empty(200_000, 300_000, device="meta")
product = huge @ huge.T
print("meta:", product.shape, f"would take {product.nbytes / 2**30:.0f} GiB")
print(message(lambda: fb.ones(2) + fb.ones(2, device="meta")))

# ---- 7. The same seed, the same numbers, on every device
# Random numbers depend on the seed and on an element's position, never on threads or on the device.
draws = []
for name in found:
    fb.manual_seed(2026)
    draws.append(fb.rand(1000, device=name).cpu())
check(all((draw == draws[0]).all() for draw in draws), "bit for bit")
fb.manual_seed(2026)
check((fb.rand(1000) == draws[0]).all(), "and again after seeding again")
print("first of seed 2026:", draws[0][:3])
