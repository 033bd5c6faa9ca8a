"""Data sets: small ones are tensors in memory, batched by indexing."""

from snnexp.datasets.heidelberg import SHD, SSC
from snnexp.datasets.memory import IndexSampler, MemoryDataset, Split, as_floats
from snnexp.datasets.mnist import MNIST
from snnexp.datasets.module import Data
from snnexp.datasets.ones import Ones
from snnexp.datasets.yinyang import YinYang

__all__ = [
    "MNIST",
    "SHD",
    "SSC",
    "Data",
    "IndexSampler",
    "MemoryDataset",
    "Ones",
    "Split",
    "YinYang",
    "as_floats",
]
