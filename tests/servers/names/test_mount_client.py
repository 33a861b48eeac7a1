"""Clients' prefix tables: calls when warm and after changes, links, and changes by others meanwhile."""

from __future__ import annotations

import pytest

from k42fs.errors import InvalidArgumentError, NameNotFoundError, NotPermittedError, SymlinkLoopError
from k42fs.ids import VP, Ino, Ref
from k42fs.machine import Thread
from k42fs.objects import WellKnown
from k42fs.servers.credentials import Creds
from k42fs.servers.mount_client import LINKS_MAX, MountPointMgrClient
from k42fs.servers.mount_point_mgr import LINK_LOG_MAX, MountPointMgr
from k42fs.servers.mount_table import MountTable
from k42fs.servers.pathname import ROOT, DotDot, PathName
from k42fs.servers.symlink_cache import ALL_LINKS, LINKS_CACHED_MAX, CachedLink, LinkKey, SymlinkCache
from tests.servers.names.town import Town, p


async def remember(th: Thread, client: MountPointMgrClient, path: str, ino: int, target: str) -> None:
    """Do what a resolution does that meets a link unknown so far."""
    await client.watch_links(th)
    seen = await client.refresh(th)
    await client.remember_link(th, p(path), Ino(ino), target.encode(), seen)


def test_the_name_server_has_its_well_known_ref() -> None:
    assert Town().mgr.ref == Ref(WellKnown.MOUNT_POINT_MGR) == Ref(9)


def test_invariant_4_a_warm_lookup_makes_no_call_and_a_change_costs_one_reload_when_used() -> None:
    town = Town()
    clients = [town.client(), town.client()]
    town.mount("/", Ref(100), cov=True)
    for round_ in range(3):
        before = [client.counts.reloads for client in clients]
        assert before == [round_, round_]
        for client in clients:
            for _ in range(4):
                town.found(client, "/some/path")
            assert client.counts.reloads == client.counts.calls == round_ + 1
            assert client.lock.acquisitions == round_ + 1  # nor does it write anything that is shared
        town.mount(f"/m{round_}", Ref(100))
        town.mount("/more", Ref(100))  # two changes, one use
    assert town.found(clients[0], "/m2/x") == "100:/x"
    assert clients[1].counts.reloads == 3  # it did not look


def test_invariant_4_the_version_is_read_before_the_table() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()

    async def change_in_between(th: Thread) -> None:
        rep = th.deref(town.mgr.ref)
        version = await rep.version(th)
        await th.deref(town.mgr.ref).register(th, p("/new"), Ref(101))
        news = await th.deref(town.mgr.ref).fetch(th, 0)
        assert news.snapshot.version == version + 1

    town.do(change_in_between)
    assert town.found(client, "/new/f") == "101:/f"
    town.found(client, "/new/f")
    assert client.counts.reloads == 1


def test_invariant_5_a_lookup_that_starts_after_register_returned_sees_it_on_every_processor() -> None:
    town = Town(processors=8)
    town.mount("/", Ref(100), cov=True)
    clients = [town.client() for _ in range(8)]
    for vp, client in enumerate(clients):
        town.found(client, "/m", vp=vp)
    for change in range(6):
        town.call("register", p("/m"), Ref(200 + change), vp=change)
        for vp, client in enumerate(clients):
            assert town.found(client, "/m", vp=vp) == f"{200 + change}:/"
    town.call("unregister", p("/m"), vp=7)
    assert {town.found(client, "/m", vp=vp) for vp, client in enumerate(clients)} == {"204:/"}


def test_a_client_may_be_used_on_any_processor() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()
    for vp in (0, 3, 1, 2):
        assert town.found(client, "/x", vp=vp) == "100:/x"
    assert client.counts.reloads == 1


