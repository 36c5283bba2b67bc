"""The recipe `pretrain-llama-tiny` as a plain loop, as a peer of `openbook train`: the same model, data, steps and optimizer.

python benchmarks/plain_loop.py TEXT [STEPS]
"""

import gzip
import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

T, B, E, H, L, W = 64, 12, 128, 4, 4, 344
LR, WARMUP, SEED = 3e-3, 100, 1337


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.RMSNorm(E, 1e-6), nn.RMSNorm(E, 1e-6)
        self.qkv, self.out = nn.Linear(E, 3 * E, bias=False), nn.Linear(E, E, bias=False)
        self.gate, self.up, self.down = (nn.Linear(*two, bias=False) for two in ((E, W), (E, W), (W, E)))

    def forward(self, x, cos, sin):
        q, k, v = self.qkv(self.n1(x)).view(len(x), -1, 3 * H, E // H).transpose(1, 2).chunk(3, 1)
        q, k = (one * cos + torch.cat((-one[..., E // H // 2 :], one[..., : E // H // 2]), -1) * sin for one in (q, k))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y = self.n2(x := x + self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tokens, self.layers = nn.Embedding(vocab, E), nn.ModuleList(Layer() for _ in range(L))
        self.norm = nn.RMSNorm(E, 1e-6)
        angles = torch.outer(torch.arange(T), 1e4 ** (-torch.arange(0, E // H, 2) / (E // H))).repeat(1, 2)
        self.cos, self.sin = angles.cos(), angles.sin()
        for p in self.parameters():
            p.data.normal_(std=0.02) if p.ndim > 1 else None

    def forward(self, ids, targets):
        x = self.tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])
        return F.cross_entropy((self.norm(x) @ self.tokens.weight.T).flatten(0, 1), targets.flatten())


def main(path, steps=2000):
    text = (gzip.decompress(Path(path).read_bytes()) if path.endswith("gz") else Path(path).read_bytes()).decode()
    known = {one: at for at, one in enumerate(sorted(set(text)))}
    data = torch.tensor([known[one] for one in text])
    train, held = data[: int(0.9 * len(data))], data[int(0.9 * len(data)) :]
    torch.manual_seed(SEED)
    model, began = Llama(len(known)), time.monotonic()
    groups = [{"params": [p for p in model.parameters() if (p.ndim > 1) == is_matrix]} for is_matrix in (True, False)]
    groups[1]["weight_decay"] = 0.0
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    for step in range(steps):
        done = (step - WARMUP) / max(steps - WARMUP, 1)
        rate = (step + 1) / (WARMUP + 1) if done < 0 else 0.1 + 0.45 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = LR * rate
        rows = torch.stack([train[at : at + T + 1] for at in torch.randint(len(train) - T - 1, (B,)).tolist()])
        optimizer.zero_grad()
        model(rows[:, :-1], rows[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.monotonic() - began
    with torch.no_grad():
        rows = held[: (len(held) - 1) // T * T + 1].unfold(0, T + 1, T)
        loss = sum(float(model(part[:, :-1], part[:, 1:])) * len(part) for part in rows.split(64)) / len(rows)
    print(f'{{"loss": {loss:.4f}, "seconds": {seconds:.2f}, "steps": {steps}}}')


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
