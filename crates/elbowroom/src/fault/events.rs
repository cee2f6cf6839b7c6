//! Events of faults: the handler records one for each fault while a [`Recorder`] exists.

#![allow(
    unsafe_code,
    reason = "shares the recorder's queue with fault handlers"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ring::Ring;
use super::slot::{Pinned, Slot};
use crate::error::{Cause, Reason};
use crate::plain::FaultAccess;

/// The outcome of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Pages were committed.
    Committed,
    /// Another thread had just committed the page.
    Raced,
    /// The filter declined, or no thread was left to ask it.
    Declined,
    /// The commit limit or a budget left no room.
    Limited,
    /// The system refused, or a commit cannot resolve the touch.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 5] = [
        Outcome::Committed,
        Outcome::Raced,
        Outcome::Declined,
        Outcome::Limited,
        Outcome::Failed,
    ];

    /// Returns the outcome of a fault that was refused for this cause.
    pub(crate) fn of_refusal(cause: Cause) -> Outcome {
        match cause.reason() {
            Reason::Filter
            | Reason::FilterThreadGone
            | Reason::InOwnFilter
            | Reason::TooManyFilters => Outcome::Declined,
            Reason::Limit | Reason::Budget => Outcome::Limited,
            _ => Outcome::Failed,
        }
    }

    /// Returns whether the touch succeeded.
    pub fn is_resolved(self) -> bool {
        matches!(self, Outcome::Committed | Outcome::Raced)
    }

    /// Returns one word for the outcome.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Committed => "committed",
            Outcome::Raced => "raced",
            Outcome::Declined => "declined",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// The number of words of a region's name that an event keeps.
const NAME_WORDS: usize = 4;
const NAME_BYTES: usize = NAME_WORDS * 8;

/// A recorded fault in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The time at which the handler began.
    pub at: Instant,
    /// The time that the fault took, including the filter.
    pub duration: Duration,
    /// The system's number of the touching thread.
    pub thread: u64,
    /// The address of the region's first byte.
    pub region: usize,
    /// The offset of the touched byte from there.
    pub offset: usize,
    /// The kind of access.
    pub access: FaultAccess,
    /// The outcome.
    pub outcome: Outcome,
    /// The number of bytes committed for this fault.
    pub committed_bytes: usize,
    /// The number of bytes of the region that were committed afterwards.
    pub region_committed_bytes: usize,
    // Padded with zeros.
    name: [u8; NAME_BYTES],
}

/// The size of an event in the queue.
const WORDS: usize = 9 + NAME_WORDS;

impl Event {
    /// Returns the first 32 bytes of the region's name, or fewer if they end in the middle of a character.
    pub fn region_name(&self) -> &str {
        let len = self
            .name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(NAME_BYTES);
        let name = &self.name[..len];
        match std::str::from_utf8(name) {
            Ok(name) => name,
            // Cut off in the middle of a character.
            Err(error) => std::str::from_utf8(&name[..error.valid_up_to()]).unwrap_or_default(),
        }
    }

    /// Returns the event of the fault that the caller has just handled.
    pub(crate) fn new(at: Instant, duration: Duration, what: What<'_>) -> Event {
        let What {
            thread,
            region,
            offset,
            access,
            outcome,
            committed_bytes,
            region_committed_bytes,
            name,
        } = what;
        let mut kept = [0; NAME_BYTES];
        let len = name.len().min(NAME_BYTES);
        kept[..len].copy_from_slice(&name.as_bytes()[..len]);
        Event {
            at,
            duration,
            thread,
            region,
            offset,
            access,
            outcome,
            committed_bytes,
            region_committed_bytes,
            name: kept,
        }
    }

