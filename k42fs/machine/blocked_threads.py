"""BlockedThreadQueues: one table of the machine for all threads that block on an address.

A lock that is only two bits of a word has no room for a queue. Who has to wait for one is entered here, in
the bucket that a hash of the word's address names: its top ten bits times the golden ratio of 2^64. Each
bucket has a list and a lock of its own. Whoever gives up a word on which somebody waits walks the bucket's
list and wakes all of that address.

That does not scale, and is kept as a baseline to compare with: words of any objects share buckets, buckets
share lines, and all of them are in one processor's memory, wherever the threads are.

Locks: a bucket's lock is only held between two references, never across an await; others wait for it in
virtual time.

K42: lib/libc/sync/BLockImp.C; its comments want such a table for each processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from k42fs.machine.layout import READ, WORD_BYTES, WRITE, Kind
from k42fs.machine.locks import SLock
from k42fs.machine.thread import BLOCKED, Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

BUCKETS: Final = 1024
BUCKET_BYTES: Final = 32
GOLDEN: Final = 0x9E3779B97F4A7C15
_HEAD: Final = 2 * WORD_BYTES  # behind the lock's two words


def bucket_of(addr: int) -> int:
    """Return the number of the bucket for threads that wait on the word at *addr*."""
    return (addr * GOLDEN & (1 << 64) - 1) >> 54


class _BucketLock(SLock):
    """Held only while nothing else can run, so nobody finds it held in fact."""

    __slots__ = ()

    def acquire_now(self, th: Thread) -> None:
        """Take it; wait, in virtual time only, for whoever had it at that time."""
        self._take(th)


class _Bucket(NamedTuple):
    lock: _BucketLock
    head: int
    waiting: list[tuple[int, Thread]]  # (address, thread), in the order of arrival


class BlockedThreadQueues:
    """Who waits on which word. In the memory of processor 0, as a table that is made when a kernel starts."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.addr = machine.memory.alloc(0, BUCKETS * BUCKET_BYTES, Kind.GLOBAL_PADDED, self)
        self._buckets: dict[int, _Bucket] = {}

    def label(self) -> str:
        return "BlockedThreadQueues"

    def lock_of(self, addr: int) -> SLock:
        """Return the lock of the bucket for the word at *addr*."""
        return self._bucket(addr).lock

    def waiting(self, addr: int) -> tuple[Thread, ...]:
        """Return the threads entered for the word at *addr*, in the order of arrival."""
        return tuple(th for at, th in self._bucket(addr).waiting if at == addr)

    def enter(self, th: Thread, addr: int) -> None:
        """Enter *th*, whose turn it is, as one that waits on the word at *addr*. Its entry is on its
        stack."""
        bucket, charge = self._bucket(addr), self._machine.charge
        bucket.lock.acquire_now(th)
        if th.level > 1:
            charge(th, WRITE, th.stack)
        charge(th, WRITE, bucket.head)
        bucket.waiting.append((addr, th))
        bucket.lock.release(th)

    def leave(self, th: Thread, addr: int) -> None:
        """Take *th* out again: it has the word, or dies."""
        bucket = self._bucket(addr)
        bucket.lock.acquire_now(th)
        self._machine.charge(th, WRITE, bucket.head)
        bucket.waiting.remove((addr, th))
        bucket.lock.release(th)

    def wake_all(self, th: Thread, addr: int) -> int:
        """Wake all that block on the word at *addr*; return how many. They stay entered, and compete for
        it."""
        bucket, charge = self._bucket(addr), self._machine.charge
        bucket.lock.acquire_now(th)
        charge(th, READ, bucket.head)
        woken = 0
        for at, waiter in bucket.waiting:
            if th.level > 1:
                charge(th, READ, waiter.stack)
            if at == addr and waiter.state == BLOCKED:
                self._machine.grant(th, waiter)
                woken += 1
        bucket.lock.release(th)
        return woken

    def _bucket(self, addr: int) -> _Bucket:
        index = bucket_of(addr)
        bucket = self._buckets.get(index)
        if bucket is None:
            base = self.addr + BUCKET_BYTES * index
            lock = _BucketLock(self._machine, base, name=f"bucket {index}", owner=self)
            bucket = self._buckets[index] = _Bucket(lock, base + _HEAD, [])
        return bucket
