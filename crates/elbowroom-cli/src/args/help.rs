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
  elbowroom watch                                     pages that turn from reserved to committed
  elbowroom page sum samples.npy --resident 16MiB     the sum of a file that does not fit in memory";

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

pub(super) const PAGE_EXAMPLES: &str = "\
Examples:
  elbowroom page info samples.npy
  elbowroom page sum samples.f64 --dtype f64 --resident 16MiB
  elbowroom page cat samples.npy --range 1000..1010
  elbowroom page gather samples.npy 5 1000000 7
  elbowroom page sort samples.npy --resident 1GiB
  elbowroom page copy samples.npy backup.npy";

pub(super) const PAGE_INFO_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page info samples.npy
  elbowroom page info records.bin --dtype u32 --offset 512 --json"
);

pub(super) const PAGE_SUM_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page sum samples.npy
  elbowroom page sum samples.f64 --dtype f64 --resident 16MiB --json"
);

pub(super) const PAGE_MIN_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page min samples.npy
  elbowroom page min samples.f64 --dtype f64 --json | jq .index"
);

pub(super) const PAGE_MAX_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page max samples.npy
  elbowroom page max samples.f64 --dtype f64 --json | jq .index"
);

pub(super) const PAGE_CAT_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page cat samples.npy --range ..10            the first 10
  elbowroom page cat samples.i32 --dtype i32 | sort -n | tail -1"
);

pub(super) const PAGE_GATHER_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page gather samples.npy 5 1000000 7
  elbowroom page gather samples.f64 --dtype f64 --page 4KiB < indices.txt"
);

pub(super) const PAGE_SORT_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page sort samples.npy
  elbowroom page sort samples.f64 --dtype f64 --resident 1GiB --threads 4 --json"
);

pub(super) const PAGE_COPY_EXAMPLES: &str = concat!(
    size_help!(),
    "

Examples:
  elbowroom page copy samples.npy backup.npy
  elbowroom page copy records.bin body.bin --offset 512 --force"
);

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  elbowroom completions bash > ~/.local/share/bash-completion/completions/elbowroom
  elbowroom completions zsh > \"${fpath[1]}/_elbowroom\"
  elbowroom completions fish > ~/.config/fish/completions/elbowroom.fish
  elbowroom completions powershell >> $PROFILE";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  elbowroom man | man -l -
  elbowroom man map > ~/.local/share/man/man1/elbowroom-map.1
  elbowroom man page sum | man -l -";
