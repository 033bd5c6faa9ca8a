"""The run-time check of shapes and types in the tests: beartype, for which a whole number is one."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