@pytest.mark.parametrize("links_max", [11, LINKS_MAX])
def test_invariant_7_a_chain_at_the_bound_resolves_and_one_more_is_eloop(links_max: int) -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client(links_max)
    for number in range(links_max + 1):
        town.do(remember, client, f"/l{number}", number + 1, f"l{number - 1}" if number else "/target")
    assert town.found(client, f"/l{links_max - 1}/f") == "100:/target/f"
    with pytest.raises(SymlinkLoopError):
        town.found(client, f"/l{links_max}/f")
    town.do(remember, client, "/loop", 99, "./loop")
    with pytest.raises(SymlinkLoopError):
        town.found(client, "/loop")


def test_invariant_8_the_last_link_is_followed_only_when_asked_or_before_a_slash() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()
    town.do(remember, client, "/d/link", 5, "../to")
    assert town.found(client, "/d/link") == "100:/to"
    assert town.found(client, "/d/link", follows_last=False) == "100:/d/link"
    assert town.found(client, "/d/link/", follows_last=False) == "100:/to"
    assert town.found(client, "/d/link/f", follows_last=False) == "100:/to/f"


def test_invariant_8_a_removed_link_is_dropped_by_every_client_and_the_others_stay() -> None:
    town = Town()
    town.mount("/", Ref(100))
    clients = [town.client(), town.client()]
    for client in clients:
        town.do(remember, client, "/one", 5, "/to1")
        town.do(remember, client, "/two", 6, "/to2")
    town.call("links_removed", [LinkKey(Ref(100), Ino(5))], vp=2)
    for client in clients:
        reloads = client.counts.reloads
        assert town.found(client, "/one") == "100:/one"
        assert town.found(client, "/two") == "100:/to2"
        assert client.counts.reloads == reloads + 1
    town.call("links_removed", [LinkKey(Ref(100), ALL_LINKS)])  # a directory was renamed
    assert {town.found(client, "/two") for client in clients} == {"100:/two"}


def test_reports_of_links_change_nothing_while_nobody_keeps_links() -> None:
    town = Town()
    town.mount("/", Ref(100))
    version = town.mgr.snapshot.version
    town.call("links_removed", [LinkKey(Ref(100), Ino(5))])
    assert town.mgr.snapshot.version == version


def test_links_are_reported_no_more_once_the_last_client_that_keeps_them_has_ended() -> None:
    town = Town()
    town.mount("/", Ref(100))
    clients = [town.client(), town.client(), town.client()]
    for client in clients[:2]:
        town.do(remember, client, "/one", 5, "/to1")
    version = town.mgr.snapshot.version
    for client, moved in zip(clients, (1, 1, 0), strict=True):
        town.call("links_removed", [LinkKey(Ref(100), Ino(9))], vp=3)
        version += moved
        assert town.mgr.snapshot.version == version
        town.do(client.destroy)


def test_a_client_too_far_behind_drops_all_its_links() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()
    town.do(remember, client, "/kept", 5, "/to")
    town.call("links_removed", [LinkKey(Ref(100), Ino(1000 + n)) for n in range(LINK_LOG_MAX)])
    assert town.found(client, "/kept") == "100:/to"
    town.call("links_removed", [LinkKey(Ref(100), Ino(5))])
    town.call("links_removed", [LinkKey(Ref(100), Ino(2000 + n)) for n in range(LINK_LOG_MAX)])
    assert town.found(client, "/kept") == "100:/kept"


def test_a_link_read_while_the_table_changed_is_not_kept() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()

    async def removed_meanwhile(th: Thread) -> None:
        await client.watch_links(th)
        seen = await client.refresh(th)
        await th.deref(town.mgr.ref).links_removed(th, [LinkKey(Ref(100), Ino(5))])
        await client.remember_link(th, p("/l"), Ino(5), b"/to", seen)

    town.do(removed_meanwhile)
    assert len(client.links) == 0


def test_the_mount_tree_wins_over_links_and_links_go_with_the_mount_they_were_read_from() -> None:
    town = Town()
    town.mount("/", Ref(100), cov=True)
    client = town.client()
    town.do(remember, client, "/a/l", 5, "/to")
    assert town.found(client, "/a/l/m/f") == "100:/to/m/f"
    town.mount("/a/l/m", Ref(101))
    assert town.found(client, "/a/l/m/f") == "101:/f"
    assert town.found(client, "/a/l/x") == "100:/a/l/x"  # a path filler now
    town.do(remember, client, "/b/l", 6, "/to")
    town.mount("/b", Ref(102))
    assert town.found(client, "/b/l") == "102:/l"


