"""The schema: K42's numbers, what may never change, and that everything derived from it is up to date (T11)."""

import pytest

from k42fs.machine.tracing import derived, emitters, mask
from k42fs.machine.tracing.packing import header
from k42fs.machine.tracing.schema import Schema, SchemaError, load, parse, snake

SMALL = """
revision = 1
[layers]
OS = 2
[types]
x64 = { base = 16 }
u16 = { bits = 16 }
str = { role = "string" }
text = { inline = true }
[classes.FS]
layer = "OS"
major = 14
reserved = [0]
[classes.FS.events]
Mkdir = { minor = 1, fields = "dir name:str" }
Rmdir = { minor = 2, fields = "dir" }
"""


def small(old: str = "", new: str = "") -> Schema:
    assert old in SMALL
    return parse(SMALL.replace(old, new))


def test_the_event_word_is_the_notes_vector() -> None:
    event = load().by_qualified["OS::FS::RamfsMkdir"]
    assert header(0x12345678, 3, event.id) == 0x1234567803238035
    assert (event.constant, event.words) == ("TRACE_FS_RAMFS_MKDIR", 3)


@pytest.mark.parametrize(
    ("qualified", "major", "minor"),
    [
        ("OS::Lock::ContendSpin", 3, 14),
        ("OS::Lock::ContendBlock", 3, 15),
        ("OS::ClustObj::SwapDone", 10, 15),
        ("OS::ClustObj::Dealloc", 10, 17),
        ("OS::Exception::PPCCall", 11, 4),
        ("OS::Exception::Pulse", 11, 26),
        ("OS::Scheduler::Delay", 12, 8),
        ("OS::FS::SFDestroy", 14, 66),
        ("OS::Control::TraceMask", 16, 4),
        ("HW::HWPerfMon::CounterDescr", 17, 10),
        ("OS::Info::TicksPerSecond", 22, 9),
        ("OS::Disk::KFSSyncBlockCache", 25, 20),
    ],
)
def test_k42s_numbers_are_kept(qualified: str, major: int, minor: int) -> None:
    event = load().by_qualified[qualified]
    assert (event.major, event.minor) == (major, minor)


def test_k42s_layers_are_kept() -> None:
    layers = {each.layer_name: each.layer for each in load().classes}
    assert layers == {"HW": 0, "OS": 2, "MON": 3, "APP": 6, "LIB": 7}


def test_contention_has_k42s_payload() -> None:
    names = [each.name for each in load().by_attribute["lock_contend_block"].fields]
    assert names == ["lock", "spins", "time", "pc0", "pc1", "pc2", "handoffTime", "handoffProc"]


def test_the_mask_bits_are_the_majors() -> None:
    constants = {name: bit for name, bit in vars(mask).items() if name.isupper() and isinstance(bit, int)}
    bits = {snake(each.name).upper(): each.bit for each in load().classes}
    assert constants
    assert constants.items() - {("_S2", mask._S2), ("_S3", mask._S3)} <= bits.items()


def test_intervals_have_two_ends_with_the_same_fields() -> None:
    ends: dict[str, set[tuple[bool, tuple[str, ...]]]] = {}
    for event in load().events():
        if event.interval:
            ends.setdefault(event.interval.name, set()).add((event.interval.is_start, event.interval.match))
    for name, both in ends.items():
        assert {is_start for is_start, _ in both} == {True, False}, name
        assert len({match for _, match in both}) == 1, name


def test_every_flow_has_a_way_out_and_a_way_in() -> None:
    ways = [event.flow for event in load().events() if event.flow]
    assert {of for way, of in ways if way == "out"} == {of for way, of in ways if way == "in"} != set()


def test_k42s_context_switches_go_where_it_says() -> None:
    switches = {each.name: each.context for each in load().by_class["Exception"].events if each.context}
    to_kernel = {"Pgflt", "AwaitDispatch", "PPCAsyncRemote", "AwaitPPCRetry", "IPCRemote"}
    assert {name for name, to in switches.items() if to == "0"} == to_kernel
    assert {"ProcessHandoff", "PPCCall", "PPCReturn", "IPCRefused", "IPCRemoteDone"} <= switches.keys()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("minor = 2", "minor = 3", "minors"),
        ("minor = 2", "minor = 1", "minors"),
        ("reserved = [0]", "", "minors"),
        ("major = 14", "major = 64", "majors"),
        ("name:str", "name:string", "no known type"),
        ("name:str", "class:str", "parameter"),
        ("name:str", "dir:str", "one name"),
        ("dir name:str", "text:text dir", "nothing can follow"),
        ('"dir"', '"dir", state = "context who"', "no field"),
        ('"dir"', '"dir", states = "context dir"', "unknown"),
        ("bits = 16", "bits = 24", "24 bits"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        small(old, new)


def test_what_was_promised_still_holds() -> None:
    derived.check_promises(load(), derived.LOCK.read_text())


def test_every_event_is_promised() -> None:
    assert derived.LOCK.read_text() == derived.promised(load())


def test_the_signatures_and_the_reference_are_up_to_date() -> None:
    assert (derived.HERE / "emitters.pyi").read_text() == emitters.stub()
    assert derived.REFERENCE.read_text() == derived.reference(load())


def test_every_row_of_the_reference_has_its_tables_columns() -> None:
    columns = 0
    for line in derived.reference(load()).splitlines():
        cells = line.replace("\\|", "").count("|")
        columns = cells if line.startswith("|--") or (line.startswith("|") and not columns) else columns
        assert cells in (0, columns), line
        columns = columns if cells else 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Rmdir =", "RmDir ="),
        ('Rmdir = { minor = 2, fields = "dir" }', ""),
        ("dir name:str", "name:str dir"),
        ("dir name:str", "dir:u16 name:str"),
        ('"dir"', '""'),
        ('"dir"', '"dir more"'),  # the revision is still the same
        ("OS = 2", "OS = 3"),
    ],
)
def test_a_broken_promise_is_found(old: str, new: str) -> None:
    with pytest.raises(SchemaError):
        derived.check_promises(small(old, new), derived.promised(small()))


def test_events_may_be_added_and_with_a_new_revision_fields() -> None:
    lock = derived.promised(small())
    derived.check_promises(small('"dir" }', '"dir" }\nLink = { minor = 3 }'), lock)
    derived.check_promises(
        parse(SMALL.replace("revision = 1", "revision = 2").replace('"dir"', '"dir more"')), lock
    )
