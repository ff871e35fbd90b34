"""What the tests of the commands share."""

import pytest

from cluster.cli.app import main


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command that must be refused; gives the one line that it prints."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["curlvpr", *map(str, arguments)])
        before = set(tmp_path.glob("runs/*"))
        with pytest.raises(SystemExit) as exit:
            main()
        err = capsys.readouterr().err.strip()
        assert exit.value.code == 2 and "Traceback" not in err and len(err.splitlines()) == 1, err
        assert set(tmp_path.glob("runs/*")) == before
        return err

    return run
