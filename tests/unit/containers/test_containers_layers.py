"""Lock files steer nothing but which hashed wheels are installed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from containers.layers import normalise, parse_lock
from containers.runtime import RuntimeBroken

SHA = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


def test_pip_compile_style_becomes_canonical() -> None:
    text = f"""# made by a tool
b-pkg==2.0 \\
    --hash={OTHER} \\
    --hash={SHA}
    # via nothing
a[extra]==1.0 ; python_version >= "3.11" --hash={SHA}  # why not
"""
    assert parse_lock(text, "lock") == [
        f'a[extra]==1.0 ; python_version >= "3.11" --hash={SHA}',
        f"b-pkg==2.0 --hash={SHA} --hash={OTHER}",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "requests",
        "requests==1.0",
        f"requests>=1.0 --hash={SHA}",
        "--index-url http://evil.invalid/simple",
        "-i http://evil.invalid",
        "-e .",
        "-r other.txt",
        "--extra-index-url=http://evil.invalid",
        "--trusted-host evil.invalid",
        f"a @ http://evil.invalid/a.whl --hash={SHA}",
        f"git+https://evil.invalid/a --hash={SHA}",
        f"./local.whl --hash={SHA}",
        f"a==1.0 --hash={SHA} --index-url=http://evil.invalid",
        f"a==1.0 --config-settings=x --hash={SHA}",
        "a==1.0 --hash=md5:" + "a" * 32,
        f"a==$EVIL --hash={SHA}",
        f"a==1.0 ; `touch x` --hash={SHA}",
    ],
)
def test_anything_but_a_hashed_pin_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(RuntimeBroken, match=r"lock:2"):
        parse_lock(f"good==1.0 --hash={SHA}\n{line}\n", "lock")


@given(st.text(max_size=200))
def test_whatever_gets_through_is_only_pins_and_hashes(text: str) -> None:
    try:
        lines = parse_lock(text, "lock")
    except RuntimeBroken:
        return
    for line in lines:
        assert "==" in line.split()[0]
        assert not line.startswith("-")
        assert all(word.startswith("--hash=sha256:") for word in line.split() if word.startswith("--"))


@given(st.lists(st.sampled_from(["a", "b", "c"]), unique=True), st.randoms(use_true_random=False))
def test_order_and_layout_do_not_matter(names: list[str], random: object) -> None:
    lines = [f"{name}==1 --hash={SHA}" for name in names]
    shuffled = [line.replace(" --", " \\\n   --") for line in reversed(lines)]
    assert parse_lock("\n".join(lines), "l") == parse_lock("\n\n".join(shuffled), "l")


def test_what_differs_between_machines_is_dropped(tmp_path: Path) -> None:
    kept = ["pkg/__init__.py", "pkg-1.dist-info/METADATA", "pkg-1.dist-info/entry_points.txt"]
    dropped = [
        "bin/tool",
        "pkg/__pycache__/x.pyc",
        "pkg-1.dist-info/INSTALLER",
        "pkg-1.dist-info/RECORD",
        ".lock",
    ]
    for name in [*kept, *dropped]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    normalise(tmp_path)
    assert sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    ) == sorted(kept)
