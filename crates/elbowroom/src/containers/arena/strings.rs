//! Strings in an arena.

#![allow(unsafe_code, reason = "lends bytes that are UTF-8 as strings")]

use std::fmt::{self, Write};

use super::super::reserved_vec::accept;
use super::blocks::Arena;
use super::slice_builder::SliceBuilder;
use crate::error::Error;

#[expect(clippy::mut_from_ref, reason = "each call lends another place")]
impl Arena {
    /// Puts a copy of `text` into the arena.
    #[inline]
    #[track_caller]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        let bytes = self.alloc_slice_copy(text.as_bytes());
        // SAFETY: the bytes are a copy of those of a `str`.
        unsafe { std::str::from_utf8_unchecked_mut(bytes) }
    }

    /// Allocates as [`alloc_str`](Arena::alloc_str) does, or returns an error.
    #[inline]
    pub fn try_alloc_str(&self, text: &str) -> Result<&mut str, Error> {
        let bytes = self.try_alloc_slice_copy(text.as_bytes())?;
        // SAFETY: the bytes are a copy of those of a `str`.
        Ok(unsafe { std::str::from_utf8_unchecked_mut(bytes) })
    }

    /// Formats text into the arena, without a `String` in between.
    ///
    /// This is `format!` for arenas. The text grows in place, unless a formatted value allocates in the arena itself.
    ///
    /// ```
    /// let arena = elbowroom::Arena::new();
    /// let name = arena.alloc_fmt(format_args!("{}-{:03}", "worker", 7));
    /// assert_eq!(name, "worker-007");
    /// ```
    ///
    /// # Panics
    /// Panics if there is no memory for the text, with the text of the [error](Arena#errors). Like `format!`, it also
    /// panics if a formatting trait returns an error of its own.
    #[track_caller]
    pub fn alloc_fmt(&self, text: fmt::Arguments<'_>) -> &mut str {
        accept(self.try_alloc_fmt(text))
    }

    /// Formats as [`alloc_fmt`](Arena::alloc_fmt) does, or frees the text's room and returns an error.
    ///
    /// # Errors
    /// See [above](Arena#errors).
    ///
    /// # Panics
    /// Like `format!`, if a formatting trait returns an error of its own.
    #[track_caller]
    #[expect(clippy::panic, reason = "as `format!`, documented")]
    pub fn try_alloc_fmt(&self, text: fmt::Arguments<'_>) -> Result<&mut str, Error> {
        if let Some(text) = text.as_str() {
            return self.try_alloc_str(text);
        }
        let mut builder = StrBuilder {
            bytes: SliceBuilder::with_capacity(self, 0)?,
            refusal: None,
        };
        let result = builder.write_fmt(text);
        // Checked also if the formatted value ignored the refusal: text is missing then.
        if let Some(error) = builder.refusal {
            return Err(error);
        }
        if result.is_err() {
            panic!("a formatting trait returned an error, and memory was not the cause");
        }
        let bytes = builder.bytes.finish();
        // SAFETY: `StrBuilder` appends nothing but whole `str`s.
        Ok(unsafe { std::str::from_utf8_unchecked_mut(bytes) })
    }
}

/// Text that is being formatted.
struct StrBuilder<'a> {
    // Invariant: UTF-8.
    bytes: SliceBuilder<'a, u8>,
    // The reason why text is missing, if it is.
    refusal: Option<Error>,
}

impl fmt::Write for StrBuilder<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nothing is appended behind a missing part.
        if self.refusal.is_some() {
            return Err(fmt::Error);
        }
        self.bytes
            .extend_from_slice(text.as_bytes())
            .map_err(|error| {
                self.refusal = Some(error);
                fmt::Error
            })
    }
}
