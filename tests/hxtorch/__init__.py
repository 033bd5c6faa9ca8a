"""Tests of `snnexp.hxtorch`."""
