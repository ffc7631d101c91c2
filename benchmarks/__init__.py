"""Benchmarks, run by `./run bench`. Each file with `measure` answers the question in
its docstring by comparing a figure with a control that is measured in the same run.
"""
