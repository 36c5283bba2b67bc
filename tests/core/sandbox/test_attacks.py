"""What hostile programs try: in a sandbox all of it fails, and without one it gets through."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.sandbox.attacks import CONTROLLED, OPTIONAL
from core.sandbox.targets import NUMBERS, attack, is_alive, sandbox_or_skip, targets
from openbook.core.sandbox.folder import make_folder, remove_folder
from openbook.core.sandbox.launch import Tier
from openbook.core.sandbox.means import spare_uid
from openbook.core.sandbox.sandbox import Sandbox

TIERS: list[Tier] = ["landlock", "bubblewrap"]
ALL = {**CONTROLLED, **OPTIONAL}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("tier", TIERS)
def test_it_fails_in_a_sandbox(tier: Tier, name: str, tmp_path: Path) -> None:
    sandbox = sandbox_or_skip(tier)
    with targets(tmp_path) as target:
        reached, said = attack(sandbox, ALL[name], target)
        assert not reached
        assert "Error" in said or "error" in said, "the program must have failed at the attack, and said so"
        assert is_alive(int(str(target["victim"])))
    assert (tmp_path / "home" / "secret").read_text() == "secret"
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", CONTROLLED)
def test_it_gets_through_without(name: str, tmp_path: Path) -> None:
    with targets(tmp_path) as target:
        reached, said = attack(Sandbox("unsafe"), CONTROLLED[name], target)
    assert reached, said


@pytest.mark.parametrize("name", OPTIONAL)
def test_it_gets_through_without_where_the_system_allows_it(name: str, tmp_path: Path) -> None:
    with targets(tmp_path) as target:
        reached, said = attack(Sandbox("unsafe"), OPTIONAL[name], target)
    if not reached:
        pytest.skip(f"this system refuses {name} to this user anyway: {said.strip().splitlines()[-1:]}")


INT_80 = r"""
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid of 32-bit programs, which has another number
assert ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))() > 0
print("REACHED", flush=True)
"""


@pytest.mark.parametrize("tier", TIERS)
def test_calls_of_32_bit_programs_end_the_program(tier: Tier) -> None:
    if NUMBERS["ptrace"] != 101:
        pytest.skip("int 0x80 is of x86_64")
    assert b"REACHED" not in sandbox_or_skip(tier).run(INT_80).stdout


@pytest.mark.parametrize("tier", TIERS)
def test_nothing_of_ours_is_inherited(tier: Tier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENBOOK_TEST_SECRET", "secret")
    code = """
import os, sys
found = []
for descriptor in range(256):
    try: os.fstat(descriptor); found.append(descriptor)
    except OSError: pass
print(found, "secret" in str(os.environ) + str(sys.argv))
"""
    with open(tmp_path / "ours", "w") as ours:
        os.set_inheritable(ours.fileno(), True)
        assert sandbox_or_skip(tier).run(code).stdout == b"[0, 1, 2] False\n"


@pytest.mark.parametrize("tier", TIERS)
def test_no_capability_but_the_one_to_look_for_files_is_left(tier: Tier) -> None:
    code = """
import ctypes
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[7] * 6)
print(ctypes.CDLL(None).capget(header, data), [value & ~4 for value in data])  # CAP_DAC_READ_SEARCH is bit 2
"""
    assert sandbox_or_skip(tier).run(code).stdout == b"0 [0, 0, 0, 0, 0, 0]\n"


@pytest.mark.parametrize("tier", TIERS)
def test_the_folder_of_another_program_is_closed(tier: Tier) -> None:
    sandbox = sandbox_or_skip(tier)
    other = make_folder({"file": "secret"}, spare_uid())
    try:
        for look in (f"os.listdir({str(other)!r})", f"open({str(other / 'file')!r}).read()"):
            outcome = sandbox.run(f"import os; {look}; print('REACHED')")
            assert outcome.exit == 1
            assert outcome.stdout == b""
    finally:
        remove_folder(other)
