"""Readers of recordings, and what they report.

decode, reader      words into records; files and packets, and what of them is damaged
merge               the processors' streams in one order of time
fields, names       what is in a record, and what its numbers stand for
filters             which records a report sees
tables, histogram   what reports are made of, as text, JSON and CSV
listing             every event
calls, call_tree, breakdown, locks (lock_stat), lock_chains, lines (c2c), requests, sharing, swaps, generations, diff
                    a report each; in brackets the stock format of its text
"""