    fn encode(&self, epoch: Instant) -> [u64; WORDS] {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut words = [0; WORDS];
        words[0] = nanoseconds(self.at.saturating_duration_since(epoch));
        words[1] = nanoseconds(self.duration);
        words[2] = self.thread;
        words[3] = self.region as u64;
        words[4] = self.offset as u64;
        words[5] = self.committed_bytes as u64;
        words[6] = self.access as u64;
        words[7] = self.outcome as u64;
        words[8] = self.region_committed_bytes as u64;
        for (word, bytes) in words[9..].iter_mut().zip(self.name.chunks_exact(8)) {
            // A chunk of eight bytes always converts.
            *word = bytes.try_into().map_or(0, u64::from_ne_bytes);
        }
        words
    }

    fn decode(words: &[u64; WORDS], epoch: Instant) -> Event {
        let mut name = [0; NAME_BYTES];
        for (bytes, word) in name.chunks_exact_mut(8).zip(&words[9..]) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        let accesses = [FaultAccess::Read, FaultAccess::Write, FaultAccess::Execute];
        Event {
            at: epoch + Duration::from_nanos(words[0]),
            duration: Duration::from_nanos(words[1]),
            thread: words[2],
            region: words[3] as usize,
            offset: words[4] as usize,
            committed_bytes: words[5] as usize,
            region_committed_bytes: words[8] as usize,
            access: accesses
                .into_iter()
                .find(|&access| access as u64 == words[6])
                .unwrap_or(FaultAccess::Read),
            outcome: Outcome::ALL
                .into_iter()
                .find(|&outcome| outcome as u64 == words[7])
                .unwrap_or(Outcome::Failed),
            name,
        }
    }
}

/// The contents of an event, without its times.
pub(crate) struct What<'a> {
    pub(crate) thread: u64,
    pub(crate) region: usize,
    pub(crate) offset: usize,
    pub(crate) access: FaultAccess,
    pub(crate) outcome: Outcome,
    pub(crate) committed_bytes: usize,
    pub(crate) region_committed_bytes: usize,
    pub(crate) name: &'a str,
}

/// The part of a recorder that fault handlers use.
pub(crate) struct Tape {
    ring: Ring<WORDS>,
    epoch: Instant,
}

/// The recorder in use, if there is one. A handler pins it while it puts an event.
static TAPE: OnceLock<Slot<Tape>> = OnceLock::new();

/// Whether there is a recorder, or was a moment ago. Without a recorder, a fault only reads this flag.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// Whether a [`Recorder`] exists.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Returns whether events are wanted.
pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Returns the queue for events, if they are wanted. Async-signal-safe. The caller must not keep the pin, because a
/// recorder that ends waits for it.
pub(crate) fn tape() -> Option<Pinned<'static, Tape>> {
    TAPE.get()?.pin()
}

impl Tape {
    pub(crate) fn put(&self, event: &Event) {
        self.ring.push(&event.encode(self.epoch));
    }
}

/// Removes the pins of threads that a forked child lacks. The child's copy of the recorder starts with an empty queue.
pub(super) fn forget_other_threads() {
    let slot = TAPE.get().filter(|_| IS_ON.load(Ordering::Relaxed));
    if let Some(slot) = slot {
        slot.set_pins(0);
        if let Some(tape) = slot.pin() {
            tape.ring.reset();
        }
    }
}

/// Records every fault in every region of the process as an [`Event`], while it exists.
///
/// The events are kept in a queue of fixed size, from which [`events`](Recorder::events) takes them. An event that
/// finds the queue full is lost and counted.
///
/// Recording adds some 100 ns to a fault. Without a recorder, a fault only reads a flag.
///
/// ```
/// use elbowroom::{Growth, Region, fault::{Outcome, Recorder}, page_size};
///
/// let recorder = Recorder::start(1000).expect("no other recorder lives");
/// let region = Region::builder(1 << 20).name("log").growth(Growth::Pages(1)).build()?;
/// region.try_write(5 * page_size(), 1u8)?;
///
/// let event = recorder.events().find(|event| event.region_name() == "log").unwrap();
/// assert_eq!((event.offset, event.committed_bytes), (5 * page_size(), page_size()));
/// assert_eq!(event.outcome, Outcome::Committed);
/// # Ok::<(), elbowroom::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    // Invariant: a leaked box, in TAPE while the recorder lives; freed after the last pin of it is gone.
    tape: *mut Tape,
}

