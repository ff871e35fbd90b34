"""Signals end a process: real processes, real signals, and the exit codes that a shell sees."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from cluster.signals import ENDING, Signals, current, heed

PREAMBLE = """
import signal, sys, time
import cluster.signals
from cluster.signals import Signals
cluster.signals.ORDERLY_S = float(sys.argv[1])
with Signals() as signals:
    signals.before_exit = lambda: print("tidy", flush=True)
    try:
        print("ready", flush=True)
"""
IN_ORDER = """
        time.sleep(60)
    except KeyboardInterrupt:
        signals.exit(signals.code)
"""
SLOW_TO_END = """
        time.sleep(60)
    except KeyboardInterrupt:
        print("ending", flush=True)
        time.sleep(60)
"""
GENTLE = """
        stopped = []
        signals.stop_gently = lambda: (stopped.append(1), print("stops", flush=True))
        print("steps", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        signals.exit(signals.code + 100 * len(stopped))
"""
MISSED = """
        kill, missed = signal.pthread_kill, []
        signal.pthread_kill = lambda *to: kill(*to) if missed else missed.append(to)
        print("sleeps", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        signals.exit(signals.code + 100 * len(missed))
"""
SWALLOWED = """
        class Library:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)
                time.sleep(0.3)
        Library()
        print("goes on", flush=True)
        signals.check()
    except KeyboardInterrupt:
        signals.exit(signals.code)
"""


class Program:
    """A process that runs one of the bodies above."""

    def __init__(self, body, orderly_s=10, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + body, str(orderly_s)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        self.expect("ready")

    def expect(self, line):
        assert self.process.stdout.readline() == line + "\n"

    def send(self, *numbers):
        for number in numbers:
            self.process.send_signal(number)

    def end(self):
        """The exit code, and what else the process printed."""
        limit = threading.Timer(60, self.process.kill)
        limit.start()
        output = self.process.stdout.read()
        limit.cancel()
        return self.process.wait(), output


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_ends_a_process_in_order_with_its_own_code(number):
    program = Program(IN_ORDER)
    program.send(number)
    assert program.end() == (128 + number, "tidy\n")


def test_a_second_signal_ends_it_at_once_and_so_does_the_limit():
    impatient, patient = Program(SLOW_TO_END), Program(SLOW_TO_END, orderly_s=0.5)
    for program in (impatient, patient):
        program.send(signal.SIGINT)
        program.expect("ending")
    impatient.send(signal.SIGTERM)
    assert impatient.end() == (130, "curlvpr: SIGINT: ended at once\ntidy\n")
    assert patient.end() == (130, "curlvpr: SIGINT: ended at once, as an end in order took more than 0.5 s\ntidy\n")


def test_sigterm_first_asks_to_stop_and_the_second_ends():
    program, other = Program(GENTLE), Program(GENTLE)
    for each in (program, other):
        each.expect("steps")
    program.send(signal.SIGTERM)
    program.expect("stops")
    program.send(signal.SIGTERM)
    assert program.end()[0] == 128 + signal.SIGTERM + 100
    other.send(signal.SIGHUP)
    assert other.end()[0] == 128 + signal.SIGHUP


def test_a_main_thread_that_misses_its_interrupt_is_interrupted_again():
    """As it does if the interrupt comes between two instructions, the next of which sleeps."""
    program = Program(MISSED)
    program.expect("sleeps")
    program.send(signal.SIGTERM)
    assert program.end() == (128 + signal.SIGTERM + 100, "tidy\n")


def test_an_interrupt_that_a_library_swallows_is_not_lost():
    program = Program(SWALLOWED)
    code, output = program.end()
    assert code == 130 and "goes on\n" in output


def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored():
    program = Program(IN_ORDER, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    program.send(signal.SIGHUP)
    time.sleep(0.3)
    assert program.process.poll() is None
    program.send(signal.SIGTERM)
    assert program.end()[0] == 143


def test_what_cannot_go_on_ends_with_code_1():
    program = Program(
        """
        import threading
        threading.Thread(target=signals.lose, args=("the cluster is gone",)).start()
        time.sleep(60)
    except KeyboardInterrupt:
        print(signals.cause)
        signals.exit(signals.code)
"""
    )
    assert program.end() == (1, "the cluster is gone\ntidy\n")


def test_a_forked_process_has_its_own_signals():
    program = Program(
        """
        import os
        child = os.fork()
        if not child:
            time.sleep(60)
        os.kill(child, signal.SIGTERM)
        print("child", os.waitpid(child, 0)[1], flush=True)
        time.sleep(0.3)
        print("parent", signals.ending, flush=True)
    except KeyboardInterrupt:
        print("interrupted")
"""
    )
    assert program.end()[1] == f"child {int(signal.SIGTERM)}\nparent False\n"


def test_in_somebody_elses_program_signals_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with heed() as signals:
        assert current() is signals
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            time.sleep(10)
        assert signals.code == 130
    assert signal.getsignal(signal.SIGINT) is before and current() is None
    found = []
    thread = threading.Thread(target=lambda: found.append(heed()))
    thread.start()
    thread.join()
    assert found == [None]  # only the main thread hears of signals
    with Signals():
        assert heed() is None  # somebody reads them already
