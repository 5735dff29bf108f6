from __future__ import annotations

import pytest

from tests.faults.kill import main


@pytest.mark.slow
def test_killed_commands_leave_nothing_half_and_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kills", "4", "--job", "posed", "fit"]) == 0, capsys.readouterr().out
