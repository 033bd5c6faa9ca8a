"""Errors that a user can cure: the message is the whole story, no traceback is shown."""


class UserError(Exception):
    """Base of the errors that the command line prints as one message."""


class ConfigError(UserError):
    """A configuration that cannot be run."""


class RunError(UserError):
    """A run that cannot be started, continued or read."""


class TrainingError(UserError):
    """A training that had to stop."""


def interruption(error: BaseException) -> KeyboardInterrupt | None:
    """What interrupted the work at whose end `error` was raised; None if nothing did.

    On an interruption torch wraps it, and Lightning exits or fails at what it had only begun.
    """
    cause = error.__context__
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause
