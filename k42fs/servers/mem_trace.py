"""What recordings are told of file caches, K42's FCMs: pages looked up, found, added and dropped.

Called under a guard: ``if th.proc.on.mem: mem_trace.found(...)``. Pages that lie together are told of as one, by
the offset of their extent in the file and the address of its frames. Without modelled memory there are none.

K42: the Mem class of lib/libc/trace; os/kernel/mem/FCM*.C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr, Ref

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread

EXTENT_SHIFT: Final = 16


def created(th: Thread, server_file: Ref, cache: Ref, implementation: str) -> None:
    """A file got a cache."""
    emit = th.proc.emit
    if implementation == "partitioned":
        emit.mem_fcm_partitioned_trivial_create(cache)
    else:
        emit.mem_fcm_default_create(cache)
    emit.mem_fcmcom_attach_reg(server_file, cache)


def found(th: Thread, extent: int, frames: Addr) -> None:
    """An access found the pages of an extent."""
    emit, offset = th.proc.emit, extent << EXTENT_SHIFT
    emit.mem_fcm_def_get_page(offset, frames)
    emit.mem_fcm_def_found_page(offset, frames)
    emit.mem_fcm_def_map_page(offset, frames)


def added(th: Thread, extent: int, frames: Addr) -> None:
    """An access did not find all pages of an extent: it has these now."""
    emit, offset = th.proc.emit, extent << EXTENT_SHIFT
    emit.mem_fcm_def_get_page(offset, 0)
    emit.mem_fcmcom_add_page(offset, frames)
    emit.mem_fcm_def_map_page(offset, frames)


def dropped(th: Thread, cache: Ref, extent: int, frames: Addr, nbytes: int) -> None:
    """The pages of an extent are forgotten, as the file ends before them."""
    th.proc.emit.mem_fcm_def_inv_page(cache, extent << EXTENT_SHIFT, frames, nbytes, 0)
