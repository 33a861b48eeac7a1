"""Readers of recordings, and what they report.

decode, reader      words into records; files and packets, and what of them is damaged
merge               the processors' streams in one order of time
fields, names       what is in a record, and what its numbers stand for
filters             which records a report sees
tables, histogram   what reports are made of, as text, JSON and CSV
listing             every event
calls, call_tree, breakdown, locks (lock_stat), lock_chains, lines (c2c), requests, sharing, swaps, generations, diff
                    a report each; in brackets the stock format of its text
kmon_rows, kmon_scan, kmon, kmon_payload, kmon_page, kmon_svg
                    the timeline: rows, packets into them, who ran, the page's data, the page, the picture
export_timeline, export_chrome, export_perfetto, export_ftrace, export_speedscope
                    a recording as tracks and slices, and in the formats of stock viewers
fsck, fsck_repair   damage, and a copy without it
parse_word          one word of a trace
"""
