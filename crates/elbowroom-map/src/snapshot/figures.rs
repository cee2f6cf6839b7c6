//! The kinds of memory, and sizes.

use std::ops::AddAssign;

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// The use of a part of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Kind {
    /// Anonymous memory with a name, such as a region's.
    Named,
    /// The heap of the C library, or on Windows a heap of the process.
    Heap,
    /// The stack of a thread. On Linux only the main thread's is known; those of other threads are anonymous.
    Stack,
    /// Private memory of which a part is not accessible: a reservation that is committed in part.
    Reservation,
    /// Private memory without a name.
    Anonymous,
    /// Inaccessible addresses only.
    Reserved,
    /// A few inaccessible pages between other mappings.
    Guard,
    /// Memory that several processes can share.
    Shared,
    /// A program or library.
    Image,
    /// A file that is not executed.
    File,
    /// Memory of the kernel that is mapped into every process.
    System,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Named,
        Kind::Heap,
        Kind::Stack,
        Kind::Reservation,
        Kind::Anonymous,
        Kind::Reserved,
        Kind::Guard,
        Kind::Shared,
        Kind::Image,
        Kind::File,
        Kind::System,
    ];

    /// Returns the kind as one word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Named => "named",
            Kind::Heap => "heap",
            Kind::Stack => "stack",
            Kind::Reservation => "reservation",
            Kind::Anonymous => "anonymous",
            Kind::Reserved => "reserved",
            Kind::Guard => "guard",
            Kind::Shared => "shared",
            Kind::Image => "image",
            Kind::File => "file",
            Kind::System => "system",
        }
    }
}

/// Sizes in bytes. `None` if the system does not report a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
pub struct Figures {
    /// The size of the address range.
    pub reserved_bytes: u64,
    /// The part that may be touched.
    pub committed_bytes: u64,
    /// The part that counts towards the system's commit limit.
    pub charged_bytes: Option<u64>,
    /// The part that is in memory.
    pub resident_bytes: Option<u64>,
    /// The part that is in memory and has been written.
    pub dirty_bytes: Option<u64>,
    /// The part that is in memory as huge pages.
    pub huge_bytes: Option<u64>,
    /// The part that was swapped out.
    pub swapped_bytes: Option<u64>,
}

impl Figures {
    /// Zero in every field: the start of a sum.
    pub const NONE: Figures = Figures {
        reserved_bytes: 0,
        committed_bytes: 0,
        charged_bytes: Some(0),
        resident_bytes: Some(0),
        dirty_bytes: Some(0),
        huge_bytes: Some(0),
        swapped_bytes: Some(0),
    };

    /// The name of each figure.
    pub const NAMES: [&'static str; 7] = [
        "reserved",
        "committed",
        "charged",
        "resident",
        "dirty",
        "huge",
        "swapped",
    ];

    /// Returns the figures in the order of [`NAMES`](Figures::NAMES).
    pub fn bytes(&self) -> [Option<u64>; 7] {
        [
            Some(self.reserved_bytes),
            Some(self.committed_bytes),
            self.charged_bytes,
            self.resident_bytes,
            self.dirty_bytes,
            self.huge_bytes,
            self.swapped_bytes,
        ]
    }

    /// Returns the size at the end of the scale on which the figures are drawn as bars: the reserved size, or less if
    /// all other bars would be too short to be compared. A longer bar is cut off.
    pub fn scale_bytes(&self) -> u64 {
        let others = self.bytes().into_iter().skip(1).flatten().max();
        match others {
            Some(largest @ 1..) if self.reserved_bytes / 4 > largest => largest / 4 * 5,
            _ => self.reserved_bytes,
        }
    }
}

impl AddAssign for Figures {
    /// Adds each figure. A sum is not known if one of its parts is not known.
    fn add_assign(&mut self, other: Figures) {
        let add = |a: &mut Option<u64>, b: Option<u64>| *a = a.zip(b).map(|(a, b)| a + b);
        self.reserved_bytes += other.reserved_bytes;
        self.committed_bytes += other.committed_bytes;
        add(&mut self.charged_bytes, other.charged_bytes);
        add(&mut self.resident_bytes, other.resident_bytes);
        add(&mut self.dirty_bytes, other.dirty_bytes);
        add(&mut self.huge_bytes, other.huge_bytes);
        add(&mut self.swapped_bytes, other.swapped_bytes);
    }
}
