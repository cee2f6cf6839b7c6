//! The notes and examples at the end of each command's help.

/// The note about sizes.
macro_rules! size_help {
    () => {
        "\
SIZE is a whole number of bytes, or of KiB, MiB, GiB, TiB or PiB (powers of 1024): 4096, 64MiB, 1TiB.
K, M, G, T and P mean the same. KB, MB and so on are ambiguous (1000 or 1024) and are refused."
    };
}

pub(super) const EXAMPLES: &str = "\
Examples:
  elbowroom demo                                      Microsoft's program, with the same transcript
  elbowroom demo --reserve 64GiB --summary            the same in a large reservation, with its cost
  elbowroom compare                                   the cost of committing up front and on touch
  elbowroom bench                                     measures the ways of committing
  elbowroom doctor                                    what this machine permits, and what to change
  elbowroom map 1234                                  what a process has reserved, committed and resident
  elbowroom watch                                     pages that turn from reserved to committed";

pub(super) const DEMO_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom demo --char wide           the program built for Unicode: it runs out of pages
  elbowroom demo --growth 16           commits 16 pages per fault
  elbowroom demo --fail-commit-at 5    the fifth commit fails
  elbowroom demo --picture             draws the region at the end
  elbowroom demo --growth 8 --svg a.svg
  elbowroom demo --json --growth 16    the figures, for programs"
);

pub(super) const COMPARE_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom compare                                   more than can be committed up front
  elbowroom compare --reserve 1GiB --touch 1GiB       touches all of it: the cost of the faults
  elbowroom compare --reserve 1GiB --touch 1GiB --growth 512"
);

pub(super) const BENCH_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom bench                               takes less than a minute
  elbowroom bench --quick                       takes seconds
  elbowroom bench --size 1GiB --svg bench.svg   more memory, and a drawing
  elbowroom bench --json | jq -c '.tables[0].mechanisms[] | [.id, .ratio.median]'"
);

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  elbowroom doctor                        run it where your program will run
  docker run IMAGE elbowroom doctor       the limits in a container
  elbowroom doctor --json | jq '.findings[] | select(.level != \"ok\")'";

pub(super) const MAP_EXAMPLES: &str = "\
Examples:
  elbowroom map --self --region sample       a region, page by page
  elbowroom map 1234                         the sums and the largest regions of a process
  elbowroom map 1234 --region 0x7f12c0a00000 the region with this address
  elbowroom map 1234 --html map.html         the same as a page for a browser
  elbowroom map 1234 --json > before.json; sleep 60; elbowroom map 1234 --diff before.json";

pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  elbowroom watch                                  Microsoft's 80 pages; ? shows the keys
  elbowroom watch --workload budget                budgets that are used up
  elbowroom watch --workload random --backend userfault
  elbowroom watch --workload threads --once        the final state, without a terminal
  elbowroom watch --workload budget --svg a.svg    the same as a drawing
  elbowroom watch 1234                             another process, twice a second
  elbowroom watch 1234 --json | jq .total          one snapshot";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  elbowroom completions bash > ~/.local/share/bash-completion/completions/elbowroom
  elbowroom completions zsh > \"${fpath[1]}/_elbowroom\"
  elbowroom completions fish > ~/.config/fish/completions/elbowroom.fish
  elbowroom completions powershell >> $PROFILE";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  elbowroom man | man -l -
  elbowroom man map > ~/.local/share/man/man1/elbowroom-map.1";
