"""Readers of recordings, and what they report.

decode, reader      words into records; files and packets, and what of them is damaged
merge               the processors' streams in one order of time
fields, names       what is in a record, and what its numbers stand for
"""
