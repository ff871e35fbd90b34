"""How quickly the service scores under load: requests arrive by the clock, whether or not earlier ones were answered.

    python -m bench.service OUT [--rate 100] [--seconds 30] [--responses 16] [--json]

The real service on Ray Serve on this machine, with the clients on the same cores. A request has 16 different
responses of some 100 words with four judged steps. OUT keeps requests.jsonl: when each request was due, began and
ended, and its status. The last line is one JSON object; latencies count from the time at which a request was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import ray
import yaml
from ray import serve

from actors.runtime.environment import ENVIRONMENT, quiet_libraries
from cluster.service.serving import ServiceArguments, application
from cluster.service.tokens import new_token

PORT = 8765
WORDS = [
    "the",
    "left",
    "right",
    "lung",
    "base",
    "apex",
    "is",
    "clear",
    "hazy",
    "dense",
    "blunt",
    "normal",
    "large",
    "small",
    "with",
    "no",
    "focal",
    "area",
]


def request(rng: random.Random, responses: int) -> dict[str, Any]:
    options = {"A": "Effusion", "B": "Mass", "C": "Edema", "D": "No finding"}
    rows = []
    for _ in range(responses):
        steps = "".join(
            f"<think>{' '.join(rng.choices(WORDS, k=20))}</think><answer>{letter}) {rng.choice('✅❌')}</answer>"
            for letter in options
        )
        last = f"<think>{' '.join(rng.choices(WORDS, k=20))}</think><answer>{rng.choice('ABCD')}</answer>"
        rows.append({"domain": "closed", "options": options, "gold": ["A"], "response": steps + last})
    return {"responses": rows}


async def send_requests(url: str, token: str, rate: float, seconds: float, responses: int) -> list[dict[str, float]]:
    """Sends `rate` requests a second; returns a row for each."""
    rng, rows = random.Random(0), []
    bodies = [json.dumps(request(rng, responses)).encode() for _ in range(200)]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(number: int, due: float) -> None:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            began_at = time.monotonic()
            async with session.post(url, data=bodies[number % len(bodies)]) as answer:
                body = await answer.json()
                rows.append(
                    {
                        "due_s": due - start,
                        "began_s": began_at - start,
                        "ended_s": time.monotonic() - start,
                        "status": answer.status,
                        "verdicts": len(body.get("verdicts", ())),
                    }
                )

        for _ in range(5):  # the first requests warm the service up
            async with session.post(url, data=bodies[0]):
                pass
        start = time.monotonic() + 0.5
        await asyncio.gather(*(send(number, start + number / rate) for number in range(int(rate * seconds))))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--responses", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="no effect: only JSON is printed in any case")
    args = parser.parse_args()
    quiet_libraries()
    out = args.out.absolute()
    out.mkdir(parents=True)
    token, entry = new_token("bench", "read")
    (out / "tokens.yaml").write_text(yaml.safe_dump([entry.model_dump()]))
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": dict(ENVIRONMENT)},
    )
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": PORT})
        serve.run(application(ServiceArguments(root=out / "runs", tokens=out / "tokens.yaml")), name="curlvpr")
        url = f"http://127.0.0.1:{PORT}/v1/rewards/score"
        rows = asyncio.run(send_requests(url, token, args.rate, args.seconds, args.responses))
    finally:
        serve.shutdown()
        ray.shutdown()
    (out / "requests.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    latency = np.array([row["ended_s"] - row["due_s"] for row in rows]) * 1000
    print(
        json.dumps(
            {
                "requests": len(rows),
                "rate": args.rate,
                "responses_each": args.responses,
                "failed": sum(row["status"] != 200 or row["verdicts"] != args.responses for row in rows),
                "answered_per_s": round(len(rows) / max(row["ended_s"] for row in rows), 1),
                **{f"p{q}_ms": round(float(np.percentile(latency, q)), 1) for q in (50, 90, 99)},
            }
        )
    )


if __name__ == "__main__":
    main()
