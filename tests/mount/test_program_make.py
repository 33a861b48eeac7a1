"""make and the C compiler: a parallel build, then only what changed."""

from __future__ import annotations

import os
from pathlib import Path

from .support import run, tick, write

UNITS = 24
MAKEFILE = b"""\
UNITS := $(sort $(wildcard src/*.c))
OBJECTS := $(UNITS:src/%.c=build/%.o)

program: build/libunits.a main.c
\t$(CC) -O1 -Iinclude -o $@ main.c build/libunits.a

build/libunits.a: $(OBJECTS)
\t$(AR) rcs $@ $^

build/%.o: src/%.c | build
\t$(CC) -O1 -Iinclude -MMD -MP -MT $@ -c -o $@.tmp $<
\tmv $@.tmp $@

build:
\tmkdir -p $@

-include $(OBJECTS:.o=.o.d)

.PHONY: clean
clean:
\trm -rf build program
"""


def _write_project(top: Path) -> None:
    for name in ("src", "include"):
        (top / name).mkdir()
    for number in range(UNITS):
        write(top / "include" / f"unit{number}.h", b"int unit%d(void);\n" % number)
        write(
            top / "src" / f"unit{number}.c",
            b'#include "unit%d.h"\n#include "unit%d.h"\nint unit%d(void) { return %d; }\n'
            % (number, (number + 1) % UNITS, number, number),
        )
    includes = b"".join(b'#include "unit%d.h"\n' % number for number in range(UNITS))
    total = b" + ".join(b"unit%d()" % number for number in range(UNITS))
    write(
        top / "main.c",
        includes + b'#include <stdio.h>\nint main(void) { printf("%d\\n", ' + total + b"); }\n",
    )
    write(top / "Makefile", MAKEFILE)


def test_a_project_is_built_in_parallel_and_again_only_where_it_changed(target: Path) -> None:
    _write_project(target)
    run(["gcc", "--version"])
    run(["make", "-j8", "CC=gcc"], cwd=target)
    assert run([target / "program"]) == f"{sum(range(UNITS))}\n"
    assert "up to date" in run(["make", "-j8", "CC=gcc"], cwd=target)
    tick(target)
    header = target / "include" / "unit5.h"
    os.utime(header)
    again = run(["make", "-j8", "CC=gcc"], cwd=target)
    assert {line.split()[-1] for line in again.splitlines() if " -c " in line} == {
        "src/unit4.c",
        "src/unit5.c",
    }
    assert run([target / "program"]) == f"{sum(range(UNITS))}\n"
    run(["make", "clean"], cwd=target)
    assert sorted(os.listdir(target)) == ["Makefile", "include", "main.c", "src"]
