"""SPEC in memory with PyTorch, as one would write it down: random features, ΦᵀΦ, the Cholesky form, eigh, scores.

python torch_in_memory.py A.npy B.npy --rows N --size M --sigma-a S --sigma-b S --modes K
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch


def features(x: torch.Tensor, sigma: float, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(x.shape[1], size, generator=generator) / sigma
    angles = x @ w
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=1) / size**0.5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--sigma-a", type=float)
    parser.add_argument("--sigma-b", type=float)
    parser.add_argument("--modes", type=int, default=10)
    options = parser.parse_args()

    inputs = []
    for path in (options.a, options.b):
        x = torch.from_numpy(np.load(path)[: options.rows]).float()
        inputs.append(x / x.norm(dim=1, keepdim=True).clamp_min(1e-12))
    n = len(inputs[0])
    phi_a = features(inputs[0], options.sigma_a, options.size, 0)
    phi_b = features(inputs[1], options.sigma_b, options.size, 1)
    phi = torch.cat([phi_a, phi_b], dim=1)
    c = (phi.T @ phi).double() / n
    d = c.shape[0]
    signs = torch.ones(d, dtype=torch.float64)
    signs[phi_a.shape[1] :] = -1
    factor = torch.linalg.cholesky(c + 1e-8 * torch.eye(d, dtype=torch.float64))
    values, vectors = torch.linalg.eigh(factor.T @ (signs[:, None] * factor))
    chosen = torch.cat([torch.arange(d - 1, d - 1 - options.modes, -1), torch.arange(options.modes)])
    z = torch.linalg.solve_triangular(factor.T, vectors[:, chosen], upper=True)
    scores = phi @ z.float() / n**0.5
    top = scores.topk(100, dim=0).indices
    print(json.dumps({"eigenvalues": values[chosen].tolist(), "first": int(top[0, 0])}))


if __name__ == "__main__":
    main()
