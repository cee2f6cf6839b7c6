//! What the help of each command ends with.

/// What the help of a command says about sizes.
macro_rules! size_help {
    () => {
        "\
SIZE is a whole number of bytes, or of KiB, MiB, GiB, TiB or PiB (powers of 1024): 4096, 64MiB, 1TiB.
K, M, G, T and P mean the same. KB, MB and so on mean 1000 to some and 1024 to others, and are refused."
    };
}

pub(super) const EXAMPLES: &str = "\
Examples:
  elbowroom demo                                      Microsoft's program, its transcript to the letter
  elbowroom demo --reserve 64GiB --summary            the same in a much larger reservation, and what it cost
  elbowroom compare --reserve 1TiB --touch 64MiB      committing up front and on touch, side by side
  elbowroom bench                                     the ways of committing, measured on this machine
  elbowroom stress --minutes 5                        random operations by many threads, checked
  elbowroom doctor                                    what this machine allows, and what will bite
  elbowroom map 1234                                  what a process has reserved, committed and in memory
  elbowroom watch                                     pages that turn from reserved to committed, live";

pub(super) const DEMO_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom demo --char wide           the program built for Unicode: it runs out of pages
  elbowroom demo --growth 16           commits 16 pages a fault
  elbowroom demo --fail-commit-at 5    the fifth commit fails
  elbowroom demo --picture             draws the region at the end
  elbowroom demo --growth 8 --svg a.svg
  elbowroom demo --json --growth 16    the figures, for programs"
);

pub(super) const COMPARE_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom compare --reserve 1TiB --touch 64MiB      what is too much to commit up front
  elbowroom compare --reserve 1GiB --touch 1GiB       touching all of it: what the faults cost
  elbowroom compare --reserve 1GiB --touch 1GiB --growth 512"
);

pub(super) const BENCH_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom bench                               in less than a minute
  elbowroom bench --quick                       in seconds
  elbowroom bench --size 1GiB --svg bench.svg   more memory, and a drawing
  elbowroom bench --json | jq -c '.tables[0].mechanisms[] | [.id, .ratio.median]'"
);

pub(super) const STRESS_EXAMPLES: &str = "\
Examples:
  elbowroom stress                                    one minute, a thread for each processor
  elbowroom stress --minutes 480 --threads 16         a night
  elbowroom stress --seed 7 --threads 2 --steps 9000  the same operations each time";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  elbowroom doctor                        before the first region, in the place where it will run
  docker run IMAGE elbowroom doctor       what a container leaves of it
  elbowroom doctor --json | jq '.findings[] | select(.level != \"ok\")'";

pub(super) const MAP_EXAMPLES: &str = "\
Examples:
  elbowroom map --self --region sample       a region, page by page
  elbowroom map 1234                         the sums and the largest regions of a process
  elbowroom map 1234 --region 0x7f12c0a00000 the region that the address lies in
  elbowroom map 1234 --html map.html         the same to look at in a browser
  elbowroom map 1234 --json > before.json; sleep 60; elbowroom map 1234 --diff before.json";

pub(super) const WATCH_EXAMPLES: &str = "\
Examples:
  elbowroom watch                                  the seed's 80 pages; ? shows the keys
  elbowroom watch --workload budget                budgets that run out
  elbowroom watch --workload random --backend userfault
  elbowroom watch --workload threads --once        how it ends, without a terminal
  elbowroom watch --workload budget --svg a.svg    the same as a drawing
  elbowroom watch 1234                             another process, twice a second
  elbowroom watch 1234 --json | jq .total          one look at it";

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
