#!/bin/sh
# Write a C project into the current directory: UNITS files (60), each including a few of 20 shared headers, and a
# makefile that builds them into one program.
set -eu
units=${1:-60}
mkdir -p src include
i=0
while [ "$i" -lt 20 ]; do
    echo "static inline int shared$i(int x) { return x * $i + 1; }" >"include/shared$i.h"
    i=$((i + 1))
done
echo 'int main(void) { return 0; }' >src/main.c
i=0
while [ "$i" -lt "$units" ]; do
    {
        for j in 0 1 2 3 4 5; do echo "#include \"shared$(((i * 7 + j * 3) % 20)).h\""; done
        echo "int unit$i(int x) { return shared$(((i * 7) % 20))(x); }"
    } >"src/unit$i.c"
    i=$((i + 1))
done
cat >Makefile <<'END'
OBJECTS := $(patsubst src/%.c,build/%.o,$(wildcard src/*.c))

program: $(OBJECTS)
	$(CC) -o $@ $^

build/%.o: src/%.c
	@mkdir -p build
	$(CC) -O1 -Iinclude -MMD -c -o $@ $<

-include $(OBJECTS:.o=.d)
END
