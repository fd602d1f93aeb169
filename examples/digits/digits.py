"""The job of main.go in Python: a sweep of small neural networks over handwritten digits, then data-parallel training of the best.

The images are put once and shared. Each of 24 configurations times 5 folds is a task. The best configuration is trained by actors
that each compute the gradient of their share of every batch for a parameter server, another actor. With --go the odd
configurations are trained by the tasks of the Go program, so that workers of both languages take part in the sweep.

    weft run examples/digits/digits.py
    go build -o bin/digits ./examples/digits && weft run examples/digits/digits.py --go bin/digits

It needs numpy.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import weft

PIXELS, LEVELS, CLASSES = 64, 16, 10
SEED = 1
WANTED = 0.95  # held-out accuracy below which something is broken


@dataclass(frozen=True)
class Config:
    """One way to train; the fields are those of nn.Config in Go."""

    Hidden: int
    Rate: float
    Decay: float
    Batch: int
    Momentum: float = 0.9
    Epochs: int = 20
    Seed: int = 1

    def __str__(self) -> str:
        return f"hidden {self.Hidden:3}, rate {self.Rate:.3f}, decay {self.Decay:.4f}, batch {self.Batch:2}"


GRID = [Config(*c) for c in itertools.product((16, 32, 64), (0.02, 0.1), (0.0, 0.001), (8, 32))]


# The data: a row of pixels and a label an image.


def load() -> np.ndarray:
    return np.loadtxt(Path(__file__).parent / "data" / "digits.csv", dtype=np.uint8, delimiter=",")


def pack(rows: np.ndarray) -> bytes:
    """The images, then their labels, as data.Set.Pack in Go."""
    return rows[:, :PIXELS].tobytes() + rows[:, PIXELS].tobytes()


def unpack(packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Inputs from 0 to 1, and labels."""
    n = len(packed) // (PIXELS + 1)
    all_ = np.frombuffer(packed, np.uint8)
    return all_[: n * PIXELS].reshape(n, PIXELS).astype(np.float32) / LEVELS, all_[n * PIXELS :]


def deal(labels: np.ndarray, parts: int) -> list[np.ndarray]:
    """Rows in parts that each have their share of every digit."""
    order = np.random.default_rng(SEED).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    return [order[i::parts] for i in range(parts)]


# The network: one hidden layer of rectified units, softmax, stochastic gradient descent with momentum and decay.


class Network:
    def __init__(self, config: Config) -> None:
        rng = np.random.default_rng(config.Seed)
        hidden = config.Hidden
        self.params = [
            rng.normal(0, (2 / PIXELS) ** 0.5, (PIXELS, hidden)).astype(np.float32), np.zeros(hidden, np.float32),
            rng.normal(0, (1 / hidden) ** 0.5, (hidden, CLASSES)).astype(np.float32), np.zeros(CLASSES, np.float32),
        ]  # fmt: skip
        self.speed = [np.zeros_like(p) for p in self.params]
        self.config = config

    def step(self, gradients: list[np.ndarray], rate: float) -> None:
        for p, v, g in zip(self.params, self.speed, gradients):
            decay = self.config.Decay if p.ndim == 2 else 0  # biases have none
            v *= self.config.Momentum
            v -= rate * (g + decay * p)
            p += v


