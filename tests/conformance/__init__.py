"""Tests of any supervisor event listener against supervisor's own code."""
