"""What the page of one job shows, worked out from what the job has told."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import yaml

from kajiya.core.printable import printable
from kajiya.core.workspace import Workspace
from kajiya.jobs.history import Histories, History
from kajiya.jobs.job import Job, log_tail
from kajiya.jobs.kinds import FINISHABLE
from kajiya.jobs.status import State
from kajiya.server.console.formatting import moment_text

_POINTS = 1200  # of a metric: about one for every pixel of a wide chart
_TRAININGS = ("forge", "tune", "pretrain")  # have losses and a chart; others have stages
_TABS = ("messages", "samples", "raw", "options")
_histories = Histories()

BADGES = {
    State.SUCCEEDED: "good",
    State.FAILED: "bad",
    State.LOST: "bad",
    State.RUNNING: "busy",
    State.STOPPING: "warning",
    State.CANCELLED: "warning",
    State.STOPPED: "warning",
}


def row_of(job: Job) -> dict[str, Any]:
    """A job in a list."""
    return {
        "id": job.id,
        "name": job.spec.name if job.spec else "?",
        "kind": job.spec.kind if job.spec else "",
        "state": job.state.value,
        "label": job.state.label,
        "badge": BADGES.get(job.state, ""),
        "created": moment_text(job.created),
        "took": clock(seconds) if (seconds := _seconds(job)) is not None else "",
    }


def job_values(job: Job, workspace: Workspace) -> dict[str, Any]:
    """For the template: all that is known now. The script goes on from `position`."""
    measured = job.spec is None or job.spec.kind in _TRAININGS
    history = _histories.of(job.events)
    with history.lock:
        summary, position = history.summary, history.position
        live = {
            "position": position,
            "stages": [stage.model_dump() for stage in summary.stages.values()],
            "step": summary.step,
            "metrics": {k: v for k, v in summary.metrics.items() if math.isfinite(v)},
            "logs": [log.model_dump() for log in history.logs],
            "samples": [sample.model_dump() for sample in history.samples],
            "artifacts": [made.model_dump() for made in summary.artifacts],
        }
    return {
        "job": row_of(job),
        "live": live,
        "ended": job.ended,
        "resumable": job.state.resumable and job.spec is not None,
        "finishable": not job.ended and job.spec is not None and job.spec.kind in FINISHABLE,
        "deletable": job.ended,
        "error": _error(job),
        "result": _result(job),
        "options": _options(job),
        "epochs": _epochs(job),
        "split": _is_split(job),
        "again": job.spec is not None and job.spec.kind in FINISHABLE,
        "measured": measured,
        "tabs": [name for name in _TABS if measured or name != "samples"],
    }


def chart_of(job: Job, first: float | None = None, last: float | None = None) -> dict[str, Any]:
    """Thinned series by name, `[[steps], [values]]`, and the position in the events they reach to."""
    history = _histories.of(job.events)
    limits = (-math.inf if first is None else first, math.inf if last is None else last)
    with history.lock:
        return {"position": history.position, "series": _series(history, limits)}


def _series(history: History, limits: tuple[float, float]) -> dict[str, list[list[float | None]]]:
    thinned = {name: part.thinned(_POINTS, *limits) for name, part in history.series.items()}
    return {
        name: [list(steps), [value if math.isfinite(value) else None for value in values]]
        for name, (steps, values) in thinned.items()
    }


def clock(seconds: float) -> str:
    """`1:02:03` or `2:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _seconds(job: Job) -> float | None:
    end = job.finished or (None if job.ended else datetime.now().timestamp())
    return max(0.0, end - job.started) if job.started and end else None


def _error(job: Job) -> dict[str, str] | None:
    """Why it failed, with the end of its log."""
    if job.error is None:
        return None
    told = job.error.model_dump()
    return told | {"traceback": printable(told["traceback"] or log_tail(job.log_file))}


def _result(job: Job) -> dict[str, Any] | None:
    try:
        return job.result
    except (OSError, ValueError):
        return None  # deleted or damaged by hand


def _options(job: Job) -> list[tuple[str, str]]:
    """All settings, flat."""
    if job.spec is None:
        return []
    flat: list[tuple[str, str]] = []
    for name, value in job.spec.options.items():
        if isinstance(value, dict):
            flat += [(f"{name}.{key}", _plain(part)) for key, part in value.items()]
        else:
            flat.append((name, str(value)))
    return [(name, value) for name, value in flat if value not in ("None", "")]


def _is_split(job: Job) -> bool:
    """Whether a training keeps some of its own rows out, for want of other wordings (decision 0007)."""
    if job.spec is None or job.spec.kind not in FINISHABLE:
        return False
    tune = job.spec.options.get("tune")
    keeps_last = isinstance(tune, dict) and tune.get("keep") == "last"
    return keeps_last and not job.spec.options.get("held_out")


def _plain(value: Any) -> str:
    """A setting as text; one of several parts as YAML."""
    if isinstance(value, dict | list) and value:
        return str(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))
    return str(value)


def _epochs(job: Job) -> int:
    tune = job.spec.options.get("tune") if job.spec else None
    epochs = tune.get("epochs") if isinstance(tune, dict) else None
    return epochs if isinstance(epochs, int) else 0
