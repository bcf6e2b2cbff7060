import os
import signal
import threading
from functools import partial

import pytest

from danlu.train.interrupt import SIGNALS, Interrupt


def send(number):
    os.kill(os.getpid(), number)  # Python runs the handler before the next line


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_a_request(number):
    found = [signal.getsignal(each) for each in SIGNALS]
    with Interrupt() as interrupt:
        assert interrupt.requested is None
        send(number)
        assert interrupt.requested == signal.Signals(number).name
        send(signal.SIGTERM)  # schedulers repeat themselves
        assert interrupt.requested == signal.Signals(number).name
    assert [signal.getsignal(each) for each in SIGNALS] == found


@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_after_a_request_ends_at_once(first):
    found = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupt():
        send(first)
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is found


def test_outside_the_main_thread_nothing_happens():
    found = [signal.getsignal(each) for each in SIGNALS]
    seen = []

    def work():
        with Interrupt() as interrupt:
            seen.append([signal.getsignal(each) for each in SIGNALS])
            seen.append(interrupt.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [found, None]


def test_entered_twice_it_leaves_the_handlers_that_it_found():
    found = signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        with interrupt:
            pass
        send(signal.SIGTERM)  # the inner end took nothing away
        assert interrupt.requested == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is found


@pytest.fixture
def found(request):
    """Handlers as a new process has them: a shell's background may ignore Ctrl-C, Ray takes SIGTERM."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        request.addfinalizer(partial(signal.signal, number, signal.getsignal(number)))
        signal.signal(number, handler)


def status_of_child(act):
    """The wait status of a forked child that does ``act``, and ends with its value; with 7 after None."""
    child = os.fork()
    if child == 0:
        code = 9  # whatever is raised, the child never goes on as a second test run
        try:
            code = act() or 7
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@pytest.mark.usefixtures("found")
def test_a_forked_child_dies_of_sigterm_as_before():
    with Interrupt() as interrupt:
        status = status_of_child(partial(send, signal.SIGTERM))
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
        assert interrupt.requested is None


@pytest.mark.usefixtures("found")
def test_a_forked_child_sees_ctrl_c_as_before():
    def interrupted():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            return 5

    with Interrupt():
        assert os.waitstatus_to_exitcode(status_of_child(interrupted)) == 5
