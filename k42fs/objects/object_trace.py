"""What a recording is told of the clustered objects of one manager: their calls, misses, lives and names.

Calls are traced by substituting local tables (`traced_table.py`), which is done here whenever the mask or the
wish changes: ClustObj on, and `wanted` says whose. The rest, few and slow events, is told at once by those to
whom it happens, each under its guard: ``if proc.on.clust_obj: cos.tracing.missed(...)``.

A ref is named when its object is made, when a recording begins, and at the latest when it is called. A name is
what `trace_name()` of the rep (or of a root with many) says, or else its label. When a recording begins, objects
that know others' names are asked first to `teach_names()`, when it ends those that have learnt to `forget_names()`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from k42fs.ids import VP, Ref
from k42fs.objects.default_object import AnyRep
from k42fs.objects.traced_table import (
    EVERYTHING,
    CallEmitters,
    Methods,
    TracedRep,
    Wanted,
    Wrap,
    plain_rep,
    plain_table,
    traced_table,
)
from k42fs.objects.translation import PAGE_ENTRIES, PAGE_SHIFT, SLOT_MASK, LocalTable, MissHandler

if TYPE_CHECKING:
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread
    from k42fs.machine.tracing.tracer import Tracer
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot


class ObjectTrace:
    """The part of *cos* in its machine's recordings. Without a recording it holds nothing and does nothing."""

    def __init__(self, cos: COSMgr) -> None:
        self._cos = cos
        self._trace = cos.machine.trace
        self._processors = cos.machine.processors
        self._emit = [CallEmitters() for _ in self._processors]
        self._kinds: dict[tuple[type, str, VP], type[TracedRep]] = {}
        self.wanted = EVERYTHING
        self.counted: Wrap | None = None  # what stands before reps whose calls are counted: see `count`
        self._trace.describers.append(self._describe)
        self._trace.on_mask.append(self._mask_changed)
        self._trace.name_of = self._name_of

    # Calls

    def trace_calls(self, wanted: Wanted) -> None:
        """Trace the calls of the objects that are *wanted* from now on, whenever ClustObj is on."""
        self.wanted = wanted
        self._substitute()

    def count(self, counted: Wrap | None) -> None:
        """Ask *counted* what every entry is to hold from now on, until None is given (`counted_calls.py`)."""
        self.counted = counted
        self._substitute()

    def _mask_changed(self, mask: int) -> None:
        for proc, emit in zip(self._processors, self._emit, strict=True):
            emit.bind(proc)
        self._substitute()
        if not mask:
            self._ask("forget_names")

    def _substitute(self) -> None:
        """Give each processor the table that mask, wish and counting call for."""
        for proc in self._processors:
            table = proc.ltt
            assert isinstance(table, LocalTable), f"processor {proc.vp} has {table!r} for a local table"
            is_on = proc.on.clust_obj or self.counted is not None
            proc.ltt = traced_table(table, proc.vp, self.wrapped) if is_on else plain_table(table)

    def wrapped(self, vp: VP, ref: Ref, rep: AnyRep) -> AnyRep:
        """Return what calls of *ref* on processor *vp* are to go through: *rep*, counted and traced as is wanted."""
        plain = rep = plain_rep(rep)
        if self.counted is not None:
            rep = self.counted(vp, ref, rep)
        if not self._processors[vp].on.clust_obj:
            return rep
        root = self._root(ref)
        type_name = root.type_name if root is not None else type(plain).__name__
        wanted = self.wanted
        if not (wanted.everything or ref in wanted.refs or wanted.types & {type_name, type(plain).__name__}):
            return rep
        if root is not None and ref not in self._trace.tracer.named_objects:
            self.name(self._processors[vp], root)
        kind = self._kinds.get((type(rep), type_name, vp)) or self._new_kind(type(rep), type_name, vp)
        return kind(rep, ref)

    def _new_kind(self, rep_class: type, type_name: str, vp: VP) -> type[TracedRep]:
        """Make the class of the traced reps of a class on a processor; its methods come with their first use."""
        number = partial(self._trace.tracer.numbers.method, type_name)
        cpu = self._processors[vp].emit.cpu
        methods = Methods(number, self._trace.calls, vp, cpu, self._emit[vp])
        names: dict[str, Any] = {"__slots__": (), "_methods": methods}
        kind = type(f"Traced{rep_class.__name__}", (TracedRep,), names)
        self._kinds[rep_class, type_name, vp] = kind
        return kind

    def _root(self, ref: Ref) -> MissHandler | None:
        page = self._cos.table.pages.get(ref >> PAGE_SHIFT)
        return None if page is None else page.handlers[ref & SLOT_MASK]

    # What happens to objects. Each is called under its guard only.

    def missed(self, th: Thread, ref: Ref, method: str) -> None:
        """A call of *method* came to an empty entry."""
        proc, root = th.proc, self._root(ref)
        if root is not None and ref not in self._trace.tracer.named_objects:
            self.name(proc, root)
        type_name = "(deleted)" if root is None else root.type_name
        proc.emit.clust_obj_miss(th.vp, ref, self._trace.tracer.numbers.method(type_name, method))

    def created(self, vp: VP, root: CObjRoot) -> None:
        """A root was made and published on processor *vp*. It may have no rep yet."""
        emit = self._processors[vp].emit
        emit.clust_obj_alloc(self._cos.table.entry_addr(root.ref), root.addr, root.ref)
        emit.clust_obj_mh(vp, root.ref)

    def made_rep(self, vp: VP, root: CObjRoot, rep: AnyRep) -> None:
        """*rep* was made for processor *vp*."""
        proc = self._processors[vp]
        self.name(proc, root)
        proc.emit.clust_obj_rep_create(root.ref, vp, getattr(rep, "addr", root.addr))

    def renamed(self, proc: Processor, root: CObjRoot) -> None:
        """*root*, replaced by another object under its old ref, is on its way out under a new one."""
        self.name(proc, root)
        self.created(proc.vp, root)

    def freed(self, proc: Processor, root: CObjRoot) -> None:
        """*root* is gone; its ref will be another object's."""
        self._trace.tracer.named_objects.discard(root.ref)
        proc.emit.clust_obj_dealloc(root.ref, root.addr)

    def joined(self, vp: VP) -> None:
        """Processor *vp* joined the ring of the token."""
        proc = self._processors[vp]
        proc.emit.clust_obj_create_cos_mgr(vp)
        proc.emit.clust_obj_vp_init(vp, self._cos.table.entry_addr(Ref(0)), proc.ltt_base, PAGE_ENTRIES, 0)

    # Names

    def name(self, proc: Processor, root: Any) -> None:  # noqa: ANN401
        """Say what the ref of *root* stands for, in *proc*'s time."""
        rep = getattr(root, "rep", root)
        if rep is None:
            return  # its parts are going already, and it was named while it had them
        tracer = self._trace.tracer
        tracer.named_objects.add(root.ref)
        type_name = root.type_name
        told = getattr(rep, "trace_name", None) or getattr(rep, "label", root.label)
        text = told().removeprefix(type_name).removeprefix("Root").lstrip()
        numbers = tracer.numbers
        proc.emit.clust_obj_object_name(root.ref, numbers.constant(type_name), numbers.string(text))

    def name_again(self, proc: Processor, ref: Ref) -> None:
        """Say what *ref* is called now, and what is called after it. There may be no object behind it."""
        if (root := self._root(ref)) is not None:
            self.name(proc, root)
            if (named_after := getattr(getattr(root, "rep", root), "named_after", None)) is not None:
                for other in named_after():
                    self.name_again(proc, other)

    def _name_of(self, ref: int) -> str:
        root = self._root(Ref(ref)) if ref else None
        told = getattr(getattr(root, "rep", root), "trace_name", None)
        return str(told()) if told is not None else ""

    def _describe(self, tracer: Tracer) -> None:
        proc = self._processors[0]
        self._ask("teach_names")
        for root in self._cos.table.live_objects():
            self.name(proc, root)

    def _ask(self, method: str) -> None:
        """Call *method* of all objects that have it."""
        for root in self._cos.table.live_objects():
            if asked := getattr(getattr(root, "rep", root), method, None):
                asked()
