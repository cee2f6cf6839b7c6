//! Reading the text files of /proc and /sys.

use std::fs;
use std::path::Path;

/// Returns the text of a file, or `None` if it cannot be read. Bytes that are not UTF-8, as in paths, are replaced.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// Returns the number in a file.
pub fn number(path: &str) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

/// Returns the text after `NAME:` in a file of such lines (/proc/meminfo, /proc/PID/status, an entry of smaps).
pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Returns the size after `NAME:` in bytes.
pub fn field_bytes(text: &str, name: &str) -> Option<u64> {
    kibibytes(field(text, name)?)
}

/// Returns a number that /proc gives in "kB", which are 1024 bytes.
pub fn kibibytes(text: &str) -> Option<u64> {
    text.trim()
        .strip_suffix("kB")?
        .trim_end()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// Returns the choice in brackets, in a file such as `always [madvise] never`.
pub fn chosen(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "VmSizes:\t 1 kB\nVmSize:\t  12 kB\nSeccomp:\t2\n";
        assert_eq!(field_bytes(text, "VmSize"), Some(12 << 10));
        assert_eq!(field(text, "Seccomp"), Some("2"));
        assert_eq!(field_bytes(text, "Seccomp"), None);
        assert_eq!(field(text, "Vm"), None);
        assert_eq!(kibibytes("18446744073709551615 kB"), None);
    }

    #[test]
    fn choices_are_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }
}
