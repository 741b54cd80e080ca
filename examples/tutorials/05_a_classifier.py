"""A classifier: data in batches, training, evaluation on what was held out.

Three spiral arms wind around the origin, made by a formula with some noise; the model is to tell
for a point in the plane which arm it lies on. The loop of section 4 is the one that every network
is trained with.

    python examples/tutorials/05_a_classifier.py
"""

import flambeau as fb
from flambeau import nn, optim
from flambeau.utils.data import DataLoader, Dataset, TensorDataset, random_split


def check(ok: object, what: str) -> None:
    """Stop where something that this tutorial says is not so."""
    if not ok:
        raise SystemExit(f"not as told: {what}")


fb.manual_seed(0)
device = fb.device("cuda" if fb.cuda.is_available() else "cpu")

# ---- 1. The data: 300 points on each arm, class indices as int64
along = fb.linspace(0.25, 1, 300)
points, labels = [], []
for arm in range(3):
    turn = 2 * fb.pi * (along + arm / 3) + 0.25 * fb.randn(300)
    points.append(fb.stack([along * fb.cos(turn), along * fb.sin(turn)], dim=1))
    labels.append(fb.full((300,), arm))
data = TensorDataset(fb.cat(points), fb.cat(labels))
check(len(data) == 900 and data[0][0].shape == (2,), "a length, and one sample at a time")

# ---- 2. A fifth is held out, before anything else looks at the data
train_set, test_set = random_split(data, [720, 180], generator=fb.Generator().manual_seed(1))
check(not set(train_set.indices) & set(test_set.indices), "no sample is in both")

# ---- 3. Batches: shuffled anew in every epoch for training
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
test_loader = DataLoader(test_set, batch_size=64)
first_points, first_labels = next(iter(train_loader))
print("a batch:", first_points.shape, first_labels.shape, first_labels.dtype)
check(len(train_loader) == 23, "22 batches of 32 and one of the 16 that are left")

# ---- 4. Training: forward, loss, clear, backward, step
# CrossEntropyLoss takes raw scores and class indices: no softmax at the end of the model.
hidden = [nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()]
model = nn.Sequential(*hidden, nn.Linear(32, 3)).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.3)
history = []
for epoch in range(20):
    model.train()
    total = 0.0
    for batch_x, batch_y in train_loader:
        batch_x, batch_y = batch_x.to(device), batch_y.to(device)
        loss = criterion(model(batch_x), batch_y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch_y)  # the last batch is smaller
    scheduler.step()
    history.append(total / len(train_set))
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}/20, loss {history[-1]:.4f}, lr {scheduler.get_last_lr()[0]:.4f}")
check(history[-1] < 0.3 * history[0], "the loss fell")


# ---- 5. Evaluation: eval mode, nothing recorded, whole counts instead of means of means
def confusion(loader: DataLoader) -> fb.Tensor:
    """How often class i (row) was taken for class j (column)."""
    table = fb.zeros(3, 3, dtype=fb.int64)
    model.eval()
    with fb.no_grad():
        for batch_x, batch_y in loader:
            guesses = fb.argmax(model(batch_x.to(device)), dim=1).cpu()
            for truth, guess in zip(batch_y.tolist(), guesses.tolist()):
                table[truth, guess] += 1
    model.train()
    return table


table = confusion(test_loader)
accuracy = table.diag().sum().item() / table.sum().item()
precision, recall = table.diag() / table.sum(0), table.diag() / table.sum(1)
print(f"accuracy {accuracy:.3f}\nprecision {precision}\nrecall    {recall}")
check(table.sum() == 180 and accuracy > 0.9, "nearly all held-out points are told right")


# ---- 6. A dataset of one's own: __len__ and __getitem__
class Turned(Dataset):
    """The same points seen from another side, made when they are asked for."""

    def __len__(self) -> int:
        """Number of samples."""
        return len(test_set)

    def __getitem__(self, index: int) -> tuple[fb.Tensor, fb.Tensor]:
        """One point turned by a third of a circle: it lies on the next arm."""
        (x, y), label = test_set[index]
        c, s = -0.5, 0.75**0.5
        return fb.stack([c * x - s * y, s * x + c * y]), (label + 1) % 3


turned = confusion(DataLoader(Turned(), batch_size=64))
print(f"turned by a third: accuracy {turned.diag().sum().item() / 180:.3f}")
check(turned.diag().sum() > 0.85 * 180, "turning moves every arm onto the next one")

# ---- 7. Less memory: the gradients of four small batches add up to that of a large one
model.zero_grad()
criterion(model(first_points.to(device)), first_labels.to(device)).backward()
whole = model[0].weight.grad.clone()
model.zero_grad()
for part in range(4):
    rows = slice(8 * part, 8 * part + 8)
    (criterion(model(first_points[rows].to(device)), first_labels[rows].to(device)) / 4).backward()
check(fb.allclose(whole, model[0].weight.grad, atol=1e-6), "hence zero_grad is a call of its own")
