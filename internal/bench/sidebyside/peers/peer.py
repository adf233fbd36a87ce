"""Takes part in elections with Kazoo's Lock, which is what its Election uses, over one client and so one session. peer.go has the
commands and the events. It ends when its input ends."""

import os
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

OUT = threading.Lock()


def say(at, who, what, text=""):
    # time.monotonic_ns is the machine's monotonic clock, the same in all processes.
    with OUT:
        sys.stdout.write(f"{at} {who} {what} {text}".strip().replace("\n", " ") + "\n")
        sys.stdout.flush()


class Part:
    """A participation in one election."""

    def __init__(self, client, who, path, passes):
        self.who, self.passes = who, passes
        self.lock = client.Lock(path, who)
        self.leads = False

    def join(self):
        joined = time.monotonic_ns()
        try:
            self.lock.acquire()
        except Exception as e:
            traceback.print_exc()
            say(time.monotonic_ns(), self.who, "error", f"join: {e!r}")
            return
        now = time.monotonic_ns()
        self.leads = True
        if self.passes:  # first, because writing takes time
            self.leave(said=lambda: say(now, self.who, "leads", joined))
        else:
            say(now, self.who, "leads", joined)

    def leave(self, said=lambda: None):
        began = time.monotonic_ns()
        self.leads = False
        try:
            self.lock.release()
        except Exception as e:
            traceback.print_exc()
            say(time.monotonic_ns(), self.who, "error", f"leave: {e!r}")
        said()
        say(time.monotonic_ns(), self.who, "left", began)

    def warned(self, state):
        if self.leads:
            say(time.monotonic_ns(), self.who, "warned", state)

    def lost(self):
        if self.leads:
            self.leads = False
            say(time.monotonic_ns(), self.who, "lost", "LOST")


def main(args):
    """Arguments: the server and the session timeout in milliseconds."""
    parts = {}

    def changed(state):
        # The lock itself says nothing. Its documentation tells the user to listen to the client's state.
        for part in list(parts.values()):
            if state == KazooState.LOST:
                part.lost()
            elif state == KazooState.SUSPENDED:
                part.warned(state)

    client = KazooClient(hosts=args[0], timeout=int(args[1]) / 1000)
    client.add_listener(changed)
    client.start(timeout=60)
    say(time.monotonic_ns(), "-", "ready")
    for line in sys.stdin:
        words = line.split()
        if len(words) < 2:
            continue
        command, who = words[0], words[1]
        if command in ("join", "pass"):
            parts[who] = Part(client, who, words[2], command == "pass")
            threading.Thread(target=parts[who].join, daemon=True).start()
        elif command == "leave":
            threading.Thread(target=parts[who].leave, daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
