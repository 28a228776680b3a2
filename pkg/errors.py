"""The ways anything in this project can fail on purpose; every layer raises one of these.

What a controller does with each: ``TransientError`` is retried with backoff,
``TerminalError`` is reported and waits for the desired state to change.
"""


class OnairError(Exception):
    """Root of every error this project raises on purpose. Its text says what to do."""


class TransientError(OnairError):
    """Trying again later may work; the controller retries with backoff."""


class TerminalError(OnairError):
    """Trying again cannot work until the desired state changes; not retried."""


class ConfigError(OnairError):
    """A setting is wrong; the text names the setting and the fix. Start-up ends with it."""
