//! The sum of all numbers of a file, in order.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use elbowroom::Size;
use elbowroom_pager::PagedArray;

use super::super::OURS;
use super::bounded::{Bounds, Done, ROOM, always, reader};
use super::{data, numpy};
use crate::os::{self, Advice};
use crate::plan::{Comparison, Contender, Scale};

const SEQUENTIAL: &str = "memmap2, MADV_SEQUENTIAL";
const PLAIN: &str = "memmap2";
const READS: &str = "reads of 256 KiB";
const READ_BYTES: usize = 256 << 10;
const NUMPY: &str = "print(numpy.memmap(sys.argv[1], dtype='u8', mode='r').sum(), version)";

pub(super) fn comparison(scale: Scale) -> Comparison {
    let bounds = Bounds::new(scale, 64 << 20);
    let expected = move || data::numbers(bounds.data).fold(0, u64::wrapping_add);
    let mapped = |name, advice| {
        let check = move |path: &Path| os::map(path, advice).map(drop);
        reader(name, bounds, expected, check, move |path| {
            mapped(path, advice)
        })
    };
    let contenders = vec![
        reader(OURS, bounds, expected, always, move |path| {
            ours(path, bounds)
        }),
        mapped(SEQUENTIAL, Advice::Sequential),
        mapped(PLAIN, Advice::None),
        reader("numpy.memmap", bounds, expected, numpy::check, |path| {
            numpy::run(NUMPY, path)
        }),
    ];
    let title = format!(
        "the sum of the numbers in a file of {}, in order, with a limit of {} and {} for the program",
        Size(bounds.data as u64),
        Size(bounds.limit as u64),
        Size(ROOM as u64)
    );
    let limit: Contender = reader(READS, bounds, expected, always, reads);
    Comparison::new("paged-scan", title, (bounds.data >> 20, "MiB"), contenders)
        .rounds(7)
        .by_wall_clock()
        .without_memory()
        .limit(READS, limit)
        .goal(OURS, SEQUENTIAL, 1.0)
        .goal(OURS, PLAIN, 0.83)
}

fn ours(path: &Path, bounds: Bounds) -> Result<Done, String> {
    let array = PagedArray::<u64>::options().resident_limit(bounds.limit);
    let sum = || {
        let array = array.open(path)?;
        let mut sum = 0_u64;
        for chunk in array.scan(..)? {
            sum = sum.wrapping_add(data::sum(&chunk?));
        }
        Ok(Done::of_array(sum, &array, bounds.data))
    };
    sum().map_err(|error: elbowroom_pager::Error| error.to_string())
}

fn mapped(path: &Path, advice: Advice) -> Result<Done, String> {
    let map = os::map(path, advice)?;
    Ok(Done::sum(data::sum(bytemuck::cast_slice(&map))))
}

fn reads(path: &Path) -> Result<Done, String> {
    let sum = || {
        let mut file = File::open(path)?;
        let mut buffer = vec![0_u64; READ_BYTES / 8];
        let mut left = file.metadata()?.len() as usize;
        let mut sum = 0_u64;
        while left > 0 {
            let numbers = &mut buffer[..left.min(READ_BYTES) / 8];
            file.read_exact(bytemuck::cast_slice_mut(numbers))?;
            sum = sum.wrapping_add(data::sum(numbers));
            left -= size_of_val(numbers);
        }
        Ok(Done::sum(sum))
    };
    sum().map_err(|error: std::io::Error| error.to_string())
}
