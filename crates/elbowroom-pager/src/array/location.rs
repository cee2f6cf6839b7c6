//! Locations of arrays: paths and URLs.

use std::ffi::OsStr;

use crate::error::{Cause, Error, Operation};
use crate::os;
use crate::store::{FileStore, MemoryStore, Store};

/// The schemes of object stores.
const REMOTE: [&str; 5] = ["s3", "gs", "az", "http", "https"];

/// A location, told apart by its scheme.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location<'a> {
    Path(&'a OsStr),
    /// The path of a `file://` URL.
    FileUrl(String),
    Memory,
    /// The scheme of any other URL.
    Foreign(&'a str),
    /// A URL that means nothing, and why.
    Malformed(&'static str),
}

/// Distinguishes paths and URLs. A URL begins with letters and `://`.
pub(super) fn parse(location: &OsStr) -> Location<'_> {
    let url = location.to_str().and_then(|text| text.split_once("://"));
    let Some((scheme, rest)) = url else {
        return Location::Path(location);
    };
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(is_scheme) {
        return Location::Path(location);
    }
    match scheme {
        "memory" if rest.is_empty() => Location::Memory,
        "memory" => Location::Malformed("memory:// has no name, and each array its own bytes"),
        "file" => {
            // RFC 8089: an authority is empty or this machine.
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Location::Malformed("a file:// URL has three slashes: file:///folder/file");
            }
            match decode(path) {
                Some(path) => Location::FileUrl(os::path_of_url(&path).to_owned()),
                None => Location::Malformed("it has a % without two digits, or is not UTF-8"),
            }
        }
        _ => Location::Foreign(scheme),
    }
}

/// Replaces `%20` and the like.
fn decode(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        decoded.push(match byte {
            b'%' => (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

/// Opens what a location means. A memory store has `memory_len` bytes.
pub(super) fn open(
    location: &OsStr,
    is_writable: bool,
    fills_page_cache: bool,
    memory_len: Option<u64>,
) -> Result<Box<dyn Store>, Error> {
    let text = location.to_string_lossy();
    let refuse = |cause: Cause| Error::new(Operation::Open, &text, 0..0, cause);
    let file = |path: &OsStr| {
        let store = FileStore::open(path, is_writable);
        let store = store.map_err(|error| refuse(Cause::Io(error)))?;
        Ok(store.page_cache(fills_page_cache))
    };
    match parse(location) {
        Location::Path(path) => Ok(Box::new(file(path)?)),
        Location::FileUrl(path) => Ok(Box::new(file(path.as_ref())?)),
        Location::Memory => {
            let Some(len) = memory_len else {
                let reason = "memory:// starts with zeros; say how many elements with `len`";
                return Err(refuse(Cause::Invalid(reason.into())));
            };
            let store = MemoryStore::default();
            match store.set_len(len) {
                Ok(()) => Ok(Box::new(store)),
                Err(_) => Err(refuse(Cause::Io(std::io::ErrorKind::OutOfMemory.into()))),
            }
        }
        #[cfg(feature = "remote")]
        Location::Foreign(scheme) if REMOTE.contains(&scheme) => {
            let store = crate::store::RemoteStore::open(&text);
            Ok(Box::new(store.map_err(|error| refuse(Cause::Io(error)))?))
        }
        #[cfg(not(feature = "remote"))]
        Location::Foreign(scheme) if REMOTE.contains(&scheme) => {
            Err(refuse(Cause::Unsupported(format!(
                "{scheme}:// is not in this build; build the program with the feature `remote` of elbowroom-pager (the \
                 command: cargo install --features remote), or copy the object to a file"
            ))))
        }
        Location::Foreign(scheme) => Err(refuse(Cause::Unsupported(format!(
            "there is no store for {scheme}://; use a path, file://, memory://, {}://, or give a custom store to \
             `open_store`",
            REMOTE.join("://, ")
        )))),
        Location::Malformed(reason) => Err(refuse(Cause::Invalid(reason.into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        let path = |text: &'static str| Location::Path(text.as_ref());
        for (text, expected) in [
            ("data.bin", path("data.bin")),
            ("C:\\data", path("C:\\data")),
            ("a folder://x", path("a folder://x")),
            ("://x", path("://x")),
            ("file:///a%20b/%C3%A9", Location::FileUrl("/a b/é".into())),
            ("file://localhost/a", Location::FileUrl("/a".into())),
            ("memory://", Location::Memory),
            ("s3://bucket/key", Location::Foreign("s3")),
        ] {
            assert_eq!(parse(text.as_ref()), expected, "{text}");
        }
        for text in [
            "file://a",
            "file:///%",
            "file:///%f",
            "file:///%ff",
            "file:///%+1",
            "memory://a",
        ] {
            assert!(
                matches!(parse(text.as_ref()), Location::Malformed(_)),
                "{text}"
            );
        }
    }
}
