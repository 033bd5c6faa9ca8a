"""What encodes inputs, decodes outputs, and maps weights to the chip."""

from snnexp.hxtorch.snn.transforms import decode, encode, weight_transforms

__all__ = ["decode", "encode", "weight_transforms"]