def scores(params: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.maximum(x @ params[0] + params[1], 0)
    return hidden, hidden @ params[2] + params[3]


def gradient(params: list[np.ndarray], x: np.ndarray, labels: np.ndarray, of: int) -> list[np.ndarray]:
    """How the mean loss of a batch of ``of`` examples changes with each parameter, as far as these examples decide it."""
    hidden, out = scores(params, x)
    error = np.exp(out - out.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    error /= of
    back = (error @ params[2].T) * (hidden > 0)
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]


def right(params: list[np.ndarray], x: np.ndarray, labels: np.ndarray) -> int:
    return int((scores(params, x)[1].argmax(axis=1) == labels).sum())


def batches(config: Config, rows: np.ndarray):
    """The rows of each batch of each epoch, with the rate for it, which falls to zero."""
    rng = np.random.default_rng(config.Seed)
    for epoch in range(config.Epochs):
        order = rng.permutation(rows)
        for at in range(0, len(order), config.Batch):
            yield order[at : at + config.Batch], config.Rate * (1 - (epoch + at / len(order)) / config.Epochs)


# The sweep.


@weft.remote
def evaluate(images: bytes, config: Config, fold: int, folds: int) -> dict[str, int]:
    """Trains on all folds but one and counts what it gets right in that: digits.evaluate of Go."""
    x, labels = unpack(images)
    parts = deal(labels, folds)
    held = parts.pop(fold)
    network = Network(config)
    for rows, rate in batches(config, np.concatenate(parts)):
        network.step(gradient(network.params, x[rows], labels[rows], len(rows)), rate)
    return {"Right": right(network.params, x[held], labels[held]), "Of": len(held)}


def start(images: weft.ObjectRef, row: int, config: Config, fold: int, folds: int, go: bool) -> weft.ObjectRef:
    if not go or row % 2 == 0:
        return evaluate.remote(images, config, fold, folds)
    trial = {"Row": row, "Config": asdict(config), "Fold": fold, "Folds": folds}
    return weft.go_function("digits.evaluate").remote(images, trial)


def sweep(images: weft.ObjectRef, grid: list[Config], folds: int, go: bool) -> list[tuple[float, Config, str]]:
    """Every configuration's accuracy over all folds, and who trained it, best first."""
    pending = [[start(images, i, c, fold, folds, go) for fold in range(folds)] for i, c in enumerate(grid)]
    table = []
    for i, (config, refs) in enumerate(zip(grid, pending)):
        found = weft.get(refs)
        accuracy = sum(o["Right"] for o in found) / sum(o["Of"] for o in found)
        table.append((accuracy, config, "Go" if go and i % 2 else "Python"))
    return sorted(table, key=lambda row: -row[0])


# Training together.


@weft.remote(num_cpus=0)
class Server:
    """Has the parameters, and moves them when all gradients of a batch are there."""

    def __init__(self, config: Config) -> None:
        self.network = Network(config)

    def params(self) -> list[np.ndarray]:
        return self.network.params

    def step(self, rate: float, *gradients: list[np.ndarray]) -> list[np.ndarray]:
        self.network.step([sum(g) for g in zip(*gradients)], rate)
        return self.network.params


@weft.remote
class Worker:
    def __init__(self, images: bytes) -> None:
        self.x, self.labels = unpack(images)

    def gradient(self, params: list[np.ndarray], rows: np.ndarray, of: int) -> list[np.ndarray]:
        return gradient(params, self.x[rows], self.labels[rows], of)


def train_together(images: weft.ObjectRef, n: int, config: Config, workers: int) -> list[np.ndarray]:
    """Each step waits for the one before it by its references alone; this program only sees the end."""
    server = Server.remote(config)
    crew = [Worker.remote(images) for _ in range(workers)]
    params = server.params.remote()
    for rows, rate in batches(config, np.arange(n)):
        shares = [w.gradient.remote(params, rows[i::workers], len(rows)) for i, w in enumerate(crew)]
        params = server.step.remote(rate, *shares)
    return weft.get(params)


def run(grid: list[Config] = GRID, folds: int = 5, workers: int = 2, go: bool = False) -> float:
    """Does the whole job, and returns the held-out accuracy."""
    began = time.monotonic()
    rows = load()
    held, *rest = deal(rows[:, PIXELS], 5)
    train = rows[np.concatenate(rest)]
    print(f"{len(train)} digits to learn from, {len(held)} held out")
    images = weft.put(pack(train))
    table = sweep(images, grid, folds, go)
    for accuracy, config, by in table:
        print(f"{config!s:55}  {accuracy:.4f}  {by}")
    print(f"swept in {time.monotonic() - began:.2f} s")
    best = table[0][1]
    params = train_together(images, len(train), best, workers)
    x, labels = unpack(pack(rows[held]))
    accuracy = right(params, x, labels) / len(held)
    print(f"trained {best} with {workers} workers; held-out accuracy {accuracy:.4f}; all of it in {time.monotonic() - began:.2f} s")
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the best of 24 networks for reading digits, and train it.")
    parser.add_argument("--go", metavar="PROGRAM", help="let the Go program train every other configuration")
    parser.add_argument("--workers", type=int, default=2, help="that train the best network together")
    args = parser.parse_args()
    weft.init(go_program=args.go)
    accuracy = run(workers=args.workers, go=args.go is not None)
    weft.shutdown()
    if accuracy < WANTED:
        raise SystemExit(f"digits: held-out accuracy {accuracy:.4f} is below {WANTED}")


if __name__ == "__main__":
    main()
