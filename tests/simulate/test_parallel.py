"""Ordered results from processes."""

import concurrent.futures.process
import math
import os

import pytest

from parts_jax.simulate import parallel


def test_results_come_in_order_whatever_the_number_of_processes():
    tasks = [(i,) for i in range(40)]
    expected = [math.factorial(i) for i in range(40)]
    assert list(parallel.ordered_map(math.factorial, tasks, 1)) == expected
    assert list(parallel.ordered_map(math.factorial, tasks, 2)) == expected


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(ValueError, match="factorial"):
        list(parallel.ordered_map(math.factorial, [(3,), (-1,)], 2))


def test_a_process_that_dies_is_noticed():
    with pytest.raises(concurrent.futures.process.BrokenProcessPool):
        list(parallel.ordered_map(os._exit, [(3,)], 2))


def test_a_negative_number_of_processes_is_refused():
    with pytest.raises(ValueError, match="num_workers must be 0 .* got -1"):
        list(parallel.ordered_map(math.factorial, [(1,)], -1))
