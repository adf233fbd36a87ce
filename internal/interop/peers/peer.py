"""Takes part in elections with Kazoo's Election. A test drives it over stdin and stdout; the documentation of the Go package
interop has the protocol. It ends when its input ends, so that it does not outlive the test."""

import os
import sys
import threading
import time
import traceback

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

OUT = threading.Lock()


def say(who, event, text=""):
    # time.monotonic_ns is the machine's monotonic clock, the same in all processes.
    with OUT:
        sys.stdout.write(f"{time.monotonic_ns()} {who} {event} {text}".strip() + "\n")
        sys.stdout.flush()


class Stander:
    """A participant with a client, and so a session, of its own."""

    def __init__(self, connect, timeout, patterns, who, path, linger):
        self.who, self.path, self.linger = who, path, linger
        retry = {"max_tries": -1, "delay": 0.05, "max_delay": 0.2}
        self.client = KazooClient(hosts=connect, timeout=timeout, connection_retry=retry)
        self.client.add_listener(self.changed)
        self.election = self.client.Election(path, who)
        if patterns:  # Election has no argument for them
            self.election.lock = self.client.Lock(path, who, extra_lock_patterns=patterns)
        self.stop = threading.Event()
        self.working = False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def changed(self, state):
        # The recipe does not interrupt the work. Its documentation tells the user to listen to the client's state. Only at
        # LOST the lock is certainly lost, and the client learns of that when it is connected again.
        if state == KazooState.LOST:
            self.stop.set()

    def run(self):
        try:
            self.election.run(self.lead)
        except Exception as e:
            traceback.print_exc()
            say(self.who, "error", f"run {e!r}")

    def lead(self):
        self.working = True
        say(self.who, "gained")
        self.stop.wait()
        time.sleep(self.linger)
        say(self.who, "lost", "stopped")
        self.working = False

    def start(self):
        self.client.start(timeout=30)
        self.thread.start()

    def write(self, text):
        """Changes the data of its own znode, in its own session, as a recipe or its user might."""
        for name in self.client.get_children(self.path):
            stat = self.client.exists(f"{self.path}/{name}")
            if stat and stat.ephemeralOwner == self.client.client_id[0]:
                self.client.set(f"{self.path}/{name}", text.encode())
                return
        raise RuntimeError("has no znode")

    def close(self):
        self.stop.set()
        self.election.cancel()
        self.thread.join()
        self.client.stop()
        self.client.close()


def obey(args, standers, words):
    command, who = words[0], words[1]
    if command == "start":
        standers[who] = Stander(args[1], int(args[2]) / 1000, args[3:], who, words[2], int(words[3]) / 1000)
        standers[who].start()
        say(who, "started")
    elif command == "leader?":
        say(who, "leader", "true" if standers[who].working else "false")
    elif command == "participants":
        say(who, "participants", ",".join(standers[who].election.contenders()))
    elif command == "write":
        standers[who].write(words[2])
        say(who, "written")
    elif command == "close":
        standers[who].close()
        say(who, "closed")
    else:
        raise ValueError(command)


def try_to(args, standers, words):
    try:
        obey(args, standers, words)
    except Exception as e:
        traceback.print_exc()
        say(words[1] if len(words) > 1 else "-", "error", f"{words[0]} {e!r}")


def main(args):
    """Arguments: "kazoo", the connect string, the session timeout in milliseconds, extra lock patterns."""
    standers = {}
    say("-", "ready")
    for line in sys.stdin:
        if line.strip() == "exit":
            break
        threading.Thread(target=try_to, args=(args, standers, line.split()), daemon=True).start()
    os._exit(0)  # leaving in good order is what "close" is for


if __name__ == "__main__":
    main(sys.argv[1:])
