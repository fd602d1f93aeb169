"""What logging prints in a program and its workers: LoggingConfig."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

from weft import _state

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_LEFT_OUT = _STANDARD | {"taskName"}


class _Context(logging.Filter):
    """Gives each record the ids of what runs."""

    def filter(self, record: logging.LogRecord) -> bool:
        session, job = _state.session, _state.running.get()
        if session is not None:
            record.job_id, record.node_id = bytes(session.info.job).hex(), bytes(session.info.node).hex()
            record.worker_id = f"{session.info.worker:08x}"
        if job is not None:
            record.task_id, record.task_name, record.task_func_name = job.task.hex(), job.template.name, job.template.function
            if job.actor:
                record.actor_id = job.actor.hex()
        record.timestamp_ns = time.time_ns()
        return True


class _Text(logging.Formatter):
    """A line, and then what a record has beyond the standard."""

    def __init__(self, more: list[str]) -> None:
        super().__init__("%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s")
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        return " ".join([super().format(record), *(f"{k}={v}" for k, v in _extra(record, self._more).items())])


class _Json(logging.Formatter):
    """An object a line."""

    def __init__(self, more: list[str]) -> None:
        super().__init__()
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "asctime": self.formatTime(record), "levelname": record.levelname, "message": record.getMessage(), "filename": record.filename,
            "lineno": record.lineno, "process": record.process,
        }  # fmt: skip
        if record.exc_info:
            fields["exc_text"] = self.formatException(record.exc_info)
        return json.dumps({**fields, **_extra(record, self._more)}, default=str)


def _extra(record: logging.LogRecord, more: list[str]) -> dict[str, Any]:
    fields = {k: getattr(record, k, None) for k in more}
    fields.update((k, v) for k, v in vars(record).items() if k not in _LEFT_OUT)
    return fields


_FORMATTERS = {"TEXT": _Text, "JSON": _Json}


@dataclass
class LoggingConfig:
    """What the root logger of the program and of its workers prints, to stderr.

    Lines are "TEXT" or "JSON" and have the ids of job, node, worker, task and actor; ``additional_log_standard_attrs`` names more
    attributes of a LogRecord, such as "name".
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in _FORMATTERS:
            raise ValueError(f"Invalid encoding type: {self.encoding}. Valid encoding types are: {list(_FORMATTERS)}")
        for name in self.additional_log_standard_attrs:
            if name not in _STANDARD:
                raise ValueError(f"Unknown python logging standard attribute: {name}. The valid attributes are: {sorted(_STANDARD)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> LoggingConfig:
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{k: v for k, v in d.items() if k in known})

    def _apply(self) -> None:
        """Has this process do so. A second time replaces the first."""
        global _handler
        handler = logging.StreamHandler()
        handler.setLevel(self.log_level)
        handler.setFormatter(_FORMATTERS[self.encoding](self.additional_log_standard_attrs))
        handler.addFilter(_Context())
        root = logging.getLogger()
        root.setLevel(self.log_level)
        if _handler is not None:
            root.removeHandler(_handler)
        root.addHandler(handler)
        _handler = handler


_handler: Any = None


def of(given: Any) -> Any:
    """A LoggingConfig that was given as one or as a dict; None of None."""
    if given is None or isinstance(given, LoggingConfig):
        return given
    if isinstance(given, dict):
        return LoggingConfig.from_dict(given)
    raise TypeError(f"logging_config must be a dict or LoggingConfig, got {type(given)}")
