//! What only Linux shows: the memory of a process under a limit, and a full disk.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "sets a limit in a child")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use elbowroom_pager::PagedArray;
use elbowroom_testing::ControlGroup;

use crate::common::{Random, TempFile, is_emulated};

const LIMIT: usize = 8 << 20;
/// What the process has besides the pages: its program, the stacks of its threads, and tables.
const OTHER: usize = 12 << 20;

/// 8 threads read and write at random in a file 16 times larger than the limit, for a moment, or for
/// `ELBOWROOM_PAGER_SECONDS`.
#[test]
fn the_limit_holds_for_the_process() {
    if is_emulated() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "all::linux::in_a_small_control_group",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("{text}");
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM: "));
    let peak: usize = peak
        .unwrap()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .unwrap();
    assert!(peak << 10 <= LIMIT + OTHER, "{text}");
    assert!(peak << 10 >= LIMIT, "the limit is used: {text}");
}

/// With a limit on data, as with strict accounting, each page is committed and decommitted by a change of mappings.
#[test]
fn an_array_behaves_like_its_model_where_accessible_pages_are_counted() {
    if is_emulated() {
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg("model::").env("PROPTEST_CASES", "30");
    let limit = libc::rlimit {
        rlim_cur: 1 << 44,
        rlim_max: libc::RLIM_INFINITY,
    };
    let set_limit = move || {
        // SAFETY: `limit` is live (setrlimit(2)).
        match unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec, the function makes one system call, which takes no lock and allocates nothing.
    unsafe { child.pre_exec(set_limit) };
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let is_passed = output.status.success() && text.contains(" 2 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(is_passed, "{text}{errors}");
}

#[test]
#[ignore = "run by the_limit_holds_for_the_process in a process of its own"]
fn in_a_small_control_group() {
    const THREADS: usize = 8;
    let name = format!("elbowroom-pager-{}", std::process::id());
    let group = ControlGroup::enter(&name, LIMIT + OTHER);
    println!("control group: {group:?}");
    let seconds = std::env::var("ELBOWROOM_PAGER_SECONDS");
    let seconds = seconds.map_or(2, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let file = TempFile::new("limit");
    File::create(&file)
        .unwrap()
        .set_len(16 * LIMIT as u64)
        .unwrap();
    let mut array = PagedArray::<u64>::options()
        .writable(true)
        .page_size(16 << 10)
        .resident_limit(LIMIT)
        .open(&file)
        .unwrap();
    let writers = array.writers(THREADS).unwrap();
    let operations: usize = std::thread::scope(|scope| {
        let run = |(seed, mut writer): (usize, elbowroom_pager::Writer<'_, u64>)| {
            let mut random = Random::new(seed as u64 + 7);
            let mut operations = 0;
            // Each element is zero, or says where it is.
            while Instant::now() < end {
                for _ in 0..100 {
                    let index = random.below(writer.len());
                    if random.below(2) == 0 {
                        writer.set(index, index as u64 + 1).unwrap();
                    } else {
                        let value = writer.get(index).unwrap();
                        assert!(value == 0 || value == index as u64 + 1);
                    }
                    operations += 1;
                }
                let start = random.below(writer.len() - 5000);
                let slice = writer.slice(start..start + 5000).unwrap();
                let mut values = slice.iter().zip(start as u64 + 1..);
                assert!(values.all(|(&value, expected)| value == 0 || value == expected));
            }
            operations
        };
        let writers = writers.into_iter().enumerate();
        let threads: Vec<_> = writers
            .map(|writer| scope.spawn(move || run(writer)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    array.flush().unwrap();
    let stats = array.stats();
    assert!(stats.bytes_resident_max <= LIMIT);
    println!("{operations} operations in {seconds} s\n{stats:#?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for name in ["VmHWM:", "VmPTE:"] {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        println!("{name} {}", line.trim());
    }
}

/// A small file system in memory, unmounted in the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(bytes: usize) -> Option<Tmpfs> {
        let folder =
            std::env::temp_dir().join(format!("elbowroom-pager-tmpfs-{}", std::process::id()));
        fs::create_dir_all(&folder).ok()?;
        let size = format!("size={bytes}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder)
            .status();
        if mount.is_ok_and(|status| status.success()) {
            return Some(Tmpfs(folder));
        }
        let _ = fs::remove_dir(&folder);
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn is_full(path: &Path, array: &PagedArray<u8>) -> bool {
    let error = array.flush().unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    error.io_error().unwrap().raw_os_error() == Some(libc::ENOSPC)
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let Some(disk) = Tmpfs::mount(1 << 20).filter(|_| !is_emulated()) else {
        return println!("no file system can be mounted here");
    };
    let (path, filler) = (disk.0.join("data"), disk.0.join("filler"));
    // A file with holes, and a disk that has no room for them.
    File::create(&path).unwrap().set_len(2 << 20).unwrap();
    fs::write(&filler, vec![1; 768 << 10]).unwrap();
    let mut array = PagedArray::<u8>::options()
        .writable(true)
        .page_size(64 << 10)
        .resident_limit(1 << 20)
        .threads(0)
        .open(&path)
        .unwrap();
    array.slice_mut(..512 << 10).unwrap().fill(5);
    assert!(is_full(&path, &array));
    assert_eq!(array.slice(..512 << 10).unwrap()[(512 << 10) - 1], 5);
    // Pages that are not dirty make room for others still. There is none for more dirty ones than that.
    assert_eq!(array.get(1 << 20).unwrap(), 0);
    let error = (0..32)
        .find_map(|page| array.set(page * (64 << 10), 6).err())
        .unwrap();
    assert_eq!(error.io_error().unwrap().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(array.get(1).unwrap(), 5);
    fs::remove_file(&filler).unwrap();
    array.flush().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[(512 << 10) - 1]), (6, 5, 5));
    drop(array);
}

#[test]
fn a_file_that_is_replaced_stays_the_old_one() {
    let (file, new) = (
        TempFile::with("replaced", &[1; 100]),
        TempFile::with("new", &[2; 10]),
    );
    let array = PagedArray::<u8>::open(&file).unwrap();
    fs::rename(&new, &file).unwrap();
    assert_eq!(array.slice(..).unwrap()[..], [1; 100]);
}

const GENERATIONS_PAGE: usize = 16 << 10;

/// After a kill, each page is what it was at the last flush, or something that was written since, or the beginning of
/// that and the rest of the other.
#[test]
fn a_kill_during_write_back_leaves_pages_old_or_new() {
    if is_emulated() {
        return;
    }
    let file = TempFile::new("killed");
    File::create(&file).unwrap().set_len(8 << 20).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "all::linux::writes_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("ELBOWROOM_PAGER_FILE", &file.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("flushed")));
    let is_new = |value: &[u8]| value != 1_u64.to_ne_bytes();
    while !fs::read(&file).unwrap().chunks(8).any(is_new) {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(50));
    child.kill().unwrap();
    child.wait().unwrap();
    let bytes = fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 8 << 20);
    let mut generations = Vec::new();
    for page in bytes.chunks(GENERATIONS_PAGE) {
        let values = page
            .chunks(8)
            .map(|value| u64::from_ne_bytes(value.try_into().unwrap()));
        let values: Vec<u64> = values.collect();
        assert!(values.iter().all(|&value| (1..1_000_000).contains(&value)));
        assert!(
            values.is_sorted_by(|before, after| before >= after),
            "new, and then old"
        );
        generations.extend([values[0], values[values.len() - 1]]);
    }
    generations.sort_unstable();
    generations.dedup();
    println!("generations: {generations:?}");
    assert!(generations.len() > 1, "the kill came in the middle");
}

#[test]
#[ignore = "run by a_kill_during_write_back_leaves_pages_old_or_new in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os("ELBOWROOM_PAGER_FILE") else {
        return;
    };
    let mut array = PagedArray::<u64>::options()
        .writable(true)
        .page_size(GENERATIONS_PAGE)
        .resident_limit(1 << 20)
        .open(path)
        .unwrap();
    let mut random = Random::new(5);
    let elements = GENERATIONS_PAGE / 8;
    let pages = array.len() / elements;
    for page in 0..pages {
        array
            .slice_mut(page * elements..(page + 1) * elements)
            .unwrap()
            .fill(1);
    }
    array.flush().unwrap();
    println!("flushed");
    std::io::stdout().flush().unwrap();
    for generation in 2.. {
        let page = random.below(pages);
        array
            .slice_mut(page * elements..(page + 1) * elements)
            .unwrap()
            .fill(generation);
    }
}
