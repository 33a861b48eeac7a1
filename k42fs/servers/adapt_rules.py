"""The rules of adaptation that every mount has: which use of an object asks for which implementation.

| rule | of | from | to | when, in each of so many windows |
|---|---|---|---|---|
| contended-cache | FileCache | single | replicated | one look-up in seven waits, from two processors on |
| many-writers | ServerFile | shared, exclusive | ranged | likewise, and two opens may write |
| one-writer | ServerFile | ranged | shared | at most one open may write any more |
| hot-directory | DirObject | locked | distributed | one operation in seven waits, from two processors on |

There is no way back for caches and directories: they keep what made them scale until they are unmade, which is soon
after nobody uses them. A file that many wrote may stay open for long.

K42: FCMDefault.C (ENABLE_FCM_SWITCHING), ServerFileSharing.C.
"""

from __future__ import annotations

from typing import Final

from k42fs.objects.adapt_rules import ThresholdRule

CONTENDED: Final = {"contended_share": 0.15, "contentions": 30, "processors": 2}

RULES: Final = (
    ThresholdRule("contended-cache", "FileCache", ("single",), "replicated", CONTENDED),
    ThresholdRule(
        "many-writers", "ServerFile", ("shared", "exclusive"), "ranged", CONTENDED | {"writers": 2}
    ),
    ThresholdRule("one-writer", "ServerFile", ("ranged",), "shared", most={"writers": 1}, windows=5),
    ThresholdRule("hot-directory", "DirObject", ("locked",), "distributed", CONTENDED),
)
