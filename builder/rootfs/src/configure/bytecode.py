"""Carries out the calls of py3compile that scripts made, with one compiler for all of them.

Its arguments: the record of calls, and the program. In the record a call is the number of its arguments, then
these, each ended by a zero byte. What fails is said, and the rest is done; the status is then 1.
"""
import importlib.machinery
import sys
import types

RECORD, PROGRAM = sys.argv[1:]


class Kept(dict):
    """Compilers by version of Python. The program waits for all of values() when a call ends; they are to go on."""

    def values(self):
        return ()


def calls():
    with open(RECORD, "rb") as file:
        words = iter(file.read().decode().split("\0")[:-1])
    return [[next(words) for _ in range(int(number))] for number in words]


def main():
    program = types.ModuleType("py3compile")
    sys.dont_write_bytecode = True
    importlib.machinery.SourceFileLoader(program.__name__, PROGRAM).exec_module(program)
    program.WORKERS = compilers = Kept()
    failed = False
    for arguments in calls():
        sys.argv = [PROGRAM, *arguments]
        try:
            program.main()
        except SystemExit as end:
            if end.code:
                print(f"py3compile failed: {' '.join(arguments)}", file=sys.stderr)
                failed = True
    for compiler in dict.values(compilers):
        compiler.communicate()
        failed |= compiler.returncode != 0
    sys.exit(failed)


main()