def test_a_links_dotdot_climbs_over_anything_before_it() -> None:
    town = Town()
    town.mount("/", Ref(100))
    client = town.client()
    town.do(remember, client, "/a/b/l", 5, "x/../../y")
    assert town.found(client, "/a/b/l/f") == "100:/a/y/f"


def test_whole_path_lookups_want_lexical_paths() -> None:
    town = Town()
    town.mount("/", Ref(100))
    with pytest.raises(InvalidArgumentError):
        town.found(town.client(), "/a/../b")
    lexical = PathName.parse(b"/a/../b", dotdot=DotDot.LEXICAL)
    assert town.do(town.client().lookup, lexical).path == p("/b")


def test_an_uncovered_path_is_enoent() -> None:
    town = Town()
    with pytest.raises(NameNotFoundError):
        town.found(town.client(), "/a")
    with pytest.raises(NameNotFoundError):
        town.call("lookup", (b"a",))


def test_only_the_owner_root_and_the_system_change_a_name_space() -> None:
    town = Town(owner_uid=1000)
    town.mount("/", Ref(100))
    for uid in (0, 1000):
        town.call("register", p(f"/{uid}"), Ref(101), creds=Creds(uid, 0))
    version = town.mgr.snapshot.version
    for method, args in (
        ("register", (p("/x"), Ref(101))),
        ("bind", (p("/"), p("/x"))),
        ("unregister", (p("/0"),)),
    ):
        with pytest.raises(NotPermittedError):
            town.call(method, *args, creds=Creds(1001, 0))
    assert town.mgr.snapshot.version == version


def test_a_private_name_space_starts_as_a_copy_and_goes_its_own_way() -> None:
    town = Town()
    town.mount("/", Ref(100), cov=True)
    table = MountTable()
    table.register(ROOT, Ref(300))
    private = MountPointMgr(town.cos, table.copy(), at=None)
    mine, theirs = MountPointMgrClient(town.cos, private.ref), town.client()
    town.mount("/m", Ref(101))
    assert town.found(theirs, "/m") == "101:/"
    assert town.found(mine, "/m") == "300:/m"


def test_unregister_says_how_many_mounts_of_the_server_are_left() -> None:
    town = Town()
    town.mount("/", Ref(100), cov=True)
    town.mount("/m", Ref(101))
    town.call("bind", p("/m/x"), p("/n"))
    assert town.call("unregister", p("/m")).mounts_left == 1
    assert town.call("unregister", p("/n")).mounts_left == 0


def test_a_full_link_cache_starts_anew() -> None:
    cache = SymlinkCache()
    for number in range(LINKS_CACHED_MAX + 1):
        cache.add((b"%d" % number,), CachedLink(b"t", LinkKey(Ref(1), Ino(number + 1)), 1))
    assert len(cache) == 1


def test_destroying_a_name_space_gives_its_memory_back() -> None:
    town = Town()

    def live_and_die() -> int:
        private = MountPointMgr(town.cos, at=None)
        client = MountPointMgrClient(town.cos, private.ref)
        for vp in range(4):
            town.do(client.refresh, vp=vp)
        most = town.machine.memory.live_bytes

        async def finish(th: Thread) -> None:
            await client.destroy(th)
            await town.cos.destroy(th, private.ref)

        town.do(finish)
        for vp in (*range(4),) * 12:
            th = town.machine.enter(VP(vp))
            town.machine.drive(town.cos.check_cleanup(th))
            town.machine.leave(th)
        return most

    live_and_die()  # the translation tables grow at first use
    used = town.machine.memory.live_bytes
    assert live_and_die() > used
    assert town.machine.memory.live_bytes == used
