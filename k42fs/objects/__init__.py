"""Clustered objects: one identity, one interface, and inside it one instance, one per processor, or a few.

| file              | holds                                                                               |
|-------------------|-------------------------------------------------------------------------------------|
| state_word.py     | who may miss, switch or destroy an object right now: transitions of one word        |
| default_object.py | what an empty local entry answers: take the miss, restart the call                  |
| translation.py    | refs, the global table, the per-processor local tables                              |
| generations.py    | active threads, two-generation counters, markers                                    |
| destruction.py    | deferred destruction: delete sets, the token, the return of refs                    |
| debug_checks.py   | one-call reps: catches clients that cache a rep                                     |
| traced_table.py   | local tables whose entries' calls are traced                                        |
| object_trace.py   | what recordings are told of objects: whose calls, misses, lives and names           |
| transfer.py       | forms of state that one implementation of an object hands another                   |
| implementations.py | the implementations that each kind of object can have, by name                     |
| root.py           | SingleRepRoot, MultiRepRoot: miss handlers, and how an object is written            |
| workers.py        | threads of the object system itself, one on each processor concerned                |
| captured.py       | what stands before a captured object: an arbiter's root and reps                    |
| interposition.py  | arbiters in front of objects in use: capture, release, nesting                      |
| arbiters.py       | ready-made ones: call counter, latency histogram, delay and fault injector          |
| phases.py         | the phases of a hot swap, as a table                                                |
| mediator.py       | what stands in an object's place meanwhile, and counts who is inside                |
| swap_record.py    | what is to be known of a swap when it is over                                       |
| swap.py           | one hot swap: quiescence, transfer, commit or abort                                 |
| swaps.py          | all of them: refusal, deadlines, history                                            |
| factory.py        | dynamic update: new code for all objects of a kind                                  |
| object_statistics.py | what is known of all objects, as figures                                         |
| manager_root.py   | the manager as an object of its own                                                 |
| cosmgr.py         | COSMgr, the face of all this: activate, publish, destroy, check_cleanup, statistics |
| counted_calls.py  | calls of watched objects, counted on their way                                      |
| monitors.py       | what adaptation watches: locks, lines, new objects                                  |
| adapt_figures.py  | an object's figures in a window, and what was decided on them                       |
| adapt_rules.py    | rules made of thresholds, in Python or TOML                                         |
| adaptation.py     | run-time adaptation: windows, rules, decisions, swaps                               |
| xhandle.py        | handles of clients in other address spaces: rights, client lists, recycling         |
| counter.py        | the smallest worked clustered object, shared and replicated                         |

A file imports only files above it. Lock order: a multi-rep root's lock before the locks of its reps.
"""

from k42fs.objects.cosmgr import COSMgr
from k42fs.objects.debug_checks import StaleRepError
from k42fs.objects.generations import INACTIVE, Generations, GlobalMarker, VPMarker
from k42fs.objects.object_statistics import ObjectStatistics
from k42fs.objects.phases import Phase
from k42fs.objects.root import CObjRoot, MultiRepRoot, Rep, SingleRepRoot, processors
from k42fs.objects.swap import Swap
from k42fs.objects.swap_record import SwapRecord
from k42fs.objects.traced_table import Wanted, plain_rep
from k42fs.objects.translation import MissHandler, WellKnown, owner_of

__all__ = [
    "INACTIVE",
    "COSMgr",
    "CObjRoot",
    "Generations",
    "GlobalMarker",
    "MissHandler",
    "MultiRepRoot",
    "ObjectStatistics",
    "Phase",
    "Rep",
    "SingleRepRoot",
    "StaleRepError",
    "Swap",
    "SwapRecord",
    "VPMarker",
    "Wanted",
    "WellKnown",
    "owner_of",
    "plain_rep",
    "processors",
]
