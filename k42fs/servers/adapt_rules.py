"""The rules of adaptation that every mount has: which use of an object asks for which implementation.

| rule | of | from | to | when, in each of so many windows |
|---|---|---|---|---|
| contended-cache | FileCache | single | replicated | one look-up in seven waits, from two processors on |
| many-writers | ServerFile | shared, exclusive | ranged | likewise, and two opens may write |
| many-readers | ServerFile | shared, exclusive | ranged | likewise, two opens, one access in five writes at most |
| one-client | ServerFile | ranged | shared | it is open once at most |
| one-processor | ServerFile | ranged | shared | at most one processor has used it |
| sharing | ServerFile | exclusive | shared | two clients share it and its server keeps the length |
| small-file | ServerFile | shared | exclusive | it was open once at a time, up to 16 KiB long, and read or written |
| hot-directory | DirObject | locked | distributed | one operation in seven waits, from two processors on |
| passed-round | DirObject | locked | distributed | every other call moves a line of it from processor to processor |

Where nobody waits lines may still be passed round: those who look names up share a lock, but not its line.

small-file and sharing decide of new files too: if nine in ten of those made were used so, or one in five.

There is no way back for caches and directories: they keep what made them scale until they are unmade, which is soon
after nobody uses them. A file that many wrote may stay open for long, and goes all the way back: from ranged to shared
when sharing ends, and to exclusive if it is small.

K42: FCMDefault.C (ENABLE_FCM_SWITCHING), ServerFileSharing.C.
"""

from __future__ import annotations

from typing import Final

from k42fs.objects.adapt_rules import ThresholdRule
from k42fs.objects.adaptation import Uses
from k42fs.servers.exclusive_file import SMALL_MAX

CONTENDED: Final = {"contended_share": 0.15, "contentions": 30, "processors": 2}
PASSED_ROUND: Final = {"transfers_per_call": 0.5, "calls": 200, "processors": 2}
UNSHARED: Final = ("shared", "exclusive")

RULES: Final = (
    ThresholdRule("contended-cache", "FileCache", ("single",), "replicated", CONTENDED),
    ThresholdRule("many-writers", "ServerFile", UNSHARED, "ranged", CONTENDED | {"writers": 2}),
    ThresholdRule(
        "many-readers", "ServerFile", UNSHARED, "ranged", CONTENDED | {"clients": 2}, {"write_share": 0.2}
    ),
    ThresholdRule("one-client", "ServerFile", ("ranged",), "shared", most={"most_clients": 1}, windows=5),
    ThresholdRule("one-processor", "ServerFile", ("ranged",), "shared", most={"processors": 1}, windows=5),
    ThresholdRule("sharing", "ServerFile", ("exclusive",), "shared", {"sharers": 2}, share_of_new=0.2),
    ThresholdRule(
        "small-file",
        "ServerFile",
        ("shared",),
        "exclusive",
        {"uses": 1},
        {"most_clients": 1, "length": SMALL_MAX},
        share_of_new=0.9,
    ),
    ThresholdRule("hot-directory", "DirObject", ("locked",), "distributed", CONTENDED),
    ThresholdRule("passed-round", "DirObject", ("locked",), "distributed", PASSED_ROUND),
)

USES: Final = {
    "FileCache": Uses(frozenset({"read"}), frozenset({"write", "truncate"})),
    "ServerFile": Uses(frozenset({"read"}), frozenset({"write"})),
    "DirObject": Uses(
        frozenset({"lookup", "step", "read_dir"}),
        frozenset({"create", "make", "link", "unlink", "with_names_locked"}),
    ),
}
"""Which methods of objects read, and which write."""
