"""Commands for operators: ./run manage NAME. What each does: docs/operators/README.md."""
