//! A file of numbers put in order, under its own name.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use elbowroom::Size;
use elbowroom_pager::{PagedArray, Sort};

use super::super::OURS;
use super::bounded::{Bounds, Done, ROOM, within};
use super::{data, numpy};
use crate::os;
use crate::plan::{Comparison, Contender, Scale};

const MAPPED: &str = "memmap2, sort_unstable";
const NUMPY: &str = "numbers = numpy.memmap(sys.argv[1], dtype='u8', mode='r+')
numbers.sort()
numbers.flush()
print(0, version)";

pub(super) fn comparison(scale: Scale) -> Comparison {
    let bounds = Bounds::new(scale, 32 << 20);
    let contenders = vec![
        sorter(OURS, bounds, || Ok(()), move |path| ours(path, bounds)),
        sorter(MAPPED, bounds, || Ok(()), mapped),
        sorter(
            "numpy.memmap",
            bounds,
            || numpy::check(Path::new("")),
            |path| numpy::run(NUMPY, path),
        ),
    ];
    let title = format!(
        "the numbers of a file of {} sorted and made durable, with a limit of {} and {} for the program",
        Size(bounds.data as u64),
        Size(bounds.limit as u64),
        Size(ROOM as u64)
    );
    Comparison::new("paged-sort", title, (bounds.data >> 20, "MiB"), contenders)
        .rounds(5)
        .by_wall_clock()
        .without_memory()
        .goal(OURS, MAPPED, 0.5)
}

/// A copy of the numbers, removed when it is dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(file: &Path) -> Result<Copy, String> {
        let copy = Copy(file.with_extension("copy"));
        fs::copy(file, &copy.0).map_err(|error| format!("{}: {error}", copy.0.display()))?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It may not exist.
        let _ = fs::remove_file(&self.0);
    }
}

fn sorter(
    name: &'static str,
    bounds: Bounds,
    check: impl Fn() -> Result<(), String> + 'static,
    work: impl Fn(&Path) -> Result<Done, String> + Clone + 'static,
) -> Contender {
    Contender::new(name, move || {
        check()?;
        let file = data::file(bounds.data)?;
        let expected = data::numbers(bounds.data).fold(0, u64::wrapping_add);
        let work = work.clone();
        Ok(Box::new(move || {
            let copy = Copy::of(&file).unwrap_or_else(|why| panic!("{why}"));
            let (sample, _) = within(bounds.limit, &[&file, &copy.0], || work(&copy.0));
            let map = os::map(&copy.0, os::Advice::None).unwrap_or_else(|why| panic!("{why}"));
            let numbers: &[u64] = bytemuck::cast_slice(&map);
            assert_eq!(numbers.len() * 8, bounds.data, "the length of the file");
            assert!(numbers.is_sorted(), "the numbers are in order");
            assert_eq!(data::sum(numbers), expected, "the numbers are the same");
            sample
        }))
    })
}

/// Does what `elbowroom page sort` does: sorts into a new file, which then takes the place of the old one.
fn ours(path: &Path, bounds: Bounds) -> Result<Done, String> {
    let told = |error: elbowroom_pager::Error| error.to_string();
    let pages = bounds.limit / 8;
    let options = PagedArray::<u64>::options().resident_limit(pages);
    let source = options.clone().open(path).map_err(told)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let sort = Sort::new(bounds.limit - pages).threads(threads);
    let (sorted, scratch) = (
        path.with_extension("sorted"),
        path.with_extension("scratch"),
    );
    let new = |path: &Path, len: usize| {
        let file = File::create(path);
        let made = file.and_then(|file| file.set_len((len * 8) as u64));
        made.map_err(|error| error.to_string())?;
        let options = options.clone().writable(true).threads(0);
        options.open(path).map_err(told)
    };
    let mut target = new(&sorted, source.len())?;
    let mut spare = new(&scratch, sort.scratch_len::<u64>(source.len()))?;
    let run = sort.run(&source, &mut target, &mut spare, u64::cmp);
    drop((source, spare));
    let ended = fs::remove_file(&scratch).map_err(|error| error.to_string());
    run.map_err(told)?;
    ended?;
    target.flush().map_err(told)?;
    drop(target);
    fs::rename(&sorted, path).map_err(|error| error.to_string())?;
    Ok(Done::default())
}

fn mapped(path: &Path) -> Result<Done, String> {
    let mut map = os::map_mut(path)?;
    let numbers: &mut [u64] = bytemuck::cast_slice_mut(&mut map);
    numbers.sort_unstable();
    map.flush().map_err(|error| format!("msync: {error}"))?;
    Ok(Done::default())
}
