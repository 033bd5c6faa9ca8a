"""Encoders: a data set's values [batch, feature] to a network's inputs.

Called as `encoder(values, generator)`; only encoders that draw use the generator.
"""

from snnexp.encoders.augmented import Augmented
from snnexp.encoders.constant import Constant
from snnexp.encoders.encoder import Encoder, NoEncoder
from snnexp.encoders.grid import Augmentation, EventGrid
from snnexp.encoders.latency import Latency, RepeatedLatency
from snnexp.encoders.poisson import Poisson

__all__ = [
    "Augmentation",
    "Augmented",
    "Constant",
    "Encoder",
    "EventGrid",
    "Latency",
    "NoEncoder",
    "Poisson",
    "RepeatedLatency",
]
