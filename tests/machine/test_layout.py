"""Layouts place fields, scripts name references."""

import pytest

from k42fs.machine.layout import READ, RMW, WRITE, Kind, Layout

DIR = Layout("Dir", Kind.GLOBAL_PADDED, lock=16, flag=1, count=4, names=200)


def test_fields_follow_each_other_aligned_to_their_size_or_to_a_word() -> None:
    assert [DIR.offset(field) for field in DIR.fields] == [0, 16, 20, 24]
    assert DIR.size == 224


def test_every_byte_of_a_field_is_found_again_and_gaps_are_nobodys() -> None:
    for field in DIR.fields:
        assert DIR.field_at(DIR.offset(field)) == field
    assert DIR.field_at(223) == "names"
    assert DIR.field_at(17) == ""
    assert DIR.field_at(224) == ""


def test_a_script_refers_to_each_line_of_a_field_once() -> None:
    script = DIR.script("grow", "r:lock w:names x2:8", work=70)
    assert (script.name, script.work) == ("Dir.grow", 70)
    assert [ref[:3] for ref in script.refs] == [(READ, False, 0), (WRITE, False, 24), (RMW, True, 8)]
    cut = [(ref.code, ref.offset, ref.nbytes) for ref in script.for_line(64)]
    names = [(WRITE, 24, 40), (WRITE, 64, 64), (WRITE, 128, 64), (WRITE, 192, 32)]
    assert cut == [(READ, 0, 16), *names, (RMW, 8, 8)]
    assert len(script.for_line(256)) == 3
    assert script.for_line(64) is script.for_line(64)


def test_scripts_are_numbered_in_the_order_of_their_making() -> None:
    first, second = DIR.script("a", "r:lock"), DIR.script("b", "r:lock")
    assert second.index == first.index + 1


@pytest.mark.parametrize("token", ["q:lock", "r:nothing", "lock", "r3:0", "r2:x", "rw:lock"])
def test_a_wrong_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"Dir\.bad|invalid literal"):
        DIR.script("bad", token)


def test_a_field_has_a_size() -> None:
    with pytest.raises(AssertionError, match=r"Empty\.x"):
        Layout("Empty", Kind.GLOBAL, x=0)
