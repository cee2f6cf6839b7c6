//! A store that fails on command, files that remove themselves, and numbers from a seed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use elbowroom_pager::{Error, MemoryStore, Store, StoreError};
pub(crate) use elbowroom_testing::is_emulated;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// At once.
    Refused,
    /// Half way: half of the buffer is read or written.
    HalfWay,
    /// With a panic.
    Panic,
}

/// Bytes in memory, whose calls fail on command.
#[derive(Debug)]
pub(crate) struct Flaky {
    pub(crate) memory: MemoryStore,
    pub(crate) calls: AtomicUsize,
    plan: Mutex<(usize, usize, Failure)>,
    pub(crate) failed: AtomicUsize,
}

impl Flaky {
    pub(crate) fn new(bytes: Vec<u8>) -> Arc<Flaky> {
        Arc::new(Flaky {
            memory: MemoryStore::new(bytes),
            calls: AtomicUsize::new(0),
            plan: Mutex::new((0, 0, Failure::Refused)),
            failed: AtomicUsize::new(0),
        })
    }

    /// Lets `after` calls through, and `count` calls fail then.
    pub(crate) fn fail(&self, after: usize, count: usize, failure: Failure) {
        *self.plan.lock().unwrap() = (after, count, failure);
    }

    pub(crate) fn heal(&self) {
        self.fail(0, 0, Failure::Refused);
    }

    /// Calls to come that will fail.
    pub(crate) fn is_healthy(&self) -> bool {
        self.plan.lock().unwrap().1 == 0
    }

    fn call(&self) -> Option<Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut plan = self.plan.lock().unwrap();
        let (after, count, failure) = &mut *plan;
        if *after > 0 {
            *after -= 1;
            return None;
        }
        *count = count.checked_sub(1)?;
        self.failed.fetch_add(1, Ordering::Relaxed);
        let failure = *failure;
        drop(plan);
        assert!(failure != Failure::Panic, "injected panic");
        Some(failure)
    }
}

fn injected() -> StoreError {
    io::Error::other("injected").into()
}

pub(crate) fn is_injected(error: &Error) -> bool {
    error
        .io_error()
        .is_some_and(|error| error.to_string() == "injected")
}

impl Store for Flaky {
    fn len(&self) -> Result<u64, StoreError> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        match self.call() {
            None => self.memory.read_at(offset, buffer),
            Some(failure) => {
                if failure == Failure::HalfWay {
                    let half = buffer.len() / 2;
                    self.memory.read_at(offset, &mut buffer[..half])?;
                    buffer[half..].fill(0xee);
                }
                Err(injected())
            }
        }
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        match self.call() {
            None => self.memory.write_at(offset, buffer),
            Some(failure) => {
                if failure == Failure::HalfWay {
                    self.memory.write_at(offset, &buffer[..buffer.len() / 2])?;
                }
                Err(injected())
            }
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call().map_or(Ok(()), |_| Err(injected()))
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        match self.call() {
            None => self.memory.set_len(len),
            Some(_) => Err(injected()),
        }
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        None
    }
}

/// A file that is removed in the end.
pub(crate) struct TempFile(pub(crate) PathBuf);

impl TempFile {
    pub(crate) fn new(name: &str) -> TempFile {
        let name = format!("elbowroom-pager-{}-{name}", std::process::id());
        TempFile(std::env::temp_dir().join(name))
    }

    pub(crate) fn with(name: &str, bytes: &[u8]) -> TempFile {
        let file = TempFile::new(name);
        std::fs::write(&file.0, bytes).unwrap();
        file
    }
}

impl AsRef<std::ffi::OsStr> for TempFile {
    fn as_ref(&self) -> &std::ffi::OsStr {
        self.0.as_os_str()
    }
}

impl AsRef<Path> for TempFile {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Numbers from a seed (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }
}

/// Gives rustls a provider of cryptography, which stores that a program builds itself need.
#[cfg(feature = "remote")]
pub(crate) fn install_provider() {
    // Fails if there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
