"""Errors that a user can cure: the message is the whole story, no traceback is shown."""


class UserError(Exception):
    """Base of the errors that the command line prints as one message."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class RunError(UserError):
    """A run that cannot be started, continued or read."""


class TrainingError(UserError):
    """A training that had to stop."""
