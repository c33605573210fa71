"""Several answers as one stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from kajiya.inference.protocol import GenerateChunk

_Item = tuple[int, GenerateChunk] | Exception | None


async def merged(
    answers: Sequence[AsyncGenerator[GenerateChunk]],
) -> AsyncGenerator[tuple[int, GenerateChunk]]:
    """The chunks of all answers with their index, as they come.

    The first error ends everything and is raised. Closing this closes every answer, at once and
    without waiting, so it also works while a task is being cancelled.
    """
    queue: asyncio.Queue[_Item] = asyncio.Queue(maxsize=len(answers))

    async def pump(index: int, answer: AsyncGenerator[GenerateChunk]) -> None:
        try:
            async with aclosing(answer):
                async for chunk in answer:
                    await queue.put((index, chunk))
        except Exception as error:
            await queue.put(error)
        else:
            await queue.put(None)

    tasks = [asyncio.create_task(pump(index, answer)) for index, answer in enumerate(answers)]
    try:
        running = len(tasks)
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
