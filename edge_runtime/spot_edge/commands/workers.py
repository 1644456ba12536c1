"""Process several images at once in threads, with results in order.

Decoding, resizing and the network release Python's lock, so threads are as fast as processes and share the model.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Generic, TypeVar

from spot_edge.machine import available_memory

__all__ = ["in_order"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_AHEAD = 2  # jobs per worker that may start before the oldest result is taken
_SHARE = 0.5  # of the free memory, for all jobs together
_LARGE = 100_000_000  # bytes of a job after which freed memory goes back to the system
_UNKNOWN = 1 << 30  # bytes, if the system does not report its free memory


class _Task(Generic[Job, Result]):
    """A job. Its result or error is available once the lock `done` can be acquired."""

    def __init__(self, job: Job) -> None:
        self.job, self.done = job, threading.Lock()
        self.done.acquire()
        self.result: Result
        self.error: BaseException | None = None


def in_order(
    jobs: Iterable[Job], workers: Sequence[Callable[[Job], Result]], size: Callable[[Job], int]
) -> Iterator[Result]:
    """Yield the results of `jobs` in order. Each of `workers` runs in its own thread, one job at a time.

    Only a few jobs start ahead of time, and jobs run together only if their `size` in bytes fits the memory. An
    exception of a worker is raised here, in the job's place.
    """
    queue: SimpleQueue[_Task[Job, Result] | None] = SimpleQueue()
    memory = _Memory(int(_SHARE * (available_memory() or _UNKNOWN)))
    # Daemon threads do not delay the exit of the process. They leave nothing to clean up.
    threads = [threading.Thread(target=_work, args=(queue, worker, memory, size), daemon=True) for worker in workers]
    if not _started(threads):
        yield from map(workers[0], jobs)
        return
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


def _started(threads: Sequence[threading.Thread]) -> int:
    """Start the threads. Returns how many run: the system may allow fewer, or have no memory for them."""
    for count, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:
            return count
    return len(threads)


def _result(task: _Task[Job, Result]) -> Result:
    task.done.acquire()
    if task.error is not None:
        raise task.error
    return task.result


def _work(
    queue: SimpleQueue[_Task[Job, Result] | None],
    worker: Callable[[Job], Result],
    memory: _Memory,
    size: Callable[[Job], int],
) -> None:
    while (task := queue.get()) is not None:
        try:
            needed = size(task.job)
            with memory.reserve(needed):
                task.result = worker(task.job)
                if needed > _LARGE:
                    _give_back()
        except BaseException as error:  # the caller that waits for the result must get any exception
            task.error = error
        task.done.release()
        del task  # or its result would stay in memory until the next job


def _give_back() -> None:
    """Return freed memory to the system. The GNU C library keeps that of large images for the thread that freed it."""
    if os.name != "posix":
        return
    with suppress(Exception):  # another C library, or no ctypes: tidying up must never fail an image
        import ctypes  # slow to import

        ctypes.CDLL(None).malloc_trim(0)


class _Memory:
    """Memory shared by several jobs: four large stills at once are too much for a board with 512 MB."""

    def __init__(self, most: int) -> None:
        self._most, self._taken, self._changed = most, 0, threading.Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until `size` fits beside the other jobs, or no other job runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()
