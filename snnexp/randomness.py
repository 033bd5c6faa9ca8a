"""All randomness is keyed: the same (seed, epoch, purpose) gives the same numbers, anywhere."""

import hashlib

import torch


def key(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed made of `seed`, `epoch` and `purpose`."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, epoch: int, purpose: str, device: str = "cpu") -> torch.Generator:
    """A generator seeded with `key`."""
    return torch.Generator(device=device).manual_seed(key(seed, epoch, purpose))
