"""The list of a capture in its written form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.fleet.workspaces.manifest import Area, Manifest, read, written
from holdfast.fleet.workspaces.survey import Entry

PART = st.binary(min_size=1, max_size=8).filter(lambda part: not {0, 47} & set(part) and part not in (b".", b".."))
ENTRIES = st.builds(
    Entry,
    st.lists(PART, min_size=1, max_size=3).map(b"/".join),
    st.sampled_from(["file", "link", "folder", "fifo"]),
    st.integers(0, 0o7777),
    st.integers(0, 1 << 40),
    st.just("a" * 40),
    st.integers(0, 1 << 62),
)


def _manifest(*entries: Entry) -> Manifest:
    return Manifest(
        "web-1", "b" * 40, "holdfast/web-1", "sha1", False, (Area("tree", "/a/\udcff", entries),), ("c" * 40,)
    )


@given(st.lists(ENTRIES, max_size=5))
def test_what_was_written_reads_as_it_was_whatever_bytes_the_names_have(entries: list[Entry]) -> None:
    manifest = _manifest(*entries)
    again = read(written(manifest))
    assert again == manifest
    assert [entry.mtime for entry in again.areas[0].entries] == [entry.mtime for entry in entries]


@pytest.mark.guards(
    "A list that names a path outside of its folder is refused.",
    against="A capture from another repository that writes over files of the person when it is put back.",
    breaks=("kept-paths-lead-anywhere",),
)
@pytest.mark.parametrize("path", [b"../x", b"/etc/passwd", b"a/../../x", b"a//b", b"", b".", b"a\0b"])
def test_a_path_that_leads_elsewhere_is_refused(path: bytes) -> None:
    with pytest.raises(ValueError, match="leads elsewhere"):
        read(written(_manifest(Entry(path, "file", 0o644, 1, "a" * 40))))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"version":2}', b'{"version":1}', b"\xff", b"null"])
def test_what_is_no_list_of_ours_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        read(text)
