"""Empty at run time: `_functions.pyi` lists the functions that `ops/` publish, for type checkers and editors."""
