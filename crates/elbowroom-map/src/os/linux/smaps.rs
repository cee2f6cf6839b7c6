//! Reading /proc/PID/smaps (proc_pid_smaps(5)).

/// One mapping, as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) start: u64,
    pub(super) end: u64,
    /// `rwxp`, with a dash for each permission that is missing, and `s` instead of `p` if it is shared.
    pub(super) access: String,
    pub(super) inode: u64,
    /// A path, a name in brackets, or nothing.
    pub(super) name: String,
    pub(super) resident_bytes: u64,
    pub(super) dirty_bytes: u64,
    pub(super) huge_bytes: u64,
    pub(super) swapped_bytes: u64,
    /// Flags of two letters; `None` if the kernel does not report them (CONFIG_PROC_PAGE_MONITOR).
    pub(super) flags: Option<String>,
}

impl Entry {
    pub(super) fn has_flag(&self, flag: &str) -> bool {
        self.flags
            .as_deref()
            .is_some_and(|flags| flags.split(' ').any(|each| each == flag))
    }

    pub(super) fn is_accessible(&self) -> bool {
        !self.access.starts_with("---")
    }

    /// Returns the part up to `end`. Its share of the figures is not known, so each is the whole figure or the part's
    /// size, whichever is less.
    fn cut(self, end: u64) -> Entry {
        let room = end - self.start;
        Entry {
            end,
            resident_bytes: self.resident_bytes.min(room),
            dirty_bytes: self.dirty_bytes.min(room),
            huge_bytes: self.huge_bytes.min(room),
            swapped_bytes: self.swapped_bytes.min(room),
            ..self
        }
    }
}

/// Returns all mappings in order, without overlaps. `None` if the text is not smaps or ends within an entry.
pub(super) fn parse(text: &str) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        // `Rss:  4 kB`; a first line has a space before any colon.
        let field = line.split_once(':').filter(|(name, _)| !name.contains(' '));
        let Some((name, value)) = field else {
            entries.push(first_line(line)?);
            continue;
        };
        let entry = entries.last_mut()?;
        let figure = match name {
            // Rss does not count the pages of hugetlb.
            "Shared_Hugetlb" | "Private_Hugetlb" => {
                entry.resident_bytes += kibibytes(value)?;
                &mut entry.huge_bytes
            }
            "Rss" => &mut entry.resident_bytes,
            "Shared_Dirty" | "Private_Dirty" => &mut entry.dirty_bytes,
            "AnonHugePages" | "ShmemPmdMapped" | "FilePmdMapped" => &mut entry.huge_bytes,
            "Swap" => &mut entry.swapped_bytes,
            "VmFlags" => {
                entry.flags = Some(value.trim().to_owned());
                continue;
            }
            _ => continue,
        };
        // Some figures are sums.
        *figure += kibibytes(value)?;
    }
    Some(consistent(entries))
}

/// Resolves entries that lie over another, of a process that changed while it was read. The kernel writes a part of the
/// text at a time, and continues with the mapping that has the next address. If that mapping was merged with its
/// neighbour or split meanwhile, it also has addresses of an earlier entry, and the later entry is right.
fn consistent(entries: Vec<Entry>) -> Vec<Entry> {
    let mut consistent: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        while let Some(last) = consistent.pop() {
            if last.start < entry.start {
                let end = last.end.min(entry.start);
                consistent.push(last.cut(end));
                break;
            }
        }
        consistent.push(entry);
    }
    consistent
}

/// `START-END PERMS OFFSET DEVICE INODE   PATH`; the path may have spaces.
fn first_line(line: &str) -> Option<Entry> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        (!word.is_empty()).then_some(word)
    };
    let (start, end) = word()?.split_once('-')?;
    let access = word()?.to_owned();
    let (_offset, _device, inode) = (word()?, word()?, word()?);
    Some(Entry {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        access,
        inode: inode.parse().ok()?,
        name: unescaped(rest),
        ..Entry::default()
    })
}

