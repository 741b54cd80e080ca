"""Tensors: arrays that know their dtype and their device.

Whoever knows NumPy knows most of this page; what differs is said where it shows. The data are made
here by a formula: what three thermometers in a greenhouse, hung one above the other, would read
every hour for two days.

    python examples/tutorials/01_tensors.py
"""

import numpy as np

import flambeau as fb


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


# ---- 1. Making tensors
# The elements choose the dtype: whole numbers int64, others float32 (NumPy takes float64), truth
# values bool.
counts = fb.tensor([3, 1, 2])
heights = fb.tensor([0.5, 1.5, 2.5])  # of the thermometers, in metres
print(counts, counts.dtype, counts.device)
print(heights, heights.dtype)
check(fb.tensor([True, False]).dtype is fb.bool, "truth values become bool")
check(fb.tensor([1, 2], dtype=fb.float64).dtype is fb.float64, "dtype= overrides that")

# Or a pattern fills a shape: zeros, ones, full, eye, arange, linspace, and random numbers.
fb.manual_seed(7)
noise = fb.randn(48, 3)
check(noise.shape == (48, 3) and noise.size(0) == 48, "a shape is a tuple")
print("noise:", noise.shape, f"mean {noise.mean():.2f}, std {noise.std():.2f}")
hours = fb.arange(48)
check(fb.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1], "linspace has both ends")

# ---- 2. Arithmetic and broadcasting
# Shapes are lined up from the right, and a size of 1 stretches: (48, 1) and (3,) make (48, 3), each
# hour with each height. Mixing int64 with float32 gives float32.
daily = 5 * fb.sin(2 * fb.pi * (hours - 9) / 24)
check(daily.dtype is fb.float32, "int64 with a Python float gives float32")
temperature = 20 + daily.unsqueeze(-1) + 0.8 * heights + 0.1 * noise
print("temperature:", temperature.shape, temperature.dtype)
try:
    temperature + fb.ones(48)  # lined up from the right, 3 meets 48
except RuntimeError as error:
    print("error:", str(error).splitlines()[0])

# ---- 3. Indexing: as in NumPy
noon, top = temperature[12], temperature[:, -1]
check(noon.shape == (3,) and top.shape == (48,), "an integer takes a dimension away")
check(temperature[6:18:3, 0].shape == (4,), "every third hour of one day")
warm = temperature[temperature > 26]
check(warm.ndim == 1 and bool((warm > 26).all()), "a mask selects elements")
check(temperature[fb.tensor([0, 24]), :].shape == (2, 3), "a tensor of positions selects rows")
print(f"noon: {noon.tolist()[0]:.1f} to {noon[2].item():.1f}; {len(warm)} readings above 26")

# ---- 4. Reducing: over everything, or along a dimension
print(f"all: {temperature.mean():.2f}; by height:", temperature.mean(dim=0))
hottest = temperature.max(dim=0)  # with dim=, values and where they are
check((temperature.argmax(0) == hottest.indices).all(), "argmax gives the same places")
check((hottest.indices % 24 - 15).abs().max() <= 4, "it is hottest around three")

# ---- 5. Other shapes of the same memory
# view() looks at the same elements in another shape; writing through one shows in the other.
by_day = temperature.view(2, 24, 3)
by_day[1, 0, 0] = -40.0
check(temperature[24, 0] == -40, "a view shares memory")
temperature[24, 0] = temperature[0, 0]
check(by_day.mean(dim=1).shape == (2, 3), "two days, three heights")

# A transposed tensor is a view as well, no longer in row-major order: view() refuses, reshape()
# copies.
try:
    temperature.T.view(-1)
except RuntimeError as error:
    print("error:", str(error).split("(")[0].strip(), "...", str(error).split(". ")[-1])
check(temperature.T.reshape(-1).shape == (144,), "reshape copies where it must; -1 means: the rest")
check(counts[None].squeeze().shape == counts.shape, "None adds a size of 1, squeeze drops it")

# ---- 6. Matrices
weights = fb.tensor([0.5, 0.3, 0.2])
felt = temperature @ weights  # (48, 3) @ (3,)
check(fb.allclose(felt, fb.matmul(temperature, weights.view(3, 1)).squeeze(1)), "@ is matmul")
check(fb.dot(weights, fb.ones(3)).item() == 1.0, "dot of two vectors is one number")
print("felt at noon:", felt[12])

# ---- 7. Casting, and in-place
check(felt.long().dtype is fb.int64 and felt.double().dtype is fb.float64, "or to(dtype)")
# Augmented assignment, and methods with a trailing underscore, write into the tensor itself.
felt -= felt.mean()
check(abs(felt.mean().item()) < 1e-5, "felt was changed in place")

# ---- 8. NumPy on the same memory
array = np.arange(6.0)
shared = fb.from_numpy(array)  # keeps float64
array[0] = 100.0
check(shared[0] == 100 and shared.dtype is fb.float64, "from_numpy shares memory")
back = temperature.numpy()
back[0, 0] = 0.0
check(temperature[0, 0] == 0, "and so does numpy()")
print("from NumPy:", shared)
