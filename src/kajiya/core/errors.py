"""Errors for the person who can mend them: what is wrong, where, and what to do about it.

Anything raised as a `KajiyaError` is shown without a traceback; any other exception is a bug.
"""

from __future__ import annotations


class KajiyaError(Exception):
    """A problem that the user can understand and mend.

    `where` names the file, row, field or option; `fix` says what to do. Both may be empty.
    """

    code = "error"

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  → {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.where, self.fix)

    def as_dict(self) -> dict[str, str]:
        """For events and logs."""
        return {
            "code": self.code,
            "message": self.message,
            "where": self.where,
            "fix": self.fix,
        }


def _rebuild(kind: type[KajiyaError], message: str, where: str, fix: str) -> KajiyaError:
    return kind(message, where=where, fix=fix)


class DataError(KajiyaError):
    """The user's data cannot be read or used."""

    code = "data"


class FormatError(KajiyaError):
    """A model, adapter or tokenizer file is not what it says it is, or is not supported."""

    code = "format"


class ConfigError(KajiyaError):
    """An option or configuration file is wrong."""

    code = "config"


class NotFoundError(KajiyaError):
    """A named model, dataset, job or file does not exist."""

    code = "not_found"


class ConflictError(KajiyaError):
    """The request contradicts what exists: a name taken, something in use, a job already running."""

    code = "conflict"


class ResourceError(KajiyaError):
    """This machine has too little memory or disk, or lacks an optional package."""

    code = "resource"


class JobError(KajiyaError):
    """A job failed."""

    code = "job"


class EngineError(KajiyaError):
    """An inference engine failed or went away."""

    code = "engine"
