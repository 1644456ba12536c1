"""Several pictures at once: work done by several threads, its results in the order of the work.

Decoding, resizing and the network all let go of Python's lock, so threads are as fast as processes and share the model.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

from spot_edge.machine import available_memory

__all__ = ["in_order"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 2  # jobs for each worker that may be begun before the oldest one's result is taken
_SHARE = 0.5  # of the memory that is free, for all jobs together
_UNKNOWN = 1 << 30  # free memory of a system that does not tell


class _Task(Generic[Job, Result]):
    """One job; its result, or what went wrong, is there when `done` can be taken."""

    def __init__(self, job: Job) -> None:
        self.job, self.done = job, threading.Lock()
        self.done.acquire()
        self.result: Result
        self.wrong: BaseException | None = None


def in_order(
    jobs: Iterable[Job], workers: Sequence[Callable[[Job], Result]], size: Callable[[Job], int]
) -> Iterator[Result]:
    """The results of `jobs` in their order. Each of `workers` has a thread of its own and does one job at a time.

    Few jobs are begun before their turn, and those that are done together are of a `size` (in bytes) that the memory
    holds, or only one. What a worker raises is raised here, in the job's place.
    """
    queue: SimpleQueue[_Task[Job, Result] | None] = SimpleQueue()
    room = _Room(int(_SHARE * (available_memory() or _UNKNOWN)))
    # No thread must keep a process that is to end from ending: what they do leaves nothing behind.
    threads = [threading.Thread(target=_work, args=(queue, worker, room, size), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    begun: deque[_Task[Job, Result]] = deque()
    try:
        for job in jobs:
            begun.append(_Task(job))
            queue.put(begun[-1])
            if len(begun) > _AHEAD * len(workers):
                yield _result(begun.popleft())
        while begun:
            yield _result(begun.popleft())
    finally:
        for _ in threads:
            queue.put(None)


def _result(task: _Task[Job, Result]) -> Result:
    task.done.acquire()
    if task.wrong is not None:
        raise task.wrong
    return task.result


def _work(
    queue: SimpleQueue[_Task[Job, Result] | None],
    worker: Callable[[Job], Result],
    room: _Room,
    size: Callable[[Job], int],
) -> None:
    while (task := queue.get()) is not None:
        try:
            with room.of(size(task.job)):
                task.result = worker(task.job)
        except BaseException as error:  # whoever waits for the result must get it, whatever it is
            task.wrong = error
        task.done.release()
        del task  # or its result stays until the next one comes


class _Room:
    """Memory that several share. Four large stills at once are too much for a board with 512 MB."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._changed = most, 0, threading.Condition()

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Wait until `size` fits beside the others, or there is nobody else."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()
