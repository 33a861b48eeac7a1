"""A file's bytes in memory, holes costing nothing.

A file is cut into chunks of 128 KiB, and a chunk takes whichever form is cheapest for what was written to it:

* **nothing**: a hole. Reads as zeros.
* **a run** (`bytes` or `bytearray`): the bytes from the chunk's start; what follows the run is a hole. An
  aligned write of a whole chunk stores the caller's `bytes` as it stands, and a read of the whole chunk
  returns it as it stands. The first partial overwrite makes a `bytearray` of it, the next read of the full
  chunk `bytes` again.
* **pages** (`dict` from page number to its bytes): a chunk with holes between its pages. A page's missing
  tail reads as zeros. All 32 pages present: it becomes a run.

A page (4 KiB) counts as used from the first byte written to it, zeros included, until truncate
takes it away. That count is what `st_blocks` and the size limit see; the real memory stays near the bytes
written.

Nothing here blocks, locks or charges: the caller holds the file's lock.
"""

from __future__ import annotations

from typing import Final, TypeAlias

PAGE: Final = 4096
PAGE_SHIFT: Final = 12
CHUNK: Final = 128 * 1024
CHUNK_SHIFT: Final = 17
PAGES_PER_CHUNK: Final = CHUNK // PAGE

Data: TypeAlias = "bytes | bytearray | memoryview"
Run: TypeAlias = "bytes | bytearray"
Chunk: TypeAlias = "Run | dict[int, Run]"

_IN_CHUNK: Final = CHUNK - 1
_IN_PAGE: Final = PAGE - 1
_ZERO_CHUNK: Final = bytes(CHUNK)


class SparseData:
    """The bytes of one file. `pages` counts the 4 KiB pages in use.

    Chunk 0 has a field of its own, so that a small file needs no table.
    """

    __slots__ = ("_first", "_rest", "pages")

    def __init__(self) -> None:
        self.pages = 0
        self._first: Chunk | None = None
        self._rest: dict[int, Chunk] | None = None

    def read(self, offset: int, size: int) -> bytes:
        """The *size* bytes from *offset*, holes as zeros. The caller clips to the file's length."""
        start = offset & _IN_CHUNK
        end = start + size
        if end <= CHUNK:
            return self._read_chunk(offset >> CHUNK_SHIFT, start, end)
        parts: list[bytes] = []
        index = offset >> CHUNK_SHIFT
        while size:
            step = min(size, CHUNK - start)
            parts.append(self._read_chunk(index, start, start + step))
            size -= step
            start = 0
            index += 1
        return b"".join(parts)

    def write(self, offset: int, data: Data) -> None:
        """Put *data* at *offset*. `bytes` that fill a chunk from its start are kept, not copied."""
        start = offset & _IN_CHUNK
        if start + len(data) <= CHUNK:
            self._write_chunk(offset >> CHUNK_SHIFT, start, data)
            return
        view = memoryview(data)
        index = offset >> CHUNK_SHIFT
        while view:
            step = CHUNK - start
            self._write_chunk(index, start, view[:step])
            view = view[step:]
            start = 0
            index += 1

    def new_pages(self, offset: int, size: int) -> int:
        """How many more pages a write of *size* bytes at *offset* would use."""
        count = 0
        index, start = offset >> CHUNK_SHIFT, offset & _IN_CHUNK
        while size > 0:
            step = min(size, CHUNK - start)
            first, last = start >> PAGE_SHIFT, (start + step + _IN_PAGE) >> PAGE_SHIFT
            chunk = self._chunk(index)
            if chunk is None:
                count += last - first
            elif isinstance(chunk, dict):
                count += sum(page not in chunk for page in range(first, last))
            else:
                used = (len(chunk) + _IN_PAGE) >> PAGE_SHIFT
                if last > used:
                    count += last - (first if first > used else used)
            size -= step
            start = 0
            index += 1
        return count

    def fitting(self, offset: int, size: int, pages: int) -> int:
        """How many of the *size* bytes at *offset* can be written with at most *pages* more pages."""
        done = 0
        while done < size:
            at = offset + done
            step = min(size - done, PAGE - (at & _IN_PAGE))
            pages -= self.new_pages(at, step)
            if pages < 0:
                break
            done += step
        return done

    def truncate(self, size: int) -> None:
        """Drop every byte at or after *size*. A later extension reads zeros there."""
        index, cut = size >> CHUNK_SHIFT, size & _IN_CHUNK
        if self._rest is not None:
            for gone in [i for i in self._rest if i > index]:
                self._drop(gone)
        if index > 0 and cut == 0:
            self._drop(index)
            return
        chunk = self._chunk(index)
        if chunk is None:
            return
        if cut == 0:
            self._drop(index)
        elif isinstance(chunk, dict):
            self._cut_pages(index, chunk, cut)
        elif len(chunk) > cut:
            self.pages -= _pages(len(chunk)) - _pages(cut)
            self._put(index, chunk[:cut])

    def _chunk(self, index: int) -> Chunk | None:
        if index == 0:
            return self._first
        return None if self._rest is None else self._rest.get(index)

    def _put(self, index: int, chunk: Chunk) -> None:
        if index == 0:
            self._first = chunk
        elif self._rest is None:
            self._rest = {index: chunk}
        else:
            self._rest[index] = chunk

    def _drop(self, index: int) -> None:
        if index == 0:
            chunk, self._first = self._first, None
        else:
            chunk = self._rest.pop(index, None) if self._rest is not None else None
        if chunk is not None:
            self.pages -= len(chunk) if isinstance(chunk, dict) else _pages(len(chunk))

    def _read_chunk(self, index: int, start: int, end: int) -> bytes:
        chunk = self._first if index == 0 else self._chunk(index)
        size = end - start
        if chunk is None:
            return _ZERO_CHUNK if size == CHUNK else bytes(size)
        if isinstance(chunk, dict):
            return _gather(chunk, start, end)
        if size == CHUNK == len(chunk) and type(chunk) is bytearray:
            chunk = bytes(chunk)  # copied for this reader anyhow: keep the copy, the next reader gets it free
            self._put(index, chunk)
        if type(chunk) is bytes:
            piece = chunk[start:end]  # the object itself when it is all of it
        else:
            with memoryview(chunk) as view:
                piece = bytes(view[start:end])
        return piece if len(piece) == size else piece + bytes(size - len(piece))

    def _write_chunk(self, index: int, start: int, data: Data) -> None:
        end = start + len(data)
        chunk = self._first if index == 0 else self._chunk(index)
        if chunk is None:
            if start < PAGE:
                chunk = bytes(data) if start == 0 else bytes(start) + data
                self._put(index, chunk)
                self.pages += (end + _IN_PAGE) >> PAGE_SHIFT
                return
            chunk = {}
            self._put(index, chunk)
        elif not isinstance(chunk, dict):
            length = len(chunk)
            used = (length + _IN_PAGE) >> PAGE_SHIFT
            if start <= used << PAGE_SHIFT:
                if start == 0 and end >= length:
                    self._put(index, bytes(data))
                else:
                    if type(chunk) is bytes:
                        chunk = bytearray(chunk)
                        self._put(index, chunk)
                    assert type(chunk) is bytearray
                    if start > length:
                        chunk.extend(bytes(start - length))
                    chunk[start:end] = data
                now = (end + _IN_PAGE) >> PAGE_SHIFT
                if now > used:
                    self.pages += now - used
                return
            chunk = _split(chunk)
            self._put(index, chunk)
        self.pages += _scatter(chunk, start, data)
        if len(chunk) == PAGES_PER_CHUNK:
            self._put(
                index,
                bytearray(
                    _gather(chunk, 0, ((PAGES_PER_CHUNK - 1) << PAGE_SHIFT) + len(chunk[PAGES_PER_CHUNK - 1]))
                ),
            )

    def _cut_pages(self, index: int, pages: dict[int, Run], cut: int) -> None:
        """Drop every byte at or after *cut* of the chunk *index*, whose pages are *pages*."""
        for page in list(pages):
            start = cut - (page << PAGE_SHIFT)
            if start <= 0:
                del pages[page]
                self.pages -= 1
            elif start < PAGE:
                pages[page] = pages[page][:start]
        if not pages:
            self._drop(index)


