"""Searches over configurations: Hydra's sweeper on Optuna, its storage, workers and report.

Only `plugin` is imported by the command line; Optuna is imported once a search begins.
"""
