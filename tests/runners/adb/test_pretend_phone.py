"""The pretend phone against the real adb: what the other tests take for granted."""

import subprocess

import pytest


def adb(phone, *words, **options):
    done = subprocess.run(
        ["adb", "-s", phone.serial, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def test_shell_keeps_streams_and_exit_codes_apart(connect):
    phone = connect()
    assert adb(phone, "shell", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert adb(phone, "shell", "cat; echo end", input="a\n") == (0, "a\nend\n", "")


def test_an_old_phone_loses_the_exit_code(connect):
    phone = connect(features=())
    assert adb(phone, "shell", "echo out; echo err >&2; exit 7") == (0, "out\nerr\n", "")


def test_it_answers_as_a_phone(connect):
    phone = connect({"ro.product.model": "Model A"})
    _, out, _ = adb(
        phone,
        "shell",
        "getprop ro.product.model; cat /sys/class/thermal/thermal_zone1/type; head -n 1"
        " /proc/meminfo",
    )
    assert out.splitlines() == ["Model A", "cpu-0-0", "MemTotal:        5831516 kB"]


@pytest.mark.parametrize(
    "name", ["with space", "quote's", 'double"quote', "semi;colon", "$HOME `x` & | > *"]
)
def test_names_survive_push_and_pull(connect, tmp_path, name):
    phone = connect()
    (tmp_path / "source").write_text(name)
    assert adb(phone, "push", tmp_path / "source", f"/data/local/tmp/{name}")[0] == 0
    assert adb(phone, "pull", f"/data/local/tmp/{name}", tmp_path / "back")[0] == 0
    assert (tmp_path / "back").read_text() == name


def test_a_lost_connection_looks_like_success(connect):
    """The reason for our end markers."""
    phone = connect()
    phone.faults.vanish_after = 10
    code, out, err = adb(
        phone, "shell", "for i in 1 2 3 4 5 6 7 8 9; do echo line; sleep 0.1; done; exit 3"
    )
    assert (code, out.count("line"), err) == (0, 2, "")