def _pages(size: int) -> int:
    """How many pages *size* bytes fill."""
    return (size + _IN_PAGE) >> PAGE_SHIFT


def _split(run: Run) -> dict[int, Run]:
    """The pages of a run."""
    return {at >> PAGE_SHIFT: bytes(run[at : at + PAGE]) for at in range(0, len(run), PAGE)}


def _gather(pages: dict[int, Run], start: int, end: int) -> bytes:
    """The bytes [start, end) of a chunk held as pages."""
    out = bytearray(end - start)
    for page in range(start >> PAGE_SHIFT, _pages(end)):
        held = pages.get(page)
        if held is None:
            continue
        base = page << PAGE_SHIFT
        low = max(start - base, 0)
        piece = held[low : end - base] if end - base < PAGE else held[low:] if low else held
        at = base + low - start
        out[at : at + len(piece)] = piece
    return bytes(out)


def _scatter(pages: dict[int, Run], start: int, data: Data) -> int:
    """Write *data* at *start* of a chunk held as pages; the number of pages it newly uses."""
    added = 0
    view = memoryview(data)
    while view:
        page, at = start >> PAGE_SHIFT, start & _IN_PAGE
        piece = view[: PAGE - at]
        held = pages.get(page)
        if held is None:
            added += 1
            pages[page] = bytes(piece) if at == 0 else bytes(at) + piece
        elif at == 0 and len(piece) >= len(held):
            pages[page] = bytes(piece)
        else:
            if type(held) is bytes:
                held = pages[page] = bytearray(held)
            assert type(held) is bytearray
            if at > len(held):
                held.extend(bytes(at - len(held)))
            held[at : at + len(piece)] = piece
        start += len(piece)
        view = view[len(piece) :]
    return added
