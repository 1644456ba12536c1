"""Work in several threads: in order, a little ahead, within the memory, with errors raised in order."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable

import pytest

from spot_edge.commands.workers import in_order

JOBS = 200


def nothing(job: int) -> int:
    return 0


def our_threads() -> set[threading.Thread]:
    return set(threading.enumerate()) - {threading.main_thread()}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    waits = [random.Random(7).random() / 500 for _ in range(JOBS)]

    def work(job: int) -> int:
        time.sleep(waits[job])
        return job * job

    assert list(in_order(range(JOBS), [work] * workers, nothing)) == [job * job for job in range(JOBS)]


def test_jobs_run_in_parallel_and_each_worker_does_one_at_a_time() -> None:
    meeting, busy = threading.Barrier(3), [0, 0, 0]

    def worker(place: int) -> Callable[[int], int]:
        def work(job: int) -> int:
            busy[place] += 1
            assert busy[place] == 1
            meeting.wait(60)  # passed only while three jobs run at once
            busy[place] -= 1
            return place

        return work

    assert len(list(in_order(range(30), [worker(place) for place in range(3)], nothing))) == 30


def test_only_a_few_jobs_start_ahead_of_their_turn() -> None:
    taken, started, ahead = 0, 0, []

    def jobs():
        nonlocal started
        for job in range(JOBS):
            started += 1
            ahead.append(started - taken)
            yield job

    for _ in in_order(jobs(), [lambda job: job] * 2, nothing):
        taken += 1
    assert taken == JOBS
    assert max(ahead) <= 6


@pytest.mark.parametrize("wrong", [ValueError("no"), SystemExit(4), KeyboardInterrupt()])
def test_what_a_worker_raises_is_raised_in_its_place(wrong: BaseException) -> None:
    def work(job: int) -> int:
        if job == 50:
            raise wrong
        return job

    seen: list[int] = []
    with pytest.raises(type(wrong)) as raised:
        seen.extend(in_order(range(JOBS), [work] * 3, nothing))
    assert raised.value is wrong
    assert seen == list(range(50))


def test_large_jobs_run_alone(monkeypatch) -> None:
    monkeypatch.setattr("spot_edge.commands.workers.available_memory", lambda: 1000)
    together: list[int] = []
    peaks, lock, meeting = [0], threading.Lock(), threading.Barrier(2)

    def work(job: int) -> int:
        with lock:
            together.append(job)
            peaks.append(sum(map(size, together)) if len(together) > 1 else 0)
        if job in (1, 2):
            meeting.wait(60)  # passed only while both of these small jobs run
        time.sleep(0.002)
        with lock:
            together.remove(job)
        return job

    def size(job: int) -> int:
        return 900 if job % 5 == 0 else 150

    assert list(in_order(range(60), [work] * 4, size)) == list(range(60))
    assert 300 <= max(peaks) <= 500


@pytest.mark.parametrize("missing", ["ctypes", "its C library", "malloc_trim"])
def test_where_freed_memory_cannot_be_returned_the_results_are_the_same(missing: str, monkeypatch) -> None:
    def library(name: None) -> object:
        if missing == "malloc_trim":
            return object()
        raise TypeError("LoadLibrary() argument 1 must be str, not None")  # as on Windows

    monkeypatch.setattr("ctypes.CDLL", library)
    if missing == "ctypes":
        monkeypatch.setitem(sys.modules, "ctypes", None)  # as in a Python that was built without it
    assert list(in_order(range(9), [lambda job: job] * 3, lambda job: 200_000_000)) == list(range(9))


def test_a_size_that_is_unknown_is_reported() -> None:
    def size(job: int) -> int:
        raise RuntimeError("no size")

    with pytest.raises(RuntimeError, match="no size"):
        next(in_order(range(3), [lambda job: job], size))


def test_threads_end_with_the_work_or_when_its_reader_stops() -> None:
    before = our_threads()
    list(in_order(range(10), [lambda job: job] * 3, nothing))
    results = in_order(range(JOBS), [lambda job: job] * 3, nothing)
    next(results)
    mine = our_threads() - before
    results.close()
    for thread in mine:
        thread.join(60)
    assert our_threads() <= before
