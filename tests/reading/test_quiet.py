"""Warnings and logs of decoding libraries are kept back, others pass, also when threads overlap."""

import logging
import threading
import warnings

import pytest

from unimodal.reading.quiet import quiet


def warn(module: str) -> None:
    warnings.warn_explicit("odd header", UserWarning, f"{module}.py", 1, module=module)


def test_a_decoders_warnings_are_dropped_inside_and_shown_outside():
    with quiet(), quiet():
        warn("pydicom.misc")
        with pytest.warns(UserWarning, match="odd header"):
            warn("unimodal.reading.picture")
    with pytest.warns(UserWarning, match="odd header"):
        warn("pydicom.misc")


def test_a_decoders_log_is_dropped_inside_and_shown_outside(caplog):
    log = logging.getLogger("pydicom")
    with quiet():
        log.warning("a patient's name")
    assert not caplog.records
    log.warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]


def test_the_last_thread_out_puts_the_filters_back():
    before, first_in, second_out = list(warnings.filters), threading.Event(), threading.Event()

    def first() -> None:
        with quiet():
            first_in.set()
            second_out.wait()
            warn("nibabel.volumeutils")

    thread = threading.Thread(target=first)
    thread.start()
    first_in.wait()
    with quiet():
        pass
    second_out.set()
    thread.join()
    assert warnings.filters == before
