"""What the Go program of test_cross.py calls."""

import os
import signal

import weft


def add(a, b):
    return a + b


def older(person):
    return {**person, "Age": person["Age"] + 1, "Tags": [*person["Tags"], "older"]}


def size(data):
    return len(data)


def make_bytes(n):
    return b"x" * n


def total(numbers):
    return sum(numbers)


def sum_parts(parts):
    return sum(weft.get(parts["Parts"]))


def deeper(what):
    raise ValueError(f"too bad: {what}")


def fail(what):
    return deeper(what)


class Thing:
    pass


def make_object():
    return Thing()


def put_pickle():
    return weft.put(7)


def count(n):
    yield from range(n)


def die_once(marker):
    if os.path.exists(marker):
        return 2
    with open(marker, "w"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def task_name():
    return weft.get_runtime_context().get_task_name()


def bump(counter):
    return weft.get(counter.Add.remote(10))


class Ledger:
    def __init__(self, name):
        self.name = name
        self.notes = []

    def note(self, text):
        self.notes.append(text)
        return f"{self.name}: {len(self.notes)}"

    def all(self):
        return self.notes
