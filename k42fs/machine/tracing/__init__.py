"""K42's tracing: events emitted cheaply by every floor, on disk in a format that stock tools read.

schema.toml, schema   what events there are; everything below is derived from it
packing, packets      fields into words, words into packets of 64 KiB
stream                one processor's events, put in order and cut
ctf                   the description that goes with them
"""
