"""Images: what is hashed, refused and noticed. The compiler is left out: it runs in a sandbox."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from containers.images import ImageStore, StoredImage, digest_of, source_files
from containers.runtime import ImageMissing, RuntimeBroken

PARTS = StoredImage(
    digest="",
    files=(),
    compiled=(),
    layer=None,
    layer_digest=None,
    interpreter="i",
    shim="s",
    substrate={"name": "x"},
    labels={},
)


def no_compiler(folder: Path, shown_at: str) -> None:
    """Nothing is compiled: legal, a source that can't be compiled stays a source."""


def tree(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def store(home: Path, source: Path) -> tuple[ImageStore, str]:
    parts = replace(PARTS, files=tuple(source_files(source)))
    images = ImageStore(home)
    return images, images.add(source, replace(parts, digest=digest_of(parts)), no_compiler).digest


def test_the_same_bytes_give_the_same_digest_whatever_the_times(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {"a.py": "x", "pkg/b.py": "y"})
    two = tree(tmp_path / "two", {"pkg/b.py": "y", "a.py": "x"})
    os.utime(two / "a.py", (1, 1))
    (two / "a.py").chmod(0o600)
    assert source_files(one) == source_files(two)


def test_every_ingredient_moves_the_digest(tmp_path: Path) -> None:
    base = replace(PARTS, files=(("a.py", False, "00"),))
    others = [
        replace(base, files=(("a.py", True, "00"),)),
        replace(base, files=(("b.py", False, "00"),)),
        replace(base, files=(("a.py", False, "01"),)),
        replace(base, layer_digest="l"),
        replace(base, interpreter="j"),
        replace(base, shim="t"),
        replace(base, substrate={"name": "y"}),
    ]
    digests = {digest_of(image) for image in [base, *others]}
    assert len(digests) == len(others) + 1
    assert digest_of(replace(base, compiled=(("c", False, "1"),), layer="key")) == digest_of(base)


@pytest.mark.parametrize("odd", ["link", "folder link", "fifo", "pyc", "cached"])
def test_what_cannot_be_reviewed_is_refused(tmp_path: Path, odd: str) -> None:
    source = tree(tmp_path / "t", {"a.py": "x"})
    if odd == "link":
        (source / "l").symlink_to("/etc/passwd")
    elif odd == "folder link":
        (source / "l").symlink_to(".")
    elif odd == "fifo":
        os.mkfifo(source / "f")
    else:
        tree(source, {"evil.pyc" if odd == "pyc" else "__pycache__/a.cpython-311.pyc": "x"})
    with pytest.raises(RuntimeBroken):
        source_files(source)


def test_an_image_is_read_only_and_comes_back(tmp_path: Path) -> None:
    images, digest = store(tmp_path / "h", tree(tmp_path / "t", {"a.py": "x", "d/b.sh": "y"}))
    app = images.path(digest) / "app"
    assert {oct(path.stat().st_mode & 0o777) for path in app.rglob("*") if path.is_file()} == {"0o444"}
    assert [entry[0] for entry in images.load(digest).files] == ["a.py", "d/b.sh"]
    assert not list((tmp_path / "h" / "images").glob(".build-*"))


@pytest.mark.parametrize("damage", ["byte", "more", "less", "mode", "manifest", "link"])
def test_a_changed_image_is_noticed_also_after_it_was_verified(tmp_path: Path, damage: str) -> None:
    images, digest = store(tmp_path / "h", tree(tmp_path / "t", {"a.py": "x", "b.py": "y"}))
    images.load(digest)
    app = images.path(digest) / "app"
    app.chmod(0o755)
    (app / "a.py").chmod(0o644)
    if damage == "byte":
        before = (app / "a.py").stat()
        (app / "a.py").write_text("z")
        os.utime(app / "a.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    elif damage == "more":
        (app / "c.pyc").write_text("z")
    elif damage == "less":
        (app / "b.py").unlink()
    elif damage == "mode":
        (app / "a.py").chmod(0o755)
    elif damage == "link":
        (app / "a.py").unlink()
        (app / "a.py").symlink_to("b.py")
    else:
        manifest = images.path(digest) / "manifest.json"
        fields = json.loads(manifest.read_bytes()) | {"interpreter": "other"}
        manifest.chmod(0o644)
        manifest.write_text(json.dumps(fields))
    with pytest.raises(ImageMissing):
        images.load(digest)


def test_a_missing_image_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageMissing, match="build it again"):
        ImageStore(tmp_path).load("sha256:" + "0" * 64)


def test_a_compiler_that_changes_sources_builds_nothing(tmp_path: Path) -> None:
    source = tree(tmp_path / "t", {"a.py": "x"})
    parts = replace(PARTS, files=tuple(source_files(source)))
    images = ImageStore(tmp_path / "h")

    def vandal(folder: Path, shown_at: str) -> None:
        (folder / "a.py").write_text("changed")

    with pytest.raises(RuntimeBroken, match="changed while it was being built"):
        images.add(source, replace(parts, digest=digest_of(parts)), vandal)
    assert list((tmp_path / "h" / "images").iterdir()) == []


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8),
        st.binary(max_size=20),
        max_size=6,
    )
)
def test_export_of_any_names_is_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    base = tmp_path_factory.mktemp("names")
    (base / "t").mkdir()
    for name, data in files.items():
        (base / "t" / name).write_bytes(data)
    images, digest = store(base / "h", base / "t")
    app = images.path(digest) / "app"
    assert {path.name: path.read_bytes() for path in app.iterdir()} == {
        path.name: path.read_bytes() for path in (base / "t").iterdir()
    }
