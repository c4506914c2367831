"""Carries out the calls of py3compile that scripts made, with one compiler for all of them.

Its arguments: the record of calls, and the program. In the record a call is the number of its arguments, then
these, each ended by a zero byte. A call that fails is said, and the others are done; a compiler stops at the first file that
it cannot compile, and says which. The status is then 1.
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


def load():
    program = types.ModuleType("py3compile")
    sys.dont_write_bytecode = True
    importlib.machinery.SourceFileLoader(program.__name__, PROGRAM).exec_module(program)
    return program


def carry_out(program, arguments):
    # Whatever is there was written by a script that ran a module, and is not what this program writes.
    sys.argv = [PROGRAM, "--force", *arguments]
    try:
        program.main()
    except SystemExit as end:
        return end.code
    except Exception as error:
        return error


def main():
    program, failed = load(), False
    # The option counts for a compiler when it starts, and so for all calls that it serves.
    for optimized in (False, True):
        program.STDINS, program.WORKERS = {}, Kept()
        for arguments in calls():
            if ("-O" in arguments) == optimized and (why := carry_out(program, arguments)):
                print(f"py3compile failed: {' '.join(arguments)} ({why})", file=sys.stderr)
                failed = True
        for compiler in dict.values(program.WORKERS):
            compiler.communicate()
            failed |= compiler.returncode != 0
    sys.exit(failed)


main()
