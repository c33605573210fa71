"""Tasks on a Ray cluster, whose machines share the folder that the run works in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from kajiya.core.errors import KajiyaError, ResourceError
from kajiya.core.language import tr

Argument = TypeVar("Argument")
_LOOK_SECONDS = 0.5  # between two questions whether to stop
_AHEAD = 2  # tasks handed over for each core, so that none waits for the next


class RayCluster:
    """The cluster at `address` (`auto`, `ray://host:port`), or a new one on this machine (`local`).

    Kajiya has to be installed on its machines. Raises `ResourceError` if Ray is not here or the
    cluster cannot be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise ResourceError(
                tr("Ray is not installed", "Ray がインストールされていません"),
                fix="pip install 'kajiya[ray]'",
            ) from None
        self._ray: Any = ray
        if ray.is_initialized():
            return
        try:
            own = {"include_dashboard": False} if address == "local" else {}
            ray.init(address=address, log_to_driver=False, **own)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ResourceError(
                tr(
                    f"the Ray cluster cannot be reached: {error}",
                    f"Ray のクラスタにつながりません: {error}",
                ),
                where=address,
            ) from None

    def each(
        self,
        function: Callable[[Argument], None],
        arguments: Sequence[Argument],
        go_on: Callable[[], bool],
    ) -> Iterator[int]:
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=3)(function)
        at_once = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting = iter(arguments)
        running: list[Any] = []
        while True:
            while len(running) < at_once and go_on():
                argument = next(waiting, None)
                if argument is None:
                    break
                running.append(task.remote(argument))
            if not running:
                return
            done, running = ray.wait(running, num_returns=1, timeout=_LOOK_SECONDS)
            for result in done:
                try:
                    ray.get(result)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, KajiyaError):
                        raise error.cause from None
                    raise
                except ray.exceptions.RayError as error:
                    raise ResourceError(
                        tr(
                            f"a worker of the Ray cluster was lost: {_first_line(error)}",
                            f"Ray のワーカーが失われました: {_first_line(error)}",
                        ),
                        fix=tr(
                            "go on with smaller parts if memory was short (part_mb)",
                            "メモリ不足なら part_mb を小さくして再開してください",
                        ),
                    ) from None
            yield len(done)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
