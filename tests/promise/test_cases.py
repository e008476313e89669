"""Things that a trace can meet, and where they are tested, with one of three verdicts.

right       the record says what the kernel did
refused    an error that names the call or file: strace cannot see what is behind it
impossible no tracer can see it; the row says what is done instead
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CASES = """\
right      a lookup in vain                                tracer      names_start_from_the_working_directory
right      a directory that is listed                      tracer      names_start_from_the_working_directory
right      links, also on the way                          tracer      names_start_from_the_working_directory
right      dots after a link                               lookup      walk_goes_as_the_kernel_does
right      a relative name                                 tracer      names_start_from_the_working_directory
right      openat from a directory's descriptor            tracer      names_start_from_the_working_directory
right      chdir                                           log         working_directory
right      fchdir                                          tracer      names_start_from_the_working_directory
right      a child's working directory                     log         working_directory
right      a working directory that tasks share            tracer      tasks_share_a_working_directory
right      rename                                          resolution  outputs
right      written, then read                              resolution  outputs
refused    read, then changed by another                   tracer      inputs_that_change_meanwhile
right      removed, and still open                         syscalls    line
right      #! interpreters                                 resolution  interpreters_of_scripts
right      the ELF loader                                  tracer      kinds_of_program
right      mmap and dlopen                                 tracer      libraries_opened_by_name
right      memfd, and execveat of a descriptor             tracer      files_without_names_and_names_without_files
right      a link of /proc that is opened                  tracer      files_without_names_and_names_without_files
refused    a lookup behind a link of /proc                 syscalls    call_that_hides_something_is_a_problem
right      /proc, /sys and /dev are no files               resolution  outputs_and_the_kernels_trees_are_not_looked_at
right      UNIX sockets, connected or sent to              tracer      sockets
right      descriptors by message                          tracer      descriptors_that_come_by_message
right      descriptors by inheritance: there are none      process     nothing_is_inherited
refused    open_by_handle_at                               tracer      program_that_hides_something
right      io_uring is not there                           tracer      io_uring_is_refused
right      stat, access, statx, extended attributes        tracer      rare_calls
right      threads                                         tracer      threads_signals_and_vfork
right      vfork, and calls in two halves                  tracer      threads_signals_and_vfork
right      a thread that executes                          tracer      a_thread_executes
right      signals, ends, calls that never return          syscalls    line
right      names of any bytes                              tracer      odd_names
right      long names, and deep directories                tracer      odd_names
right      execvp along PATH                               tracer      threads_signals_and_vfork
right      a script without #!                             resolution  a_script_without_interpreter
refused    chroot                                          tracer      program_that_hides_something
refused    mount namespaces, mounts, pivot_root            syscalls    call_that_hides_something_is_a_problem
right      a namespace of process numbers                  tracer      a_namespace_of_process_numbers
right      set-id programs that keep their privileges      tracer      a_set_id_program_keeps_its_privileges
refused    set-id programs that lost them                  tracer      privileges_that_a_run_lost_are_an_error
right      a debugger looked for in vain                   tracer      a_debugger_looked_for_in_vain
refused    a program that traces another                   syscalls    call_that_hides_something_is_a_problem
refused    CLONE_UNTRACED                                  tracer      program_that_hides_something
right      a filter of the program's own                   tracer      a_filter_of_the_programs_own
right      32-bit programs, and int 0x80                   tracer      32_bit_calls
right      static programs                                 tracer      kinds_of_program
refused    a call that strace does not know                syscalls    call_that_hides_something_is_a_problem
impossible the same under --seccomp-bpf: strace 5.10 at least is asked for strace_tool unfit_strace
right      the vDSO has no files                           oracle      workloads
right      daemons                                         execution   a_daemon_under_strace
refused    leftovers                                       execution   a_server_that_leaves_processes_behind
refused    an interpreter of binfmt_misc                   tracer      an_interpreter_that_is_registered_is_an_error
impossible core_pattern, modprobe, autofs: not the program's doing oracle      workloads
right      a change between run and packing                rebuild     edit_rebuilds_exactly_what_it_affects
"""


def rows() -> list[tuple[str, str, str]]:
    """Return verdict, test module and test function of each case."""
    words = [line.split() for line in CASES.splitlines()]
    return [(row[0], row[-2], row[-1]) for row in words]


@pytest.mark.parametrize(("verdict", "module", "test"), rows())
def test_case_has_a_test(verdict: str, module: str, test: str) -> None:
    assert verdict in ("right", "refused", "impossible")
    [path] = Path(__file__).parents[1].rglob(f"test_{module}.py")
    tree = ast.parse(path.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert f"test_{test}" in names
