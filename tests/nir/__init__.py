"""Tests of `snnexp.nir`."""
