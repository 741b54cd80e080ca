"""What the listings of the PyTorch tutorials S2 and S3 do (docs/checklist.md), as short programs with known answers.

They are written as PyTorch programs are: `import flambeau as torch` is all that differs.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn, optim
from flambeau.cuda.amp import GradScaler, autocast
from flambeau.utils.data import DataLoader, TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_a_tour_of_tensors():
    """L31."""
    t1 = torch.tensor([1, 2, 3])
    assert f"{t1.shape} {t1.dtype} {t1.device}" == "flambeau.Size([3]) flambeau.int64 cpu"
    assert torch.arange(0, 10, 2).tolist() == [0, 2, 4, 6, 8]
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 6.0])
    assert (a + b).tolist() == [5, 7, 9]
    assert (a * b).tolist() == [4, 10, 18]
    assert torch.dot(a, b).item() == 32.0
    assert (
        torch.matmul(a.view(3, 1), b.view(1, 3)).tolist() == np.outer([1, 2, 3], [4, 5, 6]).tolist()
    )
    x = torch.randn(2, 3, 4)
    assert x.view(6, 4).shape == (6, 4)
    assert x.reshape(-1).shape == (24,)


class Digits(nn.Module):
    def __init__(self):
        super(Digits, self).__init__()  # noqa: UP008  both spellings are in use
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def data():
    """640 pictures whose class can be seen."""
    targets = torch.randint(0, 10, (640,))
    pictures = torch.randn(640, 784)
    pictures[:, :10] += 3 * F.one_hot(targets, 10).float()
    return TensorDataset(pictures, targets)


def epochs(model, optimizer, dataloader, number):
    criterion = nn.CrossEntropyLoss()
    for epoch in range(number):
        total_loss = 0
        for batch_x, batch_y in dataloader:
            batch_x, batch_y = batch_x.to(device), batch_y.to(device)
            loss = criterion(model(batch_x), batch_y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
        print(f"Epoch {epoch + 1}/{number}, Loss: {total_loss / len(dataloader):.4f}")
    return loss


def test_print_and_count():
    """L33."""
    model = Digits()
    print(model)
    assert repr(model) == (
        "Digits(\n"
        "  (fc1): Linear(in_features=784, out_features=128, bias=True)\n"
        "  (fc2): Linear(in_features=128, out_features=64, bias=True)\n"
        "  (fc3): Linear(in_features=64, out_features=10, bias=True)\n"
        ")"
    )
    assert count(model) == 109386


def test_train_evaluate_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """L29, L34, L37, L38."""
    monkeypatch.chdir(tmp_path)
    model, dataloader = Digits().to(device), DataLoader(data(), batch_size=32, shuffle=True)
    assert len(dataloader) == 20
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    loss = epochs(model, optimizer, dataloader, 5)
    printed = re.findall(r"^Epoch (\d)/5, Loss: (\d\.\d{4})$", capsys.readouterr().out, re.M)
    assert len(printed) == 5
    assert float(printed[4][1]) < 0.5 < float(printed[0][1])

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for batch_x, batch_y in dataloader:
            assert not model.fc1.training
            predictions = torch.argmax(model(batch_x), dim=1)
            correct += (predictions == batch_y).sum().item()
            total += batch_y.size(0)
    assert total == 640
    assert correct > 600
    assert re.fullmatch(r"Accuracy: \d\.\d{4}", f"Accuracy: {correct / total:.4f}")
    assert model.train().fc1.training

    torch.save(model.state_dict(), "model.pth")
    again = Digits().to(device)
    assert str(again.load_state_dict(torch.load("model.pth"))) == "<All keys matched successfully>"
    checkpoint = {
        "epoch": 4,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": loss,
    }
    assert loss.grad_fn is not None
    torch.save(checkpoint, "checkpoint.pth")
    checkpoint = torch.load("checkpoint.pth")
    assert checkpoint["epoch"] == 4
    assert checkpoint["loss"].item() == loss.item()
    again.load_state_dict(checkpoint["model_state_dict"])
    other = optim.Adam(again.parameters())
    other.load_state_dict(checkpoint["optimizer_state_dict"])
    batch = next(iter(DataLoader(data(), batch_size=32)))
    for net, rule in ((model, optimizer), (again, other)):
        rule.zero_grad()
        nn.CrossEntropyLoss()(net(batch[0]), batch[1]).backward()
        rule.step()
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(64 * 8 * 8, 128)
        self.fc2 = nn.Linear(128, 10)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(x.size(0), -1)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


class Reader(nn.Module):
    def __init__(self, input_size, hidden_size, num_layers, output_size):
        super().__init__()
        self.lstm = nn.LSTM(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            batch_first=True,
            dropout=0.5,
        )
        self.fc = nn.Linear(hidden_size, output_size)

    def forward(self, x):
        out, (h_n, c_n) = self.lstm(x)
        assert out.shape == (4, 7, 256)
        assert h_n.shape == c_n.shape == (2, 4, 256)
        return self.fc(h_n[-1])


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(784, 256), nn.BatchNorm1d(256)
        self.fc2, self.bn2 = nn.Linear(256, 128), nn.BatchNorm1d(128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, x):
        x = x.view(x.size(0), -1)
        x = F.relu(self.bn1(self.fc1(x)))
        x = F.relu(self.bn2(self.fc2(x)))
        return self.fc3(x)


@pytest.mark.parametrize(
    ("make", "numbers", "shape"),
    [
        (CNN, 545098, (2, 3, 32, 32)),
        (lambda: Reader(100, 256, num_layers=2, output_size=10), 895498, (4, 7, 100)),
        (Normalised, 235914, (4, 1, 28, 28)),
    ],
    ids=["L35", "L36", "L41"],
)
def test_architectures(make, numbers, shape):
    """L35, L36, L41: so many parameters, ten scores for each input, a gradient for each parameter."""
    model = make().to(device)
    assert count(model) == numbers
    scores = model(torch.randn(*shape).to(device))
    assert scores.shape == (shape[0], 10)
    nn.CrossEntropyLoss()(scores, torch.zeros(shape[0], dtype=torch.long).to(device)).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters() if p.dim() > 1)


def test_running_statistics():
    """L41: they follow the batches in training and stay in evaluation."""
    model, x = Normalised(), torch.randn(8, 784)
    before = model.bn1.running_mean.clone()
    model(x)
    after = model.bn1.running_mean.clone()
    assert not torch.equal(before, after)
    np.testing.assert_allclose(
        after.numpy(), 0.1 * model.fc1(x).mean(0).detach().numpy(), rtol=1e-4, atol=1e-6
    )
    model.eval()(x)
    assert torch.equal(model.bn1.running_mean, after)


def test_optimizers_and_a_schedule():
    """L39."""
    model = Digits()
    optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    optim.Adam(model.parameters(), lr=0.001, betas=(0.9, 0.999))
    optimizer = optim.RMSprop(model.parameters(), lr=0.01, alpha=0.99)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1)
    rates = []
    for _ in range(10):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[4] == 0.01
    assert rates[9] == pytest.approx(0.001)


class CustomLoss(nn.Module):
    def forward(self, pred, target):
        return (pred - target).pow(2).mean()


def test_losses():
    """L40."""
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    assert nn.MSELoss()(a, b).item() == pytest.approx(CustomLoss()(a, b).item(), rel=1e-6)
    difference = np.abs(a.numpy() - b.numpy())
    assert nn.L1Loss()(a, b).item() == pytest.approx(difference.mean(), rel=1e-6)
    huber = np.where(difference < 1, difference**2 / 2, difference - 0.5).mean()
    assert nn.SmoothL1Loss()(a, b).item() == pytest.approx(huber, rel=1e-6)
    labels = torch.tensor([0, 2, 1, 1])
    classes = nn.NLLLoss()(nn.LogSoftmax(dim=1)(a), labels)
    assert nn.CrossEntropyLoss()(a, labels).item() == pytest.approx(classes.item(), rel=1e-6)
    yes = (b > 0).float()
    logits = nn.BCEWithLogitsLoss()(a, yes)
    assert nn.BCELoss()(torch.sigmoid(a), yes).item() == pytest.approx(logits.item(), rel=1e-5)


def batches(number, size):
    return [(torch.randn(size, 784), torch.randint(0, 10, (size,))) for _ in range(number)]


def test_clipping():
    """L42: both calls, in the tutorial's order."""
    model, ((x, y),) = Digits(), batches(1, 16)
    (100 * nn.CrossEntropyLoss()(model(x), y)).backward()
    grads = [p.grad for p in model.parameters()]
    length = math.sqrt(sum(float((g**2).sum()) for g in grads))
    norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
    assert norm.item() == pytest.approx(length, rel=1e-5)
    assert length > 1.0 >= math.sqrt(sum(float((g**2).sum()) for g in grads)) > 0.999
    nn.utils.clip_grad_value_(model.parameters(), clip_value=0.1)
    assert all(g.abs().max() <= 0.1 for g in grads)


def test_mixed_precision():
    """L43: on the CPU too, and without a warning (warnings are errors here)."""
    model, criterion, (batch,) = Digits(), nn.CrossEntropyLoss(), batches(1, 32)
    optimizer, scaler, losses = optim.Adam(model.parameters(), lr=0.001), GradScaler(), []
    for batch_x, batch_y in [batch] * 8:
        optimizer.zero_grad()
        with autocast():
            loss = criterion(model(batch_x), batch_y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_accumulated_gradients():
    """L44: four small batches add up to the gradient of one that is four times as large."""
    model, criterion, small = Digits(), nn.CrossEntropyLoss(), batches(4, 8)
    for batch_x, batch_y in small:
        (criterion(model(batch_x), batch_y) / 4).backward()
    accumulated = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    large_x, large_y = (torch.cat(part) for part in zip(*small, strict=True))
    criterion(model(large_x), large_y).backward()
    for one, p in zip(accumulated, model.parameters(), strict=True):
        assert torch.allclose(one, p.grad, rtol=1e-5, atol=1e-7)
