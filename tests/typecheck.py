"""The run-time check of shapes and types in the tests: beartype; a whole number is a float, too."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
