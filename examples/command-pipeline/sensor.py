"""Reports readings over one connection: waits for the answer, thinks for a random time, reports again. Prints each time taken."""

import http.client
import os
import random
import sys
import time
from urllib.parse import urlsplit

GATEWAY = urlsplit(sys.argv[1])
THINK = float(os.environ["THINK"].removesuffix("ms")) / 1000
TYPICAL_READINGS = 450

chance = random.Random(f"{os.environ['SEED']} {os.environ['ESTRAN_INDEX']}")


def report() -> bytes:
    """A few kilobytes of readings, sometimes many."""
    count = int(chance.lognormvariate(0, 0.5) * TYPICAL_READINGS) + 1
    return "\n".join(f"{chance.gauss(20, 3):.6f}" for _ in range(count)).encode()


def connected() -> http.client.HTTPConnection:
    """The gateway may not listen yet."""
    while True:
        try:
            connection = http.client.HTTPConnection(GATEWAY.hostname or "", GATEWAY.port, timeout=30)
            connection.connect()
            return connection
        except OSError:
            time.sleep(0.05)


def main() -> None:
    """Report for ever."""
    connection = connected()
    while True:
        time.sleep(chance.expovariate(1 / THINK))
        body = report()
        begun = time.monotonic()
        connection.request("POST", "/", body)
        answer = connection.getresponse().read()
        print(f"{begun:.6f} {time.monotonic() - begun:.6f} {len(body)} {len(answer)}", flush=True)


if __name__ == "__main__":
    main()
