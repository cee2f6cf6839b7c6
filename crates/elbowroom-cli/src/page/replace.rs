//! A file that takes its name when it is complete: written beside the target, and renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::os;

/// A new file beside its target, for reading and writing. It is removed if it does not take the target's place.
pub(super) struct Beside {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Beside {
    /// Creates the file in the folder of the target. `word` tells several files of one target apart.
    pub(super) fn new(target: &Path, word: &str) -> Result<Beside, String> {
        let Some(name) = target.file_name() else {
            return Err(format!("{} is not the name of a file", target.display()));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{word}-{}", std::process::id()));
        let path = target.with_file_name(hidden);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true);
        let file = options.open(&path);
        let file = file.map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Beside { path, file })
    }

    /// Words a failed write.
    pub(super) fn cannot_write(&self, error: impl std::fmt::Display) -> String {
        format!("cannot write {}: {error}", self.path.display())
    }

    /// Makes the contents durable.
    pub(super) fn make_durable(&self) -> Result<(), String> {
        let durable = self.file.sync_all();
        durable.map_err(|error| self.cannot_write(error))
    }

    /// Gives the file, whose contents are durable, the name of the target.
    pub(super) fn take_place(self, target: &Path, replace: bool) -> Result<(), String> {
        let cannot = |error| format!("cannot write {}: {error}", target.display());
        if replace {
            fs::rename(&self.path, target).map_err(cannot)?;
        } else {
            // Fails if the target exists, which a rename would replace.
            match fs::hard_link(&self.path, target) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(exists(target));
                }
                // A file system without hard links.
                Err(_) if !target.exists() => fs::rename(&self.path, target).map_err(cannot)?,
                Err(_) => return Err(exists(target)),
            }
        }
        // The name is durable when the folder is. A system where a folder cannot be opened does that by itself.
        let folder = target.parent().filter(|folder| *folder != Path::new(""));
        if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // It is gone if it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

/// Words the refusal to replace a file.
pub(super) fn exists(target: &Path) -> String {
    format!("{} exists; --force replaces it", target.display())
}

/// The flag that a signal sets to ask the process to end, so that no file is left beside the target.
pub(super) struct Ending(Arc<AtomicUsize>);

impl Ending {
    pub(super) fn new() -> Result<Ending, String> {
        let asked = os::when_asked_to_end();
        let asked = asked.map_err(|error| format!("signals cannot be handled: {error}"))?;
        Ok(Ending(asked))
    }

    /// Fails if a signal has come.
    pub(super) fn check(&self) -> Result<(), String> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(format!("ended by signal {signal}; nothing was changed")),
        }
    }
}
