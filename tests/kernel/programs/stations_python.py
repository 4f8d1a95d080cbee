"""Stations in pure Python, for the interpreter of the distribution: `stations_python.py NAME` stays in one.

Sorting with a key, replacing by a function and decoding with a hook are C functions that call Python again, so each
nesting is an interpreter loop on the C stack; calls from Python to Python are none (since 3.11).
"""

import functools
import json
import re
import sys

NESTED = 4
TEXT = json.dumps([{"name": f"name {number}", "values": list(range(number % 9))} for number in range(60)])
WORD = re.compile(r"(?:[a-z]+|\d)+?(?=\W|$)")


def nested(function, depth=NESTED):
    """Call a function above `depth` sorts with a key."""
    if depth == 0:
        return function()
    return sorted([0], key=lambda _: nested(function, depth - 1) and 0)


def spin():
    while True:
        pass


def spin_hook():
    json.loads('{"a": 1}', object_hook=lambda _: spin())


def spin_replace():
    WORD.sub(lambda _: spin_hook(), "word")


def spin_nested():
    nested(spin_replace)


def recursion():
    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    while True:
        fibonacci(15)


def decoding():
    while True:
        json.dumps(json.loads(TEXT, object_hook=lambda one: dict(sorted(one.items()))))


def matching():
    while True:
        WORD.sub(lambda match: match[0].upper(), TEXT)
        re.findall(r"(\w+)\s+(\d+)", TEXT)


def sorting():
    class Number:
        def __init__(self, value):
            self.value = value

        def __lt__(self, other):
            return self.value < other.value

    while True:
        numbers = [Number(number * 7919 % 301) for number in range(300)]
        numbers.sort()
        functools.reduce(lambda total, one: total + one.value, sorted(numbers, key=lambda one: -one.value), 0)


def raising():
    def deep(number):
        if number == 0:
            raise ValueError
        return sorted([0], key=lambda _: deep(number - 1))

    while True:
        try:
            deep(3)
        except ValueError:
            str(10**300)


STATIONS = {
    "spin_nested": spin_nested,
    "recursion": lambda: nested(recursion),
    "decoding": lambda: nested(decoding),
    "matching": lambda: nested(matching),
    "sorting": lambda: nested(sorting),
    "raising": lambda: nested(raising),
}

if __name__ == "__main__":
    print("ready", flush=True)
    STATIONS[sys.argv[1]]()
