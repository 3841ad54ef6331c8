"""Covariance and scores of random Fourier features in PyTorch, with all rows in the card's memory.

python torch_resident.py A/features B/features MAPS.npz [--device cuda] [--batch ROWS] [--rows N]

A/features and B/features are Zarr arrays of float16 rows. MAPS.npz holds the frequencies w_a, w_b (p, m), the centres
centre_a, centre_b (p,), and the coefficients (d, k) of the modes. Rows go to the card as float16 and stay there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import numpy as np
import torch
import zarr


def resident(path: str, rows: int | None, device: torch.device) -> torch.Tensor:
    """The rows of an array on the device, copied from pinned memory, a chunk while the next one is read."""
    array = zarr.open_array(path, mode="r")
    n = array.shape[0] if rows is None else min(rows, array.shape[0])
    out = torch.empty(n, array.shape[1], dtype=torch.float16, device=device)
    step = array.chunks[0]
    pinned = [
        torch.empty(step, array.shape[1], dtype=torch.float16, pin_memory=device.type == "cuda") for _ in range(2)
    ]
    copied = [torch.cuda.Event() for _ in range(2)] if device.type == "cuda" else []
    for number, low in enumerate(range(0, n, step)):
        count = min(step, n - low)
        buffer = pinned[number % 2][:count]
        if copied:
            copied[number % 2].synchronize()
        buffer.copy_(torch.from_numpy(np.asarray(array[low : low + count])))
        out[low : low + count].copy_(buffer, non_blocking=True)
        if copied:
            copied[number % 2].record()
    return out


class Features:
    """Features of batches of rows, in one buffer.

    Parameters
    ----------
    inputs : the rows of each embedding
    maps : w_a, w_b, centre_a, centre_b
    batch : rows at a time
    """

    def __init__(self, inputs: list[torch.Tensor], maps: dict[str, torch.Tensor], batch: int) -> None:
        self.inputs, self.batch = inputs, batch
        self.maps = [(maps[f"w_{letter}"], maps[f"centre_{letter}"]) for letter in "ab"]
        width = sum(2 * w.shape[1] for w, _ in self.maps)
        self.buffer = torch.empty(min(batch, len(inputs[0])), width, device=inputs[0].device)

    def batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the first row of each batch, and its features, which the next ones take the place of."""
        n = len(self.inputs[0])
        for low in range(0, n, self.batch):
            count, at = min(self.batch, n - low), 0
            for x, (w, centre) in zip(self.inputs, self.maps, strict=True):
                m = w.shape[1]
                angles = (x[low : low + count].float() - centre) @ w
                torch.cos(angles, out=self.buffer[:count, at : at + m])
                torch.sin(angles, out=self.buffer[:count, at + m : at + 2 * m])
                self.buffer[:count, at : at + 2 * m] /= m**0.5
                at += 2 * m
            yield low, self.buffer[:count]


def covariance(features: Features, n: int) -> torch.Tensor:
    d = features.buffer.shape[1]
    total = torch.zeros(d, d, dtype=torch.float64, device=features.buffer.device)
    product = torch.empty(d, d, device=features.buffer.device)
    for _, phi in features.batches():
        torch.mm(phi.T, phi, out=product)
        total += product
    return total / n


def scores(features: Features, coefficients: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The scores in host memory, their fourth moments and the leading rows of both tails."""
    k = coefficients.shape[1]
    weights = (coefficients / n**0.5).float()
    out = torch.empty(n, k, device=features.buffer.device)
    for low, phi in features.batches():
        torch.mm(phi, weights, out=out[low : low + len(phi)])
    fourths = (out.double() ** 4).sum(dim=0)
    top = min(100, n)
    tails = torch.stack([out.topk(top, dim=0).indices, (-out).topk(top, dim=0).indices])
    return out.cpu(), fourths.cpu(), tails.cpu()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("maps")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device(options.device)

    def done() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    with np.load(options.maps) as held:
        maps = {name: torch.from_numpy(held[name]).to(device) for name in held.files}
    began = done()
    inputs = [resident(path, options.rows, device) for path in (options.a, options.b)]
    loaded = done()
    n = len(inputs[0])
    features = Features(inputs, maps, options.batch)
    for _ in features.batches():  # libraries are loaded and memory is taken before the clock runs
        break
    torch.mm(features.buffer.T, features.buffer)
    started = done()
    c = covariance(features, n)
    accumulated = done()
    found, fourths, _ = scores(features, maps["coefficients"], n)
    ended = done()

    z, m = maps["coefficients"], maps["w_a"].shape[1]
    w = c @ z
    values = (w[: 2 * m] ** 2).sum(dim=0) - (w[2 * m :] ** 2).sum(dim=0)
    print(
        json.dumps(
            {
                "rows": n,
                "load": loaded - began,
                "covariance": accumulated - started,
                "scores": ended - accumulated,
                "eigenvalues": values.tolist(),
                "fourths": fourths.tolist(),
                "norms": found.norm(dim=0).tolist(),
                "peak": torch.cuda.max_memory_allocated() if device.type == "cuda" else 0,
            }
        )
    )


if __name__ == "__main__":
    main()
