//! Operations whose instructions `cargo xtask counts` counts. A count does not depend on the load of the machine.
//!
//! Each operation runs `n` times after some preparation. The instructions of `n` and of `2n` operations are counted;
//! the difference is the cost of the operations themselves, and is the same in every run of the same program.
//! Instructions of the kernel are not counted. Maxima are small because Valgrind offers fewer addresses than a
//! processor.

#![allow(
    unsafe_code,
    reason = "touches memory that commits on touch, as programs do"
)]

use std::hint::black_box;

use bumpalo::Bump;
use elbowroom::{AppendVec, Arena, DemandArray, Growth, Region, ReservedVec, Verdict, page_size};

/// An operation whose instructions are counted.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The description of one operation.
    pub(crate) what: &'static str,
    /// The number of operations in the first count; the second count has twice as many.
    pub(crate) times: usize,
    pub(crate) perform: fn(usize),
}

const MANY: usize = 20_000;
const FEW: usize = 200;

/// The largest number of operations in a count.
const ROOM: usize = 2 * MANY;

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "push",
        what: "`ReservedVec::push` into capacity",
        times: MANY,
        perform: push,
    },
    Operation {
        name: "push-std",
        what: "`Vec::push` into capacity",
        times: MANY,
        perform: push_std,
    },
    Operation {
        name: "append",
        what: "`AppendVec::push` into capacity",
        times: MANY,
        perform: append,
    },
    Operation {
        name: "append-get",
        what: "`AppendVec::get`",
        times: MANY,
        perform: append_get,
    },
    Operation {
        name: "append-slice",
        what: "`AppendVec::as_slice`",
        times: MANY,
        perform: append_slice,
    },
    Operation {
        name: "alloc",
        what: "`Arena::alloc` of 24 bytes",
        times: MANY,
        perform: alloc,
    },
    Operation {
        name: "alloc-bumpalo",
        what: "`Bump::alloc` of 24 bytes (bumpalo)",
        times: MANY,
        perform: alloc_bumpalo,
    },
    Operation {
        name: "write",
        what: "`Region::try_write` of a committed word",
        times: MANY,
        perform: write,
    },
    Operation {
        name: "read",
        what: "`Region::try_read` of a committed word",
        times: MANY,
        perform: read,
    },
    Operation {
        name: "demand-set",
        what: "`DemandArray::set` of a committed element",
        times: MANY,
        perform: demand_set,
    },
    Operation {
        name: "demand-get",
        what: "`DemandArray::get` of a committed element",
        times: MANY,
        perform: demand_get,
    },
    Operation {
        name: "vec",
        what: "a `ReservedVec` of one element made and dropped",
        times: FEW,
        perform: vec,
    },
    Operation {
        name: "vec-std",
        what: "a `Vec` of one element made and dropped",
        times: FEW,
        perform: vec_std,
    },
    Operation {
        name: "region",
        what: "a `Region` made and dropped",
        times: FEW,
        perform: region,
    },
    Operation {
        name: "fault",
        what: "a fault that commits one page",
        times: FEW,
        perform: fault,
    },
    Operation {
        name: "fault-of-1000",
        what: "the same beside 1,000 other regions",
        times: FEW,
        perform: fault_of_1000,
    },
    Operation {
        name: "fault-filter",
        what: "the same with a filter",
        times: FEW,
        perform: fault_filter,
    },
    Operation {
        name: "fault-adaptive",
        what: "a fault far from others, default growth",
        times: FEW,
        perform: fault_far,
    },
    Operation {
        name: "commit",
        what: "`Region::commit` of one page",
        times: FEW,
        perform: commit,
    },
];

/// Does an operation `times` times.
pub(crate) fn perform(name: &str, times: usize) -> Result<(), String> {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    let operation =
        operation.ok_or_else(|| format!("no operation `{name}`; `count` lists them"))?;
    (operation.perform)(times.min(2 * operation.times));
    Ok(())
}

/// Prints the operations for `cargo xtask counts`: each line has a name, a number and a description, separated by tabs.
pub(crate) fn list() {
    for operation in OPERATIONS {
        println!(
            "{}\t{}\t{}",
            operation.name, operation.times, operation.what
        );
    }
}

fn push(times: usize) {
    let mut vec = ReservedVec::with_max_len(ROOM);
    vec.reserve(ROOM);
    for n in 0..times {
        black_box(&mut vec).push(n);
    }
}

fn push_std(times: usize) {
    let mut vec = Vec::with_capacity(ROOM);
    for n in 0..times {
        black_box(&mut vec).push(n);
    }
}

fn appended() -> AppendVec<usize> {
    let vec = AppendVec::with_max_len(ROOM);
    vec.reserve(ROOM);
    vec
}

fn append(times: usize) {
    let vec = appended();
    for n in 0..times {
        black_box(black_box(&vec).push(n));
    }
}

