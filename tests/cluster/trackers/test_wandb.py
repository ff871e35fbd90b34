"""Weights & Biases without a server holds what the run folder holds."""

import json
import time

from tests.support.tracked_run import write_steps


def records(path):
    """Of a .wandb file: LevelDB's log format (blocks of 32 KiB; checksum, length, type) after seven bytes of header."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # what is left of a block holds no header
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def test_wandb_holds_every_number_and_knows_the_run_again(offline):
    run = offline / "first"
    assert (
        write_steps(run, "wandb", (1, 2)) + write_steps(run, "wandb", (2, 3)) == []
    )  # step 2 is made again, after a commit
    for _ in range(100):  # wandb's own process writes the end of a file after it has answered
        files = sorted(run.glob("wandb/offline-run-*/*.wandb"))  # by the second they were begun
        found = [record for path in files for record in records(path)]
        rewards = [
            json.loads(item.value_json)
            for r in found
            for item in r.history.item
            if "/".join(item.nested_key) == "closed/step/reward"
        ]
        if len(rewards) == 4:
            break
        time.sleep(0.2)
    assert len(files) == 2 and len({r.run.run_id for r in found if r.HasField("run")}) == 1
    assert rewards == [0.1, 0.2, 0.2, 0.3]
