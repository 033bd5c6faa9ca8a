"""Data sets: small ones are tensors in memory, batched by indexing."""

from snnexp.datasets.memory import IndexSampler, MemoryDataset, Split
from snnexp.datasets.module import Data
from snnexp.datasets.yinyang import YinYang

__all__ = ["Data", "IndexSampler", "MemoryDataset", "Split", "YinYang"]
