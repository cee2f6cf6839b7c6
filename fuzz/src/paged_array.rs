//! `PagedArray` against `Vec`, over a store that fails on request: reads return the written values, a failure changes
//! nothing, and flushed values are in the store.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arbitrary::Arbitrary;
use elbowroom::page_size;
use elbowroom_pager::{Error, MemoryStore, PagedArray, Store, StoreError};

use crate::steps::Steps;

/// The fuzzer's input.
#[derive(Arbitrary, Debug)]
pub struct Input {
    len: u16,
    /// The number of bytes before the first element.
    offset: u8,
    pages: u8,
    read_ahead_pages: u8,
    has_thread: bool,
    steps: Steps<Deed>,
}

#[derive(Arbitrary, Debug)]
enum Deed {
    Get(u16),
    Set(u16, u32),
    Slice(Part),
    Fill(Part, u32),
    Scan(Part),
    Gather(Vec<u16>),
    Prefetch(Part),
    Writers(u8, u32),
    Resize(u16),
    Flush,
    Reopen,
    /// Lets the store refuse one call after this number of others.
    Fail(u8),
}

/// A range inside the current length.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Part(u16, u16);

impl Part {
    fn of(self, len: usize) -> Range<usize> {
        let (a, b) = (
            usize::from(self.0) % (len + 1),
            usize::from(self.1) % (len + 1),
        );
        a.min(b)..a.max(b)
    }
}

/// A store in memory. One call fails when the count of calls has run down.
struct Flaky {
    memory: MemoryStore,
    calls_left: AtomicUsize,
}

impl Flaky {
    fn call(&self) -> Result<(), StoreError> {
        let left = self
            .calls_left
            .fetch_update(Relaxed, Relaxed, |left| match left {
                usize::MAX => None,
                0 => Some(usize::MAX),
                left => Some(left - 1),
            });
        match left {
            Ok(0) => Err(io::Error::other("injected").into()),
            _ => Ok(()),
        }
    }
}

impl Store for Flaky {
    fn len(&self) -> Result<u64, StoreError> {
        self.memory.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.call()?;
        self.memory.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        if let Err(refusal) = self.call() {
            // A failing write still writes half of the bytes.
            self.memory.write_at(offset, &buffer[..buffer.len() / 2])?;
            return Err(refusal);
        }
        self.memory.write_at(offset, buffer)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call()
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.call()?;
        self.memory.set_len(len)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        None
    }
}

const MAX_LEN: usize = 1 << 16;

struct Subject {
    store: Arc<Flaky>,
    array: PagedArray<u32>,
    model: Vec<u32>,
    offset: usize,
    pages: usize,
    read_ahead_pages: usize,
    threads: usize,
}

impl Subject {
    fn open(&self) -> PagedArray<u32> {
        open(
            &self.store,
            self.offset,
            self.pages,
            self.read_ahead_pages,
            self.threads,
        )
    }

