"""hxtorch's loggers, as Python's own."""

import logging
from enum import IntEnum
from typing import Any


class LogLevel(IntEnum):
    """How much is logged, by hxtorch's names."""

    TRACE = 5
    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARN = logging.WARNING
    ERROR = logging.ERROR
    FATAL = logging.CRITICAL


def get(name: str) -> logging.Logger:
    """The logger of that name."""
    return logging.getLogger(name)


def default_config(level: int = LogLevel.WARN, **rest: Any) -> None:
    """What the loggers of hxtorch and of its backends show; formats are Python's."""
    for name in ("hxtorch", "grenade", "snnexp.hxtorch"):
        logging.getLogger(name).setLevel(level)


def set_loglevel(logger: logging.Logger, level: int) -> None:
    """What this logger shows."""
    logger.setLevel(level)
