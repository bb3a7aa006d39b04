"""A suite that judges any supervisor event listener with supervisor's own code."""