// SAFETY: the pointer is to a Tape, which is Send and Sync (asserted below), and dropping works on any thread.
unsafe impl Send for Recorder {}
// SAFETY: `&self` gives shared access to the Tape only, which is Sync (asserted below).
unsafe impl Sync for Recorder {}

const _: () = {
    const fn shareable<T: Send + Sync>() {}
    shareable::<Tape>();
};

impl Recorder {
    /// Starts recording, with room for `capacity` events (rounded up to a power of two, at most 2^24) of 112 bytes
    /// each.
    ///
    /// Returns `None` if another recorder exists: a process has one at a time.
    pub fn start(capacity: usize) -> Option<Recorder> {
        if IS_TAKEN.swap(true, Ordering::Acquire) {
            return None;
        }
        let tape = Box::into_raw(Box::new(Tape {
            ring: Ring::new(capacity),
            epoch: Instant::now(),
        }));
        // SAFETY: the tape stays valid until `drop` has emptied the slot and waited for its pins. There is one recorder
        // at a time, and the previous one has emptied the slot.
        unsafe { TAPE.get_or_init(Slot::new).fill(tape) };
        IS_ON.store(true, Ordering::Relaxed);
        Some(Recorder { tape })
    }

    fn tape(&self) -> &Tape {
        // SAFETY: the tape is valid while the recorder lives (invariant), and is only accessed through shared
        // references.
        unsafe { &*self.tape }
    }

    /// Takes the events out of the queue, oldest first.
    ///
    /// Events of several threads come in the order in which their faults ended, which differs slightly from that of
    /// [`Event::at`]. The event of a region with [`Backend::UserfaultMonitor`](crate::Backend::UserfaultMonitor) may
    /// come a moment after its touch has continued.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let tape = self.tape();
        std::iter::from_fn(|| tape.ring.pop()).map(|words| Event::decode(&words, tape.epoch))
    }

    /// Returns the number of events that were lost.
    pub fn lost(&self) -> u64 {
        self.tape().ring.lost()
    }

    /// Takes the events out of the queue and passes them to the subscriber of the crate `tracing`, with the target
    /// `elbowroom::fault`.
    ///
    /// Resolved faults have the level TRACE, the others DEBUG. Returns the number of events.
    ///
    /// Call it from time to time, from ordinary code: a subscriber allocates, and must not run in a fault handler.
    #[cfg(feature = "tracing")]
    pub fn trace(&self) -> usize {
        let trace = |event: Event| {
            macro_rules! emit {
                ($level:ident) => {
                    tracing::event!(
                        target: "elbowroom::fault",
                        tracing::Level::$level,
                        region = event.region_name(),
                        offset = event.offset,
                        access = %event.access,
                        thread = event.thread,
                        committed_bytes = event.committed_bytes,
                        duration_ns = event.duration.as_nanos() as u64,
                        "{}",
                        event.outcome.name(),
                    )
                };
            }
            if event.outcome.is_resolved() {
                emit!(TRACE)
            } else {
                emit!(DEBUG)
            }
        };
        self.events().map(trace).count()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        IS_ON.store(false, Ordering::Relaxed);
        if let Some(slot) = TAPE.get() {
            slot.kill();
            // A handler that is putting an event ends soon.
            while slot.is_pinned() {
                std::thread::yield_now();
            }
        }
        // SAFETY: the tape is from a leaked box and freed once. The slot is empty and no pin is left, so nothing refers
        // to it.
        drop(unsafe { Box::from_raw(self.tape) });
        IS_TAKEN.store(false, Ordering::Release);
    }
}
