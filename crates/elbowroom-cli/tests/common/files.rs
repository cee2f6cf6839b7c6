//! Files of numbers, and the command run on them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::path::PathBuf;

use super::{Outcome, run};

/// A folder that is removed when it is dropped. Its path has no spaces.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("elbowroom-page-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.0.join(name), bytes).unwrap();
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn ok(args: &str) -> Outcome {
    let outcome = run(args);
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (0, ""),
        "{args}: {outcome:?}"
    );
    outcome
}

pub(crate) fn refused(args: &str, part: &str) {
    let outcome = run(args);
    assert_eq!(
        (outcome.status, outcome.stdout.as_str()),
        (1, ""),
        "{args}: {outcome:?}"
    );
    let text = &outcome.stderr;
    assert!(
        text.starts_with("elbowroom: ") && text.lines().count() == 1 && text.contains(part),
        "{args}: {text}"
    );
}

pub(crate) fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut bytes = b"\x93NUMPY\x01\0\x76\0".to_vec();
    bytes.extend(format!("{text:117}\n").bytes());
    bytes.extend(data);
    bytes
}

/// Returns numbers that are spread over their type.
pub(crate) fn spread(count: usize) -> impl Iterator<Item = u64> {
    (1..=count as u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
