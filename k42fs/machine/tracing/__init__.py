"""K42's tracing: events emitted cheaply by every floor, on disk in a format that stock tools read.

schema.toml, schema        what events there are; everything else is derived from it
packing, formats           fields into words and back; events in words people read
switches                   what call sites ask: `proc.on.lock`; and what stands for emitters before there are any
emitters                   one method for each event, `proc.emit.lock_release(lock, held)`
packets, ctf               64 KiB that decode alone, and the metadata that describes them
words, fast_words, split   the words of events; bodies of packets cut from them
stream                     one processor's events, put in order and cut into packets
frames                     packets in zstd, which decompress alone, too
recordings                 a directory, bounded or not; memory, the flight recorder
flushing                   how often a mount's recording goes to disk
mask, definitions          which classes are on; what numbers in events stand for
losses, coherence          events that are in no file; what a coherence core has logged, as events
tracer                     all of it for one machine
tail                       the last events in words
reserve, modelled          K42's own lock-free way into buffers, step by step; what it costs on modelled memory
derived, schema.lock       files made from the schema, and what may never change in it
"""