fn append_get(times: usize) {
    let vec = appended();
    vec.extend(0..ROOM);
    for n in 0..times {
        black_box(black_box(&vec).get(n));
    }
}

fn append_slice(times: usize) {
    let vec = appended();
    vec.extend(0..10);
    for _ in 0..times {
        black_box(black_box(&vec).as_slice());
    }
}

fn alloc(times: usize) {
    let mut arena = Arena::with_max_bytes(ROOM * size_of::<[usize; 3]>());
    arena.alloc_slice_fill_default::<[usize; 3]>(ROOM);
    arena.reset();
    for n in 0..times {
        black_box(black_box(&arena).alloc([n; 3]));
    }
}

fn alloc_bumpalo(times: usize) {
    let mut arena = Bump::new();
    arena.alloc_slice_fill_default::<[usize; 3]>(ROOM);
    arena.reset();
    for n in 0..times {
        black_box(black_box(&arena).alloc([n; 3]));
    }
}

fn committed() -> Region {
    let region = Region::new(ROOM * size_of::<usize>()).expect("a small region");
    region.commit(0..region.len()).expect("little memory");
    region
}

fn write(times: usize) {
    let region = committed();
    for n in 0..times {
        black_box(&region)
            .try_write(n * size_of::<usize>(), n)
            .expect("committed");
    }
}

fn read(times: usize) {
    let region = committed();
    for n in 0..times {
        black_box(
            black_box(&region)
                .try_read::<usize>(n * size_of::<usize>())
                .expect("committed"),
        );
    }
}

fn demand() -> DemandArray<usize> {
    let mut array = DemandArray::new(ROOM).expect("a small array");
    array.slice_mut(0..ROOM).expect("little memory").fill(1);
    array
}

fn demand_set(times: usize) {
    let mut array = demand();
    for n in 0..times {
        black_box(&mut array).set(n, n).expect("committed");
    }
}

fn demand_get(times: usize) {
    let array = demand();
    for n in 0..times {
        black_box(black_box(&array).get(n).expect("committed"));
    }
}

fn vec(times: usize) {
    for n in 0..times {
        let mut vec = ReservedVec::with_max_len(ROOM);
        vec.push(n);
        black_box(vec);
    }
}

fn vec_std(times: usize) {
    for n in 0..times {
        black_box(vec![n]);
    }
}

fn region(times: usize) {
    for _ in 0..times {
        black_box(Region::new(page_size()).expect("a small region"));
    }
}

/// Touches `pages` pages that lie `step` pages apart.
fn touch(region: &Region, pages: usize, step: usize) {
    for page in 0..pages {
        // SAFETY: the byte is inside the region, which commits it when it is touched; no other code accesses the
        // region.
        unsafe { touch_one(region.as_ptr().wrapping_add(page * step * page_size())) };
    }
}

/// Touches one byte. It is not inlined, because Valgrind resumes a few instructions before the fault, and repeating
/// these must have no effect.
///
/// # Safety
/// `byte` is writable, or is committed when it is touched; no other code accesses it meanwhile.
#[inline(never)]
unsafe fn touch_one(byte: *mut u8) {
    // SAFETY: the byte is writable or becomes so, and no other code accesses it (contract); a byte is always aligned.
    unsafe { byte.write_volatile(1) };
}

fn one_page_a_fault() -> Region {
    let builder = Region::builder(2 * FEW * page_size()).growth(Growth::Pages(1));
    builder.build().expect("a small region")
}

fn fault(times: usize) {
    touch(&one_page_a_fault(), times, 1);
}

fn fault_of_1000(times: usize) {
    let others: Vec<_> = (0..1000)
        .map(|_| Region::new(page_size()).expect("a small region"))
        .collect();
    touch(&one_page_a_fault(), times, 1);
    drop(others);
}

fn fault_filter(times: usize) {
    let builder = Region::builder(2 * FEW * page_size()).growth(Growth::Pages(1));
    let region = builder
        .filter(|_| Verdict::Commit)
        .build()
        .expect("a small region");
    touch(&region, times, 1);
}

/// The distance of touches in pages: larger than any commit window.
const APART: usize = 5000;

fn fault_far(times: usize) {
    let region = Region::new(2 * FEW * APART * page_size()).expect("addresses");
    touch(&region, times, APART);
}

fn commit(times: usize) {
    let region = one_page_a_fault();
    for page in 0..times {
        region
            .commit(page * page_size()..(page + 1) * page_size())
            .expect("little memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_runs_and_has_a_unique_name() {
        for (n, operation) in OPERATIONS.iter().enumerate() {
            assert!(
                OPERATIONS[..n]
                    .iter()
                    .all(|other| other.name != operation.name),
                "{}",
                operation.name
            );
            perform(operation.name, 3).unwrap();
        }
        assert!(perform("nothing", 1).unwrap_err().contains("`nothing`"));
    }
}
