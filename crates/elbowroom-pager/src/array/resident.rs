//! The elements that are in memory.

use std::ops::Range;

use super::PagedArray;

impl<T> PagedArray<T> {
    /// Returns the indices of the elements that are resident now, as runs in ascending order. Other threads can change
    /// that at any time.
    ///
    /// ```
    /// use elbowroom_pager::{MemoryStore, PagedArray};
    ///
    /// let array = PagedArray::<u8>::options()
    ///     .page_size(64 << 10)
    ///     .read_ahead(0)
    ///     .open_store(MemoryStore::new(vec![0; 1 << 20]))?;
    /// assert_eq!(array.resident_ranges().next(), None);
    /// array.get(70_000)?;
    /// assert!(array.resident_ranges().eq([65_536..131_072]));
    /// # Ok::<(), elbowroom_pager::Error>(())
    /// ```
    pub fn resident_ranges(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        let (page_bytes, size, len) = (self.page_bytes(), size_of::<T>(), self.len);
        let pages = self.fetch.pool.resident_pages().into_iter();
        let mut pages = pages.peekable();
        std::iter::from_fn(move || {
            let start = pages.next()?;
            let mut end = start + 1;
            while pages.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some(start * page_bytes..end * page_bytes)
        })
        // Only elements whose bytes are all resident.
        .map(move |bytes| bytes.start.div_ceil(size)..len.min(bytes.end / size))
        .filter(|elements| !elements.is_empty())
    }
}
