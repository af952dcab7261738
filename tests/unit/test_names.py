"""No person is called what the console calls itself, nor like somebody else to a reader's eye."""

from __future__ import annotations

import pytest

from console.core.errors import Conflict, Invalid
from console.identity.names import check_name


@pytest.mark.parametrize(
    "name",
    [
        "system", "System", " SYSTEM ", "sys tem", "ｓｙｓｔｅｍ", "command line", "Command  Line", "commandline", "Waybill",
        "agent:shop", "Agent: shop", "automatic: erp is away", "automatic : erp",
    ],
)  # fmt: skip
def test_the_products_own_names_are_nobodys(name: str):
    with pytest.raises(Invalid, match="what this console calls itself"):
        check_name(name, taken=[])


@pytest.mark.parametrize("name", ["", "   ", "\x00", "x" * 151, "sys\u200btem", "a\nb", "a\u202eb", "\u3164" * 0])
def test_what_cannot_be_read_is_no_name(name: str):
    with pytest.raises(Invalid):
        check_name(name, taken=[])


@pytest.mark.parametrize("name", ["ada", "ADA", " Ada", "a da", "ａｄａ"])
def test_a_name_that_reads_as_a_taken_one_is_taken(name: str):
    with pytest.raises(Conflict, match="there is a user Ada already"):
        check_name(name, taken=["bob", "Ada"])


@pytest.mark.parametrize("name", ["ada", " ada ", "systems", "agent", "ada.lovelace@example.org", "Ünsal", "李"])
def test_other_names_are_taken_as_they_are(name: str):
    assert check_name(name, taken=["bob"]) == name.strip()