/// Returns a number that /proc gives in "kB", which are 1024 bytes.
fn kibibytes(text: &str) -> Option<u64> {
    text.trim()
        .strip_suffix("kB")?
        .trim_end()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// Returns a path with its line breaks, which the kernel writes as \012.
fn unescaped(path: &str) -> String {
    path.replace("\\012", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0                          [anon:a cache of names]
Size:               4096 kB
Rss:                2052 kB
Shared_Dirty:          8 kB
Private_Dirty:      2044 kB
AnonHugePages:      2048 kB
Swap:                 12 kB
THPeligible:           1
VmFlags: rd wr mr mw me ac sd
7f0000400000-7f0000500000 ---p 00000000 00:00 0
Size:               1024 kB
Rss:                   0 kB
VmFlags: mr mw me sd
7f0000500000-7f0000501000 r-xs 00001000 fe:00 325843                     /tmp/a file: with (deleted) \\012 it (deleted)
Rss:                   4 kB
FilePmdMapped:      2048 kB
ProtectionKey:         0
VmFlags: rd ex mr mw me
";

    #[test]
    fn entries_are_read() {
        let entries = parse(TEXT).unwrap();
        assert_eq!(entries.len(), 3);
        let first = &entries[0];
        assert_eq!(
            (first.start, first.end),
            (0x7f00_0000_0000, 0x7f00_0040_0000)
        );
        assert_eq!(
            (first.name.as_str(), first.access.as_str()),
            ("[anon:a cache of names]", "rw-p")
        );
        assert_eq!(first.resident_bytes, 2052 << 10);
        assert_eq!(first.dirty_bytes, 2052 << 10);
        assert_eq!(first.huge_bytes, 2 << 20);
        assert_eq!(first.swapped_bytes, 12 << 10);
        assert!(first.has_flag("ac") && !first.has_flag("a") && first.is_accessible());
        assert!(
            !entries[1].is_accessible() && entries[1].name.is_empty() && !entries[1].has_flag("ac")
        );
        assert_eq!(
            entries[2].name,
            "/tmp/a file: with (deleted) \n it (deleted)"
        );
        assert_eq!(
            (entries[2].huge_bytes, entries[2].inode),
            (2 << 20, 325_843)
        );
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(parse("").unwrap(), []);
        for text in [
            "Rss: 4 kB\n",
            "nonsense\n",
            "1-2\n",
            "1-2 rw-p 0 0:0 x\n",
            "1-x rw-p 0 0:0 1\n",
            "1-2 rw-p 0 0:0 1\nRss: x kB\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        // The parser does not panic, wherever the text ends.
        for end in 0..TEXT.len() {
            parse(&TEXT[..end]);
        }
    }

    #[test]
    fn hugetlb_is_resident_and_huge() {
        let text = "7f0000000000-7f0000400000 rw-p 0 00:0f 9  /anon_hugepage (deleted)\nRss: 0 kB\n\
                    Shared_Hugetlb: 0 kB\nPrivate_Hugetlb: 2048 kB\n";
        let entry = &parse(text).unwrap()[0];
        assert_eq!((entry.resident_bytes, entry.huge_bytes), (2 << 20, 2 << 20));
    }

    #[test]
    fn mappings_reported_twice_are_kept_once() {
        let parsed = |text: &str| {
            parse(text)
                .unwrap()
                .iter()
                .map(|entry| (entry.start, entry.end, entry.resident_bytes))
                .collect::<Vec<_>>()
        };
        // The kernel reported the first pages; then they were merged with the rest, which it reported as a whole.
        let merged = "1000-5000 rw-p 0 0:0 0\nRss: 16 kB\n1000-100000 rw-p 0 0:0 0\nRss: 20 kB\n";
        assert_eq!(parsed(merged), [(0x1000, 0x10_0000, 20 << 10)]);
        // The end of the mapping was decommitted after the kernel had reported it.
        let split = "1000-5000 rw-p 0 0:0 0\nRss: 16 kB\n3000-100000 ---p 0 0:0 0\nRss: 0 kB\n";
        assert_eq!(
            parsed(split),
            [(0x1000, 0x3000, 8 << 10), (0x3000, 0x10_0000, 0)]
        );
        let quiet = "1000-3000 rw-p 0 0:0 0\n3000-4000 ---p 0 0:0 0\n6000-7000 rw-p 0 0:0 0\n";
        assert_eq!(parsed(quiet).len(), 3);
    }

    #[test]
    fn this_process_is_read() {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let entries = parse(&text).unwrap();
        assert!(entries.len() > 5);
        assert!(
            entries
                .iter()
                .all(|entry| entry.start < entry.end && entry.access.len() == 4)
        );
        assert!(entries.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}