    /// Returns the result of an operation on these elements, or `None` if it was refused: by the store, or because it
    /// needs more than the limit at once.
    fn is_done<R>(&self, result: Result<R, Error>, elements: &Range<usize>) -> Option<R> {
        let error = match result {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        let page = page_size() / 4;
        let touched =
            elements.end.div_ceil(page) - (elements.start / page).min(elements.end.div_ceil(page));
        let is_injected = error
            .io_error()
            .is_some_and(|error| error.to_string() == "injected");
        assert!(
            is_injected || error.is_limit() && touched > self.pages,
            "{elements:?}: {error}"
        );
        None
    }

    fn perform(&mut self, deed: &Deed) {
        let len = self.model.len();
        match deed {
            Deed::Get(index) => {
                let index = usize::from(*index);
                let got = self.array.get(index);
                if index >= len {
                    assert!(got.unwrap_err().is_out_of_range());
                } else if let Some(got) = self.is_done(got, &(index..index + 1)) {
                    assert_eq!(got, self.model[index]);
                }
            }
            Deed::Set(index, value) if len > 0 => {
                let index = usize::from(*index) % len;
                let set = self.array.set(index, *value);
                if self.is_done(set, &(index..index + 1)).is_some() {
                    self.model[index] = *value;
                }
            }
            Deed::Set(..) => {}
            Deed::Slice(part) => {
                let range = part.of(len);
                let slice = self.array.slice(range.clone());
                if let Some(slice) = self.is_done(slice, &range) {
                    assert_eq!(slice[..], self.model[range]);
                }
            }
            Deed::Fill(part, value) => {
                let range = part.of(len);
                let filled = self
                    .array
                    .slice_mut(range.clone())
                    .map(|mut slice| slice.fill(*value));
                if self.is_done(filled, &range).is_some() {
                    self.model[range].fill(*value);
                }
            }
            Deed::Scan(part) => {
                let range = part.of(len);
                let mut next = range.start;
                for chunk in self.array.scan(range.clone()).expect("inside") {
                    // A chunk never needs more than the limit.
                    let Some(chunk) = self.is_done(chunk, &(0..0)) else {
                        return;
                    };
                    assert_eq!(chunk[..], self.model[next..next + chunk.len()]);
                    next += chunk.len();
                }
                assert_eq!(next, range.end);
            }
            Deed::Gather(indices) if len > 0 => {
                let indices: Vec<usize> = indices
                    .iter()
                    .map(|&index| usize::from(index) % len)
                    .collect();
                let gathered = self.array.gather(&indices);
                if let Some(gathered) = self.is_done(gathered, &(0..0)) {
                    assert!(
                        gathered
                            .iter()
                            .zip(indices)
                            .all(|(&got, index)| got == self.model[index])
                    );
                }
            }
            Deed::Gather(_) => {}
            Deed::Prefetch(part) => self.array.prefetch([part.of(len)]).expect("inside"),
            Deed::Writers(count, value) => {
                let mut parts = Vec::new();
                for mut writer in self.array.writers((count % 4).into()).expect("writable") {
                    let range = writer.range();
                    let part = range.start..range.end.min(range.start + 9);
                    parts.push((
                        part.clone(),
                        writer
                            .slice_mut(..part.len())
                            .map(|mut slice| slice.fill(*value)),
                    ));
                }
                for (part, filled) in parts {
                    if self.is_done(filled, &part).is_some() {
                        self.model[part].fill(*value);
                    }
                }
            }
            Deed::Resize(len) => {
                let resized = self.array.resize((*len).into());
                if self.is_done(resized, &(0..0)).is_some() {
                    self.model.resize((*len).into(), 0);
                }
            }
            Deed::Flush => {
                let flushed = self.array.flush();
                if self.is_done(flushed, &(0..0)).is_some() {
                    self.is_stored();
                }
            }
            Deed::Reopen => {
                self.heal();
                self.array.flush().expect("the store is whole");
                self.array = self.open();
            }
            Deed::Fail(calls) => self.store.calls_left.store((*calls).into(), Relaxed),
        }
    }

    fn heal(&self) {
        self.store.calls_left.store(usize::MAX, Relaxed);
    }

    /// Checks that the store has the model's contents.
    fn is_stored(&self) {
        let mut bytes = vec![0; self.offset + 4 * self.model.len()];
        assert_eq!(
            self.store.memory.len().expect("in memory"),
            bytes.len() as u64
        );
        self.store.memory.read_at(0, &mut bytes).expect("in memory");
        assert!(
            bytes[..self.offset].iter().all(|&byte| byte == 7),
            "bytes before the array"
        );
        let stored = bytes[self.offset..].chunks_exact(4);
        assert!(
            stored
                .zip(&self.model)
                .all(|(bytes, element)| bytes == element.to_ne_bytes())
        );
    }
}

fn open(
    store: &Arc<Flaky>,
    offset: usize,
    pages: usize,
    read_ahead_pages: usize,
    threads: usize,
) -> PagedArray<u32> {
    let options = PagedArray::options()
        .writable(true)
        .page_size(page_size())
        .offset(offset as u64);
    let options = options
        .resident_limit(pages * page_size())
        .read_ahead(read_ahead_pages * page_size());
    options
        .max_len(MAX_LEN)
        .threads(threads)
        .open_store(Arc::clone(store))
        .expect("a whole store")
}

/// Runs the operations of the input, and panics if array and model differ.
pub fn run(input: Input) {
    let (len, offset) = (usize::from(input.len), usize::from(input.offset));
    let model: Vec<u32> = (0..len as u32)
        .map(|index| index.wrapping_mul(0x9e37_79b9))
        .collect();
    let mut bytes = vec![7; offset];
    bytes.extend(model.iter().flat_map(|element| element.to_ne_bytes()));
    let store = Arc::new(Flaky {
        memory: MemoryStore::new(bytes),
        calls_left: AtomicUsize::new(usize::MAX),
    });
    let (pages, read_ahead_pages) = (
        1 + usize::from(input.pages) % 8,
        usize::from(input.read_ahead_pages) % 4,
    );
    let threads = usize::from(input.has_thread);
    let array = open(&store, offset, pages, read_ahead_pages, threads);
    let mut subject = Subject {
        store,
        array,
        model,
        offset,
        pages,
        read_ahead_pages,
        threads,
    };
    for step in &input.steps.0 {
        subject.perform(step);
        assert!(subject.array.stats().bytes_resident_max <= pages * page_size());
    }
    subject.heal();
    subject.array.flush().expect("the store is whole");
    subject.is_stored();
}
