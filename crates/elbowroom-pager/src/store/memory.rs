//! Bytes in memory, for tests and as `memory://`.

use std::io;
use std::sync::{PoisonError, RwLock};

use super::{Store, StoreError};

/// Bytes in the memory of this process. They do not count against an array's limit.
#[derive(Debug, Default)]
pub struct MemoryStore {
    bytes: RwLock<Vec<u8>>,
}

impl MemoryStore {
    /// Returns a store with these bytes, writable.
    pub fn new(bytes: Vec<u8>) -> MemoryStore {
        MemoryStore {
            bytes: RwLock::new(bytes),
        }
    }

    /// Returns a copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        self.read().clone()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<u8>> {
        self.bytes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<u8>> {
        self.bytes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn len(&self) -> Result<u64, StoreError> {
        Ok(self.read().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let bytes = self.read();
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
        let part =
            part.ok_or_else(|| StoreError::Changed(format!("it has {} bytes", bytes.len())))?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn write_at(&self, offset: u64, buffer: &[u8]) -> Result<(), StoreError> {
        let mut bytes = self.write();
        let part = usize::try_from(offset)
            .ok()
            .and_then(|start| bytes.get_mut(start..start.checked_add(buffer.len())?));
        let part = part.ok_or_else(|| io::Error::from(io::ErrorKind::WriteZero))?;
        part.copy_from_slice(buffer);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), StoreError> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        let mut bytes = self.write();
        let more = len.saturating_sub(bytes.len());
        let room = bytes.try_reserve_exact(more);
        room.map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        bytes.resize(len, 0);
        Ok(())
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn version(&self) -> Option<String> {
        None
    }
}
