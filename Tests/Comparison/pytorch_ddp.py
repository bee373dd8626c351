"""Training throughput of PyTorch's DistributedDataParallel on the model that `convnn bench` measures.

    pip install torch==2.13.0+cpu          # any 2.x
    python3 Tests/Comparison/pytorch_ddp.py --layer Attention
    python3 Tests/Comparison/pytorch_ddp.py --layer ConvNNAttention --bf16

A process per rank, one thread each, gloo between them, AdamW, clipping of the gradient's norm, random images in
memory: ViT-Tiny, 12 blocks of width 192, 224 px, patch 16, dropout 0.1. ConvNN-Attention is written with
`topk` and `gather`, as is usual. Prints images/s of all ranks: the median of the steps, least and most.
"""

import argparse
import os
import socket
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

WIDTH, HEADS, MLP, BLOCKS, PATCH, SIDE, CLASSES, DROPOUT = 192, 3, 768, 12, 16, 224, 10, 0.1


class Attention(nn.Module):
    """Multi-head attention by the fused kernel that PyTorch has for it."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT if self.training else 0)
        return self.out(y.transpose(1, 2).reshape(b, t, WIDTH))


class ConvNNAttention(nn.Module):
    """The K most similar tokens of each token, weighted by a depthwise convolution over them."""

    def __init__(self, neighbours):
        super().__init__()
        self.neighbours = neighbours
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.conv = nn.Conv1d(WIDTH, WIDTH, neighbours, stride=neighbours, groups=WIDTH, bias=False)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.q(x), self.k(x), self.v(x)
        scores = torch.matmul(k, q.transpose(1, 2)) / d**0.5
        best, index = torch.topk(scores, self.neighbours, dim=-1)
        weights = torch.softmax(best, dim=-1)
        chosen = v.unsqueeze(1).expand(b, t, t, d)
        chosen = torch.gather(chosen, 2, index.unsqueeze(-1).expand(b, t, self.neighbours, d))
        weighted = (chosen * weights.unsqueeze(-1)).reshape(b, t * self.neighbours, d)
        y = self.conv(weighted.transpose(1, 2)).transpose(1, 2)
        return self.out(self.dropout(y))


class Block(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(WIDTH), attention, nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, MLP), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(MLP, WIDTH))
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class VisionTransformer(nn.Module):
    def __init__(self, layer, neighbours):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (SIDE // PATCH) ** 2 + 1, WIDTH) * 0.02)
        make = Attention if layer == "Attention" else lambda: ConvNNAttention(neighbours)
        self.blocks = nn.Sequential(*(Block(make()) for _ in range(BLOCKS)))
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.position
        return self.classifier(self.blocks(x)[:, 0])


def work(rank, port, a):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=a.ranks)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = DistributedDataParallel(VisionTransformer(a.layer, a.neighbours))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    share = a.batch_size // a.ranks
    images, labels = torch.randn(share, 3, SIDE, SIDE), torch.randint(CLASSES, (share,))
    rates = []
    for step in range(a.steps + 2):
        dist.barrier()
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.bf16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        dist.barrier()
        # The first two warm up.
        if step >= 2:
            rates.append(share * a.ranks / (time.perf_counter() - start))
    if rank == 0:
        precision = "bf16" if a.bf16 else "fp32"
        print(f"PyTorch {torch.__version__} {a.layer} {precision}: {statistics.median(rates):.2f} images/s "
              f"({min(rates):.2f}-{max(rates):.2f})")
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layer", choices=["Attention", "ConvNNAttention"], default="Attention")
    parser.add_argument("--neighbours", "--K", type=int, default=9)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=32, help="of all ranks")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="torch.autocast in bfloat16")
    arguments = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    mp.spawn(work, args=(free, arguments), nprocs=arguments.ranks)
